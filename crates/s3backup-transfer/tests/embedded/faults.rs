//! A server that fails, loses replies, or proves too little.

use std::collections::HashSet;
use std::time::Duration;

use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_model::Key;
use s3backup_transfer::{
    ChecksumKind, Engine, Error, RetrySettings, TransferSettings, Upload, crc64nvme_base64,
};

use crate::common::{KINDS, PART, Store, noise, objects, of_kind, quick, run, run_one_by_one, settings};

/// Every operation by which files are sent.
const SENDING: [Operation; 4] = [
    Operation::PutObject,
    Operation::CreateMultipartUpload,
    Operation::UploadPart,
    Operation::CompleteMultipartUpload,
];

fn both_sizes(store: &Store) -> Vec<Upload> {
    vec![store.file("small", &noise(1, 1000)), store.file("large", &noise(2, 2 * PART + 1))]
}

async fn assert_both_arrived(store: &Store) {
    assert!(store.get("small").await.unwrap() == noise(1, 1000));
    assert!(store.get("large").await.unwrap() == noise(2, 2 * PART + 1));
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_failures_of_each_operation_are_overcome() {
    let kinds = [
        FaultKind::SlowDown,
        FaultKind::TooManyRequests,
        FaultKind::InternalError,
        FaultKind::ResetInRequest,
        FaultKind::ResetBeforeReply,
    ];
    for kind in kinds {
        let store = Store::embedded().await;
        for operation in SENDING {
            store.server().faults().add(Fault::new(kind.clone()).on(operation).first(2));
        }
        let said = store.send(both_sizes(&store)).await;
        for done in &said.done {
            assert!(done.result.as_ref().is_ok_and(|stored| stored.sent), "{kind:?}: {done:?}");
            // Parts share their two failures; all other requests are alone.
            let expected = if done.upload.key.as_str() == "small" { 2 } else { 6 };
            assert_eq!(done.retries, expected, "{kind:?}");
            assert!(done.wire_bytes > done.upload.entry.stat.size, "{kind:?}");
        }
        assert_eq!(said.sent_bytes, 1000 + 2 * PART + 1, "{kind:?}");
        assert_both_arrived(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_is_asked_again() {
    let store = Store::embedded().await;
    // All but parts, whose bytes are given minutes.
    for operation in
        [Operation::PutObject, Operation::CreateMultipartUpload, Operation::CompleteMultipartUpload]
    {
        store.server().faults().add(Fault::new(FaultKind::Hang).on(operation).first(1));
    }
    let retry = RetrySettings { request_timeout: Duration::from_millis(1500), ..quick() };
    let engine = Engine::new(store.bucket().with_retry(retry), settings(), objects("run-1"));
    let said = run(engine, both_sizes(&store)).await;
    assert!(said.done.iter().all(|done| done.result.is_ok() && done.retries > 0), "{:?}", said.done);
    let sent = store.server().stats().of(Operation::CreateMultipartUpload);
    assert_eq!(sent, 2);
    assert!(store.get("small").await.unwrap() == noise(1, 1000));
    assert!(store.get("large").await.unwrap() == noise(2, 2 * PART + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_is_no_conflict_and_counts_as_sent() {
    for kind in KINDS {
        let store = Store::embedded().await;
        for operation in [
            Operation::PutObject,
            Operation::CreateMultipartUpload,
            Operation::UploadPart,
            Operation::CompleteMultipartUpload,
        ] {
            store.server().faults().add(Fault::new(FaultKind::LostReply).on(operation).first(1));
        }
        let said = run(store.engine(of_kind(kind), objects("run-1")), both_sizes(&store)).await;
        for done in &said.done {
            assert!(done.result.as_ref().is_ok_and(|stored| stored.sent), "{kind:?}: {done:?}");
        }
        assert_both_arrived(&store).await;
        assert_eq!(store.open_uploads().await, 0, "the one whose id was lost is paid for");

        // Nor when the object takes the place of an older one.
        store.server().faults().clear();
        for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
            store.server().faults().add(Fault::new(FaultKind::LostReply).on(operation).first(1));
        }
        let uploads = vec![store.file("small", &noise(8, 999)), store.file("large", &noise(9, PART + 9))];
        let said = run(store.engine(of_kind(kind), objects("run-2")), uploads).await;
        for done in &said.done {
            assert!(done.result.as_ref().is_ok_and(|stored| stored.sent), "{kind:?}: {done:?}");
        }
        assert!(store.get("small").await.unwrap() == noise(8, 999));
        assert!(store.get("large").await.unwrap() == noise(9, PART + 9));
        assert_eq!(store.open_uploads().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_inside_a_good_reply_is_an_error() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::ErrorInOkReply).first(2));
    let said = store.send(both_sizes(&store)).await;
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    assert_both_arrived(&store).await;

    store.server().faults().set([Fault::new(FaultKind::ErrorInOkReply)]);
    let error = store.send(vec![store.file("third", &noise(3, PART + 1))]).await.only().unwrap_err();
    assert!(error.service().is_some(), "{error:?}");
    assert_eq!(store.get("third").await, None);
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_checksum_in_the_reply_is_a_mismatch() {
    for kind in [ChecksumKind::Crc64Nvme, ChecksumKind::Crc32c, ChecksumKind::Sha256] {
        for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
            let store = Store::embedded().await;
            store.server().faults().add(Fault::new(FaultKind::WrongChecksum).on(operation));
            let size = if operation == Operation::PutObject { 10 } else { PART + 1 };
            let upload = store.file("f", &noise(1, size));
            let engine = store.engine(of_kind(kind), objects("run-1"));
            let error = run(engine, vec![upload.clone()]).await.only().unwrap_err();
            assert!(matches!(error, Error::Mismatch { .. }), "{kind:?} {operation:?}: {error:?}");
            assert!(!error.is_fatal());

            // As the message says, the next run mends it.
            store.server().faults().clear();
            let engine = store.engine(of_kind(kind), objects("run-2"));
            run(engine, vec![upload]).await.only().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_checksum_of_a_part_is_a_mismatch() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::WrongChecksum).on(Operation::UploadPart).nth(2));
    let error = store.send(vec![store.file("f", &noise(1, PART + 1))]).await.only().unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    assert_eq!(store.get("f").await, None);
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checksum_that_the_reply_lacks_is_looked_for_by_head() {
    for (operation, size) in [(Operation::PutObject, 10), (Operation::CompleteMultipartUpload, PART + 1)] {
        let store = Store::embedded().await;
        store.server().faults().add(Fault::new(FaultKind::NoChecksums).on(operation));
        let looks = || store.server().stats().of(Operation::HeadObject);
        let before = looks();
        let upload = store.file("f", &noise(1, size));
        let result = store.send(vec![upload]).await.only();
        assert!(looks() > before, "{operation:?}");
        // The embedded server does not keep what it does not tell of.
        assert!(matches!(result, Err(Error::NotEchoed { .. })), "{result:?}");
    }
}

/// S3 says 404 and not 412 when an object that was to be replaced is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_went_meanwhile_is_written_anew() {
    let store = Store::embedded().await;
    run(store.engine(settings(), objects("run-1")), vec![store.file("f", b"old")]).await.only().unwrap();
    let gone = FaultKind::Error { status: 404, code: "NoSuchKey".to_owned() };
    // The first write is refused because the object is there, the second because it is not.
    store.server().faults().add(Fault::new(gone).on(Operation::PutObject).nth(2));
    let upload = store.file("f", b"new");
    let stored = run(store.engine(settings(), objects("run-2")), vec![upload]).await.only().unwrap();
    assert!(stored.sent);
    assert_eq!(store.get("f").await.unwrap(), b"new");
}

/// The same at the end of a multipart upload, which then need not be sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_went_before_the_completion_is_written_anew() {
    let store = Store::embedded().await;
    let stats = || store.server().stats();
    store.send(vec![store.file("f", &noise(1, PART + 1))]).await.only().unwrap();
    let parts = stats().of(Operation::UploadPart);
    let latency = FaultKind::Latency(Duration::from_millis(700));
    store.server().faults().add(Fault::new(latency).on(Operation::CompleteMultipartUpload).first(1));
    let upload = store.file("f", &noise(2, PART + 1));
    let sending = run(store.engine(settings(), objects("run-2")), vec![upload]);
    let removing = async {
        let arrived = || stats().of(Operation::CompleteMultipartUpload) == 2;
        crate::common::until("the completion is under way", arrived).await;
        store.client.delete_object().bucket(&store.name).key("f").send().await.unwrap();
    };
    let (said, ()) = futures::future::join(sending, removing).await;
    assert!(said.only().unwrap().sent);
    assert_eq!(stats().of(Operation::UploadPart), 2 * parts);
    assert_eq!(stats().of(Operation::CompleteMultipartUpload), 3);
    assert!(store.get("f").await.unwrap() == noise(2, PART + 1));
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_checksums_is_named_and_the_etag_can_do() {
    for (name, size) in [("small", 10), ("large", PART + 1)] {
        let store = Store::embedded().await;
        store.server().faults().add(Fault::new(FaultKind::NoChecksums));
        let upload = store.file(name, &noise(1, size));
        let error = store.send(vec![upload.clone()]).await.only().unwrap_err();
        assert!(matches!(error, Error::NotEchoed { .. }) && error.is_fatal(), "{error:?}");
        assert!(error.to_line().contains("`none`"), "the mend is named: {}", error.to_line());

        let engine = store.engine(of_kind(ChecksumKind::None), objects("run-2"));
        let stored = run(engine, vec![upload]).await.only().unwrap();
        assert_eq!(stored.crc64nvme, crc64nvme_base64(&noise(1, size)));
        assert_eq!(stored.checksum, None);
        assert!(store.get(name).await.unwrap() == noise(1, size));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_conditions_gets_one_warning() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::NoConditionalWrites));
    let mut uploads: Vec<Upload> =
        (0..40).map(|index| store.file(&format!("f{index}"), &noise(index, 100))).collect();
    uploads.push(store.file("large", &noise(1, PART + 1)));
    let said = store.send(uploads).await;
    assert_eq!(said.done.len(), 41);
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    assert_eq!(said.warnings.len(), 1, "{:?}", said.warnings);
    assert_eq!(store.open_uploads().await, 0);

    let only_large = Store::embedded().await;
    only_large.server().faults().add(Fault::new(FaultKind::NoConditionalWrites));
    let said = only_large.send(vec![only_large.file("large", &noise(1, PART + 1))]).await;
    assert_eq!(said.warnings.len(), 1, "{:?}", said.warnings);
    said.only().unwrap();
}

/// As on a server with conditions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_conditions_nothing_strange_is_overwritten() {
    for size in [10, PART + 1] {
        let store = Store::embedded().await;
        store.server().faults().add(Fault::new(FaultKind::NoConditionalWrites));
        let body = b"somebody else's".to_vec();
        store.client.put_object().bucket(&store.name).key("strange").body(body.into()).send().await.unwrap();
        let (one, two) = (noise(1, size), noise(2, size));
        let uploads = vec![
            store.file("first", b"x"),
            store.file_as("one", "both", &one),
            store.file_as("two", "both", &two),
            store.file("strange", &one),
        ];
        // One after the other, so that the server is known by the first.
        let said = run_one_by_one(store.engine(settings(), objects("run-1")), uploads).await;
        let went_well: Vec<bool> = said.done.iter().map(|done| done.result.is_ok()).collect();
        assert_eq!(went_well, [true, true, false, false], "{:?}", said.done);
        for done in &said.done[2..] {
            assert!(matches!(done.result, Err(Error::Conflict { .. })), "{done:?}");
        }
        assert!(store.get("both").await.unwrap() == one);
        assert_eq!(store.get("strange").await.unwrap(), b"somebody else's");
        assert_eq!(store.open_uploads().await, 0);
    }
}

/// A server says the same of a tag or a storage class that it does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_implemented_need_not_be_conditions() {
    for (operation, size) in [(Operation::PutObject, 10), (Operation::CompleteMultipartUpload, PART + 1)] {
        let store = Store::embedded().await;
        let unknown = FaultKind::Error { status: 501, code: "NotImplemented".to_owned() };
        store.server().faults().add(Fault::new(unknown).on(operation).key_contains("odd"));
        let body = b"somebody else's".to_vec();
        store.client.put_object().bucket(&store.name).key("strange").body(body.into()).send().await.unwrap();
        let uploads = vec![store.file("odd", &noise(1, size)), store.file("strange", &noise(2, size))];
        let said = run_one_by_one(store.engine(settings(), objects("run-1")), uploads).await;
        assert_eq!(said.warnings, [""; 0]);
        let odd = said.done[0].result.as_ref().unwrap_err();
        assert!(odd.service().is_some_and(|refusal| refusal.status == 501), "{odd:?}");
        assert!(matches!(said.done[1].result, Err(Error::Conflict { .. })), "{:?}", said.done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_credentials_are_tried_again_and_then_fatal() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::ExpiredToken).on(Operation::PutObject).first(1));
    store.send(vec![store.file("renewed", b"x")]).await.only().unwrap();

    store.server().faults().set([Fault::new(FaultKind::ExpiredToken)]);
    for (name, size) in [("small", 10), ("large", PART + 1)] {
        let error = store.send(vec![store.file(name, &noise(1, size))]).await.only().unwrap_err();
        assert!(error.is_fatal(), "{error:?}");
        assert!(error.to_line().contains("expired"), "{}", error.to_line());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_not_sent_again() {
    for operation in SENDING {
        let store = Store::embedded().await;
        store.server().faults().add(Fault::new(FaultKind::AccessDenied).on(operation));
        let size = if operation == Operation::PutObject { 10 } else { PART + 1 };
        let settings = TransferSettings { concurrency: Some(1), ..settings() };
        let said =
            run(store.engine(settings, objects("run-1")), vec![store.file("f", &noise(1, size))]).await;
        assert_eq!(said.done[0].attempts, 1);
        let error = said.only().unwrap_err();
        assert!(error.service().is_some_and(s3backup_transfer::ServiceError::is_denied), "{error:?}");
        assert!(!error.is_fatal());
        assert!(error.to_line().contains("s3:PutObject"), "{}", error.to_line());
        assert_eq!(store.server().stats().of(operation), 1, "{operation:?}");
        assert_eq!(store.open_uploads().await, 0);
    }
}

/// Credentials that may only write can still back up, as long as nothing is in the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_write_is_enough() {
    let store = Store::embedded().await;
    let may_not = Fault::new(FaultKind::AccessDenied);
    store
        .server()
        .faults()
        .add(may_not.on(Operation::HeadObject).on(Operation::GetObject).on(Operation::ListObjectsV2));
    let said = store.send(both_sizes(&store)).await;
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    store.server().faults().clear();
    assert_both_arrived(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_files_arrive_through_a_bad_line() {
    let store = Store::embedded().await;
    let faults = store.server().faults();
    faults.add(Fault::new(FaultKind::SlowDown).percent(10.0, 11));
    faults.add(Fault::new(FaultKind::ResetInRequest).percent(3.0, 12));
    faults.add(Fault::new(FaultKind::LostReply).percent(2.0, 13));
    let uploads: Vec<Upload> =
        (0..300).map(|index| store.file(&format!("{index}"), &noise(index, 100 + index))).collect();
    let said = store.send(uploads).await;
    faults.clear();
    let failed: Vec<_> = said.done.iter().filter(|done| done.result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(said.done.iter().all(|done| done.result.as_ref().is_ok_and(|stored| stored.sent)));
    assert!(said.done.iter().map(|done| done.retries).sum::<u64>() > 20);
    let keys: HashSet<&str> = said.done.iter().map(|done| done.upload.key.as_str()).collect();
    assert_eq!((keys.len(), said.done.len()), (300, 300), "each is told of exactly once");
    for index in 0..300 {
        assert!(store.get(&index.to_string()).await.unwrap() == noise(index, 100 + index), "{index}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamed_parts_are_read_again_for_each_attempt() {
    let store = Store::embedded().await;
    let faults = store.server().faults();
    faults.add(Fault::new(FaultKind::ResetInRequest).on(Operation::UploadPart).first(2));
    faults.add(Fault::new(FaultKind::LostReply).on(Operation::UploadPart).nth(4));
    let settings = TransferSettings { part_size_bytes: 6 << 20, memory_bytes: 5 << 20, ..settings() };
    let bytes = noise(1, 13 << 20);
    let said = run(store.engine(settings, objects("run-1")), vec![store.file("f", &bytes)]).await;
    assert_eq!(said.done[0].retries, 3);
    said.only().unwrap();
    assert!(store.get("f").await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_after_a_reset_and_is_repeated_when_it_is_wrong() {
    let store = Store::embedded().await;
    let bytes = noise(1, 3 << 20);
    let stored = store.send(vec![store.file("f", &bytes)]).await.only().unwrap();
    let (key, path) = (Key::new("f").unwrap(), store.path("restored"));
    let faults = store.server().faults();
    faults.add(Fault::new(FaultKind::ResetInReply).on(Operation::GetObject).first(2));
    faults.add(Fault::new(FaultKind::SlowDown).on(Operation::GetObject).nth(3));
    let got = store.bucket().download(&key, &path, Some(&stored.crc64nvme)).await.unwrap();
    assert_eq!(got.size, bytes.len() as u64);
    assert!(std::fs::read(&path).unwrap() == bytes);
    std::fs::remove_file(&path).unwrap();

    // Bytes that are wrong come once more, and are believed when they are right.
    faults.set([Fault::new(FaultKind::CorruptReply).on(Operation::GetObject).first(1)]);
    store.bucket().download(&key, &path, Some(&stored.crc64nvme)).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes);
    std::fs::remove_file(&path).unwrap();

    faults.set([Fault::new(FaultKind::CorruptReply).on(Operation::GetObject)]);
    let error = store.bucket().download(&key, &path, Some(&stored.crc64nvme)).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    assert!(!path.exists());
}

/// An upload that turned out to be needless is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_came_meanwhile_leaves_no_open_upload() {
    for same in [true, false] {
        let store = Store::embedded().await;
        let bytes = noise(1, PART + 1);
        let latency = FaultKind::Latency(Duration::from_millis(700));
        store.server().faults().add(Fault::new(latency).on(Operation::CompleteMultipartUpload));
        let upload = store.file("f", &bytes);
        let sending = store.send(vec![upload.clone()]);
        let meddling = async {
            let arrived = || store.server().stats().of(Operation::CompleteMultipartUpload) == 1;
            crate::common::until("the completion is under way", arrived).await;
            let other = if same { bytes.clone() } else { b"another program's".to_vec() };
            let put = store.client.put_object().bucket(&store.name).key("f").body(other.into());
            put.checksum_crc64_nvme(crc64nvme_base64(if same { &bytes } else { b"another program's" }))
                .send()
                .await
                .unwrap();
        };
        let (said, ()) = futures::future::join(sending, meddling).await;
        let result = said.only();
        if same {
            assert!(result.as_ref().is_ok_and(|stored| !stored.sent), "{result:?}");
        } else {
            assert!(matches!(result, Err(Error::Conflict { .. })), "{result:?}");
            assert_eq!(store.get("f").await.unwrap(), b"another program's");
        }
        assert_eq!(store.open_uploads().await, 0, "same bytes: {same}");
    }
}
