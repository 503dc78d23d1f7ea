//! moto, a stranger's S3 server whose buckets can have versions. It forgets everything when it stops.
//!
//! This file knows nothing of the tests around it, so that tests of other crates can include it with `#[path]`.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; not every binary uses all of them"
)]

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// It lets everybody in; clients must sign all the same.
pub(crate) const ACCESS_KEY: &str = "tester";
pub(crate) const SECRET_KEY: &str = "tester-secret";

/// It starts in a third of a second; a machine that is busy may need much longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// The end of the log that a failing test shows, in bytes.
const SHOWN_LOG_BYTES: usize = 8 * 1024;

/// The shell outlives the test by so much as it takes to kill the server and to remove its files: its standard input
/// ends with us, however we end, also by a signal to all of us.
const KEEPER: &str = r#"
trap '' INT TERM
"$@" >"$DIR/log" 2>&1 </dev/null &
server=$!
read -r _
kill -9 "$server"
wait "$server" 2>/dev/null
rm -rf "$DIR"
"#;

/// A running server, which stops when this is dropped, or with the process if it is kept in a `static`.
///
/// If it is dropped by a panic, the end of its log goes to stderr, where a failing test shows it.
pub(crate) struct Moto {
    port: u16,
    dir: PathBuf,
    keeper: Child,
}

impl Moto {
    /// Starts a server and waits until it answers. Blocks.
    pub(crate) fn start() -> Self {
        let program = std::env::var("S3BACKUP_TEST_MOTO")
            .expect("S3BACKUP_TEST_MOTO must be the path of `moto_server`: `cargo xtask test` sets it");
        let dir = tempfile::Builder::new().prefix("s3backup-moto-").tempdir().unwrap().keep();
        let keeper = Command::new("sh")
            // It takes a port that is free and says which.
            .args(["-c", KEEPER, "sh", &program, "-H", "127.0.0.1", "-p", "0"])
            .env("DIR", &dir)
            // Where it puts the bytes of large objects.
            .env("TMPDIR", &dir)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self { port: 0, dir, keeper };
        let begun = Instant::now();
        while !server.answers() {
            assert!(begun.elapsed() < PATIENCE, "{program} does not answer");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// The URL for clients, which must use path-style addresses.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn answers(&mut self) -> bool {
        let Some(port) = port_in(&self.log()) else { return false };
        self.port = port;
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    }

    fn log(&self) -> String {
        let log = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let end = log.get(log.floor_char_boundary(log.len().saturating_sub(SHOWN_LOG_BYTES))..);
            eprintln!("the log of moto ends:\n{}", end.unwrap_or_default());
        }
        drop(self.keeper.stdin.take());
        // It has only to kill the server; a shell that cannot be waited for has ended as well.
        let _ = self.keeper.wait();
    }
}

/// The port in ` * Running on http://127.0.0.1:41777`, once that line is complete.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("Running on http://127.0.0.1:")?;
    rest.split_once('\n')?.0.trim().parse().ok()
}
