//! One GPS point of a trip.

use serde::{Deserialize, Serialize};

/// One recorded position of a vehicle, in SI units.
///
/// What the record does not say is `None`; nothing is filled in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    /// Degrees north of the equator (WGS 84), -90 to 90.
    pub latitude_deg: f64,
    /// Degrees east of Greenwich (WGS 84), -180 to 180.
    pub longitude_deg: f64,
    /// Speed over ground, in metres a second.
    pub speed_mps: f64,
    /// Direction of the movement, clockwise from true north in degrees, 0 up to, but without, 360.
    pub heading_deg: Option<f64>,
    /// The class of the road, if the record says so.
    pub road: Option<Road>,
    /// The line of the file that it comes from, counted from 1.
    pub line: u64,
}

/// The class of a road, in the words of OpenStreetMap's key `highway`
/// (<https://wiki.openstreetmap.org/wiki/Key:highway>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Road {
    /// A motorway.
    Motorway,
    /// The most important roads that are no motorways.
    Trunk,
    /// Between large towns.
    Primary,
    /// Between towns.
    Secondary,
    /// Between villages, and through quarters of a town.
    Tertiary,
    /// Where people live.
    Residential,
    /// Where people on foot come first.
    LivingStreet,
    /// To a car park, a yard, a station.
    Service,
}

impl Road {
    /// All of them, from the largest to the smallest.
    pub const ALL: [Self; 8] = [
        Self::Motorway,
        Self::Trunk,
        Self::Primary,
        Self::Secondary,
        Self::Tertiary,
        Self::Residential,
        Self::LivingStreet,
        Self::Service,
    ];

    /// The class of a word in a file, if it is one of these.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|road| road.as_str() == word)
    }

    /// The word in files and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Motorway => "motorway",
            Self::Trunk => "trunk",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Tertiary => "tertiary",
            Self::Residential => "residential",
            Self::LivingStreet => "living_street",
            Self::Service => "service",
        }
    }
}
