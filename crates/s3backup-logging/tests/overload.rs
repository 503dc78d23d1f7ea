//! What happens when lines come faster than they can be written, and at the end of the program.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy takes for production code.

mod common;

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use chrono_tz::Tz;
use common::{TestClock, TestConsole, files};
use s3backup_logging::{Builder, Console, Level, LoggerManager};

const FILE: &str = "info_log_job_20251124.log";
const QUEUE_LINES: u64 = 8_192;
const RESERVED_LINES: u64 = 2_048;

fn builder() -> Builder {
    LoggerManager::builder("job")
        .clock(TestClock::at("2025-11-24T11:00:00Z").clock())
        .console(Console::Off)
        .timezone(Tz::UTC)
}

/// A terminal that somebody paused: nothing can be written until it goes on.
struct Paused {
    entered: Sender<()>,
    resume: Receiver<()>,
    shown: TestConsole,
}

impl Write for Paused {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Fails at once, as wished, when the other ends are gone.
        let _ = self.entered.send(());
        let _ = self.resume.recv();
        self.shown.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The number behind `lines=` in all lines that say how many were dropped.
fn dropped(text: &str) -> u64 {
    text.lines()
        .filter(|line| line.contains("log lines dropped under overload"))
        .map(|line| line.split_once("lines=").unwrap().1.split(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn a_paused_console_blocks_nobody_and_its_dropped_lines_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let shown = TestConsole::default();
    let (entered_sender, entered) = channel();
    let (resume, resume_receiver) = channel();
    let writer = Paused { entered: entered_sender, resume: resume_receiver, shown: shown.clone() };
    let logging = builder()
        .dir(dir.path().to_owned())
        .console(Console::Writer { writer: Box::new(writer), colour: false })
        .build();

    logging.info("the first line");
    entered.recv().unwrap();
    // One line is being written, and counts as waiting until it is.
    let admitted = QUEUE_LINES - RESERVED_LINES - 1;
    (0..admitted + 100).for_each(|_| logging.info("flood"));
    // The reserve takes warnings and errors even now, up to its end.
    (0..RESERVED_LINES + 10).for_each(|_| logging.warning("important"));
    drop(resume);
    logging.finish();

    assert_eq!(shown.lines_with(" INFO    flood ").len() as u64, admitted);
    assert_eq!(shown.lines_with(" WARNING important ").len() as u64, RESERVED_LINES);
    assert_eq!(dropped(&shown.text()), 100 + 10);

    // The files have their own queue, which a slow console does not fill.
    let file = &files(dir.path())[FILE];
    assert_eq!(
        file.matches(" flood ").count() as u64 + file.matches(" important ").count() as u64 + dropped(file),
        admitted + 100 + RESERVED_LINES + 10
    );
}

#[test]
fn every_line_is_written_or_counted_at_exit() {
    let dir = tempfile::tempdir().unwrap();
    let logging = builder().dir(dir.path().to_owned()).build();
    (0..10_000).for_each(|number| logging.info(number));
    drop(logging);
    let file = &files(dir.path())[FILE];
    let written = file.matches(" INFO ").count() as u64;
    assert_eq!(written + dropped(file), 10_000);
    assert!(written >= QUEUE_LINES - RESERVED_LINES);
}

#[test]
fn flush_waits_for_all_lines() {
    let dir = tempfile::tempdir().unwrap();
    let console = TestConsole::default();
    let logging = builder().dir(dir.path().to_owned()).console(console.console(false)).build();
    for thousand in 1..=10 {
        (0..1_000).for_each(|number| logging.info(number));
        logging.flush();
        assert_eq!(files(dir.path())[FILE].lines().count(), thousand * 1_000);
        assert_eq!(console.text().lines().count(), thousand * 1_000);
    }
}

#[test]
fn many_threads_flush_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let logging = builder().dir(dir.path().to_owned()).build();
    thread::scope(|scope| {
        for thread in 0..4 {
            let logging = &logging;
            let path = dir.path().join(FILE);
            scope.spawn(move || {
                for number in 0..200 {
                    logging.info(format_args!("line {thread}/{number}."));
                    if number % 20 == 0 {
                        logging.flush();
                        let text = std::fs::read_to_string(&path).unwrap();
                        assert!(text.contains(&format!("line {thread}/{number}.")));
                    }
                }
            });
        }
    });
    logging.finish();
    assert_eq!(files(dir.path())[FILE].lines().count(), 800);
}

#[test]
fn a_logger_may_outlive_its_manager() {
    let dir = tempfile::tempdir().unwrap();
    let logging = builder().dir(dir.path().to_owned()).level(Level::Debug).build();
    let logger = logging.logger();
    slog::debug!(logger, "in time");
    logging.finish();
    slog::error!(logger, "too late");
    assert_eq!(files(dir.path())[FILE].lines().count(), 1);
}

/// A console with a bug.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        panic!("a bug in a console writer");
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_console_that_panics_stops_neither_the_program_nor_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let logging = builder()
        .dir(dir.path().to_owned())
        .console(Console::Writer { writer: Box::new(Broken), colour: false })
        .build();
    (0..3).for_each(|number| logging.info(number));
    logging.flush();
    logging.info("still here");
    logging.finish();
    assert_eq!(files(dir.path())[FILE].lines().count(), 4);
}
