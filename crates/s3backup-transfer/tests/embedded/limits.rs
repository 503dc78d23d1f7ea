//! What the engine promises never to exceed.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_model::Key;
use s3backup_transfer::{
    Bandwidth, DownloadLimits, Engine, Expected, Pin, Rate, RetrySettings, TransferSettings, Upload,
};

use crate::common::{MIB, PART, Store, noise, objects, quick, run, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_are_in_flight_than_allowed() {
    for concurrency in [1, 3] {
        let store = Store::embedded().await;
        store.server().faults().add(Fault::new(FaultKind::Latency(Duration::from_millis(20))));
        let mut uploads: Vec<Upload> =
            (0..30).map(|index| store.file(&format!("f{index}"), &noise(index, 1000))).collect();
        for index in 0..4 {
            uploads.insert(7 * index, store.file(&format!("l{index}"), &noise(1, 2 * PART + 1)));
        }
        let settings = TransferSettings { concurrency: Some(concurrency), ..settings() };
        let said = run(store.engine(settings.clone(), objects("run-1")), uploads.clone()).await;
        assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
        // Again, so that there is something to look at and to compare with.
        let said = run(store.engine(settings, objects("run-2")), uploads).await;
        assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
        assert_eq!(store.server().stats().peak_requests, concurrency as u64);
    }
}

/// Many files that each want more than there is: none waits for ever for what another holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_memory_and_many_files_end() {
    let store = Store::embedded().await;
    let mut uploads: Vec<Upload> =
        (0..8).map(|index| store.file(&format!("l{index}"), &noise(index, PART + 1))).collect();
    uploads.extend((0..50).map(|index| store.file(&format!("s{index}"), &noise(index, 70_000))));
    for (concurrency, memory_bytes) in [(1, 1), (2, 1 << 20), (8, PART)] {
        let settings = TransferSettings { concurrency: Some(concurrency), memory_bytes, ..settings() };
        let run_id = format!("run-{concurrency}");
        let said = run(store.engine(settings, objects(&run_id)), uploads.clone()).await;
        assert_eq!(said.done.len(), uploads.len());
        assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    }
}

/// A request that waits for its turn is not one that the server leaves without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_a_turn_is_no_timeout() {
    let store = Store::embedded().await;
    let latency = FaultKind::Latency(Duration::from_millis(700));
    store.server().faults().add(Fault::new(latency).on(Operation::UploadPart));
    let uploads: Vec<Upload> =
        (0..4).map(|index| store.file(&format!("l{index}"), &noise(index, 2 * PART + 1))).collect();
    let settings = TransferSettings { concurrency: Some(4), ..settings() };
    let retry = RetrySettings { request_timeout: Duration::from_millis(1800), ..quick() };
    // Twelve parts, four at a time, are three rounds of 0.7 s; the last begins after 1.4 s.
    let engine = Engine::new(store.bucket().with_retry(retry), settings, objects("run-1"));
    let said = run(engine, uploads).await;
    for done in &said.done {
        assert!(done.result.is_ok() && done.retries == 0, "{done:?}");
    }
}

/// Files in one request each, and one in parts; and back. A last piece may go as soon as all before it have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_no_faster_than_they_may() {
    let store = Store::embedded().await;
    let limit = |mib| Bandwidth::Always(Rate::BytesPerSecond(NonZeroU64::new(mib * MIB).unwrap()));
    let sets = [
        (8, (0..8).map(|index| store.file(&format!("s{index}"), &noise(index, MIB / 4))).collect()),
        (24, vec![store.file("l", &noise(1, PART + MIB))]),
    ];
    for (mib, uploads) in sets {
        let settings = TransferSettings { bandwidth: limit(mib), ..settings() };
        let began = Instant::now();
        let said = run(store.engine(settings, objects("run-1")), uploads).await;
        assert!(said.done.iter().all(|done| done.result.is_ok() && done.retries == 0), "{:?}", said.done);
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    }

    let limits = DownloadLimits::new(4).with_bandwidth(limit(24));
    let file = Arc::new(std::fs::File::create(store.path("restored")).unwrap());
    let expected = Expected { size: PART + MIB, crc64nvme: None };
    let began = Instant::now();
    let key = Key::new("l").unwrap();
    store.bucket().download_into(&key, &Pin::default(), &expected, file, &limits).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    assert!(std::fs::read(store.path("restored")).unwrap() == noise(1, PART + MIB));
}
