//! One log record as the outputs see it: its values evaluated, its duplicates removed, its time
//! the one at which it was logged.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use slog::{KV, Key, Level, OwnedKVList, Record, Serializer};

/// The key under which a record carries the time of the call through its queue; see [`Stamped`].
const TIME_KEY: &str = "\0time";

/// A value of a key–value pair. The types are kept apart because JSON has them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl Value {
    pub(crate) fn emit(&self, key: Key, serializer: &mut dyn Serializer) -> slog::Result {
        match self {
            Self::Null => serializer.emit_none(key),
            Self::Bool(value) => serializer.emit_bool(key, *value),
            Self::Signed(value) => serializer.emit_i64(key, *value),
            Self::Unsigned(value) => serializer.emit_u64(key, *value),
            Self::Float(value) => serializer.emit_f64(key, *value),
            Self::Text(value) => serializer.emit_str(key, value),
        }
    }
}

/// A record that is ready to be written.
pub(crate) struct Entry {
    pub(crate) time: DateTime<Tz>,
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) fields: Vec<(String, Value)>,
    pub(crate) file: &'static str,
    pub(crate) line: u32,
}

impl Entry {
    /// Reads a record: its own values, then those of its logger from the oldest ancestor's on; of
    /// two with one key the one closest to the call counts. A record without a [stamp](Stamped)
    /// gets the time that `now` tells.
    pub(crate) fn read(
        record: &Record<'_>,
        values: &OwnedKVList,
        zone: Tz,
        now: impl FnOnce() -> DateTime<Utc>,
    ) -> Self {
        let mut collector = Collector::default();
        // The collector has no errors of its own, and a value that cannot show itself is only
        // missing from its line.
        let _ = record.kv().serialize(record, &mut collector);
        let own = collector.fields.len();
        let _ = values.serialize(record, &mut collector);
        // slog hands out what was written last first.
        collector.fields[..own].reverse();
        collector.fields[own..].reverse();
        let time = collector.time_us.and_then(DateTime::from_timestamp_micros).unwrap_or_else(now);
        Self {
            time: time.with_timezone(&zone),
            level: record.level(),
            message: record.msg().to_string(),
            fields: collector.fields,
            file: short_file(record.file()),
            line: record.line(),
        }
    }

    /// A warning about the log itself.
    #[track_caller]
    pub(crate) fn warning(time: DateTime<Tz>, message: &str, fields: Vec<(String, Value)>) -> Self {
        let caller = std::panic::Location::caller();
        Self {
            time,
            level: Level::Warning,
            message: message.to_owned(),
            fields,
            file: short_file(caller.file()),
            line: caller.line(),
        }
    }
}

/// The part of a source path that says something: without the folder of the workspace's crates or
/// that of the registry from which a dependency was built.
fn short_file(file: &'static str) -> &'static str {
    if let Some((_, in_registry)) = file.split_once("/registry/src/") {
        return in_registry.split_once('/').map_or(in_registry, |(_index, rest)| rest);
    }
    match file.rsplit_once("/crates/") {
        // Built from outside of the workspace, where paths are absolute.
        Some((_, in_workspace)) => in_workspace,
        None => file.strip_prefix("crates/").unwrap_or(file),
    }
}

/// A record's values together with the time of the call.
///
/// A record may wait in the queue, so the time has to travel with it; `slog-async` carries
/// key–value pairs and nothing else that would do.
pub(crate) struct Stamped<'a> {
    pub(crate) values: slog::BorrowedKV<'a>,
    pub(crate) time: DateTime<Utc>,
}

impl KV for Stamped<'_> {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        serializer.emit_i64(TIME_KEY.into(), self.time.timestamp_micros())?;
        self.values.serialize(record, serializer)
    }
}

#[derive(Default)]
struct Collector {
    time_us: Option<i64>,
    fields: Vec<(String, Value)>,
}

impl Collector {
    // By value because that is how slog hands keys out.
    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    fn add(&mut self, key: Key, value: Value) -> slog::Result {
        let key: &str = key.as_ref();
        if self.fields.iter().all(|(known, _)| known != key) {
            self.fields.push((key.to_owned(), value));
        }
        Ok(())
    }
}

macro_rules! emit_numbers {
    ($($name:ident($from:ty) => $variant:ident),* $(,)?) => {
        $(fn $name(&mut self, key: Key, value: $from) -> slog::Result {
            self.add(key, Value::$variant(value.into()))
        })*
    };
}

impl Serializer for Collector {
    emit_numbers! {
        emit_bool(bool) => Bool,
        emit_u8(u8) => Unsigned, emit_u16(u16) => Unsigned, emit_u32(u32) => Unsigned, emit_u64(u64) => Unsigned,
        emit_i8(i8) => Signed, emit_i16(i16) => Signed, emit_i32(i32) => Signed,
        emit_f32(f32) => Float, emit_f64(f64) => Float,
        emit_str(&str) => Text,
    }

    fn emit_i64(&mut self, key: Key, value: i64) -> slog::Result {
        if AsRef::<str>::as_ref(&key) == TIME_KEY {
            self.time_us.get_or_insert(value);
            return Ok(());
        }
        self.add(key, Value::Signed(value))
    }

    fn emit_usize(&mut self, key: Key, value: usize) -> slog::Result {
        self.add(key, Value::Unsigned(value as u64))
    }

    fn emit_isize(&mut self, key: Key, value: isize) -> slog::Result {
        self.add(key, Value::Signed(value as i64))
    }

    fn emit_unit(&mut self, key: Key) -> slog::Result {
        self.add(key, Value::Null)
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.add(key, Value::Null)
    }

    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.add(key, Value::Text(value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_paths_are_short() {
        assert_eq!(short_file("crates/s3backup-core/src/run.rs"), "s3backup-core/src/run.rs");
        assert_eq!(
            short_file("/root/.cargo/registry/src/index-1f/hyper-1.0.0/src/a.rs"),
            "hyper-1.0.0/src/a.rs"
        );
        assert_eq!(short_file("/src/s3backup/crates/s3backup-core/src/run.rs"), "s3backup-core/src/run.rs");
        assert_eq!(short_file("bins/backup/src/main.rs"), "bins/backup/src/main.rs");
    }
}
