//! Due times of a schedule.
//!
//! The library that knows cron steps through times of the wall clock, as if no clock were ever changed. Here each of them
//! becomes an instant: the first at which the clock of the zone shows it or has passed it. That one sentence is the rule
//! for skipped and for repeated times, and it keeps the order, so that the search can go either way.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use croner::Cron;

use crate::error::shown;
use crate::{Error, expression};

/// A cron expression in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    text: String,
    timezone: Tz,
}

/// One time at which a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueTime {
    /// The instant; whole seconds.
    pub at: DateTime<Utc>,
    /// The date that the schedule's zone has at that instant.
    pub local_date: NaiveDate,
}

/// The due times in a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The newest of them, oldest first.
    pub times: Vec<DueTime>,
    /// Whether there are older ones that the limit left out.
    pub left_out: bool,
}

impl Schedule {
    /// Reads a cron expression of five fields, or a name such as `@daily`, whose times are those of `timezone`.
    ///
    /// # Errors
    /// [`Error::Invalid`] says which field is wrong and shows one that is right; [`Error::NeverDue`] if no year has such a
    /// day.
    pub fn new(cron: &str, timezone: Tz) -> Result<Self, Error> {
        let text = cron.trim().to_owned();
        let schedule = Self { cron: expression::parse(&text)?, text, timezone };
        // The calendar repeats itself after 400 years, so where the search begins does not matter.
        let any = schedule.cron.find_next_occurrence(&DateTime::UNIX_EPOCH.naive_utc(), true);
        if any.is_err() {
            return Err(Error::NeverDue { cron: shown(&schedule.text) });
        }
        Ok(schedule)
    }

    /// The cron expression as it was given, without blanks around it.
    pub fn cron(&self) -> &str {
        &self.text
    }

    /// The zone whose wall clock counts.
    pub fn timezone(&self) -> Tz {
        self.timezone
    }

    /// The first due time after `at`.
    ///
    /// `None` only near the ends of the calendar (years 1 and 5000).
    pub fn next(&self, at: DateTime<Utc>) -> Option<DueTime> {
        // What the clock already showed was due when it did.
        let after = local(at, self.offset(at))?;
        self.ascending(after).find(|due| due.at > at)
    }

    /// The last due time at or before `at`.
    ///
    /// `None` only near the ends of the calendar, as for [`next`](Self::next).
    pub fn previous(&self, at: DateTime<Utc>) -> Option<DueTime> {
        self.descending(at).next()
    }

    /// The due times with `after < t <= until`: at most the newest `limit`, and whether there are more.
    ///
    /// The work grows with `limit` and not with the span.
    pub fn between(&self, after: DateTime<Utc>, until: DateTime<Utc>, limit: usize) -> Due {
        let mut due = Due::default();
        for time in self.descending(until).take_while(|time| time.at > after) {
            if due.times.last() == Some(&time) {
                // Several times of one gap are due together.
                continue;
            }
            if due.times.len() == limit {
                due.left_out = true;
                break;
            }
            due.times.push(time);
        }
        due.times.reverse();
        due
    }

    /// Due times of wall clock times after `local`.
    fn ascending(&self, local: NaiveDateTime) -> impl Iterator<Item = DueTime> {
        let next = |local: &NaiveDateTime| self.cron.find_next_occurrence(local, false).ok();
        std::iter::successors(next(&local), next).filter_map(|local| self.due(local))
    }

    /// Due times at or before `at`, newest first; those of one gap are repeated.
    fn descending(&self, at: DateTime<Utc>) -> impl Iterator<Item = DueTime> {
        // After a clock was put back, times are past that it does not show yet again. No clock is put back by more
        // than a day.
        let day_before = at.checked_sub_signed(TimeDelta::days(1)).unwrap_or(at);
        let newest = local(at, self.offset(at).max(self.offset(day_before)));
        let first = newest.and_then(|newest| self.cron.find_previous_occurrence(&newest, true).ok());
        let previous = |local: &NaiveDateTime| self.cron.find_previous_occurrence(local, false).ok();
        std::iter::successors(first, previous)
            .filter_map(|local| self.due(local))
            .skip_while(move |due| due.at > at)
    }

    /// The first instant at which the clock shows `local` or has passed it.
    fn due(&self, local: NaiveDateTime) -> Option<DueTime> {
        let at = match self.timezone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at,
            LocalResult::None => GapInfo::new(&local, &self.timezone)?.end?,
        };
        Some(DueTime { at: at.to_utc(), local_date: at.date_naive() })
    }

    fn offset(&self, at: DateTime<Utc>) -> TimeDelta {
        let offset = self.timezone.offset_from_utc_datetime(&at.naive_utc()).fix();
        TimeDelta::seconds(offset.local_minus_utc().into())
    }
}

/// What a clock shows, in whole seconds; `None` beyond the calendar.
fn local(at: DateTime<Utc>, offset: TimeDelta) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(at.timestamp(), 0)?.naive_utc().checked_add_signed(offset)
}
