//! The end of a run that many workers share. The workers here are a few lines each, so that they can go wrong as no real one would.

use std::collections::BTreeSet;

use s3backup_catalog::JobLock;
use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::manifest::{Header, Line, Op};
use s3backup_core::options::PruneRules;
use s3backup_core::{
    AdoptOptions, At, Backup, BackupBuilder, CancellationToken, Error, FailureKind, Fatal, Key, Outcome,
    PruneOptions, RestoreOptions, RunId, RunReport, ShardOptions, ShardUri, ShardedPlan, Source, Tally,
    VerifyOptions,
};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_model::{Failure, ManifestRef, ShardLine, ShardPlan, ShardResult, Uploaded};
use s3backup_transfer::crc64nvme_base64;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::audience::Audience;
use crate::bench::{BUCKET, Bench, CONTROL, soon, until};
use crate::due::Evenings;
use crate::fake_slack::FakeSlack;
use crate::memory::{state_dir, success};
use crate::outbox::Cut;

/// A job that is due in the evening, whose runs are shared, and a Slack that hears of them.
struct Shared {
    world: Audience,
}

impl Shared {
    /// Four files and one that was backed up in the morning; it is evening.
    async fn new() -> Self {
        let world = Audience { evenings: Evenings::of_all().await, slack: FakeSlack::start([]).await };
        for name in ["a", "b/c", "b/d", "e"] {
            world.evenings.bench.file(name, format!("what is in {name}"));
        }
        world.at("2026-11-20 20:00");
        Self { world }
    }

    fn bench(&self) -> &Bench {
        &self.world.evenings.bench
    }

    /// Where the backup is made.
    fn home(&self) -> Backup {
        self.world.backup()
    }

    /// A machine that keeps nothing.
    fn away(&self) -> Backup {
        let job: BackupBuilder = self.bench().forgetful_job().source(Source::new(self.bench().data()));
        self.world.evenings.dress(job).slack(self.world.bot()).build().unwrap()
    }

    async fn plan(&self) -> (ShardedPlan, ShardUri) {
        let plan = soon(self.home().start_plan(ShardOptions::new(2)).finish()).await.unwrap();
        let uri = ShardUri::parse(&plan.plan).unwrap();
        (plan, uri)
    }

    async fn read<T: DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_slice(&self.bench().get(&format!("{CONTROL}{name}")).await).unwrap()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> String {
        let putting =
            self.bench().client().put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes));
        putting.send().await.unwrap().e_tag().unwrap().trim_matches('"').to_owned()
    }

    async fn put_json(&self, name: &str, value: &impl Serialize) {
        self.put(&format!("{CONTROL}{name}"), serde_json::to_vec(value).unwrap()).await;
    }

    /// What a worker does with a shard: puts its files, lists them, and says so.
    async fn work(&self, plan: &ShardedPlan, shard: u32) -> ShardResult {
        let run = &plan.run_id;
        let stored: ShardPlan = self.read(&format!("plans/{run}/plan.json")).await;
        let planned = &stored.shards[shard as usize];
        let mut lines = Vec::new();
        for number in 0..planned.lists.len() {
            let list = self.bench().get(&format!("{CONTROL}plans/{run}/{shard}/{number}.jsonl.zst")).await;
            let text = String::from_utf8(zstd::decode_all(&*list).unwrap()).unwrap();
            for line in text.lines().skip(1) {
                lines.push(self.send(serde_json::from_str(line).unwrap()).await);
            }
        }
        let mut report = RunReport {
            found: planned.files,
            uploaded: Uploaded { files: planned.files.files, bytes: planned.files.bytes, wire_bytes: 7 },
            unchanged: Tally::default(),
            outcome: Outcome::Success,
            manifests: Vec::new(),
            warnings: vec!["a word of a worker".to_owned()],
            ..stored.report
        };
        if !lines.is_empty() {
            report.manifests.push(self.segment(run, run, shard, &lines).await);
        }
        let result = ShardResult { schema: 1, min_reader: 1, run_id: run.clone(), shard, report };
        self.say(plan, &result).await;
        result
    }

    async fn send(&self, line: ShardLine) -> Line {
        let path = self.bench().data().join(&line.path);
        let bytes = std::fs::read(&path).unwrap();
        let stat = std::fs::metadata(&path).unwrap();
        let mtime = stat.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        let crc64nvme = crc64nvme_base64(&bytes);
        let etag = self.put(line.key.as_str(), bytes).await;
        Line {
            op: Op::Put,
            path: path.display().to_string(),
            key: line.key,
            size: line.size,
            mtime_ns: i64::try_from(mtime.as_nanos()).unwrap(),
            mode: std::os::unix::fs::MetadataExt::mode(&stat),
            crc64nvme,
            stored_size: line.size,
            stored_checksum: None,
            etag,
            version_id: None,
            encoding: "none".to_owned(),
            run: None,
        }
    }

    /// A segment with the name of one run that says in its header which it is of.
    async fn segment(&self, name: &RunId, run: &RunId, shard: u32, lines: &[Line]) -> ManifestRef {
        let header = Header { schema: 1, min_reader: 1, run_id: run.clone(), segment: 0 };
        let mut text = serde_json::to_string(&header).unwrap() + "\n";
        for line in lines {
            text += &(serde_json::to_string(line).unwrap() + "\n");
        }
        let bytes = zstd::encode_all(text.as_bytes(), 1).unwrap();
        let key = Key::new(format!("{CONTROL}manifests/{name}/{shard}-0a-0.jsonl.zst")).unwrap();
        let crc64nvme = crc64nvme_base64(&bytes);
        self.put(key.as_str(), bytes).await;
        ManifestRef { key, lines: lines.len() as u64, crc64nvme }
    }

    async fn say(&self, plan: &ShardedPlan, result: &ShardResult) {
        self.put_json(&format!("plans/{}/results/{}.json", plan.run_id, result.shard), result).await;
    }

    async fn latest(&self) -> Value {
        self.read("latest.json").await
    }

    /// What Slack was told as messages of their own.
    fn posts(&self) -> Vec<String> {
        self.world.told().into_iter().filter(|line| line.starts_with("post ")).collect()
    }

    /// Objects that are not about who tells what.
    async fn objects(&self) -> BTreeSet<String> {
        let all = self.bench().objects().await.into_keys();
        all.filter(|key| !key.contains("/alerts/")).collect()
    }

    fn puts(&self) -> u64 {
        self.bench().server.stats().of(Operation::PutObject)
    }
}

fn names(files: &[&str]) -> Vec<String> {
    files.iter().map(|name| (*name).to_owned()).collect()
}

/// What is backed up, as another machine sees it.
async fn listed(backup: &Backup) -> Vec<String> {
    let mut files = backup.files(&At::Now, &[]).await.unwrap();
    let mut names = Vec::new();
    while let Some(page) = files.next().await.unwrap() {
        names.extend(page.into_iter().map(|file| file.name));
    }
    names
}

#[tokio::test]
async fn a_run_that_is_done_ends_once_with_one_report_and_one_message() {
    let shared = Shared::new().await;
    let (plan, uri) = shared.plan().await;
    for shard in 0..2 {
        shared.work(&plan, shard).await;
    }
    assert_eq!(listed(&shared.away()).await, ["any"], "nobody sees it before it is committed");
    shared.world.at("2026-11-20 20:10");
    let report = soon(shared.home().commit(&uri)).await.unwrap();
    assert_eq!((report.outcome, report.run_id.clone()), (Outcome::Success, plan.run_id.clone()));
    assert_eq!((report.found.files, report.unchanged.files, report.uploaded.files), (5, 1, 4));
    assert_eq!(report.uploaded.wire_bytes, 14);
    assert_eq!((report.duration_s, report.due[0].state.as_str()), (600.0, "met"));
    assert_eq!(report.warnings.iter().filter(|warning| warning.contains("worker")).count(), 1);
    assert_eq!(shared.bench().stored_report(&report).await, report);
    let latest = shared.latest().await;
    assert_eq!(
        (&latest["state"], &latest["runs"][0]["run_id"]),
        (&"idle".into(), &report.run_id.as_str().into())
    );
    assert!(latest.get("lease").is_none() && latest["runs"].as_array().unwrap().len() == 2, "{latest}");
    assert_eq!(shared.posts().len(), 1);
    assert!(shared.posts()[0].contains("4 files"), "{:?}", shared.posts());
    assert!(shared.objects().await.iter().all(|key| !key.contains("/plans/")), "the plan is gone");
    let status = shared.home().status().await.unwrap();
    assert_eq!(status.last_run.unwrap().run_id, report.run_id);
    assert_eq!((status.unfinished, status.files.unwrap().files), (None, 5));
    assert_eq!(status.due[0].state.as_str(), "met");

    let (puts, told) = (shared.puts(), shared.world.requests());
    for backup in [shared.home(), shared.away()] {
        assert_eq!(soon(backup.commit(&uri)).await.unwrap(), report);
        assert_eq!(soon(backup.abandon(&uri)).await.unwrap(), report, "it is over");
    }
    assert_eq!((shared.puts(), shared.world.requests()), (puts, told), "nothing is said or changed again");

    assert_eq!(listed(&shared.away()).await, names(&["a", "any", "b/c", "b/d", "e"]));
    let to = shared.bench().dir("restored");
    let restored = soon(shared.away().restore(RestoreOptions::to(&to)).finish()).await.unwrap();
    assert_eq!(restored.restored.files, 5);
    assert_eq!(std::fs::read_to_string(to.join("b/c")).unwrap(), "what is in b/c");
    shared.world.at("2026-11-20 20:30");
    let next = success(&shared.home()).await;
    assert_eq!((next.uploaded.files, next.unchanged.files), (0, 5));
    assert!(next.warnings.iter().all(|warning| warning.contains("no versioning")), "{:?}", next.warnings);
}

#[tokio::test]
async fn whoever_commits_elsewhere_tells_and_the_owner_learns_of_it() {
    let shared = Shared::new().await;
    let (plan, uri) = shared.plan().await;
    for shard in 0..2 {
        shared.work(&plan, shard).await;
    }
    let report = soon(shared.away().commit(&uri)).await.unwrap();
    assert_eq!((report.outcome, shared.posts().len()), (Outcome::Success, 1));
    assert_eq!(shared.home().status().await.unwrap().unfinished, Some(plan.run_id.clone()));
    soon(shared.home().commit(&uri)).await.unwrap();
    let status = shared.home().status().await.unwrap();
    assert_eq!((status.unfinished, status.files.unwrap().files), (None, 5));
    assert_eq!(shared.world.requests(), 1, "{:?}", shared.world.told());
    shared.world.at("2026-11-20 20:30");
    assert_eq!(success(&shared.home()).await.uploaded.files, 0);
}

#[tokio::test]
async fn two_commits_at_once_make_one_report_and_one_message() {
    let shared = Shared::new().await;
    let (plan, uri) = shared.plan().await;
    for shard in 0..2 {
        let mut result = shared.work(&plan, shard).await;
        // Of partial runs each is news of its own.
        result.report.failed_total = 1;
        result.report.uploaded.files -= 1;
        result.report.failed = vec![failure("/x")];
        result.report.outcome = Outcome::Partial;
        shared.say(&plan, &result).await;
    }
    let (one, other, third) = (shared.home(), shared.away(), shared.away());
    let (one, other, third) =
        soon(async { tokio::join!(one.commit(&uri), other.commit(&uri), third.commit(&uri)) }).await;
    let stored = shared.bench().stored_report(one.as_ref().unwrap()).await;
    for report in [one, other, third] {
        let report = report.unwrap();
        assert_eq!((report.outcome, report.failed_total), (Outcome::Partial, 2));
        assert_eq!(RunReport { warnings: stored.warnings.clone(), ..report }, stored);
    }
    assert_eq!(shared.world.told().len(), 1, "{:?}", shared.world.told());
}

fn failure(path: &str) -> Failure {
    Failure { path: path.to_owned(), kind: FailureKind::Unreadable, message: "no".to_owned(), attempts: 1 }
}

/// How a shard can be wrong.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Missing,
    Unreadable,
    Interrupted,
    Failed,
    OfAnotherRun,
    OfAnotherShard,
    Miscounted,
    SegmentGone,
    SegmentDamaged,
    SegmentShort,
    SegmentOfAnotherRun,
    SegmentElsewhere,
    SegmentLeftOut,
}

impl Wrong {
    const ALL: [Self; 13] = [
        Self::Missing,
        Self::Unreadable,
        Self::Interrupted,
        Self::Failed,
        Self::OfAnotherRun,
        Self::OfAnotherShard,
        Self::Miscounted,
        Self::SegmentGone,
        Self::SegmentDamaged,
        Self::SegmentShort,
        Self::SegmentOfAnotherRun,
        Self::SegmentElsewhere,
        Self::SegmentLeftOut,
    ];

    /// Makes shard 1 wrong; gives what is said of it.
    async fn make(self, shared: &Shared, plan: &ShardedPlan) -> &'static str {
        let mut result = shared.work(plan, 1).await;
        let of_result = format!("{CONTROL}plans/{}/results/1.json", plan.run_id);
        let segment = result.report.manifests[0].clone();
        let client = shared.bench().client();
        let delete = async |key: &str| client.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
        let other = RunId::new(chrono::DateTime::UNIX_EPOCH, 9);
        let why = match self {
            Self::Missing => {
                delete(&of_result).await;
                return "it has no result";
            }
            Self::Unreadable => {
                shared.put(&of_result, b"{\"min_reader\":1".to_vec()).await;
                return "its result cannot be read";
            }
            Self::Interrupted => {
                result.report.outcome = Outcome::Interrupted;
                "it was interrupted"
            }
            Self::Failed => {
                result.report.outcome = Outcome::Failed;
                let message = "the disk is gone".to_owned();
                result.report.fatal = Some(Fatal { kind: FailureKind::SourceMissing, message });
                "it failed: the disk is gone"
            }
            Self::OfAnotherRun => {
                result.run_id = other;
                "of another run"
            }
            Self::OfAnotherShard => {
                let result = ShardResult { shard: 0, ..result };
                shared.put(&of_result, serde_json::to_vec(&result).unwrap()).await;
                return "its result is of shard 0";
            }
            Self::Miscounted => {
                result.report.uploaded.files -= 1;
                "its result tells of"
            }
            Self::SegmentGone => {
                delete(segment.key.as_str()).await;
                "it is missing"
            }
            Self::SegmentDamaged => {
                shared.bench().server.corrupt(BUCKET, segment.key.as_str(), 9).unwrap();
                "its bytes are not those that were stored"
            }
            Self::SegmentShort => {
                result.report.manifests[0].lines += 1;
                "lines where the report says"
            }
            Self::SegmentOfAnotherRun => {
                let foreign = shared.segment(&plan.run_id, &other, 1, &[]).await;
                result.report.manifests = vec![foreign];
                result.report.uploaded.files = 0;
                result.report.unchanged.files = plan.shards[1].files;
                "it is of another run"
            }
            Self::SegmentElsewhere => {
                result.report.manifests[0].key = Key::new(format!("{CONTROL}latest.json")).unwrap();
                "it is not one of this shard"
            }
            Self::SegmentLeftOut => {
                result.report.manifests.clear();
                "its manifest lists 0 files"
            }
        };
        shared.say(plan, &result).await;
        why
    }
}

#[tokio::test]
async fn a_shard_that_is_missing_or_wrong_is_named_and_nothing_is_changed() {
    for wrong in Wrong::ALL {
        let shared = Shared::new().await;
        let (plan, uri) = shared.plan().await;
        shared.work(&plan, 0).await;
        let why = wrong.make(&shared, &plan).await;
        let before = (shared.objects().await, shared.latest().await);
        for backup in [shared.away(), shared.home(), shared.home()] {
            match soon(backup.commit(&uri)).await {
                Err(Error::Incomplete { run, shards: 2, wrong: named }) => {
                    assert_eq!((run, named.len()), (plan.run_id.clone(), 1), "{named:?}");
                    assert_eq!(named[0].0, plan.shards[1].uri);
                    assert!(named[0].1.contains(why), "{wrong:?}: {named:?}");
                }
                other => panic!("{wrong:?}: {other:?}"),
            }
        }
        assert_eq!((shared.objects().await, shared.latest().await), before, "{wrong:?}");
        let told = shared.world.told();
        assert!(told.len() == 1 && told[0].contains("failed: incomplete"), "{wrong:?}: {told:?}");
        assert!(shared.world.newest().contains(&plan.shards[1].uri), "{}", shared.world.newest());

        shared.work(&plan, 1).await;
        assert_eq!(soon(shared.home().commit(&uri)).await.unwrap().uploaded.files, 4, "{wrong:?}");
    }
}

#[tokio::test]
async fn what_is_still_missing_after_one_was_mended_is_news() {
    let shared = Shared::new().await;
    let (plan, uri) = shared.plan().await;
    assert!(soon(shared.home().commit(&uri)).await.is_err());
    shared.work(&plan, 0).await;
    assert!(soon(shared.home().commit(&uri)).await.is_err());
    let told = shared.world.told();
    let failed = ":x: Backup telemetry on gw-1 failed: incomplete";
    assert_eq!(told, [format!("post {failed}"), format!("thread 1 {failed}"), format!("update 1 {failed}")]);
    shared.work(&plan, 1).await;
    soon(shared.home().commit(&uri)).await.unwrap();
    let told = shared.world.told_since(3).join("\n");
    assert!(told.contains("update 1") && told.contains("recovered"), "{told}");
}

#[tokio::test]
async fn a_commit_that_is_killed_anywhere_is_finished_by_the_next() {
    let mut ended = false;
    let mut steps = 1;
    while !ended {
        let shared = Shared::new().await;
        let (plan, uri) = shared.plan().await;
        for shard in 0..2 {
            shared.work(&plan, shard).await;
        }
        let backup = shared.home();
        let cut = Cut { future: Box::pin(backup.commit(&uri)), steps };
        ended = soon(cut).await.is_some();
        until(|| JobLock::acquire(&state_dir(shared.bench()), "test").is_ok()).await;
        // What was taken to be told is free again.
        shared.world.at("2026-11-20 20:04");
        let report = soon(shared.home().commit(&uri)).await.unwrap();
        assert_eq!((report.outcome, report.uploaded.files), (Outcome::Success, 4), "{steps}");
        assert_eq!(shared.bench().stored_report(&report).await.run_id, plan.run_id);
        let told = shared.world.told();
        let is_once = told.len() == 1 || (told.len() == 2 && told[1].contains("(again?)"));
        assert!(is_once, "{steps}: {told:?}");
        assert!(shared.latest().await.get("lease").is_none());
        assert!(shared.objects().await.iter().all(|key| !key.contains("/plans/")), "{steps}");
        assert_eq!(shared.home().status().await.unwrap().files.unwrap().files, 5, "{steps}");
        steps += 1 + steps / 4;
    }
    assert!(steps > 20, "{steps}");
}

async fn begin_upload(shared: &Shared, key: &str) {
    let begun = shared.bench().client().create_multipart_upload().bucket(BUCKET).key(key).send().await;
    begun.unwrap();
}

#[tokio::test]
async fn a_run_that_is_given_up_keeps_what_its_workers_put_and_lets_others_begin() {
    let shared = Shared::new().await;
    begin_upload(&shared, "trips/a").await;
    shared.world.at("2026-11-20 22:00");
    let (plan, uri) = shared.plan().await;
    let done = shared.work(&plan, 0).await;
    for key in ["trips/a", "trips/b/c", "trips/b/d", "trips/e", "trips/of-another-job"] {
        begin_upload(&shared, key).await;
    }
    let report = soon(shared.away().abandon(&uri)).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files), (Outcome::Failed, done.report.uploaded.files));
    let fatal = report.fatal.clone().unwrap();
    assert_eq!(fatal.kind, FailureKind::Incomplete);
    assert!(fatal.message.contains("--abandon") && fatal.message.contains(&plan.shards[1].uri), "{fatal:?}");
    assert_eq!(report.due[0].state.as_str(), "missed");
    assert!(done.report.manifests.iter().all(|segment| report.manifests.contains(segment)));
    assert_eq!(shared.bench().open_uploads().await, 2, "one is older than the run, one is somebody else's");
    assert_eq!(shared.world.told(), ["post :x: Backup telemetry on gw-1 failed: incomplete"]);
    assert!(shared.latest().await.get("lease").is_none());
    match soon(shared.away().commit(&uri)).await {
        Err(Error::Failed(again)) => assert_eq!(*again, report),
        other => panic!("{other:?}"),
    }
    assert_eq!(listed(&shared.away()).await.len() as u64, 1 + done.report.uploaded.files);
    assert_eq!(shared.world.requests(), 1);

    shared.world.at("2026-11-20 22:30");
    let next = success(&shared.home()).await;
    assert_eq!(next.uploaded.files, 4 - done.report.uploaded.files, "{next:#?}");
    assert_eq!(listed(&shared.away()).await.len(), 5);
}

#[tokio::test]
async fn a_plan_that_has_expired_can_only_be_given_up() {
    let shared = Shared::new().await;
    let (plan, uri) = shared.plan().await;
    for shard in 0..2 {
        shared.work(&plan, shard).await;
    }
    shared.world.at("2026-11-21 06:00");
    match soon(shared.home().commit(&uri)).await {
        Err(error @ Error::Shard { .. }) => {
            let text = error.to_string();
            assert!(text.contains("expired") && text.contains("--abandon"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(shared.world.requests(), 0);
    let report = soon(shared.home().abandon(&uri)).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files), (Outcome::Failed, 4));
    assert_eq!(shared.posts().len(), 1);
    shared.world.at("2026-11-21 06:30");
    assert_eq!(success(&shared.home()).await.uploaded.files, 0, "what was put is known");
}

#[tokio::test]
async fn the_next_run_closes_a_plan_that_has_expired_and_goes_on() {
    let shared = Shared::new().await;
    let (plan, uri) = shared.plan().await;
    let done = shared.work(&plan, 0).await;
    for key in ["trips/a", "trips/b/c", "trips/b/d", "trips/e"] {
        begin_upload(&shared, key).await;
    }
    shared.world.at("2026-11-21 05:59");
    assert!(matches!(soon(shared.home().run()).await, Err(Error::Leased { .. })));
    assert_eq!(shared.world.requests(), 0);
    shared.world.at("2026-11-21 06:00");
    let next = success(&shared.home()).await;
    assert_eq!(next.uploaded.files, 4 - done.report.uploaded.files);
    assert_eq!(shared.bench().open_uploads().await, 0);
    let closed: RunReport = shared.read(&format!("runs/{}.json", plan.run_id)).await;
    assert_eq!(
        (closed.outcome, closed.fatal.map(|fatal| fatal.kind)),
        (Outcome::Failed, Some(FailureKind::Incomplete))
    );
    let told = shared.world.told();
    assert_eq!(told[0], "post :x: Backup telemetry on gw-1 failed: incomplete", "{told:?}");
    assert_eq!(
        told.iter().filter(|line| line.starts_with("post ")).count(),
        2,
        "failed, and recovered: {told:?}"
    );
    assert_eq!(listed(&shared.away()).await.len(), 5);
    assert!(matches!(soon(shared.away().commit(&uri)).await, Err(Error::Failed(_))), "it is over");
}

#[tokio::test]
async fn the_next_run_takes_in_what_was_committed_elsewhere_and_tells_what_was_not() {
    for is_told in [true, false] {
        let shared = Shared::new().await;
        let (plan, uri) = shared.plan().await;
        for shard in 0..2 {
            shared.work(&plan, shard).await;
        }
        let report = soon(shared.away().commit(&uri)).await.unwrap();
        if !is_told {
            // As if it had been killed before.
            let mark = format!("{CONTROL}alerts/sharded/{}-end.json", plan.run_id);
            shared.bench().client().delete_object().bucket(BUCKET).key(&mark).send().await.unwrap();
        }
        shared.world.at("2026-11-20 20:30");
        let next = success(&shared.home()).await;
        assert_eq!((next.uploaded.files, next.unchanged.files, next.due.len()), (0, 5, 0));
        assert!(next.warnings.iter().all(|warning| warning.contains("no versioning")), "{:?}", next.warnings);
        assert_eq!(shared.posts().len(), if is_told { 2 } else { 3 }, "{:?}", shared.world.told());
        let runs = shared.home().history(10).await.unwrap();
        assert_eq!(runs[1].summary.as_ref().unwrap().run_id, report.run_id);
    }
}

#[tokio::test]
async fn a_plan_that_is_lost_can_be_given_up_and_one_that_never_was_is_refused() {
    let shared = Shared::new().await;
    let (plan, uri) = shared.plan().await;
    let key = format!("{CONTROL}plans/{}/plan.json", plan.run_id);
    shared.bench().client().delete_object().bucket(BUCKET).key(&key).send().await.unwrap();
    assert!(matches!(soon(shared.home().commit(&uri)).await, Err(Error::Shard { .. })));
    let never = ShardUri::parse("20261120T110000.000Z-00000000").unwrap();
    for ended in [soon(shared.home().abandon(&never)).await, soon(shared.away().commit(&never)).await] {
        assert!(matches!(ended, Err(Error::Shard { .. })), "{ended:?}");
    }
    for wrong in [
        plan.shards[1].uri.clone(),
        plan.plan.replace("telemetry", "other"),
        plan.plan.replace(BUCKET, "other-bucket"),
    ] {
        let ended = soon(shared.home().commit(&ShardUri::parse(&wrong).unwrap())).await;
        assert!(matches!(ended, Err(Error::Invalid { .. })), "{wrong}: {ended:?}");
    }
    assert_eq!(shared.world.requests(), 0);
    let report = soon(shared.home().abandon(&uri)).await.unwrap();
    assert_eq!((report.outcome, shared.posts().len()), (Outcome::Failed, 1));
    shared.world.at("2026-11-20 20:30");
    assert_eq!(success(&shared.home()).await.uploaded.files, 4);
}

#[tokio::test]
async fn while_the_lease_lives_nothing_else_changes_the_backup() {
    let shared = Shared::new().await;
    let (plan, uri) = shared.plan().await;
    // Nobody has said for long that the run goes on.
    shared.world.at("2026-11-20 21:30");
    let rules = PruneRules::default().keep_daily(1);
    let prune = async || soon(shared.home().prune(rules, PruneOptions::default()).finish()).await.map(|_| ());
    let refused = [
        prune().await,
        soon(Box::pin(shared.home().adopt(AdoptOptions::default(), CancellationToken::new())))
            .await
            .map(|_| ()),
        soon(shared.home().verify(VerifyOptions::default().repair(true)).finish()).await.map(|_| ()),
        soon(Box::pin(shared.home().rebuild())).await.map(|_| ()),
    ];
    for refused in refused {
        assert!(matches!(&refused, Err(Error::Leased { run, .. }) if *run == plan.run_id), "{refused:?}");
    }
    shared.home().look_for_trouble().await.unwrap();
    shared.home().deliver().await.unwrap();
    assert_eq!(shared.world.told(), [""; 0], "it goes on, and is not late");

    for shard in 0..2 {
        shared.work(&plan, shard).await;
    }
    let refusal = Fault::new(FaultKind::AccessDenied).on(Operation::DeleteObjects);
    shared.bench().server.faults().add(refusal);
    soon(shared.home().commit(&uri)).await.unwrap();
    shared.bench().server.faults().clear();
    let plans = async || shared.objects().await.into_iter().filter(|key| key.contains("/plans/")).count();
    assert!(plans().await > 0);
    prune().await.unwrap();
    assert_eq!(plans().await, 0, "of a run that is over nobody needs the plan");
    assert_eq!(listed(&shared.away()).await.len(), 5);
}
