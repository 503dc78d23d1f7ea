//! When runs start, on a clock that tests set as they like.
#![allow(clippy::unwrap_used, reason = "a test may fail at any line")]

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use s3backup_schedule::{Cause, NAP, Schedule, Timer, Turn, jitter};

const NO_DELAY: Duration = Duration::ZERO;

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-{}:00Z", text.replace(' ', "T")).parse().unwrap()
}

fn daily() -> Schedule {
    Schedule::new("0 20 * * *", Tz::UTC).unwrap()
}

fn timer(since: &str) -> Timer {
    Timer::new(daily(), NO_DELAY, true, at(since))
}

/// The starts of runs while the clock goes from one time to the other, as somebody sees who sleeps when told so. Runs
/// take no time.
fn starts(timer: &mut Timer, from: &str, until: &str) -> Vec<(String, Cause)> {
    let (mut now, until) = (at(from), at(until));
    let mut starts = Vec::new();
    while now <= until {
        match timer.turn(now) {
            Turn::Run(cause) => starts.push((now.format("%d %H:%M").to_string(), cause)),
            Turn::Wait(nap) => {
                assert!(nap > Duration::ZERO && nap <= NAP);
                now += TimeDelta::from_std(nap).unwrap();
            }
        }
    }
    starts
}

fn on_time(text: &str) -> (String, Cause) {
    (text.to_owned(), Cause::OnTime)
}

fn makes_up(text: &str) -> (String, Cause) {
    (text.to_owned(), Cause::MakesUp)
}

#[test]
fn each_due_time_has_one_run() {
    let mut timer = timer("20 20:00");
    assert_eq!(timer.next(at("20 20:00")), Some(at("21 20:00")));
    assert_eq!(starts(&mut timer, "20 20:00", "22 23:59"), [on_time("21 20:00"), on_time("22 20:00")]);
}

#[test]
fn a_machine_that_slept_makes_up_once_and_says_so() {
    let mut timer = timer("20 12:00");
    assert_eq!(starts(&mut timer, "20 12:00", "20 19:59"), []);
    assert_eq!(starts(&mut timer, "23 23:00", "24 20:00"), [makes_up("23 23:00"), on_time("24 20:00")]);
}

#[test]
fn without_catching_up_only_what_can_start_in_time_runs() {
    let mut timer = Timer::new(daily(), NO_DELAY, false, at("20 12:00"));
    timer.make_up(at("20 12:00"));
    assert_eq!(starts(&mut timer, "20 12:00", "20 19:59"), []);
    assert_eq!(starts(&mut timer, "23 20:06", "24 20:00"), [on_time("24 20:00")]);
    assert_eq!(starts(&mut timer, "25 20:04", "26 19:00"), [on_time("25 20:04")]);
}

#[test]
fn what_was_missed_before_is_made_up_at_once() {
    let mut timer = timer("20 21:00");
    timer.make_up(at("20 21:00"));
    assert_eq!(starts(&mut timer, "20 21:00", "21 20:00"), [makes_up("20 21:00"), on_time("21 20:00")]);
}

#[test]
fn a_clock_that_is_set_back_a_little_repeats_nothing() {
    let mut timer = timer("20 12:00");
    assert_eq!(starts(&mut timer, "20 19:00", "20 20:01"), [on_time("20 20:00")]);
    assert_eq!(starts(&mut timer, "20 19:00", "21 20:00"), [on_time("21 20:00")]);
}

#[test]
fn a_clock_that_was_years_ahead_silences_nothing() {
    let mut timer = timer("20 12:00");
    let wrong: DateTime<Utc> = "2036-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(timer.turn(wrong), Turn::Run(Cause::MakesUp));
    timer.failed(wrong);
    assert_eq!(timer.turn(at("20 12:30")), Turn::Wait(NAP));
    assert_eq!(timer.next(at("20 12:30")), Some(at("20 13:30")), "another attempt is not years away");
    assert_eq!(starts(&mut timer, "20 13:31", "20 20:00"), [makes_up("20 13:31"), on_time("20 20:00")]);
}

#[test]
fn a_failure_is_tried_again_with_growing_pauses_until_the_next_is_due() {
    let mut timer = timer("20 12:00");
    let mut now = at("20 20:00");
    let mut pauses = Vec::new();
    while now < at("21 20:00") {
        assert_eq!(timer.turn(now), Turn::Run(Cause::OnTime));
        timer.failed(now);
        let next = timer.next(now).unwrap();
        pauses.push((next - now).num_minutes());
        now = next;
    }
    assert_eq!(pauses[..6], [5, 10, 20, 40, 60, 60]);
    assert!(pauses.len() < 30, "{pauses:?}");
    assert_eq!(now, at("21 20:00"), "the next due time comes first, and begins anew");
    assert_eq!(timer.turn(now), Turn::Run(Cause::OnTime));
    timer.failed(now);
    assert_eq!(timer.next(now), Some(at("21 20:05")));
}

#[test]
fn one_that_something_else_works_on_is_tried_again_soon() {
    let mut timer = timer("20 12:00");
    assert_eq!(timer.turn(at("20 20:00")), Turn::Run(Cause::OnTime));
    timer.busy(at("20 20:00"));
    assert_eq!(starts(&mut timer, "20 20:00", "20 22:00"), [on_time("20 20:01")]);
}

#[test]
fn a_schedule_that_is_replaced_counts_from_then_on() {
    let mut timer = timer("20 12:00");
    timer.turn(at("20 20:00"));
    timer.failed(at("20 20:00"));
    timer.change(daily(), NO_DELAY, true, at("20 20:02"));
    assert_eq!(
        starts(&mut timer, "20 20:02", "21 19:00"),
        [on_time("20 20:05")],
        "the same one changes nothing"
    );
    timer.failed(at("21 19:00"));
    let other = Schedule::new("0 18 * * *", Tz::UTC).unwrap();
    timer.change(other, NO_DELAY, true, at("21 19:00"));
    assert_eq!(starts(&mut timer, "21 19:00", "22 20:00"), [on_time("22 18:00")]);
}

#[test]
fn jitter_delays_each_start_by_the_same_time() {
    let delay = jitter("telemetry/gw-1", Duration::from_mins(10));
    assert!(delay < Duration::from_mins(10) && delay == jitter("telemetry/gw-1", Duration::from_mins(10)));
    let spread: std::collections::BTreeSet<_> =
        (0..100).map(|n| jitter(&format!("telemetry/gw-{n}"), Duration::from_mins(10))).collect();
    assert!(spread.len() > 50, "they start together: {spread:?}");
    assert_eq!(jitter("any", Duration::ZERO), Duration::ZERO);

    let mut timer = Timer::new(daily(), Duration::from_mins(7), true, at("20 12:00"));
    assert_eq!(timer.next(at("20 12:00")), Some(at("20 20:07")));
    assert_eq!(starts(&mut timer, "20 12:00", "21 20:06"), [on_time("20 20:07")]);
}

/// How the clock of a machine moves between two looks at it.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// As told by the timer, and a little late.
    Sleep { late_s: i64 },
    /// The machine was suspended, or the clock set forward.
    Jump { hours: i64 },
    /// The clock was set back. The two due times of a night may come together where the clock skips an hour, so it is by less
    /// than half an hour.
    Back { minutes: i64 },
}

fn movement() -> impl Strategy<Value = Move> {
    prop_oneof![
        300 => (0..3_i64).prop_map(|late_s| Move::Sleep { late_s }),
        1 => (1..80_i64).prop_map(|hours| Move::Jump { hours }),
        1 => (1..30_i64).prop_map(|minutes| Move::Back { minutes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the clock does, what it shows for the first time is made up for by exactly one run, no later than a nap after
    /// it shows it.
    #[test]
    fn every_due_time_is_met_once_whatever_the_clock_does(
        zone in proptest::sample::select(vec![
            Tz::America__New_York, Tz::Europe__London, Tz::Australia__Lord_Howe, Tz::Asia__Seoul,
        ]),
        // Around the changes of clocks in spring and autumn, too.
        day in 0..365_i64,
        moves in proptest::collection::vec(movement(), 500..4000),
    ) {
        let schedule = Schedule::new("30 1,2 * * *", zone).unwrap();
        let begin = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(day);
        let mut timer = Timer::new(schedule.clone(), NO_DELAY, true, begin);
        let (mut now, mut seen, mut nap) = (begin, begin, NAP);
        for step in moves {
            now += match step {
                Move::Sleep { late_s } => TimeDelta::from_std(nap).unwrap() + TimeDelta::seconds(late_s),
                Move::Jump { hours } => TimeDelta::hours(hours),
                Move::Back { minutes } => TimeDelta::minutes(-minutes),
            };
            let is_new = !schedule.between(seen, now, 1).times.is_empty();
            let mut runs = 0;
            nap = loop {
                match timer.turn(now) {
                    Turn::Run(_) => runs += 1,
                    Turn::Wait(nap) => break nap,
                }
            };
            if now > seen {
                prop_assert_eq!(runs, u32::from(is_new), "at {}", now);
                seen = now;
            } else {
                prop_assert_eq!(runs, 0, "again at {}", now);
            }
        }
    }
}
