//! Bytes in, points out: newline-JSON and CSV.
//!
//! Reading never fails: what cannot be used is set aside with the reason, a line or the file as a whole. A file is read
//! piece by piece. Memory for a file is at most [`ReadSettings::max_points`] points of 64 bytes, a buffer of a few lines, and the
//! lines set aside, which are bounded in number and in bytes.

mod collect;
mod csv;
mod encoding;
mod json;
mod lines;
mod number;
mod open;
mod record;
mod time;

use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::aside::{Aside, Rule};
use crate::point::Point;
use crate::trip::TripFile;

use collect::Collected;
use csv::Table;
use lines::Lines;
use record::Fault;

/// How much of a file is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadSettings {
    /// The largest file that is read, in bytes. Default 536,870,912 (512 MiB), five times what the default of `max_points` takes as
    /// JSON. A larger one is set aside as a whole.
    pub max_file_bytes: u64,
    /// The most points of one trip. Default 1,000,000, which is eleven days of one point a second. A file with more is set
    /// aside as a whole.
    pub max_points: usize,
    /// The longest line, in bytes without its line feed. Default 65,536. Of a longer one the beginning is kept, and the rest skipped.
    pub max_line_bytes: usize,
    /// How many lines of a file are set aside one by one. Default 10,000. Further ones are counted by rule.
    pub max_aside_lines: usize,
    /// How many bytes of these lines are kept. Default 4,194,304 (4 MiB). Further ones are counted by rule.
    pub max_aside_bytes: usize,
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self {
            max_file_bytes: 512 * 1_024 * 1_024,
            max_points: 1_000_000,
            max_line_bytes: 64 * 1_024,
            max_aside_lines: 10_000,
            max_aside_bytes: 4 * 1_024 * 1_024,
        }
    }
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The points, in the order of the lines.
    pub points: Vec<Point>,
    /// What is no point, in the order of the lines; what concerns the file as a whole comes first.
    pub aside: Vec<Aside>,
    /// Lines that hold something: the points and the lines set aside, but no blank line and no CSV header. 0 if the file was set
    /// aside as a whole.
    pub lines: u64,
}

/// Reads a trip. Never fails: what cannot be read is [`Read::aside`].
///
/// The name says what is in it: `.json`, `.jsonl` and `.ndjson` JSON objects, one on each line, and `.csv` a table with a header. Under any
/// other name it is JSON if it begins with `{`. It may be UTF-8, with or without a byte order mark, or UTF-16 with one.
pub fn read(file: &TripFile, settings: &ReadSettings) -> Read {
    read_lines(file, settings).unwrap_or_else(|Fault { rule, detail }| Read {
        points: Vec::new(),
        aside: vec![Aside::file(rule, detail)],
        lines: 0,
    })
}

/// Fails with what makes the whole file unusable.
fn read_lines(file: &TripFile, settings: &ReadSettings) -> Result<Read, Fault> {
    let source = open::open(&file.path, settings.max_file_bytes)?;
    let mut collected = Collected::new(settings, source.size_bytes);
    // One byte more than a file may have shows that it has grown.
    let mut lines =
        Lines::new(source.file.take(settings.max_file_bytes.saturating_add(1)), settings.max_line_bytes);
    let encoding = lines.detect_encoding().map_err(|error| unreadable(&error, 0))??;
    let mut format = None;
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => {
                collected.file(unreadable(&error, lines.number()));
                break;
            }
        };
        let text = match line.text(encoding) {
            Ok(text) => text,
            Err(fault) => {
                collected.line(&line, fault);
                continue;
            }
        };
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let record = match &mut format {
            Some(Format::Json) => json::parse(text),
            Some(Format::Csv(table)) => table.parse(text),
            None if is_json(&file.path, text) => {
                format = Some(Format::Json);
                json::parse(text)
            }
            None => {
                format = Some(Format::Csv(Box::new(Table::new(text)?)));
                continue;
            }
        };
        match record.and_then(|record| record.point(line.number)) {
            Ok(point) => collected.point(point)?,
            Err(fault) => collected.line(&line, fault),
        }
    }
    if lines.read_bytes() > settings.max_file_bytes {
        return Err(open::too_large(lines.read_bytes(), settings.max_file_bytes));
    }
    collected.finish(format.is_some())
}

/// How the lines of a file are written.
enum Format {
    Json,
    Csv(Box<Table>),
}

fn is_json(path: &Path, first_line: &[u8]) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    match extension.to_str() {
        Some("json" | "jsonl" | "ndjson") => true,
        Some("csv") => false,
        _ => first_line.starts_with(b"{"),
    }
}

fn unreadable(error: &io::Error, after_line: u64) -> Fault {
    let detail = match after_line {
        0 => format!("cannot be read: {error}; look at the file and its disk, then run this again"),
        line => format!("cannot be read after line {line}: {error}; look at the disk, then run this again"),
    };
    Fault { rule: Rule::Unreadable, detail }
}

#[cfg(test)]
mod tests;
