//! A day in one go, and in parts.

use proptest::prelude::*;

use super::*;
use crate::aside::{Aside, Rule};
use crate::limits::LimitSource;
use crate::overspeed::Overspeed;
use crate::part::Part;
use crate::point::Point;
use crate::rapid::{Rapid, RapidKind};
use crate::trip::{Trip, TripFile};
use crate::zones::Zones;
use crate::{page, summary, tables};

const DAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();

/// Midnight in Seoul.
const MIDNIGHT_MS: i64 = 1_795_359_600_000;

/// A trip of so many seconds from a place, that drives by steps of 10 m/s and does something wrong now and then.
fn trip(vehicle: u8, number: u8, seconds: u16, (latitude, longitude): (f64, f64), seed: u64) -> Trip {
    let name = format!("vehicle-{vehicle:03}/{DAY}/trip_{number:02}0000.json");
    let start_ms = MIDNIGHT_MS + i64::from(number % 23) * 3_600_000;
    let points: Vec<Point> = (0..seconds)
        .map(|second| Point {
            time_ms: start_ms + i64::from(second) * 1000,
            latitude_deg: (latitude + f64::from(second) * 9e-5).min(90.0),
            longitude_deg: longitude,
            speed_mps: if second % 60 < 50 { 10.0 } else { 0.0 },
            heading_deg: Some(0.0),
            road: None,
            line: u64::from(second) + 1,
        })
        .collect();
    let some = |step: u64| {
        points.iter().step_by(7).skip(1).filter(move |point| (point.line * seed).is_multiple_of(step))
    };
    let overspeed: Vec<Overspeed> = some(3)
        .map(|point| Overspeed {
            start_ms: point.time_ms,
            end_ms: point.time_ms + 12_000,
            start_latitude_deg: point.latitude_deg,
            start_longitude_deg: point.longitude_deg,
            end_latitude_deg: point.latitude_deg,
            end_longitude_deg: point.longitude_deg,
            peak_speed_mps: 15.0 + (point.line % 5) as f64,
            mean_speed_mps: 14.5,
            limit_mps: 13.889,
            limit_source: LimitSource::Zone("<b>".into()),
            distance_m: 170.5,
        })
        .collect();
    let rapid: Vec<Rapid> = some(4)
        .map(|point| Rapid {
            kind: [RapidKind::HarshAcceleration, RapidKind::HarshBraking, RapidKind::SharpTurn]
                [usize::from(number) % 3],
            start_ms: point.time_ms,
            end_ms: point.time_ms + 2_000,
            latitude_deg: point.latitude_deg,
            longitude_deg: point.longitude_deg,
            peak_accel_mps2: 4.5 + (point.line % 3) as f64,
            speed_mps: 12.0,
        })
        .collect();
    let aside: Vec<Aside> = some(11)
        .map(|point| Aside {
            line: point.line,
            count: 1,
            rule: Rule::ALL[(usize::from(number) + usize::from(vehicle)) % Rule::ALL.len()],
            detail: "what \"is\" wrong".to_owned(),
            point: None,
            raw: Some(vec![0xff, b'{']),
        })
        .collect();
    let settings = FigureSettings::default();
    let figures = Figures::of_trip(&points, &overspeed, &rapid, &aside, seed % 3, &settings);
    let file = TripFile {
        path: name.clone().into(),
        name,
        vehicle: format!("vehicle-{vehicle:03}"),
        day: DAY,
        size_bytes: 1,
    };
    Trip { file, points, aside, overspeed, rapid, figures }
}

fn digest_of<'a>(trips: impl IntoIterator<Item = &'a Trip>) -> Digest {
    let mut builder = DigestBuilder::new(DAY, chrono_tz::Asia::Seoul, &FigureSettings::default());
    for trip in trips {
        builder.add(trip);
    }
    builder.finish()
}

fn merged<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let mut whole = digest_of([]);
    for digest in digests {
        whole.merge(digest).unwrap();
    }
    whole
}

/// The files that say all of a day.
fn said(digest: &Digest) -> Vec<Vec<u8>> {
    let results = tempfile::tempdir().unwrap();
    tables::write_fleet(results.path(), digest).unwrap();
    summary::write(results.path(), digest).unwrap();
    let fleet = results.path().join(format!("fleet/date={DAY}/fleet.parquet"));
    let summary = results.path().join(format!("summary/date={DAY}/summary.csv"));
    vec![
        std::fs::read(fleet).unwrap(),
        std::fs::read(summary).unwrap(),
        page::render(digest, &Zones::default()).into_bytes(),
        serde_json::to_vec(digest).unwrap(),
    ]
}

prop_compose! {
    fn trips()(
        trips in prop::collection::btree_map(
            (0..40_u8, 0..4_u8),
            (0..400_u16, (-89.0..89.0, -180.0..180.0), 1..1000_u64),
            0..40,
        )
    ) -> Vec<Trip> {
        let one = |((vehicle, number), (seconds, place, seed))| trip(vehicle, number, seconds, place, seed);
        trips.into_iter().map(one).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn parts_say_the_same_as_the_whole(trips in trips(), of in 1..6_u32, turn in 0..6_usize) {
        let whole = digest_of(&trips);
        let mut parts: Vec<Digest> = Part::all(of)
            .map(|part| digest_of(trips.iter().filter(|trip| part.has(&trip.file.vehicle, DAY))))
            .collect();
        let length = parts.len();
        parts.rotate_left(turn % length);
        prop_assert_eq!(said(&merged(&parts)), said(&whole));
        // Merged two and two, from the other end.
        let (first, second) = parts.split_at(length / 2);
        prop_assert_eq!(&merged([&merged(second), &merged(first)]), &whole);
    }

    #[test]
    fn a_digest_comes_back_from_its_file(trips in trips()) {
        let digest = digest_of(&trips);
        let results = tempfile::tempdir().unwrap();
        write(results.path(), &digest, Part::WHOLE).unwrap();
        prop_assert_eq!(read(results.path(), DAY, Part::WHOLE).unwrap(), digest);
    }
}

#[test]
fn digests_of_another_day_or_with_other_settings_do_not_merge() {
    let mut digest = digest_of([]);
    let mut other = digest.clone();
    other.settings.score.half_per_100_km = 5.0;
    assert_eq!(digest.merge(&other), Err(Unlike));
    let other = Digest::new(DAY.succ_opt().unwrap(), chrono_tz::Asia::Seoul, &FigureSettings::default());
    assert_eq!(digest.merge(&other), Err(Unlike));
}

#[test]
fn a_file_that_is_no_digest_of_the_day_is_refused() {
    let results = tempfile::tempdir().unwrap();
    let digest = digest_of(&[trip(1, 1, 300, (37.5, 127.0), 7)]);
    write(results.path(), &digest, Part::WHOLE).unwrap();
    let path = results.path().join(format!("digest/date={DAY}/part-1-of-1.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    let deep = "[".repeat(100_000);
    let other_day = text.replace("2026-11-23\",\"timezone", "2026-11-24\",\"timezone");
    let far = text.replace("\"longitude_e7\":1270000000", "\"longitude_e7\":1900000000");
    for (bad, why) in [
        (text.replace("\"version\":1", "\"version\":2"), "version 2"),
        (text.replace("\"vehicles\"", "\"vehicle\""), "unknown field"),
        (text.replace("\"hours\":{", "\"hours\":{\"24\":{},"), "missing field"),
        (far, "outside of its range"),
        (other_day, "2026-11-24"),
        (text[..text.len() / 2].to_owned(), "EOF"),
        (deep, "invalid type"),
        (" ".repeat(9 << 20), "longer than"),
    ] {
        assert_ne!(bad, text, "{why}");
        std::fs::write(&path, bad).unwrap();
        let problem = read(results.path(), DAY, Part::WHOLE).unwrap_err().to_string();
        assert!(problem.contains(why) && problem.contains("part-1-of-1.json"), "{why}: {problem}");
    }
}

#[test]
fn hours_are_local() {
    // At 07:00 in Seoul, a minute.
    let digest = digest_of(&[trip(1, 7, 61, (37.5, 127.0), 1)]);
    let hours: Vec<_> =
        digest.hours.iter().map(|(hour, sums)| (*hour, sums.driving_ms, sums.idle_ms)).collect();
    assert_eq!(hours, [(7, 51_000, 9_000)]);
}

#[test]
fn a_page_is_small_and_harmless_whatever_the_names() {
    let mut trips: Vec<Trip> =
        (0..240).map(|vehicle| trip(vehicle, vehicle % 20, 1200, (37.5, 127.0), 12)).collect();
    for (trip, number) in trips.iter_mut().zip(0..) {
        let hostile = "\u{202e}<script>'\"&".repeat(90);
        trip.file.vehicle = format!("{number}{hostile}");
        trip.file.name = format!("{number}{hostile}/x");
        trip.points.iter_mut().for_each(|point| point.longitude_deg += f64::from(number % 120) * 0.003);
        trip.aside.iter_mut().for_each(|aside| aside.detail.clone_from(&hostile));
    }
    let page = page::render(&digest_of(&trips), &Zones::default());
    assert!(page.len() < 500_000, "{}", page.len());
    assert!(!page.contains("<script") && !page.contains('\u{202e}'));
    let empty = page::render(&digest_of([]), &Zones::default());
    assert!(empty.contains("No vehicle drove"), "{empty}");
}
