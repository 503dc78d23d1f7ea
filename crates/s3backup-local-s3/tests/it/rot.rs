//! Bytes that change on the disk.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use s3backup_local_s3::Error;

use crate::client::{BUCKET, bytes, client, get, put, start};

const PART_BYTES: usize = 5 * 1024 * 1024;

async fn put_in_parts(client: &Client, key: &str, parts: &[&[u8]]) {
    let upload = client.create_multipart_upload().bucket(BUCKET).key(key);
    let upload = upload.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
    let id = upload.upload_id.unwrap();
    let mut done = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(parts) {
        let request = client.upload_part().bucket(BUCKET).key(key).upload_id(&id).part_number(number);
        let request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
        let reply = request.body(ByteStream::from(part.to_vec())).send().await.unwrap();
        done = done.parts(CompletedPart::builder().part_number(number).set_e_tag(reply.e_tag).build());
    }
    let complete = client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(&id);
    complete.multipart_upload(done.build()).send().await.unwrap();
}

/// What HEAD and LIST say.
async fn told(client: &Client, key: &str) -> (Option<String>, Option<String>, Option<i64>, Option<String>) {
    let head = client.head_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    let listed = client.list_objects_v2().bucket(BUCKET).prefix(key).send().await.unwrap();
    let listed = listed.contents()[0].e_tag.clone();
    (head.e_tag, head.checksum_crc64_nvme, head.content_length, listed)
}

#[tokio::test]
async fn a_byte_that_rots_is_served_as_it_is() {
    let server = start().await;
    let client = client(&server);
    let large = bytes(PART_BYTES + 100, 1);
    let request = client.put_object().bucket(BUCKET).key("small").body(ByteStream::from_static(b"x"));
    request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
    put_in_parts(&client, "large", &[&large[..PART_BYTES], &large[PART_BYTES..]]).await;
    for (key, body, offset) in [
        ("small", &b"x"[..], 0),
        ("large", &large, 7),
        ("large", &large, PART_BYTES),
        ("large", &large, PART_BYTES + 99),
    ] {
        let before = told(&client, key).await;
        assert!(before.1.is_some());
        let offset_bytes = u64::try_from(offset).unwrap();
        server.corrupt(BUCKET, key, offset_bytes).unwrap();
        let mut rotten = body.to_vec();
        rotten[offset] ^= 1;
        assert!(get(&client, key).await.unwrap() == rotten, "{key} at {offset}");
        assert_eq!(told(&client, key).await, before, "{key} at {offset}");
        server.corrupt(BUCKET, key, offset_bytes).unwrap();
        assert!(get(&client, key).await.unwrap() == body, "{key} at {offset}");
    }
}

#[tokio::test]
async fn rot_outlives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let start = || s3backup_local_s3::LocalS3::builder().dir(dir.path()).bucket(BUCKET).start();
    let server = start().await.unwrap();
    put(&client(&server), "k", b"abc").await;
    server.corrupt(BUCKET, "k", 1).unwrap();
    server.shutdown().await;
    let server = start().await.unwrap();
    assert_eq!(get(&client(&server), "k").await.unwrap(), b"acc");
}

#[tokio::test]
async fn what_is_not_there_cannot_rot() {
    let server = start().await;
    put(&client(&server), "k", b"abc").await;
    put(&client(&server), "empty", b"").await;
    for (bucket, key, offset_bytes) in
        [(BUCKET, "none", 0), ("none", "k", 0), (BUCKET, "k", 3), (BUCKET, "empty", 0)]
    {
        let error = server.corrupt(bucket, key, offset_bytes).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
    }
}
