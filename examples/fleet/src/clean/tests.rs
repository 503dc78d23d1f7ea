//! Each rule by itself, and what holds for all of them.

use proptest::prelude::*;

use super::*;
use crate::point::Road;

/// One degree of latitude is about this long.
const DEGREE_M: f64 = 111_195.0;

fn day() -> NaiveDate {
    "2026-11-23".parse().unwrap()
}

/// Noon of the day in Seoul, in milliseconds.
const NOON_MS: i64 = 1_795_402_800_000;

/// A point so many seconds after noon and so many metres north of a place, at 36 km/h.
fn at(time_s: f64, north_m: f64) -> Point {
    #[expect(clippy::cast_possible_truncation, reason = "tests are short")]
    let after_noon_ms = (time_s * 1_000.0) as i64;
    Point {
        time_ms: NOON_MS + after_noon_ms,
        latitude_deg: 37.5 + north_m / DEGREE_M,
        longitude_deg: 127.0,
        speed_mps: 10.0,
        heading_deg: Some(0.0),
        road: None,
        line: 0,
    }
}

/// Ten metres a second northwards.
fn drive(points: u32) -> Vec<Point> {
    numbered((0..points).map(f64::from).map(|second| at(second, 10.0 * second)))
}

fn numbered(points: impl IntoIterator<Item = Point>) -> Vec<Point> {
    (1..).zip(points).map(|(line, point)| Point { line, ..point }).collect()
}

fn cleaned(points: &[Point]) -> Cleaned {
    clean(points.to_vec(), day(), chrono_tz::Asia::Seoul, &CleanSettings::default())
}

/// Cleans, and checks that exactly these lines are set aside, by this rule, and that switched off it sets none aside.
#[track_caller]
fn sets_aside(points: &[Point], rule: Rule, lines: &[u64]) {
    let done = cleaned(points);
    let found: Vec<_> = done.aside.iter().map(|aside| (aside.line, aside.rule)).collect();
    let expected: Vec<_> = lines.iter().map(|line| (*line, rule)).collect();
    assert_eq!(found, expected, "{:#?}", done.aside);
    assert_eq!(done.points.len() + lines.len(), points.len());
    assert!(done.points.is_sorted_by_key(|point| point.time_ms));

    let off = CleanSettings { off: vec![rule], ..CleanSettings::default() };
    let done = clean(points.to_vec(), day(), chrono_tz::Asia::Seoul, &off);
    assert!(done.aside.iter().all(|aside| aside.rule != rule), "{:#?}", done.aside);
}

#[test]
fn a_sound_trip_stays_as_it_is() {
    let points = drive(100);
    assert_eq!(cleaned(&points), Cleaned { points, aside: Vec::new(), late: 0 });
    assert_eq!(cleaned(&[]), Cleaned { points: Vec::new(), aside: Vec::new(), late: 0 });
}

#[test]
fn late_points_are_counted_and_sorted_in() {
    let mut points = drive(10);
    points.swap(3, 4);
    points.swap(7, 9);
    let done = cleaned(&points);
    assert_eq!(done.late, 3);
    assert_eq!(done.points, drive(10));
}

#[test]
fn a_clock_that_is_wrong_by_days_is_no_reason_to_call_the_rest_late() {
    let mut points = drive(5);
    points[1].time_ms += 1_024 * 7 * 86_400_000;
    sets_aside(&points, Rule::OtherDay, &[2]);
    assert_eq!(cleaned(&points).late, 0);
}

#[test]
fn a_trip_may_go_on_after_midnight_and_not_begin_before_it() {
    let after_noon_s = [-43_200.001, -43_200.0, 43_199.0, 86_399.0, 86_400.0];
    let points = numbered(after_noon_s.map(|second| at(second, 0.0)));
    sets_aside(&points, Rule::OtherDay, &[1, 5]);
}

#[test]
fn the_same_point_counts_once() {
    let mut points = drive(4);
    points.insert(2, points[1]);
    points.push(points[0]);
    let points = numbered(points);
    sets_aside(&points, Rule::Duplicate, &[3, 6]);
    assert_eq!(cleaned(&points).aside[0].detail, "the same as line 2");
}

#[test]
fn of_one_time_the_point_on_the_way_stays() {
    let mut points = drive(4);
    points.insert(1, at(1.0, 40.0));
    points.insert(0, at(0.0, -9.0));
    points.push(Point { road: Some(Road::Trunk), ..at(3.0, 30.0) });
    sets_aside(&numbered(points), Rule::SameTime, &[1, 3, 7]);
}

#[test]
fn no_vehicle_is_faster_than_vehicles_are() {
    let mut points = drive(3);
    points[1].speed_mps = 251.0 / 3.6;
    sets_aside(&points, Rule::SpeedRange, &[2]);
    points[1].speed_mps = 249.0 / 3.6;
    assert_eq!(cleaned(&points).aside, []);
}

#[test]
fn teleports_are_found_wherever_they_are_in_a_trip() {
    for jumped in [vec![0], vec![9], vec![5], vec![0, 1, 2], vec![7, 8, 9], vec![4, 5, 6, 7], vec![2, 4, 6]] {
        for north_m in [-400.0, 500.0, 50_000.0, 4_000_000.0] {
            let mut points = drive(10);
            for index in &jumped {
                points[*index].latitude_deg += north_m / DEGREE_M;
            }
            let lines: Vec<u64> = jumped.iter().map(|index| *index as u64 + 1).collect();
            sets_aside(&points, Rule::Teleport, &lines);
        }
    }
}

#[test]
fn each_of_several_wrong_places_is_one() {
    let mut points = drive(200);
    for (point, index) in points[20..80].iter_mut().zip(20..) {
        point.latitude_deg = -40.0 + f64::from(index);
    }
    sets_aside(&points, Rule::Teleport, &(21..=80).collect::<Vec<_>>());
}

#[test]
fn a_wrong_point_that_a_vehicle_could_have_come_to_during_a_pause_is_found_by_the_way_on() {
    let points = [at(0.0, 0.0), at(1.0, 10.0), at(61.0, 3_000.0), at(62.0, 20.0), at(63.0, 30.0)];
    sets_aside(&numbered(points), Rule::Teleport, &[3]);
}

#[test]
fn what_was_driven_during_a_pause_is_no_teleport() {
    let points = [at(0.0, 0.0), at(1.0, 10.0), at(601.0, 20_000.0), at(602.0, 20_010.0)];
    assert_eq!(cleaned(&numbered(points)).aside, []);
}

#[test]
fn crossing_the_date_line_or_a_pole_is_no_teleport() {
    let mut points = drive(10);
    for (point, step) in points.iter_mut().zip(-5..5) {
        point.latitude_deg = -17.0;
        let longitude_deg = 180.0 + f64::from(step) * 1e-4;
        point.longitude_deg = if longitude_deg > 180.0 { longitude_deg - 360.0 } else { longitude_deg };
    }
    points[5].longitude_deg = -180.0;
    assert_eq!(cleaned(&points).aside, []);

    for (point, step) in points.iter_mut().zip(-5..5) {
        point.latitude_deg = 90.0 - f64::from(i32::abs(step)) * 1e-4;
        point.longitude_deg = if step < 0 { 30.0 } else { -150.0 };
    }
    points[5].longitude_deg = 77.7;
    assert_eq!(cleaned(&points).aside, []);
}

/// A vehicle that comes, stands for so many points around a place, and goes.
fn stop(wander_m: impl Fn(u32) -> f64) -> Vec<Point> {
    let come = [at(0.0, -10.0)];
    let stand = (0..20).map(|index| Point { speed_mps: 0.02, ..at(f64::from(index) + 1.0, wander_m(index)) });
    let go = [at(21.0, 10.0), at(22.0, 20.0)];
    numbered(come.into_iter().chain(stand).chain(go))
}

#[test]
fn of_a_standstill_that_wanders_the_ends_stay() {
    let points = stop(|index| f64::from(index % 4) - 1.5);
    // Every fourth point is exactly where the first is.
    let wandering: Vec<u64> = (3..=20).filter(|line| line % 4 != 2).collect();
    sets_aside(&points, Rule::StandstillNoise, &wandering);
}

#[test]
fn a_vehicle_that_stands_still_loses_nothing() {
    assert_eq!(cleaned(&stop(|_| 0.0)).aside, []);
}

#[test]
fn a_vehicle_whose_recorded_speed_is_stuck_keeps_its_way() {
    let fast = stop(|index| 30.0 * f64::from(index));
    assert_eq!(cleaned(&fast[..21]).aside, []);
    let slow = cleaned(&stop(|index| 5.0 * f64::from(index)));
    let gaps_m = slow.points.array_windows().map(|[a, b]| crate::geo::distance_m(a, b));
    assert!(gaps_m.fold(0.0, f64::max) < 95.0 && slow.points.len() > 8, "{:#?}", slow.points);
}

#[test]
fn only_rules_that_judge_points_can_be_switched_off() {
    let settings: CleanSettings = toml::from_str("off = [\"teleport\", \"same_time\"]").unwrap();
    assert_eq!(settings.off, [Rule::Teleport, Rule::SameTime]);
    let error = toml::from_str::<CleanSettings>("off = [\"syntax\"]").unwrap_err();
    assert!(error.message().contains("`syntax` cannot be switched off"), "{error}");
    assert!(toml::from_str::<CleanSettings>("off = [\"teleports\"]").is_err());
    let default = CleanSettings::default();
    assert_eq!(toml::from_str::<CleanSettings>(&toml::to_string(&default).unwrap()).unwrap(), default);
}

/// Points that break every rule now and then.
fn any_point() -> impl Strategy<Value = Point> {
    let time_ms = prop_oneof![
        20 => (0..60_i64).prop_map(|second| NOON_MS + 1_000 * second),
        1 => Just(NOON_MS - 90_000_000),
        1 => any::<i64>(),
    ];
    let latitude = prop_oneof![20 => 0..40_i32, 1 => -5_000..5_000];
    let longitude = prop_oneof![20 => 0..10_i32, 1 => -5_000..5_000];
    let center = prop_oneof![Just((37.0, 127.0)), Just((0.0, 180.0)), Just((90.0, 0.0))];
    let speed = prop_oneof![Just(0.0), Just(0.4), Just(10.0), Just(30.0), Just(100.0)];
    let heading = proptest::option::of((0..4_u8).prop_map(|quarter| 90.0 * f64::from(quarter)));
    let road = proptest::option::of(proptest::sample::select(&Road::ALL[..2]));
    (time_ms, latitude, longitude, center, speed, heading, road).prop_map(
        |(time_ms, north, east, (latitude, longitude), speed_mps, heading_deg, road)| Point {
            time_ms,
            latitude_deg: (latitude + f64::from(north) * 1e-4).min(90.0),
            longitude_deg: crate::geo::turn_deg(0.0, longitude + f64::from(east) * 1e-4),
            speed_mps,
            heading_deg,
            road,
            line: 0,
        },
    )
}

/// A trip of one place, so that it is more than teleports.
fn any_trip() -> impl Strategy<Value = Vec<Point>> {
    let some = proptest::collection::vec(any_point(), 0..60);
    (some, any::<bool>()).prop_map(|(mut points, is_near)| {
        if is_near {
            for point in &mut points {
                point.latitude_deg = 37.0 + point.latitude_deg.fract() / 10.0;
                point.longitude_deg = 127.0;
            }
        }
        numbered(points)
    })
}

fn without_lines(points: &[Point]) -> Vec<Point> {
    points.iter().map(|point| Point { line: 0, ..*point }).collect()
}

fn rules(aside: &[Aside]) -> Vec<Rule> {
    let mut rules: Vec<_> = aside.iter().map(|aside| aside.rule).collect();
    rules.sort_unstable();
    rules
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn what_is_clean_stays_clean(points in any_trip()) {
        let once = cleaned(&points);
        let twice = cleaned(&once.points);
        prop_assert_eq!(twice, Cleaned { points: once.points, aside: Vec::new(), late: 0 });
    }

    #[test]
    fn the_order_of_lines_makes_no_difference(
        (points, shuffled) in any_trip().prop_flat_map(|points| (Just(points.clone()), Just(points).prop_shuffle()))
    ) {
        let (one, other) = (cleaned(&points), cleaned(&numbered(shuffled)));
        prop_assert_eq!(without_lines(&one.points), without_lines(&other.points));
        prop_assert_eq!(rules(&one.aside), rules(&other.aside));
    }

    #[test]
    fn every_point_is_either_clean_or_set_aside(
        points in any_trip(), off in proptest::sample::subsequence(&Rule::ALL[7..], 0..=6)
    ) {
        let settings = CleanSettings { off, ..CleanSettings::default() };
        let done = clean(points.clone(), day(), chrono_tz::Asia::Seoul, &settings);
        prop_assert!(done.aside.iter().all(|aside| !settings.off.contains(&aside.rule)));
        let mut all = done.points;
        all.extend(done.aside.iter().filter_map(|aside| aside.point));
        all.sort_by_key(|point| point.line);
        prop_assert_eq!(all, points);
    }
}
