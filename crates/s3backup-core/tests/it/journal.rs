//! Multipart uploads that outlive the run that began them.

use std::path::PathBuf;
use std::time::Duration;

use s3backup_core::options::{RetrySettings, TransferSettings};
use s3backup_core::{Backup, BackupBuilder, Event, Outcome};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{BUCKET, Bench, impatient, soon, until};
use crate::memory::{counted, kill, quiet, set_mtime, success};

const PART: usize = 5 << 20;
const PARTS: usize = 6;

/// Parts of `large` that the first run got through.
const SENT: u64 = 3;

fn large() -> Vec<u8> {
    (0..PART * PARTS - 7).map(|at| (at / 1009).to_le_bytes()[0]).collect()
}

/// Sends one part after the other.
fn job(bench: &Bench) -> BackupBuilder {
    let mut settings = TransferSettings::default();
    (settings.part_size_bytes, settings.concurrency) = (PART as u64, Some(1));
    bench.builder().transfer(settings)
}

fn backup(bench: &Bench) -> Backup {
    job(bench).build().unwrap()
}

fn parts_asked_for(bench: &Bench) -> u64 {
    bench.server.stats().of(Operation::UploadPart)
}

/// A run that was killed when it had sent some parts and another was on its way.
async fn killed_at_a_part(bench: &Bench) -> PathBuf {
    let file = bench.file("large", large());
    bench.file("small", "x");
    bench.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart).nth(SENT + 1));
    let run = backup(bench).start();
    until(|| parts_asked_for(bench) == SENT + 1).await;
    kill(bench, run).await;
    bench.server.faults().clear();
    assert_eq!(bench.open_uploads().await, 1);
    file
}

#[tokio::test]
async fn a_killed_run_is_gone_on_with_and_sends_no_part_twice() {
    let bench = Bench::new().await;
    killed_at_a_part(&bench).await;
    let before = parts_asked_for(&bench);
    let (report, requests) = counted(&bench, &backup(&bench)).await;
    assert_eq!(report.resumed_parts, SENT);
    assert_eq!(parts_asked_for(&bench) - before, PARTS as u64 - SENT, "but for the one that was on its way");
    assert!(!requests.contains_key("CreateMultipartUpload"), "{requests:?}");
    assert_eq!(bench.get("trips/large").await, large());
    assert_eq!(bench.open_uploads().await, 0);
    assert_eq!(counted(&bench, &backup(&bench)).await.1, quiet());
}

#[tokio::test]
async fn what_was_begun_of_a_file_that_is_gone_is_given_back() {
    let bench = Bench::new().await;
    let file = killed_at_a_part(&bench).await;
    std::fs::remove_file(file).unwrap();
    success(&backup(&bench)).await;
    assert_eq!(bench.open_uploads().await, 0);
    assert_eq!(counted(&bench, &backup(&bench)).await.1, quiet());
}

#[tokio::test]
async fn what_was_begun_of_a_file_that_changed_is_given_back_and_it_is_sent_anew() {
    let bench = Bench::new().await;
    let file = killed_at_a_part(&bench).await;
    let time = std::fs::metadata(&file).unwrap().modified().unwrap() + Duration::from_mins(1);
    let mut changed = large();
    changed[0] ^= 1;
    std::fs::write(&file, &changed).unwrap();
    set_mtime(&file, time);
    let before = parts_asked_for(&bench);
    let report = success(&backup(&bench)).await;
    assert_eq!((report.resumed_parts, parts_asked_for(&bench) - before), (0, PARTS as u64));
    assert_eq!(bench.get("trips/large").await, changed);
    assert_eq!(bench.open_uploads().await, 0);
}

#[tokio::test]
async fn a_run_that_did_not_look_everywhere_gives_nothing_back() {
    let bench = Bench::new().await;
    killed_at_a_part(&bench).await;
    let aside = bench.data().with_file_name("aside");
    std::fs::rename(bench.data(), &aside).unwrap();
    assert!(soon(backup_of_missing(&bench).run()).await.is_err());
    assert_eq!(bench.open_uploads().await, 1);
    std::fs::rename(&aside, aside.with_file_name("data")).unwrap();
    assert_eq!(success(&backup(&bench)).await.resumed_parts, SENT);
}

/// The usual job, whose directory is not made.
fn backup_of_missing(bench: &Bench) -> Backup {
    let backup = backup(bench);
    std::fs::remove_dir(bench.data()).unwrap();
    backup
}

#[tokio::test]
async fn an_upload_whose_beginning_was_not_heard_of_is_given_back_and_no_other() {
    let bench = Bench::new().await;
    bench.file("large", large());
    let theirs =
        bench.client().create_multipart_upload().bucket(BUCKET).key("trips/theirs").send().await.unwrap();
    bench.server.faults().add(Fault::new(FaultKind::LostReply).on(Operation::CreateMultipartUpload));
    // So long that the second try never comes.
    let patient =
        RetrySettings { base: Duration::from_hours(1), cap: Duration::from_hours(1), ..impatient() };
    let mut run = job(&bench).retry(patient).build().unwrap().start();
    soon(async { while !matches!(run.next().await, Some(Event::Retrying { .. })) {} }).await;
    kill(&bench, run).await;
    bench.server.faults().clear();
    assert_eq!(bench.open_uploads().await, 2);
    let report = success(&backup(&bench)).await;
    assert_eq!((report.uploaded.files, report.resumed_parts), (1, 0));
    assert_eq!(bench.get("trips/large").await, large());
    let open = bench.client().list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    let open: Vec<_> = open.uploads().iter().map(|upload| upload.upload_id()).collect();
    assert_eq!(open, [theirs.upload_id()]);
    assert_eq!(counted(&bench, &backup(&bench)).await.1, quiet());
}

#[tokio::test]
async fn an_upload_that_the_bucket_dropped_is_begun_anew() {
    let bench = Bench::new().await;
    killed_at_a_part(&bench).await;
    // As a lifecycle rule does it.
    let open = bench.client().list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    let abort = bench.client().abort_multipart_upload().bucket(BUCKET).key("trips/large");
    abort.upload_id(open.uploads()[0].upload_id().unwrap()).send().await.unwrap();
    let report = success(&backup(&bench)).await;
    assert_eq!((report.outcome, report.resumed_parts), (Outcome::Success, 0));
    assert_eq!(bench.get("trips/large").await, large());
    assert_eq!(bench.open_uploads().await, 0);
}

#[tokio::test]
async fn nothing_is_left_open_by_a_machine_that_keeps_nothing() {
    let bench = Bench::new().await;
    let source = s3backup_core::Source::new(bench.data());
    bench.file("large", large());
    let mut settings = TransferSettings::default();
    (settings.part_size_bytes, settings.concurrency) = (PART as u64, Some(1));
    let backup = bench.forgetful_job().source(source).transfer(settings).build().unwrap();
    let fault = Fault::new(FaultKind::InternalError).on(Operation::UploadPart);
    bench.server.faults().set([fault.clone().nth(2), fault.nth(3)]);
    let report = soon(backup.run()).await.unwrap();
    assert_eq!((report.outcome, bench.open_uploads().await), (Outcome::Partial, 0));
}
