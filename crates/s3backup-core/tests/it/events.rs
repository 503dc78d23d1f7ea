//! The stream of what happens.

use std::collections::BTreeSet;
use std::time::Duration;

use s3backup_core::options::TransferSettings;
use s3backup_core::{Event, Outcome, Source, Step};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{Bench, soon, watch};

#[tokio::test]
async fn the_stream_is_complete_and_in_order() {
    let bench = Bench::new().await;
    for number in 0..50 {
        bench.file(&format!("{number:02}"), "12345");
    }
    bench.file("large", vec![1; 11 << 20]);
    bench.file("left.out", "");
    bench.file(&vec!["d".repeat(200); 6].join("/"), "no key");
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::SlowDown).on(Operation::PutObject).key_contains("trips/0").nth(2));
    let settings = TransferSettings { part_size_bytes: 5 << 20, ..TransferSettings::default() };
    let job = bench.job().source(Source::new(bench.data()).exclude(["*.out"])).transfer(settings);
    let (events, result) = watch(&job.step(Step::new("make", ["true"])).build().unwrap()).await;
    let report = result.unwrap();

    let position = |wanted: fn(&Event) -> bool| {
        let found: Vec<usize> =
            events.iter().enumerate().filter(|(_, event)| wanted(event)).map(|(at, _)| at).collect();
        assert_eq!(found.len(), 1, "once, not {found:?}");
        found[0]
    };
    assert_eq!(position(|event| matches!(event, Event::RunStarted { .. })), 0);
    assert_eq!(position(|event| matches!(event, Event::RunFinished { .. })), events.len() - 1);
    let step = position(|event| matches!(event, Event::StepFinished { .. }));
    assert!(position(|event| matches!(event, Event::StepStarted { .. })) < step);
    let walked = position(|event| matches!(event, Event::DiscoveryFinished { .. }));
    assert!(step < walked);
    assert_eq!(
        position(|event| matches!(event, Event::Skipped { .. })).cmp(&step),
        std::cmp::Ordering::Greater
    );
    position(|event| matches!(event, Event::Failed { .. }));
    position(|event| matches!(event, Event::Retrying { attempt: 1, .. }));

    let mut sent = 0;
    let mut uploaded = BTreeSet::new();
    let mut found = 0;
    for event in &events {
        match event {
            Event::Sent { bytes } => sent += bytes,
            Event::Uploaded { path, .. } => assert!(uploaded.insert(path.clone()), "{path} twice"),
            Event::Found { found: so_far } => {
                assert!(so_far.files > found);
                found = so_far.files;
            }
            Event::DiscoveryFinished { found } => assert_eq!(*found, report.found),
            Event::RunFinished { report: told } => assert_eq!(**told, report),
            _ => {}
        }
    }
    assert_eq!(found, 52);
    assert_eq!(uploaded.len(), 51);
    assert_eq!(sent, report.uploaded.bytes);
    assert_eq!(sent, 250 + (11 << 20));
    assert_eq!((report.outcome, report.retries), (Outcome::Partial, 1));
    assert!(report.bytes_per_s > 0);
}

#[tokio::test]
async fn thousands_of_files_need_no_watcher_and_a_slow_one_misses_none() {
    const FILES: usize = 3000;
    let bench = Bench::new().await;
    for number in 0..FILES {
        bench.file(&format!("{}/{number}", number % 7), "x");
    }
    let backup = bench.backup();
    let report = soon(backup.run()).await.unwrap();
    assert_eq!(report.uploaded.files, FILES as u64);
    assert_eq!(bench.manifest(&report).await.len(), FILES);

    let mut run = backup.start();
    let mut unchanged = 0;
    let report = soon(async {
        while let Some(event) = run.next().await {
            if let Event::Known { unchanged: known } = event {
                unchanged += known.files;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        run.finish().await
    })
    .await
    .unwrap();
    assert_eq!((unchanged, report.unchanged.files), (FILES as u64, FILES as u64));
}

#[tokio::test]
async fn a_run_can_be_finished_at_any_point_of_its_stream() {
    let bench = Bench::new().await;
    for number in 0..100 {
        bench.file(&number.to_string(), "x");
    }
    let mut run = bench.backup().start();
    soon(run.next()).await.unwrap();
    assert_eq!(soon(run.finish()).await.unwrap().uploaded.files, 100);
}
