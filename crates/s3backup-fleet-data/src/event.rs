//! What a driver did that somebody should notice, and what only nearly was.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// Faster than the limit of the road, or of lorries, for more than 10 s.
    Overspeed,
    /// The speed rises by more than 3.43 m/s² (0.35 g).
    HarshAcceleration,
    /// The speed falls by more than 4.41 m/s² (0.45 g).
    HarshBraking,
    /// Speed times yaw rate is above 4.90 m/s² (0.50 g).
    SharpTurn,
}

impl EventKind {
    /// From which acceleration on it is one, if that is what makes it one.
    ///
    /// The "elevated gravitational-force events" of Simons-Morton and others, "Do elevated gravitational-force events
    /// while driving predict crashes and near crashes?", American Journal of Epidemiology 175 (2012).
    pub(crate) fn threshold_mps2(self) -> Option<f64> {
        match self {
            Self::Overspeed => None,
            Self::HarshAcceleration => Some(3.43),
            Self::HarshBraking => Some(4.41),
            Self::SharpTurn => Some(4.90),
        }
    }
}

/// Something that a driver did on purpose of being found, or of not being found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// What it is.
    pub kind: EventKind,
    /// When the threshold was passed, to the millisecond, however far apart the points are. Of a near miss that does
    /// not pass it, when the peak was reached.
    pub start: DateTime<FixedOffset>,
    /// When it was passed again, or the peak was left.
    pub end: DateTime<FixedOffset>,
    /// The highest speed in m/s, or the strongest acceleration in m/s², always positive.
    pub peak: f64,
    /// The limit that held, in m/s, or the acceleration from which on it is an event, in m/s².
    pub threshold: f64,
    /// It is no event, but nearly one: the peak is 5 % below the threshold, or the speed is above the limit for 5 % less
    /// than 10 s.
    pub near_miss: bool,
    /// A fault of the data lies in it (a gap, a broken line, a point that was thrown away from its place, an impossible
    /// speed, the end of the recording), so that nobody can be sure to find it, nor to see that it is none.
    pub hidden: bool,
}

/// An event with where it belongs, as it stands in a file of the truth: a line of JSON each.
///
/// ```json
/// {"path":"vehicle-001/2026-11-23/trip_081502.json","vehicle":"vehicle-001","kind":"overspeed","start":"2026-11-23T08:17:02.310+09:00","end":"2026-11-23T08:17:30.004+09:00","peak":19.4,"threshold":16.667,"near_miss":false,"hidden":false}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EventLine<'a> {
    /// The file, relative to the folder of the set.
    pub path: &'a str,
    /// The vehicle.
    pub vehicle: &'a str,
    /// The event.
    #[serde(flatten)]
    pub event: &'a Event,
}
