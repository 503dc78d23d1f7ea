//! The console: the same lines as in a text log file, in colour where that helps.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use chrono::{DateTime, Utc};
use slog::Level;
use slog_term::RecordDecorator;

use crate::entry::Entry;
use crate::format;
use crate::lane::Sink;

/// Where log lines are shown besides the files.
#[derive(Default)]
#[non_exhaustive]
pub enum Console {
    /// Standard error; in colour if it is a terminal, `TERM` is not `dumb`, and `NO_COLOR` is unset
    /// or empty. This is the default.
    #[default]
    Stderr,
    /// Nowhere. Trouble with the log files is then not told either.
    Off,
    /// A writer of the caller's, such as one that suspends a progress bar while a line is written.
    /// Each line arrives in one `write_all`, followed by a `flush`, on a thread of the log's own;
    /// an error of the writer is ignored, since there is no place left to tell it.
    Writer {
        /// Receives the lines.
        writer: Box<dyn Write + Send>,
        /// Whether lines hold ANSI colours. `NO_COLOR` is not looked at.
        colour: bool,
    },
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => f.write_str("Stderr"),
            Self::Off => f.write_str("Off"),
            Self::Writer { colour, .. } => {
                f.debug_struct("Writer").field("colour", colour).finish_non_exhaustive()
            }
        }
    }
}

impl Console {
    pub(crate) fn into_sink(self) -> Option<ConsoleSink> {
        let (writer, colour): (Box<dyn Write + Send>, bool) = match self {
            Self::Off => return None,
            Self::Stderr => (Box::new(io::stderr()), stderr_has_colour()),
            Self::Writer { writer, colour } => (writer, colour),
        };
        Some(ConsoleSink { writer, colour, line: Vec::new() })
    }
}

fn stderr_has_colour() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    !refused && !dumb && io::stderr().is_terminal()
}

/// Writes entries to the console.
pub(crate) struct ConsoleSink {
    writer: Box<dyn Write + Send>,
    colour: bool,
    line: Vec<u8>,
}

impl Sink for ConsoleSink {
    fn write(&mut self, entry: &Entry) {
        self.line.clear();
        let mut paint = Paint { line: &mut self.line, colour: self.colour, level: entry.level, on: false };
        let rendered = format::text(entry, &mut paint);
        // A console that is gone must not end the backup, and the files have the line.
        let _ = rendered.and_then(|()| self.writer.write_all(&self.line)).and_then(|()| self.writer.flush());
    }

    fn flush(&mut self, _now: DateTime<Utc>) {}

    fn close(&mut self, _now: DateTime<Utc>) {}
}

/// Colours the parts of a line: the level by its weight, what frames the message dimmed.
struct Paint<'a> {
    line: &'a mut Vec<u8>,
    colour: bool,
    level: Level,
    on: bool,
}

impl Paint<'_> {
    fn ansi(&mut self, code: &str) -> io::Result<()> {
        self.reset()?;
        if self.colour {
            self.on = true;
            write!(self.line, "\u{1b}[{code}m")?;
        }
        Ok(())
    }
}

impl Write for Paint<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for Paint<'_> {
    fn reset(&mut self) -> io::Result<()> {
        if self.on {
            self.on = false;
            self.line.write_all(b"\x1b[0m")?;
        }
        Ok(())
    }

    fn start_timestamp(&mut self) -> io::Result<()> {
        self.ansi("2")
    }

    fn start_level(&mut self) -> io::Result<()> {
        self.ansi(match self.level {
            Level::Critical | Level::Error => "1;31",
            Level::Warning => "33",
            Level::Info => "32",
            Level::Debug => "36",
            Level::Trace => "35",
        })
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.ansi("2")
    }

    fn start_location(&mut self) -> io::Result<()> {
        self.ansi("2")
    }
}
