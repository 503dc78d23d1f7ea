//! When the next run of a job starts: at its due times, and again after a failure.
//!
//! A plain value that is asked what to do now. It starts from the wall clock each time it is asked and never from how long
//! it meant to wait, so that a machine that slept, and a clock that was set, lose no due time and repeat none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Schedule;

/// The longest time for which nobody looks at the clock. A machine that wakes up, or whose clock was set forward, runs what is
/// due so soon.
pub const NAP: Duration = Duration::from_secs(30);

/// A run that starts later than this after it should have makes up for it. Longer than a nap, with room for a busy machine.
const ON_TIME: TimeDelta = TimeDelta::minutes(5);

/// The pause after the first failure. It doubles with each failure that follows.
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(5);

/// The longest pause after a failure.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// The pause while something else works on the job.
const BUSY_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// Decides when a job runs.
#[derive(Clone, Debug)]
pub struct Timer {
    schedule: Schedule,
    delay: TimeDelta,
    catch_up: bool,
    /// Due times up to this one have had their run.
    taken: DateTime<Utc>,
    /// Why the last run was started.
    cause: Cause,
    /// When another attempt is made.
    again: Option<DateTime<Utc>>,
    failures: u32,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Start a run, for this reason.
    Run(Cause),
    /// Sleep, no longer than this, and ask again. Never longer than [`NAP`].
    Wait(Duration),
}

/// Why a run starts. Further attempts after a failure have the cause of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is due.
    OnTime,
    /// It was due while nobody could start it.
    MakesUp,
}

impl Timer {
    /// Due times of `schedule` after `since` have a run, each so long after it is due as `delay` says. Where `catch_up` is not
    /// set, one that cannot be started in time has none.
    pub fn new(schedule: Schedule, delay: Duration, catch_up: bool, since: DateTime<Utc>) -> Self {
        let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
        Self { schedule, delay, catch_up, taken: since, cause: Cause::OnTime, again: None, failures: 0 }
    }

    /// Replaces the settings. A schedule that is another one counts from `now` on; with the same one, nothing that was
    /// taken is taken again, and a further attempt stays planned.
    pub fn change(&mut self, schedule: Schedule, delay: Duration, catch_up: bool, now: DateTime<Utc>) {
        let fresh = Self::new(schedule, delay, catch_up, now);
        if fresh.schedule == self.schedule {
            (self.delay, self.catch_up) = (fresh.delay, fresh.catch_up);
        } else {
            *self = fresh;
        }
    }

    /// Starts a run as soon as it is asked next, unless nothing is to be made up for: something was missed before the timer
    /// was made.
    pub fn make_up(&mut self, now: DateTime<Utc>) {
        if self.catch_up {
            self.cause = Cause::MakesUp;
            self.again = Some(now);
        }
    }

    /// What to do at this time of the wall clock.
    pub fn turn(&mut self, now: DateTime<Utc>) -> Turn {
        let reached = now.checked_sub_signed(self.delay).unwrap_or(now);
        self.follow(now, reached);
        if let Some(due) = self.schedule.previous(reached).filter(|due| due.at > self.taken) {
            self.taken = due.at;
            self.again = None;
            self.failures = 0;
            let is_late = reached - due.at > ON_TIME;
            self.cause = if is_late { Cause::MakesUp } else { Cause::OnTime };
            if self.catch_up || !is_late {
                return Turn::Run(self.cause);
            }
        } else if self.again.is_some_and(|again| again <= now) {
            self.again = None;
            return Turn::Run(self.cause);
        }
        let wait = self.next(now).map_or(NAP, |next| (next - now).to_std().unwrap_or_default());
        Turn::Wait(wait.min(NAP))
    }

    /// When a run starts next, as things stand at `now`.
    ///
    /// `None` only near the end of the calendar.
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let reached = now.checked_sub_signed(self.delay).unwrap_or(now);
        let due = self.schedule.next(self.taken.max(reached))?.at.checked_add_signed(self.delay)?;
        Some(self.again.map_or(due, |again| again.min(due)))
    }

    /// The run failed: it is tried again after 5 minutes, then 10, 20, 40, and then every hour, until one succeeds or the next
    /// is due.
    pub fn failed(&mut self, now: DateTime<Utc>) {
        let pause = FIRST_PAUSE * 2_i32.saturating_pow(self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        self.again = now.checked_add_signed(pause.min(LONGEST_PAUSE));
    }

    /// The run could not begin because something else works on the job: it is tried again after a minute.
    pub fn busy(&mut self, now: DateTime<Utc>) {
        self.again = now.checked_add_signed(BUSY_PAUSE);
    }

    /// Follows a clock that was set back. By less than the time between two due times, it shows again what was taken
    /// already; by more, it was wrong before, and without this nothing would run until it shows that time again.
    fn follow(&mut self, now: DateTime<Utc>, reached: DateTime<Utc>) {
        if self.schedule.next(reached).is_some_and(|due| due.at < self.taken) {
            self.taken = reached;
        }
        let latest = now.checked_add_signed(LONGEST_PAUSE).unwrap_or(now);
        self.again = self.again.map(|again| again.min(latest));
    }
}

/// How long after its due times a job of this name starts, so that those of many machines do not all start at once: the same
/// for the same name, and less than `within`, in whole seconds.
pub fn jitter(name: &str, within: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    Duration::from_secs(hasher.finish().checked_rem(within.as_secs()).unwrap_or_default())
}
