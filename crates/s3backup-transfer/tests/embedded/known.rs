//! Uploads of which the caller knows what the bucket holds.

use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_model::{FailureKind, Key};
use s3backup_transfer::{Error, Known, Stored, TransferSettings, Upload};

use crate::common::journal::Journal;
use crate::common::{PART, Store, known, noise, objects, run, settings};

const SIZES: [(&str, u64); 2] = [("small", 1000), ("large", 2 * PART + 1)];

/// How many requests of each operation there were since `before`, those that did not come left out.
fn requests_since(store: &Store, before: &s3backup_local_s3::Stats) -> Vec<(Operation, u64)> {
    let now = store.server().stats();
    let grown = |operation: Operation| now.of(operation) - before.of(operation);
    let all = Operation::ALL.iter().map(|operation| (*operation, grown(*operation)));
    all.filter(|(_, count)| *count > 0).collect()
}

async fn store_first(store: &Store, name: &str, size: u64) -> Stored {
    store.send(vec![store.file(name, &noise(1, size))]).await.only().unwrap()
}

/// By a later run.
async fn send(store: &Store, upload: Upload) -> Result<Stored, Error> {
    run(store.engine(settings(), objects("run-2")), vec![upload]).await.only()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_bytes_cost_no_request() {
    for (name, size) in SIZES {
        let store = Store::embedded().await;
        let first = store_first(&store, name, size).await;
        let before = store.server().stats();
        let journal = Journal::new();
        let upload = Upload { known: Some(known(&first)), hold: true, ..store.file(name, &noise(1, size)) };
        let now = upload.entry.stat;
        assert_ne!(now.mtime_ns, first.stat.mtime_ns);
        let engine = store.engine(settings(), objects("run-2")).with_journal(journal.clone());
        let said = run(engine, vec![upload]).await;
        assert_eq!(said.sent_bytes, 0);
        assert_eq!(said.only().unwrap(), Stored { stat: now, sent: false, ..first });
        assert_eq!(requests_since(&store, &before), [], "{name}");
        assert_eq!(journal.calls(), [""; 0], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_object_is_replaced_without_a_look() {
    for after in [1000, 999] {
        let store = Store::embedded().await;
        let first = store_first(&store, "f", 1000).await;
        let before = store.server().stats();
        let upload = Upload { known: Some(known(&first)), ..store.file("f", &noise(2, after)) };
        assert!(send(&store, upload).await.unwrap().sent);
        assert_eq!(requests_since(&store, &before), [(Operation::PutObject, 1)]);
    }
    for after in [2 * PART, 2 * PART - 1] {
        let store = Store::embedded().await;
        let first = store_first(&store, "f", 2 * PART).await;
        let before = store.server().stats();
        let upload = Upload { known: Some(known(&first)), ..store.file("f", &noise(2, after)) };
        assert!(send(&store, upload).await.unwrap().sent);
        let expected = [
            (Operation::CreateMultipartUpload, 1),
            (Operation::UploadPart, 2),
            (Operation::CompleteMultipartUpload, 1),
        ];
        assert_eq!(requests_since(&store, &before), expected);
        assert!(store.get("f").await.unwrap() == noise(2, after));
    }
}

/// Nothing of a large file is sent twice because its object went or was written by an earlier run of this job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_leads_to_a_look_and_to_what_is_right_then() {
    for (name, size) in SIZES {
        let store = Store::embedded().await;
        let parts = size.div_ceil(PART);
        let first = store_first(&store, name, size).await;
        let upload = |seed| Upload { known: Some(known(&first)), ..store.file(name, &noise(seed, size)) };

        // Gone.
        store.client.delete_object().bucket(&store.name).key(name).send().await.unwrap();
        let before = store.server().stats();
        assert!(send(&store, upload(2)).await.unwrap().sent);
        let (put, completed) = if parts == 1 { (2, 0) } else { (0, 2) };
        let expected = [
            (Operation::PutObject, put),
            // Asks once in the life of a bucket whether it is the bucket that is missing: a large file did at first.
            (Operation::GetObject, u64::from(parts == 1)),
            (Operation::HeadObject, 1),
            (Operation::CreateMultipartUpload, completed / 2),
            (Operation::UploadPart, if parts == 1 { 0 } else { parts }),
            (Operation::CompleteMultipartUpload, completed),
        ];
        let expected: Vec<_> = expected.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(requests_since(&store, &before), expected, "{name}");

        // Written by this job since.
        assert!(send(&store, upload(3)).await.unwrap().sent);
        assert!(store.get(name).await.unwrap() == noise(3, size));

        // Written since, with the bytes that the file has now.
        let stored = send(&store, upload(3)).await.unwrap();
        assert!(!stored.sent);
        assert_ne!(stored.etag, first.etag);

        // Another program's.
        store.meddle(name, b"another program's").await;
        let error = send(&store, upload(4)).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        assert_eq!(store.get(name).await.unwrap(), b"another program's");
        assert_eq!(store.open_uploads().await, 0);
    }
}

/// What another tool put there was taken over, so it may be replaced, by this job and on every kind of server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_was_adopted_is_replaced() {
    for (name, size) in SIZES {
        for has_conditions in [true, false] {
            let store = Store::embedded().await;
            if !has_conditions {
                store.server().faults().add(Fault::new(FaultKind::NoConditionalWrites));
            }
            let etag = store.meddle(name, &noise(1, size)).await;
            let adopted = store_first(&store, name, size).await;
            assert!(!adopted.sent);
            assert_eq!(adopted.etag, etag);

            let upload = Upload { known: Some(known(&adopted)), ..store.file(name, &noise(2, size)) };
            assert!(send(&store, upload).await.unwrap().sent);
            assert!(store.get(name).await.unwrap() == noise(2, size));

            // Now it is another than the known one.
            store.meddle(name, b"another program's").await;
            let upload = Upload { known: Some(known(&adopted)), ..store.file(name, &noise(3, size)) };
            let error = send(&store, upload).await.unwrap_err();
            assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
            assert_eq!(store.get(name).await.unwrap(), b"another program's");
            assert_eq!(store.open_uploads().await, 0);
        }
    }
}

/// What the server says of an object whose bytes rotted is as right as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubtful_object_is_overwritten_whatever_the_server_says_of_it() {
    for (name, size) in SIZES {
        for has_conditions in [true, false] {
            let store = Store::embedded().await;
            if !has_conditions {
                store.server().faults().add(Fault::new(FaultKind::NoConditionalWrites));
            }
            let first = store_first(&store, name, size).await;
            store.server().corrupt(&store.name, name, size - 1).unwrap();
            let key = Key::new(name).unwrap();
            let rotten = store.bucket().download(&key, &store.path("restored"), Some(&first.crc64nvme)).await;
            assert!(matches!(rotten, Err(Error::Mismatch { .. })), "{rotten:?}");
            let claimed = store.bucket().head(&key).await.unwrap().unwrap();
            assert_eq!(claimed.crc64nvme.as_ref(), Some(&first.crc64nvme));

            let doubtful = Known { is_doubtful: true, ..known(&first) };
            let upload = || Upload { known: Some(doubtful.clone()), ..store.file(name, &noise(1, size)) };
            let stored = send(&store, upload()).await.unwrap();
            assert!(stored.sent, "{name}");
            assert!(store.get(name).await.unwrap() == noise(1, size), "{name}");

            // Also when it is another object than the known one that claims to have these bytes.
            for etag in ["other", ""] {
                store.server().corrupt(&store.name, name, 0).unwrap();
                let mut upload = upload();
                upload.known = Some(Known { etag: etag.to_owned(), ..doubtful.clone() });
                assert!(send(&store, upload).await.unwrap().sent, "{name} {etag:?}");
                assert!(store.get(name).await.unwrap() == noise(1, size), "{name} {etag:?}");
            }

            // A doubtful object that is gone is written anew, and another program's is left alone.
            store.client.delete_object().bucket(&store.name).key(name).send().await.unwrap();
            assert!(send(&store, upload()).await.unwrap().sent);
            store.meddle(name, b"another program's").await;
            let error = send(&store, upload()).await.unwrap_err();
            assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
            assert_eq!(store.get(name).await.unwrap(), b"another program's");
            assert_eq!(store.open_uploads().await, 0);
        }
    }
}

/// The object that is there then is our own, and not in doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_to_a_doubtful_file_counts_as_sent() {
    for (name, size) in SIZES {
        let store = Store::embedded().await;
        let first = store_first(&store, name, size).await;
        for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
            store.server().faults().add(Fault::new(FaultKind::LostReply).on(operation).first(1));
        }
        let doubtful = Known { is_doubtful: true, ..known(&first) };
        // Other bytes, so that the first try changes the ETag and the second is refused.
        let upload = Upload { known: Some(doubtful), ..store.file(name, &noise(2, size)) };
        let before = store.server().stats();
        assert!(send(&store, upload).await.unwrap().sent);
        let parts = store.server().stats().of(Operation::UploadPart) - before.of(Operation::UploadPart);
        assert_eq!(parts, if size > PART { size.div_ceil(PART) } else { 0 });
        assert!(store.get(name).await.unwrap() == noise(2, size));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_replaced_is_asked_for() {
    for (name, size) in SIZES {
        let store = Store::embedded().await;
        let first = store_first(&store, name, size).await;
        let unsettled = || Some(Known { is_unsettled: true, ..known(&first) });
        let again = || Upload { known: unsettled(), ..store.file(name, &noise(1, size)) };
        let before = store.server().stats();
        assert!(!send(&store, again()).await.unwrap().sent);
        assert_eq!(requests_since(&store, &before), [(Operation::HeadObject, 1)], "{name}");
        // Our own, of which nobody heard.
        let other = Upload { known: Some(known(&first)), ..store.file(name, &noise(2, size)) };
        assert!(send(&store, other).await.unwrap().sent);
        assert!(send(&store, again()).await.unwrap().sent);
        assert!(store.get(name).await.unwrap() == noise(1, size));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_not_sent() {
    for (name, size) in SIZES {
        let store = Store::embedded().await;
        let first = store_first(&store, name, size).await;
        for is_doubtful in [false, true] {
            for after in [size, size + 1] {
                let before = store.server().stats();
                let known = Some(Known { is_doubtful, ..known(&first) });
                let upload = Upload { known, hold: true, ..store.file(name, &noise(2, after)) };
                let error = send(&store, upload).await.unwrap_err();
                assert!(matches!(&error, Error::Held { path } if *path == store.path(name)), "{error:?}");
                assert_eq!(error.kind(), FailureKind::Guard);
                assert!(!error.is_fatal() && error.to_line().contains("not overwritten"), "{error}");
                assert_eq!(requests_since(&store, &before), [], "{name}");
            }
        }
        // What did not change is mended all the same.
        let known = Some(Known { is_doubtful: true, ..known(&first) });
        let upload = Upload { known, hold: true, ..store.file(name, &noise(1, size)) };
        assert!(send(&store, upload).await.unwrap().sent);
        // There is nothing to hold against a file of which nothing is known.
        let upload = Upload { hold: true, ..store.file("new", &noise(1, size)) };
        assert!(send(&store, upload).await.unwrap().sent);
    }
}

/// A file that is streamed because memory is short is compared all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_memory_is_enough_to_compare() {
    let store = Store::embedded().await;
    let settings = TransferSettings { memory_bytes: 1, ..settings() };
    let first = store_first(&store, "f", 3 * PART).await;
    let before = store.server().stats();
    let upload = Upload { known: Some(known(&first)), ..store.file("f", &noise(1, 3 * PART)) };
    let said = run(store.engine(settings, objects("run-2")), vec![upload]).await;
    assert!(!said.only().unwrap().sent);
    assert_eq!(requests_since(&store, &before), []);
}
