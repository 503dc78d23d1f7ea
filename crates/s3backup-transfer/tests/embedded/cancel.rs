//! Runs that are told to stop.

use std::time::{Duration, Instant};

use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_transfer::{TransferSettings, Upload};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::common::{PART, Said, Store, noise, objects, run_until, settings, until};

/// Runs until the server has seen `operation`, then cancels.
async fn cancel_at(store: &Store, operation: Operation, uploads: Vec<Upload>) -> (Said, Duration) {
    let cancel = CancellationToken::new();
    let running = run_until(store.engine(settings(), objects("run-1")), uploads, cancel.clone());
    let cancelling = async {
        until("the request has arrived", || store.server().stats().of(operation) > 0).await;
        cancel.cancel();
        Instant::now()
    };
    let (said, cancelled) = futures::future::join(running, cancelling).await;
    (said, cancelled.elapsed())
}

/// What an ending run may take beside its drain time on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multipart_upload_in_flight_is_aborted() {
    for operation in [Operation::UploadPart, Operation::CreateMultipartUpload] {
        let store = Store::embedded().await;
        let latency = FaultKind::Latency(Duration::from_millis(300));
        store.server().faults().add(Fault::new(latency).on(Operation::CreateMultipartUpload));
        store.server().faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart));
        let upload = store.file("f", &noise(1, 3 * PART));
        let (said, took) = cancel_at(&store, operation, vec![upload]).await;
        assert!(said.done.is_empty(), "{:?}", said.done);
        assert!(took < settings().drain + SLACK, "{took:?}");
        assert_eq!(store.server().stats().of(Operation::CreateMultipartUpload), 1);
        assert_eq!(store.open_uploads().await, 0, "{operation:?}");
        assert_eq!(store.get("f").await, None);
        until("all files are closed", || !store.has_open_files()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_in_flight_may_end_and_no_other_begins() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::Latency(Duration::from_millis(300))));
    let uploads = (0..200).map(|index| store.file(&format!("f{index}"), b"x")).collect();
    let (said, took) = cancel_at(&store, Operation::PutObject, uploads).await;
    assert!(took < settings().drain + SLACK, "{took:?}");
    assert!(!said.done.is_empty() && said.done.len() <= 16, "{}", said.done.len());
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    let begun = store.server().stats().of(Operation::PutObject);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.server().stats().of(Operation::PutObject), begun, "nothing goes on behind the engine");
}

/// A run that waits between two attempts need not wait to the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_between_attempts_ends_at_once() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::SlowDown).on(Operation::PutObject));
    let retry = s3backup_transfer::RetrySettings {
        base: Duration::from_secs(1000),
        cap: Duration::from_secs(1000),
        ..crate::common::quick()
    };
    let settings = TransferSettings { drain: Duration::from_secs(30), ..settings() };
    let bucket = store.bucket().with_retry(retry);
    let engine = s3backup_transfer::Engine::new(bucket, settings, objects("run-1"));
    let cancel = CancellationToken::new();
    let running = run_until(engine, vec![store.file("f", b"x")], cancel.clone());
    let cancelling = async {
        until("the request has arrived", || store.server().stats().of(Operation::PutObject) > 0).await;
        cancel.cancel();
        Instant::now()
    };
    let (said, cancelled) = futures::future::join(running, cancelling).await;
    assert!(cancelled.elapsed() < Duration::from_secs(10), "{:?}", cancelled.elapsed());
    assert!(said.done.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_does_not_hold_up_the_end() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::Hang));
    let uploads = vec![store.file("small", b"x"), store.file("large", &noise(1, PART + 1))];
    let (said, took) = cancel_at(&store, Operation::PutObject, uploads).await;
    assert!(said.done.is_empty());
    assert!(took < settings().drain + SLACK, "{took:?}");
    until("all files are closed", || !store.has_open_files()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_engine_stops_it() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::Latency(Duration::from_millis(200))));
    let (to_engine, planned) = mpsc::channel(100);
    let (said, mut updates) = mpsc::channel(100);
    for index in 0..100 {
        to_engine.try_send(store.file(&format!("f{index}"), b"x")).unwrap();
    }
    let engine = store.engine(settings(), objects("run-1"));
    let mut running = Box::pin(engine.run(planned, said, CancellationToken::new()));
    tokio::select! {
        () = &mut running => panic!("the engine ended by itself"),
        () = until("a request has arrived", || store.server().stats().of(Operation::PutObject) > 0) => {}
    }
    drop(running);
    // All tasks are gone when the last sender of updates is.
    let rest = async { while updates.recv().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), rest).await.unwrap();
    assert!(to_engine.is_closed());
    let begun = store.server().stats().of(Operation::PutObject);
    assert!(begun <= 16, "{begun}");
    until("all files are closed", || !store.has_open_files()).await;
}

/// Uploads that nobody feeds and updates that nobody reads must not keep a cancelled run alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_sleeps_does_not_hold_up_the_end() {
    let store = Store::embedded().await;
    let (to_engine, planned) = mpsc::channel(100);
    let (said, updates) = mpsc::channel(1);
    for index in 0..100 {
        to_engine.try_send(store.file(&format!("f{index}"), b"x")).unwrap();
    }
    let cancel = CancellationToken::new();
    let engine = store.engine(settings(), objects("run-1"));
    let running = tokio::spawn(engine.run(planned, said, cancel.clone()));
    until("requests have arrived", || store.server().stats().of(Operation::PutObject) > 0).await;
    cancel.cancel();
    tokio::time::timeout(settings().drain + SLACK, running).await.unwrap().unwrap();
    drop((updates, to_engine));
}
