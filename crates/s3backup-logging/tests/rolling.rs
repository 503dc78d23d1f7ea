//! When files begin and end: at midnight, at their maximal size, after some days.

mod common;

use std::fs;

use chrono::TimeDelta;
use chrono_tz::Asia::Seoul;
use common::{TestClock, TestConsole, files, names};
use s3backup_logging::{Builder, Console, LoggerManager};

fn builder(dir: &std::path::Path, clock: &TestClock) -> Builder {
    LoggerManager::builder("trips")
        .dir(dir.to_owned())
        .timezone(Seoul)
        .clock(clock.clock())
        .console(Console::Off)
}

#[test]
fn files_roll_at_midnight_in_the_zone_of_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2025-11-24T14:59:59.999Z");
    let logging = builder(dir.path(), &clock).build();
    assert_eq!(logging.info_log_path(), Some(dir.path().join("info_log_trips_20251124.log")));
    logging.error("before midnight");
    clock.set("2025-11-24T15:00:00Z");
    logging.info("after midnight");
    assert_eq!(logging.info_log_path(), Some(dir.path().join("info_log_trips_20251125.log")));
    assert_eq!(logging.error_log_path(), Some(dir.path().join("error_log_trips_20251125.log")));
    logging.finish();

    let files = files(dir.path());
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["error_log_trips_20251124.log", "info_log_trips_20251124.log", "info_log_trips_20251125.log"]
    );
    assert!(
        files["info_log_trips_20251124.log"]
            .starts_with("2025-11-24T23:59:59.999+09:00 ERROR   before midnight")
    );
    assert!(
        files["info_log_trips_20251125.log"]
            .starts_with("2025-11-25T00:00:00.000+09:00 INFO    after midnight")
    );
}

#[test]
fn a_line_has_the_time_at_which_it_was_logged_however_long_it_waited() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2025-11-24T14:00:00Z");
    let logging = builder(dir.path(), &clock).build();
    for minute in 0..200 {
        logging.info(minute);
        clock.advance(TimeDelta::minutes(1));
    }
    logging.finish();
    let files = files(dir.path());
    assert_eq!(files["info_log_trips_20251124.log"].lines().count(), 60);
    assert_eq!(files["info_log_trips_20251125.log"].lines().count(), 140);
}

#[test]
fn full_files_are_rotated_and_the_oldest_removed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2025-11-24T11:00:00Z");
    let log = |range: std::ops::Range<u32>| {
        // Three lines of about 80 bytes fit.
        let logging = builder(dir.path(), &clock).max_size(270).keep_files(3).build();
        range.for_each(|number| logging.info(format_args!("line {number:04}")));
    };
    log(0..7);
    let numbers = |name: &str| -> Vec<String> {
        let text = files(dir.path()).remove(name).unwrap_or_default();
        text.lines().map(|line| line.split_whitespace().nth(3).unwrap().to_owned()).collect()
    };
    assert_eq!(numbers("info_log_trips_20251124.log"), ["0006"]);
    assert_eq!(numbers("info_log_trips_20251124.log.1"), ["0003", "0004", "0005"]);
    assert_eq!(numbers("info_log_trips_20251124.log.2"), ["0000", "0001", "0002"]);

    // The next process continues where this one ended.
    log(7..20);
    assert_eq!(
        names(dir.path()),
        ["", ".1", ".2", ".3"].map(|number| format!("info_log_trips_20251124.log{number}"))
    );
    assert_eq!(numbers("info_log_trips_20251124.log"), ["0018", "0019"]);
    assert_eq!(numbers("info_log_trips_20251124.log.3"), ["0009", "0010", "0011"]);
}

#[test]
fn an_interrupted_rotation_is_mended_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2025-11-24T11:00:00Z");
    let path = |number: &str| dir.path().join(format!("info_log_trips_20251124.log{number}"));
    fs::write(path(""), "full\n".repeat(100)).unwrap();
    fs::write(path(".2"), "older\n").unwrap();
    let logging = builder(dir.path(), &clock).max_size(500).keep_files(3).build();
    logging.info("new");
    logging.finish();
    assert!(fs::read_to_string(path(".1")).unwrap().starts_with("full"));
    assert_eq!(fs::read_to_string(path(".2")).unwrap(), "older\n");
    assert!(!path(".3").exists());
}

#[test]
fn nothing_is_kept_of_full_files_if_so_wished() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2025-11-24T11:00:00Z");
    let logging = builder(dir.path(), &clock).max_size(1).keep_files(0).build();
    logging.info("one");
    logging.info("two");
    logging.finish();
    let files = files(dir.path());
    assert_eq!(files.len(), 1);
    assert!(files["info_log_trips_20251124.log"].contains(" two "));
}

#[test]
fn a_size_of_zero_is_no_limit() {
    let dir = tempfile::tempdir().unwrap();
    let logging = builder(dir.path(), &TestClock::at("2025-11-24T11:00:00Z")).max_size(0).build();
    (0..100).for_each(|number| logging.info(number));
    logging.finish();
    assert_eq!(names(dir.path()), ["info_log_trips_20251124.log"]);
}

#[test]
fn a_file_that_cannot_be_rotated_grows_and_is_complained_about() {
    let dir = tempfile::tempdir().unwrap();
    let console = TestConsole::default();
    // A directory is in the way, which no rename of a file replaces.
    fs::create_dir_all(dir.path().join("logs/info_log_trips_20251124.log.1/in/the/way")).unwrap();
    let logging = builder(&dir.path().join("logs"), &TestClock::at("2025-11-24T11:00:00Z"))
        .max_size(200)
        .keep_files(1)
        .console(console.console(false))
        .build();
    (0..10).for_each(|number| logging.info(number));
    logging.finish();
    let text = fs::read_to_string(dir.path().join("logs/info_log_trips_20251124.log")).unwrap();
    assert_eq!(text.lines().count(), 10);
    assert_eq!(console.lines_with("log file cannot be rotated").len(), 1, "{}", console.text());
}

#[test]
fn old_files_of_this_job_are_removed_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let old =
        ["info_log_trips_20251024.log", "info_log_trips_20251024.log.3", "error_log_trips_20240101.log"];
    let kept = [
        "error_log_trips_20251025.log",
        "info_log_trips_20251025.log",
        "info_log_other_20240101.log",
        "info_log_trips_20240101.log.gz",
        "info_log_trips_2_20240101.log",
        "info_log_trips_20240101_20240101.log",
        "info_log_trips_20241399.log",
        "notes_20240101.log",
    ];
    old.iter().chain(&kept).for_each(|name| fs::write(dir.path().join(name), "text").unwrap());
    fs::create_dir(dir.path().join("info_log_trips_20200101.log")).unwrap();
    let clock = TestClock::at("2025-11-24T11:00:00Z");
    let logging = builder(dir.path(), &clock).keep_days(30).build();
    logging.error("first line of the day");
    logging.flush();
    fs::remove_dir(dir.path().join("info_log_trips_20200101.log")).unwrap();

    let today = ["error_log_trips_20251124.log", "info_log_trips_20251124.log"];
    let mut expected = [kept.as_slice(), &today].concat();
    expected.sort_unstable();
    assert_eq!(names(dir.path()), expected);

    clock.set("2025-11-25T11:00:00Z");
    logging.info("first line of the next day");
    logging.finish();
    // Also those of a kind that had no line today.
    assert!(!dir.path().join("info_log_trips_20251025.log").exists());
    assert!(!dir.path().join("error_log_trips_20251025.log").exists());
}

#[test]
fn all_files_are_kept_if_so_wished() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("info_log_trips_19990101.log"), "text").unwrap();
    let logging = builder(dir.path(), &TestClock::at("2025-11-24T11:00:00Z")).keep_days(0).build();
    logging.info("new");
    logging.finish();
    assert_eq!(names(dir.path()).len(), 2);
}
