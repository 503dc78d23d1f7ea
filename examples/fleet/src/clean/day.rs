//! A trip belongs to the local day on which it begins, and may go on after midnight.

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta, TimeZone as _};
use chrono_tz::Tz;

use super::sift as sift_points;
use crate::aside::{Aside, Rule};
use crate::point::Point;

pub(super) fn sift(
    points: &mut Vec<Point>,
    aside: &mut Vec<Aside>,
    day: NaiveDate,
    timezone: Tz,
    past_midnight_s: u32,
) {
    let from_ms = start_ms(day, timezone);
    let to_ms = day.checked_add_days(Days::new(1)).map_or(i64::MAX, |next| start_ms(next, timezone))
        + i64::from(past_midnight_s) * 1_000;
    sift_points(points, aside, Rule::OtherDay, |point| {
        (!(from_ms..to_ms).contains(&point.time_ms)).then(|| {
            let time = timezone.timestamp_millis_opt(point.time_ms).single();
            let time = time.map_or_else(|| format!("{} ms", point.time_ms), |time| time.to_rfc3339());
            format!("{time} is not on {day} in {timezone}, or soon after; is the receiver's clock right?")
        })
    });
}

/// When a day begins, in milliseconds since 1970-01-01 UTC. Where clocks are put forward at midnight that is later than 0:00, and a
/// day that a place left out, when it crossed the date line, is none.
fn start_ms(day: NaiveDate, timezone: Tz) -> i64 {
    let midnight = day.and_time(NaiveTime::MIN);
    (0..=24 * 4)
        .filter_map(|quarters| midnight.checked_add_signed(TimeDelta::minutes(15 * quarters)))
        .find_map(|local| timezone.from_local_datetime(&local).earliest())
        .map_or_else(|| midnight.and_utc().timestamp_millis(), |start| start.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn begins(day: &str, timezone: Tz, expected: &str) {
        let start =
            chrono::DateTime::from_timestamp_millis(start_ms(day.parse().unwrap(), timezone)).unwrap();
        assert_eq!(start.to_rfc3339(), expected);
    }

    #[test]
    fn a_day_begins_at_local_midnight_or_when_there_is_none_as_soon_as_it_can() {
        begins("2026-11-23", chrono_tz::Asia::Seoul, "2026-11-22T15:00:00+00:00");
        begins("2026-11-23", chrono_tz::Asia::Kathmandu, "2026-11-22T18:15:00+00:00");
        // Clocks went from 0:00 to 1:00.
        begins("2018-11-04", chrono_tz::America::Sao_Paulo, "2018-11-04T03:00:00+00:00");
        // Clocks went from 0:00 back to 23:00, so that there were two times 23:30, and one midnight.
        begins("2018-02-18", chrono_tz::America::Sao_Paulo, "2018-02-18T03:00:00+00:00");
        // Samoa had no 30 December in 2011.
        begins("2011-12-30", chrono_tz::Pacific::Apia, "2011-12-30T10:00:00+00:00");
        begins("2011-12-31", chrono_tz::Pacific::Apia, "2011-12-30T10:00:00+00:00");
        begins("-262143-01-01", chrono_tz::Asia::Seoul, "-262143-01-01T00:02:08+00:00");
    }
}
