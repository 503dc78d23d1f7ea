//! The options of a set, and the set in memory.

use std::{iter::FusedIterator, ops::ControlFlow, path::Path, time::Duration};

use chrono::NaiveDate;
use chrono_tz::Tz;
use slog::Logger;

use crate::{
    error::Error,
    faults::FaultRates,
    plan::{Count, Length, Plan},
    text::Format,
    trip::{Trip, TripLines},
    truth::Truth,
    write::{self, Progress},
};

/// Describes a set of fleet trips; [`write_to`](Self::write_to), [`trips`](Self::trips) and
/// [`truth`](Self::truth) make it.
///
/// Without any option: 20 vehicles on 3 days with 4 trips each, 120 points a trip, 240 files of some 15 kB. Options
/// are checked when the set is made, not when they are set. Of the options that exclude each other
/// ([`vehicles`](Self::vehicles) and [`files`](Self::files), [`points_per_trip`](Self::points_per_trip) and
/// [`file_size`](Self::file_size)) the last one set counts.
#[derive(Debug, Clone)]
pub struct FleetData {
    pub(crate) seed: u64,
    pub(crate) count: Count,
    pub(crate) days: u32,
    pub(crate) end_day: NaiveDate,
    pub(crate) trips_per_day: u32,
    pub(crate) length: Length,
    pub(crate) total_bytes: Option<u64>,
    pub(crate) interval: Option<Duration>,
    pub(crate) timezone: Tz,
    pub(crate) fault_rates: FaultRates,
    pub(crate) gps_noise: bool,
    pub(crate) format: Format,
    overwrite: bool,
    logger: Option<Logger>,
}

impl FleetData {
    /// A set with every option at its default.
    pub fn new() -> Self {
        Self {
            seed: 42,
            count: Count::Unset,
            days: 3,
            end_day: NaiveDate::from_ymd_opt(2026, 11, 23).unwrap_or_default(),
            trips_per_day: 4,
            length: Length::Points(120),
            total_bytes: None,
            interval: None,
            timezone: chrono_tz::Asia::Seoul,
            fault_rates: FaultRates::default(),
            gps_noise: false,
            format: Format::Json,
            overwrite: false,
            logger: None,
        }
    }

    /// What all chance starts from. Default 42. Another seed gives another set of the same shape.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Number of vehicles, 1 to 1,000,000. Default 20, or as many as [`of_size`](Self::of_size) needs.
    #[must_use]
    pub fn vehicles(mut self, vehicles: u32) -> Self {
        self.count = Count::Vehicles(vehicles);
        self
    }

    /// Number of files, at least 1: as many vehicles as that needs, the last of which has the rest.
    #[must_use]
    pub fn files(mut self, files: u64) -> Self {
        self.count = Count::Files(files);
        self
    }

    /// Number of days in a row, 1 to 3,660, that end with [`end_day`](Self::end_day). Default 3.
    #[must_use]
    pub fn days(mut self, days: u32) -> Self {
        self.days = days;
        self
    }

    /// The last day, in the years 1980 to 9999. The default is 2026-11-23 and never today, so that the same options
    /// mean the same set tomorrow.
    #[must_use]
    pub fn end_day(mut self, end_day: NaiveDate) -> Self {
        self.end_day = end_day;
        self
    }

    /// Trips of each vehicle on each day, 1 to 10,000. Default 4.
    #[must_use]
    pub fn trips_per_day(mut self, trips: u32) -> Self {
        self.trips_per_day = trips;
        self
    }

    /// Points of each trip that is not empty, at least 1. Default 120. Points missing in gaps do not count.
    #[must_use]
    pub fn points_per_trip(mut self, points: u32) -> Self {
        self.length = Length::Points(points);
        self
    }

    /// Size of each file that is not empty, in bytes, at least 1,024: a trip has as many points as come within about
    /// half a line of it.
    #[must_use]
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.length = Length::Bytes(bytes);
        self
    }

    /// Size of all files together, in bytes, at least 1,024 for each file; the set comes within 10 % of it.
    ///
    /// If [`vehicles`](Self::vehicles) or [`files`](Self::files) says how many files there are, their size follows
    /// from it, whatever else was said about their length. Otherwise the number of vehicles follows from the length
    /// of a file, which is then adjusted a little.
    #[must_use]
    pub fn of_size(mut self, total_bytes: u64) -> Self {
        self.total_bytes = Some(total_bytes);
        self
    }

    /// Time from one point to the next, in whole milliseconds from 1 ms to 10 min.
    ///
    /// Default 1 s, or less where trips would otherwise not fit into their day. An interval that was set is kept,
    /// and an error if they do not fit. A trip needs room for twice its points, because of gaps.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// The zone of days, file names and the offsets of times. Default Asia/Seoul.
    #[must_use]
    pub fn timezone(mut self, timezone: Tz) -> Self {
        self.timezone = timezone;
        self
    }

    /// How often faults occur. Defaults as in [`FaultRates`]; [`FaultRates::NONE`] for flawless data.
    #[must_use]
    pub fn fault_rates(mut self, rates: FaultRates) -> Self {
        self.fault_rates = rates;
        self
    }

    /// Whether positions, speeds and headings have the errors of a common GPS receiver. Default false.
    ///
    /// Half of all positions are within 2.5 m of the vehicle, and the error wanders in the course of a minute; half of
    /// all speeds are within 0.05 m/s, half of all headings within 0.3 degrees at 30 m/s and less exact the slower the
    /// vehicle is; one that stands seems to creep about (data sheet of u-blox NEO-M8, UBX-15031086). The events and the
    /// distance in the truth are the vehicle's.
    #[must_use]
    pub fn gps_noise(mut self, gps_noise: bool) -> Self {
        self.gps_noise = gps_noise;
        self
    }

    /// How points are written. Default [`Format::Json`].
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Whether the output folder may hold something already. Default false. If true, files of the set's names are
    /// replaced (a link by a file, its target stays as it is), and all others are left alone.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Where to log what is written: info at the start and the end, debug for each file. Default: nowhere.
    #[must_use]
    pub fn logger(mut self, logger: Logger) -> Self {
        self.logger = Some(logger);
        self
    }

    /// Writes the set below `out`, which is created if it does not exist.
    ///
    /// Needs less than 1 MB of memory, whatever the size of a trip and their number. The files are neither written atomically nor
    /// synced: what an error leaves behind is to be removed or [overwritten](Self::overwrite). Fails with
    /// [`Error::InvalidOption`] and [`Error::NoSuchDay`] before anything is touched, with [`Error::NotEmpty`] if
    /// `out` is not an empty folder, and with [`Error::Io`].
    pub fn write_to(&self, out: impl AsRef<Path>) -> Result<Truth, Error> {
        self.write_to_with(out, |_| ControlFlow::Continue(()))
    }

    /// As [`write_to`](Self::write_to), and calls `progress` after each file, which may end it by breaking:
    /// [`Error::Stopped`].
    pub fn write_to_with(
        &self,
        out: impl AsRef<Path>,
        progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Truth, Error> {
        let plan = Plan::new(self)?;
        let discard = || Logger::root(slog::Discard, slog::o!());
        let logger = self.logger.clone().unwrap_or_else(discard);
        write::write(&plan, out.as_ref(), self.overwrite, &logger, progress)
    }

    /// The set in memory, a trip at a time, in the order of paths: by vehicle, day and time.
    ///
    /// Fails with [`Error::InvalidOption`] and [`Error::NoSuchDay`].
    pub fn trips(&self) -> Result<Trips, Error> {
        let plan = Plan::new(self)?;
        let files = plan.files();
        Ok(Trips { plan, next: 0, files })
    }

    /// What [`write_to`](Self::write_to) would return, without writing. Takes the time to make all trips.
    ///
    /// Fails with [`Error::InvalidOption`] and [`Error::NoSuchDay`].
    pub fn truth(&self) -> Result<Truth, Error> {
        let plan = Plan::new(self)?;
        let mut truth = plan.empty_truth();
        let mut buffer = Vec::new();
        for index in 0..plan.files() {
            let mut lines = TripLines::new(&plan, plan.trip(index));
            while lines.fill(&mut buffer) {
                buffer.clear();
            }
            truth.add(&lines.finish());
        }
        Ok(truth)
    }
}

impl Default for FleetData {
    fn default() -> Self {
        Self::new()
    }
}

/// The trips of a set, made one by one as they are asked for. Holds no trip itself.
#[derive(Debug, Clone)]
pub struct Trips {
    plan: Plan,
    next: u64,
    files: u64,
}

impl Iterator for Trips {
    type Item = Trip;

    fn next(&mut self) -> Option<Trip> {
        if self.next == self.files {
            return None;
        }
        let lines = TripLines::new(&self.plan, self.plan.trip(self.next));
        self.next += 1;
        Some(lines.collect())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.files - self.next).ok();
        (left.unwrap_or(usize::MAX), left)
    }
}

impl FusedIterator for Trips {}
