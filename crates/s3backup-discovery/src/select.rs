//! Which of the files that the patterns let through are wanted.

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;

/// Which of the files that the patterns let through are wanted, by modification time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Select {
    /// Every file.
    #[default]
    All,
    /// Files that were last modified on one calendar day.
    Day {
        /// The day.
        date: NaiveDate,
        /// The time zone whose calendar it is a day of.
        tz: Tz,
    },
}

impl Select {
    /// Files that were last modified on `date` as the calendar of `tz` has it: from its first instant up to, not
    /// including, the first of the next day, which may be 23 or 25 hours.
    ///
    /// ```
    /// use chrono::NaiveDate;
    /// use s3backup_discovery::Select;
    /// let day = NaiveDate::from_ymd_opt(2026, 11, 23).ok_or("no such day")?;
    /// let select = Select::day(day, chrono_tz::Asia::Seoul);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn day(date: NaiveDate, tz: Tz) -> Self {
        Self::Day { date, tz }
    }

    pub(crate) fn takes(self, mtime_ns: i64) -> bool {
        match self {
            Self::All => true,
            // Each time is turned into a local date, rather than the day into two instants: some zones have days
            // without a midnight, and every instant has exactly one local date.
            Self::Day { date, tz } => {
                DateTime::from_timestamp_nanos(mtime_ns).with_timezone(&tz).date_naive() == date
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
