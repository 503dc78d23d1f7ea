//! The log files as an output: one file for everything, one for errors only.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use slog::Level;

use crate::complaint::Complaints;
use crate::entry::{Entry, Value};
use crate::format::Format;
use crate::lane::Sink;
use crate::names::FileNames;
use crate::retention;
use crate::rolling::{Limits, RollingFile};

/// The two kinds of file of one job in one directory.
#[derive(Debug, Clone)]
pub(crate) struct LogNames {
    pub(crate) info: FileNames,
    pub(crate) error: FileNames,
}

impl LogNames {
    pub(crate) fn new(dir: PathBuf, job: &str) -> Self {
        Self { info: FileNames::new(dir.clone(), "info", job), error: FileNames::new(dir, "error", job) }
    }
}

/// Writes entries to the files.
pub(crate) struct FileSink {
    info: LogFile,
    error: LogFile,
    names: LogNames,
    keep_days: u32,
    /// The date on which old files were removed last.
    tidied: Option<NaiveDate>,
    complaints: Complaints,
    format: Format,
    zone: Tz,
}

impl FileSink {
    pub(crate) fn new(
        names: LogNames,
        limits: Limits,
        format: Format,
        zone: Tz,
        complaints: Complaints,
    ) -> Self {
        let file = |kind, names: &FileNames| LogFile {
            kind,
            rolling: RollingFile::new(names.clone(), limits),
            lost: 0,
        };
        let info = file("info", &names.info);
        let error = file("error", &names.error);
        Self { info, error, names, keep_days: limits.keep_days, tidied: None, complaints, format, zone }
    }

    fn remove_old(&mut self, today: NaiveDate, now: DateTime<Utc>) {
        self.tidied = Some(today);
        for names in [&self.names.info, &self.names.error] {
            let mut complain = |trouble: &_| self.complaints.tell(trouble, now);
            retention::remove_old(names, self.keep_days, today, &mut complain);
        }
    }
}

impl Sink for FileSink {
    fn write(&mut self, entry: &Entry) {
        let mut line = Vec::new();
        self.format.render(entry, &mut line);
        let written = self.info.append(entry.time, &line, self.format, &mut self.complaints);
        if entry.level.is_at_least(Level::Error) {
            self.error.append(entry.time, &line, self.format, &mut self.complaints);
        }
        let today = entry.time.date_naive();
        // In a directory that cannot be written there is nothing to remove, and enough was said.
        if written && self.tidied != Some(today) {
            self.remove_old(today, entry.time.to_utc());
        }
    }

    fn flush(&mut self, now: DateTime<Utc>) {
        for file in [&mut self.info, &mut self.error] {
            file.write_down_losses(now.with_timezone(&self.zone), self.format, &mut self.complaints);
        }
    }

    fn close(&mut self, now: DateTime<Utc>) {
        self.flush(now);
        for file in [&self.info, &self.error] {
            if file.lost > 0 {
                self.complaints.tell_lost(file.kind, file.lost);
            }
        }
    }
}

/// A file that may be unwritable for a while, and knows how many lines it missed.
struct LogFile {
    kind: &'static str,
    rolling: RollingFile,
    lost: u64,
}

impl LogFile {
    /// Writes a line or counts it as lost; tells which.
    fn append(
        &mut self,
        time: DateTime<Tz>,
        line: &[u8],
        format: Format,
        complaints: &mut Complaints,
    ) -> bool {
        let written = self.write(time, line, format, complaints);
        if !written {
            self.lost += 1;
        }
        written
    }

    /// Tries to write the line that says how many were lost without waiting for another.
    fn write_down_losses(&mut self, now: DateTime<Tz>, format: Format, complaints: &mut Complaints) {
        if self.lost > 0 {
            self.write(now, b"", format, complaints);
        }
    }

    /// Writes `line` after a line that says how many were lost before it, if any were.
    fn write(
        &mut self,
        time: DateTime<Tz>,
        line: &[u8],
        format: Format,
        complaints: &mut Complaints,
    ) -> bool {
        let mut lines = Vec::new();
        if self.lost > 0 {
            let fields = vec![("lines".to_owned(), Value::Unsigned(self.lost))];
            let notice = Entry::warning(time, "log lines before this one could not be written", fields);
            format.render(&notice, &mut lines);
        }
        lines.extend_from_slice(line);
        let now = time.to_utc();
        let mut complain = |trouble: &_| complaints.tell(trouble, now);
        if let Err(trouble) = self.rolling.append(time.date_naive(), &lines, &mut complain) {
            complain(&trouble);
            return false;
        }
        if self.lost > 0 {
            complaints.tell_resumed(self.kind, std::mem::take(&mut self.lost));
        }
        true
    }
}
