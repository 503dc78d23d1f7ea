//! Accelerations from speeds and headings that are noisy and not evenly spaced in time.
//!
//! The slope of a least-squares line through all points of a window is the derivative in its middle: A. Savitzky, M. J. E. Golay,
//! "Smoothing and Differentiation of Data by Simplified Least Squares Procedures", Analytical Chemistry 36, 1964, pages 1627 to
//! 1639; for uneven spacing P. A. Gorry, Analytical Chemistry 63, 1991, pages 534 to 536.

use std::ops::RangeInclusive;

use crate::geo;
use crate::limits::KMH_PER_MPS;
use crate::point::Point;
use crate::rapid::RapidSettings;

/// The time from the first to the last point of a window, at least and at most, as a share of its nominal time.
///
/// Where points are lost or sparse, what is shorter is too noisy, and what is longer not the acceleration of one moment.
const SPAN: RangeInclusive<f64> = 0.75..=1.5;

/// What is estimated from the points of one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// The middle of the window, in milliseconds since 1970-01-01 UTC.
    pub(super) time_ms: f64,
    /// How fast the speed rises.
    pub(super) accel_mps2: f64,
    /// To the right, if every point has a heading and is fast enough.
    pub(super) lateral_mps2: Option<f64>,
}

/// The estimate of each window, in the order of time. A window begins at each point, and ends at the one that brings its time
/// closest to the nominal one.
pub(super) fn estimates(points: &[Point], settings: &RapidSettings) -> Vec<Estimate> {
    let window_s = settings.window_s;
    let mut estimates = Vec::with_capacity(points.len());
    let mut last = 0;
    for (first, from) in points.iter().enumerate() {
        last = last.max(first);
        let off_s = |index: usize| points.get(index).map(|to| (seconds(from, to) - window_s).abs());
        while off_s(last + 1).is_some_and(|next| off_s(last).is_some_and(|now| next <= now)) {
            last += 1;
        }
        estimates.extend(points.get(first..=last).and_then(|window| estimate(window, settings)));
    }
    estimates
}

fn estimate(window: &[Point], settings: &RapidSettings) -> Option<Estimate> {
    let (first, last) = (window.first()?, window.last()?);
    let span_s = seconds(first, last);
    if !SPAN.contains(&(span_s / settings.window_s)) {
        return None;
    }
    let mut speed = Line::default();
    let mut direction = Line::default();
    let mut before = first;
    // Counted on beyond 360, so that it is a line across north.
    let mut turned_deg = 0.0;
    let mut slowest_mps = f64::INFINITY;
    for point in window {
        let time_s = seconds(first, point) - span_s / 2.0;
        speed.add(time_s, point.speed_mps);
        slowest_mps = slowest_mps.min(point.speed_mps);
        if let Some(veered_deg) = geo::veered_deg(before, point) {
            turned_deg += veered_deg;
            direction.add(time_s, turned_deg);
        }
        before = point;
    }
    let knows_headings = direction.count >= speed.count;
    let is_fast = slowest_mps * KMH_PER_MPS >= settings.min_turn_speed_kmh;
    let lateral_mps2 = (knows_headings && is_fast).then(|| speed.mean() * direction.slope().to_radians());
    let time_ms = f64::midpoint(first.time_ms as f64, last.time_ms as f64);
    Some(Estimate { time_ms, accel_mps2: speed.slope(), lateral_mps2 })
}

fn seconds(from: &Point, to: &Point) -> f64 {
    (to.time_ms - from.time_ms) as f64 / 1000.0
}

/// The sums of a least-squares line.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    count: f64,
    times: f64,
    times_squared: f64,
    values: f64,
    products: f64,
}

impl Line {
    fn add(&mut self, time: f64, value: f64) {
        self.count += 1.0;
        self.times += time;
        self.times_squared += time * time;
        self.values += value;
        self.products += time * value;
    }

    fn mean(&self) -> f64 {
        self.values / self.count
    }

    fn slope(&self) -> f64 {
        (self.count * self.products - self.times * self.values)
            / (self.count * self.times_squared - self.times * self.times)
    }
}
