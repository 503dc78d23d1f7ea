//! How an entry looks: as a line of text, for people and `grep`, or as a line of JSON.

use std::io::{self, Write};

use chrono::SecondsFormat;
use slog::{Drain, KV, Record, RecordLocation, RecordStatic, Serializer};
use slog_term::RecordDecorator;

use crate::entry::{Entry, Value};
use crate::escape;

/// How the lines of the log files look. The console always shows text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// RFC 3339 time with milliseconds and offset, level, message, `key=value` pairs, and the place
    /// in the source: `2025-11-24T20:00:00.000+09:00 INFO    uploaded key=a.json [core/src/run.rs:42]`.
    #[default]
    Text,
    /// One JSON object per line: `ts`, `level`, `msg`, the pairs, and `at` (`file:line`). A pair
    /// with one of these four names gets an underscore after its key.
    Json,
}

/// The JSON names that an entry's own parts have.
const RESERVED: [&str; 4] = ["ts", "level", "msg", "at"];

impl Format {
    /// Appends the entry to `line`, with a line break at its end.
    pub(crate) fn render(self, entry: &Entry, line: &mut Vec<u8>) {
        let start = line.len();
        let rendered = match self {
            Self::Text => text(entry, &mut Plain(line)),
            Self::Json => json(entry, line),
        };
        // Writing to memory does not fail; should a formatter ever do so, its half line goes.
        if rendered.is_err() {
            line.truncate(start);
        }
    }
}

/// Writes the entry as text, with a line break at its end, in the colours of `out`.
pub(crate) fn text(entry: &Entry, out: &mut dyn RecordDecorator) -> io::Result<()> {
    out.start_timestamp()?;
    write!(out, "{}", entry.time.to_rfc3339_opts(SecondsFormat::Millis, false))?;
    out.start_whitespace()?;
    write!(out, " ")?;
    out.start_level()?;
    write!(out, "{:<7}", entry.level.as_str())?;
    out.start_whitespace()?;
    write!(out, " ")?;
    out.start_msg()?;
    write!(out, "{}", escape::Message(&entry.message))?;
    for (key, value) in &entry.fields {
        out.start_whitespace()?;
        write!(out, " ")?;
        out.start_key()?;
        write!(out, "{}", escape::Key(key))?;
        out.start_separator()?;
        write!(out, "=")?;
        out.start_value()?;
        match value {
            Value::Null => write!(out, "none")?,
            Value::Bool(value) => write!(out, "{value}")?,
            Value::Signed(value) => write!(out, "{value}")?,
            Value::Unsigned(value) => write!(out, "{value}")?,
            Value::Float(value) => write!(out, "{value}")?,
            Value::Text(value) => write!(out, "{}", escape::Value(value))?,
        }
    }
    out.start_whitespace()?;
    write!(out, " ")?;
    out.start_location()?;
    write!(out, "[{}:{}]", escape::Message(entry.file), entry.line)?;
    out.reset()?;
    writeln!(out)
}

fn json(entry: &Entry, line: &mut Vec<u8>) -> io::Result<()> {
    let location = RecordLocation { file: "", line: 0, column: 0, function: "", module: "" };
    let header = RecordStatic { location: &location, tag: "", level: entry.level };
    let fields = JsonFields(entry);
    let mut document = Vec::new();
    slog_json::Json::new(&mut document)
        .set_newlines(false)
        .build()
        .log(&Record::new(&header, &format_args!(""), slog::BorrowedKV(&fields)), &slog::o!().into())?;
    let document = str::from_utf8(&document).map_err(io::Error::other)?;
    writeln!(line, "{}", escape::Json(document))
}

struct JsonFields<'a>(&'a Entry);

impl KV for JsonFields<'_> {
    fn serialize(&self, _record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let entry = self.0;
        serializer.emit_str("ts".into(), &entry.time.to_rfc3339_opts(SecondsFormat::Millis, false))?;
        serializer.emit_str("level".into(), entry.level.as_str())?;
        serializer.emit_str("msg".into(), &entry.message)?;
        for (key, value) in &entry.fields {
            let key = if RESERVED.contains(&key.as_str()) { format!("{key}_") } else { key.clone() };
            value.emit(key.into(), serializer)?;
        }
        serializer.emit_arguments("at".into(), &format_args!("{}:{}", entry.file, entry.line))
    }
}

/// Text without colours.
struct Plain<'a>(&'a mut Vec<u8>);

impl Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for Plain<'_> {
    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }
}
