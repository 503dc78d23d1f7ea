//! Overspeed: intervals above a limit.
//!
//! Between two points the speed is a straight line, and the limit is the higher one of the two: where exactly a limit changes is
//! not recorded, and the driver has the benefit of the doubt. The way and the mean are those of the speeds, which a receiver
//! measures far better (by the Doppler shift) than two positions close to each other.

use serde::{Deserialize, Serialize};

use crate::crossings::{Crossings, Sample, Span, whole_ms};
use crate::geo;
use crate::limits::{KMH_PER_MPS, Limit, LimitSource, VehicleLimits};
use crate::point::Point;

/// The part `[overspeed]` of the settings. What is negative or no number counts as 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverspeedSettings {
    /// The least time above the limit that counts, in seconds; 10 by default.
    pub min_duration_s: f64,
    /// How far the speed may dip below the limit without ending an interval, in km/h; 3 by default, which is five times the
    /// error of a speed that a common receiver measures.
    pub hysteresis_kmh: f64,
    /// For how long such a dip may last, in seconds; 5 by default. Whoever drives just below the limit for longer keeps to it.
    pub max_dip_s: f64,
    /// The longest pause between two points over which the speed is taken as a straight line, in seconds; 30 by default. No
    /// interval goes across a longer one.
    pub max_gap_s: f64,
}

impl Default for OverspeedSettings {
    fn default() -> Self {
        Self { min_duration_s: 10.0, hysteresis_kmh: 3.0, max_dip_s: 5.0, max_gap_s: 30.0 }
    }
}

/// An interval in which a vehicle was above its limit for longer than the least time.
#[derive(Debug, Clone, PartialEq)]
pub struct Overspeed {
    /// When the speed rose above the limit, in milliseconds since 1970-01-01 UTC.
    pub start_ms: i64,
    /// When it fell below it.
    pub end_ms: i64,
    /// Where it began.
    pub start_latitude_deg: f64,
    /// Where it began.
    pub start_longitude_deg: f64,
    /// Where it ended.
    pub end_latitude_deg: f64,
    /// Where it ended.
    pub end_longitude_deg: f64,
    /// The highest speed.
    pub peak_speed_mps: f64,
    /// Distance by time.
    pub mean_speed_mps: f64,
    /// The limit; the lowest one, where it changed.
    pub limit_mps: f64,
    /// Whose limit it is.
    pub limit_source: LimitSource,
    /// The way driven above the limit, in metres.
    pub distance_m: f64,
}

/// Finds all intervals above the limit in the points of a trip, which are in the order of time.
///
/// An interval that is cut off by the end of the trip or by a gap ends at the last point before it.
pub fn overspeed(
    points: &[Point],
    limits: &VehicleLimits<'_>,
    settings: &OverspeedSettings,
) -> Vec<Overspeed> {
    let max_gap_ms = settings.max_gap_s * 1000.0;
    let mut crossings = Crossings::new(settings.hysteresis_kmh / KMH_PER_MPS, settings.max_dip_s * 1000.0);
    let mut spans = Vec::new();
    let mut limit = points.first().map(|point| limits.at(point).mps);
    for (from, to) in points.iter().zip(points.iter().skip(1)) {
        let next_mps = limits.at(to).mps;
        let limit_mps = limit.replace(next_mps).unwrap_or(next_mps).max(next_mps);
        let (from, to) = (sample(from, limit_mps), sample(to, limit_mps));
        let is_gap = !(0.0..=max_gap_ms).contains(&(to.time_ms - from.time_ms));
        spans.extend(if is_gap { crossings.stop(from.time_ms) } else { crossings.stretch(from, to) });
    }
    spans.extend(points.last().and_then(|last| crossings.stop(last.time_ms as f64)));
    spans.retain(|span| span.end_ms - span.start_ms >= settings.min_duration_s * 1000.0);
    spans.iter().filter_map(|span| describe(span, points, limits)).collect()
}

fn sample(point: &Point, limit_mps: f64) -> Sample {
    Sample { time_ms: point.time_ms as f64, excess: point.speed_mps - limit_mps }
}

fn describe(span: &Span, points: &[Point], limits: &VehicleLimits<'_>) -> Option<Overspeed> {
    let start = geo::moment(points, span.start_ms)?;
    let end = geo::moment(points, span.end_ms)?;
    let first = points.partition_point(|point| point.time_ms as f64 <= span.start_ms);
    let last = points.partition_point(|point| (point.time_ms as f64) < span.end_ms);
    let within = points.get(first..last).unwrap_or_default();

    let speeds = within.iter().map(|point| (point.time_ms as f64, point.speed_mps));
    let speeds: Vec<(f64, f64)> = std::iter::once((span.start_ms, start.speed_mps))
        .chain(speeds)
        .chain(std::iter::once((span.end_ms, end.speed_mps)))
        .collect();
    let ways = speeds.iter().zip(speeds.iter().skip(1));
    let distance_m: f64 = ways
        .map(|((from_ms, from), (to_ms, to))| (to_ms - from_ms) / 1000.0 * f64::midpoint(*from, *to))
        .sum();

    // The limit of a stretch is that of one of its ends, so the points before and after the interval count as well.
    let stretches = points.get(first.saturating_sub(1)..points.len().min(last + 1)).unwrap_or_default();
    let limit = lowest(stretches, limits)?;
    Some(Overspeed {
        start_ms: whole_ms(span.start_ms),
        end_ms: whole_ms(span.end_ms),
        start_latitude_deg: start.latitude_deg,
        start_longitude_deg: start.longitude_deg,
        end_latitude_deg: end.latitude_deg,
        end_longitude_deg: end.longitude_deg,
        peak_speed_mps: speeds.iter().map(|&(_, speed)| speed).fold(0.0, f64::max),
        mean_speed_mps: distance_m / ((span.end_ms - span.start_ms) / 1000.0),
        limit_mps: limit.mps,
        limit_source: limit.source.clone(),
        distance_m,
    })
}

/// The lowest limit that holds on any stretch between two of the points.
fn lowest<'a>(points: &[Point], limits: &VehicleLimits<'a>) -> Option<Limit<'a>> {
    let of_points: Vec<Limit<'a>> = points.iter().map(|point| limits.at(point)).collect();
    let of_stretches = of_points
        .iter()
        .zip(of_points.iter().skip(1))
        .map(|(from, to)| if to.mps > from.mps { to } else { from });
    of_stretches.min_by(|a, b| a.mps.total_cmp(&b.mps)).copied()
}
