//! A reader of trip files that knows nothing of how they were made. It counts what it sees.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};
use serde::Deserialize;

/// A line, as a consumer of the data would declare it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    pub(crate) t: DateTime<FixedOffset>,
    pub(crate) lat: f64,
    pub(crate) lon: f64,
    pub(crate) speed_kmh: f64,
    pub(crate) heading_deg: f64,
    pub(crate) road: String,
}

/// What a reader finds in one file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) points: u64,
    pub(crate) lines: u64,
    pub(crate) gaps: u64,
    pub(crate) missing_points: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    pub(crate) broken: u64,
    pub(crate) teleports: u64,
    pub(crate) impossible_speeds: u64,
    pub(crate) empty_files: u64,
    /// Those that parse, once each, in the order of their times.
    pub(crate) sound: Vec<Point>,
    /// On the last line.
    pub(crate) last: Option<DateTime<FixedOffset>>,
}

pub(crate) fn read(file: &[u8], interval_ms: u64) -> Found {
    let mut found = Found { empty_files: u64::from(file.is_empty()), ..Found::default() };
    let mut seen = BTreeSet::new();
    let mut latest = None;
    let is_csv = file.starts_with(HEADER);
    for line in file.strip_prefix(HEADER).unwrap_or(file).split_inclusive(|byte| *byte == b'\n') {
        assert!(line.ends_with(b"\n"), "the last line has no line feed");
        found.lines += 1;
        let read = if is_csv { of_csv(line) } else { serde_json::from_slice(line).ok() };
        let Some(point): Option<Point> = read else {
            found.broken += 1;
            continue;
        };
        found.last = Some(point.t);
        if !seen.insert(point.t) {
            found.duplicates += 1;
            continue;
        }
        found.out_of_order += u64::from(Some(point.t) < latest);
        latest = latest.max(Some(point.t));
        found.sound.push(point);
    }
    found.sound.sort_by_key(|point| point.t);
    found.sound.retain(|point| {
        let is_possible = point.speed_kmh < 300.0;
        found.impossible_speeds += u64::from(!is_possible);
        is_possible
    });
    let mut here: Option<Point> = None;
    found.sound.retain(|point| {
        let is_near = here.as_ref().is_none_or(|here| {
            let elapsed_s = (point.t - here.t).num_milliseconds() as f64 / 1_000.0;
            metres(here, point) < 100.0 * elapsed_s + 500.0
        });
        found.teleports += u64::from(!is_near);
        if is_near {
            here = Some(point.clone());
        }
        is_near
    });
    for pair in found.sound.windows(2) {
        let missing = (pair[1].t - pair[0].t).num_milliseconds().unsigned_abs() / interval_ms - 1;
        // One missing point is a broken line.
        if missing > 1 {
            found.gaps += 1;
            found.missing_points += missing;
        }
    }
    found.points = found.lines - found.duplicates;
    found
}

const HEADER: &[u8] = b"t,lat,lon,speed_kmh,heading_deg,road\n";

fn of_csv(line: &[u8]) -> Option<Point> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let [t, lat, lon, speed_kmh, heading_deg, road] = line.split(',').collect::<Vec<_>>().try_into().ok()?;
    Some(Point {
        t: t.parse().ok()?,
        lat: lat.parse().ok()?,
        lon: lon.parse().ok()?,
        speed_kmh: speed_kmh.parse().ok()?,
        heading_deg: heading_deg.parse().ok()?,
        road: road.to_owned(),
    })
}

/// The way between two points by the haversine formula, in metres.
fn metres(a: &Point, b: &Point) -> f64 {
    let (lat_a, lat_b) = (a.lat.to_radians(), b.lat.to_radians());
    let (north, east) = (lat_b - lat_a, (b.lon - a.lon).to_radians());
    let h = (north / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (east / 2.0).sin().powi(2);
    2.0 * 6_371_000.0 * h.sqrt().asin()
}
