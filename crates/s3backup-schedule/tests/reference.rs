//! Due times against a slow reference: a clock on the wall that is watched minute by minute.
//!
//! The reference reads the zone in one direction only (what does the clock show now?), and has its own idea of what a cron
//! expression matches. A minute of the wall clock is done as soon as the clock shows it or has jumped over it, and never again.
#![allow(clippy::unwrap_used, reason = "a test may fail at any line")]

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use s3backup_schedule::Schedule;

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// How long before the first minute that counts the clock is watched, so that a change of the clock is seen whole.
const LEAD: TimeDelta = TimeDelta::hours(30);

const ZONES: [Tz; 6] = [
    Tz::America__New_York,
    Tz::Europe__London,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Seoul,
    // Changes its clocks at midnight; and once left out a day.
    Tz::America__Santiago,
    Tz::Pacific__Apia,
];

/// One field: its text, and the values that it means; no values mean `*`.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    values: Vec<u32>,
}

impl Field {
    fn matches(&self, value: u32) -> bool {
        self.values.is_empty() || self.values.contains(&value)
    }
}

fn list(values: BTreeSet<u32>) -> Field {
    Field {
        text: values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        values: values.into_iter().collect(),
    }
}

fn field(least: u32, most: u32) -> impl Strategy<Value = Field> {
    let any = Just(Field { text: "*".to_owned(), values: Vec::new() });
    let list = prop::collection::btree_set(least..=most, 1..4).prop_map(list);
    let range = (least..=most, 0..8_u32, 1..4_usize).prop_map(move |(from, length, step)| {
        let to = (from + length).min(most);
        Field { text: format!("{from}-{to}/{step}"), values: (from..=to).step_by(step).collect() }
    });
    let steps = (2..=15_usize).prop_map(move |step| Field {
        text: format!("*/{step}"),
        values: (least..=most).step_by(step).collect(),
    });
    prop_oneof![3 => any, 3 => list, 1 => range, 1 => steps]
}

#[derive(Clone, Debug)]
struct Pattern {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Pattern {
    fn text(&self) -> String {
        [&self.minute, &self.hour, &self.day, &self.month, &self.weekday]
            .map(|field| field.text.as_str())
            .join(" ")
    }

    fn matches(&self, local: NaiveDateTime) -> bool {
        let day = self.day.matches(local.day());
        let weekday = self.weekday.matches(local.weekday().num_days_from_sunday());
        let either = self.day.text != "*" && self.weekday.text != "*";
        self.minute.matches(local.minute())
            && self.hour.matches(local.hour())
            && self.month.matches(local.month())
            && if either { day || weekday } else { day && weekday }
    }
}

/// Mostly due every day, and mostly in the hours in which clocks change.
fn pattern() -> impl Strategy<Value = Pattern> {
    let any = || Just(Field { text: "*".to_owned(), values: Vec::new() });
    let night = prop::collection::btree_set(0..4_u32, 1..4).prop_map(list);
    let hour = prop_oneof![1 => night, 1 => field(0, 23)];
    let day = prop_oneof![3 => any(), 1 => field(1, 31)];
    let month = prop_oneof![5 => any(), 1 => field(1, 12)];
    let weekday = prop_oneof![3 => any(), 1 => field(0, 6)];
    (field(0, 59), hour, day, month, weekday).prop_map(|(minute, hour, day, month, weekday)| Pattern {
        minute,
        hour,
        day,
        month,
        weekday,
    })
}

/// The hour in which the zone changes its clock, for some of its changes; any hour for a zone that changes none.
fn moment(zone: Tz, year: i32, pick: usize) -> DateTime<Utc> {
    let hour = |n: i64| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap() + TimeDelta::hours(n);
    let shown = |n: i64| hour(n).with_timezone(&zone).naive_local();
    let changes: Vec<i64> =
        (0..366 * 24).filter(|n| shown(n + 1) - shown(*n) != TimeDelta::hours(1)).collect();
    changes.get(pick % changes.len().max(1)).map_or_else(|| hour(i64::try_from(pick).unwrap()), |n| hour(*n))
}

/// All due times with `after < t <= until`.
fn reference(pattern: &Pattern, zone: Tz, after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let whole = after - TimeDelta::seconds(after.timestamp().rem_euclid(60));
    let mut now = whole - LEAD;
    let mut done = now.with_timezone(&zone).naive_local();
    let mut due = Vec::new();
    while now <= until {
        let shown = now.with_timezone(&zone).naive_local();
        let mut is_due = false;
        while done < shown {
            done += MINUTE;
            is_due |= pattern.matches(done);
        }
        if is_due && now > after {
            due.push(now);
        }
        now += MINUTE;
    }
    due
}

fn case() -> impl Strategy<Value = (Pattern, Tz, DateTime<Utc>, DateTime<Utc>)> {
    let zone = proptest::sample::select(ZONES.to_vec());
    let span = (-40 * 3600..4 * 3600_i64, 0..60 * 3600_i64);
    (pattern(), zone, prop_oneof![1 => Just(2011), 5 => 2000..2037], any::<u16>(), span).prop_map(
        |(pattern, zone, year, pick, (before, length))| {
            let after = moment(zone, year, pick.into()) + TimeDelta::seconds(before);
            (pattern, zone, after, after + TimeDelta::seconds(length))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn due_times_are_those_of_the_clock_on_the_wall((pattern, zone, after, until) in case()) {
        let Ok(schedule) = Schedule::new(&pattern.text(), zone) else { return Ok(()) };
        let expected = reference(&pattern, zone, after, until);
        let between = schedule.between(after, until, usize::MAX);
        prop_assert_eq!(between.times.iter().map(|due| due.at).collect::<Vec<_>>(), expected.clone());
        prop_assert!(!between.left_out);
        for due in &between.times {
            prop_assert_eq!(due.local_date, due.at.with_timezone(&zone).date_naive());
        }

        let next = std::iter::successors(schedule.next(after), |due| schedule.next(due.at));
        let next: Vec<_> = next.map(|due| due.at).take_while(|at| *at <= until).collect();
        prop_assert_eq!(&next, &expected);

        let last = schedule.previous(until).map(|due| due.at);
        match expected.last() {
            Some(expected) => prop_assert_eq!(last.as_ref(), Some(expected)),
            None => prop_assert!(last.is_none_or(|last| last <= after)),
        }
    }

    #[test]
    fn previous_and_next_agree((pattern, zone, at, _) in case()) {
        let Ok(schedule) = Schedule::new(&pattern.text(), zone) else { return Ok(()) };
        let next = schedule.next(at).unwrap();
        prop_assert!(next.at > at);
        prop_assert_eq!(schedule.previous(next.at), Some(next));
        let previous = schedule.previous(at).unwrap();
        prop_assert!(previous.at <= at);
        prop_assert_eq!(schedule.next(previous.at), Some(next));
        prop_assert_eq!(schedule.previous(next.at - TimeDelta::milliseconds(1)), Some(previous));
        prop_assert!(schedule.next(next.at).unwrap().at > next.at);
    }

    #[test]
    fn no_text_panics(text in "[0-9*/,#LW?+@ a-zSUNMOé-]{0,24}", zone in proptest::sample::select(ZONES.to_vec())) {
        if let Ok(schedule) = Schedule::new(&text, zone) {
            let at = Utc.with_ymd_and_hms(2026, 11, 24, 0, 0, 0).unwrap();
            prop_assert!(schedule.next(at).is_some() && schedule.previous(at).is_some(), "{}", text);
        }
    }

    #[test]
    fn no_fields_panic(fields in prop::collection::vec("[0-9*/,#LW?+-]{1,5}|\\*", 5..6)) {
        if let Ok(schedule) = Schedule::new(&fields.join(" "), Tz::UTC) {
            let at = Utc.with_ymd_and_hms(2026, 11, 24, 0, 0, 0).unwrap();
            prop_assert!(schedule.next(at).is_some() && schedule.previous(at).is_some(), "{:?}", fields);
        }
    }
}
