//! What a run makes of a bucket and a catalog that do not agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3backup_catalog::FileRow;
use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::manifest::Op;
use s3backup_core::{At, Backup, Event, FailureKind, RunId, RunReport, Source};
use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};

use crate::bench::{BUCKET, Bench, CONTROL, failed, soon, write};
use crate::memory::{catalog, counted, kill, op, ops, quiet, quiet_but, rows, set_mtime, state_dir, success};

fn latest_key() -> String {
    format!("{CONTROL}latest.json")
}

async fn delete(bench: &Bench, key: &str) {
    bench.client().delete_object().bucket(BUCKET).key(key).send().await.unwrap();
}

async fn put(bench: &Bench, key: &str, bytes: Vec<u8>) {
    bench.client().put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes)).send().await.unwrap();
}

/// Changes what `latest.json` says.
async fn edit_latest(bench: &Bench, name: &str, value: serde_json::Value) {
    let mut latest: serde_json::Value = serde_json::from_slice(&bench.get(&latest_key()).await).unwrap();
    *latest.pointer_mut(name).unwrap() = value;
    put(bench, &latest_key(), serde_json::to_vec(&latest).unwrap()).await;
}

#[track_caller]
fn assert_warned(report: &RunReport, words: &[&str]) {
    let is_said = |warning: &&String| words.iter().all(|word| warning.contains(word));
    assert!(
        report.warnings.iter().any(|warning| is_said(&warning)),
        "no {words:?} in {:#?}",
        report.warnings
    );
}

/// Warnings beside the one that every run without versioning has.
fn warnings(report: &RunReport) -> Vec<&String> {
    report.warnings.iter().filter(|warning| !warning.contains("versioning")).collect()
}

/// The bucket has every file of the source under its key, byte for byte.
async fn assert_backed_up(bench: &Bench) {
    let mut count = 0;
    for name in names_below(&bench.data()) {
        let bytes = std::fs::read(bench.data().join(&name)).unwrap();
        assert_eq!(bench.get(&format!("trips/{name}")).await, bytes, "{name}");
        count += 1;
    }
    assert!(count > 0);
}

fn names_below(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                names.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    names.sort_unstable();
    names
}

fn copy_state(bench: &Bench, to: &str) {
    let to = bench.dir(to);
    for entry in std::fs::read_dir(state_dir(bench)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn put_state_back(bench: &Bench, from: &str) {
    std::fs::remove_dir_all(state_dir(bench)).unwrap();
    std::fs::rename(bench.dir(from), state_dir(bench)).unwrap();
}

/// What the state says of each key; not what only this machine's file system knows, and not which run it was.
fn state(bench: &Bench) -> BTreeMap<String, FileRow> {
    let run = RunId::new(chrono::DateTime::UNIX_EPOCH, 0);
    let of = |row: FileRow| (row.key.to_string(), FileRow { hints: None, run: run.clone(), ..row });
    rows(bench).into_iter().map(of).collect()
}

/// Runs with all kinds of changes between them.
async fn a_history(bench: &Bench, backup: &Backup) {
    for number in 0..30 {
        bench.file(&format!("v{}/{number:02}", number % 3), number.to_string());
    }
    success(backup).await;
    let touch = |name: &str, hours: u64| {
        let path = bench.data().join(name);
        let time = std::fs::metadata(&path).unwrap().modified().unwrap() + Duration::from_hours(hours);
        set_mtime(&path, time);
    };
    // Touched, then gone.
    touch("v0/00", 1);
    touch("v0/03", 1);
    success(backup).await;
    std::fs::remove_file(bench.data().join("v0/00")).unwrap();
    // Gone, back, gone again.
    std::fs::remove_file(bench.data().join("v0/06")).unwrap();
    std::fs::remove_file(bench.data().join("v0/09")).unwrap();
    success(backup).await;
    bench.file("v0/06", "6");
    bench.file("v0/09", "9");
    success(backup).await;
    std::fs::remove_file(bench.data().join("v0/06")).unwrap();
    bench.file("v1/01", "changed");
    bench.file("v9/new", "new");
    success(backup).await;
    // Changed, then touched.
    touch("v1/01", 2);
    success(backup).await;
}

#[tokio::test]
async fn a_bucket_that_was_made_anew_is_filled_again() {
    let bench = Bench::new().await;
    for number in 0..25 {
        bench.file(&format!("v1/{number}"), number.to_string());
    }
    let backup = bench.backup();
    success(&backup).await;
    for key in bench.objects().await.into_keys() {
        delete(&bench, &key).await;
    }
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (25, 0));
    assert_warned(&report, &["latest.json is gone", "of 25 files 25 are missing"]);
    assert_backed_up(&bench).await;
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((warnings(&report), requests), (vec![], quiet()));
    // It also tells of it all.
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    assert_eq!(success(&backup).await.unchanged.files, 25);
}

#[tokio::test]
async fn a_word_that_is_damaged_is_written_anew_with_a_warning() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.backup();
    success(&backup).await;
    for damage in [&b"{"[..], b"", b"\xff\xfe", b"{\"min_reader\": 1}"] {
        put(&bench, &latest_key(), damage.to_vec()).await;
        let report = success(&backup).await;
        assert_warned(&report, &["latest.json could not be read and is written anew"]);
        let (report, requests) = counted(&bench, &backup).await;
        assert_eq!((warnings(&report), requests), (vec![], quiet()));
    }
    assert_backed_up(&bench).await;
}

#[tokio::test]
async fn only_what_the_bucket_lost_is_sent_again() {
    let bench = Bench::new().await;
    for number in 0..25 {
        bench.file(&format!("v1/{number:02}"), number.to_string());
    }
    let backup = bench.backup();
    success(&backup).await;
    delete(&bench, "trips/v1/07").await;
    delete(&bench, &latest_key()).await;
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (1, 24));
    assert_eq!(ops(&bench, &report).await, [op(Op::Put, "v1/07")]);
    assert_warned(&report, &["latest.json is gone", "of 25 files 1 are missing and 0 are others"]);
    let mut expected = quiet_but(4);
    expected.insert("ListObjectsV2", 1);
    assert_eq!(
        requests, expected,
        "the file, the manifest, and a snapshot because the manifests may be gone too"
    );
    assert_backed_up(&bench).await;
    assert_eq!(counted(&bench, &backup).await.1, quiet());
}

#[tokio::test]
async fn what_somebody_put_in_the_place_of_ours_is_named_and_not_overwritten() {
    let bench = Bench::new().await;
    let file = bench.file("a", "ours");
    bench.file("b", "b");
    let backup = bench.backup();
    success(&backup).await;
    put(&bench, "trips/a", b"theirs".to_vec()).await;
    delete(&bench, &latest_key()).await;
    let report = soon(backup.run()).await.unwrap();
    assert_warned(&report, &["of 2 files 0 are missing and 1 are others"]);
    assert_eq!((report.failed_total, report.failed[0].kind), (1, FailureKind::Conflict));
    assert_eq!(report.failed[0].path, file.display().to_string());
    assert_eq!(bench.get("trips/a").await, b"theirs");
}

#[tokio::test]
async fn a_disk_that_was_rolled_back_neither_forgets_nor_sends_twice() {
    let bench = Bench::new().await;
    for number in 0..40 {
        bench.file(&format!("v{}/{number:02}", number % 4), number.to_string());
    }
    let backup = bench.backup();
    success(&backup).await;
    copy_state(&bench, "copy");
    bench.file("v0/00", "changed in the second run");
    bench.file("v8/second", "second");
    success(&backup).await;
    std::fs::remove_file(bench.data().join("v1/01")).unwrap();
    bench.file("v8/third", "third");
    success(&backup).await;
    bench.file("v8/second", "changed in the fourth run");
    success(&backup).await;
    let before = state(&bench);

    put_state_back(&bench, "copy");
    bench.file("v9/last", "last");
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (1, 41));
    assert_eq!(ops(&bench, &report).await, [op(Op::Put, "v9/last")]);
    assert_warned(&report, &["the catalog is older than the bucket", "3 runs"]);
    assert_backed_up(&bench).await;
    let mut after = state(&bench);
    after.remove("trips/v9/last");
    assert_eq!(after, before);
    let history = backup.history(100).await.unwrap();
    assert_eq!(history.len(), 5);
    assert!(history.iter().all(|run| run.summary.is_some()));
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((warnings(&report), requests), (vec![], quiet()));
}

#[tokio::test]
async fn runs_that_cannot_begin_do_not_hide_that_the_disk_was_rolled_back() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.backup();
    success(&backup).await;
    copy_state(&bench, "copy");
    let gone = bench.file("only in the second run", "x");
    success(&backup).await;
    std::fs::remove_file(gone).unwrap();
    let before = rows(&bench).len();
    put_state_back(&bench, "copy");
    for operation in [Operation::GetObject, Operation::ListObjectsV2] {
        bench.server.faults().set([Fault::new(FaultKind::InternalError).on(operation)]);
        assert_eq!(failed(soon(backup.run()).await).fatal.unwrap().kind, FailureKind::Server);
    }
    bench.server.faults().clear();
    let report = success(&backup).await;
    assert_warned(&report, &["the catalog is older than the bucket"]);
    assert_eq!((before, report.gone.files), (2, 1), "it is known that it was there");
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((warnings(&report), requests), (vec![], quiet()));
}

#[tokio::test]
async fn a_copy_of_the_disk_from_the_midst_of_a_run_is_brought_up() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.backup();
    success(&backup).await;
    for name in ["b", "c"] {
        bench.file(name, name);
    }
    bench.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/c"));
    let run = backup.start();
    let cancel = run.cancel_token();
    soon(async {
        while catalog_is_short_of(&bench, 2) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    copy_state(&bench, "copy");
    cancel.cancel();
    soon(run.finish()).await.unwrap();
    bench.server.faults().clear();
    put_state_back(&bench, "copy");
    let report = success(&backup).await;
    assert_warned(&report, &["the catalog is older than the bucket"]);
    assert_eq!((report.uploaded.files, report.unchanged.files), (1, 2));
    assert_backed_up(&bench).await;
}

#[tokio::test]
async fn a_first_run_that_failed_is_no_reason_to_doubt_the_bucket() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.backup();
    bench.server.faults().add(Fault::new(FaultKind::InternalError).on(Operation::GetObject));
    failed(soon(backup.run()).await);
    bench.server.faults().clear();
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, warnings(&report)), (1, vec![]));
}

#[tokio::test]
async fn a_catalog_that_was_lost_is_made_again_as_it_was() {
    let bench = Bench::new().await;
    let backup = bench.backup();
    a_history(&bench, &backup).await;
    let (before, runs) = (state(&bench), backup.history(100).await.unwrap().len());
    assert_eq!((before.len(), runs), (29, 6));
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files, report.gone.files), (0, 29, 0), "{report:#?}");
    assert!(report.manifests.is_empty() && !requests.contains_key("HeadObject"), "{requests:?}");
    assert_eq!(requests["PutObject"], 3);
    assert_warned(&report, &["made again from the bucket", "6 runs"]);
    assert_eq!(state(&bench), before);
    assert_eq!(backup.history(100).await.unwrap().len(), runs + 1);
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((warnings(&report), requests), (vec![], quiet()));
}

#[tokio::test]
async fn a_damaged_catalog_is_set_aside_and_made_again() {
    let bench = Bench::new().await;
    let backup = bench.backup();
    a_history(&bench, &backup).await;
    let before = state(&bench);
    for beside in ["catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(state_dir(&bench).join(beside));
    }
    let garbage: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(state_dir(&bench).join("catalog.db"), &garbage).unwrap();
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files, report.gone.files), (0, 29, 0));
    assert_warned(&report, &["the catalog was damaged", "catalog.db.damaged-"]);
    assert_warned(&report, &["made again from the bucket"]);
    assert_eq!(state(&bench), before);
    let is_aside = |name: &String| name.starts_with("catalog.db.damaged-");
    let aside = names_below(&state_dir(&bench)).into_iter().find(is_aside).unwrap();
    assert_eq!(
        std::fs::read(state_dir(&bench).join(aside)).unwrap(),
        garbage,
        "whoever wants to look at it can"
    );
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((warnings(&report), requests), (vec![], quiet()));
}

#[tokio::test]
async fn another_destination_begins_anew_and_the_first_is_not_forgotten() {
    let bench = Bench::new().await;
    for name in ["a", "b"] {
        bench.file(name, name);
    }
    success(&bench.backup()).await;
    let other_server = LocalS3::builder().bucket(BUCKET).bucket("other").start().await.unwrap();
    let other_bucket = s3backup_core::Destination::new("other")
        .prefix("trips")
        .endpoint(other_server.endpoint())
        .region("us-east-1")
        .credentials(other_server.access_key(), other_server.secret_key());
    let elsewhere = [bench.destination().prefix("elsewhere"), bench.destination().prefix(""), other_bucket];
    for destination in elsewhere {
        let backup = bench.builder().destination(destination).build().unwrap();
        let report = success(&backup).await;
        assert_eq!((report.uploaded.files, report.unchanged.files), (2, 0), "{}", report.destination);
        assert_eq!(warnings(&report), Vec::<&String>::new(), "{}", report.destination);
        assert_eq!(success(&backup).await.unchanged.files, 2);
    }
    assert_eq!(bench.get("elsewhere/a").await, b"a");
    let (report, requests) = counted(&bench, &bench.backup()).await;
    assert_eq!((report.unchanged.files, requests, warnings(&report)), (2, quiet(), vec![]));
}

#[tokio::test]
async fn the_bucket_of_another_catalog_is_left_alone() {
    let bench = Bench::new().await;
    let file = bench.file("a", "a");
    let backup = bench.backup();
    success(&backup).await;
    edit_latest(&bench, "/catalog/id", "another".into()).await;
    std::fs::write(&file, "changed").unwrap();
    let puts = || bench.server.stats().of(Operation::PutObject);
    let before = (bench.objects().await, puts());
    let report = failed(soon(backup.run()).await);
    let fatal = report.fatal.as_ref().unwrap();
    assert_eq!(fatal.kind, FailureKind::Catalog);
    for word in ["another catalog", "backup status --rebuild", "`host`"] {
        assert!(fatal.message.contains(word), "{}", fatal.message);
    }
    assert_eq!((bench.objects().await, puts()), before, "nothing was written");

    // The mend.
    backup.rebuild().await.unwrap();
    let report = success(&backup).await;
    assert_eq!(report.uploaded.files, 1);
    assert_backed_up(&bench).await;
}

#[tokio::test]
async fn a_bucket_of_a_newer_version_is_left_alone() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.backup();
    success(&backup).await;
    edit_latest(&bench, "/min_reader", 2.into()).await;
    bench.file("b", "b");
    let before = bench.objects().await;
    for job in [bench.job(), bench.forgetful_job()] {
        let report = failed(soon(job.source(Source::new(bench.data())).build().unwrap().run()).await);
        let fatal = report.fatal.as_ref().unwrap();
        assert!(fatal.kind == FailureKind::Catalog && fatal.message.contains("update s3backup"), "{fatal:?}");
    }
    assert_eq!(bench.objects().await, before);
}

#[tokio::test]
async fn a_piece_of_the_manifest_that_is_missing_or_damaged_is_named() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.backup();
    let first = success(&backup).await;
    bench.file("b", "b");
    success(&backup).await;
    let key = first.manifests[0].key.as_str();
    let whole = bench.get(key).await;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, words) in
        [(None, "missing"), (Some(flipped), "its bytes are not those"), (Some(Vec::new()), "its bytes")]
    {
        match bytes {
            Some(bytes) => put(&bench, key, bytes).await,
            None => delete(&bench, key).await,
        }
        std::fs::remove_dir_all(state_dir(&bench)).unwrap();
        let before = bench.objects().await;
        let report = failed(soon(backup.run()).await);
        let fatal = report.fatal.as_ref().unwrap();
        assert_eq!(fatal.kind, FailureKind::Catalog);
        assert!(fatal.message.contains(key) && fatal.message.contains(words), "{}", fatal.message);
        assert_eq!(bench.objects().await, before);
        // Nothing half-known is left that the next run would trust.
        assert_eq!(failed(soon(backup.run()).await).fatal.unwrap().message, fatal.message);
    }
    put(&bench, key, whole).await;
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (0, 2));
}

#[tokio::test]
async fn what_a_killed_run_had_proved_is_listed_by_the_next() {
    let bench = Bench::new().await;
    for number in 0..30 {
        bench.file(&format!("v1/{number:02}"), number.to_string());
    }
    bench.file("hangs", "x");
    let backup = bench.backup();
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs"));
    let mut run = backup.start();
    let mut id = None;
    soon(async {
        while catalog_is_short_of(&bench, 30) {
            match tokio::time::timeout(Duration::from_millis(5), run.next()).await {
                Ok(Some(Event::RunStarted { run_id, .. })) => id = Some(run_id),
                Ok(None) => panic!("it ended"),
                _ => {}
            }
        }
    })
    .await;
    kill(&bench, run).await;
    let id = id.unwrap();
    bench.server.faults().clear();
    let is_recorded = |key: &String| key.contains("/runs/") || key.contains("/manifests/");
    assert!(!bench.objects().await.keys().any(is_recorded));

    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (1, 30));
    assert_eq!(requests, quiet_but(2), "the one that hung, and the manifest");
    assert_eq!(warnings(&report), Vec::<&String>::new());
    let lines = bench.manifest(&report).await;
    assert_eq!(lines.len(), 31);
    assert_eq!(
        lines.iter().filter(|line| line.run.as_ref() == Some(&id)).count(),
        30,
        "whose they are is said"
    );
    assert!(lines.iter().all(|line| line.op == Op::Put));

    let history = backup.history(10).await.unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!((&history[1].run_id, history[1].summary.is_none()), (&id, true));
    assert!(!bench.objects().await.contains_key(&format!("{CONTROL}runs/{id}.json")));
    let before = state(&bench);
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    success(&backup).await;
    assert_eq!(state(&bench), before, "the bucket alone tells of it");
}

fn catalog_is_short_of(bench: &Bench, files: usize) -> bool {
    !state_dir(bench).join("catalog.db").exists() || rows(bench).len() < files
}

#[tokio::test]
async fn what_was_not_stored_of_a_manifest_is_listed_by_the_next_run() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.backup();
    let fault = Fault::new(FaultKind::InternalError).on(Operation::PutObject).key_contains("manifests/");
    bench.server.faults().add(fault);
    let report = failed(soon(backup.run()).await);
    assert_eq!(report.fatal.unwrap().kind, FailureKind::Record);
    bench.server.faults().clear();
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!(ops(&bench, &report).await, [op(Op::Put, "a")]);
    assert_eq!((report.uploaded.files, requests), (0, quiet_but(1)));
    assert_eq!(counted(&bench, &backup).await.1, quiet());
}

#[tokio::test]
async fn a_machine_that_was_cloned_is_told_apart() {
    if std::fs::read_to_string("/etc/machine-id").is_ok_and(|id| !id.trim().is_empty()) {
        let bench = Bench::new().await;
        bench.file("a", "a");
        let backup = bench.backup();
        success(&backup).await;
        catalog(&bench).set_setting("machine", "another").unwrap();
        let report = failed(soon(backup.run()).await);
        let fatal = report.fatal.unwrap();
        assert!(
            fatal.kind == FailureKind::Catalog && fatal.message.contains("copied from another machine"),
            "{fatal:?}"
        );
    }
}

#[tokio::test]
async fn control_data_that_was_deleted_is_written_again() {
    let bench = Bench::new().await;
    for number in 0..12 {
        write(&bench.data().join(number.to_string()), number.to_string());
    }
    let backup = bench.backup();
    success(&backup).await;
    for key in bench.objects().await.into_keys().filter(|key| key.contains(".s3backup/")) {
        delete(&bench, &key).await;
    }
    assert_eq!(success(&backup).await.uploaded.files, 0, "the files are there");
    let before = state(&bench);
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    let report = success(&backup).await;
    assert_eq!(
        (report.unchanged.files, report.manifests.len()),
        (12, 0),
        "the bucket tells of all of them again"
    );
    assert_eq!(state(&bench), before);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_turn_the_order_of_runs_around() {
    let bench = Bench::new().await;
    let file = bench.file("a", "first");
    let now = Arc::new(Mutex::new(chrono::Utc::now()));
    let clock = Arc::clone(&now);
    let backup = bench.builder().clock(Arc::new(move || *clock.lock().unwrap())).build().unwrap();
    let first = success(&backup).await;
    *now.lock().unwrap() -= chrono::TimeDelta::minutes(10);
    std::fs::write(&file, "the second").unwrap();
    let second = success(&backup).await;
    assert!(first.run_id < second.run_id && second.started_at < first.started_at);
    let before = state(&bench);
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    let report = success(&backup).await;
    assert_eq!((report.unchanged.files, report.manifests.len()), (1, 0));
    assert_eq!(state(&bench), before, "what was sent last holds");
}

#[tokio::test]
async fn whatever_names_files_have_they_are_known_again() {
    use std::os::unix::ffi::OsStrExt;

    let bench = Bench::new().await;
    let names: [&[u8]; 8] = [
        b"new\nline",
        b"not-utf8-\xff\xfe",
        b"100%41",
        b"a b+c&?#%",
        "日本é".as_bytes(),
        b"d/e",
        b"d-e",
        b"d.e/f",
    ];
    for (place, dir) in ["plain", "dated"].into_iter().enumerate() {
        for name in names {
            write(&bench.dir(dir).join(std::ffi::OsStr::from_bytes(name)), [b'x', place.to_le_bytes()[0]]);
        }
    }
    let job = || {
        let sources = [
            Source::new(bench.dir("plain")).prefix("d"),
            Source::new(bench.dir("dated")).prefix("d/{date}/x"),
        ];
        sources.into_iter().fold(bench.job(), s3backup_core::BackupBuilder::source).build().unwrap()
    };
    assert_eq!(success(&job()).await.uploaded.files, 16);
    assert_eq!(counted(&bench, &job()).await.1, quiet());
    let before = state(&bench);
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    let report = success(&job()).await;
    assert_eq!((report.unchanged.files, report.gone.files, report.manifests.len()), (16, 0, 0));
    assert_eq!(state(&bench), before);
}

#[tokio::test]
async fn a_run_is_behind_those_that_only_the_bucket_knows_although_the_clock_was_set_back() {
    let before = chrono::Utc::now();
    for what in ["lost", "rolled back", "never there"] {
        let bench = Bench::new().await;
        let file = bench.file("a", "one");
        let job = |minutes| {
            let now = before - chrono::TimeDelta::minutes(minutes);
            let job = bench.forgetful_job().source(Source::new(bench.data())).clock(Arc::new(move || now));
            let job = if what == "never there" { job } else { job.state_dir(bench.dir("state")) };
            job.build().unwrap()
        };
        success(&job(60)).await;
        if what == "rolled back" {
            copy_state(&bench, "copy");
        }
        write(&file, "second");
        let second = success(&job(0)).await;
        match what {
            "lost" => std::fs::remove_dir_all(state_dir(&bench)).unwrap(),
            "rolled back" => put_state_back(&bench, "copy"),
            _ => {}
        }
        write(&file, "the third");
        let third = success(&job(30)).await;
        assert!(third.run_id > second.run_id, "{what}: {} is not behind {}", third.run_id, second.run_id);
        assert_eq!(bench.stored_report(&third).await.run_id, third.run_id, "{what}");

        let stranger = bench.forgetful_job().source(Source::new(bench.data())).build().unwrap();
        let listed = stranger.files(&At::Now, &[]).await.unwrap().next().await.unwrap().unwrap();
        assert_eq!((listed[0].size, &listed[0].run), (9, &third.run_id), "{what}: the newest state");
    }
}
