//! How far something is, for whoever waits.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use s3backup_core::report::human;
use s3backup_fleet::trip::Trip;

/// What is over so soon says nothing.
const QUIET_FOR: Duration = Duration::from_secs(2);

/// How often it is said on a terminal, where each line takes the place of the one before.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// How often it is said where lines stay.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Says from time to time, on stderr, how far something is.
pub(crate) struct Progress {
    started: Instant,
    /// When the next word is due; never, if it is to be quiet.
    next: Option<Duration>,
    is_terminal: bool,
    is_drawn: bool,
}

impl Progress {
    /// Of something that begins now.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            started: Instant::now(),
            next: (!quiet).then_some(QUIET_FOR),
            is_terminal: io::stderr().is_terminal(),
            is_drawn: false,
        }
    }

    /// Says the line if it is time. The line is of how long it has taken so far.
    pub(crate) fn say(&mut self, line: impl FnOnce(Duration) -> String) {
        let passed = self.started.elapsed();
        if self.next.is_none_or(|next| passed < next) {
            return;
        }
        self.next = Some(passed + if self.is_terminal { DRAW_EVERY } else { LINE_EVERY });
        let line = line(passed);
        // If stderr is closed there is nobody to tell.
        let _ = if self.is_terminal {
            self.is_drawn = true;
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// How far a pass over trips is.
pub(crate) struct Trips {
    what: String,
    progress: Progress,
    files: u64,
    points: u64,
}

impl Trips {
    /// Of a pass that begins now.
    pub(crate) fn new(what: impl Into<String>, quiet: bool) -> Self {
        Self { what: what.into(), progress: Progress::new(quiet), files: 0, points: 0 }
    }

    /// One more is done.
    pub(crate) fn see(&mut self, trip: &Trip) {
        self.files += 1;
        self.points += trip.points.len() as u64;
        let Self { what, files, points, .. } = self;
        self.progress.say(|passed| {
            let (files, rate) = (human::files(*files), human::count(per_second(*points, passed)));
            format!("{what}: {files}, {} points, {rate} points/s", human::count(*points))
        });
    }
}

/// A rate for a person.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` keeps to the range")]
pub(crate) fn per_second(count: u64, time: Duration) -> u64 {
    (count as f64 / time.as_secs_f64().max(0.001)) as u64
}
