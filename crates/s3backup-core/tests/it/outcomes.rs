//! How runs end, and what they say then.

use std::time::Duration;

use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::options::TransferSettings;
use s3backup_core::{Backup, Destination, Event, FailureKind, Outcome, RunReport, Source};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{BUCKET, Bench, CONTROL, failed, impatient, soon, watch, write};
use crate::fake_slack::ClosedPort;

fn fatal_of(report: &RunReport) -> (FailureKind, &str) {
    let fatal = report.fatal.as_ref().unwrap_or_else(|| panic!("no reason: {report:#?}"));
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(!fatal.message.contains('\n'), "{}", fatal.message);
    (fatal.kind, &fatal.message)
}

#[tokio::test]
async fn files_that_vanish_are_named_and_make_the_run_partial() {
    let bench = Bench::new().await;
    // One file at a time, each slowly, and too large to be read before it can be sent: what is walked waits to be read.
    let content = vec![b'x'; 200_000];
    let files: Vec<_> = (0..4).map(|number| bench.file(&number.to_string(), &content)).collect();
    let slowly = Fault::new(FaultKind::Latency(Duration::from_secs(1))).on(Operation::PutObject);
    bench.server.faults().add(slowly.key_contains("trips/"));
    let settings = TransferSettings { concurrency: Some(1), ..TransferSettings::default() };
    let mut run = bench.builder().transfer(settings).build().unwrap().start();
    let report = soon(async {
        while let Some(event) = run.next().await {
            if matches!(event, Event::Found { found } if found.files == 4) {
                for file in &files {
                    std::fs::remove_file(file).unwrap();
                }
            }
        }
        run.finish().await
    })
    .await
    .unwrap();
    assert_eq!((report.outcome, report.found.files), (Outcome::Partial, 4));
    assert_eq!(report.uploaded.files + report.failed_total, 4);
    assert_eq!(bench.data_keys().await.len() as u64, report.uploaded.files);
    for failure in &report.failed {
        assert_eq!(failure.kind, FailureKind::Vanished);
        assert!(files.iter().any(|file| file.display().to_string() == failure.path), "{failure:?}");
    }
}

#[tokio::test]
async fn one_file_that_cannot_be_backed_up_is_named_and_the_others_are_sent() {
    let bench = Bench::new().await;
    bench.file("good", "1");
    let long = bench.file(&vec!["d".repeat(200); 6].join("/"), "22");
    let report = soon(bench.backup().run()).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files, report.failed_total), (Outcome::Partial, 1, 1));
    let failure = &report.failed[0];
    assert_eq!((failure.kind, &failure.path), (FailureKind::KeyTooLong, &long.display().to_string()));
    assert!(failure.message.contains("shorten the path"), "{}", failure.message);
    assert!(report.fatal.is_none());
}

#[tokio::test]
async fn a_missing_source_fails_the_run_and_the_other_is_sent() {
    let bench = Bench::new().await;
    bench.file("good", "1");
    let job = bench.job().source(Source::new("/nowhere/at/all").prefix("x"));
    let report = failed(soon(job.source(Source::new(bench.data())).build().unwrap().run()).await);
    let (kind, message) = fatal_of(&report);
    assert_eq!(kind, FailureKind::SourceMissing);
    assert!(message.contains("/nowhere/at/all") && message.contains("mount"), "{message}");
    assert_eq!(report.uploaded.files, 1);
    assert_eq!(bench.get("trips/good").await, b"1");
    assert_eq!(bench.stored_report(&report).await, report);
}

#[tokio::test]
async fn an_empty_source_is_a_warning_until_it_had_files() {
    let bench = Bench::new().await;
    let backup = bench.backup();
    let report = soon(backup.run()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Success);
    assert!(report.manifests.is_empty());
    assert!(report.warnings.iter().any(|warning| warning.ends_with("has no files")), "{:?}", report.warnings);

    let file = bench.file("a", "a");
    assert_eq!(soon(backup.run()).await.unwrap().outcome, Outcome::Success);
    std::fs::remove_file(file).unwrap();
    let report = failed(soon(backup.run()).await);
    let (kind, message) = fatal_of(&report);
    assert_eq!(kind, FailureKind::SourceEmpty);
    assert!(
        message.contains("had 1 files when it was last looked at") && message.contains("mounted"),
        "{message}"
    );
    assert_eq!(bench.get("trips/a").await, b"a", "a backup outlives its source");
}

#[tokio::test]
async fn the_alarm_of_an_emptied_source_does_not_fall_silent_with_time() {
    let bench = Bench::new().await;
    let file = bench.file("a", "a");
    let other = bench.dir("other");
    write(&other.join("b"), "b");
    let job = || bench.builder().source(Source::new(bench.dir("other")).prefix("other"));
    soon(job().build().unwrap().run()).await.unwrap();
    std::fs::remove_file(file).unwrap();
    let alarm = failed(soon(job().build().unwrap().run()).await);
    assert_eq!(fatal_of(&alarm).0, FailureKind::SourceEmpty);
    // Forty runs later the one that saw files is out of sight.
    for number in 0..40 {
        let mut old = alarm.clone();
        old.run_id = s3backup_core::RunId::new(chrono::DateTime::from_timestamp_nanos(i64::MAX / 2), number);
        let key = format!("{CONTROL}runs/{}.json", old.run_id);
        let body = ByteStream::from(serde_json::to_vec(&old).unwrap());
        bench.client().put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    }
    let late = failed(soon(job().build().unwrap().run()).await);
    assert_eq!(fatal_of(&late).0, FailureKind::SourceEmpty);
}

#[tokio::test]
async fn runs_that_did_not_look_at_a_source_do_not_make_it_forgotten() {
    let bench = Bench::new().await;
    let file = bench.file("a", "a");
    let first = soon(bench.backup().run()).await.unwrap();
    assert!(first.sources[0].walked && first.sources[0].had_files);
    std::fs::remove_file(file).unwrap();
    let step = bench.builder().step(s3backup_core::Step::new("fails", ["false"])).build().unwrap();
    let aborted = failed(soon(step.run()).await);
    assert!(!aborted.sources[0].walked && !aborted.sources[0].had_files);
    for number in 0..40 {
        let mut old = aborted.clone();
        old.run_id = s3backup_core::RunId::new(chrono::DateTime::from_timestamp_nanos(i64::MAX / 2), number);
        let key = format!("{CONTROL}runs/{}.json", old.run_id);
        let body = ByteStream::from(serde_json::to_vec(&old).unwrap());
        bench.client().put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    }
    // The same directory, written in another way.
    let slash = Source::new(format!("{}/", bench.data().display()));
    let report = failed(soon(bench.job().source(slash).build().unwrap().run()).await);
    assert_eq!(fatal_of(&report).0, FailureKind::SourceEmpty);
    assert!(report.sources[0].walked && report.sources[0].had_files && report.sources[0].seen == 0);
}

#[tokio::test]
async fn an_empty_source_of_which_nothing_can_be_learned_is_no_success() {
    let bench = Bench::new().await;
    let file = bench.file("a", "a");
    let forgetful = bench.forgetful_job().source(Source::new(bench.data())).build().unwrap();
    assert_eq!(soon(forgetful.run()).await.unwrap().outcome, Outcome::Success);
    std::fs::remove_file(file).unwrap();
    for operation in [Operation::ListObjectsV2, Operation::GetObject] {
        let fault = Fault::new(FaultKind::InternalError).on(operation);
        let is_read = operation == Operation::GetObject;
        bench.server.faults().set([if is_read { fault.key_contains("runs/") } else { fault }]);
        let report = failed(soon(forgetful.run()).await);
        assert_eq!(fatal_of(&report).0, FailureKind::Server);
    }
    bench.server.faults().clear();
    let report = failed(soon(forgetful.run()).await);
    assert_eq!(fatal_of(&report).0, FailureKind::SourceEmpty);
}

#[tokio::test]
async fn a_source_that_could_not_be_read_whole_is_not_called_empty() {
    let bench = Bench::new().await;
    let file = bench.file("a", "a");
    let source = Source::new(bench.data()).symlinks(s3backup_core::options::Symlinks::Follow);
    let backup = bench.job().source(source).build().unwrap();
    assert_eq!(soon(backup.run()).await.unwrap().outcome, Outcome::Success);
    std::fs::remove_file(file).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", bench.data().join("leads-nowhere")).unwrap();
    let report = soon(backup.run()).await.unwrap();
    assert_eq!((report.outcome, report.failed_total), (Outcome::Partial, 1));
    assert!(!report.sources[0].walked);
}

#[tokio::test]
async fn a_latest_json_that_cannot_be_read_is_written_anew() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let key = format!("{CONTROL}latest.json");
    let body = ByteStream::from(vec![0; 17 << 20]);
    bench.client().put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    let report = soon(bench.backup().run()).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files), (Outcome::Success, 1));
    assert!(report.warnings.iter().any(|warning| warning.contains("latest.json")), "{:?}", report.warnings);
    let report = soon(bench.backup().run()).await.unwrap();
    assert_eq!((report.outcome, report.unchanged.files), (Outcome::Success, 1));
    assert!(!report.warnings.iter().any(|warning| warning.contains("latest.json")), "it is mended");
}

#[tokio::test]
async fn a_thread_that_hangs_does_not_hold_up_a_blocking_run() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let (release, released) = std::sync::mpsc::channel::<()>();
    let hanging = std::sync::Mutex::new(Some(released));
    // The clock is read within the run's runtime, so this is where a thread of it can be made to hang.
    let clock = move || {
        if let Some(released) = hanging.lock().unwrap().take() {
            tokio::task::spawn_blocking(move || released.recv());
        }
        chrono::Utc::now()
    };
    let backup = bench.builder().clock(std::sync::Arc::new(clock)).build().unwrap();
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = ended.send(backup.run_blocking());
    });
    let report = soon(end).await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Success);
    drop(release);
}

#[tokio::test]
async fn wrong_settings_fail_at_once_with_their_mend() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let closed = ClosedPort::new();
    let mut no_bucket = bench.destination();
    no_bucket.bucket = "no-such-bucket".to_owned();
    let wrong_secret = bench.destination().credentials(bench.server.access_key(), "wrong");
    let nobody = bench.destination().endpoint(format!("http://{}", closed.address()));
    let cases: [(Destination, FailureKind, &[&str]); 3] = [
        (no_bucket, FailureKind::Bucket, &["no-such-bucket", "Create it"]),
        (wrong_secret, FailureKind::Credentials, &["credentials", "secret"]),
        (nobody, FailureKind::Network, &["no answer", "latest.json"]),
    ];
    for (destination, kind, words) in cases {
        let job = Backup::builder().job("telemetry").host("gw-1").retry(impatient());
        let backup = job.destination(destination).source(Source::new(bench.data())).build().unwrap();
        let (events, result) = watch(&backup).await;
        let error = result.unwrap_err();
        assert!(error.to_string().starts_with("the backup failed: "), "{error}");
        let report = failed(Err(error));
        let (found, message) = fatal_of(&report);
        assert_eq!(found, kind, "{message}");
        for word in words {
            assert!(message.contains(word), "{message} has no {word}");
        }
        assert_eq!((report.found.files, report.failed_total), (0, 0));
        assert_eq!(events.len(), 2, "only begin and end: {events:?}");
    }
    assert!(bench.objects().await.is_empty());
}

#[tokio::test]
async fn what_is_not_recorded_in_the_bucket_is_no_success() {
    for (part, words) in [("runs/", "run report"), ("manifests/", "1 files that are in the bucket")] {
        let bench = Bench::new().await;
        bench.file("a", "a");
        let fault = Fault::new(FaultKind::InternalError).on(Operation::PutObject).key_contains(part);
        bench.server.faults().add(fault);
        let report = failed(soon(bench.backup().run()).await);
        let (kind, message) = fatal_of(&report);
        assert!(kind == FailureKind::Record && message.contains(words), "{message}");
        assert_eq!(report.uploaded.files, 1);
        let is_stored = bench.objects().await.keys().any(|key| key.contains("/runs/"));
        assert_eq!(is_stored, part == "manifests/");
        if is_stored {
            assert_eq!(bench.stored_report(&report).await, report);
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_every_file_is_not_asked_for_all_of_them() {
    let bench = Bench::new().await;
    for number in 0..300 {
        bench.file(&format!("data/{number}"), "x");
    }
    let fault = Fault::new(FaultKind::AccessDenied).on(Operation::PutObject).key_contains("trips/data/");
    bench.server.faults().add(fault);
    let report = failed(soon(bench.backup().run()).await);
    let (kind, message) = fatal_of(&report);
    assert!(kind == FailureKind::Denied && message.starts_with("50 files in a row"), "{message}");
    assert!((50..300).contains(&report.failed_total), "{}", report.failed_total);
    assert!(report.failed.iter().all(|failure| failure.message.contains("s3:PutObject")));
    assert_eq!(bench.stored_report(&report).await, report);
}

#[tokio::test]
async fn a_server_that_proves_nothing_is_not_trusted() {
    let bench = Bench::new().await;
    for number in 0..300 {
        bench.file(&number.to_string(), "x");
    }
    bench.server.faults().add(Fault::new(FaultKind::NoChecksums));
    let report = failed(soon(bench.backup().run()).await);
    let (kind, message) = fatal_of(&report);
    assert_eq!(kind, FailureKind::Checksum);
    assert!(message.contains("none") && message.contains("read-back"), "{message}");
    assert_eq!(report.uploaded.files, 0);
    assert!(report.failed_total < 300, "{}", report.failed_total);
}

#[tokio::test]
async fn two_files_of_one_key_are_a_conflict_and_none_is_lost_unsaid() {
    let bench = Bench::new().await;
    bench.file("sub/x", "one");
    let other = bench.dir("other");
    write(&other.join("x"), "another");
    let backup = bench.builder().source(Source::new(&other).prefix("sub")).build().unwrap();
    // Also in later runs, in which the object is of an earlier one and one of the two is found unchanged.
    for run in 0..3 {
        let report = soon(backup.run()).await.unwrap();
        let there = report.uploaded.files + report.unchanged.files;
        assert_eq!((report.outcome, there, report.failed_total), (Outcome::Partial, 1, 1), "run {run}");
        assert_eq!(report.failed[0].kind, FailureKind::Conflict);
        let stored = bench.get("trips/sub/x").await;
        let lost = if stored == b"one" { other.join("x") } else { bench.data().join("sub/x") };
        assert_eq!(report.failed[0].path, lost.display().to_string());
    }
}

#[tokio::test]
async fn what_another_program_wrote_is_not_overwritten() {
    let bench = Bench::new().await;
    bench.file("a", "ours");
    bench.file("b", "same");
    for (key, bytes) in [("trips/a", "theirs"), ("trips/b", "same")] {
        let body = ByteStream::from_static(bytes.as_bytes());
        let put = bench.client().put_object().bucket(BUCKET).key(key).body(body);
        let put = put.checksum_algorithm(s3backup_core::aws_sdk_s3::types::ChecksumAlgorithm::Crc64Nvme);
        put.send().await.unwrap();
    }
    let report = soon(bench.backup().run()).await.unwrap();
    assert_eq!((report.outcome, report.unchanged.files, report.failed_total), (Outcome::Partial, 1, 1));
    assert_eq!(report.failed[0].kind, FailureKind::Conflict);
    assert_eq!(bench.get("trips/a").await, b"theirs");
}

#[tokio::test]
async fn a_host_that_may_only_write_backs_up() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    bench.server.faults().add(Fault::new(FaultKind::AccessDenied).on(Operation::GetObject));
    bench.server.faults().add(Fault::new(FaultKind::AccessDenied).on(Operation::GetBucketVersioning));
    bench.server.faults().add(Fault::new(FaultKind::AccessDenied).on(Operation::ListObjectsV2));
    let report = soon(bench.backup().run()).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files), (Outcome::Success, 1));
    let report = soon(bench.backup().run()).await.unwrap();
    assert_eq!((report.outcome, report.unchanged.files), (Outcome::Success, 1), "it has its catalog");

    let forgetful = bench.forgetful_job().source(Source::new(bench.data())).build().unwrap();
    let report = soon(forgetful.run()).await.unwrap();
    let is_said = report.warnings.iter().any(|warning| warning.contains("may not be read"));
    assert!(is_said && report.outcome == Outcome::Success, "{:?}", report.warnings);
}

#[tokio::test]
async fn trouble_that_passes_is_repeated_and_counted() {
    let bench = Bench::new().await;
    for number in 0..20 {
        bench.file(&number.to_string(), "x");
    }
    let fault = |kind| Fault::new(kind).on(Operation::PutObject).key_contains("trips/1");
    bench.server.faults().set([fault(FaultKind::SlowDown).nth(1), fault(FaultKind::LostReply).nth(3)]);
    let report = soon(bench.backup().run()).await.unwrap();
    assert_eq!((report.outcome, report.retries), (Outcome::Success, 2));
    assert_eq!((report.uploaded.files, report.uploaded.bytes), (20, 20));
    assert_eq!(report.uploaded.wire_bytes, 22);
}
