//! How fast bytes of files may go, always or by the time of day.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use chrono::{DateTime, LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// A speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rate {
    /// As fast as it goes.
    #[default]
    Unlimited,
    /// So many bytes in a second, of all requests together.
    BytesPerSecond(NonZeroU64),
}

/// How fast bytes of files may go. Default: unlimited.
///
/// ```
/// use std::{collections::BTreeMap, num::NonZeroU64};
/// use chrono::NaiveTime;
/// use s3backup_transfer::{Bandwidth, Rate};
/// let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
/// let slow = Rate::BytesPerSecond(NonZeroU64::new(5 << 20).unwrap());
/// let rates = BTreeMap::from([(time(8), slow), (time(20), Rate::Unlimited)]);
/// let by_day = Bandwidth::Daily { timezone: chrono_tz::Asia::Seoul, rates };
/// let noon_in_seoul = "2026-11-23T03:00:00Z".parse().unwrap();
/// assert_eq!(by_day.at(noon_in_seoul), (slow, Some("2026-11-23T11:00:00Z".parse().unwrap())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bandwidth {
    /// The same at any time.
    Always(Rate),
    /// By the time of day, each rate from its time on until the next one, around midnight. A time that a change of the
    /// clock skips counts right after the gap, and one that the clock shows twice counts the first time. No rates at
    /// all are no limit.
    Daily {
        /// Whose clock tells the time.
        timezone: Tz,
        /// The rates by the times from which they hold.
        rates: BTreeMap<NaiveTime, Rate>,
    },
}

impl Default for Bandwidth {
    fn default() -> Self {
        Self::Always(Rate::Unlimited)
    }
}

impl Bandwidth {
    /// The rate at an instant, and until when it holds; `None` is for ever.
    pub fn at(&self, now: DateTime<Utc>) -> (Rate, Option<DateTime<Utc>>) {
        let (timezone, rates) = match self {
            Self::Always(rate) => return (*rate, None),
            Self::Daily { timezone, rates } => (*timezone, rates),
        };
        let today = now.with_timezone(&timezone).date_naive();
        // Where the clock is set back over midnight, the first time of tomorrow has come today.
        let days = (-1..=2).filter_map(|days| today.checked_add_signed(TimeDelta::days(days)));
        let changes = days.flat_map(|day| rates.iter().map(move |(time, rate)| (day.and_time(*time), *rate)));
        let mut current = Rate::Unlimited;
        for (local, rate) in changes {
            match first_instant(local, timezone) {
                Some(at) if at > now => return (current, Some(at)),
                Some(_) => current = rate,
                None => {}
            }
        }
        (current, None)
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        match self {
            Self::Always(rate) => *rate == Rate::Unlimited,
            Self::Daily { rates, .. } => rates.values().all(|rate| *rate == Rate::Unlimited),
        }
    }
}

/// The first instant at which the clock shows `local` or has passed it.
fn first_instant(local: NaiveDateTime, timezone: Tz) -> Option<DateTime<Utc>> {
    let at = match timezone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at,
        LocalResult::None => GapInfo::new(&local, &timezone)?.end?,
    };
    Some(at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes: u64) -> Rate {
        NonZeroU64::new(bytes).map_or(Rate::Unlimited, Rate::BytesPerSecond)
    }

    /// Entries are `HH:MM` and bytes, where 0 is unlimited.
    fn daily(timezone: Tz, entries: &[(&str, u64)]) -> Bandwidth {
        let rates = entries.iter().map(|(time, bytes)| (format!("{time}:00").parse().unwrap(), rate(*bytes)));
        Bandwidth::Daily { timezone, rates: rates.collect() }
    }

    fn utc(text: &str) -> DateTime<Utc> {
        format!("{text}:00Z").parse().unwrap()
    }

    #[track_caller]
    fn check(bandwidth: &Bandwidth, spans: &[(&str, u64, &str)]) {
        for (from, bytes, until) in spans {
            let expected = (rate(*bytes), Some(utc(until)));
            assert_eq!(bandwidth.at(utc(from)), expected, "from {from}");
            let last = utc(until) - TimeDelta::nanoseconds(1);
            assert_eq!(bandwidth.at(last), expected, "right before {until}");
        }
    }

    #[test]
    fn one_rate_holds_for_ever() {
        assert_eq!(Bandwidth::default().at(utc("2026-11-23T00:00")), (Rate::Unlimited, None));
        assert_eq!(Bandwidth::Always(rate(7)).at(utc("2026-11-23T00:00")), (rate(7), None));
        assert_eq!(daily(Tz::UTC, &[]).at(utc("2026-11-23T00:00")), (Rate::Unlimited, None));
    }

    #[test]
    fn each_rate_holds_until_the_next_around_midnight() {
        let seoul = daily(Tz::Asia__Seoul, &[("08:00", 5), ("12:30", 3), ("20:00", 0)]);
        check(
            &seoul,
            &[
                ("2026-11-22T11:00", 0, "2026-11-22T23:00"),
                ("2026-11-22T23:00", 5, "2026-11-23T03:30"),
                ("2026-11-23T03:30", 3, "2026-11-23T11:00"),
                ("2026-11-23T11:00", 0, "2026-11-23T23:00"),
            ],
        );
        let one = daily(Tz::Asia__Seoul, &[("08:00", 5)]);
        check(&one, &[("2026-11-22T23:00", 5, "2026-11-23T23:00")]);
    }

    /// At 02:00 (07:00 UTC) it is 03:00.
    #[test]
    fn a_time_that_is_skipped_counts_after_the_gap() {
        let new_york = daily(Tz::America__New_York, &[("02:30", 5), ("20:00", 9)]);
        check(
            &new_york,
            &[
                ("2026-03-08T01:00", 9, "2026-03-08T07:00"),
                ("2026-03-08T07:00", 5, "2026-03-09T00:00"),
                ("2026-03-09T00:00", 9, "2026-03-09T06:30"),
            ],
        );
    }

    /// At 02:00 (06:00 UTC) it is 01:00 again.
    #[test]
    fn a_time_that_comes_twice_counts_the_first_time() {
        let new_york = daily(Tz::America__New_York, &[("01:30", 5), ("20:00", 9)]);
        check(
            &new_york,
            &[
                ("2026-11-01T00:00", 9, "2026-11-01T05:30"),
                ("2026-11-01T05:30", 5, "2026-11-02T01:00"),
                ("2026-11-02T01:00", 9, "2026-11-02T06:30"),
            ],
        );
    }

    /// In Cuba midnight comes twice: at 01:00 (05:00 UTC) it is 00:00 again. In the Azores the clock goes back over it: at
    /// 01:00 (01:00 UTC) it is 00:00; and at 24:00 in Lebanon's spring (22:00 UTC) it is 01:00.
    #[test]
    fn changes_at_midnight() {
        let cuba = daily(Tz::America__Havana, &[("00:00", 5), ("00:30", 9)]);
        check(
            &cuba,
            &[("2026-11-01T04:00", 5, "2026-11-01T04:30"), ("2026-11-01T04:30", 9, "2026-11-02T05:00")],
        );
        let lebanon = daily(Tz::Asia__Beirut, &[("00:00", 5), ("00:30", 9)]);
        check(&lebanon, &[("2026-03-28T22:00", 9, "2026-03-29T21:00")]);
        // The clock went from 00:01 back to 23:01 of the day before.
        let st_johns = daily(Tz::America__St_Johns, &[("00:00", 5)]);
        check(&st_johns, &[("2010-11-07T02:30", 5, "2010-11-08T03:30")]);
    }
}
