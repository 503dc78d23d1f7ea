//! Due times that a person can check with a calendar.
#![allow(clippy::unwrap_used, reason = "a test may fail at any line")]

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use s3backup_schedule::{Due, Error, Schedule};

fn schedule(cron: &str, zone: Tz) -> Schedule {
    Schedule::new(cron, zone).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The next due times as the zone's clock shows them.
fn next(cron: &str, zone: Tz, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(cron, zone);
    let first = schedule.next(at(after));
    let due = std::iter::successors(first, |due| schedule.next(due.at)).take(count);
    due.map(|due| due.at.with_timezone(&zone).format("%m-%d %H:%M %z").to_string()).collect()
}

#[test]
fn every_day_at_20_in_seoul() {
    let seoul = schedule(" 0 20 * * * ", Tz::Asia__Seoul);
    assert_eq!((seoul.cron(), seoul.timezone()), ("0 20 * * *", Tz::Asia__Seoul));
    let due = seoul.next(at("2026-11-24T11:00:00Z")).unwrap();
    assert_eq!((due.at, due.local_date.to_string()), (at("2026-11-25T11:00:00Z"), "2026-11-25".to_owned()));
    for until in ["2026-11-24T11:00:00Z", "2026-11-24T11:00:00.5Z", "2026-11-25T10:59:59.999Z"] {
        assert_eq!(seoul.previous(at(until)).unwrap().at, at("2026-11-24T11:00:00Z"), "{until}");
        assert_eq!(seoul.next(at(until)).unwrap().at, at("2026-11-25T11:00:00Z"), "{until}");
    }
}

#[test]
fn the_date_is_the_one_of_the_zone() {
    let due = schedule("0 5 * * *", Tz::Asia__Seoul).next(at("2026-11-24T12:00:00Z")).unwrap();
    assert_eq!((due.at, due.local_date.to_string()), (at("2026-11-24T20:00:00Z"), "2026-11-25".to_owned()));
}

#[test]
fn names_and_extensions() {
    let utc = |cron: &str| next(cron, Tz::UTC, "2026-11-24T12:00:00Z", 2);
    assert_eq!(utc("@hourly"), ["11-24 13:00 +0000", "11-24 14:00 +0000"]);
    assert_eq!(utc("@daily"), ["11-25 00:00 +0000", "11-26 00:00 +0000"]);
    assert_eq!(utc("@Weekly"), ["11-29 00:00 +0000", "12-06 00:00 +0000"]);
    assert_eq!(utc("@monthly"), ["12-01 00:00 +0000", "01-01 00:00 +0000"]);
    assert_eq!(utc("@yearly"), ["01-01 00:00 +0000", "01-01 00:00 +0000"]);
    assert_eq!(utc("0 3 L * *"), ["11-30 03:00 +0000", "12-31 03:00 +0000"]);
    assert_eq!(utc("0 3 * * mon#2"), ["12-14 03:00 +0000", "01-11 03:00 +0000"]);
    assert_eq!(utc("0 3 1 * SUN"), ["11-29 03:00 +0000", "12-01 03:00 +0000"]);
    assert_eq!(utc("0 3 * * 7"), utc("0 3 * * 0"));
}

#[test]
fn a_skipped_time_is_due_once_right_after_the_gap() {
    let zone = Tz::America__New_York;
    let before = "2026-03-08T05:30:00Z"; // 00:30; at 02:00 the clock goes to 03:00
    assert_eq!(next("30 2 * * *", zone, before, 2), ["03-08 03:00 -0400", "03-09 02:30 -0400"]);
    assert_eq!(
        next("*/20 * * * *", zone, before, 5),
        [
            "03-08 00:40 -0500",
            "03-08 01:00 -0500",
            "03-08 01:20 -0500",
            "03-08 01:40 -0500",
            "03-08 03:00 -0400"
        ]
    );
    assert_eq!(
        next("15,45 1-2 * * *", zone, "2026-03-08T06:20:00Z", 3)[..2],
        ["03-08 01:45 -0500", "03-08 03:00 -0400"]
    );
    let due = schedule("30 2 * * *", zone).previous(at("2026-03-08T07:00:00Z")).unwrap();
    assert_eq!(due.at, at("2026-03-08T07:00:00Z"));
}

#[test]
fn a_repeated_time_is_due_the_first_time() {
    let zone = Tz::America__New_York;
    let before = "2026-11-01T04:30:00Z"; // 00:30; at 02:00 the clock goes back to 01:00
    assert_eq!(next("30 1 * * *", zone, before, 2), ["11-01 01:30 -0400", "11-02 01:30 -0500"]);
    assert_eq!(
        next("@hourly", zone, before, 3),
        ["11-01 01:00 -0400", "11-01 02:00 -0500", "11-01 03:00 -0500"]
    );
    let in_the_second_hour = at("2026-11-01T06:10:00Z");
    assert_eq!(
        schedule("30 1 * * *", zone).previous(in_the_second_hour).unwrap().at,
        at("2026-11-01T05:30:00Z")
    );
    assert_eq!(
        schedule("* * * * *", zone).previous(in_the_second_hour).unwrap().at,
        at("2026-11-01T05:59:00Z")
    );
}

#[test]
fn a_day_that_a_zone_left_out_is_due_at_its_end() {
    // Samoa had no 30 December 2011.
    let zone = Tz::Pacific__Apia;
    assert_eq!(
        next("0 20 * * *", zone, "2011-12-29T12:00:00Z", 3),
        ["12-29 20:00 -1000", "12-31 00:00 +1400", "12-31 20:00 +1400"]
    );
    assert_eq!(next("@daily", zone, "2011-12-29T12:00:00Z", 2), ["12-31 00:00 +1400", "01-01 00:00 +1400"]);
}

#[test]
fn between_gives_the_newest_and_says_that_there_are_more() {
    let schedule = schedule("0 20 * * *", Tz::UTC);
    let days = |due: &Due| due.times.iter().map(|due| due.local_date.to_string()).collect::<Vec<_>>();
    let (after, until) = (at("2026-11-20T20:00:00Z"), at("2026-11-23T20:00:00Z"));
    for (limit, expected, left_out) in [
        (0, &[][..], true),
        (2, &["2026-11-22", "2026-11-23"], true),
        (3, &["2026-11-21", "2026-11-22", "2026-11-23"], false),
        (9, &["2026-11-21", "2026-11-22", "2026-11-23"], false),
    ] {
        let due = schedule.between(after, until, limit);
        assert_eq!(
            (days(&due).as_slice(), due.left_out),
            (&*expected.iter().map(ToString::to_string).collect::<Vec<_>>(), left_out)
        );
    }
    assert_eq!(schedule.between(until, after, 9), Due::default());
    assert_eq!(schedule.between(until, until, 9), Due::default());
}

#[test]
fn a_long_span_costs_no_more_than_its_limit() {
    let schedule = schedule("* * * * *", Tz::America__New_York);
    let begun = Instant::now();
    let due = schedule.between(at("2016-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), 1000);
    assert_eq!((due.times.len(), due.left_out), (1000, true));
    // Ten years of it would be five million.
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn rare_days_are_found_and_impossible_ones_refused() {
    let leap = schedule("0 0 29 2 *", Tz::UTC);
    assert_eq!(leap.next(at("2096-03-01T00:00:00Z")).unwrap().local_date.to_string(), "2104-02-29");
    assert_eq!(leap.previous(at("2104-02-28T00:00:00Z")).unwrap().local_date.to_string(), "2096-02-29");
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
        assert_eq!(Schedule::new(never, Tz::UTC), Err(Error::NeverDue { cron: never.to_owned() }));
    }
}

#[test]
fn the_ends_of_the_calendar_do_not_panic() {
    for zone in [Tz::UTC, Tz::Asia__Seoul, Tz::America__New_York] {
        let schedule = schedule("0 20 * * *", zone);
        for end in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let _ = (schedule.next(end), schedule.previous(end));
            let _ = schedule.between(end, end, 3);
        }
    }
}

#[test]
fn an_error_says_what_is_wrong_and_shows_what_is_right() {
    let tail = "; write minute, hour, day of month, month and day of week, such as \"0 20 * * *\" for every day at 20:00";
    let said = |cron: &str| Schedule::new(cron, Tz::UTC).unwrap_err().to_string();
    for (cron, why) in [
        ("", "it is empty"),
        ("20:00", "it has 1 of 5 fields"),
        ("0 20 * *", "it has 4 of 5 fields"),
        ("0 0 20 * * *", "it has 6 of 5 fields"),
        ("@reboot", "it is none of the names @yearly, @annually, @monthly, @weekly, @daily, @hourly"),
        ("60 20 * * *", "the minute is \"60\", expected 0 to 59, with * , - /"),
        ("0 24 * * *", "the hour is \"24\", expected 0 to 23, with * , - /"),
        ("0 20 0 * *", "the day of month is \"0\", expected 1 to 31, with * , - /"),
        ("0 20 * 13 *", "the month is \"13\", expected 1 to 12 or JAN to DEC, with * , - /"),
        ("0 20 * * someday", "the day of week is \"someday\", expected 0 to 7 or SUN to SAT, with * , - /"),
    ] {
        assert_eq!(said(cron), format!("{cron:?} is not a cron expression: {why}{tail}"));
    }
    assert!(said(&"é".repeat(1000)).len() < 400);
}
