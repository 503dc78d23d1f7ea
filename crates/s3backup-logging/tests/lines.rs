//! What a line holds: level, message, values, place; escaped, in colour, or as JSON.

mod common;

use chrono_tz::Asia::Seoul;
use common::{TestClock, TestConsole, files};
use s3backup_logging::{Console, Format, Level, LoggerManager};
use slog::o;

const EIGHT_PM: &str = "2025-11-24T11:00:00.007Z";
const INFO_FILE: &str = "info_log_job_20251124.log";
const ERROR_FILE: &str = "error_log_job_20251124.log";

#[test]
fn a_line_holds_time_level_message_values_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let logging = LoggerManager::builder("job")
        .dir(dir.path().to_owned())
        .timezone(Seoul)
        .clock(TestClock::at(EIGHT_PM).clock())
        .console(Console::Off)
        .build();
    let line = line!() + 1;
    logging.info(format_args!("{} started", "run"));
    let logger = logging.logger().new(o!("run" => "r1")).new(o!("bucket" => "trips"));
    slog::warn!(logger, "object {}", "skipped"; "key" => "a b.json", "size" => 3_u64, "dry" => false, "tag" => None::<u8>);
    logging.finish();

    let here = "s3backup-logging/tests/lines.rs";
    let expected = format!(
        "2025-11-24T20:00:00.007+09:00 INFO    run started [{here}:{line}]\n\
         2025-11-24T20:00:00.007+09:00 WARNING object skipped \
         key=\"a b.json\" size=3 dry=false tag=none run=r1 bucket=trips [{here}:{}]\n",
        line + 2
    );
    assert_eq!(files(dir.path())[INFO_FILE], expected);
}

#[test]
fn the_error_file_holds_errors_only_and_levels_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let log_all = |level| {
        let logging = LoggerManager::builder("job")
            .dir(dir.path().to_owned())
            .level(level)
            .clock(TestClock::at(EIGHT_PM).clock())
            .console(Console::Off)
            .build();
        slog::trace!(logging.logger(), "t");
        logging.debug("d");
        logging.info("i");
        logging.warning("w");
        logging.error("e");
        slog::crit!(logging.logger(), "c");
    };
    let messages = |name: &str| -> Vec<String> {
        let text = files(dir.path()).remove(name).unwrap_or_default();
        text.lines().map(|line| line.split_whitespace().nth(2).unwrap().to_owned()).collect()
    };

    log_all(Level::Info);
    assert_eq!(messages(INFO_FILE), ["i", "w", "e", "c"]);
    assert_eq!(messages(ERROR_FILE), ["e", "c"]);
    log_all(Level::Trace);
    assert_eq!(messages(INFO_FILE), ["i", "w", "e", "c", "t", "d", "i", "w", "e", "c"]);
    log_all(Level::Error);
    assert_eq!(messages(INFO_FILE)[10..], ["e", "c"]);
}

#[test]
fn the_console_may_have_another_level_and_shows_the_same_text() {
    let dir = tempfile::tempdir().unwrap();
    let console = TestConsole::default();
    let logging = LoggerManager::builder("job")
        .dir(dir.path().to_owned())
        .level(Level::Debug)
        .console_level(Level::Warning)
        .clock(TestClock::at(EIGHT_PM).clock())
        .console(console.console(false))
        .build();
    logging.debug("only in the file");
    logging.warning("in both");
    logging.finish();

    let file = files(dir.path()).remove(INFO_FILE).unwrap();
    let (debug, warning) = file.split_once('\n').unwrap();
    assert!(debug.contains("DEBUG   only in the file"), "{debug}");
    assert_eq!(console.text(), warning);
}

#[test]
fn one_record_is_one_harmless_line() {
    let dir = tempfile::tempdir().unwrap();
    let console = TestConsole::default();
    let logging = LoggerManager::builder("job")
        .dir(dir.path().to_owned())
        .clock(TestClock::at(EIGHT_PM).clock())
        .console(console.console(false))
        .build();
    let hostile = "x.json\n2025-11-24T20:00:00.007+09:00 ERROR forged\r\u{1b}]0;title\u{7}\u{9b}2J\u{202e}";
    logging.error(hostile);
    slog::info!(logging.logger(), "found"; "path" => hostile);
    slog::info!(logging.logger(), "found"; "path" => %hostile);
    logging.finish();

    let text = &files(dir.path())[INFO_FILE];
    assert_eq!(text, &console.text());
    assert_eq!(text.lines().count(), 3);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    assert!(text.contains(
        r"x.json\n2025-11-24T20:00:00.007+09:00 ERROR forged\r\u{1b}]0;title\u{7}\u{9b}2J\u{202e}"
    ));
}

#[test]
fn colour_is_only_around_the_parts_of_a_line() {
    let console = TestConsole::default();
    let logging = LoggerManager::builder("job")
        .clock(TestClock::at(EIGHT_PM).clock())
        .console(console.console(true))
        .build();
    slog::error!(logging.logger(), "lost"; "key" => "a");
    logging.finish();

    let text = console.text();
    let expected = "\u{1b}[2m2025-11-24T11:00:00.007+00:00\u{1b}[0m \u{1b}[1;31mERROR  \u{1b}[0m lost \u{1b}[2mkey\u{1b}[0m=a \u{1b}[2m[";
    assert!(text.starts_with(expected), "{text:?}");
    assert!(text.ends_with("]\u{1b}[0m\n"), "{text:?}");
}

#[test]
fn json_lines_parse_and_keep_types_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let logging = LoggerManager::builder("job")
        .dir(dir.path().to_owned())
        .format(Format::Json)
        .timezone(Seoul)
        .clock(TestClock::at(EIGHT_PM).clock())
        .console(Console::Off)
        .build();
    let hostile = "a\n\"b\"\u{1b}\u{7f}\u{9b}\u{202e}\u{e0041}차량";
    let logger = logging.logger().new(o!("key" => "the logger's", "run" => "r1"));
    let line = line!() + 1;
    slog::error!(logger, "{}", hostile; "key" => hostile, "n" => -1, "f" => 0.5, "none" => None::<u8>, "msg" => "mine");
    logging.info("second");
    logging.finish();

    let text = &files(dir.path())[INFO_FILE];
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = serde_json::json!({
        "ts": "2025-11-24T20:00:00.007+09:00",
        "level": "ERROR",
        "msg": hostile,
        "key": hostile,
        "n": -1,
        "f": 0.5,
        "none": null,
        "msg_": "mine",
        "run": "r1",
        "at": format!("s3backup-logging/tests/lines.rs:{line}"),
    });
    assert_eq!(lines[0], expected);
    assert_eq!(lines[1]["msg"], "second");
    assert_eq!(lines.len(), 2);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    assert_eq!(text.lines().next(), files(dir.path())[ERROR_FILE].lines().next());
}
