//! Whether what was backed up comes back, all of it, as it was, and nowhere else.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::options::TransferSettings;
use s3backup_core::{
    At, Backup, Error, FailureKind, Outcome, RestoreEvent, RestoreOptions, RestoreReport, RunReport, Source,
};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use tempfile::TempDir;

use crate::bench::{BUCKET, Bench, CONTROL, impatient, read_segment, soon, until};
use crate::moto::Moto;
use crate::prune::versioned_bucket;

/// By path below a directory: bytes, modification time and permissions of each file, and where each link leads.
type Tree = BTreeMap<PathBuf, (Vec<u8>, i64, i64, u32)>;

fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let relative = path.strip_prefix(root).unwrap().to_owned();
            let stat = std::fs::symlink_metadata(&path).unwrap();
            if stat.is_dir() {
                directories.push(path);
            } else if stat.is_symlink() {
                let leads = std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
                found.insert(relative, (leads, 0, 0, 0));
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(relative, (bytes, stat.mtime(), stat.mtime_nsec(), stat.mode() & 0o7777));
            }
        }
    }
    found
}

async fn run(backup: &Backup) -> RunReport {
    let report = soon(backup.run()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    report
}

async fn restore(backup: &Backup, options: RestoreOptions) -> RestoreReport {
    soon(backup.restore(options).finish()).await.unwrap()
}

/// All came back, so many files.
async fn restored(backup: &Backup, options: RestoreOptions) -> u64 {
    let report = restore(backup, options).await;
    assert_eq!((report.failed_total, report.kept, &*report.unmatched), (0, 0, &[][..]), "{report:#?}");
    report.restored.files
}

/// The backup as another machine sees it, which has the bucket and nothing else.
fn elsewhere(bench: &Bench) -> (TempDir, Backup) {
    let state = tempfile::tempdir().unwrap();
    let job = bench.forgetful_job().source(Source::new(bench.data())).state_dir(state.path());
    (state, job.build().unwrap())
}

fn names(tree: &Tree) -> Vec<&str> {
    tree.keys().map(|path| path.to_str().unwrap()).collect()
}

const NAMES: [&[u8]; 9] = [
    b"plain.json",
    b"v1/2026-11-20/trip 1.bin",
    b"new\nline",
    b"not-utf8-\xff\xfe",
    b"100%41/%",
    "\u{d55c}\u{ae00}/\u{1112}\u{1161}\u{11ab}".as_bytes(),
    b"a b+c&?#",
    b"-",
    b".hidden/...",
];

/// Files of all kinds.
fn fill(bench: &Bench) {
    for (number, name) in NAMES.into_iter().enumerate() {
        let path = bench.data().join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, [name, &[u8::try_from(number).unwrap()]].concat()).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH
            + std::time::Duration::new(1_700_000_000 + number as u64, 123_456_789);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let modes = [0o644, 0o600, 0o755, 0o444];
        std::fs::set_permissions(&path, PermissionsExt::from_mode(modes[number % modes.len()])).unwrap();
    }
    bench.file("empty", "");
    bench.file("v1/large.bin", (0..=250_u8).cycle().take(11 << 20).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_whole_tree_comes_back_as_it_was_here_and_on_a_machine_that_knows_nothing() {
    let bench = Bench::new().await;
    fill(&bench);
    let small_parts = TransferSettings { part_size_bytes: 5 << 20, ..TransferSettings::default() };
    let backup = bench.builder().transfer(small_parts).build().unwrap();
    run(&backup).await;
    let before = tree(&bench.data());
    let (state, other) = elsewhere(&bench);

    let (here, there) = (bench.dir("here"), bench.dir("out").join("there"));
    assert_eq!(restored(&backup, RestoreOptions::to(&here)).await, before.len() as u64);
    assert!(tree(&here) == before, "{:?}", tree(&here).keys());
    assert_eq!(restored(&other, RestoreOptions::to(&there)).await, before.len() as u64);
    assert!(tree(&there) == before);
    assert_eq!(tree(state.path()).len(), 0, "it takes no catalog and makes none");

    // Once more there is nothing to do, and what is missing comes back.
    let requests = bench.server.stats().of(Operation::GetObject);
    let again = restore(&backup, RestoreOptions::to(&here)).await;
    assert_eq!((again.restored.files, again.there.files), (0, before.len() as u64));
    std::fs::remove_file(here.join("empty")).unwrap();
    let again = restore(&backup, RestoreOptions::to(&here)).await;
    assert_eq!((again.restored.files, again.there.files), (1, before.len() as u64 - 1));
    // `latest.json` each time, and the one file.
    assert_eq!(bench.server.stats().of(Operation::GetObject) - requests, 3);
    assert!(tree(&here) == before);
}

#[tokio::test]
async fn a_damaged_catalog_keeps_nobody_from_restoring() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench.backup();
    run(&backup).await;
    std::fs::write(bench.dir("state/telemetry").join("catalog.db"), vec![7; 9000]).unwrap();
    let to = bench.dir("out");
    assert_eq!(restored(&backup, RestoreOptions::to(&to)).await, 1);
    assert!(tree(&to) == tree(&bench.data()));
}

#[tokio::test]
async fn files_directories_and_globs_are_chosen_and_what_is_not_there_is_said() {
    let bench = Bench::new().await;
    for name in ["a.json", "v1/a.json", "v1/x/b.json", "v1/x/c.bin", "v10/a.json"] {
        bench.file(name, name);
    }
    let backup = bench.backup();
    run(&backup).await;
    let local = bench.data().join("v10").display().to_string();
    for (place, (paths, expected)) in [
        (vec!["a.json"], vec!["a.json"]),
        (vec!["v1"], vec!["v1/a.json", "v1/x/b.json", "v1/x/c.bin"]),
        (vec!["v1/**/*.json", "a.json"], vec!["a.json", "v1/a.json", "v1/x/b.json"]),
        (vec![local.as_str()], vec!["v10/a.json"]),
    ]
    .into_iter()
    .enumerate()
    {
        let to = bench.dir(&format!("out-{place}"));
        restored(&backup, RestoreOptions::to(&to).paths(paths)).await;
        assert_eq!(names(&tree(&to)), expected);
    }
    let to = bench.dir("out");
    let report = restore(&backup, RestoreOptions::to(&to).paths(["v2", "a.json", "*.bin"])).await;
    assert_eq!(report.unmatched, ["v2", "*.bin"]);
    assert_eq!(names(&tree(&to)), ["a.json"], "what is there is restored all the same");
}

#[tokio::test]
async fn what_is_there_is_kept_unless_it_is_told() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c", "d/e"] {
        bench.file(name, name);
    }
    let backup = bench.backup();
    run(&backup).await;
    let before = tree(&bench.data());
    let to = bench.dir("out");
    std::fs::write(to.join("a"), "a later a").unwrap();
    std::fs::write(to.join("outside"), "not of the backup").unwrap();
    symlink("outside", to.join("b")).unwrap();
    std::fs::create_dir(to.join("c")).unwrap();
    std::fs::write(to.join("d"), "a file where a directory should be").unwrap();

    let dry = restore(&backup, RestoreOptions::to(bench.dir("x").join("y")).dry_run(true)).await;
    assert_eq!(dry.restored.files, 4);
    assert!(!bench.dir("x").join("y").exists(), "a dry run makes nothing");

    let planted = tree(&to);
    let report = restore(&backup, RestoreOptions::to(&to)).await;
    assert_eq!((report.restored.files, report.kept, report.failed_total), (0, 3, 1), "{report:#?}");
    assert_eq!((report.failed[0].path.as_str(), report.failed[0].kind), ("d/e", FailureKind::Unwritable));
    assert!(tree(&to) == planted);

    // Files and links are replaced, a directory is not.
    let report = restore(&backup, RestoreOptions::to(&to).overwrite(true)).await;
    assert_eq!((report.restored.files, report.kept, report.failed_total), (2, 0, 2), "{report:#?}");
    let after = tree(&to);
    for name in ["a", "b"] {
        assert!(after[Path::new(name)] == before[Path::new(name)], "{name}");
    }
    assert_eq!(after[Path::new("outside")].0, b"not of the backup", "a link is replaced, not followed");
    assert_eq!(names(&after), ["a", "b", "d", "outside"], "no temporary file is left");
}

#[tokio::test]
async fn an_earlier_state_comes_back_or_it_is_said_that_it_is_gone() {
    let bench = Bench::new().await;
    bench.file("changed", "first");
    bench.file("same", "same");
    let deleted = bench.file("deleted", "deleted");
    let backup = bench.backup();
    let first = run(&backup).await;
    bench.file("changed", "second");
    bench.file("made", "made");
    std::fs::remove_file(deleted).unwrap();
    run(&backup).await;

    let to = bench.dir("out");
    let states = [At::Run(first.run_id.clone()), At::Time(first.finished_at.to_utc())];
    for at in states {
        let report = restore(&backup, RestoreOptions::to(&to).at(at)).await;
        assert_eq!(report.failed_total, 1, "{report:#?}");
        assert_eq!(
            (report.failed[0].path.as_str(), report.failed[0].kind),
            ("changed", FailureKind::VersionGone)
        );
        assert_eq!(names(&tree(&to)), ["deleted", "same"], "today's bytes never pass for those of then");
    }
    let to = bench.dir("now");
    restored(&backup, RestoreOptions::to(&to)).await;
    assert_eq!(names(&tree(&to)), ["changed", "made", "same"], "what was deleted is not of the state of now");
}

#[tokio::test]
async fn a_bucket_with_versions_gives_what_was_overwritten_and_what_was_deleted() {
    let moto = tokio::task::spawn_blocking(Moto::start).await.unwrap();
    let (client, destination) = versioned_bucket(&moto).await;
    let bench = Bench::new().await;
    let backup = bench.job().destination(destination).source(Source::new(bench.data())).build().unwrap();
    bench.file("changed", "first");
    bench.file("deleted", "by somebody");
    let first = run(&backup).await;
    let before = tree(&bench.data());
    bench.file("changed", "second");
    run(&backup).await;
    client.delete_object().bucket(BUCKET).key("trips/deleted").send().await.unwrap();

    let to = bench.dir("out");
    assert_eq!(restored(&backup, RestoreOptions::to(&to).at(At::Run(first.run_id))).await, 2);
    assert!(tree(&to) == before);
    drop(client);
    tokio::task::spawn_blocking(move || drop(moto)).await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_backup_never_get_the_name() {
    let bench = Bench::new().await;
    for name in ["ok", "rotten", "replaced", "deleted"] {
        bench.file(name, format!("the bytes of {name}"));
    }
    let backup = bench.backup();
    run(&backup).await;
    bench.server.corrupt(BUCKET, "trips/rotten", 5).unwrap();
    let client = bench.client();
    let body = ByteStream::from_static(b"somebody's bytes");
    client.put_object().bucket(BUCKET).key("trips/replaced").body(body).send().await.unwrap();
    client.delete_object().bucket(BUCKET).key("trips/deleted").send().await.unwrap();

    let to = bench.dir("out");
    let report = restore(&backup, RestoreOptions::to(&to)).await;
    let named: BTreeMap<_, _> =
        report.failed.iter().map(|failure| (failure.path.as_str(), failure.kind)).collect();
    let expected = [
        ("rotten", FailureKind::Checksum),
        ("replaced", FailureKind::VersionGone),
        ("deleted", FailureKind::VersionGone),
    ];
    assert_eq!(named, BTreeMap::from(expected), "{report:#?}");
    assert_eq!(names(&tree(&to)), ["ok"], "and no temporary file is left");

    // A reply that breaks on its way is asked for again.
    let fault = Fault::new(FaultKind::CorruptReply).on(Operation::GetObject).key_contains("ok").first(1);
    bench.server.faults().add(fault);
    let to = bench.dir("again");
    restored(&backup, RestoreOptions::to(&to).paths(["ok"])).await;
    assert_eq!(tree(&to)[Path::new("ok")].0, b"the bytes of ok");
}

/// Makes the manifest of a run say other keys than it did, as somebody could who may write to the bucket.
async fn tamper(bench: &Bench, report: &RunReport, keys: &[(&str, &str)]) {
    let key = report.manifests[0].key.as_str();
    let stored = bench.get(key).await;
    let (_, lines) = read_segment(&stored);
    assert_eq!(lines.len(), keys.len());
    let mut text = String::from_utf8(zstd::decode_all(&*stored).unwrap()).unwrap();
    for (from, to) in keys {
        let (from, to) = (format!("\"key\":\"trips/{from}\""), format!("\"key\":\"{to}\""));
        assert!(text.contains(&from), "{text}");
        text = text.replace(&from, &to);
    }
    let client = bench.client();
    let body = ByteStream::from(zstd::encode_all(text.as_bytes(), 3).unwrap());
    client.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    // Without its report the run is one that was killed, whose manifest is taken as it is.
    let report = format!("{CONTROL}runs/{}.json", report.run_id);
    client.delete_object().bucket(BUCKET).key(report).send().await.unwrap();
}

#[tokio::test]
async fn keys_that_lead_elsewhere_are_refused_and_named() {
    let bench = Bench::new().await;
    let hostile = [
        ("a", "trips/../escaped"),
        ("b", "trips/%2E%2E/escaped"),
        ("c", "trips//escaped"),
        ("d", "trips/sub%2F..%2F..%2Fescaped"),
        ("e", "elsewhere/escaped"),
        ("f", "trips/nul%00"),
        ("g", "trips/."),
        ("h", "trips/.s3backup/telemetry/gw-1/latest.json"),
        ("i", "trips/good"),
    ];
    for (name, _) in hostile {
        bench.file(name, name);
    }
    let report = run(&bench.backup()).await;
    tamper(&bench, &report, &hostile).await;
    let client = bench.client();
    for (name, key) in hostile {
        // The object is there, so that nothing but the name stands in the way.
        let source = format!("{BUCKET}/trips/{name}");
        if !key.contains("latest.json") {
            client.copy_object().bucket(BUCKET).key(key).copy_source(source).send().await.unwrap();
        }
    }
    let (_state, other) = elsewhere(&bench);
    let to = bench.dir("out").join("deep");
    let report = restore(&other, RestoreOptions::to(&to)).await;
    // Two of the keys are those of one file.
    assert_eq!((report.restored.files, report.failed_total), (1, 7), "{report:#?}");
    assert!(report.failed.iter().all(|failure| failure.message.contains("tampered")), "{report:#?}");
    assert_eq!(names(&tree(&bench.dir("out"))), ["deep/good"]);
    let listed = std::fs::read_dir(bench.dir(".")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!listed.map(|name| name.into_string().unwrap()).any(|name| name.contains("escaped")));
}

#[tokio::test]
async fn links_that_were_planted_in_the_directory_lead_nowhere() {
    let bench = Bench::new().await;
    for name in ["sub/a", "sub/deep/b", "c", "d"] {
        bench.file(name, name);
    }
    let backup = bench.backup();
    run(&backup).await;
    for overwrite in [false, true] {
        let (to, outside) =
            (bench.dir(&format!("out-{overwrite}")), bench.dir(&format!("victim-{overwrite}")));
        std::fs::write(outside.join("c"), "precious").unwrap();
        symlink(&outside, to.join("sub")).unwrap();
        symlink(outside.join("c"), to.join("c")).unwrap();
        symlink(outside.join("new"), to.join("d")).unwrap();
        let report = restore(&backup, RestoreOptions::to(&to).overwrite(overwrite)).await;
        let named: Vec<_> =
            report.failed.iter().map(|failure| (failure.path.as_str(), failure.kind)).collect();
        assert!(named.contains(&("sub/a", FailureKind::Unwritable)), "{named:?}");
        assert!(named.contains(&("sub/deep/b", FailureKind::Unwritable)), "{named:?}");
        assert_eq!(named.len(), 2);
        assert_eq!((report.restored.files, report.kept), if overwrite { (2, 0) } else { (0, 2) });
        assert_eq!(names(&tree(&outside)), ["c"]);
        assert_eq!(std::fs::read(outside.join("c")).unwrap(), b"precious");
    }
    // The directory itself may be a link: whoever asked for it chose it.
    let to = bench.dir("chosen");
    symlink(&to, bench.dir(".").join("link")).unwrap();
    restored(&backup, RestoreOptions::to(bench.dir(".").join("link"))).await;
    assert_eq!(names(&tree(&to)), ["c", "d", "sub/a", "sub/deep/b"]);
}

#[tokio::test]
async fn programs_come_back_without_the_right_to_be_somebody_else() {
    let bench = Bench::new().await;
    let path = bench.file("su", "program");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o6755)).unwrap();
    let backup = bench.backup();
    run(&backup).await;
    let to = bench.dir("out");
    restored(&backup, RestoreOptions::to(&to)).await;
    assert_eq!(tree(&to)[Path::new("su")].3, 0o755);
}

#[tokio::test]
async fn a_restore_that_is_cut_short_leaves_whole_files_only_and_the_next_goes_on() {
    let bench = Bench::new().await;
    for number in 0..40 {
        bench.file(&format!("{number:02}"), vec![number; 1000]);
    }
    let backup = bench.backup();
    run(&backup).await;
    let before = tree(&bench.data());
    for is_dropped in [true, false] {
        let to = bench.dir(&format!("out-{is_dropped}"));
        let hang = Fault::new(FaultKind::HangInReply).on(Operation::GetObject).key_contains("trips/3");
        bench.server.faults().set([hang]);
        let mut restore = backup.restore(RestoreOptions::to(&to));
        let mut whole = 0;
        while whole < 30 {
            if let RestoreEvent::Restored { .. } = soon(restore.next()).await.unwrap() {
                whole += 1;
            }
        }
        if is_dropped {
            drop(restore);
        } else {
            restore.cancel_token().cancel();
            let report = soon(restore.finish()).await.unwrap();
            assert!(report.interrupted && report.restored.files == 30, "{report:#?}");
        }
        // Whoever drops it does not wait for its end.
        until(|| tree(&to).len() == 30).await;
        assert!(tree(&to).iter().all(|(path, file)| before.get(path) == Some(file)));

        bench.server.faults().clear();
        assert_eq!(restored(&backup, RestoreOptions::to(&to)).await, 10);
        assert!(tree(&to) == before);
    }
}

#[tokio::test]
async fn what_is_archived_says_that_it_must_be_thawed() {
    let bench = Bench::new().await;
    bench.file("cold", "cold");
    bench.file("warm", "warm");
    let backup = bench.backup();
    run(&backup).await;
    let code = FaultKind::Error { status: 403, code: "InvalidObjectState".to_owned() };
    bench.server.faults().add(Fault::new(code).on(Operation::GetObject).key_contains("trips/cold"));
    let to = bench.dir("out");
    let report = restore(&backup, RestoreOptions::to(&to)).await;
    assert_eq!((report.restored.files, report.failed_total), (1, 1));
    assert_eq!((report.failed[0].path.as_str(), report.failed[0].kind), ("cold", FailureKind::NeedsThaw));
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_and_a_bucket_that_has_nothing_are_said() {
    let bench = Bench::new().await;
    let backup = bench.backup();
    let result = soon(backup.restore(RestoreOptions::to(bench.dir("out"))).finish()).await;
    assert!(matches!(result, Err(Error::NoState { .. })), "{result:?}");
    bench.file("a", "a");
    run(&backup).await;
    let file = bench.dir("x").join("file");
    std::fs::write(&file, "").unwrap();
    for to in [file.clone(), file.join("below")] {
        let result = soon(backup.restore(RestoreOptions::to(&to)).finish()).await;
        assert!(matches!(&result, Err(Error::Target { path, .. }) if *path == to), "{result:?}");
    }
    let result = soon(backup.restore(RestoreOptions::to("")).finish()).await;
    assert!(matches!(result, Err(Error::Invalid { .. })), "{result:?}");
}

#[tokio::test]
async fn the_list_is_that_of_the_state_that_was_asked_for() {
    let bench = Bench::new().await;
    bench.file("a", "1");
    bench.file("sub/b", "22");
    let backup = bench.backup();
    let first = run(&backup).await;
    bench.file("a", "333");
    std::fs::remove_file(bench.data().join("sub/b")).unwrap();
    bench.file("c", "");
    run(&backup).await;
    let (_state, other) = elsewhere(&bench);
    for backup in [&backup, &other] {
        assert_eq!(listed(backup, &At::Now, &[]).await, [("a".to_owned(), 3), ("c".to_owned(), 0)]);
        let then = At::Run(first.run_id.clone());
        assert_eq!(listed(backup, &then, &[]).await, [("a".to_owned(), 1), ("sub/b".to_owned(), 2)]);
        assert_eq!(listed(backup, &then, &["sub"]).await, [("sub/b".to_owned(), 2)]);
    }
    let impatient_of_another =
        bench.job().host("gw-2").retry(impatient()).source(Source::new(bench.data())).build().unwrap();
    let nothing = impatient_of_another.files(&At::Now, &[]).await;
    assert!(matches!(nothing, Err(Error::NoState { .. })), "{nothing:?}");
}

async fn listed(backup: &Backup, at: &At, paths: &[&str]) -> Vec<(String, u64)> {
    let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
    let mut files = backup.files(at, &paths).await.unwrap();
    let mut all = Vec::new();
    while let Some(page) = files.next().await.unwrap() {
        all.extend(page.into_iter().map(|file| (file.name, file.size)));
    }
    assert_eq!(files.unmatched(), Vec::<String>::new());
    all
}
