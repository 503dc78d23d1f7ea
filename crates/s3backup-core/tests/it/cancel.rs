//! Ending a run early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use s3backup_core::options::TransferSettings;
use s3backup_core::{CancellationToken, Event, FailureKind, Outcome, Run, RunReport};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{Bench, failed, soon, until};

/// The grace is 3 s, and schedulers kill after 5; the difference is for a machine that is busy with other tests.
const LOOSELY: Duration = Duration::from_secs(5);

/// Cancels as soon as `when` says so, and takes the rest.
async fn cancel_when(mut run: Run, mut when: impl FnMut(&Event) -> bool) -> (Vec<Event>, RunReport) {
    let cancel = run.cancel_token();
    soon(async {
        let mut events = Vec::new();
        let mut cancelled = None;
        while let Some(event) = run.next().await {
            if when(&event) && !cancel.is_cancelled() {
                cancel.cancel();
                cancelled = Some(Instant::now());
            }
            events.push(event);
        }
        let report = run.finish().await.unwrap();
        let took = cancelled.unwrap().elapsed();
        assert!(took < LOOSELY, "it ended only after {took:?}");
        (events, report)
    })
    .await
}

#[tokio::test]
async fn what_is_finished_is_recorded_and_the_next_run_does_the_rest() {
    let bench = Bench::new().await;
    for number in 0..40 {
        bench.file(&format!("small-{number:02}"), "x");
    }
    bench.file("large", vec![1; 12 << 20]);
    bench.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart).nth(2));
    let settings = TransferSettings { part_size_bytes: 5 << 20, ..TransferSettings::default() };
    let backup = bench.builder().transfer(settings).build().unwrap();
    let (mut small, mut sent) = (0, 0);
    let (events, report) = cancel_when(backup.start(), |event| {
        small += u32::from(matches!(event, Event::Uploaded { .. }));
        sent += if let Event::Sent { bytes } = event { *bytes } else { 0 };
        small == 40 && sent > 5 << 20
    })
    .await;
    assert_eq!(report.outcome, Outcome::Interrupted);
    assert_eq!((report.found.files, report.uploaded.files, report.failed_total), (41, 40, 0));
    assert_eq!(bench.manifest(&report).await.len(), 40);
    assert_eq!(bench.stored_report(&report).await, report);
    assert!(!bench.data_keys().await.contains("trips/large"));
    let stopping = events.iter().position(|event| matches!(event, Event::Stopping)).unwrap();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Stopping)).count(), 1);
    assert!(stopping < events.len() - 1 && matches!(events.last(), Some(Event::RunFinished { .. })));

    assert_eq!(bench.open_uploads().await, 1, "the next run goes on with it");
    bench.server.faults().clear();
    let report = soon(backup.run()).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files, report.unchanged.files), (Outcome::Success, 1, 40));
    assert!(report.resumed_parts > 0 && report.uploaded.wire_bytes < 12 << 20, "{report:?}");
    assert_eq!(bench.open_uploads().await, 0);
    assert_eq!(bench.get("trips/large").await, vec![1; 12 << 20]);
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_begins_does_nothing() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let run = bench.backup().start();
    run.cancel_token().cancel();
    let report = soon(run.finish()).await.unwrap();
    assert_eq!((report.outcome, report.found.files), (Outcome::Interrupted, 0));
    assert!(bench.objects().await.is_empty());
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_nobody_up() {
    // Where the run is when the server falls silent for good.
    for (operation, part) in [
        (Operation::GetObject, "latest.json"),
        (Operation::GetBucketVersioning, ""),
        (Operation::PutObject, "trips/a"),
        (Operation::PutObject, "manifests/"),
        (Operation::PutObject, "runs/"),
    ] {
        let bench = Bench::new().await;
        bench.file("a", "a");
        let mut fault = Fault::new(FaultKind::Hang).on(operation);
        if !part.is_empty() {
            fault = fault.key_contains(part);
        }
        bench.server.faults().add(fault);
        let run = bench.backup().start();
        let cancel = run.cancel_token();
        let ending = tokio::spawn(run.finish());
        until(|| bench.server.stats().of(operation) > 0 && bench.server.stats().faults > 0).await;
        cancel.cancel();
        let began = Instant::now();
        let report = soon(ending).await.unwrap().unwrap();
        assert!(began.elapsed() < LOOSELY, "{operation} {part}: {:?}", began.elapsed());
        assert_eq!(report.outcome, Outcome::Interrupted, "{operation} {part}: {report:#?}");
        if part == "runs/" || part == "manifests/" {
            assert!(
                report.warnings.iter().any(|warning| warning.contains("interrupted before its manifest"))
            );
        }
    }
}

#[tokio::test]
async fn a_record_that_is_refused_is_told_although_the_run_was_cancelled_meanwhile() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    let bench = Bench::new().await;
    bench.file("a", "a");
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::InternalError).on(Operation::PutObject).key_contains("runs/"));
    let cancel = Arc::new(OnceLock::<CancellationToken>::new());
    // The clock is read at the start and then when the report is made, which is when all work is done.
    let (looks, token) = (AtomicU32::new(0), Arc::clone(&cancel));
    let clock = move || {
        if looks.fetch_add(1, Ordering::SeqCst) == 1 {
            token.get().unwrap().cancel();
        }
        chrono::Utc::now()
    };
    let run = bench.builder().grace(Duration::from_mins(10)).clock(Arc::new(clock)).build().unwrap().start();
    cancel.set(run.cancel_token()).unwrap();
    let report = failed(soon(run.finish()).await);
    assert!(cancel.get().unwrap().is_cancelled());
    assert_eq!(report.fatal.as_ref().map(|fatal| fatal.kind), Some(FailureKind::Record), "{report:#?}");
    assert_eq!(report.uploaded.files, 1);
}

#[tokio::test]
async fn stopping_is_said_before_anything_has_ended() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    bench.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/a"));
    // So long that this test would not end if the word came only after the request in flight was given up.
    let mut run = bench.builder().grace(Duration::from_hours(10)).build().unwrap().start();
    let cancel = run.cancel_token();
    soon(async {
        while let Some(event) = run.next().await {
            match event {
                Event::DiscoveryFinished { .. } => cancel.cancel(),
                Event::Stopping => break,
                _ => {}
            }
        }
    })
    .await;
    assert!(cancel.is_cancelled());
}

#[tokio::test]
async fn a_cancelled_walk_is_not_called_finished() {
    let bench = Bench::new().await;
    // More than are looked at ahead.
    for number in 0..8000 {
        bench.file(&format!("{number:04}"), "x");
    }
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::Latency(Duration::from_millis(50))).on(Operation::PutObject));
    // Time enough for every request in flight, so that what the server did is known.
    let backup = bench.builder().grace(Duration::from_mins(1)).build().unwrap();
    let (events, report) = cancel_when(backup.start(), |event| matches!(event, Event::Uploaded { .. })).await;
    assert_eq!(report.outcome, Outcome::Interrupted);
    assert!(!events.iter().any(|event| matches!(event, Event::DiscoveryFinished { .. })));
    assert_eq!(bench.manifest(&report).await.len() as u64, report.uploaded.files);
    assert_eq!(
        bench.data_keys().await.len() as u64,
        report.uploaded.files,
        "the manifest lists all that is there"
    );
}

#[tokio::test]
async fn the_look_for_earlier_files_is_cut_short_too() {
    let bench = Bench::new().await;
    bench.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::ListObjectsV2));
    let run = bench.backup().start();
    let cancel = run.cancel_token();
    let ending = tokio::spawn(run.finish());
    until(|| bench.server.stats().of(Operation::ListObjectsV2) > 0).await;
    cancel.cancel();
    let began = Instant::now();
    assert_eq!(soon(ending).await.unwrap().unwrap().outcome, Outcome::Interrupted);
    assert!(began.elapsed() < LOOSELY);
}

#[tokio::test]
async fn dropping_a_run_stops_everything() {
    let bench = Bench::new().await;
    for number in 0..2000 {
        bench.file(&format!("{number:04}"), "x");
    }
    bench.server.faults().add(Fault::new(FaultKind::Latency(Duration::from_millis(20))));
    let mut run = bench.backup().start();
    soon(async { while !matches!(run.next().await, Some(Event::Uploaded { .. })) {} }).await;
    drop(run);
    // Requests in flight come to their end; then none comes any more.
    let mut before = bench.server.stats().total();
    soon(async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = bench.server.stats().total();
            if now == before {
                break;
            }
            before = now;
        }
    })
    .await;
    bench.server.faults().clear();
    let objects = bench.objects().await;
    assert!(objects.len() < 2000, "{}", objects.len());
    let has_record = objects.keys().any(|key| key.contains("/manifests/") || key.contains("/runs/"));
    assert!(!has_record, "a dropped run leaves no record");
}
