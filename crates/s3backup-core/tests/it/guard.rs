//! What a run does when so much has changed at once that somebody should look first, and when another is at work.

use std::path::PathBuf;
use std::time::Duration;

use s3backup_core::manifest::Op;
use s3backup_core::options::{SlackOptions, SlackWay, TransferSettings};
use s3backup_core::{BackupBuilder, Error, Event, FailureKind, Outcome, RunReport, Source};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{Bench, failed, soon};
use crate::fake_slack::FakeSlack;
use crate::memory::{counted, kill, op, ops, quiet, quiet_but, set_mtime, state_dir, success};

/// A job of so many files that ran once.
async fn backed_up(files: usize) -> (Bench, Vec<PathBuf>) {
    let bench = Bench::new().await;
    let files = (0..files).map(|number| bench.file(&name(number), "plain text")).collect();
    success(&bench.backup()).await;
    (bench, files)
}

fn name(number: usize) -> String {
    format!("v{}/{number:03}", number % 5)
}

fn change(files: &[PathBuf]) {
    for file in files {
        std::fs::write(file, "other and longer text").unwrap();
    }
}

/// As ransomware does it: other bytes, as many as before.
fn encrypt(files: &[PathBuf]) {
    for file in files {
        let time = std::fs::metadata(file).unwrap().modified().unwrap() + Duration::from_mins(1);
        std::fs::write(file, "cyphertext").unwrap();
        set_mtime(file, time);
    }
}

fn touch(files: &[PathBuf]) {
    for file in files {
        let time = std::fs::metadata(file).unwrap().modified().unwrap() + Duration::from_mins(1);
        set_mtime(file, time);
    }
}

fn slack_job(bench: &Bench, slack: &FakeSlack) -> BackupBuilder {
    let channel = "#alarms".to_owned();
    bench.builder().slack(SlackOptions::new(SlackWay::Bot {
        token: "xoxb-1".into(),
        channel,
        api_url: slack.api_url(),
    }))
}

#[track_caller]
fn assert_guarded(report: &RunReport, changed: usize, known: usize) {
    let fatal = report.fatal.as_ref().unwrap();
    assert_eq!((report.outcome, fatal.kind), (Outcome::Failed, FailureKind::Guard), "{report:#?}");
    for word in [&format!("{changed} of the {known} files"), "max_changed", "--force"] {
        assert!(fatal.message.contains(word), "{}", fatal.message);
    }
}

#[tokio::test]
async fn when_most_files_changed_at_once_none_is_overwritten() {
    for do_it in [change, encrypt] {
        let (bench, files) = backed_up(100).await;
        do_it(&files[..60]);
        bench.file("new", "new");
        std::fs::remove_file(&files[99]).unwrap();
        let slack = FakeSlack::start([]).await;
        let report = failed(soon(slack_job(&bench, &slack).build().unwrap().run()).await);
        assert_guarded(&report, 60, 99);
        assert_eq!((report.uploaded.files, report.unchanged.files, report.failed_total), (1, 39, 60));
        for (number, failure) in report.failed.iter().enumerate() {
            assert_eq!(failure.kind, FailureKind::Guard);
            assert!(
                files[..60].iter().any(|file| file.display().to_string() == failure.path),
                "{number}: {failure:?}"
            );
        }
        let mut named: Vec<_> = report.failed.iter().map(|failure| &failure.path).collect();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), 60);
        for number in 0..100 {
            assert_eq!(bench.get(&format!("trips/{}", name(number))).await, b"plain text");
        }
        assert_eq!(bench.get("trips/new").await, b"new");
        assert_eq!(ops(&bench, &report).await, [op(Op::Put, "new"), op(Op::Gone, &name(99))]);
        assert_eq!(bench.stored_report(&report).await, report);
        let seen = slack.seen();
        assert_eq!(seen.len(), 1, "one alert");
        let text = seen[0].body.to_string();
        for words in ["guard", "60 of the 99 files", &report.failed[0].path] {
            assert!(text.contains(words), "no {words} in {text}");
        }

        // It does not wear off.
        let report = failed(soon(bench.backup().run()).await);
        assert_guarded(&report, 60, 100);
        assert_eq!((report.uploaded.files, report.manifests.len()), (0, 0));

        let (report, requests) = counted(&bench, &bench.builder().force(true).build().unwrap()).await;
        assert_eq!((report.uploaded.files, requests), (60, quiet_but(61)));
        let stored = bench.get(&format!("trips/{}", name(7))).await;
        assert_eq!(stored, std::fs::read(&files[7]).unwrap());
        assert_eq!(counted(&bench, &bench.backup()).await.1, quiet());
    }
}

#[tokio::test]
async fn files_that_were_only_touched_are_not_counted() {
    let (bench, files) = backed_up(100).await;
    touch(&files[..60]);
    let (report, requests) = counted(&bench, &bench.backup()).await;
    assert_eq!((report.uploaded.files, report.unchanged.files, requests), (0, 100, quiet_but(1)));
    assert_eq!(ops(&bench, &report).await.iter().filter(|(op, _)| *op == Op::Meta).count(), 60);
    assert_eq!(counted(&bench, &bench.backup()).await.1, quiet());

    // More are looked at than may change, and fewer of them did.
    touch(&files[..60]);
    change(&files[60..90]);
    let (report, requests) = counted(&bench, &bench.backup()).await;
    assert_eq!((report.uploaded.files, report.unchanged.files, requests), (30, 70, quiet_but(31)));
    assert_eq!(counted(&bench, &bench.backup()).await.1, quiet());
}

#[tokio::test]
async fn the_share_is_taken_of_what_is_still_there_and_up_to_it_all_is_well() {
    let (bench, files) = backed_up(40).await;
    change(&files[..20]);
    assert_eq!(success(&bench.backup()).await.uploaded.files, 20, "just half");
    encrypt(&files[..21]);
    assert_guarded(&failed(soon(bench.backup().run()).await), 21, 40);
    let lenient = bench.builder().max_changed(60).build().unwrap();
    assert_eq!(success(&lenient).await.uploaded.files, 21);
}

#[tokio::test]
async fn a_handful_may_always_change_and_the_guard_can_be_switched_off() {
    let (bench, files) = backed_up(10).await;
    change(&files[..8]);
    assert_eq!(success(&bench.backup()).await.uploaded.files, 8);

    let (bench, files) = backed_up(40).await;
    change(&files);
    let off = bench.builder().max_changed(100).build().unwrap();
    assert_eq!(success(&off).await.uploaded.files, 40);
    encrypt(&files);
    let never = bench.builder().max_changed(0).build().unwrap();
    assert_guarded(&failed(soon(never.run()).await), 40, 40);
}

#[tokio::test]
async fn large_files_are_guarded_as_small_ones_are() {
    let bench = Bench::new().await;
    let settings = TransferSettings { part_size_bytes: 5 << 20, ..TransferSettings::default() };
    let files: Vec<_> =
        (0..12).map(|number: u8| bench.file(&name(number.into()), vec![number; 6 << 20])).collect();
    let job = || bench.builder().transfer(settings.clone()).build().unwrap();
    success(&job()).await;
    for file in &files {
        let time = std::fs::metadata(file).unwrap().modified().unwrap() + Duration::from_mins(1);
        std::fs::write(file, vec![99; 6 << 20]).unwrap();
        set_mtime(file, time);
    }
    let parts = bench.server.stats().of(Operation::UploadPart);
    assert_guarded(&failed(soon(job().run()).await), 12, 12);
    assert_eq!((bench.server.stats().of(Operation::UploadPart), bench.open_uploads().await), (parts, 0));
    for (number, file) in (0..12_u8).zip(&files) {
        std::fs::write(file, vec![number; 6 << 20]).unwrap();
    }
    let (report, requests) = counted(&bench, &job()).await;
    let mut expected = quiet_but(1);
    // The run before did not succeed: what it may have replaced is looked at.
    expected.insert("HeadObject", 12);
    assert_eq!((report.unchanged.files, requests), (12, expected), "restored");
}

#[tokio::test]
async fn two_runs_of_a_job_do_not_meet() {
    let (bench, files) = backed_up(3).await;
    change(&files[..1]);
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/v0/000"));
    let mut first = bench.backup().start();
    soon(async { while !matches!(first.next().await, Some(Event::DiscoveryFinished { .. })) {} }).await;
    let before = bench.server.stats();
    let slack = FakeSlack::start([]).await;
    let second = slack_job(&bench, &slack).build().unwrap();
    let Err(Error::Locked { job, holder }) = soon(second.run()).await else { panic!("it ran") };
    assert_eq!(job.as_str(), "telemetry");
    assert!(holder.contains("backup run") && holder.contains(&std::process::id().to_string()), "{holder}");
    assert_eq!(slack.seen().len(), 0);
    let after = bench.server.stats();
    for operation in [Operation::GetObject, Operation::HeadObject, Operation::ListObjectsV2] {
        assert_eq!(after.of(operation), before.of(operation), "it asked nothing");
    }
    // Another job beside it, and a look at what it would do, are free.
    let other = bench.job().job("other").source(Source::new(bench.dir("more")).prefix("more"));
    assert_eq!(soon(other.build().unwrap().run()).await.unwrap().outcome, Outcome::Success);
    soon(second.plan()).await.unwrap();

    kill(&bench, first).await;
    assert!(state_dir(&bench).join("lock").exists(), "what is left of it locks nobody out");
    bench.server.faults().clear();
    assert_eq!(success(&bench.backup()).await.uploaded.files, 1);
}
