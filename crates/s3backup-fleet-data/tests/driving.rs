//! Whether the files are of vehicles that drive as the truth says: places, speeds, headings, events.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may unwrap as the tests themselves do")]

#[expect(dead_code, reason = "other tests count the empty files")]
mod common;

use std::{collections::BTreeMap, time::Duration};

use common::{Point, read};
use geographiclib_rs::{Geodesic, InverseGeodesic as _};
use s3backup_fleet_data::{Event, EventKind, FaultRates, FleetData, Format, TripTruth};

fn flawless() -> FleetData {
    FleetData::new().fault_rates(FaultRates::NONE)
}

fn points(trip: &s3backup_fleet_data::Trip) -> Vec<Point> {
    read(&trip.bytes, 1_000).sound
}

fn geodesic_m(a: &Point, b: &Point) -> f64 {
    Geodesic::wgs84().inverse(a.lat, a.lon, b.lat, b.lon)
}

#[test]
fn the_way_along_the_points_is_the_distance_of_the_truth() {
    for trip in flawless().files(8).points_per_trip(3_000).trips().unwrap() {
        let measured_m: f64 = points(&trip).windows(2).map(|pair| geodesic_m(&pair[0], &pair[1])).sum();
        let driven_m = trip.truth.distance_mm as f64 / 1_000.0;
        assert!(driven_m > 10_000.0, "{driven_m}");
        assert!((measured_m / driven_m - 1.0).abs() < 0.001, "{}: {measured_m} {driven_m}", trip.truth.path);
    }
}

#[test]
fn speed_and_heading_are_those_of_the_way() {
    for trip in flawless().files(20).points_per_trip(1_000).trips().unwrap() {
        for three in points(&trip).windows(3) {
            // The mean over two seconds is the speed in between, but for a quarter of what the acceleration changed.
            let way_m = geodesic_m(&three[0], &three[2]);
            let speed_kmh = way_m / 2.0 * 3.6;
            assert!((speed_kmh - three[1].speed_kmh).abs() < 6.5, "{three:?}");
            let turned = |a: f64, b: f64| (b - a + 540.0).rem_euclid(360.0) - 180.0;
            let steady = (three[0].speed_kmh - three[2].speed_kmh).abs() < 0.2
                && turned(three[0].heading_deg, three[2].heading_deg).abs() < 0.2;
            if steady {
                assert!((speed_kmh - three[1].speed_kmh).abs() < 0.6, "{three:?}");
                if speed_kmh > 20.0 {
                    let (_, _, azimuth, _) =
                        Geodesic::wgs84().inverse(three[0].lat, three[0].lon, three[2].lat, three[2].lon);
                    let azimuth: f64 = azimuth;
                    assert!(turned(azimuth, three[1].heading_deg).abs() < 1.0, "{azimuth} {three:?}");
                }
            }
        }
    }
}

#[test]
fn another_interval_is_another_look_at_the_same_drive() {
    let seconds = flawless().vehicles(3).points_per_trip(4_000);
    let tenths = seconds.clone().points_per_trip(40_000).interval(Duration::from_millis(100));
    let mut events = 0;
    for (second, tenth) in seconds.trips().unwrap().zip(tenths.trips().unwrap()) {
        assert_eq!(second.truth.path, tenth.truth.path);
        let seen = |truth: &TripTruth| {
            let end = second.truth.ended_at;
            truth.events.iter().filter(|event| event.end <= end).cloned().collect::<Vec<_>>()
        };
        assert_eq!(seen(&second.truth), seen(&tenth.truth));
        let tenths = read(&tenth.bytes, 100).sound;
        assert_eq!(points(&second), tenths.iter().step_by(10).cloned().collect::<Vec<_>>());
        events += second.truth.events.len();
    }
    assert!(events > 30, "{events}");
}

#[test]
fn neither_faults_nor_noise_nor_format_change_the_drive() {
    let fleet = flawless().vehicles(2).points_per_trip(2_000);
    let plain: Vec<_> = fleet.trips().unwrap().collect();
    let rates = FaultRates { gap: 0.0, empty_file: 0.0, ..FaultRates::default() };
    for other in
        [fleet.clone().fault_rates(rates), fleet.clone().gps_noise(true), fleet.clone().format(Format::Csv)]
    {
        for (plain, other) in plain.iter().zip(other.trips().unwrap()) {
            let [plain_events, other_events] = [&plain.truth, &other.truth].map(|truth| {
                let key = |event: &Event| (event.kind, event.start, event.end, event.near_miss);
                truth.events.iter().map(key).collect::<Vec<_>>()
            });
            assert_eq!(plain_events, other_events);
            assert_eq!(plain.truth.distance_mm, other.truth.distance_mm);
        }
    }
}

#[test]
fn csv_says_what_json_says() {
    let fleet = FleetData::new().files(20);
    let csv = fleet.clone().format(Format::Csv);
    for (json, csv) in fleet.trips().unwrap().zip(csv.trips().unwrap()) {
        assert_eq!(csv.truth.path, json.truth.path.replace(".json", ".csv"));
        assert_eq!(points(&csv), points(&json));
        assert!(csv.bytes.is_empty() || csv.bytes.starts_with(b"t,lat,lon,speed_kmh,heading_deg,road\n"));
    }
}

#[test]
fn there_are_about_as_many_near_misses_as_events_and_all_kinds_of_both() {
    let fleet = FleetData::new().vehicles(60).days(1).points_per_trip(5_000);
    let mut counts: BTreeMap<(EventKind, bool), u64> = BTreeMap::new();
    let [mut hidden, mut all] = [0, 0];
    for trip in fleet.trips().unwrap() {
        for event in &trip.truth.events {
            *counts.entry((event.kind, event.near_miss)).or_default() += 1;
            hidden += u64::from(event.hidden);
            all += 1;
            let share = event.peak / event.threshold;
            let is_short = event.end - event.start < chrono::TimeDelta::milliseconds(9_501);
            match (event.kind, event.near_miss) {
                (EventKind::Overspeed, true) => {
                    assert!((0.94..0.96).contains(&share) || (share < 1.16 && is_short), "{event:?}");
                }
                (EventKind::Overspeed, false) => {
                    assert!((1.049..1.41).contains(&share) && !is_short, "{event:?}");
                }
                (_, true) => assert!((0.94..0.96).contains(&share), "{event:?}"),
                (_, false) => assert!((1.049..2.01).contains(&share), "{event:?}"),
            }
        }
        assert!(trip.truth.events.is_sorted_by(|a, b| a.end < b.start), "{}", trip.truth.path);
    }
    assert_eq!(counts.len(), 8, "{counts:?}");
    assert!(counts.values().all(|count| *count > 20), "{counts:?}");
    assert!((all / 50..all / 4).contains(&hidden), "{hidden} of {all}");

    let truth = fleet.truth().unwrap().total;
    assert_eq!(truth.events + truth.near_misses, all);
    assert!(truth.events.abs_diff(truth.near_misses) * 5 < all, "{truth:?}");
    let on_100_km = truth.events as f64 / (truth.distance_mm as f64 / 1e8);
    assert!((2.0..8.0).contains(&on_100_km), "{on_100_km} events on 100 km");
}

#[test]
fn an_event_is_hidden_if_and_only_if_the_file_is_dark_in_it() {
    let rates =
        FaultRates { gap: 0.004, broken: 0.01, teleport: 0.01, impossible_speed: 0.01, ..FaultRates::NONE };
    let [mut hidden, mut visible] = [0, 0];
    for trip in FleetData::new().files(60).points_per_trip(4_000).fault_rates(rates).trips().unwrap() {
        let points = points(&trip);
        for event in &trip.truth.events {
            // A second between all sound points from the one before its start to the one after its end.
            let before = points.iter().rposition(|point| point.t < event.start).unwrap();
            let after = points.iter().position(|point| point.t > event.end);
            let whole = after.is_some_and(|after| {
                points[before..=after]
                    .windows(2)
                    .all(|pair| (pair[1].t - pair[0].t).num_milliseconds() == 1_000)
            });
            assert_eq!(event.hidden, !whole, "{event:?}");
            hidden += u64::from(event.hidden);
            visible += u64::from(!event.hidden);
        }
    }
    assert!(hidden > 50 && visible > 50, "{hidden} {visible}");
}

#[test]
fn noise_is_as_large_as_the_data_sheet_says() {
    let fleet = flawless().files(40).points_per_trip(2_000);
    let [mut places, mut headings] = [const { Vec::new() }; 2];
    let [mut speeds, mut speed_variance] = [0.0; 2];
    let mut creeping = 0;
    for (plain, noisy) in fleet.trips().unwrap().zip(fleet.clone().gps_noise(true).trips().unwrap()) {
        for (plain, noisy) in points(&plain).iter().zip(points(&noisy)) {
            places.push(geodesic_m(plain, &noisy));
            if plain.speed_kmh > 5.0 {
                speed_variance += ((plain.speed_kmh - noisy.speed_kmh) / 3.6).powi(2);
                speeds += 1.0;
            }
            if plain.speed_kmh > 50.0 {
                let off = (noisy.heading_deg - plain.heading_deg + 540.0).rem_euclid(360.0) - 180.0;
                headings.push(off.abs() * plain.speed_kmh / 3.6 / 30.0);
            }
            creeping += usize::from(plain.speed_kmh == 0.0 && noisy.speed_kmh > 0.0);
        }
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    assert!((2.2..2.8).contains(&median(&mut places)));
    // The median of the written speeds is one of their decimals.
    let speed_deviation = (speed_variance / speeds).sqrt();
    assert!((0.045..0.055).contains(&(0.6745 * speed_deviation)), "{speed_deviation}");
    assert!((0.28..0.32).contains(&median(&mut headings)));
    assert!(creeping > 1_000, "{creeping}");
}

#[test]
fn lorries_are_slower() {
    let fastest_kmh = |vehicle: &str| {
        let fleet = flawless().vehicles(10).points_per_trip(4_000);
        let trips = fleet.trips().unwrap().filter(|trip| trip.truth.vehicle == vehicle);
        let limits = trips.flat_map(|trip| trip.truth.events);
        limits
            .filter(|event| event.kind == EventKind::Overspeed)
            .map(|event| event.threshold * 3.6)
            .fold(0.0, f64::max)
    };
    assert!(fastest_kmh("vehicle-010") <= 80.01);
}

#[test]
fn an_event_is_a_line_of_json_in_a_file_of_the_truth() {
    let trip = flawless()
        .points_per_trip(4_000)
        .trips()
        .unwrap()
        .find(|trip| !trip.truth.events.is_empty())
        .unwrap();
    let line = serde_json::to_string(&trip.truth.event_lines().next().unwrap()).unwrap();
    let start = r#"{"path":"vehicle-001/2026-11-21/trip_"#;
    assert!(line.starts_with(start), "{line}");
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["end", "hidden", "kind", "near_miss", "path", "peak", "start", "threshold", "vehicle"],
        "{line}"
    );
}
