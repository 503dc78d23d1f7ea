//! Planning a run for many workers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use s3backup_core::options::Step;
use s3backup_core::{
    Backup, Error, FailureKind, Outcome, RunReport, ShardOptions, ShardUri, ShardedPlan, Source,
};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use serde_json::Value;

use crate::bench::{Bench, CONTROL, failed, soon};
use crate::memory::{kill, set_mtime, success};

async fn planned(backup: &Backup, options: ShardOptions) -> Result<ShardedPlan, Error> {
    soon(backup.start_plan(options).finish()).await
}

async fn stepped(backup: &Backup) -> Result<RunReport, Error> {
    soon(backup.start_steps().finish()).await
}

async fn latest(bench: &Bench) -> Value {
    serde_json::from_slice(&bench.get(&format!("{CONTROL}latest.json")).await).unwrap()
}

async fn stored_plan(bench: &Bench, plan: &ShardedPlan) -> Value {
    serde_json::from_slice(&bench.get(&format!("{CONTROL}plans/{}/plan.json", plan.run_id)).await).unwrap()
}

/// The lines of the list of a shard, without its header.
fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(zstd::decode_all(bytes).unwrap()).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of each shard of a plan with the control data.
async fn shards(bench: &Bench, plan: &ShardedPlan) -> Vec<Vec<Value>> {
    let stored = stored_plan(bench, plan).await;
    let mut shards = Vec::new();
    for (shard, planned) in stored["shards"].as_array().unwrap().iter().enumerate() {
        let mut all = Vec::new();
        for (number, list) in planned["lists"].as_array().unwrap().iter().enumerate() {
            let name = format!("{CONTROL}plans/{}/{shard}/{number}.jsonl.zst", plan.run_id);
            let read = lines(&bench.get(&name).await);
            assert_eq!(list["lines"], read.len());
            all.extend(read);
        }
        assert_eq!(planned["files"]["files"], all.len());
        shards.push(all);
    }
    shards
}

fn paths(shards: &[Vec<Value>]) -> Vec<String> {
    let mut paths: Vec<String> =
        shards.iter().flatten().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn each_file_that_a_run_would_send_is_in_one_shard_and_nothing_is_sent() {
    let bench = Bench::new().await;
    let known = bench.file("known", "known");
    bench.file("same", "same");
    bench.file("gone", "gone");
    let first = success(&bench.backup()).await;
    std::fs::write(&known, "known and longer").unwrap();
    std::fs::remove_file(bench.data().join("gone")).unwrap();
    for number in 0..50 {
        bench.file(&format!("v{}/{number:02}", number % 4), vec![b'x'; number * 1000]);
    }
    let before = bench.data_keys().await;

    let plan = planned(&bench.backup(), ShardOptions::new(4)).await.unwrap();
    assert_eq!((plan.found.files, plan.unchanged.files, plan.failed_total), (52, 1, 0));
    let shards = shards(&bench, &plan).await;
    let found = paths(&shards);
    assert_eq!((found.len(), found.iter().collect::<BTreeSet<_>>().len()), (51, 51));
    let lines: Vec<&Value> = shards.iter().flatten().collect();
    let changed = lines.iter().find(|line| line["path"] == "known").unwrap();
    let row =
        bench.manifest(&first).await.into_iter().find(|line| line.key.as_str() == "trips/known").unwrap();
    assert_eq!(changed["known"]["etag"], row.etag);
    assert!(lines.iter().all(|line| line["known"].is_null() == (line["path"] != "known")));
    for (number, shard) in plan.shards.iter().enumerate() {
        assert_eq!(shard.files, shards[number].len() as u64);
        let uri = ShardUri::parse(&shard.uri).unwrap();
        assert_eq!((uri.run(), uri.shard()), (&plan.run_id, Some(shard.shard)));
        assert_eq!(uri.owner().map(|(job, host)| (job.as_str(), host.as_str())), Some(("telemetry", "gw-1")));
    }
    assert_eq!(bench.data_keys().await, before, "nothing was sent");

    let latest = latest(&bench).await;
    assert_eq!((&latest["state"], &latest["lease"]["shards"]), (&"running".into(), &4.into()));
    assert_eq!(latest["lease"]["run_id"], plan.run_id.as_str());
    let stored = stored_plan(&bench, &plan).await;
    assert_eq!(stored["report"]["gone"]["files"], 1);
    assert_eq!(stored["report"]["manifests"].as_array().unwrap().len(), 1, "it says what is gone");
}

#[tokio::test]
async fn while_the_lease_lives_no_other_run_begins() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let plan = planned(&bench.backup(), ShardOptions::new(2)).await.unwrap();
    let leased = |error: &Error| match error {
        Error::Leased { run, .. } => *run == plan.run_id,
        _ => false,
    };
    let before = latest(&bench).await;
    let run = soon(bench.backup().run()).await.unwrap_err();
    let again = planned(&bench.backup(), ShardOptions::new(2)).await.unwrap_err();
    let steps = stepped(&bench.backup()).await.unwrap_err();
    assert!([&run, &again, &steps].into_iter().all(leased), "{run:?} {again:?} {steps:?}");
    for word in [plan.run_id.as_str(), "backup commit", "--abandon"] {
        assert!(run.to_string().contains(word), "{run}");
    }
    assert_eq!(latest(&bench).await, before);
}

#[tokio::test]
async fn there_are_as_many_shards_as_were_asked_for_even_without_files() {
    let bench = Bench::new().await;
    bench.file("one", "1");
    let plan = planned(&bench.backup(), ShardOptions::new(5)).await.unwrap();
    assert_eq!(plan.shards.iter().map(|shard| shard.files).collect::<Vec<_>>(), [1, 0, 0, 0, 0]);
    for shards in [0, 1001] {
        let error = planned(&bench.backup(), ShardOptions::new(shards)).await.unwrap_err();
        assert!(error.to_string().contains("between 1 and 1000"), "{error}");
    }
}

async fn failed_plan(backup: &Backup, options: ShardOptions) -> RunReport {
    match planned(backup, options).await {
        Err(Error::Failed(report)) => *report,
        other => panic!("it should have failed: {other:?}"),
    }
}

#[tokio::test]
async fn lists_go_where_they_are_wanted() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let shared = bench.dir("shared");
    let mut options = ShardOptions::new(2);
    options.out = Some(shared.display().to_string());
    let plan = planned(&bench.backup(), options).await.unwrap();
    assert_eq!(plan.shards[0].uri, format!("{}/{}/0", shared.display(), plan.run_id));
    let list = Path::new(&plan.shards[0].uri).join("0.jsonl.zst");
    assert_eq!(lines(&std::fs::read(list).unwrap())[0]["path"], "a");

    let bench = Bench::new().await;
    bench.file("a", "a");
    let mut options = ShardOptions::new(2);
    options.out = Some("s3://fleet-backup/lists/".to_owned());
    let plan = planned(&bench.backup(), options).await.unwrap();
    assert_eq!(plan.shards[1].uri, format!("s3://fleet-backup/lists/{}/1", plan.run_id));
    let list = bench.get(&format!("lists/{}/0/0.jsonl.zst", plan.run_id)).await;
    assert_eq!(lines(&list)[0]["path"], "a");

    let bench = Bench::new().await;
    let mut options = ShardOptions::new(2);
    options.out = Some("s3://another/lists".to_owned());
    let error = planned(&bench.backup(), options).await.unwrap_err();
    assert!(error.to_string().contains("another bucket"), "{error}");
    assert!(bench.objects().await.is_empty(), "nothing began");
}

#[tokio::test]
async fn when_most_files_changed_at_once_only_new_ones_are_dealt_out() {
    let bench = Bench::new().await;
    let files: Vec<_> = (0..40).map(|number| bench.file(&format!("{number:02}"), "before")).collect();
    success(&bench.backup()).await;
    for file in &files[..30] {
        std::fs::write(file, "after it").unwrap();
    }
    bench.file("new", "new");
    let plan = planned(&bench.backup(), ShardOptions::new(2)).await.unwrap();
    assert_eq!(plan.failed_total, 30);
    assert_eq!(paths(&shards(&bench, &plan).await), ["new"]);
    let stored = stored_plan(&bench, &plan).await;
    assert_eq!(stored["report"]["fatal"]["kind"], "guard");
}

#[tokio::test]
async fn of_a_source_that_is_missing_the_others_are_planned_all_the_same() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let gone = Source::new(bench.data().join("not-there")).prefix("other");
    let backup = bench.builder().source(gone).build().unwrap();
    let plan = planned(&backup, ShardOptions::new(2)).await.unwrap();
    assert_eq!(paths(&shards(&bench, &plan).await), ["a"]);
    assert_eq!(stored_plan(&bench, &plan).await["report"]["fatal"]["kind"], "source_missing");
}

#[tokio::test]
async fn a_plan_that_cannot_be_stored_is_a_run_that_failed() {
    for part in ["plans/", "plan.json"] {
        let bench = Bench::new().await;
        bench.file("a", "a");
        let refused = Fault::new(FaultKind::AccessDenied).on(Operation::PutObject).key_contains(part);
        bench.server.faults().add(refused);
        let report = failed_plan(&bench.backup(), ShardOptions::new(2)).await;
        assert_eq!(report.fatal.as_ref().unwrap().kind, FailureKind::Record);
        assert_eq!(bench.stored_report(&report).await.outcome, Outcome::Failed);
        let latest = latest(&bench).await;
        assert_eq!((&latest["state"], latest.get("lease")), (&"idle".into(), None));
        bench.server.faults().clear();
        assert_eq!(success(&bench.backup()).await.uploaded.files, 1);
    }
}

#[tokio::test]
async fn a_plan_that_is_interrupted_leaves_no_lease() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    bench.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("plan.json"));
    let mut run =
        bench.builder().grace(Duration::from_secs(6)).build().unwrap().start_plan(ShardOptions::new(2));
    let cancel = run.cancel_token();
    let hangs = async {
        while !bench.objects().await.keys().any(|key| key.contains("plans/")) {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let events = async { while run.next().await.is_some() {} };
    Box::pin(soon(async { tokio::join!(hangs, events) })).await;
    let report = match soon(run.finish()).await {
        Err(Error::Failed(report)) => report,
        other => panic!("{other:?}"),
    };
    assert_eq!(report.outcome, Outcome::Interrupted);
    assert_eq!(latest(&bench).await.get("lease"), None);
    bench.server.faults().clear();
    assert_eq!(success(&bench.backup()).await.uploaded.files, 1);
}

#[tokio::test]
async fn a_plan_that_was_killed_is_forgotten() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    bench.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("plan.json"));
    let run = bench.backup().start_plan(ShardOptions::new(2));
    soon(async {
        while !bench.objects().await.keys().any(|key| key.contains("plans/")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bench.server.faults().clear();
    kill(&bench, run).await;
    assert_eq!(success(&bench.backup()).await.uploaded.files, 1);
}

fn step(script: &str) -> Step {
    Step::new("make", ["sh", "-c", script])
}

#[tokio::test]
async fn steps_run_once_before_the_plan_and_are_reported_with_it() {
    let bench = Bench::new().await;
    let (data, ran) = (bench.data(), bench.dir("ran").join("ids"));
    bench.file("old", "old");
    let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    set_mtime(&data.join("old"), hour_ago);
    let script = format!(
        "echo made > {}/made; echo $BACKUP_RUN_ID >> {}; echo 'Made: 1' > $BACKUP_FACTS",
        data.display(),
        ran.display()
    );
    let job = || {
        let source = Source::new(&data).min_age(Duration::from_mins(2));
        bench.job().source(source).fact("Fleet", "200").step(step(&script)).build().unwrap()
    };
    let steps = stepped(&job()).await.unwrap();
    assert_eq!((steps.outcome, steps.steps.len()), (Outcome::Success, 1));
    let plan = planned(&job(), ShardOptions::new(2)).await.unwrap();
    assert_eq!(plan.run_id, steps.run_id, "it is one run");
    assert_eq!(std::fs::read_to_string(&ran).unwrap().trim(), plan.run_id.as_str(), "and ran once");
    assert_eq!(paths(&shards(&bench, &plan).await), ["made", "old"], "what a step made is not too young");
    let report = &stored_plan(&bench, &plan).await["report"];
    assert_eq!(report["steps"][0]["state"], "ok");
    let facts = serde_json::json!([{ "label": "Fleet", "value": "200" }, { "label": "Made", "value": "1" }]);
    assert_eq!(report["facts"], facts, "for the report of whoever commits");
    assert_eq!(report["started_at"], serde_json::to_value(steps.started_at).unwrap());
}

#[tokio::test]
async fn a_step_that_aborts_fails_the_run_and_the_plan_says_when_none_ran() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let broken = bench.builder().step(step("exit 7")).build().unwrap();
    let report = failed(stepped(&broken).await);
    assert_eq!(report.fatal.as_ref().unwrap().kind, FailureKind::Step);
    assert_eq!(bench.stored_report(&report).await.outcome, Outcome::Failed);
    let plan = planned(&broken, ShardOptions::new(1)).await.unwrap();
    assert_ne!(plan.run_id, report.run_id);
    assert!(plan.warnings.iter().any(|warning| warning.contains("backup steps")), "{:?}", plan.warnings);
}

#[tokio::test]
async fn steps_of_an_earlier_run_are_not_those_of_the_plan() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.builder().step(step("true")).build().unwrap();
    let steps = stepped(&backup).await.unwrap();
    success(&backup).await;
    let plan = planned(&backup, ShardOptions::new(1)).await.unwrap();
    assert_ne!(plan.run_id, steps.run_id);
    let report = &stored_plan(&bench, &plan).await["report"];
    assert_eq!(report["steps"].as_array().map(Vec::len), Some(0));
}

/// What the JSON document of a plan has, for scripts.
#[tokio::test]
async fn a_plan_is_told_as_documented() {
    let bench = Bench::new().await;
    bench.file("a", "abc");
    let plan = planned(&bench.backup(), ShardOptions::new(1)).await.unwrap();
    let told: BTreeMap<String, Value> = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
    let names: Vec<&str> = told.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "destination",
            "expires_at",
            "failed_total",
            "found",
            "host",
            "job",
            "plan",
            "run_id",
            "schema",
            "shards",
            "unchanged",
            "warnings"
        ]
    );
    assert_eq!(told["shards"][0]["bytes"], 3);
    assert_eq!(told["plan"], format!("s3://fleet-backup/{CONTROL}plans/{}", plan.run_id));
}
