//! A world for the binary: a folder, an S3 server, a stand-in for Slack, a configuration.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use s3backup_local_s3::LocalS3;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const BUCKET: &str = "fleet";
pub(crate) const SECRET_HOOK: &str = "T0SECRET/B0SECRET/hooksecret";

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) server: LocalS3,
    pub(crate) slack: FakeSlack,
    /// Drives the server.
    _runtime: Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let server = LocalS3::builder().dir(folder.path().join("s3")).bucket(BUCKET).start();
        let server = runtime.block_on(server).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let world = Self { folder, server, slack: FakeSlack::start(), _runtime: runtime };
        world.configure("");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `data/<name>`, old enough for any `min_age`.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path("data").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        path
    }

    /// Writes `backup.toml`: the usual one with `more` behind it.
    pub(crate) fn configure(&self, more: &str) {
        self.configure_all(&format!(
            "job = \"telemetry\"\nhost = \"gw-1\"\n\n[[source]]\npath = \"data\"\n\n[destination]\nbucket = \"{BUCKET}\"\n\
             prefix = \"trips\"\nregion = \"us-east-1\"\nendpoint = \"{}\"\n\n[slack]\nwebhook_env = \"HOOK\"\n\n{more}",
            self.server.endpoint()
        ));
    }

    pub(crate) fn configure_all(&self, text: &str) {
        std::fs::write(self.path("backup.toml"), text).unwrap();
    }

    /// `backup ARGUMENTS` in the folder, with credentials and the webhook in the environment and nothing else of ours.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backup"));
        self.dress(command.args(arguments));
        command
    }

    pub(crate) fn dress<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("AWS_ACCESS_KEY_ID", self.server.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.server.secret_key())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOOK", self.slack.url())
            .stdin(Stdio::null())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).output().unwrap())
    }

    pub(crate) fn log(&self, kind: &str) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.path("Logs")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with(kind) {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
        text
    }
}

pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// stdout as the one JSON document that it must be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in {}\n{}", self.out, self.err))
    }

    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }
}

/// Takes what is posted and answers `ok`.
pub(crate) struct FakeSlack {
    address: std::net::SocketAddr,
    messages: Arc<Mutex<Vec<Value>>>,
}

impl FakeSlack {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let messages: Arc<Mutex<Vec<Value>>> = Arc::default();
        let shared = Arc::clone(&messages);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(message) = answer(stream) {
                    shared.lock().unwrap().push(message);
                }
            }
        });
        Self { address, messages }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/services/{SECRET_HOOK}", self.address)
    }

    /// The plain texts of all messages.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.messages
            .lock()
            .unwrap()
            .iter()
            .map(|m| m["text"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Everything that was posted, as text.
    pub(crate) fn all(&self) -> String {
        self.messages.lock().unwrap().iter().map(Value::to_string).collect()
    }
}

fn answer(mut stream: TcpStream) -> Option<Value> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let head = request.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))?
                .trim()
                .parse::<usize>()
                .ok()?;
            if request.len() >= head + 4 + length {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
                return serde_json::from_slice(&request[head + 4..head + 4 + length]).ok();
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => request.extend_from_slice(&piece[..count]),
        }
    }
}

/// Whether nothing secret of the world is in `text`.
#[track_caller]
pub(crate) fn assert_no_secret(world: &World, text: &str) {
    for secret in [SECRET_HOOK, "hooksecret", world.server.secret_key()] {
        assert!(!text.contains(secret), "a secret is in: {text}");
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(false)
}
