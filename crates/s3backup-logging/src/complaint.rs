//! Tells on the console what is wrong with the log files, without flooding it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use slog::{Level, Logger};

use crate::builder::Clock;
use crate::lane::Lane;
use crate::rolling::Trouble;
use crate::router::{Route, Router};

/// How long a cause that was told is not told again.
const INTERVAL: TimeDelta = TimeDelta::minutes(5);

/// What makes two troubles the same. The path is no part of it: one full disk holds both files.
type Cause = (&'static str, Option<i32>, io::ErrorKind);

/// The way for trouble with the log files to the console.
pub(crate) struct Complaints {
    console: Logger,
    told: HashMap<Cause, DateTime<Utc>>,
}

impl Complaints {
    /// Complaints go to `console` whatever its level, since a person who wants few lines still
    /// wants to know that the files hold fewer than they should. Without a console nobody hears
    /// them.
    pub(crate) fn new(console: Option<Arc<Lane>>, clock: Clock) -> Self {
        let routes = console.map(|lane| Route { lane, level: Level::Warning });
        let console = Logger::root(Router::new(routes.into_iter().collect(), clock), slog::o!());
        Self { console, told: HashMap::new() }
    }

    /// Tells a trouble unless the same was told lately.
    pub(crate) fn tell(&mut self, trouble: &Trouble, now: DateTime<Utc>) {
        let cause = (trouble.operation, trouble.error.raw_os_error(), trouble.error.kind());
        // The clock may be set back, so the distance counts in both directions.
        if self.told.get(&cause).is_some_and(|told| (now - told).abs() < INTERVAL) {
            return;
        }
        self.told.insert(cause, now);
        slog::warn!(self.console, "log file cannot be {}", trouble.operation;
            "path" => %trouble.path.display(), "error" => %trouble.error);
    }

    /// Tells at the end that lines are missing from a file.
    pub(crate) fn tell_lost(&self, kind: &'static str, lines: u64) {
        slog::warn!(self.console, "log lines could not be written"; "file" => kind, "lines" => lines);
    }

    /// Tells that a file is written again; the next trouble is a new one.
    pub(crate) fn tell_resumed(&mut self, kind: &'static str, lines: u64) {
        self.told.clear();
        slog::warn!(self.console, "log file is written again"; "file" => kind, "lost_lines" => lines);
    }
}
