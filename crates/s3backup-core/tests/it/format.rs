//! What released versions wrote into buckets must stay readable. The files in `fixtures/format-1` were written by this
//! crate at version 0.1.0 and are never changed; a new format gets a folder of its own.

use std::path::PathBuf;

use s3backup_core::manifest::{ChecksumType, Line, Op, StoredChecksum};
use s3backup_core::{FailureKind, Outcome, RunReport, StepState, Trigger};

use crate::bench::read_segment;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_report_of_format_1_is_read() {
    let report: RunReport = serde_json::from_slice(&fixture("report.json")).unwrap();
    assert_eq!((report.schema, report.version.as_str()), (1, "0.1.0"));
    assert_eq!(report.run_id.as_str(), "20261124T110000.000Z-0000002a");
    assert_eq!((report.job.as_str(), report.host.as_str()), ("telemetry", "gw-1"));
    assert_eq!((report.trigger, report.outcome), (Trigger::Schedule, Outcome::Partial));
    assert_eq!(report.started_at.to_rfc3339(), "2026-11-24T20:00:00+09:00");
    assert_eq!((report.found.files, report.uploaded.files, report.failed_total), (4, 3, 1));
    assert_eq!(report.uploaded.bytes, 11);
    assert_eq!((report.skipped.files, report.skipped.by_reason.excluded), (1, 1));
    assert_eq!(report.steps[0].state, StepState::Ok);
    assert_eq!((report.sources[0].seen, report.sources[0].found.files), (4, 4));
    assert!(report.sources[0].walked && report.sources[0].had_files);
    assert_eq!(report.failed[0].kind, FailureKind::ReservedKey);
    assert_eq!(report.manifests.len(), 1);
    assert_eq!(report.manifests[0].crc64nvme, s3backup_transfer::crc64nvme_base64(&fixture("0.jsonl.zst")));
    assert!(report.fatal.is_none());
}

#[test]
fn a_manifest_of_format_1_is_read() {
    let (header, mut lines) = read_segment(&fixture("0.jsonl.zst"));
    assert_eq!((header.schema, header.min_reader, header.segment), (1, 1, 0));
    assert_eq!(header.run_id.as_str(), "20261124T110000.000Z-0000002a");
    lines.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(lines.len(), 3);
    let line = lines[1].clone();
    let expected = Line {
        op: Op::Put,
        path: "/data/trips/v1/trip.json".to_owned(),
        key: s3backup_core::Key::new("trips/v1/trip.json").unwrap(),
        size: 2,
        mtime_ns: 1_795_431_600_000_000_001,
        mode: 0o100_644,
        crc64nvme: s3backup_transfer::crc64nvme_base64(b"{}"),
        stored_size: 2,
        stored_checksum: Some(StoredChecksum {
            algorithm: "crc64nvme".to_owned(),
            value: s3backup_transfer::crc64nvme_base64(b"{}"),
            r#type: ChecksumType::FullObject,
        }),
        etag: "99914b932bd37a50b983c5e7c90ae93b".to_owned(),
        version_id: None,
        encoding: "none".to_owned(),
        run: None,
    };
    assert_eq!(line, expected);
    assert!(lines[0].key.as_str().ends_with("odd%FF name") && lines[2].size == 0, "{lines:?}");
}

#[test]
fn what_a_later_version_adds_is_ignored() {
    let mut report: serde_json::Value = serde_json::from_slice(&fixture("report.json")).unwrap();
    report["invented_later"] = serde_json::json!({"x": [1, 2]});
    report["uploaded"]["invented_later"] = serde_json::json!(true);
    report["skipped"]["by_reason"]["invented_later"] = serde_json::json!(1);
    report["failed"][0]["kind"] = serde_json::json!("invented_later");
    report["failed"][0]["hint"] = serde_json::json!("x");
    report["fatal"] = serde_json::json!({"kind": "invented_later", "message": "m", "x": 1});
    let report: RunReport = serde_json::from_value(report).unwrap();
    assert_eq!(report.failed[0].kind, FailureKind::Other);
    assert_eq!(report.fatal.unwrap().kind, FailureKind::Other);

    let mut line = serde_json::to_value(&read_segment(&fixture("0.jsonl.zst")).1[0]).unwrap();
    line["invented_later"] = serde_json::json!([]);
    assert!(serde_json::from_value::<Line>(line).is_ok());
}

/// With a folder in `FIXTURES` it also writes what it compares there: that is how the fixtures of a new format are made.
#[tokio::test]
async fn this_version_writes_what_the_fixtures_hold() {
    use crate::bench::{Bench, soon, write};
    use std::os::unix::ffi::OsStrExt as _;

    let bench = Bench::new().await;
    let data = bench.data();
    let odd = data.join(std::ffi::OsStr::from_bytes(b"odd\xff name"));
    for (path, bytes) in [
        (data.join("v1/trip.json"), &b"{}"[..]),
        (odd, b"nine byte"),
        (data.join("v2/empty"), b""),
        (data.join(".s3backup/x"), b"r"),
        (data.join("b.tmp"), b""),
    ] {
        let file = std::fs::File::open(write(&path, bytes)).unwrap();
        let mtime = std::time::Duration::from_nanos(1_795_431_600_000_000_001);
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + mtime).unwrap();
    }
    let now = chrono::DateTime::parse_from_rfc3339("2026-11-24T11:00:00Z").unwrap().to_utc();
    let job = bench.job().source(s3backup_core::Source::new(&data).exclude(["*.tmp"]));
    let job = job.step(s3backup_core::Step::new("statistics", ["true"])).trigger(Trigger::Schedule);
    let job = job.timezone(chrono_tz::Asia::Seoul).clock(std::sync::Arc::new(move || now));
    let report = soon(job.build().unwrap().run()).await.unwrap();

    // Neither the place of the data on this machine nor chance is part of the format.
    let real = data.display().to_string();
    let tidy = |text: String| {
        text.replace(&real, "/data/trips").replace(report.run_id.as_str(), "20261124T110000.000Z-0000002a")
    };
    let segment = bench.get(report.manifests[0].key.as_str()).await;
    let lines = tidy(String::from_utf8(zstd::decode_all(&segment[..]).unwrap()).unwrap());
    let segment = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    let mut stored = bench.stored_report(&report).await;
    stored.manifests[0].crc64nvme = s3backup_transfer::crc64nvme_base64(&segment);
    let stored = tidy(serde_json::to_string_pretty(&stored).unwrap());
    if let Some(target) = std::env::var_os("FIXTURES").map(PathBuf::from) {
        write(&target.join("0.jsonl.zst"), segment);
        write(&target.join("report.json"), stored + "\n");
        return;
    }
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let committed = String::from_utf8(zstd::decode_all(&fixture("0.jsonl.zst")[..]).unwrap()).unwrap();
    assert_eq!(sorted(&lines), sorted(&committed), "files end in the order in which they are sent");

    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let names = |text: &[u8]| {
        let report: serde_json::Value = serde_json::from_slice(text).unwrap();
        (keys(&report), keys(&report["sources"][0]))
    };
    assert_eq!(names(stored.as_bytes()), names(&fixture("report.json")));
}
