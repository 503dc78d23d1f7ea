//! What was generated, to be compared with what a backup or a reader found.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, EventLine},
    faults::FaultCounts,
};

/// What one trip's file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TripTruth {
    /// The file, relative to the output folder, with `/` between the parts.
    pub path: String,
    /// The vehicle, such as `vehicle-001`: the first part of the path.
    pub vehicle: String,
    /// The local day of all points and of the modification time: the second part of the path.
    pub day: NaiveDate,
    /// The time of the first point.
    pub started_at: DateTime<FixedOffset>,
    /// The time of the last point and the file's modification time. As `started_at` if the file is empty.
    pub ended_at: DateTime<FixedOffset>,
    /// Points that were recorded: one line each, and one more where a line is a duplicate. Broken lines are among
    /// them, points missing in gaps are not.
    pub points: u64,
    /// Lines in the file, without the header of CSV: points and duplicates.
    pub lines: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The way from the first to the last point, in millimetres, through gaps too.
    pub distance_mm: u64,
    /// The faults in the file.
    pub faults: FaultCounts,
    /// What the driver did between the first and the last point, in the order of time. Nothing if the file is empty: of
    /// that trip nothing is known.
    pub events: Vec<Event>,
}

impl TripTruth {
    /// The events as they stand in a file of the truth, which has a line of JSON for each: see [`EventLine`].
    pub fn event_lines(&self) -> impl Iterator<Item = EventLine<'_>> {
        self.events.iter().map(|event| EventLine { path: &self.path, vehicle: &self.vehicle, event })
    }
}

/// Sums over trips.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Totals {
    /// Trips, a file each, empty ones included.
    pub files: u64,
    /// Points, as in [`TripTruth::points`].
    pub points: u64,
    /// Lines, as in [`TripTruth::lines`].
    pub lines: u64,
    /// Size of all files together.
    pub bytes: u64,
    /// Driven by all vehicles together, in millimetres.
    pub distance_mm: u64,
    /// All faults together.
    pub faults: FaultCounts,
    /// What a detector should find, hidden ones included.
    pub events: u64,
    /// What it should not, hidden ones included.
    pub near_misses: u64,
}

impl Totals {
    /// Adds one trip.
    pub fn add(&mut self, trip: &TripTruth) {
        self.files += 1;
        self.points += trip.points;
        self.lines += trip.lines;
        self.bytes += trip.bytes;
        self.distance_mm += trip.distance_mm;
        self.faults.add(&trip.faults);
        let near_misses = trip.events.iter().filter(|event| event.near_miss).count();
        self.near_misses += near_misses as u64;
        self.events += (trip.events.len() - near_misses) as u64;
    }
}

/// What a set holds: its shape and its sums, over all and by day.
///
/// Its size depends on the number of days alone. The truth of each trip is told while it is made: by
/// [`FleetData::trips`](crate::FleetData::trips) and
/// [`FleetData::write_to_with`](crate::FleetData::write_to_with).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Truth {
    /// The seed that the set was made with.
    pub seed: u64,
    /// The IANA name of the time zone of all days and times.
    pub timezone: String,
    /// Time from one point to the next, in milliseconds.
    pub interval_ms: u64,
    /// Number of vehicles that have at least one file.
    pub vehicles: u64,
    /// Sums over all files.
    pub total: Totals,
    /// Sums over the files of each local day. A day without a file is not in here.
    pub by_day: BTreeMap<NaiveDate, Totals>,
}

impl Truth {
    pub(crate) fn add(&mut self, trip: &TripTruth) {
        self.total.add(trip);
        self.by_day.entry(trip.day).or_default().add(trip);
    }
}
