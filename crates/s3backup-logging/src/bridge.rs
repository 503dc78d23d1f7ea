//! Brings warnings and errors of dependencies into the log: a layer for `tracing`, a logger for
//! `log`.

use std::fmt;

use slog::{BorrowedKV, KV, Level, Logger, Record, RecordLocation, RecordStatic, Serializer};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::entry::Value;
use crate::error::Error;
use crate::lane;

/// Installs both receivers, each of which can be installed once in a process.
pub(crate) fn install(logger: &Logger) -> Result<(), Error> {
    let subscriber = tracing_subscriber::registry().with(TracingBridge(logger.clone()));
    tracing::subscriber::set_global_default(subscriber).map_err(Error::TracingTaken)?;
    log::set_boxed_logger(Box::new(LogBridge(logger.clone()))).map_err(Error::LogTaken)?;
    log::set_max_level(log::LevelFilter::Warn);
    Ok(())
}

/// What a dependency said, in the terms of slog.
struct Foreign<'a> {
    level: Level,
    target: &'a str,
    message: fmt::Arguments<'a>,
    fields: &'a Fields,
    file: Option<&'static str>,
    line: Option<u32>,
}

impl Foreign<'_> {
    fn log_to(&self, logger: &Logger) {
        let location = RecordLocation {
            file: self.file.unwrap_or("unknown"),
            line: self.line.unwrap_or(0),
            column: 0,
            function: "",
            module: "",
        };
        let header = RecordStatic { location: &location, tag: "", level: self.level };
        let values = slog::kv!("target" => self.target);
        logger.log(&Record::new(&header, &self.message, BorrowedKV(&(self.fields, values))));
    }
}

struct TracingBridge(Logger);

impl<S: Subscriber> Layer<S> for TracingBridge {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Spans, too, are nobody's interest here.
        if metadata.is_event() && tracing_level(metadata).is_some() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        metadata.is_event() && tracing_level(metadata).is_some()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let Some(level) = tracing_level(metadata) else { return };
        if lane::is_log_thread() {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = std::mem::take(&mut fields.message);
        Foreign {
            level,
            target: metadata.target(),
            message: format_args!("{message}"),
            fields: &fields,
            file: metadata.file(),
            line: metadata.line(),
        }
        .log_to(&self.0);
    }
}

fn tracing_level(metadata: &Metadata<'_>) -> Option<Level> {
    match *metadata.level() {
        tracing::Level::ERROR => Some(Level::Error),
        tracing::Level::WARN => Some(Level::Warning),
        _ => None,
    }
}

struct LogBridge(Logger);

impl log::Log for LogBridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        log_level(metadata.level()).is_some()
    }

    fn log(&self, record: &log::Record<'_>) {
        let Some(level) = log_level(record.level()) else { return };
        if lane::is_log_thread() {
            return;
        }
        Foreign {
            level,
            target: record.target(),
            message: *record.args(),
            fields: &Fields::default(),
            file: record.file_static(),
            line: record.line(),
        }
        .log_to(&self.0);
    }

    fn flush(&self) {}
}

fn log_level(level: log::Level) -> Option<Level> {
    match level {
        log::Level::Error => Some(Level::Error),
        log::Level::Warn => Some(Level::Warning),
        _ => None,
    }
}

/// The values of a `tracing` event; the one called `message` is its text.
#[derive(Default)]
struct Fields {
    message: String,
    values: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.values.push((field.name(), Value::Text(format!("{value:?}"))));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.values.push((field.name(), Value::Text(value.to_owned())));
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.values.push((field.name(), Value::Bool(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.values.push((field.name(), Value::Signed(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.values.push((field.name(), Value::Unsigned(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.values.push((field.name(), Value::Float(value)));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.values.push((field.name(), Value::Text(value.to_string())));
    }
}

impl KV for &Fields {
    fn serialize(&self, _record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        // Backwards, as slog's own macros do it.
        for (key, value) in self.values.iter().rev() {
            value.emit((*key).into(), serializer)?;
        }
        Ok(())
    }
}
