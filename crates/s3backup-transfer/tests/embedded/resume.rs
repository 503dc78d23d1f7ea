//! Multipart uploads that are left open, and gone on with.

use std::sync::Arc;

use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_model::FailureKind;
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use s3backup_transfer::aws_sdk_s3::error::BoxError;
use s3backup_transfer::{
    Bucket, ChecksumKind, Done, Engine, Error, Known, RetrySettings, TransferSettings, Upload,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::common::journal::{Journal, interrupt};
use crate::common::{KINDS, PART, Said, Store, known, noise, objects, of_kind, quick, run, settings};

const PARTS: u64 = 4;
const SIZE: u64 = PARTS * PART;

fn one_by_one() -> TransferSettings {
    TransferSettings { concurrency: Some(1), ..settings() }
}

fn engine(store: &Store, journal: &Arc<Journal>) -> Engine {
    store.engine(one_by_one(), objects("run")).with_journal(journal.clone())
}

fn count(store: &Store, operation: Operation) -> u64 {
    store.server().stats().of(operation)
}

/// An upload of `f` that an earlier run left open.
async fn interrupted(store: &Store) -> (Arc<Journal>, Upload) {
    let journal = Journal::new();
    let upload = store.file("f", &noise(1, SIZE));
    interrupt(engine(store, &journal), upload.clone()).await;
    assert_eq!((store.open_uploads().await, journal.open().len()), (1, 1));
    journal.calls();
    (journal, upload)
}

/// How many parts of it the server has.
async fn parts_there(store: &Store, journal: &Journal) -> u64 {
    let id = &journal.open()[0].upload_id;
    let listed = store.client.list_parts().bucket(&store.name).key("f").upload_id(id).send().await.unwrap();
    listed.parts().len() as u64
}

async fn assert_arrived(store: &Store, journal: &Journal, said: Said) -> Done {
    let done = said.done.into_iter().next().unwrap();
    assert!(done.result.as_ref().is_ok_and(|stored| stored.sent), "{done:?}");
    assert!(store.get("f").await.unwrap() == noise(1, SIZE));
    assert_eq!((store.open_uploads().await, journal.open().len(), journal.intended()), (0, 0, 0));
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_is_told_in_time() {
    let store = Store::embedded().await;
    let journal = Journal::new();
    let upload = store.file("f", &noise(1, SIZE));
    let said = run(engine(&store, &journal), vec![upload.clone()]).await;
    assert_eq!(assert_arrived(&store, &journal, said).await.resumed_parts, 0);
    assert_eq!(journal.calls(), ["find", "intend", "begun", "ended"]);

    // Nothing is begun for what the bucket has, nor for a small file.
    let uploads = vec![upload, store.file("small", b"x")];
    run(engine(&store, &journal), uploads).await;
    assert_eq!(journal.calls(), ["find"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_missing_is_sent() {
    for kind in KINDS {
        for concurrency in [1, 3] {
            let store = Store::embedded().await;
            let journal = Journal::new();
            let settings = TransferSettings { concurrency: Some(concurrency), ..of_kind(kind) };
            let engine = || store.engine(settings.clone(), objects("run")).with_journal(journal.clone());
            let upload = store.file("f", &noise(1, SIZE));
            // The file cannot be complete before the run ends.
            store.server().faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart).nth(PARTS));
            interrupt(engine(), upload.clone()).await;
            store.server().faults().clear();
            assert_eq!(journal.calls(), ["find", "intend", "begun"]);
            let there = parts_there(&store, &journal).await;
            assert!((1..PARTS).contains(&there));

            let said = run(engine(), vec![upload]).await;
            let done = assert_arrived(&store, &journal, said).await;
            // What had left this machine when the run ended may have become a part since.
            assert!((there..PARTS).contains(&done.resumed_parts), "{kind:?}");
            assert_eq!(journal.calls(), ["find", "ended"]);
            let sent = count(&store, Operation::UploadPart);
            assert!(sent <= PARTS + concurrency as u64, "{kind:?}: {sent} parts were sent");
            assert_eq!(count(&store, Operation::CreateMultipartUpload), 1);
        }
    }
}

/// As when the process is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dropped_is_gone_on_with() {
    let store = Store::embedded().await;
    let journal = Journal::new();
    let upload = store.file("f", &noise(1, SIZE));
    store.server().faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart).nth(2));
    let (to_engine, planned) = mpsc::channel(1);
    to_engine.try_send(upload.clone()).unwrap();
    let (said, mut updates) = mpsc::channel(10);
    let mut running = Box::pin(engine(&store, &journal).run(planned, said, CancellationToken::new()));
    tokio::select! {
        () = &mut running => panic!("the engine ended by itself"),
        () = crate::common::until("a part hangs", || count(&store, Operation::UploadPart) == 2) => {}
    }
    drop(running);
    while updates.recv().await.is_some() {}

    store.server().faults().clear();
    let said = run(engine(&store, &journal), vec![upload]).await;
    assert_eq!(assert_arrived(&store, &journal, said).await.resumed_parts, 1);
}

/// Once no attempt is left, another run may have more luck.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_later_run_may_mend_is_left_open_and_the_rest_is_not() {
    let error = |status, code: &str| FaultKind::Error { status, code: code.to_owned() };
    for (fault, operation, is_left) in [
        (FaultKind::ResetInRequest, Operation::UploadPart, true),
        (FaultKind::SlowDown, Operation::UploadPart, true),
        (FaultKind::ExpiredToken, Operation::UploadPart, true),
        (FaultKind::InternalError, Operation::CompleteMultipartUpload, true),
        (FaultKind::AccessDenied, Operation::UploadPart, false),
        (error(400, "BadDigest"), Operation::UploadPart, false),
        (FaultKind::WrongChecksum, Operation::UploadPart, false),
        (error(400, "InvalidPart"), Operation::CompleteMultipartUpload, false),
    ] {
        let store = Store::embedded().await;
        let journal = Journal::new();
        store.server().faults().add(Fault::new(fault.clone()).on(operation));
        let upload = store.file("f", &noise(1, SIZE));
        let said = run(engine(&store, &journal), vec![upload.clone()]).await;
        assert_eq!(said.warnings, [""; 0]);
        said.only().unwrap_err();
        let open = usize::from(is_left);
        assert_eq!((store.open_uploads().await, journal.open().len()), (open, open), "{fault:?}");

        store.server().faults().clear();
        let said = run(engine(&store, &journal), vec![upload]).await;
        assert_arrived(&store, &journal, said).await;
        assert_eq!(count(&store, Operation::CreateMultipartUpload), if is_left { 1 } else { 2 }, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_aborted_meanwhile_is_begun_anew() {
    // Before its parts are listed, and while they are sent.
    for is_early in [true, false] {
        let store = Store::embedded().await;
        let (journal, upload) = interrupted(&store).await;
        let abort = || async {
            let id = journal.open()[0].upload_id.clone();
            let abort = store.client.abort_multipart_upload().bucket(&store.name).key("f").upload_id(id);
            abort.send().await.unwrap();
        };
        let said = if is_early {
            abort().await;
            run(engine(&store, &journal), vec![upload]).await
        } else {
            let latency = FaultKind::Latency(std::time::Duration::from_millis(500));
            store.server().faults().add(Fault::new(latency).on(Operation::UploadPart).first(1));
            let parts = count(&store, Operation::UploadPart);
            let sending = run(engine(&store, &journal), vec![upload]);
            let aborting = async {
                let has_begun = || count(&store, Operation::UploadPart) > parts;
                crate::common::until("a part is on its way", has_begun).await;
                abort().await;
            };
            futures::future::join(sending, aborting).await.0
        };
        let done = assert_arrived(&store, &journal, said).await;
        assert_eq!(done.resumed_parts, 0);
        assert_eq!(journal.calls(), ["find", "ended", "intend", "begun", "ended"]);
        assert_eq!(count(&store, Operation::CreateMultipartUpload), 2);
    }
}

/// Right in number, size and place, and from another file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_with_other_bytes_is_sent_again() {
    for kind in KINDS {
        let store = Store::embedded().await;
        let journal = Journal::new();
        let upload = store.file("f", &noise(1, SIZE));
        let settings = TransferSettings { concurrency: Some(1), ..of_kind(kind) };
        let engine = || store.engine(settings.clone(), objects("run")).with_journal(journal.clone());
        interrupt(engine(), upload.clone()).await;
        let there = parts_there(&store, &journal).await;
        let part = store.client.upload_part().bucket(&store.name).key("f").part_number(1);
        let part = part.upload_id(&journal.open()[0].upload_id);
        let part = match kind {
            ChecksumKind::Crc64Nvme => part.checksum_algorithm("CRC64NVME".into()),
            ChecksumKind::Crc32c => part.checksum_algorithm("CRC32C".into()),
            ChecksumKind::Sha256 => part.checksum_algorithm("SHA256".into()),
            ChecksumKind::None => part,
        };
        part.body(noise(9, PART).into()).send().await.unwrap();

        let said = run(engine(), vec![upload]).await;
        let done = assert_arrived(&store, &journal, said).await;
        assert_eq!(done.resumed_parts, there - 1, "{kind:?}");
    }
}

/// A run that was ended before it heard that it had completed the upload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_that_nobody_heard_of_is_found() {
    for (has_known, kind) in [
        (false, ChecksumKind::Crc64Nvme),
        (false, ChecksumKind::None),
        (true, ChecksumKind::Crc32c),
        (true, ChecksumKind::Sha256),
    ] {
        let store = Store::embedded().await;
        let journal = Journal::new();
        let old = store.file("f", &noise(7, SIZE));
        let old = run(store.engine(of_kind(kind), objects("run-1")), vec![old]).await.only().unwrap();
        if !has_known {
            store.client.delete_object().bucket(&store.name).key("f").send().await.unwrap();
        }
        let mut upload = store.file("f", &noise(1, SIZE));
        upload.known = has_known.then(|| known(&old));
        let lost = Fault::new(FaultKind::LostReply).on(Operation::CompleteMultipartUpload);
        store.server().faults().add(lost);
        let once = store.bucket().with_retry(RetrySettings { attempts: 1, ..quick() });
        let first = Engine::new(once, of_kind(kind), objects("run-2")).with_journal(journal.clone());
        let error = run(first, vec![upload.clone()]).await.only().unwrap_err();
        assert_eq!(error.kind(), FailureKind::Network, "{error:?}");
        assert_eq!(journal.open().len(), 1);

        store.server().faults().clear();
        let parts = count(&store, Operation::UploadPart);
        let second = store.engine(of_kind(kind), objects("run-3")).with_journal(journal.clone());
        let said = run(second, vec![upload]).await;
        assert_arrived(&store, &journal, said).await;
        assert_eq!(count(&store, Operation::UploadPart), parts, "{kind:?}: nothing is sent again");
    }
}

/// The request of the killed run comes to its end only when the next has listed the parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_that_comes_late_is_found() {
    let gone = || FaultKind::Error { status: 404, code: "NoSuchUpload".to_owned() };
    for is_doubtful in [false, true] {
        let store = Store::embedded().await;
        let old = store.send(vec![store.file("f", &noise(7, SIZE))]).await.only().unwrap();
        let (journal, mut upload) = interrupted_over(&store, &old).await;
        upload.known = Some(Known { is_doubtful, ..known(&old) });
        store.meddle("f", &noise(1, SIZE)).await;
        store.server().faults().add(Fault::new(gone()).on(Operation::CompleteMultipartUpload).first(1));
        let created = count(&store, Operation::CreateMultipartUpload);
        let said = run(engine(&store, &journal), vec![upload]).await;
        let created = count(&store, Operation::CreateMultipartUpload) - created;
        let result = said.only();
        if is_doubtful {
            // What is in doubt is not believed because of what it claims; here it is another program's.
            assert!(matches!(result, Err(Error::Conflict { .. })), "{result:?}");
            assert_eq!(created, 1);
        } else {
            assert!(result.as_ref().is_ok_and(|stored| stored.sent), "{result:?}");
            assert_eq!(created, 0);
        }
        assert_eq!(journal.open().len(), 0);
    }
}

/// The same as [`interrupted`], where an object is to be replaced.
async fn interrupted_over(store: &Store, old: &s3backup_transfer::Stored) -> (Arc<Journal>, Upload) {
    let journal = Journal::new();
    let upload = Upload { known: Some(known(old)), ..store.file("f", &noise(1, SIZE)) };
    interrupt(engine(store, &journal), upload.clone()).await;
    assert_eq!(journal.open().len(), 1);
    (journal, upload)
}

/// Asks for one part a page, as AWS gives 1,000.
#[derive(Debug)]
struct SmallPages;

impl Intercept for SmallPages {
    fn name(&self) -> &'static str {
        "SmallPages"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if request.uri().contains("x-id=ListParts") {
            let uri = format!("{}&max-parts=1", request.uri());
            request.set_uri(uri)?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_of_parts_are_read() {
    let store = Store::embedded().await;
    let (journal, upload) = interrupted(&store).await;
    let there = parts_there(&store, &journal).await;
    // So that there are two at least.
    let id = journal.open()[0].upload_id.clone();
    let bytes = noise(1, SIZE);
    for number in there + 1..=3 {
        let at = usize::try_from((number - 1) * PART).unwrap();
        let part = store.client.upload_part().bucket(&store.name).key("f").upload_id(&id);
        let part = part.part_number(i32::try_from(number).unwrap()).checksum_algorithm("CRC64NVME".into());
        let body = bytes[at..at + usize::try_from(PART).unwrap()].to_vec();
        part.body(body.into()).send().await.unwrap();
    }
    let there = parts_there(&store, &journal).await;
    let pages = count(&store, Operation::ListParts);
    let client = Client::from_conf(store.client.config().to_builder().interceptor(SmallPages).build());
    let bucket = Bucket::from_client(&client, &store.name).with_retry(quick());
    let second = Engine::new(bucket, settings(), objects("run-2")).with_journal(journal.clone());
    let said = run(second, vec![upload]).await;
    assert_eq!(assert_arrived(&store, &journal, said).await.resumed_parts, there);
    assert_eq!(count(&store, Operation::ListParts) - pages, there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_parts_cannot_be_listed_all_are_sent_again() {
    for fault in
        [FaultKind::AccessDenied, FaultKind::Error { status: 501, code: "NotImplemented".to_owned() }]
    {
        let store = Store::embedded().await;
        let (journal, upload) = interrupted(&store).await;
        store.server().faults().add(Fault::new(fault).on(Operation::ListParts));
        let said = run(engine(&store, &journal), vec![upload]).await;
        assert_eq!(assert_arrived(&store, &journal, said).await.resumed_parts, 0);
        assert_eq!(count(&store, Operation::CreateMultipartUpload), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_does_not_fit_is_given_back() {
    type Change = fn(&mut s3backup_transfer::OpenUpload);
    let changes: [Change; 5] = [
        |open| open.checksum = ChecksumKind::Sha256,
        |open| open.part_size = PART - 1,
        |open| open.stat.ctime_ns += 1,
        |open| open.stat.mtime_ns -= 1,
        |open| open.stat.inode += 1,
    ];
    for change in changes {
        let store = Store::embedded().await;
        let (journal, upload) = interrupted(&store).await;
        journal.meddle(change);
        let said = run(engine(&store, &journal), vec![upload]).await;
        assert_eq!(assert_arrived(&store, &journal, said).await.resumed_parts, 0);
        assert_eq!(journal.calls(), ["find", "ended", "intend", "begun", "ended"]);
        assert_eq!(count(&store, Operation::AbortMultipartUpload), 1);
    }

    // The number of a device may be another after the machine started, and parts keep the size that they have.
    let store = Store::embedded().await;
    let (journal, upload) = interrupted(&store).await;
    journal.meddle(|open| open.stat.device += 1);
    let settings = TransferSettings { part_size_bytes: 2 * PART, ..one_by_one() };
    let second = store.engine(settings, objects("run-2")).with_journal(journal.clone());
    let said = run(second, vec![upload]).await;
    assert!(assert_arrived(&store, &journal, said).await.resumed_parts > 0);
}

/// The object came by another way while the upload was open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_not_needed_any_more_is_given_back() {
    for same in [true, false] {
        let store = Store::embedded().await;
        let (journal, upload) = interrupted(&store).await;
        store.meddle("f", &noise(if same { 1 } else { 2 }, SIZE)).await;
        let result = run(engine(&store, &journal), vec![upload]).await.only();
        if same {
            assert!(result.as_ref().is_ok_and(|stored| !stored.sent), "{result:?}");
        } else {
            assert!(matches!(result, Err(Error::Conflict { .. })), "{result:?}");
        }
        assert_eq!((store.open_uploads().await, journal.open().len()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_while_its_upload_is_gone_on_with_is_sent_as_it_is_then() {
    let store = Store::embedded().await;
    let (journal, upload) = interrupted(&store).await;
    let latency = FaultKind::Latency(std::time::Duration::from_millis(400));
    store.server().faults().add(Fault::new(latency).on(Operation::UploadPart).first(1));
    let parts = count(&store, Operation::UploadPart);
    let sending = run(engine(&store, &journal), vec![upload]);
    let changing = async {
        let has_begun = || count(&store, Operation::UploadPart) > parts;
        crate::common::until("a part is on its way", has_begun).await;
        std::fs::write(store.path("f"), noise(3, SIZE)).unwrap();
    };
    let (said, ()) = futures::future::join(sending, changing).await;
    assert_eq!(said.done[0].resumed_parts, 0);
    said.only().unwrap();
    assert!(store.get("f").await.unwrap() == noise(3, SIZE));
    assert_eq!((store.open_uploads().await, journal.open().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_working_journal_nothing_is_begun() {
    for call in ["find", "intend", "begun"] {
        let store = Store::embedded().await;
        let journal = Journal::failing_at(call);
        let upload = store.file("f", &noise(1, SIZE));
        let said = run(engine(&store, &journal), vec![upload, store.file("small", b"x")]).await;
        let (well, ill): (Vec<_>, Vec<_>) = said.done.into_iter().partition(|done| done.result.is_ok());
        assert_eq!((well.len(), ill.len()), (1, 1), "{call}");
        let error = ill[0].result.as_ref().unwrap_err();
        assert!(matches!(error, Error::Journal { .. }), "{error:?}");
        assert_eq!(error.kind(), FailureKind::Catalog);
        assert!(error.to_line().contains("the disk is full"), "{}", error.to_line());
        assert_eq!(count(&store, Operation::UploadPart), 0);
        assert_eq!(store.open_uploads().await, 0);
    }

    // What is stored is stored.
    let store = Store::embedded().await;
    let journal = Journal::failing_at("ended");
    let said = run(engine(&store, &journal), vec![store.file("f", &noise(1, SIZE))]).await;
    assert_eq!(said.warnings.len(), 1, "{:?}", said.warnings);
    assert!(said.warnings[0].contains("the disk is full"), "{:?}", said.warnings);
    said.only().unwrap();
}

/// Whether an upload may be open whose id is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_stays_only_where_something_may_have_been_begun() {
    for (fault, may_be_open) in [
        (FaultKind::AccessDenied, false),
        (FaultKind::TooManyRequests, false),
        (FaultKind::LostReply, true),
        (FaultKind::InternalError, true),
    ] {
        let store = Store::embedded().await;
        let journal = Journal::new();
        store.server().faults().add(Fault::new(fault.clone()).on(Operation::CreateMultipartUpload));
        let upload = store.file("f", &noise(1, SIZE));
        run(engine(&store, &journal), vec![upload]).await.only().unwrap_err();
        assert_eq!(journal.intended(), usize::from(may_be_open), "{fault:?}");
    }
}
