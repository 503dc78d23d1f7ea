//! How a [`LoggerManager`] is put together.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use slog::{Level, Logger};

use crate::complaint::Complaints;
use crate::console::Console;
use crate::file::{FileSink, LogNames};
use crate::format::Format;
use crate::lane::Lane;
use crate::manager::LoggerManager;
use crate::rolling::Limits;
use crate::router::{Route, Router};

/// Tells the time. The system's clock unless a test says otherwise.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The size at which a file is rotated unless [`Builder::max_size`] says otherwise: 100 MiB.
pub const DEFAULT_MAX_SIZE_BYTES: u64 = 100 * 1024 * 1024;

/// How many rotated files of one date are kept unless [`Builder::keep_files`] says otherwise.
pub const DEFAULT_KEEP_FILES: u32 = 5;

/// How many days files are kept unless [`Builder::keep_days`] says otherwise.
pub const DEFAULT_KEEP_DAYS: u32 = 30;

/// Settings of a [`LoggerManager`]; made by [`LoggerManager::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    job: String,
    dir: Option<PathBuf>,
    level: Level,
    console_level: Option<Level>,
    format: Format,
    limits: Limits,
    timezone: Tz,
    console: Console,
    clock: Clock,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("job", &self.job)
            .field("dir", &self.dir)
            .field("level", &self.level)
            .field("console_level", &self.console_level)
            .field("format", &self.format)
            .field("limits", &self.limits)
            .field("timezone", &self.timezone)
            .field("console", &self.console)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(job: &str) -> Self {
        Self {
            job: job.to_owned(),
            dir: None,
            level: Level::Info,
            console_level: None,
            format: Format::default(),
            limits: Limits {
                max_size_bytes: DEFAULT_MAX_SIZE_BYTES,
                keep_files: DEFAULT_KEEP_FILES,
                keep_days: DEFAULT_KEEP_DAYS,
            },
            timezone: Tz::UTC,
            console: Console::default(),
            clock: Arc::new(Utc::now),
        }
    }

    /// The directory of the log files, which is made when the first line is written. A relative
    /// path counts from the working directory at the time of [`build`](Self::build). Without one,
    /// which is the default, there are no files.
    pub fn dir(mut self, dir: impl Into<Option<PathBuf>>) -> Self {
        self.dir = dir.into();
        self
    }

    /// The least severe level that is logged. Default: [`Level::Info`].
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// The least severe level that the console shows, if it differs from that of the files.
    /// Default: [`level`](Self::level).
    pub fn console_level(mut self, level: Level) -> Self {
        self.console_level = Some(level);
        self
    }

    /// How the lines of the files look. Default: [`Format::Text`].
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The size in bytes above which a file is rotated; 0 is no limit. A longer line has a file of
    /// its own, and while another process rotates, lines may go beyond. Default:
    /// [`DEFAULT_MAX_SIZE_BYTES`].
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.limits.max_size_bytes = bytes;
        self
    }

    /// How many rotated files of each kind and date are kept, `.1` being the newest; with 0 a full
    /// file is removed. Default: [`DEFAULT_KEEP_FILES`].
    pub fn keep_files(mut self, files: u32) -> Self {
        self.limits.keep_files = files;
        self
    }

    /// How many days before today files are kept, by the date in their names; 0 keeps all. Only
    /// files that are named as this job's log files are ever removed, at the first line of a day.
    /// Default: [`DEFAULT_KEEP_DAYS`].
    pub fn keep_days(mut self, days: u32) -> Self {
        self.limits.keep_days = days;
        self
    }

    /// The zone of the times in the lines and of the dates in the names. Default: UTC.
    pub fn timezone(mut self, timezone: Tz) -> Self {
        self.timezone = timezone;
        self
    }

    /// Where lines are shown besides the files. Default: [`Console::Stderr`].
    pub fn console(mut self, console: Console) -> Self {
        self.console = console;
        self
    }

    /// Replaces the system's clock. It is asked once per line, on the thread that logs it.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the outputs: a thread for the console, and one for the files.
    ///
    /// Trouble with the disk does not show here: no file is touched before the first line.
    ///
    /// # Panics
    ///
    /// If the system refuses to start a thread.
    pub fn build(self) -> LoggerManager {
        let Self { job, dir, level, console_level, format, limits, timezone, console, clock } = self;
        let console = console
            .into_sink()
            .map(|sink| Arc::new(Lane::start("log-console", sink, timezone, Arc::clone(&clock))));
        // If the working directory is gone, the path stays relative and will be complained about.
        let dir = dir.map(|dir| std::path::absolute(&dir).unwrap_or(dir));
        let names = dir.map(|dir| LogNames::new(dir, &job));
        let files = names.clone().map(|names| {
            let complaints = Complaints::new(console.clone(), Arc::clone(&clock));
            let sink = FileSink::new(names, limits, format, timezone, complaints);
            Arc::new(Lane::start("log-files", sink, timezone, Arc::clone(&clock)))
        });

        let console_level = console_level.unwrap_or(level);
        let routes = [(&files, level), (&console, console_level)]
            .into_iter()
            .filter_map(|(lane, level)| lane.clone().map(|lane| Route { lane, level }))
            .collect();
        let logger = Logger::root(Router::new(routes, Arc::clone(&clock)), slog::o!());
        // The files' lane is flushed and closed first: it may still complain to the console.
        let lanes = files.into_iter().chain(console).collect();
        LoggerManager::new(logger, lanes, names, timezone, clock)
    }
}
