//! Rapid behaviour: harsh acceleration, harsh braking, sharp turns.
//!
//! What is held against the thresholds are estimates over a few seconds, so that the noise of a receiver is no event.

use serde::{Deserialize, Serialize};

use crate::crossings::{Crossings, Sample, Span, whole_ms};
use crate::geo;
use crate::point::Point;
use crate::rapid::estimates::Estimate;

mod estimates;

/// The part `[rapid]` of the settings. What is negative or no number counts as 0.
///
/// The thresholds are those with which rates of events foretold crashes of 42 new drivers over 18 months: B. G. Simons-Morton, Z.
/// Zhang, J. C. Jackson, P. S. Albert, "Do Elevated Gravitational-Force Events While Driving Predict Crashes and Near
/// Crashes?", American Journal of Epidemiology 175, 2012, pages 1075 to 1079.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RapidSettings {
    /// From which acceleration on it is harsh, in m/s²; 3.43 by default (0.35 g, "rapid start").
    pub acceleration_mps2: f64,
    /// From which deceleration on a braking is harsh, in m/s²; 4.41 by default (0.45 g, "hard stop").
    pub braking_mps2: f64,
    /// From which lateral acceleration on a turn is sharp, in m/s²; 4.90 by default (0.50 g, "hard turn").
    pub turn_mps2: f64,
    /// Over which time an acceleration is estimated, in seconds; 2 by default. A shorter one lets more noise through, a longer one
    /// overlooks what is shorter.
    pub window_s: f64,
    /// For how long the estimate must be above the threshold, in seconds; 0.5 by default. A turn by a right angle and a braking
    /// from 60 km/h take 3 s or more, of which the window is within for 1 s; at one point a second, what is 5 % above the threshold is
    /// seen above it for 0.7 s. Noise, and a single wrong speed, are over sooner.
    pub min_duration_s: f64,
    /// How far the estimate may dip below the threshold without ending an event, as a share of the threshold; 0.1 by default.
    pub hysteresis: f64,
    /// The speed below which no turn is looked for, in km/h; 15 by default. The slower, the more the heading is noise, and so slow
    /// no car turns tightly enough to come to the threshold.
    pub min_turn_speed_kmh: f64,
}

impl Default for RapidSettings {
    fn default() -> Self {
        Self {
            acceleration_mps2: 3.43,
            braking_mps2: 4.41,
            turn_mps2: 4.90,
            window_s: 2.0,
            min_duration_s: 0.5,
            hysteresis: 0.1,
            min_turn_speed_kmh: 15.0,
        }
    }
}

/// What a rapid event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RapidKind {
    /// The speed rises too fast.
    HarshAcceleration,
    /// The speed falls too fast.
    HarshBraking,
    /// Lateral acceleration (speed times heading rate) is too high.
    SharpTurn,
}

impl RapidKind {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HarshAcceleration => "harsh_acceleration",
            Self::HarshBraking => "harsh_braking",
            Self::SharpTurn => "sharp_turn",
        }
    }
}

/// One rapid event.
#[derive(Debug, Clone, PartialEq)]
pub struct Rapid {
    /// What it is.
    pub kind: RapidKind,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub start_ms: i64,
    /// When it was over.
    pub end_ms: i64,
    /// Where it was strongest.
    pub latitude_deg: f64,
    /// Where it was strongest.
    pub longitude_deg: f64,
    /// The strongest acceleration, always positive.
    pub peak_accel_mps2: f64,
    /// The speed at its start.
    pub speed_mps: f64,
}

/// Finds all rapid behaviour in the points of a trip, which are in the order of time; the events too are.
///
/// Where points are too sparse to see an acceleration (more than one and a half windows apart: 3 s by default), there is no
/// event, and where the record does not say the heading, there is no sharp turn.
pub fn rapid(points: &[Point], settings: &RapidSettings) -> Vec<Rapid> {
    let estimates = estimates::estimates(points, settings);
    let turn = |sign: f64| move |estimate: &Estimate| estimate.lateral_mps2.map(|lateral| sign * lateral);
    let mut found = Vec::new();
    let mut find = |kind, threshold_mps2, value: &dyn Fn(&Estimate) -> Option<f64>| {
        let spans = spans(&estimates, threshold_mps2, value, settings);
        found.extend(spans.iter().filter_map(|span| describe(kind, span, &estimates, value, points)));
    };
    find(RapidKind::HarshAcceleration, settings.acceleration_mps2, &|estimate| Some(estimate.accel_mps2));
    find(RapidKind::HarshBraking, settings.braking_mps2, &|estimate| Some(-estimate.accel_mps2));
    find(RapidKind::SharpTurn, settings.turn_mps2, &turn(1.0));
    find(RapidKind::SharpTurn, settings.turn_mps2, &turn(-1.0));
    found.sort_by_key(|rapid| (rapid.start_ms, rapid.kind));
    found
}

/// When a value is above the threshold for long enough.
fn spans(
    estimates: &[Estimate],
    threshold_mps2: f64,
    value: &dyn Fn(&Estimate) -> Option<f64>,
    settings: &RapidSettings,
) -> Vec<Span> {
    let window_ms = settings.window_s * 1000.0;
    let mut crossings = Crossings::new(threshold_mps2 * settings.hysteresis, window_ms);
    let mut spans = Vec::new();
    let mut before: Option<Sample> = None;
    for estimate in estimates {
        let now =
            value(estimate).map(|value| Sample { time_ms: estimate.time_ms, excess: value - threshold_mps2 });
        spans.extend(match (before, now) {
            (Some(from), Some(to)) if to.time_ms - from.time_ms <= window_ms => crossings.stretch(from, to),
            (Some(from), _) => crossings.stop(from.time_ms),
            (None, _) => None,
        });
        before = now;
    }
    spans.extend(before.and_then(|last| crossings.stop(last.time_ms)));
    spans.retain(|span| span.end_ms - span.start_ms >= settings.min_duration_s * 1000.0);
    spans
}

fn describe(
    kind: RapidKind,
    span: &Span,
    estimates: &[Estimate],
    value: &dyn Fn(&Estimate) -> Option<f64>,
    points: &[Point],
) -> Option<Rapid> {
    let first = estimates.partition_point(|estimate| estimate.time_ms < span.start_ms);
    let within = estimates.get(first..).unwrap_or_default().iter();
    let (peak_mps2, peak_ms) = within
        .take_while(|estimate| estimate.time_ms <= span.end_ms)
        .filter_map(|estimate| Some((value(estimate)?, estimate.time_ms)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let peak = geo::moment(points, peak_ms)?;
    Some(Rapid {
        kind,
        start_ms: whole_ms(span.start_ms),
        end_ms: whole_ms(span.end_ms),
        latitude_deg: peak.latitude_deg,
        longitude_deg: peak.longitude_deg,
        peak_accel_mps2: peak_mps2,
        speed_mps: geo::moment(points, span.start_ms)?.speed_mps,
    })
}
