//! What is in the files: the same bytes everywhere, the faults that the truth says, and plausible trips.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may unwrap as the tests themselves do")]

mod common;

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use common::{Point, read};
use geographiclib_rs::{Geodesic, InverseGeodesic};
use s3backup_fleet_data::{Error, FaultRates, FleetData, Format, Trip, TripTruth};
use sha2::{Digest, Sha256};

fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

/// So many faults that every kind occurs in a small set.
const MANY: FaultRates = FaultRates {
    gap: 0.02,
    duplicate: 0.05,
    out_of_order: 0.05,
    broken: 0.05,
    teleport: 0.02,
    impossible_speed: 0.02,
    empty_file: 0.1,
};

/// Names, times and bytes of a whole set.
fn checksum(fleet: &FleetData) -> String {
    let mut hash = Sha256::new();
    for trip in fleet.trips().unwrap() {
        hash.update(&trip.truth.path);
        hash.update(DateTime::<Utc>::from(trip.modified).to_rfc3339());
        hash.update(&trip.bytes);
    }
    hash.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[test]
fn a_set_has_the_same_bytes_on_every_machine() {
    let fleet = FleetData::new().vehicles(3).days(2).seed(7).fault_rates(MANY);
    assert_eq!(checksum(&fleet), "c593d84bcd266274ad047a7a038f11c97fa06b237c35d25b266bd2bb2a9d84de");
    assert_eq!(
        checksum(&FleetData::new().vehicles(1).days(1)),
        "5cfba07343760720515581e20610d77fafdfddd1fb0354d4cfbdf38dc27fbbb8"
    );
    assert_ne!(checksum(&fleet), checksum(&fleet.clone().seed(8)));
}

#[test]
fn the_first_line_is_as_documented() {
    let trip = FleetData::new().trips().unwrap().next().unwrap();
    let line = trip.bytes.split(|byte| *byte == b'\n').next().unwrap();
    assert_eq!(
        String::from_utf8_lossy(line),
        r#"{"t":"2026-11-21T05:07:45.000+09:00","lat":37.597896,"lon":127.033171,"speed_kmh":0.0,"heading_deg":223.3,"road":"residential"}"#
    );
}

#[test]
fn a_trip_does_not_depend_on_the_rest_of_its_set() {
    let small: Vec<Trip> = FleetData::new().vehicles(2).days(2).trips().unwrap().collect();
    let next_day = FleetData::new().vehicles(3).days(3).end_day(date(2026, 11, 24));
    let large: Vec<Trip> = next_day.trips().unwrap().collect();
    for trip in &small {
        assert!(large.contains(trip), "{}", trip.truth.path);
    }
}

#[test]
fn faults_do_not_change_the_way() {
    let fleet = FleetData::new().vehicles(1).days(1);
    let first = |rates| fleet.clone().fault_rates(rates).trips().unwrap().next().unwrap();
    let flawless = read(&first(FaultRates::NONE).bytes, 1_000);
    let faulty = read(&first(FaultRates { gap: 0.0, ..MANY }).bytes, 1_000);
    assert!(faulty.broken > 0);
    assert!(faulty.sound.iter().all(|point| flawless.sound.contains(point)));
}

fn assert_is_what_a_reader_counts(trip: &Trip, interval_ms: u64) {
    let TripTruth { path, faults, .. } = &trip.truth;
    let found = read(&trip.bytes, interval_ms);
    assert_eq!(trip.truth.bytes, trip.bytes.len() as u64, "{path}");
    assert_eq!(trip.truth.lines, found.lines, "{path}");
    assert_eq!(trip.truth.points, found.points, "{path}");
    assert_eq!(faults.gaps, found.gaps, "{path}");
    assert_eq!(faults.missing_points, found.missing_points, "{path}");
    assert_eq!(faults.duplicates, found.duplicates, "{path}");
    assert_eq!(faults.out_of_order, found.out_of_order, "{path}");
    assert_eq!(faults.broken(), found.broken, "{path}");
    assert_eq!(faults.teleports, found.teleports, "{path}");
    assert_eq!(faults.impossible_speeds, found.impossible_speeds, "{path}");
    assert_eq!(faults.empty_files, found.empty_files, "{path}");
    let ended_at = found.last.unwrap_or(trip.truth.started_at);
    assert_eq!(trip.truth.ended_at, ended_at, "{path}");
    assert_eq!(DateTime::<Utc>::from(trip.modified), ended_at, "{path}");
}

#[test]
fn a_reader_counts_what_the_truth_says() {
    let extreme = FaultRates {
        gap: 0.25,
        duplicate: 0.25,
        out_of_order: 0.25,
        broken: 0.25,
        empty_file: 0.5,
        ..FaultRates::NONE
    };
    let astray = FaultRates { teleport: 0.5, impossible_speed: 0.5, ..FaultRates::NONE };
    for rates in [FaultRates::default(), MANY, extreme, astray, FaultRates::NONE] {
        for fleet in [
            FleetData::new().points_per_trip(1),
            FleetData::new().points_per_trip(6),
            FleetData::new().points_per_trip(300),
            FleetData::new().interval(Duration::from_millis(40)),
            FleetData::new().interval(Duration::from_mins(10)).points_per_trip(10),
            FleetData::new().file_size(1_024),
            FleetData::new().file_size(70_000),
            FleetData::new().of_size(200_000),
            FleetData::new().format(Format::Csv),
            FleetData::new().format(Format::Csv).file_size(1_024),
            FleetData::new().gps_noise(true),
        ] {
            let fleet = fleet.files(25).fault_rates(rates);
            let truth = fleet.truth().unwrap();
            let mut total = s3backup_fleet_data::Totals::default();
            for trip in fleet.trips().unwrap() {
                assert_is_what_a_reader_counts(&trip, truth.interval_ms);
                total.add(&trip.truth);
            }
            assert_eq!(truth.total, total);
        }
    }
}

#[test]
fn every_kind_of_fault_occurs() {
    let faults = FleetData::new().fault_rates(MANY).truth().unwrap().total.faults;
    let counts = [
        faults.gaps,
        faults.duplicates,
        faults.out_of_order,
        faults.truncated,
        faults.garbled,
        faults.teleports,
        faults.impossible_speeds,
    ];
    assert!(counts.iter().all(|count| *count > 100), "{faults:?}");
    assert!((10..40).contains(&faults.empty_files), "{faults:?}");

    let defaults = FleetData::new().truth().unwrap().total.faults;
    assert!(defaults.gaps > 0 && defaults.broken() > 0 && defaults.empty_files > 0, "{defaults:?}");

    let none = FleetData::new().fault_rates(FaultRates::NONE).truth().unwrap().total.faults;
    assert_eq!(none, s3backup_fleet_data::FaultCounts::default());
}

#[test]
fn the_way_of_the_points_is_the_distance_of_the_truth() {
    for trip in
        FleetData::new().points_per_trip(3_000).files(12).fault_rates(FaultRates::NONE).trips().unwrap()
    {
        let points = read(&trip.bytes, 1_000).sound;
        let way_m = |from: &Point, to: &Point| -> f64 {
            Geodesic::wgs84().inverse(from.lat, from.lon, to.lat, to.lon)
        };
        let (mut distance_m, mut steps) = (0.0, 0);
        for pair in points.windows(2) {
            let metres = way_m(&pair[0], &pair[1]);
            distance_m += metres;
            let driven_m = f64::midpoint(pair[0].speed_kmh, pair[1].speed_kmh) / 3.6;
            // Positions are written to some 0.1 m, and in a turn the way is longer than the line.
            assert!((metres - driven_m).abs() < 0.7, "{metres} m, {driven_m} m driven");
            steps += 1;
        }
        let of_the_truth_m = trip.truth.distance_mm as f64 / 1_000.0;
        assert!((distance_m / of_the_truth_m - 1.0).abs() < 0.001, "{distance_m} and {of_the_truth_m} m");
        assert_eq!(steps, 2_999);
    }
}

#[test]
fn the_days_of_path_lines_and_time_agree_in_every_zone() {
    let autumn_change = date(2026, 11, 1);
    for zone in
        [Tz::Asia__Seoul, Tz::America__New_York, Tz::Pacific__Kiritimati, Tz::Asia__Kathmandu, Tz::UTC]
    {
        let fleet = FleetData::new().vehicles(2).days(3).end_day(autumn_change).timezone(zone);
        let mut paths = Vec::new();
        for trip in fleet.trips().unwrap() {
            let day = trip.truth.day;
            let started = trip.truth.started_at.with_timezone(&zone);
            let name = started.format("%Y-%m-%d/trip_%H%M%S.json");
            assert_eq!(trip.truth.path, format!("{}/{name}", trip.truth.vehicle));
            assert_eq!(started.date_naive(), day);
            assert_eq!(DateTime::<Utc>::from(trip.modified).with_timezone(&zone).date_naive(), day);
            for point in read(&trip.bytes, 1_000).sound {
                assert_eq!(point.t, point.t.with_timezone(&zone).fixed_offset());
                assert_eq!(point.t.naive_local().date(), day);
                assert_eq!(point.t.offset(), trip.truth.started_at.offset());
            }
            paths.push(trip.truth.path);
        }
        assert_eq!(paths.len(), 2 * 3 * 4);
        assert!(paths.is_sorted_by(|a, b| a < b), "paths are in order and no two are the same");
    }
}

#[test]
fn a_day_full_of_trips_has_no_name_twice() {
    let fleet = FleetData::new().vehicles(1).days(1).trips_per_day(10_000).points_per_trip(3);
    let paths: Vec<String> = fleet.trips().unwrap().map(|trip| trip.truth.path).collect();
    assert_eq!(paths.len(), 10_000);
    assert!(paths.is_sorted_by(|a, b| a < b));
}

fn assert_within_10_percent(fleet: &FleetData, bytes: u64) {
    let total = fleet.truth().unwrap().total;
    assert!(total.bytes.abs_diff(bytes) * 10 <= bytes, "{} instead of {bytes} in {total:?}", total.bytes);
}

#[test]
fn a_set_has_the_size_asked_for() {
    for rates in [FaultRates::default(), MANY] {
        for bytes in [1_024, 20_000, 1_000_000, 12_345_678] {
            for seed in 0..3 {
                let fleet = FleetData::new().seed(seed).fault_rates(rates).of_size(bytes);
                assert_within_10_percent(&fleet, bytes);
                assert_within_10_percent(&fleet.clone().files(1), bytes);
            }
        }
    }
    assert_within_10_percent(&FleetData::new().vehicles(5).of_size(3_000_000), 3_000_000);
    assert_within_10_percent(&FleetData::new().files(900).of_size(1_000_000), 1_000_000);
    assert_within_10_percent(&FleetData::new().file_size(50_000).of_size(2_000_000), 2_000_000);
}

#[test]
fn counts_and_sizes_are_as_asked() {
    let truth = FleetData::new().of_size(2_000_000).file_size(50_000).truth().unwrap();
    assert_eq!((truth.total.files, truth.vehicles), (40, 4));

    let truth = FleetData::new().files(13).truth().unwrap();
    assert_eq!((truth.total.files, truth.vehicles), (13, 2));

    let truth = FleetData::new().vehicles(6).days(5).trips_per_day(2).truth().unwrap();
    assert_eq!((truth.total.files, truth.vehicles, truth.by_day.len()), (60, 6, 5));
    assert!(truth.by_day.values().all(|day| day.files == 12));
    assert_eq!(truth.by_day.values().map(|day| day.bytes).sum::<u64>(), truth.total.bytes);
    assert_eq!(truth.total.points, (60 - truth.total.faults.empty_files) * 120);

    for trip in FleetData::new().files(30).file_size(5_000).fault_rates(MANY).trips().unwrap() {
        let bytes = trip.truth.bytes;
        assert!(bytes == 0 || bytes.abs_diff(5_000) <= 72, "{bytes}");
    }
}

#[test]
fn a_large_file_gets_a_shorter_interval() {
    let fleet = FleetData::new().files(1).file_size(4_000_000);
    let truth = fleet.truth().unwrap();
    assert!(truth.interval_ms < 1_000);
    assert_within_10_percent(&fleet, 4_000_000);
    assert_eq!(truth.by_day.len(), 1);
    let end_of_day = truth.by_day.keys().next().unwrap().and_hms_opt(23, 0, 0).unwrap();
    let trip = fleet.trips().unwrap().next().unwrap().truth;
    assert!(trip.ended_at.naive_local() <= end_of_day);
}

#[test]
fn no_set_is_without_a_point() {
    let fleet = FleetData::new().fault_rates(FaultRates { empty_file: 1.0, ..FaultRates::NONE });
    let total = fleet.truth().unwrap().total;
    assert_eq!(total.files - total.faults.empty_files, 3, "one a day");
    assert_within_10_percent(&fleet.of_size(500_000), 500_000);
}

#[test]
fn what_cannot_be_generated_is_refused_by_name() {
    let samoa = FleetData::new().timezone(Tz::Pacific__Apia).end_day(date(2011, 12, 31));
    assert!(matches!(samoa.truth(), Err(Error::NoSuchDay { day, .. }) if day == date(2011, 12, 30)));

    let gap_too_often = FaultRates { gap: 2.0, ..FaultRates::NONE };
    let new = FleetData::new;
    for (fleet, expected) in [
        (new().vehicles(0), "vehicles"),
        (new().vehicles(1_000_001), "vehicles"),
        (new().files(0), "files"),
        (new().files(u64::MAX), "vehicles"),
        (new().days(0), "days"),
        (new().days(4_000), "days"),
        (new().end_day(date(1980, 1, 2)), "end_day"),
        (new().end_day(NaiveDate::MAX), "end_day"),
        (new().end_day(NaiveDate::MIN), "end_day"),
        (new().trips_per_day(0), "trips_per_day"),
        (new().trips_per_day(10_001), "trips_per_day"),
        (new().points_per_trip(0), "points_per_trip"),
        (new().points_per_trip(u32::MAX), "trips_per_day"),
        (new().file_size(1_000), "file_size"),
        (new().file_size(u64::MAX), "trips_per_day"),
        (new().of_size(0), "of_size"),
        (new().vehicles(20).of_size(10_000), "of_size"),
        (new().of_size(u64::MAX), "vehicles"),
        (new().interval(Duration::ZERO), "interval"),
        (new().interval(Duration::from_micros(1_500)), "interval"),
        (new().interval(Duration::from_hours(1)), "interval"),
        (new().interval(Duration::MAX), "interval"),
        (new().interval(Duration::from_mins(2)), "interval"),
        (new().fault_rates(gap_too_often), "fault_rates"),
    ] {
        match fleet.trips() {
            Err(Error::InvalidOption { option, problem }) => {
                assert_eq!(option, expected, "{problem}");
                assert!(!problem.is_empty());
            }
            other => panic!("{expected}: {:?}", other.map(Iterator::count)),
        }
    }
}

#[test]
fn the_truth_survives_json() {
    let truth = FleetData::new().truth().unwrap();
    let json = serde_json::to_string(&truth).unwrap();
    assert!(json.contains("\"2026-11-23\":{\"files\":80,"), "{json}");
    assert_eq!(serde_json::from_str::<s3backup_fleet_data::Truth>(&json).unwrap(), truth);

    let trip = FleetData::new().trips().unwrap().next().unwrap().truth;
    let json = serde_json::to_string(&trip).unwrap();
    assert_eq!(serde_json::from_str::<TripTruth>(&json).unwrap(), trip);
}

#[test]
fn the_iterator_knows_how_many_are_left() {
    let mut trips = FleetData::new().files(5).trips().unwrap();
    assert_eq!(trips.size_hint(), (5, Some(5)));
    trips.next();
    assert_eq!(trips.size_hint(), (4, Some(4)));
    assert_eq!(trips.by_ref().count(), 4);
    assert!(trips.next().is_none());
}
