//! Options that were checked and made definite: which trips there are, and when each starts.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::{
    driver::{Driver, Habits},
    earth::Place,
    error::Error,
    faults::FaultRates,
    fleet::FleetData,
    motion::Motion,
    random::Random,
    receiver::Receiver,
    text::Format,
    truth::{Totals, Truth},
};

/// Trips start and end between these local hours. Zones change their offset at night, so that every day has all
/// of these 18 hours.
const OPENS_AT_HOUR: u32 = 5;
const OPEN_S: u64 = 18 * 3_600;

const MAX_VEHICLES: u64 = 1_000_000;
const MAX_DAYS: u32 = 3_660;
/// Leaves each trip 6 seconds, so that no two of a vehicle have the same second in their names.
const MAX_TRIPS_PER_DAY: u32 = 10_000;
const MIN_FILE_BYTES: u64 = 1_024;
const MAX_INTERVAL_MS: u64 = 600_000;
const DEFAULT_INTERVAL_MS: u64 = 1_000;
/// A cut line keeps a quarter of its bytes or more, and the next one is whole: a point takes this many in any format.
const MIN_BYTES_PER_POINT: u64 = 40;
/// One vehicle in so many is a lorry.
const LORRY_EVERY: u64 = 10;
/// GPS time begins in January 1980.
const FIRST_YEAR: i32 = 1_980;
const LAST_YEAR: i32 = 9_999;

/// How many files a set has, as it was asked for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Unset,
    Vehicles(u32),
    Files(u64),
}

pub(crate) const DEFAULT_VEHICLES: u32 = 20;

/// How long a trip is, as it was asked for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Points(u32),
    Bytes(u64),
}

impl Length {
    /// More points than a trip of this length ever has.
    pub(crate) fn max_points(self) -> u64 {
        match self {
            Self::Points(points) => u64::from(points),
            Self::Bytes(bytes) => bytes / MIN_BYTES_PER_POINT + 8,
        }
    }

    fn typical_bytes(self, format: Format) -> u64 {
        match self {
            Self::Points(points) => u64::from(points) * format.typical_line_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// One day of a set.
#[derive(Debug, Clone, Copy)]
struct Day {
    date: NaiveDate,
    opens_at: DateTime<FixedOffset>,
}

/// What each trip of a set is made from.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) interval_ms: u64,
    pub(crate) length: Length,
    pub(crate) rates: FaultRates,
    pub(crate) format: Format,
    gps_noise: bool,
    timezone: Tz,
    trips_per_day: u64,
    days: Vec<Day>,
    files: u64,
}

/// Which trip: everything about it follows from this and the options.
#[derive(Debug, Clone)]
pub(crate) struct TripPlan {
    pub(crate) vehicle: String,
    pub(crate) day: NaiveDate,
    pub(crate) started_at: DateTime<FixedOffset>,
    pub(crate) start_s_of_day: u64,
    pub(crate) empty: bool,
    key: [u64; 3],
}

/// The generators of a trip are apart, so that other fault rates leave the way as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Start,
    Empty,
    Way,
    Faults,
    Receiver,
}

impl Plan {
    pub(crate) fn new(options: &FleetData) -> Result<Self, Error> {
        check_counts(options)?;
        options.fault_rates.check()?;
        let mut plan = Self {
            seed: options.seed,
            interval_ms: 0,
            length: options.length,
            rates: options.fault_rates,
            format: options.format,
            gps_noise: options.gps_noise,
            timezone: options.timezone,
            trips_per_day: u64::from(options.trips_per_day),
            days: days(options)?,
            files: 0,
        };
        plan.files = plan.count_files(options);
        if plan.vehicles() > MAX_VEHICLES {
            return Err(Error::invalid(
                "vehicles",
                format!(
                    "{} would be needed, more than {MAX_VEHICLES}: ask for more days, trips a day or bytes a file",
                    plan.vehicles()
                ),
            ));
        }
        if let Some(bytes) = options.total_bytes {
            plan.length = Length::Bytes(plan.bytes_per_file(bytes)?);
        }
        plan.interval_ms = plan.fit_interval(options.interval)?;
        Ok(plan)
    }

    fn count_files(&self, options: &FleetData) -> u64 {
        let per_vehicle = self.files_per_vehicle();
        match (options.count, options.total_bytes) {
            (Count::Files(files), _) => files,
            (Count::Vehicles(vehicles), _) => u64::from(vehicles) * per_vehicle,
            (Count::Unset, None) => u64::from(DEFAULT_VEHICLES) * per_vehicle,
            (Count::Unset, Some(bytes)) => {
                let of_a_file = self.length.typical_bytes(self.format).max(MIN_FILE_BYTES);
                (bytes.saturating_add(of_a_file / 2) / of_a_file).max(1)
            }
        }
    }

    /// Shares the bytes asked for among the files that are not empty.
    fn bytes_per_file(&self, total_bytes: u64) -> Result<u64, Error> {
        let filled = (0..self.files).filter(|index| !self.trip(*index).empty).count() as u64;
        let bytes = total_bytes / filled.max(1);
        if bytes < MIN_FILE_BYTES {
            return Err(Error::invalid(
                "of_size",
                format!(
                    "leaves {bytes} bytes for each of {filled} files, which need at least {MIN_FILE_BYTES}"
                ),
            ));
        }
        Ok(bytes)
    }

    /// The time between points: as asked for if the trips of a day then fit into it, else as long as they do.
    fn fit_interval(&self, asked: Option<Duration>) -> Result<u64, Error> {
        let most_ms = self.slot_s() * 1_000 / self.max_ticks();
        let asked_ms = match asked {
            None => DEFAULT_INTERVAL_MS.min(most_ms),
            Some(interval) => u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        };
        let points = self.length.max_points();
        if most_ms == 0 {
            return Err(Error::invalid(
                "trips_per_day",
                format!("{} trips of up to {points} points do not fit into a day", self.trips_per_day),
            ));
        }
        if asked.is_some_and(|interval| !interval.subsec_nanos().is_multiple_of(1_000_000))
            || !(1..=MAX_INTERVAL_MS).contains(&asked_ms)
        {
            return Err(Error::invalid("interval", "must be whole milliseconds, from 1 ms to 10 min"));
        }
        if asked_ms > most_ms {
            return Err(Error::invalid(
                "interval",
                format!(
                    "{} trips a day of up to {points} points fit into a day with {most_ms} ms, not with {asked_ms} ms",
                    self.trips_per_day
                ),
            ));
        }
        Ok(asked_ms)
    }

    /// The time of a trip in intervals, at most: its points and as many missing ones.
    fn max_ticks(&self) -> u64 {
        self.length.max_points().saturating_mul(2)
    }

    /// Each trip of a day has its own part of it.
    fn slot_s(&self) -> u64 {
        OPEN_S / self.trips_per_day
    }

    fn files_per_vehicle(&self) -> u64 {
        self.days.len() as u64 * self.trips_per_day
    }

    pub(crate) fn files(&self) -> u64 {
        self.files
    }

    fn vehicles(&self) -> u64 {
        self.files.div_ceil(self.files_per_vehicle())
    }

    /// The truth of a set of which nothing was made yet.
    pub(crate) fn empty_truth(&self) -> Truth {
        Truth {
            seed: self.seed,
            timezone: self.timezone.name().to_owned(),
            interval_ms: self.interval_ms,
            vehicles: self.vehicles(),
            total: Totals::default(),
            by_day: BTreeMap::new(),
        }
    }

    /// The trip at a place in the order of paths: by vehicle, day and time.
    pub(crate) fn trip(&self, index: u64) -> TripPlan {
        let vehicle = index / self.files_per_vehicle();
        let day = self.day(index / self.trips_per_day);
        let number = index % self.trips_per_day;
        let key = [vehicle, u64::from(day.date.num_days_from_ce().unsigned_abs()), number];

        let longest_s = (self.max_ticks() * self.interval_ms).div_ceil(1_000);
        let slack_s = self.slot_s().saturating_sub(longest_s);
        let wait_s = self.random(key, Purpose::Start).below(slack_s + 1);
        let after_opening_s = number * self.slot_s() + wait_s;
        let empty = self.random(key, Purpose::Empty).unit() < self.rates.empty_file;
        TripPlan {
            vehicle: format!("vehicle-{:03}", vehicle + 1),
            day: day.date,
            started_at: day.opens_at + TimeDelta::seconds(after_opening_s.cast_signed()),
            start_s_of_day: u64::from(OPENS_AT_HOUR) * 3_600 + after_opening_s,
            empty: empty && !(vehicle == 0 && number == 0),
            key,
        }
    }

    /// The day at a place in the order of paths, in which the days repeat for each vehicle.
    fn day(&self, index: u64) -> Day {
        let within = index % self.days.len() as u64;
        self.days[usize::try_from(within).unwrap_or(0)]
    }

    /// The drive of a trip. A driver's habits are the same on each of a vehicle's trips.
    pub(crate) fn motion(&self, trip: &TripPlan) -> Motion {
        let [vehicle, ..] = trip.key;
        let habits = Habits::draw(&mut Random::keyed(self.seed, &[vehicle]));
        let lorry = (vehicle + 1).is_multiple_of(LORRY_EVERY);
        let mut random = self.random_for(trip, Purpose::Way);
        let start = Place::draw(&mut random);
        Motion::new(Driver::new(random, habits, lorry), start)
    }

    /// What records a trip, unless it is recorded as it is.
    pub(crate) fn receiver(&self, trip: &TripPlan) -> Option<Receiver> {
        self.gps_noise.then(|| Receiver::new(self.random_for(trip, Purpose::Receiver)))
    }

    pub(crate) fn random_for(&self, trip: &TripPlan, purpose: Purpose) -> Random {
        self.random(trip.key, purpose)
    }

    fn random(&self, [vehicle, day, number]: [u64; 3], purpose: Purpose) -> Random {
        Random::keyed(self.seed, &[vehicle, day, number, purpose as u64])
    }
}

fn check_counts(options: &FleetData) -> Result<(), Error> {
    let within = |option, value: u64, low: u64, high: u64| {
        if (low..=high).contains(&value) {
            Ok(())
        } else {
            Err(Error::invalid(option, format!("{value} is not from {low} to {high}")))
        }
    };
    within("days", u64::from(options.days), 1, u64::from(MAX_DAYS))?;
    within("trips_per_day", u64::from(options.trips_per_day), 1, u64::from(MAX_TRIPS_PER_DAY))?;
    match options.count {
        Count::Unset => {}
        Count::Vehicles(vehicles) => within("vehicles", u64::from(vehicles), 1, MAX_VEHICLES)?,
        Count::Files(files) => within("files", files, 1, u64::MAX)?,
    }
    match options.length {
        Length::Points(points) => within("points_per_trip", u64::from(points), 1, u64::from(u32::MAX)),
        Length::Bytes(bytes) => within("file_size", bytes, MIN_FILE_BYTES, u64::MAX),
    }
}

/// The days of the set, oldest first, each with the instant at which its first trip may start.
fn days(options: &FleetData) -> Result<Vec<Day>, Error> {
    let bad = |day: NaiveDate| !(FIRST_YEAR..=LAST_YEAR).contains(&day.year());
    let out_of_range =
        || Error::invalid("end_day", format!("all days must be in the years {FIRST_YEAR} to {LAST_YEAR}"));
    let first = options
        .end_day
        .checked_sub_days(Days::new(u64::from(options.days - 1)))
        .filter(|first| !bad(*first) && !bad(options.end_day))
        .ok_or_else(out_of_range)?;
    first
        .iter_days()
        .take_while(|date| *date <= options.end_day)
        .map(|date| day(date, options.timezone))
        .collect()
}

fn day(date: NaiveDate, timezone: Tz) -> Result<Day, Error> {
    let opens_at = date
        .and_hms_opt(OPENS_AT_HOUR, 0, 0)
        .and_then(|local| timezone.from_local_datetime(&local).earliest())
        .ok_or_else(|| Error::NoSuchDay { day: date, timezone: timezone.name().to_owned() })?;
    Ok(Day { date, opens_at: opens_at.fixed_offset() })
}
