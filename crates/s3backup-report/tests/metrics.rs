//! The metrics, held against the grammar of the text format.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests end with what they find"
)]
#![allow(dead_code, reason = "the pages are for other tests, too")]

mod sample;

use std::collections::{BTreeMap, BTreeSet};

use s3backup_report::metrics;

/// Name and labels of each sample, with its value; panics at what Prometheus would not read.
fn read(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'));
    let mut samples = BTreeMap::new();
    let (mut family, mut known) = (None::<String>, BTreeSet::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.ends_with('.') && !words.contains('\\'), "{line}");
            assert_eq!(lines.next(), Some(&*format!("# TYPE {name} gauge")));
            assert!(known.insert(name.to_owned()), "{name} comes twice");
            family = Some(name.to_owned());
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.strip_suffix('}').and_then(|series| series.split_once('{')).unwrap();
        assert_eq!(Some(name), family.as_deref(), "samples of one metric stand together");
        assert!(
            name.starts_with("backup_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{name}"
        );
        for label in labels.split(',') {
            let (key, value) = label.split_once('=').unwrap();
            assert!(["job", "host", "outcome", "version"].contains(&key), "{line}");
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
            assert!(!value.contains(['"', '\\']), "{line}");
        }
        assert_eq!(samples.insert(series.to_owned(), value.parse().unwrap()), None, "{series} comes twice");
    }
    samples
}

#[test]
fn every_job_has_its_samples() {
    let page = sample::fleet();
    let samples = read(&metrics(&page.jobs));
    let of =
        |name: &str, job: &str| samples.get(&format!("{name}{{job=\"{job}\",host=\"gateway-1\"}}")).copied();
    assert_eq!(of("backup_late", "telemetry"), Some(0.0));
    assert_eq!(of("backup_late", "maps"), Some(1.0));
    assert_eq!(of("backup_running", "camera"), Some(1.0));
    assert_eq!(of("backup_files", "telemetry"), Some(412_207.0));
    assert_eq!(of("backup_open_troubles", "maps"), Some(2.0));
    assert_eq!(of("backup_alerts_waiting", "maps"), Some(1.0));
    // 20:00 in Seoul is 11:00 UTC.
    assert_eq!(of("backup_due_timestamp_seconds", "telemetry"), Some(1_795_863_600.0));
    assert_eq!(of("backup_next_due_timestamp_seconds", "telemetry"), Some(1_795_950_000.0));
    let last = &page.jobs[0].runs[0];
    assert_eq!(
        of("backup_last_success_timestamp_seconds", "telemetry"),
        Some(last.finished_at.timestamp() as f64)
    );
    assert_eq!(of("backup_last_run_uploaded_bytes", "telemetry"), Some(last.uploaded.bytes as f64));
    let ended = samples.iter().filter(|(series, value)| {
        series.contains("job=\"maps\"") && series.contains("outcome=") && **value > 0.0
    });
    let ended: Vec<&str> = ended.map(|(series, _)| series.as_str()).collect();
    assert_eq!(ended, ["backup_last_run_outcome{job=\"maps\",host=\"gateway-1\",outcome=\"failed\"}"]);
    assert_eq!(samples.keys().filter(|series| series.contains("outcome=")).count(), 3 * 4);
}

#[test]
fn what_is_not_known_has_no_sample() {
    let samples = read(&metrics(&sample::unknown().jobs));
    let names: Vec<&str> = samples.keys().filter_map(|series| series.split('{').next()).collect();
    assert_eq!(
        names,
        ["backup_alerts_waiting", "backup_info", "backup_late", "backup_open_troubles", "backup_running"]
    );
    assert_eq!(read(&metrics(&[])).len(), 0);
}
