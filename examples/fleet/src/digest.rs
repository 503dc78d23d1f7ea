//! What is known of a day as a whole, in memory that does not grow with it.
//!
//! Whole numbers and lists of a fixed length in a fixed order: merging the digests of a day's parts, in any order, gives the
//! same as one digest of all trips, to the byte.

mod build;
mod file;
mod grid;
mod top;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::figures::{EventKind, Events, FigureSettings, Figures};

pub use build::DigestBuilder;
pub use file::{path, read, write};
pub use grid::{Cell, Grid};
pub use top::{Event, FileFault, Highest, Limit, Top, VehicleScore};

/// The version of the file. It grows when an older reader would misunderstand it.
const VERSION: u32 = 1;

/// The most events of each kind that are kept, the most severe ones.
pub const EVENTS: usize = 60;

/// The most vehicles that are kept at either end of the scores.
pub const VEHICLES: usize = 20;

/// The most files that are kept, those with most to complain of.
pub const FILES: usize = 30;

/// A day of a fleet, or of a part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    version: u32,
    /// The local day.
    pub day: NaiveDate,
    /// Where it is local.
    pub timezone: Tz,
    /// With what the figures were made.
    pub settings: FigureSettings,
    /// Vehicles with at least one file.
    pub vehicles: u64,
    /// The sums over all trips.
    pub total: Figures,
    /// What was in which local hour, 0 to 23, for hours in which something was.
    pub hours: BTreeMap<u8, Hour>,
    /// Where the fleet drove.
    pub grid: Grid,
    /// The most severe events of each kind.
    pub events: BTreeMap<EventKind, Top<Event, EVENTS>>,
    /// Vehicles by their score: those from 0 on in 0, those from 90 on, and of 100, in 9.
    pub scores: BTreeMap<u8, u64>,
    /// The vehicles with the lowest scores.
    pub lowest: Top<VehicleScore, VEHICLES>,
    /// The vehicles with the highest scores.
    pub highest: Top<Highest, VEHICLES>,
    /// The files with most lines that are wrong, those that could not be used at all first.
    pub faults: Top<FileFault, FILES>,
}

/// One hour of the day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hour {
    /// Time on the way.
    pub driving_ms: u64,
    /// Time standing within a trip.
    pub idle_ms: u64,
    /// Events that began in it.
    pub events: Events,
}

impl Hour {
    fn merge(&mut self, other: &Self) {
        self.driving_ms = self.driving_ms.saturating_add(other.driving_ms);
        self.idle_ms = self.idle_ms.saturating_add(other.idle_ms);
        self.events.merge(&other.events);
    }
}

/// Why two digests cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("they are of different days, or were made with other settings")]
pub struct Unlike;

impl Digest {
    /// The digest of no trips.
    pub fn new(day: NaiveDate, timezone: Tz, settings: &FigureSettings) -> Self {
        Self {
            version: VERSION,
            day,
            timezone,
            settings: settings.clone(),
            vehicles: 0,
            total: Figures::default(),
            hours: BTreeMap::new(),
            grid: Grid::default(),
            events: BTreeMap::new(),
            scores: BTreeMap::new(),
            lowest: Top::default(),
            highest: Top::default(),
            faults: Top::default(),
        }
    }

    /// Adds the digest of another part of the same day. Which one is added to which does not matter.
    ///
    /// # Errors
    /// [`Unlike`] if they are not of one day and one way to make figures; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Unlike> {
        if (self.day, self.timezone, &self.settings) != (other.day, other.timezone, &other.settings) {
            return Err(Unlike);
        }
        self.vehicles = self.vehicles.saturating_add(other.vehicles);
        self.total.merge(&other.total);
        for (hour, sums) in &other.hours {
            self.hours.entry(*hour).or_default().merge(sums);
        }
        self.grid.merge(&other.grid);
        for (kind, events) in &other.events {
            self.events.entry(*kind).or_default().merge(events);
        }
        for (tenth, vehicles) in &other.scores {
            let sum = self.scores.entry(*tenth).or_default();
            *sum = sum.saturating_add(*vehicles);
        }
        self.lowest.merge(&other.lowest);
        self.highest.merge(&other.highest);
        self.faults.merge(&other.faults);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
