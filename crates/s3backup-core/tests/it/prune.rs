//! Retention: what goes, what never goes, and what happens when it is interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_core::aws_sdk_s3::Client;
use s3backup_core::aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::aws_sdk_s3::types::{BucketVersioningStatus, ChecksumAlgorithm, VersioningConfiguration};
use s3backup_core::manifest::{Line, Op, SnapshotIndex};
use s3backup_core::options::{ChecksumKind, PruneRules, TransferSettings};
use s3backup_core::{
    Backup, BackupBuilder, Destination, Error, Event, Outcome, PruneItem, PruneKind, PruneOptions,
    PruneReport, PruneState, RunReport, Source, line_of,
};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::bench::{BUCKET, Bench, CONTROL, impatient, read_segment, soon};
use crate::moto::{ACCESS_KEY, Moto, SECRET_KEY};

/// A job whose clock the test moves.
struct Days {
    bench: Bench,
    now: Arc<Mutex<DateTime<Utc>>>,
}

impl Days {
    async fn new() -> Self {
        let start = DateTime::parse_from_rfc3339("2027-03-01T11:00:00Z").unwrap().to_utc();
        Self { bench: Bench::new().await, now: Arc::new(Mutex::new(start)) }
    }

    fn builder(&self) -> BackupBuilder {
        let now = Arc::clone(&self.now);
        self.bench.builder().max_changed(100).clock(Arc::new(move || *now.lock().unwrap()))
    }

    fn backup(&self) -> Backup {
        self.builder().build().unwrap()
    }

    fn pass(&self, time: TimeDelta) {
        *self.now.lock().unwrap() += time;
    }

    /// Lets a file be modified so long before now.
    fn stamp(&self, path: &Path, before: TimeDelta) {
        let at = SystemTime::from(*self.now.lock().unwrap() - before);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    }

    /// A run on the next day.
    async fn run(&self) -> RunReport {
        self.pass(TimeDelta::days(1));
        let report = soon(self.backup().run()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
        report
    }

    async fn prune(
        &self,
        rules: PruneRules,
        options: PruneOptions,
    ) -> (Vec<PruneItem>, Result<PruneReport, Error>) {
        prune(&self.backup(), rules, options).await
    }

    async fn pruned(&self, rules: PruneRules) -> (Vec<PruneItem>, PruneReport) {
        let (items, report) = self.prune(rules, PruneOptions::default().force(true)).await;
        (items, report.unwrap())
    }

    /// The state after a run has all its bytes in the bucket.
    async fn assert_restorable(&self, run: &RunReport, expected: &BTreeMap<String, String>) {
        let client = self.bench.client();
        assert_eq!(state_after(&client, CONTROL, run).await, *expected, "after {}", run.run_id);
    }
}

async fn prune(
    backup: &Backup,
    rules: PruneRules,
    options: PruneOptions,
) -> (Vec<PruneItem>, Result<PruneReport, Error>) {
    let mut prune = backup.prune(rules, options);
    let mut items = Vec::new();
    soon(async {
        while let Some(item) = prune.next().await {
            items.push(item);
        }
        let ended = prune.finish().await;
        (items, ended)
    })
    .await
}

/// Every file of the state after a run with its bytes, read from the bucket alone, as its documentation says: the newest
/// snapshot that is not newer, and the manifests behind it.
async fn state_after(client: &Client, control: &str, run: &RunReport) -> BTreeMap<String, String> {
    let wanted = run.run_id.as_str();
    let keys = keys(client, control).await;
    let index = keys.iter().rev().find(|key| {
        key.strip_prefix(&format!("{control}snapshots/")).is_some_and(|rest| {
            rest.split_once('/').is_some_and(|(id, name)| id <= wanted && name == "index.json")
        })
    });
    let (mut lines, mut after) = (Vec::<Line>::new(), String::new());
    if let Some(index) = index {
        let index: SnapshotIndex = serde_json::from_slice(&get(client, index, None).await).unwrap();
        for segment in &index.segments {
            lines.extend(read_segment(&get(client, segment.segment.key.as_str(), None).await).1);
        }
        after = index.run_id.to_string();
    }
    for key in &keys {
        let Some(rest) = key.strip_prefix(&format!("{control}manifests/")) else { continue };
        let id = rest.split('/').next().unwrap();
        if id > after.as_str() && id <= wanted {
            lines.extend(read_segment(&get(client, key, None).await).1);
        }
    }
    let mut state = BTreeMap::new();
    for line in lines {
        match line.op {
            Op::Gone => state.remove(line.key.as_str()),
            _ => state.insert(line.key.to_string(), line.version_id),
        };
    }
    let mut files = BTreeMap::new();
    for (key, version) in state {
        let bytes = get(client, &key, version.as_deref()).await;
        files.insert(key, String::from_utf8(bytes).unwrap());
    }
    files
}

async fn keys(client: &Client, prefix: &str) -> BTreeSet<String> {
    let reply = client.list_objects_v2().bucket(BUCKET).prefix(prefix).send().await.unwrap();
    assert_ne!(reply.is_truncated(), Some(true), "the tests look at one page");
    reply.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

async fn get(client: &Client, key: &str, version: Option<&str>) -> Vec<u8> {
    let reply = client.get_object().bucket(BUCKET).key(key).set_version_id(version.map(ToOwned::to_owned));
    let reply = reply.send().await.unwrap_or_else(|error| panic!("{key} {version:?}: {error:?}"));
    reply.body.collect().await.unwrap().to_vec()
}

fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, bytes)| (format!("trips/{name}"), (*bytes).to_owned())).collect()
}

fn daily(days: u32) -> PruneRules {
    PruneRules::default().keep_daily(days)
}

fn of_kind(items: &[PruneItem], kind: PruneKind) -> Vec<(String, PruneState)> {
    items.iter().filter(|item| item.kind == kind).map(|item| (item.key.to_string(), item.state)).collect()
}

fn removed(names: &[&str]) -> Vec<(String, PruneState)> {
    names.iter().map(|name| (format!("trips/{name}"), PruneState::Removed)).collect()
}

#[tokio::test]
async fn the_object_of_a_file_that_is_gone_goes_once_no_kept_run_refers_to_it() {
    let days = Days::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        days.bench.file(name, name);
    }
    let first = days.run().await;
    std::fs::remove_file(days.bench.data().join("b")).unwrap();
    let second = days.run().await;
    days.bench.file("f", "f");
    let third = days.run().await;

    // The first run is the best of its day.
    let (items, report) = days.prune(daily(3), PruneOptions::default()).await;
    assert_eq!((items, report.unwrap().kept.len()), (vec![], 3));

    let (items, report) = days.prune(daily(2), PruneOptions::default().dry_run(true)).await;
    let report = report.unwrap();
    assert_eq!(of_kind(&items, PruneKind::Object), [("trips/b".to_owned(), PruneState::WouldGo)]);
    assert_eq!((report.objects.files, report.known.files, report.refused), (1, 6, None));
    assert!(items[0].reason.contains(second.run_id.as_str()), "{}", items[0].reason);
    assert_eq!(days.bench.get("trips/b").await, b"b");

    let (items, report) = days.prune(daily(2), PruneOptions::default()).await;
    assert_eq!(items.len(), 1);
    assert_eq!(of_kind(&items, PruneKind::Object), removed(&["b"]));
    let kept: Vec<_> = report.unwrap().kept.into_iter().map(|run| run.run_id).collect();
    assert_eq!(kept, [third.run_id.clone(), second.run_id.clone()]);
    assert!(!days.bench.data_keys().await.contains("trips/b"));
    let rest = files(&[("a", "a"), ("c", "c"), ("d", "d"), ("e", "e")]);
    days.assert_restorable(&second, &rest).await;
    let mut newest = rest;
    newest.extend(files(&[("f", "f")]));
    days.assert_restorable(&third, &newest).await;
    drop(first);

    // What is done is done: nothing goes twice, on this catalog or on another.
    let (items, report) = days.prune(daily(2), PruneOptions::default()).await;
    assert_eq!((items, report.unwrap().known.files), (vec![], 5));
}

#[tokio::test]
async fn a_file_that_comes_back_after_its_object_went_is_sent_again() {
    let days = Days::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        days.bench.file(name, name);
    }
    days.run().await;
    std::fs::remove_file(days.bench.data().join("b")).unwrap();
    days.run().await;
    days.run().await;
    let (items, _) = days.pruned(daily(1)).await;
    assert_eq!(of_kind(&items, PruneKind::Object), removed(&["b"]));
    // A catalog that is made again from the manifests hears of `b`, and that it is gone.
    std::fs::remove_dir_all(days.bench.dir("state")).unwrap();
    days.run().await;
    days.bench.file("b", "b");
    let back = days.run().await;
    assert_eq!(back.uploaded.files, 1, "{back:#?}");
    assert_eq!(days.bench.get("trips/b").await, b"b");
    // And once more: its object is another than the one that went.
    std::fs::remove_file(days.bench.data().join("b")).unwrap();
    days.run().await;
    days.run().await;
    let (items, _) = days.pruned(daily(1)).await;
    assert_eq!(of_kind(&items, PruneKind::Object), removed(&["b"]));
}

#[tokio::test]
async fn nothing_goes_without_a_rule_or_from_a_bucket_that_is_not_understood() {
    let days = Days::new().await;
    let file = days.bench.file("a", "a");
    let (_, error) = days.prune(PruneRules::default(), PruneOptions::default()).await;
    assert!(matches!(error, Err(Error::Invalid { .. })), "{error:?}");
    let refused = |ended: Result<PruneReport, Error>| match ended {
        Err(Error::PruneRefused { why }) => why,
        other => panic!("it should have been refused: {other:?}"),
    };
    let why = refused(days.prune(daily(1), PruneOptions::default()).await.1);
    assert!(why.contains("latest.json") && why.contains("backup run"), "{why}");

    days.run().await;
    std::fs::remove_file(file).unwrap();
    days.pass(TimeDelta::days(1));
    soon(days.builder().force(true).build().unwrap().run()).await.unwrap();
    days.run().await;
    let why = refused(days.prune(daily(1), PruneOptions::default().force(true)).await.1);
    assert!(why.contains("no file"), "{why}");
    assert_eq!(days.bench.get("trips/a").await, b"a");

    // Another machine, whose catalog knows nothing.
    let elsewhere = days.builder().state_dir(days.bench.dir("elsewhere")).build().unwrap();
    let why = refused(prune(&elsewhere, daily(1), PruneOptions::default()).await.1);
    assert!(why.contains("catalog"), "{why}");
}

#[tokio::test]
async fn a_share_that_is_too_large_needs_force() {
    let days = Days::new().await;
    for name in ["a", "b", "c"] {
        days.bench.file(name, name);
    }
    days.run().await;
    std::fs::remove_file(days.bench.data().join("b")).unwrap();
    days.run().await;
    days.run().await;
    let (items, report) = days.prune(daily(1), PruneOptions::default()).await;
    let error = line_of(&report.unwrap_err());
    assert!(error.contains("1 of 3 objects") && error.contains("--force"), "{error}");
    assert_eq!(items, []);
    let (items, report) = days.prune(daily(1), PruneOptions::default().dry_run(true)).await;
    assert!(report.unwrap().refused.is_some_and(|why| why.contains("--force")));
    assert_eq!(items.len(), 1, "what would go is shown");
    assert_eq!(days.bench.data_keys().await.len(), 3);
    let (items, _) = days.pruned(daily(1)).await;
    assert_eq!(of_kind(&items, PruneKind::Object), removed(&["b"]));
}

#[tokio::test]
async fn what_another_program_wrote_under_the_key_stays() {
    let days = Days::new().await;
    for name in ["a", "b"] {
        days.bench.file(name, name);
    }
    days.run().await;
    std::fs::remove_file(days.bench.data().join("b")).unwrap();
    days.run().await;
    days.run().await;
    let body = ByteStream::from_static(b"theirs");
    days.bench.client().put_object().bucket(BUCKET).key("trips/b").body(body).send().await.unwrap();
    let (items, report) = days.pruned(daily(1)).await;
    assert_eq!(of_kind(&items, PruneKind::Object), [("trips/b".to_owned(), PruneState::Left)]);
    assert_eq!((report.objects.files, report.left), (0, 1));
    assert_eq!(days.bench.get("trips/b").await, b"theirs");
}

#[tokio::test]
async fn the_first_error_stops_it_and_another_prune_goes_on() {
    let days = Days::new().await;
    let names: Vec<String> = (0..60).map(|number| format!("{number:02}")).collect();
    for name in &names {
        days.bench.file(name, name);
    }
    days.bench.file("stays", "stays");
    days.run().await;
    for name in &names {
        std::fs::remove_file(days.bench.data().join(name)).unwrap();
    }
    days.run().await;
    days.run().await;
    let control = keys(&days.bench.client(), CONTROL).await;
    let fault = Fault::new(FaultKind::AccessDenied).on(Operation::DeleteObject).key_contains("trips/2");
    days.bench.server.faults().add(fault);
    let (items, report) = days.prune(daily(1), PruneOptions::default().force(true)).await;
    days.bench.server.faults().clear();
    let error = report.unwrap_err();
    assert!(
        matches!(error, Error::PruneStopped { objects, .. } if objects == items.len() as u64),
        "{error:?}"
    );
    assert!(line_of(&error).contains("DeleteObject"), "{}", line_of(&error));
    // What was begun beside the one that failed may still have gone, and nothing after that.
    let left = days.bench.data_keys().await;
    assert_eq!(left.len() + items.len(), 61);
    assert!(left.len() > 30, "{left:?}");
    assert_eq!(keys(&days.bench.client(), CONTROL).await, control);

    let (items, _) = days.pruned(daily(1)).await;
    let went = items.iter().filter(|item| item.state == PruneState::Removed).count();
    assert_eq!(went, left.len() - 1);
    assert_eq!(days.bench.data_keys().await, BTreeSet::from(["trips/stays".to_owned()]));
}

#[tokio::test]
async fn a_manifest_that_is_missing_or_damaged_stops_everything() {
    let days = Days::new().await;
    for name in ["a", "b"] {
        days.bench.file(name, name);
    }
    let first = days.run().await;
    std::fs::remove_file(days.bench.data().join("b")).unwrap();
    days.run().await;
    days.run().await;
    let client = days.bench.client();
    let key = first.manifests[0].key.to_string();
    let body = ByteStream::from_static(b"damaged");
    client.put_object().bucket(BUCKET).key(&key).body(body).send().await.unwrap();
    for _ in 0..2 {
        let (items, error) = days.prune(daily(1), PruneOptions::default().force(true)).await;
        assert!(matches!(error, Err(Error::Manifest { .. })), "{error:?}");
        assert_eq!(items, []);
        client.delete_object().bucket(BUCKET).key(&key).send().await.unwrap();
    }
    assert_eq!(days.bench.data_keys().await.len(), 2);
}

#[tokio::test]
async fn it_is_refused_while_a_run_goes_on() {
    let days = Days::new().await;
    days.bench.file("a", "a");
    days.run().await;
    days.pass(TimeDelta::days(1));
    days.bench.file("b", "b");
    let slowly = Fault::new(FaultKind::Latency(Duration::from_secs(1))).on(Operation::PutObject);
    days.bench.server.faults().add(slowly.key_contains("trips/b"));
    let mut run = days.backup().start();
    soon(async {
        while let Some(event) = run.next().await {
            if matches!(event, Event::Found { .. }) {
                break;
            }
        }
    })
    .await;
    let locked = |ended: Result<PruneReport, Error>| match ended {
        Err(Error::Locked { holder, .. }) => holder,
        other => panic!("it should be locked: {other:?}"),
    };
    locked(days.prune(daily(1), PruneOptions::default()).await.1);
    // The run is killed: nobody holds the lock, and the bucket still says that it goes on.
    drop(run);
    let holder = soon(async {
        loop {
            let holder = locked(days.prune(daily(1), PruneOptions::default()).await.1);
            if holder.contains("says in the bucket") {
                break holder;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(holder.contains("15 minutes"), "{holder}");
    days.pass(TimeDelta::minutes(16));
    days.prune(daily(1), PruneOptions::default()).await.1.unwrap();
}

#[tokio::test]
async fn control_data_goes_up_to_a_snapshot_and_every_kept_run_can_still_be_read() {
    let days = Days::new().await;
    days.bench.file("stays", "stays");
    let mut runs = Vec::new();
    // A snapshot is made after every 30 runs that changed something.
    for number in 0..34 {
        days.bench.file("new", number.to_string());
        runs.push(days.run().await);
    }
    let client = days.bench.client();
    let before = keys(&client, CONTROL).await;
    let snapshot = before.iter().find(|key| key.ends_with("/index.json")).unwrap().clone();
    let base = runs.iter().position(|run| snapshot.contains(run.run_id.as_str())).unwrap();
    assert!((25..33).contains(&base), "{base}");
    // The oldest kept run is older than the snapshot: all is needed.
    let (items, _) = days.pruned(daily(34 - u32::try_from(base).unwrap() + 1)).await;
    assert_eq!(of_kind(&items, PruneKind::Control), []);

    // Interrupted anywhere, it leaves what every kept run needs, and another prune goes on.
    let mut items = Vec::new();
    for attempt in 1.. {
        let fault = Fault::new(FaultKind::AccessDenied).on(Operation::DeleteObject).nth(attempt % 9 + 1);
        days.bench.server.faults().set([fault]);
        let (some, report) = days.prune(daily(2), PruneOptions::default()).await;
        days.bench.server.faults().clear();
        items.extend(some);
        days.assert_restorable(&runs[33], &files(&[("new", "33"), ("stays", "stays")])).await;
        match report {
            Ok(_) => break,
            Err(error) => assert!(line_of(&error).contains("DeleteObject"), "{}", line_of(&error)),
        }
    }
    let after = keys(&client, CONTROL).await;
    let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
    assert_eq!(gone, items.iter().map(|item| item.key.to_string()).collect());
    for (number, run) in runs.iter().enumerate() {
        let speaks_of = |key: &&String| key.contains(run.run_id.as_str()) && !key.contains("/snapshots/");
        assert_eq!(after.iter().filter(speaks_of).count() > 0, number > base, "run {number}");
    }
    assert!(after.contains(&snapshot));
    // Newest first: what is left at any moment has no gap.
    let order: Vec<_> = items
        .iter()
        .filter(|item| item.key.as_str().contains("/runs/"))
        .map(|item| item.key.to_string())
        .collect();
    assert!(order.is_sorted_by(|one, other| one > other), "{order:?}");
    days.assert_restorable(&runs[33], &files(&[("new", "33"), ("stays", "stays")])).await;
    // The file was overwritten since, and the bucket has no versions: nobody claims the old bytes.
    days.run().await;
    let (items, _) = days.pruned(daily(2)).await;
    assert_eq!(items, []);
}

/// A job with files of which all but `young` are older than the rule of the test allows.
async fn old_files(names: &[&str]) -> Days {
    let days = Days::new().await;
    for name in names {
        let path = days.bench.file(name, name);
        days.stamp(&path, if *name == "young" { TimeDelta::days(1) } else { TimeDelta::days(40) });
    }
    days
}

fn after_30_days() -> PruneRules {
    PruneRules::default().local_after(Duration::from_hours(30 * 24))
}

#[tokio::test]
async fn old_files_leave_the_disk_and_are_neither_gone_nor_missing() {
    let days = old_files(&["trip/old", "young"]).await;
    let first = days.run().await;
    let (old, young) = (days.bench.data().join("trip/old"), days.bench.data().join("young"));
    let (items, report) = days.prune(after_30_days(), PruneOptions::default().dry_run(true)).await;
    assert_eq!(of_kind(&items, PruneKind::Local), [("trips/trip/old".to_owned(), PruneState::WouldGo)]);
    assert_eq!((report.unwrap().local.files, old.exists()), (1, true));

    let (items, report) = days.prune(after_30_days(), PruneOptions::default()).await;
    assert_eq!(of_kind(&items, PruneKind::Local), removed(&["trip/old"]));
    assert_eq!(items[0].path.as_deref(), old.to_str());
    assert_eq!(report.unwrap().objects.files, 0, "no rule is about runs");
    assert!(!old.exists() && young.exists() && old.parent().unwrap().is_dir());

    let second = days.run().await;
    assert_eq!((second.gone.files, second.found.files, second.uploaded.files), (0, 1, 0));
    let lines = days.bench.manifest(&second).await;
    let ops: Vec<_> = lines.iter().map(|line| (line.op, line.key.as_str())).collect();
    assert_eq!(ops, [(Op::RemovedByPrune, "trips/trip/old")]);
    let all = files(&[("trip/old", "trip/old"), ("young", "young")]);
    days.assert_restorable(&first, &all).await;
    days.assert_restorable(&second, &all).await;

    // The last file goes too, and nobody calls the source empty.
    days.pass(TimeDelta::days(40));
    let (items, _) = days.prune(after_30_days(), PruneOptions::default()).await;
    assert_eq!(of_kind(&items, PruneKind::Local), removed(&["young"]));
    days.run().await;
    let last = days.run().await;
    days.assert_restorable(&last, &all).await;
    // No retention takes the objects of files that prune removed.
    let (items, _) = days.pruned(daily(1)).await;
    assert_eq!(of_kind(&items, PruneKind::Object), []);

    // Restored by hand, it is known and not sent.
    days.bench.file("trip/old", "trip/old");
    let back = days.run().await;
    assert_eq!((back.uploaded.files, back.unchanged.files), (0, 1));
}

#[tokio::test]
async fn only_what_is_proved_and_exactly_as_it_was_leaves_the_disk() {
    let days =
        old_files(&["changed", "missing", "swapped", "tampered", "unproved", "below/link", "young"]).await;
    days.run().await;
    let data = days.bench.data();
    let client = days.bench.client();
    // The times are as they were; the bytes are not.
    std::fs::write(data.join("changed"), "CHANGED").unwrap();
    days.stamp(&data.join("changed"), TimeDelta::days(41));
    client.delete_object().bucket(BUCKET).key("trips/missing").send().await.unwrap();
    // One of them with a checksum that can be compared, one with another ETag alone.
    let body = ByteStream::from_static(b"TAMPERED");
    let put = client.put_object().bucket(BUCKET).key("trips/tampered").body(body);
    put.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
    let body = ByteStream::from_static(b"UNPROVED");
    client.put_object().bucket(BUCKET).key("trips/unproved").body(body).send().await.unwrap();
    // Somebody puts links where files and directories were.
    let beside = days.bench.dir("beside");
    std::fs::rename(data.join("swapped"), beside.join("swapped")).unwrap();
    symlink(beside.join("swapped"), data.join("swapped")).unwrap();
    std::fs::rename(data.join("below"), beside.join("below")).unwrap();
    symlink(beside.join("below"), data.join("below")).unwrap();

    let (items, report) = days.prune(after_30_days(), PruneOptions::default()).await;
    let states: BTreeMap<_, _> = of_kind(&items, PruneKind::Local).into_iter().collect();
    let expected = [
        ("below/link", PruneState::Left),
        ("changed", PruneState::Left),
        ("missing", PruneState::Differs),
        ("swapped", PruneState::Left),
        ("tampered", PruneState::Differs),
        ("unproved", PruneState::Differs),
    ];
    assert_eq!(states, expected.map(|(name, state)| (format!("trips/{name}"), state)).into());
    let report = report.unwrap();
    assert_eq!((report.local.files, report.left, report.differ), (0, 6, 3));
    for name in ["changed", "missing", "swapped", "tampered", "unproved", "below/link", "young"] {
        assert!(data.join(name).exists(), "{name}");
    }
    assert!(beside.join("swapped").exists() && beside.join("below/link").exists());
}

#[tokio::test]
async fn what_no_manifest_names_stays_on_the_disk() {
    let days = old_files(&["a"]).await;
    let fault = Fault::new(FaultKind::InternalError).on(Operation::PutObject).key_contains("manifests/");
    days.bench.server.faults().add(fault);
    days.pass(TimeDelta::days(1));
    soon(days.backup().run()).await.unwrap_err();
    days.bench.server.faults().clear();
    let (items, _) = days.prune(after_30_days(), PruneOptions::default()).await;
    assert_eq!(of_kind(&items, PruneKind::Local), [("trips/a".to_owned(), PruneState::Left)]);
    assert!(items[0].reason.contains("manifest"), "{}", items[0].reason);
    days.run().await;
    let (items, _) = days.prune(after_30_days(), PruneOptions::default()).await;
    assert_eq!(of_kind(&items, PruneKind::Local), removed(&["a"]));
}

#[tokio::test]
async fn a_prune_that_is_cancelled_says_so() {
    let days = old_files(&["a"]).await;
    days.run().await;
    let prune = days.backup().prune(after_30_days(), PruneOptions::default());
    prune.cancel_token().cancel();
    let report = soon(prune.finish()).await.unwrap();
    assert!(report.interrupted && report.local.files == 0);
    assert!(days.bench.data().join("a").exists());
}

/// On a stranger's server whose bucket has versions.
#[tokio::test]
async fn versions_that_no_kept_run_refers_to_go_and_the_others_stay() {
    let moto = tokio::task::spawn_blocking(Moto::start).await.unwrap();
    let (client, destination) = versioned_bucket(&moto).await;
    let days = Days::new().await;
    let settings = TransferSettings { checksum: ChecksumKind::None, ..TransferSettings::default() };
    let now = Arc::clone(&days.now);
    let backup = Backup::builder()
        .job("telemetry")
        .host("gw-1")
        .retry(impatient())
        .state_dir(days.bench.dir("state"))
        .destination(destination)
        .transfer(settings)
        .max_changed(100)
        .source(Source::new(days.bench.data()))
        .clock(Arc::new(move || *now.lock().unwrap()))
        .build()
        .unwrap();
    days.bench.file("stays", "stays");
    let (mut runs, mut states) = (Vec::new(), Vec::new());
    for day in 0..6 {
        days.pass(TimeDelta::days(1));
        days.bench.file("daily", format!("daily {day}"));
        let mut state = BTreeMap::from([
            ("trips/stays".to_owned(), "stays".to_owned()),
            ("trips/daily".to_owned(), format!("daily {day}")),
        ]);
        if day < 2 {
            days.bench.file("leaves", format!("leaves {day}"));
            state.insert("trips/leaves".to_owned(), format!("leaves {day}"));
        } else if day == 2 {
            std::fs::remove_file(days.bench.data().join("leaves")).unwrap();
        }
        let report = soon(backup.run()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
        runs.push(report);
        states.push(state);
    }
    for (run, state) in runs.iter().zip(&states) {
        assert_eq!(state_after(&client, CONTROL, run).await, *state);
    }
    // Of daily 0 to 3 and of both that left; those of the last two days, and the one that stays, are needed.
    let (items, report) = prune(&backup, daily(2), PruneOptions::default()).await;
    assert!(matches!(report, Err(Error::PruneRefused { .. })) && items.is_empty(), "{report:?}");
    let (items, report) = prune(&backup, daily(2), PruneOptions::default().force(true)).await;
    let report = report.unwrap();
    assert_eq!((report.objects.files, report.known.files, report.left), (6, 9, 0));
    assert!(items.iter().all(|item| item.version_id.is_some()));
    assert_eq!(versions(&client, "trips/daily").await, 2);
    assert_eq!(versions(&client, "trips/leaves").await, 0);
    for kept in 4..6 {
        assert_eq!(state_after(&client, CONTROL, &runs[kept]).await, states[kept]);
    }
    // A file that is gone and is in its last version only; and nothing goes twice.
    let (items, report) = prune(&backup, daily(2), PruneOptions::default()).await;
    assert_eq!((items, report.unwrap().known.files), (vec![], 3));
    drop(client);
    tokio::task::spawn_blocking(move || drop(moto)).await.unwrap();
}

/// A bucket with versions, as another client sees it and as a destination.
pub(crate) async fn versioned_bucket(moto: &Moto) -> (Client, Destination) {
    let config = s3backup_core::aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(moto.endpoint())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .force_path_style(true)
        .build();
    let client = Client::from_conf(config);
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(on).send().await.unwrap();
    let destination = Destination::new(BUCKET)
        .prefix("trips")
        .endpoint(moto.endpoint())
        .region("us-east-1")
        .credentials(ACCESS_KEY, SECRET_KEY);
    (client, destination)
}

async fn versions(client: &Client, key: &str) -> usize {
    let reply = client.list_object_versions().bucket(BUCKET).prefix(key).send().await.unwrap();
    assert_eq!(reply.delete_markers(), []);
    reply.versions().len()
}
