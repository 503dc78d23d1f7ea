//! A server that throws data away.

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use s3backup_local_s3::LocalS3;

use crate::client::{BUCKET, bytes, client, get, md5_hex, plain_client, put, refused, status};

const PART_BYTES: usize = 5 * 1024 * 1024;

async fn start() -> LocalS3 {
    LocalS3::builder().bucket(BUCKET).null().start().await.unwrap()
}

async fn put_checked(client: &Client, key: &str, body: &[u8]) -> Option<String> {
    let request = client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.to_vec()));
    let reply = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
    assert_eq!(reply.checksum_crc64_nvme.as_deref(), Some(crc64nvme(body).as_str()));
    reply.e_tag
}

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

async fn part_of(client: &Client, key: &str, range: &str) -> Vec<u8> {
    let reply = client.get_object().bucket(BUCKET).key(key).range(range).send().await.unwrap();
    reply.body.collect().await.unwrap().to_vec()
}

/// As HEAD tells them.
async fn length_and_checksum(client: &Client, key: &str) -> (usize, String) {
    let head = client.head_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    (usize::try_from(head.content_length.unwrap()).unwrap(), head.checksum_crc64_nvme.unwrap())
}

fn crc64nvme(data: &[u8]) -> String {
    use base64::Engine as _;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, data);
    base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes())
}

fn blobs(dir: &Path) -> usize {
    let Ok(folders) = std::fs::read_dir(dir.join("blobs")) else { return 0 };
    folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn what_is_got_fits_what_was_put_in_length_and_checksum() {
    let server = start().await;
    let client = client(&server);
    let large = bytes(2 * PART_BYTES + 100, 1);
    for length in [0, 1, 8, 4_096, 3_000_000] {
        put_checked(&client, &format!("data/{length}"), &large[..length]).await;
    }
    put_in_parts(&client, "data/parts", &[&large[..PART_BYTES], &large[PART_BYTES..]]).await;
    for (key, sent) in [
        ("data/0", &large[..0]),
        ("data/1", &large[..1]),
        ("data/8", &large[..8]),
        ("data/4096", &large[..4_096]),
        ("data/3000000", &large[..3_000_000]),
        ("data/parts", &large),
    ] {
        assert_eq!(length_and_checksum(&client, key).await, (sent.len(), crc64nvme(sent)), "{key}");
        let got = get(&client, key).await.unwrap();
        assert_eq!((got.len(), crc64nvme(&got)), (sent.len(), crc64nvme(sent)), "{key}");
        assert!(get(&client, key).await.unwrap() == got, "{key} again");
    }
    assert_eq!(blobs(server.dir()), 0);
    let sizes: Vec<u64> = server.objects(BUCKET).into_iter().map(|(_, size)| size).collect();
    assert_eq!(sizes.iter().sum::<u64>(), large.len() as u64 + 3_004_105);
}

#[tokio::test]
async fn ranges_are_cut_out_of_the_same_bytes() {
    let server = start().await;
    let client = client(&server);
    let sent = bytes(2 * PART_BYTES, 2);
    put_in_parts(&client, "k", &[&sent[..PART_BYTES], &sent[PART_BYTES..]]).await;
    let whole = get(&client, "k").await.unwrap();
    for (from, to) in [(0, 0), (5, 1_000_000), (PART_BYTES - 9, PART_BYTES + 9), (0, 2 * PART_BYTES - 1)] {
        let range = part_of(&client, "k", &format!("bytes={from}-{to}")).await;
        assert!(range == whole[from..=to], "{from} to {to}");
    }
    assert!(part_of(&client, "k", "bytes=-20").await == whole[2 * PART_BYTES - 20..]);
}

#[tokio::test]
async fn control_data_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let start = || LocalS3::builder().dir(dir.path()).bucket(BUCKET).null().start();
    let server = start().await.unwrap();
    let body = bytes(300_000, 3);
    for key in ["trips/.s3backup/job/host/latest.json", ".s3backup/job/host/latest.json", "trips/a"] {
        put(&client(&server), key, &body).await;
    }
    assert_eq!(blobs(dir.path()), 2);
    let made = get(&client(&server), "trips/a").await.unwrap();
    assert!(made != body);
    server.shutdown().await;

    let server = start().await.unwrap();
    let client = client(&server);
    assert!(get(&client, "trips/.s3backup/job/host/latest.json").await.unwrap() == body);
    assert!(get(&client, ".s3backup/job/host/latest.json").await.unwrap() == body);
    assert!(get(&client, "trips/a").await.unwrap() == made);
}

#[tokio::test]
async fn what_arrives_damaged_is_refused_all_the_same() {
    let server = start().await;
    let client = client(&server);
    let put = || client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"abc"));
    let wrong = put().checksum_crc64_nvme(crc64nvme(b"abd"));
    assert_eq!(refused(wrong.send()).await, status(400, "BadDigest"));
    let wrong = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(refused(wrong.send()).await, status(400, "BadDigest"));
    assert!(server.objects(BUCKET).is_empty());
}

#[tokio::test]
async fn an_md5_is_told_to_those_who_have_no_other_proof() {
    let server = start().await;
    let etag = put(&plain_client(&server), "plain", b"abc").await;
    assert_eq!(etag, format!("\"{}\"", md5_hex(b"abc")));
    let etag = put_checked(&client(&server), "checked", b"abc").await.unwrap();
    assert_ne!(etag.len(), 34, "{etag} looks like an MD5");
}
