//! Faults, as clients see them.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier,
};
use futures::FutureExt as _;
use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{BUCKET, bytes, client, cut_off, get, put, refused, start, status};
use crate::raw::{Raw, connect, signed};

async fn start_with(fault: Fault) -> (LocalS3, Client) {
    let server = start().await;
    server.faults().add(fault);
    let client = client(&server);
    (server, client)
}

fn write(
    client: &Client,
    body: Vec<u8>,
) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
    client.put_object().bucket(BUCKET).key("k").body(ByteStream::from(body))
}

#[tokio::test]
async fn refusals() {
    let error = FaultKind::Error { status: 409, code: "ConditionalRequestConflict".into() };
    for (kind, expected) in [
        (FaultKind::SlowDown, status(503, "SlowDown")),
        (FaultKind::TooManyRequests, status(429, "TooManyRequests")),
        (FaultKind::InternalError, status(500, "InternalError")),
        (FaultKind::AccessDenied, status(403, "AccessDenied")),
        (FaultKind::ExpiredToken, status(400, "ExpiredToken")),
        (error, status(409, "ConditionalRequestConflict")),
    ] {
        let (server, client) = start_with(Fault::new(kind).on(Operation::PutObject).first(2)).await;
        for _ in 0..2 {
            // More than fits the buffers of the connection: the refusal must arrive nevertheless.
            assert_eq!(refused(write(&client, bytes(9_000_000, 1)).send()).await, expected);
        }
        assert_eq!(get(&client, "k").await, None);
        write(&client, bytes(9_000_000, 1)).send().await.unwrap();
        assert_eq!(server.stats().faults, 2);
        assert_eq!(server.stats().of(Operation::PutObject), 3);
    }
}

#[tokio::test]
async fn resets_before_anything_is_done() {
    for kind in [FaultKind::ResetInRequest, FaultKind::ResetBeforeReply] {
        for length in [0, 1_000, 3_000_000] {
            let fault = Fault::new(kind.clone()).on(Operation::PutObject).first(1);
            let (_server, client) = start_with(fault).await;
            cut_off(write(&client, bytes(length, 1)).send()).await;
            assert_eq!(get(&client, "k").await, None);
            write(&client, bytes(length, 1)).send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let (server, _) = start_with(Fault::new(FaultKind::ResetBeforeReply)).await;
    let path = format!("/{BUCKET}/k");
    let payload = "UNSIGNED-PAYLOAD";
    let request = Raw { method: "PUT", path: &path, headers: &[], payload, body: b"x" };
    let mut stream = connect(&server).await;
    stream.write_all(&signed(&server, &request)).await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
}

#[tokio::test]
async fn lost_replies() {
    let (server, client) = start_with(Fault::new(FaultKind::LostReply).on(Operation::PutObject).nth(1)).await;
    cut_off(write(&client, b"x".to_vec()).if_none_match("*").send()).await;
    assert_eq!(get(&client, "k").await.unwrap(), b"x", "it was carried out");
    let again = refused(write(&client, b"x".to_vec()).if_none_match("*").send()).await;
    assert_eq!(again, status(412, "PreconditionFailed"), "which a retry must be ready for");
    assert_eq!(server.stats().faults, 1);
}

#[tokio::test]
async fn replies_that_break_off() {
    for length in [1_000, 3_000_000] {
        let fault = Fault::new(FaultKind::ResetInReply).on(Operation::GetObject).first(1);
        let (_server, client) = start_with(fault).await;
        put(&client, "k", &bytes(length, 1)).await;
        let reply = client.get_object().bucket(BUCKET).key("k").send().await;
        // The reset may overtake the head of the reply.
        if let Ok(reply) = reply {
            assert!(reply.body.collect().await.is_err());
        }
        assert!(get(&client, "k").await.unwrap() == bytes(length, 1));
    }
}

/// An open upload of one part, and what completes it.
async fn one_part(client: &Client, key: &str) -> (String, CompletedMultipartUpload) {
    let upload = client.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
    let id = upload.upload_id.unwrap();
    let part = client.upload_part().bucket(BUCKET).key(key).upload_id(&id).part_number(1);
    let part = part.body(ByteStream::from_static(b"x")).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    (id, CompletedMultipartUpload::builder().parts(part).build())
}

fn keys_to_delete(keys: &[&str]) -> Delete {
    let object = |key: &&str| ObjectIdentifier::builder().key(*key).build().unwrap();
    Delete::builder().set_objects(Some(keys.iter().map(object).collect())).build().unwrap()
}

#[tokio::test]
async fn listings_and_deletes_fail_as_often_as_asked_for() {
    let slow = status(503, "SlowDown");
    let server = start().await;
    let client = client(&server);
    let (id, _) = one_part(&client, "a/k").await;
    put(&client, "a/x", b"x").await;
    let parts = || client.list_parts().bucket(BUCKET).key("a/k").upload_id(&id).send();
    let uploads = |prefix: &str| client.list_multipart_uploads().bucket(BUCKET).prefix(prefix).send();
    let delete = |key: &str| client.delete_object().bucket(BUCKET).key(key).send();
    let many = || client.delete_objects().bucket(BUCKET).delete(keys_to_delete(&["a/x"])).send();
    let fault = |kind, operation| Fault::new(kind).on(operation).first(2);
    server.faults().set([
        fault(FaultKind::SlowDown, Operation::ListParts).key_contains("a/k"),
        fault(FaultKind::SlowDown, Operation::ListMultipartUploads).key_contains("a/"),
        fault(FaultKind::SlowDown, Operation::DeleteObject).key_contains("a/x"),
        fault(FaultKind::SlowDown, Operation::DeleteObjects),
    ]);
    uploads("b/").await.unwrap();
    delete("other").await.unwrap();
    for _ in 0..2 {
        assert_eq!(refused(parts()).await, slow);
        assert_eq!(refused(uploads("a/")).await, slow);
        assert_eq!(refused(delete("a/x")).await, slow);
        assert_eq!(refused(many()).await, slow);
    }
    assert_eq!(get(&client, "a/x").await.unwrap(), b"x");
    assert_eq!(parts().await.unwrap().parts().len(), 1);
    assert_eq!(uploads("a/").await.unwrap().uploads().len(), 1);
    many().await.unwrap();

    put(&client, "a/x", b"x").await;
    for kind in [FaultKind::ResetBeforeReply, FaultKind::ResetInReply] {
        let cut = |operation| Fault::new(kind.clone()).on(operation).first(1);
        server.faults().set([cut(Operation::ListParts), cut(Operation::ListMultipartUploads)]);
        assert!(parts().await.is_err() && uploads("").await.is_err());
        assert_eq!(parts().await.unwrap().parts().len(), 1);
        assert_eq!(uploads("").await.unwrap().uploads().len(), 1);
    }
    for operation in [Operation::DeleteObject, Operation::DeleteObjects] {
        put(&client, "a/x", b"x").await;
        server.faults().set([
            Fault::new(FaultKind::ResetBeforeReply).on(operation).nth(1),
            Fault::new(FaultKind::LostReply).on(operation).nth(2),
        ]);
        for left in [Some(b"x".to_vec()), None] {
            if operation == Operation::DeleteObject {
                cut_off(delete("a/x")).await;
            } else {
                cut_off(many()).await;
            }
            assert_eq!(get(&client, "a/x").await, left, "{operation}");
        }
    }
}

#[tokio::test]
async fn single_keys_of_a_delete_fail() {
    let fault = Fault::new(FaultKind::ErrorInOkReply).on(Operation::DeleteObjects).key_contains("bad");
    let (server, client) = start_with(fault.first(1)).await;
    for key in ["bad", "good"] {
        put(&client, key, b"x").await;
    }
    let delete = || client.delete_objects().bucket(BUCKET).delete(keys_to_delete(&["bad", "good"])).send();
    let reply = delete().await.unwrap();
    assert_eq!(reply.deleted()[0].key(), Some("good"));
    assert_eq!((reply.errors()[0].key(), reply.errors()[0].code()), (Some("bad"), Some("InternalError")));
    assert_eq!(get(&client, "bad").await.unwrap(), b"x");
    assert!(delete().await.unwrap().errors().is_empty());
    assert_eq!(get(&client, "bad").await, None);

    server.faults().set([Fault::new(FaultKind::ErrorInOkReply).on(Operation::DeleteObjects)]);
    assert_eq!(delete().await.unwrap().errors().len(), 2, "without a key all of them fail");
}

#[tokio::test]
async fn lost_replies_of_multipart_uploads() {
    let (server, client) =
        start_with(Fault::new(FaultKind::LostReply).on(Operation::CreateMultipartUpload).first(1)).await;
    cut_off(client.create_multipart_upload().bucket(BUCKET).key("k").send()).await;
    let open = client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert_eq!(open.uploads().len(), 1, "an upload that nobody knows of");
    let orphan = open.uploads()[0].upload_id().unwrap();
    client.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(orphan).send().await.unwrap();

    server.faults().set([Fault::new(FaultKind::LostReply).on(Operation::CompleteMultipartUpload).first(1)]);
    let (id, parts) = one_part(&client, "k").await;
    let complete = || client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&id);
    let complete = || complete().multipart_upload(parts.clone()).send();
    cut_off(complete()).await;
    assert_eq!(get(&client, "k").await.unwrap(), b"x", "it was carried out");
    assert_eq!(refused(complete()).await, status(404, "NoSuchUpload"), "which a retry must be ready for");
}

#[tokio::test]
async fn replies_that_stop() {
    let (server, client) =
        start_with(Fault::new(FaultKind::HangInReply).on(Operation::GetObject).first(1)).await;
    let body = bytes(3_000_000, 1);
    put(&client, "k", &body).await;
    let mut reply = client.get_object().bucket(BUCKET).key("k").send().await.unwrap();
    let mut got = Vec::new();
    while got.len() < body.len() / 2 {
        got.extend(reply.body.next().await.unwrap().unwrap());
    }
    assert!(got == body[..body.len() / 2]);
    assert!(get(&client, "k").await.unwrap() == body, "others are served");
    let mut next = Box::pin(reply.body.next());
    assert!(next.as_mut().now_or_never().is_none(), "nothing more came");
    server.shutdown().await;
    assert!(next.await.unwrap().is_err(), "until the server stops");
}

#[tokio::test]
async fn hanging() {
    let (server, client) = start_with(Fault::new(FaultKind::Hang).on(Operation::HeadObject)).await;
    put(&client, "k", b"x").await;
    let mut head = Box::pin(client.head_object().bucket(BUCKET).key("k").send());
    while server.stats().of(Operation::HeadObject) == 0 {
        assert!(head.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&client, "k").await.unwrap(), b"x", "others are served");
    assert!(head.as_mut().now_or_never().is_none());
    server.shutdown().await;
    assert!(head.await.is_err(), "until the server stops");
}

#[tokio::test]
async fn latency() {
    let latency = Duration::from_millis(50);
    let (_server, client) =
        start_with(Fault::new(FaultKind::Latency(latency)).on(Operation::GetObject)).await;
    put(&client, "k", b"x").await;
    let start = Instant::now();
    assert_eq!(get(&client, "k").await.unwrap(), b"x");
    assert!(start.elapsed() >= latency);
}

#[tokio::test]
async fn corrupt_replies() {
    let (_server, client) =
        start_with(Fault::new(FaultKind::CorruptReply).on(Operation::GetObject).nth(1)).await;
    let body = bytes(1_000_000, 1);
    put(&client, "k", &body).await;
    let got = get(&client, "k").await.unwrap();
    assert_eq!(got.len(), body.len());
    assert_eq!(got.iter().zip(&body).filter(|(one, other)| one != other).count(), 1);
    assert!(get(&client, "k").await.unwrap() == body);
}

#[tokio::test]
async fn wrong_checksums() {
    let (server, client) = start_with(Fault::new(FaultKind::WrongChecksum)).await;
    let request = write(&client, b"123456789".to_vec()).checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
    let told = request.send().await.unwrap().checksum_crc64_nvme.unwrap();
    assert_ne!(told, "rosUhgp5mIg=");
    server.faults().clear();
    let head = client.head_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled);
    assert_eq!(head.send().await.unwrap().checksum_crc64_nvme(), Some("rosUhgp5mIg="));
}

#[tokio::test]
async fn a_server_that_knows_no_checksums() {
    let (server, client) = start_with(Fault::new(FaultKind::NoChecksums)).await;
    // Such a server does not even see that one is wrong.
    let reply = write(&client, b"x".to_vec()).checksum_crc32("AAAAAA==").send().await.unwrap();
    assert_eq!(reply.checksum_crc32(), None);
    assert_eq!(reply.checksum_type, None);
    let wrong = write(&client, b"x".to_vec()).content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send();
    assert_eq!(refused(wrong).await, status(400, "BadDigest"));

    let upload = client.create_multipart_upload().bucket(BUCKET).key("m");
    let upload = upload.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
    assert_eq!(upload.checksum_algorithm, None);
    let id = upload.upload_id.unwrap();
    let part = client.upload_part().bucket(BUCKET).key("m").upload_id(&id).part_number(1);
    let part = part.checksum_algorithm(ChecksumAlgorithm::Sha256).body(ByteStream::from_static(b"x"));
    let part = part.send().await.unwrap();
    assert_eq!(part.checksum_sha256(), None);
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).checksum_sha256("?").build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("m").upload_id(&id);
    complete.multipart_upload(parts).send().await.unwrap();
    server.faults().clear();
    for key in ["k", "m"] {
        let head = client.head_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        assert_eq!((head.checksum_crc64_nvme(), head.checksum_sha256()), (None, None), "nothing was kept");
    }
}

#[tokio::test]
async fn errors_in_replies_that_say_ok() {
    let (_server, client) = start_with(Fault::new(FaultKind::ErrorInOkReply).first(1)).await;
    let id =
        client.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap().upload_id.unwrap();
    let part =
        client.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(1).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let complete = || {
        let request = client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&id);
        request.multipart_upload(CompletedMultipartUpload::builder().parts(part.clone()).build())
    };
    assert_eq!(refused(complete().send()).await, status(200, "InternalError"));
    assert_eq!(get(&client, "k").await, None);
    complete().send().await.unwrap();
}

#[tokio::test]
async fn servers_that_lack_conditions() {
    let (server, client) = start_with(Fault::new(FaultKind::NoConditionalWrites)).await;
    let conditional = || write(&client, b"new".to_vec()).if_none_match("*").send();
    assert_eq!(refused(conditional()).await, status(501, "NotImplemented"));
    put(&client, "k", b"old").await;

    server.faults().set([Fault::new(FaultKind::ConditionsIgnored)]);
    conditional().await.unwrap();
    assert_eq!(get(&client, "k").await.unwrap(), b"new");
    server.faults().clear();
    assert_eq!(refused(conditional()).await, status(412, "PreconditionFailed"));
}
