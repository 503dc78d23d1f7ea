//! What a run leaves behind: objects, manifest, report.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use s3backup_core::manifest::Op;
use s3backup_core::options::TransferSettings;
use s3backup_core::{FailureKind, Outcome, RunReport, Select, Source};

use crate::bench::{Bench, CONTROL, read_segment, soon, write};

const DAY_NS: i64 = 86_400_000_000_000;

/// A path of more bytes than a key may have, though each name in it is short enough.
fn long_path() -> String {
    vec!["d".repeat(200); 6].join("/")
}

/// Every selected file is in one of three boxes, or could not be looked at at all.
fn assert_adds_up(report: &RunReport, not_looked_at: u64) {
    let boxes = report.uploaded.files + report.unchanged.files + report.failed_total;
    assert_eq!(report.found.files + not_looked_at, boxes, "{report:#?}");
    assert_eq!(report.failed.len() as u64, report.failed_total);
    assert_eq!(report.sources.iter().map(|source| source.found.files).sum::<u64>(), report.found.files);
}

#[tokio::test]
async fn a_hostile_tree_is_backed_up_and_accounted_for() {
    let bench = Bench::new().await;
    let data = bench.data();
    bench.file("v1/a.json", "{}");
    bench.file("empty", "");
    bench.file("space and 日本 %41 +&=?#.txt", "odd");
    write(&data.join(OsStr::from_bytes(b"not-utf8-\xff")), "bytes");
    bench.file("line\nbreak", "x");
    bench.file("large.bin", vec![7; 6 << 20]);
    bench.file("v1/b.tmp", "left out");
    std::os::unix::fs::symlink("v1", data.join("link")).unwrap();
    bench.file(&long_path(), "no key");
    bench.file(".s3backup/telemetry/gw-1/latest.json", "not ours");
    let settings = TransferSettings { part_size_bytes: 5 << 20, ..TransferSettings::default() };
    let mut destination = bench.destination();
    destination.storage_class = Some("STANDARD_IA".to_owned());
    let backup = bench
        .job()
        .destination(destination)
        .source(Source::new(&data).exclude(["**/*.tmp"]))
        .transfer(settings)
        .build()
        .unwrap();

    let report = soon(backup.run()).await.unwrap();

    assert_eq!(report.outcome, Outcome::Partial);
    assert_eq!((report.found.files, report.uploaded.files, report.failed_total), (8, 6, 2));
    assert_eq!(report.found.bytes, 2 + 3 + 5 + 1 + (6 << 20) + 6 + 8);
    assert_eq!(report.uploaded.bytes, 2 + 3 + 5 + 1 + (6 << 20));
    assert_eq!(report.uploaded.wire_bytes, report.uploaded.bytes);
    assert_adds_up(&report, 0);
    let skipped = report.skipped.by_reason;
    assert_eq!((report.skipped.files, skipped.excluded, skipped.symlink), (2, 1, 1));
    assert_eq!(report.sources[0].seen, 8);
    assert_eq!(report.destination, "s3://fleet-backup/trips");
    let kinds = |kind| report.failed.iter().filter(|failure| failure.kind == kind).count();
    assert_eq!((kinds(FailureKind::KeyTooLong), kinds(FailureKind::ReservedKey)), (1, 1));

    let keys = [
        "trips/empty",
        "trips/large.bin",
        "trips/line%0Abreak",
        "trips/not-utf8-%FF",
        "trips/space and 日本 %2541 +&=?#.txt",
        "trips/v1/a.json",
    ];
    let objects = bench.objects().await;
    assert!(bench.data_keys().await.iter().eq(keys), "{objects:#?}");
    for (key, class) in &objects {
        assert_eq!(class == "STANDARD", key.starts_with(CONTROL), "{key} is {class}");
    }

    assert_eq!(report.manifests.len(), 1);
    let segment = &report.manifests[0];
    assert_eq!(segment.key.as_str(), format!("{CONTROL}manifests/{}/0.jsonl.zst", report.run_id));
    let bytes = bench.get(segment.key.as_str()).await;
    assert_eq!(segment.crc64nvme, s3backup_transfer::crc64nvme_base64(&bytes));
    let (header, mut lines) = read_segment(&bytes);
    assert_eq!((header.schema, header.min_reader, header.segment), (1, 1, 0));
    assert_eq!(header.run_id, report.run_id);
    assert_eq!(segment.lines, 6);
    lines.sort_by(|a, b| a.key.cmp(&b.key));
    assert!(lines.iter().map(|line| line.key.as_str()).eq(keys));
    let line = lines.last().unwrap();
    let file = std::fs::metadata(data.join("v1/a.json")).unwrap();
    assert_eq!((line.op, line.size, line.stored_size), (Op::Put, 2, 2));
    assert_eq!(line.path, data.join("v1/a.json").display().to_string());
    assert_eq!(line.mtime_ns, file.mtime() * 1_000_000_000 + file.mtime_nsec());
    assert_eq!((line.mode, line.encoding.as_str()), (file.mode(), "none"));
    assert_eq!(line.crc64nvme, s3backup_transfer::crc64nvme_base64(b"{}"));
    assert_eq!(line.stored_checksum.as_ref().unwrap().value, line.crc64nvme);

    assert_eq!(bench.stored_report(&report).await, report);
    assert_eq!(bench.open_uploads().await, 0);
}

#[tokio::test]
async fn a_second_run_finds_everything_there_and_sends_what_changed() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    bench.file("b", "b");
    let backup = bench.backup();
    let first = soon(backup.run()).await.unwrap();
    assert_eq!((first.outcome, first.uploaded.files), (Outcome::Success, 2));
    bench.file("b", "changed");
    bench.file("c", "c");
    let second = soon(backup.run()).await.unwrap();
    assert_eq!((second.outcome, second.uploaded.files, second.unchanged.files), (Outcome::Success, 2, 1));
    assert_eq!(second.uploaded.bytes, 8);
    assert_adds_up(&second, 0);
    assert!(first.run_id < second.run_id);
    assert_eq!(bench.get("trips/b").await, b"changed");
    assert_eq!(bench.manifest(&second).await.len(), 2, "a manifest says what changed");
    assert!(second.warnings.iter().any(|warning| warning.contains("versioning")), "{:?}", second.warnings);
}

#[tokio::test]
async fn control_data_lies_before_the_first_placeholder() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let backup = bench
        .job()
        .destination(bench.destination().prefix("fleet/{host}/x"))
        .source(Source::new(bench.data()).prefix("{job}/{date}"))
        .timezone(chrono_tz::Asia::Seoul)
        .build()
        .unwrap();
    let mtime: chrono::DateTime<chrono_tz::Tz> = chrono::DateTime::<chrono::Utc>::from(
        std::fs::metadata(bench.data().join("a")).unwrap().modified().unwrap(),
    )
    .with_timezone(&chrono_tz::Asia::Seoul);
    let report = soon(backup.run()).await.unwrap();
    let control = "fleet/.s3backup/telemetry/gw-1";
    let expected = [
        format!("{control}/latest.json"),
        format!("{control}/manifests/{}/0.jsonl.zst", report.run_id),
        format!("{control}/runs/{}.json", report.run_id),
        format!("fleet/gw-1/x/telemetry/{}/a", mtime.date_naive()),
    ];
    assert!(bench.objects().await.into_keys().eq(expected));
    assert_eq!(report.started_at.offset().local_minus_utc(), 9 * 3600);
    assert_eq!(report.finished_at.offset().local_minus_utc(), 9 * 3600);
}

#[tokio::test]
async fn days_begin_at_midnight_of_the_job() {
    let bench = Bench::new().await;
    // 2026-11-24 00:00 in Seoul is 15:00 of the 23rd in UTC.
    let midnight = chrono::DateTime::parse_from_rfc3339("2026-11-24T00:00:00+09:00").unwrap().to_utc();
    let at = |name: &str, offset_ns: i64| {
        let file = std::fs::File::create(bench.data().join(name)).unwrap();
        file.set_modified((midnight + chrono::TimeDelta::nanoseconds(offset_ns)).into()).unwrap();
    };
    at("before-yesterday", -DAY_NS - 1);
    at("yesterday-first", -DAY_NS);
    at("yesterday-last", -1);
    at("today-first", 0);
    let run = |select: Select, now_ns: i64| {
        let now = midnight + chrono::TimeDelta::nanoseconds(now_ns);
        let source = Source::new(bench.data()).select(select);
        let job = bench.job().source(source).timezone(chrono_tz::Asia::Seoul);
        let backup = job.clock(std::sync::Arc::new(move || now)).build().unwrap();
        async move {
            let mut paths = Vec::new();
            let mut plan = backup.plan().await.unwrap();
            while let Some(batch) = plan.next().await {
                let batch = batch.unwrap();
                for line in batch.lines {
                    if let s3backup_core::Planned::Upload { entry, .. } = line {
                        paths.push(entry.relative.display().to_string());
                    }
                }
            }
            paths.sort();
            paths
        }
    };
    assert_eq!(run(Select::Yesterday, 0).await, ["yesterday-first", "yesterday-last"]);
    assert_eq!(run(Select::Yesterday, DAY_NS - 1).await, ["yesterday-first", "yesterday-last"]);
    assert_eq!(run(Select::Yesterday, -1).await, ["before-yesterday"]);
    assert_eq!(run(Select::Today, 0).await, ["today-first"]);
    assert_eq!(run(Select::Today, -1).await, ["yesterday-first", "yesterday-last"]);
    let day = chrono::NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
    assert_eq!(run(Select::Day(day), 0).await, ["before-yesterday"]);
    assert_eq!(run(Select::All, 0).await.len(), 4);
}

#[tokio::test]
async fn a_file_that_is_too_young_waits_for_the_next_run() {
    let bench = Bench::new().await;
    let now = chrono::DateTime::parse_from_rfc3339("2026-11-24T20:00:00Z").unwrap().to_utc();
    for (name, age_s) in [("old", 120), ("young", 119)] {
        let file = std::fs::File::create(bench.data().join(name)).unwrap();
        file.set_modified((now - chrono::TimeDelta::seconds(age_s)).into()).unwrap();
    }
    let source = Source::new(bench.data()).min_age(std::time::Duration::from_mins(2));
    let backup = bench.job().source(source).clock(std::sync::Arc::new(move || now)).build().unwrap();
    let report = soon(backup.run()).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files), (Outcome::Success, 1));
    assert_eq!((report.sources[0].seen, report.skipped.by_reason.too_young), (2, 1));
    assert!(bench.data_keys().await.iter().eq(["trips/old"]));
    assert_eq!(report.run_id.as_str()[..20], *"20261124T200000.000Z");
}

/// A log that is written to all day would else never be backed up.
#[tokio::test]
async fn a_file_that_is_always_too_young_is_read_after_a_day() {
    let bench = Bench::new().await;
    let start = chrono::DateTime::parse_from_rfc3339("2026-11-24T11:00:00Z").unwrap().to_utc();
    let run_at = |hours: i64| {
        let now = start + chrono::TimeDelta::hours(hours);
        for name in ["a", "busy.log"] {
            let file = std::fs::File::create(bench.data().join(name)).unwrap();
            let age = if name == "a" { 3600 } else { 1 };
            file.set_modified((now - chrono::TimeDelta::seconds(age)).into()).unwrap();
        }
        let source = Source::new(bench.data()).min_age(std::time::Duration::from_mins(2));
        let backup = bench.job().source(source).clock(std::sync::Arc::new(move || now)).build().unwrap();
        async move {
            let report = soon(backup.run()).await.unwrap();
            assert_eq!(report.outcome, Outcome::Success, "{report:?}");
            (report.found.files, report.skipped.by_reason.too_young)
        }
    };
    assert_eq!(run_at(0).await, (1, 1));
    assert_eq!(run_at(23).await, (1, 1));
    assert_eq!(run_at(25).await, (2, 0), "it has waited for a day");
    assert!(bench.data_keys().await.contains("trips/busy.log"));
    assert_eq!(run_at(26).await, (1, 1), "and waits anew");
}
