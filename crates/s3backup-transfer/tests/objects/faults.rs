//! What only a server that misbehaves can show.

use std::time::Duration;

use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_transfer::{ChecksumKind, DownloadLimits, Error, WriteCondition, crc64nvme_base64};

use crate::common::{MIB, Store, noise};
use crate::{download, key, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_replies_are_gone_on_with() {
    let store = Store::embedded().await;
    let bytes = noise(1, 20 * MIB);
    let pin = put(&store.client, &store.name, "f", &bytes).await;
    let faults = store.server().faults();
    faults.add(Fault::new(FaultKind::ResetInReply).on(Operation::GetObject).percent(40.0, 7));
    faults.add(Fault::new(FaultKind::SlowDown).on(Operation::GetObject).percent(20.0, 8));
    let (got, file) = download(&store, &store.bucket(), "f", &pin, &bytes).await;
    assert_eq!(got.unwrap().size, bytes.len() as u64);
    assert!(file == bytes);
    assert!(store.server().stats().of(Operation::GetObject) > 3, "there was something to overcome");
    let hashed = store.bucket().hash_object(&key("f"), &pin, &DownloadLimits::default()).await.unwrap();
    assert_eq!(hashed.crc64nvme, crc64nvme_base64(&bytes));

    faults.set([Fault::new(FaultKind::CorruptReply).on(Operation::GetObject)]);
    let before = store.server().stats().of(Operation::GetObject);
    let (got, _) = download(&store, &store.bucket(), "f", &pin, &bytes).await;
    assert!(matches!(got, Err(Error::Mismatch { .. })), "{got:?}");
    assert_eq!(store.server().stats().of(Operation::GetObject) - before, 6, "each range twice");

    faults.set([Fault::new(FaultKind::ResetBeforeReply).on(Operation::GetObject)]);
    let (got, _) = download(&store, &store.bucket(), "f", &pin, &bytes).await;
    assert!(matches!(got, Err(Error::NoAnswer { .. })), "{got:?}");
}

/// What is overwritten while it comes is not mended with the new one's bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_is_made_of_two_objects() {
    let store = Store::embedded().await;
    let (before, after) = (noise(1, 20 * MIB), noise(2, 20 * MIB));
    put(&store.client, &store.name, "f", &before).await;
    let faults = store.server().faults();
    faults.add(Fault::new(FaultKind::Latency(Duration::from_millis(300))).on(Operation::GetObject).nth(3));
    faults.add(Fault::new(FaultKind::ResetInReply).on(Operation::GetObject).first(1));
    let (bucket, pin) = (store.bucket(), s3backup_transfer::Pin::default());
    let limits = DownloadLimits::new(1);
    let name = key("f");
    let hashing = bucket.hash_object(&name, &pin, &limits);
    let meddling = async {
        let begun = || store.server().stats().of(Operation::GetObject) >= 2;
        crate::common::until("the download is under way", begun).await;
        put(&store.client, &store.name, "f", &after).await;
    };
    let (hashed, ()) = futures::future::join(hashing, meddling).await;
    match hashed {
        Err(Error::VersionGone { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_share_their_limit() {
    let store = Store::embedded().await;
    for name in ["a", "b", "c"] {
        put(&store.client, &store.name, name, &noise(1, 30 * MIB)).await;
    }
    store.server().faults().add(Fault::new(FaultKind::Latency(Duration::from_millis(300))));
    let (bucket, limits) = (store.bucket(), DownloadLimits::new(5));
    let names = ["a", "b", "c"].map(key);
    let pins = futures::future::join_all(names.iter().map(async |name| {
        let etag = bucket.head(name).await.unwrap().unwrap().etag;
        s3backup_transfer::Pin { etag: Some(etag), version_id: None }
    }))
    .await;
    let before = store.server().stats().peak_requests;
    assert!(before <= 3, "{before}");
    let files = names.iter().zip(&pins).map(async |(name, pin)| {
        let file = std::sync::Arc::new(std::fs::File::create(store.path(name.as_str())).unwrap());
        let expected = s3backup_transfer::Expected {
            size: 30 * MIB,
            crc64nvme: Some(crc64nvme_base64(&noise(1, 30 * MIB))),
        };
        bucket.download_into(name, pin, &expected, file, &limits).await.unwrap();
    });
    futures::future::join_all(files).await;
    assert_eq!(store.server().stats().peak_requests, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_is_not_somebody_else() {
    for condition in [WriteCondition::New, WriteCondition::Replaces(String::new())] {
        for kind in [ChecksumKind::Crc64Nvme, ChecksumKind::None] {
            let store = Store::embedded().await;
            let (bucket, key) = (store.bucket(), key("control"));
            let mut condition = condition.clone();
            if let WriteCondition::Replaces(etag) = &mut condition {
                *etag = bucket.write(&key, "before".into(), kind, None).await.unwrap().etag;
            }
            let faults = store.server().faults();
            faults.add(Fault::new(FaultKind::LostReply).on(Operation::PutObject).first(1));
            let written = bucket.write_if(&key, "ours".into(), kind, None, condition).await.unwrap();
            let (bytes, etag) = bucket.read_tagged(&key, 10).await.unwrap().unwrap();
            assert_eq!((&bytes[..], etag), (&b"ours"[..], written.etag));
        }
    }
}

/// An answer that may have been lost makes nobody else's bytes ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_else_is_not_taken_for_a_lost_reply() {
    let store = Store::embedded().await;
    let (bucket, kind) = (store.bucket(), ChecksumKind::default());
    bucket.write(&key("control"), "mine".into(), kind, None).await.unwrap();
    store.server().faults().add(Fault::new(FaultKind::InternalError).on(Operation::PutObject).first(1));
    let written = bucket.write_if(&key("control"), "ours".into(), kind, None, WriteCondition::New).await;
    assert!(written.as_ref().is_err_and(Error::is_precondition), "{written:?}");
    assert_eq!(bucket.read(&key("control"), 10).await.unwrap().unwrap(), "mine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_conditions_is_looked_at_first() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::NoConditionalWrites));
    let (bucket, key, kind) = (store.bucket(), key("control"), ChecksumKind::default());
    let write =
        async |text: &'static str, condition| bucket.write_if(&key, text.into(), kind, None, condition).await;
    let first = write("first", WriteCondition::New).await.unwrap();
    assert!(write("other", WriteCondition::New).await.unwrap_err().is_precondition());
    write("second", WriteCondition::Replaces(first.etag.clone())).await.unwrap();
    assert!(write("other", WriteCondition::Replaces(first.etag)).await.unwrap_err().is_precondition());
    assert_eq!(bucket.read(&key, 10).await.unwrap().unwrap(), "second");
}

/// More than one page, and keys that XML cannot hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_and_strange_keys() {
    let store = Store::embedded().await;
    let bucket = store.bucket();
    for _ in 0..1001 {
        store.client.create_multipart_upload().bucket(&store.name).key("k").send().await.unwrap();
    }
    let open = bucket.open_uploads(&key("k")).await.unwrap();
    assert_eq!(open.len(), 1001);
    let ids: std::collections::HashSet<_> = open.iter().map(|upload| &upload.upload_id).collect();
    assert_eq!(ids.len(), 1001);

    let names = ["bell\u{7}", "\u{fffe}", "plain"].map(key);
    for name in &names {
        bucket.write(name, "x".into(), ChecksumKind::default(), None).await.unwrap();
    }
    let failed = bucket.delete_many(&names.map(|key| (key, None))).await.unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(bucket.list("", None).await.unwrap().objects, []);
    let many: Vec<_> = (0..1001).map(|index| (key(&format!("k{index}")), None)).collect();
    let error = bucket.delete_many(&many).await.unwrap_err();
    assert!(matches!(error, Error::BadRequest { .. }), "{error:?}");
}
