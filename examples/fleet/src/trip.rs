//! One trip: its file, and what became of it.

use std::path::PathBuf;

use chrono::NaiveDate;

use crate::aside::Aside;
use crate::figures::Figures;
use crate::overspeed::Overspeed;
use crate::point::Point;
use crate::rapid::Rapid;

/// A trip's file, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TripFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the folder of the data with `/` between the parts, as it stands in all tables:
    /// `vehicle-001/2026-11-23/trip_081502.json`. Bytes that are no UTF-8 are shown as U+FFFD.
    pub name: String,
    /// The vehicle: the first part of the name.
    pub vehicle: String,
    /// The local day: the second part of the name.
    pub day: NaiveDate,
    /// Its size when it was found.
    pub size_bytes: u64,
}

/// All that is made of one trip.
#[derive(Debug, Clone, PartialEq)]
pub struct Trip {
    /// Where it comes from.
    pub file: TripFile,
    /// The clean points, by time.
    pub points: Vec<Point>,
    /// Every line that is not among the points, and why.
    pub aside: Vec<Aside>,
    /// Intervals above a limit, by time.
    pub overspeed: Vec<Overspeed>,
    /// Harsh accelerations, harsh brakings and sharp turns, by time.
    pub rapid: Vec<Rapid>,
    /// Its statistics.
    pub figures: Figures,
}
