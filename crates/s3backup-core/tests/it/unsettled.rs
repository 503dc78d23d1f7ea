//! What a run makes of writes of which an earlier one did not hear whether they were carried out.

use std::time::{Duration, SystemTime};

use s3backup_core::options::RetrySettings;
use s3backup_core::{Backup, Outcome, RunReport, Source, VerifyOptions};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{BUCKET, Bench, soon, until};
use crate::memory::{counted, kill, quiet_but, set_mtime, state_dir, success};

const PART: usize = 8 << 20;

/// Of a file in one request and of one in parts.
const SIZES: [usize; 2] = [1000, PART + 1];

/// Tries each request once.
fn at_once(bench: &Bench) -> Backup {
    let retry = RetrySettings { attempts: 1, ..RetrySettings::default() };
    bench.builder().retry(retry).build().unwrap()
}

/// The file is changed, its object replaced without anybody hearing of it, and the file is what it was before.
async fn change_unheard(bench: &Bench, size: usize) {
    bench.file("f", vec![1; size]);
    success(&bench.backup()).await;
    bench.file("f", vec![2; size]);
    for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
        bench.server.faults().add(Fault::new(FaultKind::LostReply).on(operation).key_contains("trips/f"));
    }
    let report: RunReport = soon(at_once(bench).run()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Partial);
    bench.server.faults().clear();
    assert!(bench.get("trips/f").await == vec![2; size], "it was carried out");
    bench.file("f", vec![1; size]);
}

#[tokio::test]
async fn a_file_that_is_again_what_it_was_takes_the_place_of_what_it_was_in_between() {
    for size in SIZES {
        let bench = Bench::new().await;
        change_unheard(&bench, size).await;
        success(&bench.backup()).await;
        assert!(bench.get("trips/f").await == vec![1; size], "the bucket has what the file is not");
    }
}

#[tokio::test]
async fn the_same_after_a_run_was_killed_and_the_catalog_lost() {
    for is_lost in [false, true] {
        let bench = Bench::new().await;
        bench.file("f", "before");
        bench.file("g", "g");
        success(&bench.backup()).await;
        bench.file("f", "meanwhile");
        bench
            .server
            .faults()
            .add(Fault::new(FaultKind::HangInReply).on(Operation::PutObject).key_contains("trips/f"));
        let run = bench.backup().start();
        let puts = bench.server.stats().of(Operation::PutObject) + 2;
        until(|| bench.server.stats().of(Operation::PutObject) >= puts).await;
        kill(&bench, run).await;
        bench.server.faults().clear();
        bench.file("f", "before");
        if is_lost {
            std::fs::remove_dir_all(state_dir(&bench)).unwrap();
        }
        success(&bench.backup()).await;
        assert_eq!(bench.get("trips/f").await, b"before");
    }
}

#[tokio::test]
async fn the_bucket_is_asked_until_a_run_has_settled_it() {
    let bench = Bench::new().await;
    let touch = bench.file("touched", "t");
    change_unheard(&bench, 1000).await;
    std::fs::write(&touch, "t").unwrap();
    let backup = bench.backup();
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!(report.uploaded.files, 1, "what is only touched is not sent again");
    assert!(requests["HeadObject"] >= 2, "{requests:?}");
    std::fs::write(&touch, "t").unwrap();
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((report.uploaded.files, requests), (0, quiet_but(1)), "the manifest alone");
}

/// A file as of always the same time, as `cp -p` brings it back.
fn bring(bench: &Bench, bytes: &str) {
    set_mtime(&bench.file("f", bytes), SystemTime::UNIX_EPOCH + Duration::from_hours(450_000));
}

/// A run that is killed when it has replaced the object and has not heard of it.
async fn kill_after_replacing(bench: &Bench, backup: &Backup) {
    let hangs = Fault::new(FaultKind::HangInReply).on(Operation::PutObject).key_contains("trips/f");
    bench.server.faults().add(hangs);
    let puts = bench.server.stats().of(Operation::PutObject) + 2;
    let run = backup.start();
    until(|| bench.server.stats().of(Operation::PutObject) >= puts).await;
    let bytes = std::fs::read(bench.data().join("f")).unwrap();
    soon(async { while bench.get("trips/f").await != bytes {} }).await;
    kill(bench, run).await;
    bench.server.faults().clear();
}

/// What becomes of the catalog, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lost {
    BeforeTheKill,
    AfterTheKill,
    AndRebuilt,
    /// There never is one.
    InEachRun,
}

#[tokio::test]
async fn a_file_that_comes_back_with_its_time_is_no_less_looked_at_when_the_catalog_is_lost() {
    for lost in [Lost::BeforeTheKill, Lost::AfterTheKill, Lost::AndRebuilt, Lost::InEachRun] {
        let bench = Bench::new().await;
        let forgetful = bench.forgetful_job().source(Source::new(bench.data())).build().unwrap();
        let backup = if lost == Lost::InEachRun { forgetful } else { bench.backup() };
        let lose = || std::fs::remove_dir_all(state_dir(&bench)).unwrap();
        bring(&bench, "before");
        bench.file("g", "g");
        success(&backup).await;
        bench.file("f", "meanwhile");
        if lost == Lost::BeforeTheKill {
            lose();
        }
        kill_after_replacing(&bench, &backup).await;
        if matches!(lost, Lost::AfterTheKill | Lost::AndRebuilt) {
            lose();
        }
        if lost == Lost::AndRebuilt {
            backup.rebuild().await.unwrap();
        }
        bring(&bench, "before");
        let report = success(&backup).await;
        assert_eq!(bench.get("trips/f").await, b"before", "{lost:?}");
        assert_eq!((report.uploaded.files, report.unchanged.files), (1, 1), "{lost:?}");
    }
}

#[tokio::test]
async fn what_a_killed_run_has_sent_is_not_sent_again_when_the_catalog_is_lost() {
    let bench = Bench::new().await;
    let backup = bench.backup();
    bring(&bench, "before");
    success(&backup).await;
    bring(&bench, "behind");
    kill_after_replacing(&bench, &backup).await;
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (0, 1));
    let verified = soon(backup.verify(VerifyOptions::default()).finish()).await.unwrap().verified;
    assert_eq!(verified.differ, 0, "and it is known what was sent");
}

#[tokio::test]
async fn what_a_verification_found_missing_is_sent_although_the_catalog_is_lost() {
    let bench = Bench::new().await;
    let backup = bench.backup();
    bring(&bench, "f");
    bench.file("g", "g");
    success(&backup).await;
    bench.client().delete_object().bucket(BUCKET).key("trips/f").send().await.unwrap();
    let report = soon(backup.verify(VerifyOptions::default().repair(true)).finish()).await.unwrap();
    assert_eq!(report.repair.unwrap().marked, 1);
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (1, 1));
    let is_said = |warning: &String| warning.contains("of 2 files 1 are missing");
    assert!(report.warnings.iter().any(is_said), "{:?}", report.warnings);
    assert_eq!(bench.get("trips/f").await, b"f");
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((report.uploaded.files, requests), (0, quiet_but(0)), "all is seen now");
}
