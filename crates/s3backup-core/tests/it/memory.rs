//! What a run remembers of those before it, and what it need not do therefore.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use s3backup_catalog::{Catalog, FileRow, Hints, JobLock};
use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::manifest::Op;
use s3backup_core::{Backup, Compare, FailureKind, Outcome, Run, RunReport, Source};

use crate::bench::{BUCKET, Bench, failed, soon, until, write};

/// Requests by operation.
pub(crate) type Requests = BTreeMap<&'static str, u64>;

/// What every run asks: `latest.json`, and whether old versions are kept. And what it stores: `latest.json` at the start and at
/// the end, and its report.
pub(crate) fn quiet() -> Requests {
    [("GetObject", 1), ("GetBucketVersioning", 1), ("PutObject", 3)].into()
}

/// A quiet run that stores so many objects more.
pub(crate) fn quiet_but(puts: u64) -> Requests {
    let mut requests = quiet();
    *requests.entry("PutObject").or_default() += puts;
    requests
}

/// A run that succeeds, and what it asked of the server.
pub(crate) async fn counted(bench: &Bench, backup: &Backup) -> (RunReport, Requests) {
    let before = bench.server.stats();
    let report = success(backup).await;
    let after = bench.server.stats();
    let requests =
        after.requests.iter().map(|(operation, count)| (operation.name(), count - before.of(*operation)));
    (report, requests.filter(|(_, count)| *count > 0).collect())
}

pub(crate) async fn success(backup: &Backup) -> RunReport {
    let report = soon(backup.run()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    report
}

/// What the manifest of a run says was done with which keys, without the prefix of all.
pub(crate) async fn ops(bench: &Bench, report: &RunReport) -> Vec<(Op, String)> {
    let lines = bench.manifest(report).await.into_iter();
    let mut ops: Vec<_> =
        lines.map(|line| (line.op, line.key.as_str().strip_prefix("trips/").unwrap().to_owned())).collect();
    ops.sort_by(|one, other| one.1.cmp(&other.1));
    ops
}

pub(crate) fn op(op: Op, key: &str) -> (Op, String) {
    (op, key.to_owned())
}

/// The folder of the usual job's catalog.
pub(crate) fn state_dir(bench: &Bench) -> PathBuf {
    bench.dir("state/telemetry")
}

/// The catalog of the usual job, beside whoever else uses it.
pub(crate) fn catalog(bench: &Bench) -> Catalog {
    Catalog::open(&state_dir(bench).join("catalog.db")).unwrap()
}

/// All that the catalog of the usual job has in its state.
pub(crate) fn rows(bench: &Bench) -> Vec<FileRow> {
    let catalog = catalog(bench);
    let destination = catalog.destination(&bench.server.endpoint(), BUCKET, "trips").unwrap();
    catalog.state_by_key(destination, None, 10_000).unwrap()
}

/// Ends a run as a crash would, and waits until nothing of it is left.
pub(crate) async fn kill<T>(bench: &Bench, run: Run<T>) {
    drop(run);
    until(|| JobLock::acquire(&state_dir(bench), "test").is_ok()).await;
}

pub(crate) fn set_mtime(path: &Path, mtime: SystemTime) {
    std::fs::File::options().write(true).open(path).unwrap().set_modified(mtime).unwrap();
}

fn mtime(path: &Path) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

/// Other bytes of the same length under the same modification time: only the change time tells.
pub(crate) async fn rewrite_in_secret(path: &Path, bytes: &str) {
    let before = std::fs::metadata(path).unwrap();
    assert_eq!(before.len(), bytes.len() as u64);
    // File systems stamp with a clock that ticks a few hundred times a second.
    until(|| {
        std::fs::write(path, bytes).unwrap();
        set_mtime(path, before.modified().unwrap());
        let after = std::fs::metadata(path).unwrap();
        (after.ctime(), after.ctime_nsec()) != (before.ctime(), before.ctime_nsec())
    })
    .await;
}

async fn put(bench: &Bench, key: &str, bytes: &'static str) {
    let body = ByteStream::from_static(bytes.as_bytes());
    bench.client().put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
}

#[tokio::test]
async fn a_second_run_asks_for_next_to_nothing() {
    let bench = Bench::new().await;
    for number in 0..300 {
        bench.file(&format!("v{}/{number}.json", number % 7), number.to_string());
    }
    let backup = bench.backup();
    let (first, requests) = counted(&bench, &backup).await;
    assert_eq!(first.uploaded.files, 300);
    assert!(!requests.contains_key("HeadObject"), "new files are put at once: {requests:?}");
    let (second, requests) = counted(&bench, &backup).await;
    assert_eq!(requests, quiet());
    assert_eq!((second.found.files, second.unchanged.files, second.uploaded.files), (300, 300, 0));
    assert_eq!(second.uploaded.wire_bytes, 0);
    assert!(second.manifests.is_empty(), "nothing changed");
}

#[tokio::test]
async fn a_changed_file_replaces_its_object_without_a_look() {
    let bench = Bench::new().await;
    let file = bench.file("a", "a");
    bench.file("b", "b");
    let backup = bench.backup();
    success(&backup).await;
    std::fs::write(&file, "longer").unwrap();
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!(requests, quiet_but(2), "the file and the manifest");
    assert_eq!((report.uploaded.files, report.unchanged.files), (1, 1));
    assert_eq!(ops(&bench, &report).await, [op(Op::Put, "a")]);
    assert_eq!(bench.get("trips/a").await, b"longer");
    assert_eq!(counted(&bench, &backup).await.1, quiet());
}

#[tokio::test]
async fn the_same_bytes_under_another_time_mode_or_inode_are_recorded_and_not_sent() {
    let touch: fn(&Path) = |file| set_mtime(file, mtime(file) + Duration::from_hours(1));
    let chmod: fn(&Path) = |file| {
        let mode = std::fs::metadata(file).unwrap().permissions().mode() ^ 0o011;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let copy: fn(&Path) = |file| {
        let (other, time) = (file.with_extension("new"), mtime(file));
        std::fs::copy(file, &other).unwrap();
        set_mtime(&other, time);
        std::fs::rename(&other, file).unwrap();
    };
    for (what, change) in [("touch", touch), ("chmod", chmod), ("copy", copy)] {
        let bench = Bench::new().await;
        let file = bench.file("a", "a");
        bench.file("b", "b");
        let backup = bench.backup();
        success(&backup).await;
        change(&file);
        let (report, requests) = counted(&bench, &backup).await;
        assert_eq!(requests, quiet_but(1), "{what}: the manifest");
        assert_eq!((report.uploaded.files, report.unchanged.files), (0, 2), "{what}");
        assert_eq!(ops(&bench, &report).await, [op(Op::Meta, "a")], "{what}");
        let (line, now) = (&bench.manifest(&report).await[0], std::fs::metadata(&file).unwrap());
        assert_eq!(line.mtime_ns, now.mtime() * 1_000_000_000 + now.mtime_nsec(), "{what}");
        assert_eq!(line.mode, now.mode(), "{what}");
        assert_eq!(counted(&bench, &backup).await.1, quiet(), "{what}: it is known now");
    }
}

#[tokio::test]
async fn a_modification_time_that_was_set_back_hides_nothing() {
    let bench = Bench::new().await;
    let file = bench.file("a", "before");
    let backup = bench.backup();
    success(&backup).await;
    rewrite_in_secret(&file, "behind").await;
    let report = success(&backup).await;
    assert_eq!(report.uploaded.files, 1);
    assert_eq!(bench.get("trips/a").await, b"behind");
}

#[tokio::test]
async fn only_who_reads_every_file_sees_through_all_times() {
    let bench = Bench::new().await;
    let file = bench.file("a", "before");
    success(&bench.backup()).await;
    rewrite_in_secret(&file, "behind").await;
    // No program can set the change time. A file system that lies about it is one of which the catalog has it already.
    let now = std::fs::metadata(&file).unwrap();
    let ctime_ns = now.ctime() * 1_000_000_000 + now.ctime_nsec();
    let row = rows(&bench).remove(0);
    let lied = FileRow { hints: Some(Hints { ctime_ns, inode: now.ino() }), ..row };
    catalog(&bench).import_files(&[lied]).unwrap();
    assert_eq!(counted(&bench, &bench.backup()).await.1, quiet(), "all that is looked at is the same");
    assert_eq!(bench.get("trips/a").await, b"before");

    let source = Source::new(bench.data()).compare(Compare::Checksum);
    let careful = bench.job().source(source).build().unwrap();
    assert_eq!(success(&careful).await.uploaded.files, 1);
    assert_eq!(bench.get("trips/a").await, b"behind");
    let (report, requests) = counted(&bench, &careful).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (0, 1));
    assert!(
        requests["PutObject"] <= 4 && !requests.contains_key("HeadObject"),
        "it is read, not asked for: {requests:?}"
    );
}

#[tokio::test]
async fn a_deleted_file_is_told_once_and_stays_in_the_bucket() {
    let bench = Bench::new().await;
    let file = bench.file("v1/a", "a");
    bench.file("v1/b", "b");
    let backup = bench.backup();
    success(&backup).await;
    std::fs::remove_file(&file).unwrap();
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!(requests, quiet_but(1));
    assert_eq!((report.gone.files, report.gone.bytes, report.found.files), (1, 1, 1));
    assert_eq!(ops(&bench, &report).await, [op(Op::Gone, "v1/a")]);
    assert_eq!(bench.get("trips/v1/a").await, b"a", "it is a backup");
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((requests, report.gone.files), (quiet(), 0), "once");

    bench.file("v1/a", "a");
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (0, 2), "the bucket has it still");
    assert_eq!(ops(&bench, &report).await, [op(Op::Put, "v1/a")]);
    assert_eq!(counted(&bench, &backup).await.1, quiet());
}

#[tokio::test]
async fn a_file_that_comes_back_when_its_object_has_gone_too_is_sent() {
    let bench = Bench::new().await;
    let file = bench.file("a", "a");
    bench.file("b", "b");
    let backup = bench.backup();
    success(&backup).await;
    std::fs::remove_file(&file).unwrap();
    success(&backup).await;
    bench.client().delete_object().bucket(BUCKET).key("trips/a").send().await.unwrap();
    bench.file("a", "a");
    assert_eq!(success(&backup).await.uploaded.files, 1);
    assert_eq!(bench.get("trips/a").await, b"a");
}

#[tokio::test]
async fn a_folder_that_is_gone_takes_its_files_with_it_and_no_neighbours() {
    let bench = Bench::new().await;
    for name in ["v1/a", "v1/deep/b", "v1-old/a", "v1.json", "v10/a", "v2"] {
        bench.file(name, name);
    }
    let backup = bench.backup();
    success(&backup).await;
    std::fs::remove_dir_all(bench.data().join("v1")).unwrap();
    // In its place is now a file.
    bench.file("v1", "v1");
    let report = success(&backup).await;
    let expected = [op(Op::Put, "v1"), op(Op::Gone, "v1/a"), op(Op::Gone, "v1/deep/b")];
    assert_eq!(ops(&bench, &report).await, expected);
    assert_eq!((report.gone.files, report.unchanged.files), (2, 4));
}

#[tokio::test]
async fn what_is_excluded_later_is_not_gone() {
    let bench = Bench::new().await;
    for name in ["keep", "log/a.log", "tmp/a", "tmp/deep/b"] {
        bench.file(name, "x");
    }
    success(&bench.backup()).await;
    let source = Source::new(bench.data()).exclude(["**/*.log", "tmp/**"]);
    let (report, requests) = counted(&bench, &bench.job().source(source).build().unwrap()).await;
    assert_eq!((report.gone.files, requests), (0, quiet()));
    let (report, requests) = counted(&bench, &bench.backup()).await;
    assert_eq!((report.unchanged.files, requests), (4, quiet()), "and nothing of it was forgotten");
}

#[tokio::test]
async fn a_missing_source_makes_nothing_gone_and_the_other_goes_on() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let other = bench.dir("other");
    let file = write(&other.join("x"), "x");
    write(&other.join("y"), "y");
    let job =
        || bench.builder().source(Source::new(bench.dir("").join("other")).prefix("other")).build().unwrap();
    success(&job()).await;
    std::fs::rename(bench.data(), bench.dir("").join("unmounted")).unwrap();
    std::fs::remove_file(&file).unwrap();
    write(&other.join("z"), "z");
    let report = failed(
        soon(
            bench
                .job()
                .source(Source::new(bench.dir("").join("data")))
                .source(Source::new(&other).prefix("other"))
                .build()
                .unwrap()
                .run(),
        )
        .await,
    );
    assert_eq!(report.fatal.as_ref().unwrap().kind, FailureKind::SourceMissing);
    assert_eq!(ops(&bench, &report).await, [op(Op::Gone, "other/x"), op(Op::Put, "other/z")]);
    std::fs::rename(bench.dir("").join("unmounted"), bench.dir("").join("data")).unwrap();
    let (report, requests) = counted(&bench, &job()).await;
    assert_eq!(
        (report.unchanged.files, requests),
        (3, quiet()),
        "the disk is back and nothing was forgotten"
    );
}

#[tokio::test]
async fn an_emptied_source_forgets_its_files_only_when_told_to() {
    let bench = Bench::new().await;
    for name in ["a", "b/c"] {
        bench.file(name, "x");
    }
    success(&bench.backup()).await;
    std::fs::remove_file(bench.data().join("a")).unwrap();
    std::fs::remove_dir_all(bench.data().join("b")).unwrap();
    for _ in 0..2 {
        let report = failed(soon(bench.backup().run()).await);
        assert_eq!(report.fatal.as_ref().unwrap().kind, FailureKind::SourceEmpty);
        assert_eq!((report.gone.files, report.manifests.len()), (0, 0));
    }
    let report = success(&bench.builder().force(true).build().unwrap()).await;
    assert_eq!(ops(&bench, &report).await, [op(Op::Gone, "a"), op(Op::Gone, "b/c")]);
    assert!(bench.data_keys().await.iter().eq(["trips/a", "trips/b/c"]), "the bucket keeps them");
    let report = success(&bench.backup()).await;
    assert!(report.warnings.iter().any(|warning| warning.ends_with("has no files")), "{:?}", report.warnings);
}

#[tokio::test]
async fn two_sources_are_remembered_each_for_itself() {
    let bench = Bench::new().await;
    let other = bench.dir("other");
    bench.file("same", "one");
    let file = write(&other.join("same"), "two");
    let job = || bench.builder().source(Source::new(&other).prefix("other")).build().unwrap();
    success(&job()).await;
    assert_eq!(counted(&bench, &job()).await.1, quiet());
    std::fs::write(&file, "changed").unwrap();
    let report = success(&job()).await;
    assert_eq!(ops(&bench, &report).await, [op(Op::Put, "other/same")]);
    // In another order they are still the same.
    let swapped = bench.job().source(Source::new(&other).prefix("other")).source(Source::new(bench.data()));
    assert_eq!(counted(&bench, &swapped.build().unwrap()).await.1, quiet());
    // One that is left out for a while is not forgotten.
    assert_eq!(counted(&bench, &bench.backup()).await.1, quiet());
    assert_eq!(counted(&bench, &job()).await.1, quiet());
}

#[tokio::test]
async fn a_source_that_was_moved_is_not_sent_again() {
    let bench = Bench::new().await;
    for name in ["a", "v1/b"] {
        bench.file(name, name);
    }
    success(&bench.backup()).await;
    let moved = bench.data().with_file_name("moved");
    std::fs::rename(bench.data(), &moved).unwrap();
    let job = || bench.job().source(Source::new(&moved)).build().unwrap();
    let (report, requests) = counted(&bench, &job()).await;
    assert_eq!((report.unchanged.files, requests), (2, quiet()));

    // Copied to a new disk, with its times.
    let copy = bench.dir("copy");
    for name in ["a", "v1/b"] {
        let file = write(&copy.join(name), name);
        set_mtime(&file, mtime(&moved.join(name)));
    }
    let copied = bench.job().source(Source::new(&copy)).build().unwrap();
    let (report, requests) = counted(&bench, &copied).await;
    assert_eq!((report.unchanged.files, report.gone.files, requests), (2, 0, quiet_but(1)));
    assert_eq!(ops(&bench, &report).await, [op(Op::Meta, "a"), op(Op::Meta, "v1/b")]);
    let lines = bench.manifest(&report).await;
    assert!(lines.iter().all(|line| Path::new(&line.path).starts_with(&copy)), "{lines:#?}");
    assert_eq!(counted(&bench, &copied).await.1, quiet());
}

#[tokio::test]
async fn a_file_of_another_day_gets_another_key_and_leaves_the_old_one_behind() {
    let bench = Bench::new().await;
    let day = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * (20_000 + day));
    let files = ["a", "b"].map(|name| bench.file(name, name));
    for file in &files {
        set_mtime(file, day(1));
    }
    let source = || Source::new(bench.data()).prefix("{date}");
    let backup = bench.job().source(source()).build().unwrap();
    success(&backup).await;
    assert!(bench.data_keys().await.iter().eq(["trips/2024-10-05/a", "trips/2024-10-05/b"]));
    set_mtime(&files[0], day(2));
    let report = success(&backup).await;
    let expected = [op(Op::Gone, "2024-10-05/a"), op(Op::Put, "2024-10-06/a")];
    assert_eq!(ops(&bench, &report).await, expected);
    assert_eq!(bench.data_keys().await.len(), 3, "what was backed up stays");
    assert_eq!(counted(&bench, &backup).await.1, quiet());
    // And back again: that object is still there.
    set_mtime(&files[0], day(1));
    let report = success(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (0, 2));
    let expected = [op(Op::Put, "2024-10-05/a"), op(Op::Gone, "2024-10-06/a")];
    assert_eq!(ops(&bench, &report).await, expected);
    assert_eq!(counted(&bench, &backup).await.1, quiet());
}

#[tokio::test]
async fn what_another_program_wrote_over_ours_is_not_overwritten() {
    let bench = Bench::new().await;
    let file = bench.file("a", "ours");
    bench.file("b", "b");
    let backup = bench.backup();
    success(&backup).await;
    put(&bench, "trips/a", "theirs").await;
    std::fs::write(&file, "ours, changed").unwrap();
    // It stays so until somebody looks.
    for _ in 0..2 {
        let report = soon(backup.run()).await.unwrap();
        assert_eq!((report.outcome, report.failed_total, report.unchanged.files), (Outcome::Partial, 1, 1));
        assert_eq!(report.failed[0].kind, FailureKind::Conflict);
        assert_eq!(report.failed[0].path, file.display().to_string());
        assert_eq!(bench.get("trips/a").await, b"theirs");
    }
    // Whoever removes it has decided.
    bench.client().delete_object().bucket(BUCKET).key("trips/a").send().await.unwrap();
    assert_eq!(success(&backup).await.uploaded.files, 1);
    assert_eq!(bench.get("trips/a").await, b"ours, changed");
}

#[tokio::test]
async fn a_machine_that_keeps_nothing_reads_back_what_there_is() {
    let bench = Bench::new().await;
    let files: Vec<_> =
        (0..20).map(|number| bench.file(&format!("v1/{number:02}"), number.to_string())).collect();
    let backup = bench.forgetful_job().source(Source::new(bench.data())).build().unwrap();
    assert_eq!(success(&backup).await.uploaded.files, 20);
    let (report, requests) = counted(&bench, &backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files, report.manifests.len()), (0, 20, 0));
    assert_eq!(requests["PutObject"], 3, "{requests:?}");
    assert!(!requests.contains_key("HeadObject"), "no file is asked for: {requests:?}");
    let unrelated = |warning: &&String| !warning.contains("versioning");
    assert_eq!(report.warnings.iter().find(unrelated), None);

    std::fs::write(&files[3], "changed").unwrap();
    std::fs::remove_file(&files[4]).unwrap();
    set_mtime(&files[5], mtime(&files[5]) + Duration::from_hours(1));
    let report = success(&backup).await;
    let expected = [op(Op::Put, "v1/03"), op(Op::Gone, "v1/04"), op(Op::Meta, "v1/05")];
    assert_eq!(ops(&bench, &report).await, expected);
    let report = success(&backup).await;
    assert_eq!((report.unchanged.files, report.manifests.len()), (19, 0));
}

#[tokio::test]
async fn a_machine_that_keeps_nothing_does_not_read_ever_more() {
    let bench = Bench::new().await;
    let backup = bench.forgetful_job().source(Source::new(bench.data())).build().unwrap();
    let mut most = 0;
    for number in 0..70 {
        if number % 2 == 0 {
            bench.file(&format!("{number}"), "x");
        }
        let (report, requests) = counted(&bench, &backup).await;
        assert_eq!(report.found.files, number / 2 + 1);
        most = most.max(requests["GetObject"]);
    }
    assert!(most < 70, "a manifest and a report of each of 30 runs, and a little more: {most}");
    let snapshots = bench.objects().await.into_keys().filter(|key| key.ends_with("/index.json")).count();
    assert_eq!(snapshots, 2);
}

#[tokio::test]
async fn many_files_are_compared_as_few_are() {
    let bench = Bench::new().await;
    // More than are read at a time, in folders that end anywhere.
    for number in 0..3500 {
        bench.file(&format!("v{}/{number:04}", number / 700), "x");
    }
    let backup = bench.backup();
    success(&backup).await;
    assert_eq!(counted(&bench, &backup).await.1, quiet());
    std::fs::remove_dir_all(bench.data().join("v1")).unwrap();
    for number in (2800..3500).step_by(2) {
        std::fs::remove_file(bench.data().join(format!("v4/{number:04}"))).unwrap();
    }
    for number in 0..1300 {
        bench.file(&format!("v0-new/{number:04}"), "y");
    }
    let report = success(&backup).await;
    let counts = (report.uploaded.files, report.unchanged.files, report.gone.files);
    assert_eq!(counts, (1300, 3500 - 700 - 350, 700 + 350));
    assert_eq!(counted(&bench, &backup).await.1, quiet());
}
