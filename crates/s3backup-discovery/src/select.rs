//! Which of the files that the patterns let through are wanted.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use chrono::{Datelike, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use s3backup_model::unix_ns;

/// Which of the files that the patterns let through are wanted, by modification time. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Select {
    /// Every file.
    #[default]
    All,
    /// Files that were last modified in one of these times, in nanoseconds since the Unix epoch; ascending and apart
    /// from one another, as [`Select::days`] makes them.
    Times(Arc<[Range<i64>]>),
}

impl Select {
    /// Files that were last modified on one of `dates`, in any order, as the calendar of `tz` has them. No dates
    /// select no files.
    ///
    /// A day is from its first instant up to, not including, that of the next day, which may be 23 or 25 hours.
    /// Every instant is thus in exactly one day, also where clocks go back over midnight.
    ///
    /// ```
    /// use chrono::NaiveDate;
    /// use s3backup_discovery::Select;
    /// let last = NaiveDate::from_ymd_opt(2026, 11, 23).ok_or("no such day")?;
    /// let week = Select::days(last.iter_days().rev().take(7), chrono_tz::Asia::Seoul);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn days(dates: impl IntoIterator<Item = NaiveDate>, tz: Tz) -> Self {
        // No file has a time that is further away.
        let dates: BTreeSet<_> =
            dates.into_iter().filter(|date| (1677..=2262).contains(&date.year())).collect();
        let mut times: Vec<Range<i64>> = Vec::new();
        for date in dates {
            let next = date.succ_opt().map_or(i64::MAX, |next| start_ns(next, tz));
            let day = start_ns(date, tz)..next;
            match times.last_mut() {
                Some(before) if before.end == day.start => before.end = day.end,
                _ if day.is_empty() => {}
                _ => times.push(day),
            }
        }
        Self::Times(times.into())
    }

    /// [`Select::days`] of one day.
    pub fn day(date: NaiveDate, tz: Tz) -> Self {
        Self::days([date], tz)
    }

    pub(crate) fn takes(&self, mtime_ns: i64) -> bool {
        match self {
            Self::All => true,
            Self::Times(times) => {
                let next = times.partition_point(|time| time.end <= mtime_ns);
                times.get(next).is_some_and(|time| time.contains(&mtime_ns))
            }
        }
    }
}

/// The first instant of a day.
fn start_ns(date: NaiveDate, tz: Tz) -> i64 {
    let midnight = date.and_time(NaiveTime::MIN);
    let start_s = match tz.from_local_datetime(&midnight) {
        LocalResult::Single(start) | LocalResult::Ambiguous(start, _) => start.timestamp(),
        LocalResult::None => {
            // Clocks go forward over midnight, in some zones for a whole day. Looked for among the two days around,
            // in which they do so once.
            let (mut before, mut after) = (midnight - TimeDelta::hours(26), midnight + TimeDelta::hours(26));
            while after - before > TimeDelta::seconds(1) {
                let middle = before + (after - before) / 2;
                let local = tz.from_utc_datetime(&middle).naive_local();
                *(if local < midnight { &mut before } else { &mut after }) = middle;
            }
            after.and_utc().timestamp()
        }
    };
    unix_ns(start_s, 0)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn takes(tz: Tz, date: &str, instant: &str) -> bool {
        let at = DateTime::parse_from_rfc3339(instant).unwrap();
        Select::day(date.parse().unwrap(), tz).takes(at.timestamp_nanos_opt().unwrap())
    }

    #[test]
    fn a_day_is_that_of_the_zone() {
        let seoul = chrono_tz::Asia::Seoul;
        assert!(!takes(seoul, "2026-11-23", "2026-11-22T23:59:59.999999999+09:00"));
        assert!(takes(seoul, "2026-11-23", "2026-11-23T00:00:00+09:00"));
        assert!(takes(seoul, "2026-11-23", "2026-11-23T23:59:59.999999999+09:00"));
        assert!(!takes(seoul, "2026-11-23", "2026-11-24T00:00:00+09:00"));
        // 15:00 UTC is midnight in Seoul.
        assert!(takes(seoul, "2026-11-23", "2026-11-22T15:00:00Z"));
        assert!(!takes(seoul, "2026-11-22", "2026-11-22T15:00:00Z"));
    }

    #[test]
    fn days_of_23_and_25_hours_are_whole() {
        let berlin = chrono_tz::Europe::Berlin;
        // Clocks go forward on 29 March 2026: the day ends 23 hours after it began.
        assert!(takes(berlin, "2026-03-29", "2026-03-28T23:00:00Z"));
        assert!(takes(berlin, "2026-03-29", "2026-03-29T21:59:59Z"));
        assert!(!takes(berlin, "2026-03-29", "2026-03-29T22:00:00Z"));
        // And back on 25 October: 25 hours.
        assert!(!takes(berlin, "2026-10-25", "2026-10-24T21:59:59Z"));
        assert!(takes(berlin, "2026-10-25", "2026-10-24T22:00:00Z"));
        assert!(takes(berlin, "2026-10-25", "2026-10-25T22:59:59Z"));
        assert!(!takes(berlin, "2026-10-25", "2026-10-25T23:00:00Z"));
    }

    #[test]
    fn a_day_without_midnight_begins_when_it_begins() {
        // 4 November 2018 began at 01:00 in São Paulo.
        let sao_paulo = chrono_tz::America::Sao_Paulo;
        assert!(!takes(sao_paulo, "2018-11-04", "2018-11-04T02:59:59Z"));
        assert!(takes(sao_paulo, "2018-11-04", "2018-11-04T03:00:00Z"));
    }

    #[test]
    fn any_time_that_a_file_can_have_has_a_day() {
        let select = Select::day(NaiveDate::MIN, chrono_tz::UTC);
        assert!(!select.takes(i64::MIN) && !select.takes(i64::MAX));
        assert!(takes(chrono_tz::UTC, "1969-12-31", "1969-12-31T23:59:59Z"));
    }

    /// Hours since 1 January 1970 UTC that begin and end the times.
    fn hours(dates: &[&str], tz: Tz) -> Vec<(i64, i64)> {
        let Select::Times(times) = Select::days(dates.iter().map(|date| date.parse().unwrap()), tz) else {
            panic!("days are times")
        };
        let hour = |ns: i64| {
            assert_eq!(ns % 3_600_000_000_000, 0);
            ns / 3_600_000_000_000
        };
        times.iter().map(|time| (hour(time.start), hour(time.end))).collect()
    }

    #[test]
    fn days_next_to_each_other_are_one_time_in_whatever_order_they_come() {
        let days = ["1970-01-05", "1970-01-02", "1970-01-03", "1970-01-05", "1970-01-02"];
        assert_eq!(hours(&days, chrono_tz::UTC), [(24, 72), (96, 120)]);
        assert_eq!(hours(&[], chrono_tz::UTC), []);
        let select = Select::days(days.map(|day| day.parse().unwrap()), chrono_tz::UTC);
        let taken = |hour: i64| select.takes(hour * 3_600_000_000_000);
        let edges = [23, 24, 71, 72, 95, 96, 119, 120].map(taken);
        assert_eq!(edges, [false, true, true, false, false, true, true, false]);
        assert!(!Select::days([], chrono_tz::UTC).takes(0), "no day, no file");
    }

    #[test]
    fn every_instant_is_in_one_day_however_the_clocks_are_set() {
        // Forward and back by an hour, over midnight forward, back, and back by a minute less, and a day that never was.
        for (tz, first) in [
            (chrono_tz::Europe::Berlin, "2026-03-25"),
            (chrono_tz::Europe::Berlin, "2026-10-21"),
            (chrono_tz::America::Sao_Paulo, "2018-11-01"),
            (chrono_tz::America::Sao_Paulo, "2018-02-14"),
            (chrono_tz::America::St_Johns, "2010-11-03"),
            (chrono_tz::Pacific::Apia, "2011-12-27"),
        ] {
            let first: NaiveDate = first.parse().unwrap();
            let days: Vec<_> = first.iter_days().take(8).collect();
            let select: Vec<_> = days.iter().map(|&day| Select::day(day, tz)).collect();
            let all = Select::days(days.iter().rev().copied(), tz);
            assert!(matches!(&all, Select::Times(times) if times.len() == 1), "{tz}: {all:?}");
            let start = start_ns(first, tz);
            let mut latest = first;
            for minute in 0..7 * 24 * 60 {
                let at = start + minute * 60_000_000_000;
                let takers: Vec<_> = (0..days.len()).filter(|&day| select[day].takes(at)).collect();
                let local = DateTime::from_timestamp_nanos(at).with_timezone(&tz).date_naive();
                // Where clocks go back over midnight, the day that has begun goes on.
                latest = latest.max(local);
                assert_eq!(takers.iter().map(|&day| days[day]).collect::<Vec<_>>(), [latest], "{tz} {at}");
                assert!(all.takes(at));
            }
        }
        assert_eq!(hours(&["2011-12-30"], chrono_tz::Pacific::Apia), [], "Samoa had no such day");
    }
}
