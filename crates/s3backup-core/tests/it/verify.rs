//! Whether what somebody did to the bucket is found, named and mended.

use std::collections::{BTreeMap, BTreeSet};

use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::options::{ChecksumKind, TransferSettings};
use s3backup_core::{
    Backup, Difference, Differs, Error, Outcome, Repair, RunId, Source, Verify, VerifyEvent, VerifyOptions,
    VerifyReport, VerifyScope,
};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{BUCKET, Bench, CONTROL, soon};
use crate::moto::Moto;
use crate::prune::versioned_bucket;

fn options() -> VerifyOptions {
    VerifyOptions::default()
}

/// All that is told of, and the result.
async fn watch(mut verify: Verify) -> (Vec<VerifyEvent>, Result<VerifyReport, Error>) {
    soon(async {
        let mut events = Vec::new();
        while let Some(event) = verify.next().await {
            events.push(event);
        }
        (events, verify.finish().await)
    })
    .await
}

async fn verify(backup: &Backup, options: VerifyOptions) -> (Vec<Difference>, VerifyReport) {
    let (events, report) = watch(backup.verify(options)).await;
    let differences = events.into_iter().filter_map(|event| match event {
        VerifyEvent::Differs(difference) => Some(*difference),
        _ => None,
    });
    (differences.collect(), report.unwrap())
}

fn named(differences: &[Difference]) -> BTreeMap<&str, Differs> {
    let named: BTreeMap<_, _> = differences.iter().map(|found| (found.key.as_str(), found.what)).collect();
    assert_eq!(named.len(), differences.len(), "each is told of once: {differences:#?}");
    named
}

async fn run(backup: &Backup) -> s3backup_core::RunReport {
    let report = soon(backup.run()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    report
}

async fn put(bench: &Bench, key: &str, bytes: impl Into<Vec<u8>>) {
    let body = ByteStream::from(bytes.into());
    bench.client().put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
}

async fn delete(bench: &Bench, key: &str) {
    bench.client().delete_object().bucket(BUCKET).key(key).send().await.unwrap();
}

/// A few files in the bucket, of which another client then overwrites, removes and truncates one each, and the disk of the
/// server lets one rot.
async fn tampered(bench: &Bench) -> Backup {
    for name in ["ok", "flipped", "deleted", "truncated", "rotten", "sub/ok"] {
        bench.file(name, format!("the bytes of {name}"));
    }
    let backup = bench.backup();
    run(&backup).await;
    put(bench, "trips/flipped", "the bytes of flippeD").await;
    delete(bench, "trips/deleted").await;
    put(bench, "trips/truncated", "the bytes of t").await;
    bench.server.corrupt(BUCKET, "trips/rotten", 3).unwrap();
    put(bench, "trips/stranger", "not ours").await;
    backup
}

const TAMPERED: [(&str, Differs); 3] = [
    ("trips/deleted", Differs::Missing),
    ("trips/flipped", Differs::Content),
    ("trips/truncated", Differs::Size),
];
const ROTTEN: (&str, Differs) = ("trips/rotten", Differs::Content);

#[tokio::test]
async fn what_another_client_did_is_named_and_nothing_else() {
    let bench = Bench::new().await;
    let backup = tampered(&bench).await;

    let (differences, report) = verify(&backup, options()).await;

    assert_eq!(named(&differences), BTreeMap::from(TAMPERED));
    assert_eq!((report.verified.objects.files, report.of.files, report.verified.differ), (6, 6, 3));
    assert_eq!((report.unchecked, report.newer, report.verified.downloaded.files), (0, 0, 0));
    assert_eq!((report.strangers.files, report.strangers_named[0].as_str()), (1, "trips/stranger"));
    let truncated = differences.iter().find(|found| found.what == Differs::Size).unwrap();
    assert_eq!((truncated.expected.size, truncated.found.as_ref().unwrap().size), (22, 14));
    assert_eq!(truncated.path, bench.data().join("truncated").display().to_string());
    assert!(differences.iter().all(|found| found.repair.is_none()));

    let (differences, report) = verify(&backup, options().deep(true)).await;
    assert_eq!(named(&differences), TAMPERED.into_iter().chain([ROTTEN]).collect());
    let rotten = differences.iter().find(|found| found.key.as_str() == ROTTEN.0).unwrap();
    assert!(rotten.note.as_ref().unwrap().contains("still shows"), "{rotten:?}");
    assert_eq!(report.verified.downloaded.files, 2, "of those that are as they should be");
    assert_eq!(report.repair, None);
}

#[tokio::test]
async fn a_repair_and_a_run_mend_it() {
    let bench = Bench::new().await;
    let backup = tampered(&bench).await;

    let (differences, report) = verify(&backup, options().deep(true).repair(true)).await;
    assert_eq!(differences.len(), 4);
    assert!(differences.iter().all(|found| found.repair == Some(Repair::Marked)));
    assert_eq!((report.repair.unwrap().marked, report.repair.unwrap().file_gone), (4, 0));

    // What is marked stays a difference until it is sent.
    let (differences, _) = verify(&backup, options()).await;
    assert_eq!(differences.len(), 4, "{differences:#?}");

    let mended = run(&backup).await;
    assert_eq!((mended.uploaded.files, mended.unchanged.files), (4, 2));
    let (differences, report) = verify(&backup, options().deep(true)).await;
    assert_eq!(differences, []);
    assert_eq!((report.verified.objects.files, report.verified.downloaded.files), (6, 6));
    for name in ["flipped", "deleted", "truncated", "rotten"] {
        assert_eq!(bench.get(&format!("trips/{name}")).await, format!("the bytes of {name}").into_bytes());
    }
    assert_eq!(bench.get("trips/stranger").await, b"not ours");
    assert_eq!(run(&backup).await.uploaded.files, 0);
}

#[tokio::test]
async fn what_has_no_file_any_more_cannot_be_mended_and_is_named() {
    let bench = Bench::new().await;
    let backup = tampered(&bench).await;
    std::fs::remove_file(bench.data().join("flipped")).unwrap();

    let (differences, report) = verify(&backup, options().repair(true)).await;

    let gone = differences.iter().find(|found| found.repair == Some(Repair::FileGone)).unwrap();
    assert_eq!(gone.key.as_str(), "trips/flipped");
    assert_eq!((report.repair.unwrap().marked, report.repair.unwrap().file_gone), (2, 1));
}

#[tokio::test]
async fn a_machine_without_a_catalog_sees_the_same_and_cannot_repair() {
    let bench = Bench::new().await;
    tampered(&bench).await;
    let other = bench.forgetful_job().source(Source::new(bench.data())).build().unwrap();
    let (differences, _) = verify(&other, options().deep(true)).await;
    assert_eq!(named(&differences), TAMPERED.into_iter().chain([ROTTEN]).collect());

    let elsewhere = bench.dir("elsewhere");
    let other = bench.builder().state_dir(&elsewhere).build().unwrap();
    let (_, refused) = watch(other.verify(options().repair(true))).await;
    assert!(matches!(refused, Err(Error::NoCatalog { .. })), "{refused:?}");
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0, "no catalog was made");
}

#[tokio::test]
async fn where_there_is_no_backup_nothing_is_well() {
    let bench = Bench::new().await;
    let (_, report) = watch(bench.backup().verify(options())).await;
    assert!(matches!(report, Err(Error::NoState { .. })), "{report:?}");
}

#[tokio::test]
async fn a_clean_bucket_takes_a_listing_and_is_remembered() {
    let bench = Bench::new().await;
    (0..30).for_each(|number| drop(bench.file(&format!("{number}"), "x")));
    let backup = bench.backup();
    run(&backup).await;
    let before = bench.server.stats();

    let (differences, report) = verify(&backup, options()).await;

    assert_eq!((differences.len(), report.verified.objects.files), (0, 30));
    let stats = bench.server.stats();
    let asked = |operation| stats.of(operation) - before.of(operation);
    assert_eq!((asked(Operation::ListObjectsV2), asked(Operation::HeadObject)), (1, 0));
    assert!(stats.total() - before.total() <= 6, "{stats:?}");

    let latest: serde_json::Value =
        serde_json::from_slice(&bench.get(&format!("{CONTROL}latest.json")).await).unwrap();
    assert_eq!(latest["verified"]["objects"]["files"], 30);
    assert_eq!((&latest["state"], &latest["verified"]["differ"]), (&"idle".into(), &0.into()));
    let next = run(&backup).await;
    assert_eq!(next.verified, Some(report.verified));
    assert_eq!(next.uploaded.files, 0);
}

#[tokio::test]
async fn the_same_bytes_under_another_etag_are_no_difference() {
    let bench = Bench::new().await;
    let bytes = vec![7; 6 << 20];
    bench.file("large", &bytes);
    bench.file("small", "s");
    let backup = bench.backup();
    run(&backup).await;
    let client = bench.client();
    let upload = client.create_multipart_upload().bucket(BUCKET).key("trips/large").send().await.unwrap();
    let upload = upload.upload_id().unwrap();
    let mut parts = s3backup_core::aws_sdk_s3::types::CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(bytes.chunks(5 << 20)) {
        let sent =
            client.upload_part().bucket(BUCKET).key("trips/large").upload_id(upload).part_number(number);
        let sent = sent.body(ByteStream::from(part.to_vec())).send().await.unwrap();
        let part = s3backup_core::aws_sdk_s3::types::CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32);
        parts = parts.parts(part.build());
    }
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("trips/large").upload_id(upload);
    complete.multipart_upload(parts.build()).send().await.unwrap();

    let (differences, report) = verify(&backup, options()).await;
    assert_eq!(differences, []);
    assert_eq!(report.verified.objects.files, 2);
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_never_well() {
    let bench = Bench::new().await;
    let backup = tampered(&bench).await;
    let fault = |kind| Fault::new(kind).key_contains("flipped");
    bench.server.faults().set([fault(FaultKind::InternalError).on(Operation::HeadObject)]);
    let (events, report) = watch(backup.verify(options())).await;
    let report = report.unwrap();
    assert_eq!((report.verified.differ, report.unchecked), (2, 1));
    let unchecked: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            VerifyEvent::Unchecked { key, .. } => Some(key.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(unchecked, ["trips/flipped"]);

    // The server names it, and does not give its bytes.
    bench
        .server
        .faults()
        .set([Fault::new(FaultKind::InternalError).on(Operation::GetObject).key_contains("/ok")]);
    let (differences, _) = verify(&backup, options().deep(true)).await;
    assert_eq!(named(&differences)["trips/ok"], Differs::Unreadable);
    assert_eq!(named(&differences)["trips/sub/ok"], Differs::Unreadable);

    // It is not the bytes in the bucket that are damaged.
    let damaged = Fault::new(FaultKind::CorruptReply).on(Operation::GetObject).key_contains("trips/ok");
    bench.server.faults().set([damaged.first(1)]);
    let (differences, _) = verify(&backup, options().deep(true)).await;
    assert!(!named(&differences).contains_key("trips/ok"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error() {
    let bench = Bench::new().await;
    let backup = tampered(&bench).await;
    bench.server.faults().set([Fault::new(FaultKind::SlowDown).on(Operation::ListObjectsV2)]);
    let (_, report) = watch(backup.verify(options())).await;
    assert!(matches!(report, Err(Error::Transfer(_))), "{report:?}");
}

#[tokio::test]
async fn a_selection_of_runs_is_looked_at_alone() {
    let bench = Bench::new().await;
    (0..60).for_each(|number| drop(bench.file(&format!("old/{number}"), "x")));
    let backup = bench.backup();
    let first = run(&backup).await;
    bench.file("new/a", "a");
    bench.file("new/b", "b");
    let second = run(&backup).await;
    delete(&bench, "trips/new/b").await;
    delete(&bench, "trips/old/7").await;

    let before = bench.server.stats();
    let (differences, report) =
        verify(&backup, options().scope(VerifyScope::Run(second.run_id.clone()))).await;
    let stats = bench.server.stats();
    assert_eq!(named(&differences), BTreeMap::from([("trips/new/b", Differs::Missing)]));
    assert_eq!((report.of.files, report.verified.objects.files), (2, 2));
    let asked = |operation| stats.of(operation) - before.of(operation);
    assert_eq!((asked(Operation::ListObjectsV2), asked(Operation::HeadObject)), (0, 2), "{stats:?}");

    let (differences, _) = verify(&backup, options().scope(VerifyScope::Run(first.run_id.clone()))).await;
    assert_eq!(named(&differences), BTreeMap::from([("trips/old/7", Differs::Missing)]));
    let since = VerifyScope::Since(second.started_at.to_utc());
    let (differences, _) = verify(&backup, options().scope(since)).await;
    assert_eq!(named(&differences), BTreeMap::from([("trips/new/b", Differs::Missing)]));
    let latest: serde_json::Value =
        serde_json::from_slice(&bench.get(&format!("{CONTROL}latest.json")).await).unwrap();
    assert_eq!(latest["verified"], serde_json::Value::Null, "a part is not the whole");
}

#[tokio::test]
async fn a_sample_is_really_restored() {
    let bench = Bench::new().await;
    (0..40).for_each(|number| drop(bench.file(&format!("{number}"), format!("content {number}"))));
    let backup = bench.backup();
    run(&backup).await;
    let sample = |count, seed| options().scope(VerifyScope::Sample { count, seed });
    let (differences, report) = verify(&backup, sample(5, 7)).await;
    assert_eq!(differences, []);
    assert_eq!((report.of.files, report.verified.downloaded.files, report.seed), (5, 5, Some(7)));
    let told = run(&backup).await.verified.unwrap();
    assert_eq!((told.downloaded.files, told.differ), (5, 0), "the next report has it");

    bench.server.corrupt(BUCKET, "trips/11", 0).unwrap();
    let (differences, _) = verify(&backup, sample(40, 7)).await;
    assert_eq!(named(&differences), BTreeMap::from([("trips/11", Differs::Content)]));
    // What was found is not taken back by a sample that happens to miss it.
    bench.file("new", "new");
    let clean = (0..).map(|seed| sample(1, seed));
    for options in clean.take(3) {
        verify(&backup, options).await;
    }
    assert_eq!(run(&backup).await.verified.unwrap().differ, 1);
    let keys = |differences: Vec<Difference>| -> BTreeSet<String> {
        differences.into_iter().map(|found| found.key.to_string()).collect()
    };
    for number in 0..40 {
        delete(&bench, &format!("trips/{number}")).await;
    }
    let one = keys(verify(&backup, sample(6, 1)).await.0);
    assert_eq!(one, keys(verify(&backup, sample(6, 1)).await.0));
    assert_ne!(one, keys(verify(&backup, sample(6, 2)).await.0));
}

#[tokio::test]
async fn what_a_run_puts_meanwhile_is_no_difference() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    bench.file("b", "b");
    let backup = bench.backup();
    run(&backup).await;
    let later = RunId::new(chrono::Utc::now() + chrono::TimeDelta::days(1), 1);
    let by = |owner: &str, key: &str| {
        let put = bench.client().put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"later"));
        put.metadata("s3backup-owner", owner).metadata("s3backup-run", later.as_str()).send()
    };
    by("telemetry/gw-1", "trips/a").await.unwrap();
    by("telemetry/gw-2", "trips/b").await.unwrap();
    let (differences, report) = verify(&backup, options()).await;
    assert_eq!(named(&differences), BTreeMap::from([("trips/b", Differs::Size)]));
    assert_eq!(report.newer, 1);
    // Under the lock there is no such run.
    let (differences, _) = verify(&backup, options().repair(true)).await;
    assert_eq!(differences.len(), 2);
    assert_eq!(run(&backup).await.uploaded.files, 2);
    assert_eq!(bench.get("trips/a").await, b"a");
}

#[tokio::test]
async fn any_number_of_differences_is_told_and_mended() {
    let bench = Bench::new().await;
    (0..700).for_each(|number| drop(bench.file(&format!("{number}"), "x")));
    let backup = bench.backup();
    run(&backup).await;
    for number in 0..700 {
        delete(&bench, &format!("trips/{number}")).await;
    }
    let (differences, report) = verify(&backup, options().repair(true)).await;
    assert_eq!((differences.len(), report.differences.missing), (700, 700));
    assert_eq!(run(&backup).await.uploaded.files, 700);
    assert_eq!(verify(&backup, options()).await.0, []);
}

#[tokio::test]
async fn it_can_be_cancelled() {
    let bench = Bench::new().await;
    let backup = tampered(&bench).await;
    bench.server.faults().set([Fault::new(FaultKind::Hang).on(Operation::ListObjectsV2)]);
    let mut verify = backup.verify(options());
    soon(verify.next()).await.unwrap();
    verify.cancel_token().cancel();
    let report = soon(verify.finish()).await.unwrap();
    assert!(report.interrupted);
    assert_eq!(report.verified.objects.files, 0);
}

/// On a stranger's server whose bucket has versions.
#[tokio::test]
async fn what_lies_over_our_version_is_a_difference_and_says_so() {
    let moto = tokio::task::spawn_blocking(Moto::start).await.unwrap();
    let (client, destination) = versioned_bucket(&moto).await;
    let bench = Bench::new().await;
    let settings = TransferSettings { checksum: ChecksumKind::None, ..TransferSettings::default() };
    let backup = bench.builder().destination(destination).transfer(settings).build().unwrap();
    for name in ["ok", "over", "hidden", "gone", "same"] {
        bench.file(name, format!("our {name}"));
    }
    run(&backup).await;
    let put = |key: &str, bytes: &'static str| {
        client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(bytes.as_bytes())).send()
    };
    let ours = client.head_object().bucket(BUCKET).key("trips/gone").send().await.unwrap();
    for (key, bytes) in [("trips/over", "HIS over"), ("trips/gone", "HIS gone"), ("trips/same", "our same")] {
        put(key, bytes).await.unwrap();
    }
    let delete = client.delete_object().bucket(BUCKET);
    delete.clone().key("trips/hidden").send().await.unwrap();
    delete.key("trips/gone").version_id(ours.version_id().unwrap()).send().await.unwrap();

    let expected = BTreeMap::from([
        ("trips/gone", Differs::VersionGone),
        ("trips/hidden", Differs::Missing),
        ("trips/over", Differs::Content),
    ]);
    let (differences, report) = verify(&backup, options()).await;
    assert_eq!(named(&differences), expected);
    assert_eq!((report.verified.objects.files, report.unchecked), (5, 0));
    for found in differences.iter().filter(|found| found.what != Differs::VersionGone) {
        let note = found.note.as_deref().unwrap_or_default();
        assert!(note.contains("our version") && note.contains("is still there"), "{found:?}");
    }

    let (differences, _) = verify(&backup, options().deep(true).repair(true)).await;
    assert_eq!(named(&differences), expected);
    assert_eq!(run(&backup).await.uploaded.files, 3);
    assert_eq!(verify(&backup, options().deep(true)).await.0, []);
    drop(client);
    tokio::task::spawn_blocking(move || drop(moto)).await.unwrap();
}
