//! Checksums: verified, kept, told.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, ObjectAttributes};
use sha2::{Digest as _, Sha256};

use crate::client::{BUCKET, bytes, client, get, keys, plain_client, put, refused, start, status};
use crate::raw::{Raw, hex, send};

const BODY: &[u8] = b"123456789";

/// The check values of the algorithms, from their specifications.
const VALUES: [(ChecksumAlgorithm, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "y/Q5Jg=="),
    (ChecksumAlgorithm::Crc32C, "4waSgw=="),
    (ChecksumAlgorithm::Crc64Nvme, "rosUhgp5mIg="),
    (ChecksumAlgorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
    (ChecksumAlgorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
];

macro_rules! value {
    ($reply:expr, $algorithm:expr) => {{
        let reply = &$reply;
        let value = match $algorithm {
            ChecksumAlgorithm::Crc32 => reply.checksum_crc32(),
            ChecksumAlgorithm::Crc32C => reply.checksum_crc32_c(),
            ChecksumAlgorithm::Crc64Nvme => reply.checksum_crc64_nvme(),
            ChecksumAlgorithm::Sha1 => reply.checksum_sha1(),
            _ => reply.checksum_sha256(),
        };
        value.map(str::to_owned)
    }};
}

fn with_value(
    put: aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder,
    algorithm: &ChecksumAlgorithm,
    value: &str,
) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
    match algorithm {
        ChecksumAlgorithm::Crc32 => put.checksum_crc32(value),
        ChecksumAlgorithm::Crc32C => put.checksum_crc32_c(value),
        ChecksumAlgorithm::Crc64Nvme => put.checksum_crc64_nvme(value),
        ChecksumAlgorithm::Sha1 => put.checksum_sha1(value),
        _ => put.checksum_sha256(value),
    }
}

#[tokio::test]
async fn checksums_in_headers() {
    let server = start().await;
    let client = client(&server);
    for (algorithm, right) in VALUES {
        let key = algorithm.as_str();
        let request = || client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(BODY));
        let wrong = right.replacen(&right[..1], "0", 1);
        let result = refused(with_value(request(), &algorithm, &wrong).send()).await;
        assert_eq!(result, status(400, "BadDigest"), "{algorithm}");
        assert_eq!(get(&client, key).await, None, "{algorithm}");
        let result = refused(with_value(request(), &algorithm, "AAAA").send()).await;
        assert_eq!(result, status(400, "InvalidRequest"), "{algorithm}");

        let reply = with_value(request(), &algorithm, right).send().await.unwrap();
        assert_eq!(value!(reply, algorithm), Some(right.to_owned()));
        assert_eq!(reply.checksum_type, Some(ChecksumType::FullObject));
        let head = client.head_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        assert_eq!(value!(head, algorithm), Some(right.to_owned()));
        assert_eq!(head.checksum_type, Some(ChecksumType::FullObject));
        let got = client.get_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
        assert_eq!(value!(got.send().await.unwrap(), algorithm), Some(right.to_owned()));
        let unasked = client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!(value!(unasked, algorithm), None);
        let attributes = client.get_object_attributes().bucket(BUCKET).key(key);
        let attributes = attributes
            .object_attributes(ObjectAttributes::Checksum)
            .object_attributes(ObjectAttributes::ObjectSize);
        let attributes = attributes.send().await.unwrap();
        assert_eq!(value!(attributes.checksum.unwrap(), algorithm), Some(right.to_owned()));
        assert_eq!(attributes.object_size, Some(9));
    }
}

#[tokio::test]
async fn checksums_in_trailers() {
    let server = start().await;
    let client = client(&server);
    // The SDK sends a trailer for what it must not hold in memory.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, BODY).unwrap();
    for (algorithm, right) in VALUES {
        let request = client.put_object().bucket(BUCKET).key(algorithm.as_str());
        let body = ByteStream::from_path(&file).await.unwrap();
        let request = request.body(body).checksum_algorithm(algorithm.clone());
        let reply = request.send().await.unwrap();
        assert_eq!(value!(reply, algorithm), Some(right.to_owned()));
        assert_eq!(get(&client, algorithm.as_str()).await.unwrap(), BODY);
    }
    let head = client.head_object().bucket(BUCKET).key("CRC32").send().await.unwrap();
    assert_eq!(head.content_encoding, None, "how it was sent is not what it is");
}

#[tokio::test]
async fn a_trailer_is_verified() {
    let server = start().await;
    let client = client(&server);
    let path = format!("/{BUCKET}/trailer");
    for (value, expected) in [("rosUhgp5mIg=", "200 OK"), ("AosUhgp5mIg=", "<Code>BadDigest</Code>")] {
        let body = format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme:{value}\r\n\r\n");
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "9"),
            ("x-amz-trailer", "x-amz-checksum-crc64nvme"),
        ];
        let payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
        let request = Raw { method: "PUT", path: &path, headers: &headers, payload, body: body.as_bytes() };
        let reply = send(&server, &request).await;
        assert!(reply.contains(expected), "{reply}");
        client.delete_object().bucket(BUCKET).key("trailer").send().await.unwrap();
    }
}

#[tokio::test]
async fn other_digests_are_verified() {
    let server = start().await;
    let client = client(&server);
    let request = || client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(BODY));
    let wrong = request().content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send();
    assert_eq!(refused(wrong).await, status(400, "BadDigest"));
    let error = request().content_md5("no md5").send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidDigest"));

    let path = format!("/{BUCKET}/k");
    let payload = hex(&Sha256::digest(b"something else"));
    let request = Raw { method: "PUT", path: &path, headers: &[], payload: &payload, body: BODY };
    let reply = send(&server, &request).await;
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("XAmzContentSHA256Mismatch"), "{reply}");

    let two = client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(BODY));
    let two = two.checksum_crc32("y/Q5Jg==").checksum_crc32_c("4waSgw==").send();
    assert_eq!(refused(two).await, status(400, "InvalidRequest"));
    assert!(keys(&client).await.is_empty());

    let payload = hex(&Sha256::digest(BODY));
    let request = Raw { method: "PUT", path: &path, headers: &[], payload: &payload, body: BODY };
    assert!(send(&server, &request).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_object_without_a_checksum_gets_one() {
    let server = start().await;
    let client = plain_client(&server);
    put(&client, "k", BODY).await;
    let head = client.head_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled);
    assert_eq!(head.send().await.unwrap().checksum_crc64_nvme(), Some("rosUhgp5mIg="));
}

#[tokio::test]
async fn a_large_body_is_verified_too() {
    let server = start().await;
    let client = client(&server);
    let body = bytes(2_000_000, 1);
    let request = || client.put_object().bucket(BUCKET).key("k").body(ByteStream::from(body.clone()));
    assert_eq!(refused(request().checksum_crc64_nvme("AAAAAAAAAAA=").send()).await, status(400, "BadDigest"));
    request().checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
    assert!(get(&client, "k").await.unwrap() == body);
}
