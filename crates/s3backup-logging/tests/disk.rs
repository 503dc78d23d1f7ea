//! A disk that cannot be written: a warning, a count, and on it goes when it can.

mod common;

use std::fs;
use std::path::PathBuf;

use chrono::TimeDelta;
use common::{TestClock, TestConsole, files};
use s3backup_logging::{Builder, Console, LoggerManager};

const FILE: &str = "info_log_job_20251124.log";

fn builder(dir: PathBuf, clock: &TestClock, console: &TestConsole) -> Builder {
    LoggerManager::builder("job").dir(dir).clock(clock.clock()).console(console.console(false))
}

fn clock() -> TestClock {
    TestClock::at("2025-11-24T11:00:00Z")
}

#[test]
fn an_unwritable_directory_is_said_once_and_used_when_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("Logs");
    fs::write(&in_the_way, "a file where the directory should be").unwrap();
    let (clock, console) = (clock(), TestConsole::default());
    let logging = builder(in_the_way.clone(), &clock, &console).build();

    (0..3).for_each(|_| logging.info("lost"));
    logging.flush();
    let complaints = || console.lines_with("log file cannot be ");
    assert_eq!(complaints().len(), 1, "{}", console.text());
    assert!(
        complaints()[0].contains("WARNING") && complaints()[0].contains("Not a directory"),
        "{complaints:?}",
        complaints = complaints()
    );
    assert_eq!(console.lines_with(" lost ").len(), 3, "the console works on");

    clock.advance(TimeDelta::minutes(4));
    logging.info("lost");
    logging.flush();
    assert_eq!(complaints().len(), 1, "not again so soon");
    clock.advance(TimeDelta::minutes(1));
    logging.info("lost");
    logging.flush();
    assert_eq!(complaints().len(), 2, "but after a while");

    fs::remove_file(&in_the_way).unwrap();
    logging.info("written");
    logging.finish();
    let text = &files(&in_the_way)[FILE];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("log lines before this one could not be written lines=5 "), "{text}");
    assert!(lines[1].contains(" written "), "{text}");
    assert_eq!(console.lines_with("log file is written again file=info lost_lines=5").len(), 1);
}

#[test]
fn lines_that_stay_lost_are_counted_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("Logs");
    fs::write(&in_the_way, "").unwrap();
    let console = TestConsole::default();
    let logging = builder(in_the_way, &clock(), &console).build();
    logging.info("lost");
    logging.flush();
    logging.error("lost, too");
    logging.finish();
    assert_eq!(console.lines_with("log file cannot be ").len(), 1, "one cause, though two files");
    assert_eq!(
        console.lines_with("log lines could not be written file=info lines=2").len(),
        1,
        "{}",
        console.text()
    );
    assert_eq!(console.lines_with("log lines could not be written file=error lines=1").len(), 1);
}

#[test]
fn without_a_console_an_unwritable_directory_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("Logs");
    fs::write(&in_the_way, "").unwrap();
    let logging = builder(in_the_way, &clock(), &TestConsole::default()).console(Console::Off).build();
    logging.error("lost");
    logging.finish();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_once_and_written_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let console = TestConsole::default();
    let logging = builder(dir.path().to_owned(), &clock(), &console).max_size(10_000).build();
    (0..100).for_each(|_| logging.info("lost"));
    logging.flush();
    let complaints = console.lines_with("log file cannot be written");
    assert_eq!(complaints.len(), 1, "{}", console.text());
    assert!(complaints[0].contains("No space left on device"), "{complaints:?}");

    fs::remove_file(&file).unwrap();
    // Even without a further line.
    logging.finish();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("could not be written lines=100 "), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_directory_that_is_removed_meanwhile_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("deep/Logs");
    let console = TestConsole::default();
    let logging = builder(logs.clone(), &clock(), &console).build();
    logging.info("one");
    logging.flush();
    fs::remove_dir_all(dir.path().join("deep")).unwrap();
    logging.info("two");
    logging.flush();
    assert!(files(&logs)[FILE].contains(" two "));
    fs::rename(logs.join(FILE), logs.join("moved by somebody")).unwrap();
    logging.info("three");
    logging.finish();
    assert!(files(&logs)[FILE].contains(" three "));
    assert_eq!(console.text().lines().count(), 3, "{}", console.text());
}
