//! SeaweedFS, a stranger's S3 server, started once for each test binary.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::{PATIENCE, Store};

const ACCESS_KEY: &str = "tester";
const SECRET_KEY: &str = "tester-secret";

/// SeaweedFS needs half a minute for a polite end, and its data is thrown away. The shell outlives this process by
/// so much as it takes to kill the server and to remove the data: its standard input ends with us, however we end, also by a signal to all of us.
const KEEPER: &str = r#"
trap '' INT TERM
"$@" >"$DIR/log" 2>&1 </dev/null &
server=$!
read -r _
kill -9 "$server"
wait "$server" 2>/dev/null
rm -rf "$DIR"
"#;

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    port: u16,
    _keeper: Child,
}

impl Server {
    fn start() -> Self {
        let weed = std::env::var("S3BACKUP_TEST_WEED")
            .expect("S3BACKUP_TEST_WEED must be the path of SeaweedFS's `weed`: `cargo xtask test` sets it");
        for _ in 0..5 {
            let first = free_ports();
            let dir = tempfile::Builder::new().prefix("s3backup-weed-").tempdir().unwrap().keep();
            let s3_config = dir.join("s3.json");
            let identity = format!(
                r#"{{"identities":[{{"name":"t","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
            );
            std::fs::write(&s3_config, identity).unwrap();
            let mut keeper = Command::new("sh")
                .args(["-c", KEEPER, "sh", &weed, "mini"])
                .arg(format!("-dir={}", dir.display()))
                .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false"])
                .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
                // By itself it has as many as fit on the disk, and each bucket takes seven at once.
                .arg("-volume.max=1000")
                .arg(format!("-master.port={first}"))
                .arg(format!("-volume.port={}", first + 1))
                .arg(format!("-filer.port={}", first + 2))
                .arg(format!("-s3.port={}", first + 3))
                .arg(format!("-s3.config={}", s3_config.display()))
                .env("DIR", &dir)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let port = first + 3;
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Self { port, _keeper: keeper };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            // Another program may have taken one of the ports.
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
        panic!("SeaweedFS does not answer: {weed}");
    }
}

/// Four ports in a row that are free, with their gRPC ports 10,000 above, all below those that are given out to
/// clients.
fn free_ports() -> u16 {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut candidates = std::iter::repeat_with(|| fastrand::u16(12_000..22_000));
    candidates
        .find(|first| (*first..first + 4).all(|port| is_free(port) && is_free(port + 10_000)))
        .expect("some ports are free")
}

/// A bucket of the test's own.
pub(crate) async fn store() -> Store {
    let port = tokio::task::spawn_blocking(|| SERVER.port).await.unwrap();
    let name = format!("b-{:016x}", fastrand::u64(..));
    let store = Store::on(&format!("http://127.0.0.1:{port}"), ACCESS_KEY, SECRET_KEY, name.clone()).await;
    let begun = Instant::now();
    // The port answers a little before the server is ready for work.
    while let Err(error) = store.client.create_bucket().bucket(&name).send().await {
        assert!(begun.elapsed() < PATIENCE, "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store
}
