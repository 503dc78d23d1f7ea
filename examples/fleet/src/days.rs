//! Which days are meant.

use std::str::FromStr;

use chrono::{DateTime, Days as Number, NaiveDate, Utc};
use chrono_tz::Tz;

/// More days in one command are a mistake in a year.
const MOST_DAYS: i64 = 3_660;

/// Days as a person types them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Days {
    /// The day before.
    Yesterday,
    /// From one to another, both included.
    Span(NaiveDate, NaiveDate),
}

impl Days {
    /// The days that these are on a day, oldest first.
    pub(crate) fn resolve(self, today: NaiveDate) -> impl Iterator<Item = NaiveDate> {
        let (first, last) = match self {
            Self::Yesterday => {
                let yesterday = today.checked_sub_days(Number::new(1)).unwrap_or(today);
                (yesterday, yesterday)
            }
            Self::Span(first, last) => (first, last),
        };
        first.iter_days().take_while(move |day| *day <= last)
    }
}

/// The day that it is at a moment, or the one for which a step of a backup runs (`$BACKUP_DAY`).
pub(crate) fn today(step: Option<&str>, now: DateTime<Utc>, timezone: Tz) -> Result<NaiveDate, String> {
    match step {
        None => Ok(now.with_timezone(&timezone).date_naive()),
        Some(day) => {
            day.parse().map_err(|_| format!("$BACKUP_DAY is {day:?}, which is no day; write 2026-11-23"))
        }
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write yesterday, 2026-11-23, or 2026-11-21..2026-11-23";
        if text == "yesterday" {
            return Ok(Self::Yesterday);
        }
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let day = |text: &str| text.parse::<NaiveDate>().map_err(|_| help.to_owned());
        let (first, last) = (day(first)?, day(last)?);
        match (last - first).num_days() {
            ..0 => Err(format!("the days end before they begin; {help}")),
            0..MOST_DAYS => Ok(Self::Span(first, last)),
            more => Err(format!("these are {} days, and one command takes up to {MOST_DAYS}", more + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, step: Option<&str>) -> Vec<String> {
        let days: Days = text.parse().unwrap();
        // It is half past midnight of the 24th in Seoul.
        let now = "2026-11-23T15:30:00Z".parse().unwrap();
        let today = today(step, now, chrono_tz::Asia::Seoul).unwrap();
        days.resolve(today).map(|day| day.to_string()).collect()
    }

    #[test]
    fn days_are_those_of_the_zone_or_of_the_step() {
        assert_eq!(resolved("yesterday", None), ["2026-11-23"]);
        assert_eq!(resolved("yesterday", Some("2026-11-21")), ["2026-11-20"]);
        assert_eq!(resolved("2026-02-28", None), ["2026-02-28"]);
        assert_eq!(resolved("2026-02-27..2026-03-01", None), ["2026-02-27", "2026-02-28", "2026-03-01"]);
        assert!(today(Some("soon"), Utc::now(), Tz::UTC).unwrap_err().contains("BACKUP_DAY"));
    }

    #[test]
    fn what_is_no_day_is_explained() {
        for bad in ["", "today", "2026-13-01", "2026-11-23..", "23.11.2026"] {
            let why = bad.parse::<Days>().unwrap_err();
            assert!(why.contains("2026-11-23"), "{bad}: {why}");
        }
        assert!("2026-11-23..2026-11-21".parse::<Days>().unwrap_err().contains("before they begin"));
        assert!("1026-11-23..2026-11-21".parse::<Days>().unwrap_err().contains("up to 3660"));
    }
}
