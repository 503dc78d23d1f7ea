//! What a run makes of writes of which an earlier one did not hear whether they were carried out.

use s3backup_core::options::RetrySettings;
use s3backup_core::{Backup, Outcome, RunReport};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{Bench, soon, until};
use crate::memory::{counted, kill, quiet_but, state_dir, success};

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
