//! Several processes that write and rotate the same files.

#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for production code.

mod common;

use std::collections::HashSet;
use std::env;
use std::path::Path;
use std::process::Command;
use std::thread;

use common::{TestClock, files};
use s3backup_logging::{Builder, Console, LoggerManager};

const DIR_VARIABLE: &str = "S3BACKUP_LOGGING_TEST_DIR";
const WRITER_VARIABLE: &str = "S3BACKUP_LOGGING_TEST_WRITER";
const WRITERS: usize = 4;
const LINES: usize = 1_500;

fn builder(dir: &Path) -> Builder {
    LoggerManager::builder("job")
        .dir(dir.to_owned())
        .clock(TestClock::at("2025-11-24T11:00:00Z").clock())
        .console(Console::Off)
        .max_size(16 * 1024)
        .keep_files(1_000)
}

fn write_lines(dir: &Path, writer: usize) {
    let logging = builder(dir).build();
    for number in 0..LINES {
        // Lines of many lengths, so that a torn one would show.
        logging.info(format_args!("<{writer}/{number}/{}>", "x".repeat(number % 97)));
    }
    logging.finish();
}

fn assert_all_lines_are_there(dir: &Path) {
    let files = files(dir);
    let mut seen = HashSet::new();
    for (name, text) in &files {
        assert!(name.starts_with("info_log_job_20251124.log"), "{name}");
        assert!(text.ends_with('\n'), "{name}");
        for line in text.lines() {
            assert!(
                line.starts_with("2025-11-24T11:00:00.000+00:00 INFO    <") && line.ends_with(']'),
                "{line}"
            );
            let (id, fill) =
                line.split_once('<').unwrap().1.split_once('>').unwrap().0.rsplit_once('/').unwrap();
            let number: usize = id.split_once('/').unwrap().1.parse().unwrap();
            assert_eq!(fill.len(), number % 97, "{line}");
            assert!(seen.insert(id.to_owned()), "{id} twice");
        }
    }
    assert_eq!(seen.len(), WRITERS * LINES);
    // How many depends on how often one process found another rotating.
    assert!(files.len() > 1, "nothing was rotated");
}

/// Does nothing unless it is started as one of the processes of the test below.
#[test]
fn writer_process() {
    let Some(dir) = env::var_os(DIR_VARIABLE) else { return };
    write_lines(Path::new(&dir), env::var(WRITER_VARIABLE).unwrap().parse().unwrap());
}

#[test]
fn processes_lose_and_tear_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            Command::new(env::current_exe().unwrap())
                .args(["--exact", "writer_process"])
                .env(DIR_VARIABLE, dir.path())
                .env(WRITER_VARIABLE, writer.to_string())
                .spawn()
                .unwrap()
        })
        .collect();
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    assert_all_lines_are_there(dir.path());
}

#[test]
fn managers_of_one_process_lose_and_tear_no_line() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let dir = dir.path();
            scope.spawn(move || write_lines(dir, writer));
        }
    });
    assert_all_lines_are_there(dir.path());
}

#[test]
fn a_file_that_another_process_rotated_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = [(); 2].map(|()| builder(dir.path()).max_size(200).build());
    for (number, logging) in [&one, &two].into_iter().cycle().take(8).enumerate() {
        logging.info(number);
        logging.flush();
    }
    let lines = files(dir.path()).into_values().map(|text| text.lines().count()).collect::<Vec<_>>();
    assert_eq!(lines, [2, 2, 2, 2]);
}

#[cfg(unix)]
#[test]
fn while_another_process_rotates_lines_go_to_the_full_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("info_log_job_20251124.log");
    std::fs::write(&path, "full\n".repeat(100)).unwrap();
    let rotating = std::fs::File::open(&path).unwrap();
    rotating.lock().unwrap();
    let logging = builder(dir.path()).max_size(500).build();
    logging.info("meanwhile");
    logging.flush();
    assert!(std::fs::read_to_string(&path).unwrap().contains("meanwhile"));
    rotating.unlock().unwrap();
    logging.info("afterwards");
    logging.finish();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
}
