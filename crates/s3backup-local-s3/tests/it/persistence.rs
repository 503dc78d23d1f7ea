//! What outlives a server.

use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, CompletedMultipartUpload, CompletedPart};
use s3backup_local_s3::{Error, LocalS3};
use tokio::io::AsyncWriteExt as _;

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
