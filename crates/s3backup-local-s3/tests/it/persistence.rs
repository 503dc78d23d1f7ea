//! What outlives a server.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, CompletedMultipartUpload, CompletedPart};
use s3backup_local_s3::{Error, LocalS3};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{BUCKET, bytes, client, get, keys, put};
use crate::raw::{Raw, connect, signed};

async fn start(dir: &Path) -> LocalS3 {
    LocalS3::builder().dir(dir).bucket(BUCKET).start().await.unwrap()
}

fn blobs(dir: &Path) -> usize {
    let folders = std::fs::read_dir(dir.join("blobs")).unwrap();
    folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn objects_and_open_uploads_outlive_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let before = client(&server);
    put(&before, "replaced", b"old").await;
    put(&before, "replaced", b"new").await;
    put(&before, "deleted", b"x").await;
    before.delete_object().bucket(BUCKET).key("deleted").send().await.unwrap();
    let request = before.put_object().bucket(BUCKET).key("a\nb/é").metadata("a", "1");
    request.body(ByteStream::from(bytes(300_000, 1))).send().await.unwrap();
    let upload = before.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
    let upload = upload.upload_id.unwrap();
    let request = before.upload_part().bucket(BUCKET).key("parts").upload_id(&upload).part_number(1);
    let part = request.body(ByteStream::from_static(b"part")).send().await.unwrap();
    server.shutdown().await;

    let server = start(dir.path()).await;
    let after = client(&server);
    assert_eq!(keys(&after).await, ["a\nb/é", "replaced"]);
    assert_eq!(get(&after, "replaced").await.unwrap(), b"new");
    assert!(get(&after, "a\nb/é").await.unwrap() == bytes(300_000, 1));
    let head = after.head_object().bucket(BUCKET).key("a\nb/é").checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["a"], "1");
    assert!(head.checksum_crc32().is_some());
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let request = after.complete_multipart_upload().bucket(BUCKET).key("parts").upload_id(&upload);
    request.multipart_upload(parts).send().await.unwrap();
    server.shutdown().await;

    let server = start(dir.path()).await;
    assert_eq!(get(&client(&server), "parts").await.unwrap(), b"part");
    assert_eq!(blobs(dir.path()), 3);
}

/// The folder that the other process is to serve; set in that process alone.
const SERVE_VARIABLE: &str = "S3BACKUP_LOCAL_S3_TEST_SERVE";

/// A server in a process of its own, to be killed.
struct Other {
    process: Child,
    endpoint: String,
}

impl Other {
    fn start(dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "persistence::in_the_other_process", "--nocapture"])
            .env(SERVE_VARIABLE, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let endpoint = lines.find_map(|line| Some(line.unwrap().strip_prefix("serving ")?.to_owned()));
        Self { process, endpoint: endpoint.expect("it serves") }
    }

    fn client(&self) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AK", "SK", None, None, "test"))
            .force_path_style(true)
            .retry_config(RetryConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Client::from_conf(config)
    }

    /// With SIGKILL, which leaves it no time for anything.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// No test of its own: what the other process does, until it is killed or the test that started it ends.
#[tokio::test]
async fn in_the_other_process() {
    let Some(dir) = std::env::var_os(SERVE_VARIABLE) else { return };
    let server = LocalS3::builder().dir(dir).bucket(BUCKET).credentials("AK", "SK").start().await.unwrap();
    // The test harness has begun a line.
    println!("\nserving {}", server.endpoint());
    let waited = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    waited.await.unwrap().unwrap();
}

/// A PUT of which the server has written something and waits for more.
async fn half_a_put(client: &Client, dir: &Path) -> TcpStream {
    let soon = PresigningConfig::expires_in(Duration::from_mins(10)).unwrap();
    let put = client.put_object().bucket(BUCKET).key("half").presigned(soon).await.unwrap();
    let (address, path) = put.uri().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let before = blobs(dir);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("PUT /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 600000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes(500_000, 1)).await.unwrap();
    let begun = Instant::now();
    while blobs(dir) == before {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing was written");
        tokio::task::yield_now().await;
    }
    stream
}

#[tokio::test]
async fn what_was_answered_outlives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let other = Other::start(dir.path());
    let before = other.client();
    // Some larger than what is kept in memory while it arrives.
    let lengths = [0, 1, 1_000, 300_000, 3_000_000];
    for length in lengths {
        put(&before, &format!("{length:07}"), &bytes(length, 1)).await;
    }
    put(&before, "deleted", b"x").await;
    before.delete_object().bucket(BUCKET).key("deleted").send().await.unwrap();
    let upload = before.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
    let upload = upload.upload_id.unwrap();
    let part = |client: &Client, number: i32, length: usize| {
        let request = client.upload_part().bucket(BUCKET).key("parts").upload_id(&upload).part_number(number);
        request.body(ByteStream::from(bytes(length, number.unsigned_abs()))).send()
    };
    let (first, second) = (5 * 1024 * 1024, 1_000);
    let mut parts = vec![part(&before, 1, first).await.unwrap().e_tag];
    let _half = half_a_put(&before, dir.path()).await;
    other.kill();

    let other = Other::start(dir.path());
    let after = other.client();
    for length in lengths {
        assert!(get(&after, &format!("{length:07}")).await.unwrap() == bytes(length, 1), "{length}");
    }
    assert_eq!(keys(&after).await, lengths.map(|length| format!("{length:07}")));
    let open = after.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert_eq!(open.uploads()[0].upload_id(), Some(&*upload));
    let listed = after.list_parts().bucket(BUCKET).key("parts").upload_id(&upload).send().await.unwrap();
    assert_eq!(listed.parts().len(), 1);
    assert_eq!(listed.parts()[0].e_tag, parts[0]);
    parts.push(part(&after, 2, second).await.unwrap().e_tag);
    let parts = (1..)
        .zip(parts)
        .map(|(number, etag)| CompletedPart::builder().part_number(number).set_e_tag(etag).build());
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
    let complete = after.complete_multipart_upload().bucket(BUCKET).key("parts").upload_id(&upload);
    complete.multipart_upload(parts).send().await.unwrap();
    other.kill();

    let server = start(dir.path()).await;
    assert!(get(&client(&server), "parts").await.unwrap() == [bytes(first, 1), bytes(second, 2)].concat());
    assert_eq!(blobs(dir.path()), lengths.len() + 2, "and nothing else is left");
}

#[tokio::test]
async fn a_dropped_server_lets_go_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let busy = LocalS3::builder().dir(dir.path()).start().await;
    assert!(matches!(busy, Err(Error::InUse { .. })), "{busy:?}");
    put(&client(&server), "k", b"x").await;
    drop(server);
    let server = start(dir.path()).await;
    assert_eq!(get(&client(&server), "k").await.unwrap(), b"x");
}

#[tokio::test]
async fn what_a_crash_leaves_behind_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    put(&client(&server), "k", b"x").await;
    // A PUT that is under way when the server stops.
    let path = format!("/{BUCKET}/half");
    let body = bytes(600_000, 1);
    let payload = "UNSIGNED-PAYLOAD";
    let request = signed(&server, &Raw { method: "PUT", path: &path, headers: &[], payload, body: &body });
    let mut stream = connect(&server).await;
    stream.write_all(&request[..500_000]).await.unwrap();
    server.shutdown().await;
    let stray = dir.path().join("blobs/ab");
    std::fs::create_dir_all(&stray).unwrap();
    std::fs::write(stray.join("ab000000000000000000000000000000"), "left by a crash").unwrap();
    std::fs::write(dir.path().join("journal.new"), "left by a crash").unwrap();

    let server = start(dir.path()).await;
    assert_eq!(keys(&client(&server)).await, ["k"]);
    assert_eq!(blobs(dir.path()), 1);
}

#[tokio::test]
async fn a_temporary_folder_goes_with_the_server() {
    let server = LocalS3::builder().bucket(BUCKET).start().await.unwrap();
    put(&client(&server), "k", b"x").await;
    let dir = server.dir().to_owned();
    assert!(dir.exists());
    server.shutdown().await;
    assert!(!dir.exists());
}
