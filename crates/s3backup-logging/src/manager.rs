//! [`LoggerManager`]: the outputs of the log and the ways into them.

use std::fmt;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;

use chrono_tz::Tz;
use slog::{BorrowedKV, Level, Logger, Record, RecordLocation, RecordStatic};

use crate::bridge;
use crate::builder::{Builder, Clock};
use crate::error::Error;
use crate::file::LogNames;
use crate::lane::Lane;

/// Owns the outputs of the log, and is a way into them.
///
/// Lines go through [`logger`](Self::logger), which the `slog` macros and every crate of the
/// workspace take, or through the methods named after levels, for a plain sentence.
///
/// Dropping the manager writes all that was logged before and ends its threads; loggers that are
/// still around then log to nowhere. Waiting includes the console: if somebody paused the
/// terminal, until it goes on.
pub struct LoggerManager {
    logger: Logger,
    lanes: Vec<Arc<Lane>>,
    names: Option<LogNames>,
    timezone: Tz,
    clock: Clock,
}

impl fmt::Debug for LoggerManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggerManager")
            .field("info_log_path", &self.info_log_path())
            .field("timezone", &self.timezone)
            .finish_non_exhaustive()
    }
}

impl LoggerManager {
    /// Starts the settings for the log of `job`.
    ///
    /// The job's name becomes a part of file names: letters and digits of all scripts, `.`, `-` and
    /// `_` stay, everything else becomes `%XX`.
    pub fn builder(job: &str) -> Builder {
        Builder::new(job)
    }

    pub(crate) fn new(
        logger: Logger,
        lanes: Vec<Arc<Lane>>,
        names: Option<LogNames>,
        timezone: Tz,
        clock: Clock,
    ) -> Self {
        Self { logger, lanes, names, timezone, clock }
    }

    /// A logger into all outputs. Clones and children are cheap.
    pub fn logger(&self) -> Logger {
        self.logger.clone()
    }

    /// Logs a line that tells the story of a run, with the place of the caller.
    #[track_caller]
    pub fn info(&self, message: impl fmt::Display) {
        self.log(Level::Info, &message);
    }

    /// Logs a detail, with the place of the caller.
    #[track_caller]
    pub fn debug(&self, message: impl fmt::Display) {
        self.log(Level::Debug, &message);
    }

    /// Logs something that a person should look at some day, with the place of the caller.
    #[track_caller]
    pub fn warning(&self, message: impl fmt::Display) {
        self.log(Level::Warning, &message);
    }

    /// Logs a failure, with the place of the caller. It is in the error file, too.
    #[track_caller]
    pub fn error(&self, message: impl fmt::Display) {
        self.log(Level::Error, &message);
    }

    #[track_caller]
    fn log(&self, level: Level, message: &dyn fmt::Display) {
        let caller = Location::caller();
        let location = RecordLocation {
            file: caller.file(),
            line: caller.line(),
            column: caller.column(),
            function: "",
            module: "",
        };
        let header = RecordStatic { location: &location, tag: "", level };
        self.logger.log(&Record::new(&header, &format_args!("{message}"), BorrowedKV(&())));
    }

    /// The file that receives lines now, whether or not it could be written; `None` if there are no
    /// files.
    pub fn info_log_path(&self) -> Option<PathBuf> {
        self.names.as_ref().map(|names| names.info.current(self.today()))
    }

    /// The file that receives errors now; it does not exist before the first one of the day.
    pub fn error_log_path(&self) -> Option<PathBuf> {
        self.names.as_ref().map(|names| names.error.current(self.today()))
    }

    fn today(&self) -> chrono::NaiveDate {
        (self.clock)().with_timezone(&self.timezone).date_naive()
    }

    /// Waits until all that was logged before this call is written.
    ///
    /// Written means handed to the system: it outlives this process, but no power cut.
    pub fn flush(&self) {
        for lane in &self.lanes {
            lane.flush();
        }
    }

    /// Writes all that was logged and ends the threads, as dropping does. To be called before
    /// [`std::process::exit`], which drops nothing.
    pub fn finish(self) {
        drop(self);
    }

    /// Sends warnings and errors of dependencies that log through `tracing` or `log` (the AWS SDK,
    /// hyper, rustls) into the same outputs, with their `target` as a value. Lower levels are left
    /// out: they show headers and bodies of requests.
    ///
    /// This is global to the process and can be done once, so it is for a program to call, not for
    /// a library. It stays in force, to no effect, after the manager is gone.
    ///
    /// [`Error::TracingTaken`] or [`Error::LogTaken`] if the process has such a receiver already.
    pub fn capture_dependencies(&self) -> Result<(), Error> {
        bridge::install(&self.logger)
    }
}

impl Drop for LoggerManager {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.close();
        }
    }
}
