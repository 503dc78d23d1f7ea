//! Workers: each does a shard of a plan, as often as it is told to.

use std::os::unix::fs::symlink;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use s3backup_core::manifest::Op;
use s3backup_core::options::TransferSettings;
use s3backup_core::{
    Backup, Error, Event, FailureKind, Outcome, RunReport, ShardUri, Source,
    aws_sdk_s3::primitives::ByteStream,
};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_model::{KnownObject, ShardProgress, ShardResult};

use crate::bench::{BUCKET, Bench, failed, read_segment, soon, write};
use crate::by_hand::{ByHand, line, lines_of};

/// The machine of a worker: it keeps nothing.
fn worker(bench: &Bench) -> Backup {
    bench.forgetful_job().source(Source::new(bench.data())).build().unwrap()
}

async fn work(worker: &Backup, plan: &ByHand, shard: u32) -> Result<RunReport, Error> {
    soon(worker.start_shard(&ShardUri::parse(&plan.uri(shard)).unwrap()).finish()).await
}

async fn done(worker: &Backup, plan: &ByHand, shard: u32) -> RunReport {
    let report = work(worker, plan, shard).await.unwrap();
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    report
}

/// Plans all files of the source in so many shards.
async fn plan(bench: &Bench, shards: usize) -> ByHand {
    let lines = lines_of(&bench.data());
    let most = lines.len().div_ceil(shards).max(1);
    let plan = ByHand::of(BUCKET, lines.chunks(most).map(<[_]>::to_vec).collect());
    plan.store(&bench.client()).await;
    plan
}

async fn planned(bench: &Bench, change: impl FnOnce(&mut ByHand)) -> ByHand {
    let mut plan = ByHand::of(BUCKET, vec![lines_of(&bench.data())]);
    change(&mut plan);
    plan.store(&bench.client()).await;
    plan
}

async fn result(bench: &Bench, plan: &ByHand, shard: u32) -> ShardResult {
    serde_json::from_slice(&bench.get(&plan.key(&format!("results/{shard}.json"))).await).unwrap()
}

fn puts(bench: &Bench) -> u64 {
    bench.server.stats().of(Operation::PutObject)
}

fn refusal(result: Result<RunReport, Error>) -> String {
    match result {
        Err(error @ Error::Shard { .. }) => error.to_string(),
        other => panic!("it should have been refused: {other:?}"),
    }
}

#[tokio::test]
async fn workers_send_their_shards_and_leave_nothing_else() {
    let bench = Bench::new().await;
    for number in 0..30 {
        bench.file(&format!("v{}/{number:02}.json", number % 4), number.to_string());
    }
    let plan = plan(&bench, 3).await;
    let mut listed = Vec::new();
    for shard in 0..3 {
        let report = done(&worker(&bench), &plan, shard).await;
        assert_eq!((report.shard, report.found.files, report.uploaded.files), (Some(shard), 10, 10));
        assert_eq!((&report.run_id, report.manifests.len()), (&plan.run, 1));
        let (header, lines) = read_segment(&bench.get(report.manifests[0].key.as_str()).await);
        assert_eq!(header.run_id, plan.run);
        assert!(lines.iter().all(|line| line.op == Op::Put));
        listed.extend(lines.into_iter().map(|line| line.key.to_string()));
        let stored = result(&bench, &plan, shard).await;
        assert_eq!((stored.shard, stored.report), (shard, report));
    }
    listed.sort();
    assert_eq!(bench.data_keys().await.into_iter().collect::<Vec<_>>(), listed);
    assert_eq!(bench.get("trips/v1/05.json").await, b"5");
    let objects = bench.objects().await;
    let is_foreign = |key: &&String| key.ends_with("latest.json") || key.contains("/runs/");
    assert_eq!(objects.keys().find(is_foreign), None);
}

#[tokio::test]
async fn a_shard_that_is_done_is_not_done_again() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let plan = plan(&bench, 1).await;
    let first = done(&worker(&bench), &plan, 0).await;
    let before = puts(&bench);
    assert_eq!(done(&worker(&bench), &plan, 0).await, first);
    assert_eq!(puts(&bench), before, "nothing is written");
}

#[tokio::test]
async fn two_workers_at_one_shard_do_no_harm() {
    let bench = Bench::new().await;
    for number in 0..200 {
        bench.file(&format!("{number:03}"), "x");
    }
    bench.file("large", vec![7; 12 << 20]);
    let plan = plan(&bench, 1).await;
    let settings = TransferSettings { part_size_bytes: 5 << 20, ..TransferSettings::default() };
    let worker = || {
        let job = bench.forgetful_job().transfer(settings.clone());
        job.source(Source::new(bench.data())).build().unwrap()
    };
    let (one, other) = (worker(), worker());
    let (one, other) = tokio::join!(done(&one, &plan, 0), done(&other, &plan, 0));
    for report in [&one, &other] {
        assert_eq!((report.found.files, report.uploaded.files + report.unchanged.files), (201, 201));
    }
    assert_eq!(bench.data_keys().await.len(), 201);
    assert!(bench.get("trips/large").await == vec![7; 12 << 20]);
    let stored = result(&bench, &plan, 0).await.report;
    assert!(stored == one || stored == other);
    let lines = bench.manifest(&stored).await;
    assert_eq!(lines.len(), 201, "the result names each file");
}

#[tokio::test]
async fn what_an_interrupted_worker_did_is_not_done_again_on_another_machine() {
    let bench = Bench::new().await;
    for number in 0..300 {
        bench.file(&format!("{number:03}"), "x");
    }
    let plan = plan(&bench, 1).await;
    // One at a time, so that some are left.
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::Latency(Duration::from_millis(5))).on(Operation::PutObject));
    let settings = TransferSettings { concurrency: Some(1), ..TransferSettings::default() };
    let job = bench.forgetful_job().transfer(settings).source(Source::new(bench.data()));
    let mut run = job.build().unwrap().start_shard(&ShardUri::parse(&plan.uri(0)).unwrap());
    let cancel = run.cancel_token();
    let report = soon(async {
        while let Some(event) = run.next().await {
            if matches!(event, Event::Uploaded { .. }) {
                cancel.cancel();
            }
        }
        run.finish().await.unwrap()
    })
    .await;
    assert_eq!(report.outcome, Outcome::Interrupted, "{report:#?}");
    let sent = report.uploaded.files;
    assert!((1..300).contains(&sent), "{sent}");
    assert_eq!(result(&bench, &plan, 0).await.report, report);
    let objects = bench.objects().await;
    let progress = objects.keys().find(|key| key.contains("/progress/0-")).unwrap();
    let progress: ShardProgress = serde_json::from_slice(&bench.get(progress).await).unwrap();
    assert_eq!((progress.report.uploaded.files, &progress.report.manifests), (sent, &report.manifests));

    bench.server.faults().clear();
    let before = puts(&bench);
    let report = done(&worker(&bench), &plan, 0).await;
    assert_eq!((report.found.files, report.uploaded.files, report.unchanged.files), (300, 300, 0));
    // The rest, and its segment, progress and result; that one is refused once, because there is a worse one.
    assert_eq!(puts(&bench) - before, 300 - sent + 4);
    assert_eq!(bench.manifest(&report).await.len(), 300, "each file is listed once");
    assert_eq!(result(&bench, &plan, 0).await.report, report);
}

#[tokio::test]
async fn a_large_file_is_gone_on_with_on_another_machine() {
    let bench = Bench::new().await;
    bench.file("large", vec![1; 20 << 20]);
    let plan = plan(&bench, 1).await;
    bench.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart).nth(3));
    let settings =
        TransferSettings { part_size_bytes: 5 << 20, concurrency: Some(1), ..TransferSettings::default() };
    let worker = || {
        let job = bench.forgetful_job().transfer(settings.clone());
        job.source(Source::new(bench.data())).build().unwrap()
    };
    let mut run = worker().start_shard(&ShardUri::parse(&plan.uri(0)).unwrap());
    let cancel = run.cancel_token();
    let mut sent = 0;
    let report = soon(async {
        while let Some(event) = run.next().await {
            sent += if let Event::Sent { bytes } = event { bytes } else { 0 };
            if sent == 10 << 20 {
                cancel.cancel();
            }
        }
        run.finish().await.unwrap()
    })
    .await;
    assert_eq!((report.outcome, bench.open_uploads().await), (Outcome::Interrupted, 1));
    bench.server.faults().clear();
    let report = done(&worker(), &plan, 0).await;
    assert_eq!((report.uploaded.files, report.resumed_parts), (1, 2));
    assert_eq!(bench.open_uploads().await, 0);
    assert!(bench.get("trips/large").await == vec![1; 20 << 20]);
}

#[tokio::test]
async fn nothing_that_a_forged_list_names_is_read() {
    let bench = Bench::new().await;
    bench.file("good", "x");
    bench.file("skip/me", "x");
    write(&bench.dir("secret").join("shadow"), "secret");
    symlink(bench.dir("secret"), bench.data().join("link")).unwrap();
    symlink(bench.dir("secret").join("shadow"), bench.data().join("leaf")).unwrap();
    let forged =
        ["../secret/shadow", "/etc/passwd", "link/shadow", "leaf", "skip/me", "a/../good", ".", "good%00"];
    let plan = planned(&bench, |plan| {
        plan.shards = vec![forged.iter().chain(&["good"]).map(|path| line(path, 6)).collect()];
    })
    .await;
    let job = bench.forgetful_job().source(Source::new(bench.data()).exclude(["skip"]));
    let report = work(&job.build().unwrap(), &plan, 0).await.unwrap();
    assert_eq!((report.outcome, report.failed_total, report.uploaded.files), (Outcome::Partial, 8, 1));
    assert_eq!(report.found.files, 9);
    assert_eq!(bench.data_keys().await.into_iter().collect::<Vec<_>>(), ["trips/good"]);
    for failure in &report.failed {
        assert!(failure.path.starts_with(bench.data().to_str().unwrap()), "{failure:?}");
    }
}

#[tokio::test]
async fn a_worker_without_the_source_fails_its_shard() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let plan = plan(&bench, 1).await;
    for elsewhere in [bench.dir("empty"), bench.dir("empty").join("none")] {
        let job = bench.forgetful_job().source(Source::new(&elsewhere)).build().unwrap();
        let report = failed(work(&job, &plan, 0).await);
        let fatal = report.fatal.clone().unwrap();
        assert_eq!((fatal.kind, report.failed_total), (FailureKind::SourceMissing, 0), "{fatal:?}");
        assert!(fatal.message.contains("mount"), "{fatal:?}");
        assert_eq!(result(&bench, &plan, 0).await.report.outcome, Outcome::Failed);
    }
    assert_eq!(done(&worker(&bench), &plan, 0).await.uploaded.files, 1);
    assert_eq!(result(&bench, &plan, 0).await.report.outcome, Outcome::Success, "the better one stays");
}

#[tokio::test]
async fn a_plan_that_is_over_or_of_other_settings_is_refused() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let other = planned(&bench, |plan| plan.prefixes = vec!["other".to_owned()]).await;
    let why = refusal(work(&worker(&bench), &other, 0).await);
    assert!(why.starts_with(&other.uri(0)) && why.contains("backup.toml"), "{why}");

    let expired =
        planned(&bench, |plan| plan.expires_at = (Utc::now() - TimeDelta::hours(1)).fixed_offset()).await;
    let why = refusal(work(&worker(&bench), &expired, 0).await);
    assert!(why.contains("expired at"), "{why}");

    let plan = plan(&bench, 1).await;
    let why = refusal(work(&worker(&bench), &plan, 1).await);
    assert!(why.contains("has 1 shards"), "{why}");
    let stranger = bench.forgetful_job().host("gw-2").source(Source::new(bench.data())).build().unwrap();
    assert!(refusal(work(&stranger, &plan, 0).await).contains("backup.toml"));
    plan.end(&bench.client()).await;
    let why = refusal(work(&worker(&bench), &plan, 0).await);
    assert!(why.contains("the run is over"), "{why}");

    let none = ByHand::of(BUCKET, Vec::new());
    let why = refusal(work(&worker(&bench), &none, 0).await);
    assert!(why.contains("no such plan"), "{why}");
    assert!(bench.data_keys().await.is_empty());
}

#[tokio::test]
async fn a_retry_that_does_better_replaces_the_result() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    bench.file("b", "b");
    let plan = plan(&bench, 1).await;
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::InternalError).on(Operation::PutObject).key_contains("trips/b"));
    let report = work(&worker(&bench), &plan, 0).await.unwrap();
    assert_eq!(
        (report.outcome, report.failed_total, report.failed[0].kind),
        (Outcome::Partial, 1, FailureKind::Server)
    );
    assert_eq!(result(&bench, &plan, 0).await.report, report);
    bench.server.faults().clear();
    let better = done(&worker(&bench), &plan, 0).await;
    assert_eq!((better.uploaded.files, better.failed_total), (2, 0));
    assert_eq!(result(&bench, &plan, 0).await.report, better);
    assert_eq!(bench.manifest(&better).await.len(), 2);
}

#[tokio::test]
async fn a_damaged_list_fails_the_shard() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let plan = plan(&bench, 1).await;
    let list = plan.key("0/0.jsonl.zst");
    let body = ByteStream::from_static(b"other bytes");
    bench.client().put_object().bucket(BUCKET).key(&list).body(body).send().await.unwrap();
    let fatal = failed(work(&worker(&bench), &plan, 0).await).fatal.unwrap();
    assert!(fatal.message.contains("not those that were stored"), "{fatal:?}");
    bench.client().delete_object().bucket(BUCKET).key(&list).send().await.unwrap();
    let fatal = failed(work(&worker(&bench), &plan, 0).await).fatal.unwrap();
    assert!(fatal.message.contains("it is missing"), "{fatal:?}");
}

#[tokio::test]
async fn damaged_progress_only_means_that_its_files_are_looked_at_again() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.file(name, name);
    }
    let plan = plan(&bench, 1).await;
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::InternalError).on(Operation::PutObject).key_contains("trips/c"));
    let report = work(&worker(&bench), &plan, 0).await.unwrap();
    assert_eq!(report.uploaded.files, 2);
    bench.server.faults().clear();
    let segment = report.manifests[0].key.to_string();
    bench.client().delete_object().bucket(BUCKET).key(&segment).send().await.unwrap();
    let report = done(&worker(&bench), &plan, 0).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (1, 2));
    assert!(report.warnings.iter().any(|warning| warning.contains(&segment)), "{:?}", report.warnings);
    assert!(report.manifests.iter().all(|named| named.key.as_str() != segment));
    assert_eq!(bench.manifest(&report).await.len(), 3);
}

#[tokio::test]
async fn what_the_plan_knows_spares_the_sending() {
    let bench = Bench::new().await;
    bench.file("same", "same");
    bench.file("changed", "after");
    let first = plan(&bench, 1).await;
    let report = done(&worker(&bench), &first, 0).await;
    let lines = bench.manifest(&report).await;
    bench.file("changed", "behind");
    let second = planned(&bench, |plan| {
        for line in &mut plan.shards[0] {
            let known = lines.iter().find(|known| known.key == line.key).unwrap().clone();
            let (crc64nvme, etag) = (known.crc64nvme, known.etag);
            line.known = Some(KnownObject {
                size: known.size,
                crc64nvme,
                stored_checksum: known.stored_checksum,
                etag,
                version_id: known.version_id,
                is_doubtful: false,
            });
        }
    })
    .await;
    let report = done(&worker(&bench), &second, 0).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (1, 1));
    assert_eq!(bench.get("trips/changed").await, b"behind");
    let mut ops: Vec<_> =
        bench.manifest(&report).await.into_iter().map(|line| (line.key.to_string(), line.op)).collect();
    ops.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(ops, [("trips/changed".to_owned(), Op::Put), ("trips/same".to_owned(), Op::Meta)]);
}
