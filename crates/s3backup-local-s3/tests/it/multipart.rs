//! Multipart uploads.

use std::time::SystemTime;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::builders::CompletedPartBuilder;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
    ServerSideEncryption, StorageClass,
};

use crate::client::{BUCKET, bytes, client, get, keys, md5_hex, plain_client, put, refused, start, status};

const PART_BYTES: usize = 5 * 1024 * 1024;

async fn open(client: &Client, key: &str) -> String {
    let upload = client.create_multipart_upload().bucket(BUCKET).key(key);
    let upload = upload.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
    upload.send().await.unwrap().upload_id.unwrap()
}

async fn part(client: &Client, key: &str, upload: &str, number: i32, body: &[u8]) -> CompletedPart {
    let request = client.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(number);
    let request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
    let reply = request.body(ByteStream::from(body.to_vec())).send().await.unwrap();
    assert_eq!(reply.e_tag(), Some(&*format!("\"{}\"", md5_hex(body))));
    CompletedPart::builder()
        .part_number(number)
        .e_tag(reply.e_tag.unwrap())
        .set_checksum_crc64_nvme(reply.checksum_crc64_nvme)
        .build()
}

fn parts(parts: &[&CompletedPart]) -> CompletedMultipartUpload {
    let parts = parts.iter().map(|part| (*part).clone()).collect();
    CompletedMultipartUpload::builder().set_parts(Some(parts)).build()
}

/// The CRC64NVME that the server computes for the same bytes put at once.
async fn checksum_of(client: &Client, body: &[u8]) -> String {
    let request = client.put_object().bucket(BUCKET).key("whole").body(ByteStream::from(body.to_vec()));
    let reply = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
    reply.checksum_crc64_nvme.unwrap()
}

#[tokio::test]
async fn parts_become_an_object() {
    let server = start().await;
    let client = client(&server);
    let (first, second, third) = (bytes(PART_BYTES, 1), bytes(PART_BYTES + 7, 2), bytes(100, 3));
    let whole = [&first[..], &second, &third].concat();
    let upload = client.create_multipart_upload().bucket(BUCKET).key("k");
    let upload = upload
        .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
        .checksum_type(ChecksumType::FullObject)
        .metadata("a", "1")
        .content_type("video/x")
        .tagging("t=1")
        .storage_class(StorageClass::StandardIa)
        .server_side_encryption(ServerSideEncryption::Aes256)
        .send()
        .await
        .unwrap();
    assert_eq!(upload.checksum_type, Some(ChecksumType::FullObject));
    assert_eq!(upload.server_side_encryption, Some(ServerSideEncryption::Aes256));
    let id = upload.upload_id.unwrap();
    // In any order, one of them twice, and one that is not used in the end.
    let three = part(&client, "k", &id, 9, &third).await;
    part(&client, "k", &id, 2, b"will be replaced").await;
    part(&client, "k", &id, 4, b"will not be used").await;
    let one = part(&client, "k", &id, 1, &first).await;
    let two = part(&client, "k", &id, 2, &second).await;

    let right = checksum_of(&client, &whole).await;
    let complete = || client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&id);
    let complete = || complete().multipart_upload(parts(&[&one, &two, &three]));
    let result = refused(complete().checksum_crc64_nvme("AAAAAAAAAAA=").send()).await;
    assert_eq!(result, status(400, "BadDigest"));
    let result = refused(complete().mpu_object_size(1).send()).await;
    assert_eq!(result, status(400, "InvalidRequest"));
    assert_eq!(get(&client, "k").await, None);
    let size = i64::try_from(whole.len()).unwrap();
    let reply = complete().checksum_crc64_nvme(&right).mpu_object_size(size).send().await.unwrap();
    assert_eq!(reply.checksum_crc64_nvme(), Some(&*right));
    assert_eq!(reply.checksum_type, Some(ChecksumType::FullObject));
    let etag = reply.e_tag.unwrap();
    assert!(etag.ends_with("-3\""), "{etag}");
    assert_eq!(refused(complete().send()).await, status(404, "NoSuchUpload"));

    let head = client.head_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    assert_eq!(head.e_tag, Some(etag));
    assert_eq!(head.content_length, Some(size));
    assert_eq!(head.checksum_crc64_nvme(), Some(&*right));
    assert_eq!(head.content_type(), Some("video/x"));
    assert_eq!(head.storage_class, Some(StorageClass::StandardIa));
    assert_eq!(head.server_side_encryption, Some(ServerSideEncryption::Aes256));
    assert_eq!(head.metadata.unwrap()["a"], "1");
    assert!(get(&client, "k").await.unwrap() == whole);

    let across = format!("bytes={}-{}", PART_BYTES - 10, PART_BYTES * 2 + 9);
    let across = client.get_object().bucket(BUCKET).key("k").range(across).send().await.unwrap();
    let across = across.body.collect().await.unwrap().to_vec();
    assert!(across == whole[PART_BYTES - 10..=PART_BYTES * 2 + 9]);
    let second_part = client.get_object().bucket(BUCKET).key("k").part_number(2).send().await.unwrap();
    assert_eq!(second_part.parts_count(), Some(3));
    assert!(second_part.body.collect().await.unwrap().to_vec() == second);

    let attributes = client.get_object_attributes().bucket(BUCKET).key("k");
    let attributes = attributes.object_attributes(ObjectAttributes::ObjectParts).max_parts(2).send();
    let listed = attributes.await.unwrap().object_parts.unwrap();
    assert_eq!(listed.total_parts_count(), Some(3));
    assert_eq!(listed.is_truncated(), Some(true));
    assert_eq!(listed.parts()[1].size(), i64::try_from(second.len()).ok());
    assert_eq!(listed.parts()[1].checksum_crc64_nvme(), two.checksum_crc64_nvme());

    // A copy is an object of one part.
    let copy = client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/k"));
    let copied = copy.send().await.unwrap().copy_object_result.unwrap();
    assert_eq!(copied.e_tag(), Some(&*format!("\"{}\"", md5_hex(&whole))));
    assert_eq!(copied.checksum_crc64_nvme(), Some(&*right));
}

#[tokio::test]
async fn composite_checksums() {
    let server = start().await;
    let client = client(&server);
    let upload = client.create_multipart_upload().bucket(BUCKET).key("k");
    let upload = upload.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
    assert_eq!(upload.checksum_type, Some(ChecksumType::Composite));
    let id = upload.upload_id.unwrap();
    let send = |number: i32, length: usize| {
        let request = client.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(number);
        request.body(ByteStream::from(bytes(length, 1)))
    };
    let plain = plain_client(&server);
    let request = plain.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(1);
    let result = refused(request.body(ByteStream::from_static(b"x")).send()).await;
    assert_eq!(result, status(400, "InvalidRequest"), "no checksum");
    let result = refused(send(1, 10).checksum_algorithm(ChecksumAlgorithm::Crc32).send()).await;
    assert_eq!(result, status(400, "InvalidRequest"), "another checksum");
    let mut done = Vec::new();
    for (number, length) in [(1, PART_BYTES), (2, 10)] {
        let request = send(number, length).checksum_algorithm(ChecksumAlgorithm::Sha256);
        let reply = request.send().await.unwrap();
        let part = CompletedPart::builder().part_number(number).set_e_tag(reply.e_tag);
        done.push(part.set_checksum_sha256(reply.checksum_sha256));
    }
    let listed = client.list_parts().bucket(BUCKET).key("k").upload_id(&id).send().await.unwrap();
    assert_eq!(listed.checksum_type, Some(ChecksumType::Composite));
    let sums: Vec<_> = listed.parts().iter().map(|part| part.checksum_sha256.clone()).collect();
    let expected = done.iter().map(|part| part.clone().build().checksum_sha256);
    assert_eq!(sums, expected.collect::<Vec<_>>());
    let complete = |parts: Vec<CompletedPart>| {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&id);
        request.multipart_upload(parts)
    };
    let without = done.iter().map(|part| part.clone().set_checksum_sha256(None).build()).collect();
    assert_eq!(refused(complete(without).send()).await, status(400, "InvalidRequest"));
    let reply = complete(done.into_iter().map(CompletedPartBuilder::build).collect()).send().await.unwrap();
    assert_eq!(reply.checksum_type, Some(ChecksumType::Composite));
    assert!(reply.checksum_sha256.unwrap().ends_with("=-2"));
}

#[tokio::test]
async fn lists_of_parts_that_make_no_object() {
    let server = start().await;
    let client = client(&server);
    let id = open(&client, "k").await;
    let one = part(&client, "k", &id, 1, &bytes(PART_BYTES, 1)).await;
    let two = part(&client, "k", &id, 2, b"small").await;
    let three = part(&client, "k", &id, 3, b"small").await;
    let missing = CompletedPart::builder().part_number(4).e_tag(one.e_tag().unwrap()).build();
    let other = CompletedPart::builder().part_number(1).e_tag(two.e_tag().unwrap()).build();
    let damaged = CompletedPart::builder().part_number(1).e_tag(one.e_tag().unwrap());
    let damaged = damaged.checksum_crc64_nvme("AAAAAAAAAAA=").build();
    for (listed, code) in [
        (vec![&two, &one], "InvalidPartOrder"),
        (vec![&one, &one], "InvalidPartOrder"),
        (vec![&one, &missing], "InvalidPart"),
        (vec![&other], "InvalidPart"),
        (vec![&damaged], "InvalidPart"),
        (vec![&one, &two, &three], "EntityTooSmall"),
    ] {
        let request = client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&id);
        let result = refused(request.multipart_upload(parts(&listed)).send()).await;
        assert_eq!(result, status(400, code));
    }
    let request = client.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(10_001);
    assert_eq!(refused(request.send()).await, status(400, "InvalidArgument"));
    let request = client.complete_multipart_upload().bucket(BUCKET).key("other").upload_id(&id);
    let result = refused(request.multipart_upload(parts(&[&one])).send()).await;
    assert_eq!(result, status(404, "NoSuchUpload"));
    assert!(keys(&client).await.is_empty());
}

#[tokio::test]
async fn conditions_on_completion() {
    let server = start().await;
    let client = client(&server);
    let id = open(&client, "k").await;
    let one = part(&client, "k", &id, 1, b"new").await;
    let complete = || client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&id);
    let complete = || complete().multipart_upload(parts(&[&one]));
    assert_eq!(refused(complete().if_match("\"0\"").send()).await, status(404, "NoSuchKey"));
    let etag = put(&client, "k", b"old").await;
    let result = refused(complete().if_none_match("*").send()).await;
    assert_eq!(result, status(412, "PreconditionFailed"));
    let result = refused(complete().if_match("\"0\"").send()).await;
    assert_eq!(result, status(412, "PreconditionFailed"));
    assert_eq!(get(&client, "k").await.unwrap(), b"old");
    complete().if_match(etag).send().await.unwrap();
    assert_eq!(get(&client, "k").await.unwrap(), b"new");
}

#[tokio::test]
async fn aborted_uploads_are_gone() {
    let server = start().await;
    let client = client(&server);
    let id = open(&client, "k").await;
    part(&client, "k", &id, 1, b"x").await;
    let abort = || client.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(&id).send();
    abort().await.unwrap();
    assert_eq!(refused(abort()).await, status(404, "NoSuchUpload"));
    let listed = client.list_parts().bucket(BUCKET).key("k").upload_id(&id).send();
    assert_eq!(refused(listed).await, status(404, "NoSuchUpload"));
    let request = client.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(1);
    assert_eq!(refused(request.send()).await, status(404, "NoSuchUpload"));
    assert!(client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap().uploads().is_empty());
    let blobs = server.dir().join("blobs");
    let left =
        std::fs::read_dir(blobs).unwrap().map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap().count());
    assert_eq!(left.sum::<usize>(), 0, "the bytes of the parts are gone too");
}

#[tokio::test]
async fn parts_are_listed_in_pages() {
    let server = start().await;
    let client = client(&server);
    let id = open(&client, "k").await;
    let mut sent = Vec::new();
    for number in [1, 2, 5, 10_000] {
        sent.push(part(&client, "k", &id, number, &bytes(10, number.unsigned_abs())).await);
    }
    let started = client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    let started = started.uploads()[0].initiated().unwrap().secs();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(u64::try_from(started).unwrap().abs_diff(now) < 600, "started at {started}");
    let (mut listed, mut marker) = (Vec::new(), None);
    loop {
        let request = client.list_parts().bucket(BUCKET).key("k").upload_id(&id).max_parts(3);
        let page = request.set_part_number_marker(marker).send().await.unwrap();
        assert_eq!(page.checksum_algorithm, Some(ChecksumAlgorithm::Crc64Nvme));
        assert_eq!(page.checksum_type, Some(ChecksumType::FullObject));
        listed.extend(page.parts().iter().map(|part| {
            assert_eq!(part.size(), Some(10));
            CompletedPart::builder()
                .set_part_number(part.part_number)
                .set_e_tag(part.e_tag.clone())
                .set_checksum_crc64_nvme(part.checksum_crc64_nvme.clone())
                .build()
        }));
        marker = page.next_part_number_marker;
        if page.is_truncated == Some(false) {
            break;
        }
    }
    assert_eq!(listed, sent);
}

#[tokio::test]
async fn uploads_are_listed_in_pages() {
    let server = start().await;
    let client = client(&server);
    let mut expected = Vec::new();
    for key in ["a/1", "a/2", "a/2", "b"] {
        expected.push((key.to_owned(), open(&client, key).await));
    }
    expected.sort_unstable();
    for size in 1..=5 {
        let (mut listed, mut markers) = (Vec::new(), (None, None));
        loop {
            let request = client.list_multipart_uploads().bucket(BUCKET).max_uploads(size);
            let request = request.set_key_marker(markers.0).set_upload_id_marker(markers.1);
            let page = request.send().await.unwrap();
            listed.extend(page.uploads().iter().map(|upload| {
                assert!(upload.initiated().is_some());
                (upload.key.clone().unwrap(), upload.upload_id.clone().unwrap())
            }));
            markers = (page.next_key_marker, page.next_upload_id_marker);
            if page.is_truncated == Some(false) {
                break;
            }
        }
        assert_eq!(listed, expected, "{size} a page");
    }
    let (mut some, mut markers) = (Vec::new(), (None, None));
    loop {
        let request = client.list_multipart_uploads().bucket(BUCKET).prefix("a/").max_uploads(1);
        let request = request.set_key_marker(markers.0).set_upload_id_marker(markers.1);
        let page = request.send().await.unwrap();
        some.extend(page.uploads().iter().map(|upload| upload.upload_id.clone().unwrap()));
        markers = (page.next_key_marker, page.next_upload_id_marker);
        if page.is_truncated == Some(false) {
            break;
        }
    }
    let below = expected.iter().filter(|(key, _)| key.starts_with("a/"));
    assert_eq!(some, below.map(|(_, id)| id.clone()).collect::<Vec<_>>());
    let rolled = client.list_multipart_uploads().bucket(BUCKET).delimiter("/").send().await.unwrap();
    assert_eq!(rolled.uploads().len(), 1);
    assert_eq!(rolled.common_prefixes()[0].prefix(), Some("a/"));
}
