//! The results as Parquet: one file of each table for each part of a day.
//!
//! `RESULTS/<table>/date=2026-11-23/part-1-of-1.parquet`, which is how Hive lays out partitions. The same trips give the same bytes.

mod place;
mod rows;
mod schema;
mod write;

use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use crate::digest::Digest;
use crate::error::Error;
use crate::figures::{FigureSettings, VehicleDays};
use crate::part::Part;
use crate::trip::Trip;
use write::TableFile;

pub(crate) use place::{file_name, folder, remove_other_parts};
pub(crate) use rows::Cell;
pub(crate) use schema::FIGURES;

/// A table of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The clean points.
    Points,
    /// What was set aside, and why.
    Errors,
    /// Intervals above a limit.
    Overspeed,
    /// Harsh accelerations, harsh brakings and sharp turns.
    Rapid,
    /// The figures of each trip.
    Trips,
    /// The figures of each vehicle.
    Vehicles,
    /// The figures of the day, one row; made of the digest by [`write_fleet`].
    Fleet,
}

impl Table {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 7] =
        [Self::Points, Self::Errors, Self::Overspeed, Self::Rapid, Self::Trips, Self::Vehicles, Self::Fleet];

    /// The name of its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Errors => "errors",
            Self::Overspeed => "overspeed",
            Self::Rapid => "rapid",
            Self::Trips => "trips",
            Self::Vehicles => "vehicles",
            Self::Fleet => "fleet",
        }
    }
}

/// Some tables of a part of a day, while they are written.
///
/// Memory: of each table, what makes one group of rows, at most a million cells or about 32 MiB. Dropped before
/// [`finish`](Self::finish), they leave nothing behind, and the tables from before as they were.
#[derive(Debug)]
pub struct Tables {
    files: Vec<(Table, TableFile)>,
    part: Part,
    settings: FigureSettings,
    vehicles: VehicleDays,
}

impl Tables {
    /// Begins the `wanted` tables of a part; [`Table::Fleet`] is none of a part, and passed over.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`], [`Error::Table`].
    pub fn create(
        results: &Path,
        day: NaiveDate,
        part: Part,
        wanted: &[Table],
        settings: &FigureSettings,
    ) -> Result<Self, Error> {
        let mut files = Vec::with_capacity(wanted.len());
        for table in wanted.iter().copied().filter(|table| *table != Table::Fleet) {
            let path = path(results, table, day, part);
            files.push((table, TableFile::create(&path, table)?));
        }
        Ok(Self { files, part, settings: settings.clone(), vehicles: VehicleDays::default() })
    }

    /// Adds the rows of the next trip. The trips of a vehicle follow each other.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`], [`Error::Table`].
    pub fn add(&mut self, trip: &Trip) -> Result<(), Error> {
        let over = self.vehicles.add(trip);
        for (table, file) in &mut self.files {
            match table {
                Table::Points => rows::points(file, trip)?,
                Table::Errors => rows::errors(file, trip)?,
                Table::Overspeed => rows::overspeed(file, trip)?,
                Table::Rapid => rows::rapid(file, trip)?,
                Table::Trips => rows::trip(file, trip, &self.settings)?,
                Table::Vehicles => {
                    if let Some(over) = &over {
                        rows::vehicle(file, over, &self.settings)?;
                    }
                }
                Table::Fleet => {}
            }
        }
        Ok(())
    }

    /// Puts the files in place, one after the other, and removes those of the same day that belong to another number of parts.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`], [`Error::Table`]. Each table is then the old or the new one.
    pub fn finish(mut self) -> Result<(), Error> {
        let last = self.vehicles.finish();
        for (table, mut file) in self.files {
            if let (Table::Vehicles, Some(last)) = (table, &last) {
                rows::vehicle(&mut file, last, &self.settings)?;
            }
            let path = file.finish()?;
            remove_other_parts(&path, self.part)?;
        }
        Ok(())
    }
}

/// Where a table of a part of a day is. That of the fleet is one for all parts.
pub fn path(results: &Path, table: Table, day: NaiveDate, part: Part) -> PathBuf {
    let name = match table {
        Table::Fleet => "fleet.parquet".to_owned(),
        _ => file_name(part, "parquet"),
    };
    folder(results, table.as_str(), day).join(name)
}

/// Writes the table of the fleet, `fleet/date=2026-11-23/fleet.parquet`: one row, of the digest of all parts.
///
/// # Errors
/// [`Error::Io`], [`Error::DiskFull`], [`Error::Table`].
pub fn write_fleet(results: &Path, digest: &Digest) -> Result<(), Error> {
    let path = path(results, Table::Fleet, digest.day, Part::WHOLE);
    let mut file = TableFile::create(&path, Table::Fleet)?;
    rows::fleet(&mut file, digest)?;
    file.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests;
