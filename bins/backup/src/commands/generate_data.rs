//! `backup generate-data`: trip files to try things on.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate, Utc};
use chrono_tz::Asia::Seoul;
use s3backup_core::line_of;
use s3backup_fleet_data::{Error, FleetData, Format, TripTruth, Truth};

use crate::cli::{Common, FormatName, GenerateData};
use crate::exit::{Exit, Stop};
use crate::{console, human};

/// Progress is told after this long, and as often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

pub(crate) fn run(common: &Common, arguments: &GenerateData) -> Result<Exit, Stop> {
    let format = match arguments.format {
        FormatName::Json => Format::Json,
        FormatName::Csv => Format::Csv,
    };
    let mut data = FleetData::new()
        .vehicles(arguments.vehicles)
        .days(arguments.days)
        .trips_per_day(arguments.trips)
        .points_per_trip(arguments.points)
        .seed(arguments.seed)
        .end_day(arguments.end_day.unwrap_or_else(yesterday))
        .format(format)
        .gps_noise(arguments.gps_noise)
        .overwrite(arguments.force);
    if let Some(size) = arguments.size {
        data = data.of_size(size.as_u64());
    }
    let mut events = arguments.truth.as_deref().map(|path| EventFile::new(path, arguments)).transpose()?;
    let mut last = Instant::now();
    let mut unwritten = None;
    let truth = data.write_to_with(&arguments.out, |progress| {
        if !common.quiet && last.elapsed() >= PROGRESS_EVERY {
            last = Instant::now();
            eprintln!("{} of {} files", human::count(progress.files), human::count(progress.files_total));
        }
        match events.as_mut().map_or(Ok(()), |events| events.add(progress.trip)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                unwritten = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    let truth = truth.map_err(|error| match (&error, unwritten) {
        (_, Some(unwritten)) => unwritten,
        (Error::InvalidOption { .. } | Error::NoSuchDay { .. }, None) => Stop::usage(line_of(&error)),
        (Error::NotEmpty { .. }, None) => Stop::usage(format!("{}; --force replaces", line_of(&error))),
        _ => Stop::failed(line_of(&error)),
    })?;
    if let Some(events) = events {
        events.finish()?;
    }
    let text = if common.json {
        serde_json::to_string(&truth).map_err(|error| Stop::failed(error.to_string()))?
    } else {
        describe(&truth)
    };
    console::print(&text).map_err(|error| Stop::failed(error.to_string()))?;
    Ok(Exit::Success)
}

/// The file of `--truth`. It is made with the first trip, so that a set that is refused leaves none behind.
struct EventFile {
    path: PathBuf,
    force: bool,
    file: Option<BufWriter<File>>,
}

impl EventFile {
    fn new(path: &Path, arguments: &GenerateData) -> Result<Self, Stop> {
        let out = &arguments.out;
        if real(path).starts_with(real(out)) {
            return Err(Stop::usage(format!(
                "--truth {} lies in {}, so that it would be backed up with the trips: name a file elsewhere",
                path.display(),
                out.display()
            )));
        }
        if path.exists() && !arguments.force {
            return Err(Stop::usage(format!("{} exists; --force replaces", path.display())));
        }
        Ok(Self { path: path.to_owned(), force: arguments.force, file: None })
    }

    fn add(&mut self, trip: &TripTruth) -> Result<(), Stop> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None if self.force => {
                BufWriter::new(File::create(&self.path).map_err(|error| self.unwritten(&error))?)
            }
            None => BufWriter::new(File::create_new(&self.path).map_err(|error| self.unwritten(&error))?),
        };
        for event in trip.event_lines() {
            serde_json::to_writer(&mut file, &event).map_err(|error| self.unwritten(&error))?;
            file.write_all(b"\n").map_err(|error| self.unwritten(&error))?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn finish(mut self) -> Result<(), Stop> {
        self.file.take().map_or(Ok(()), |mut file| file.flush()).map_err(|error| self.unwritten(&error))
    }

    fn unwritten(&self, error: &dyn std::error::Error) -> Stop {
        Stop::failed(format!("cannot write {}: {}", self.path.display(), line_of(error)))
    }
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = path.ancestors().find_map(|known| Some((known, known.canonicalize().ok()?)));
    let real = known.and_then(|(known, real)| Some(real.join(path.strip_prefix(known).ok()?)));
    real.unwrap_or(path)
}

/// The newest day that is over where the fleet drives.
pub(crate) fn yesterday() -> NaiveDate {
    let today = Utc::now().with_timezone(&Seoul).date_naive();
    today.checked_sub_days(Days::new(1)).unwrap_or(today)
}

/// One sentence on what was generated.
pub(crate) fn describe(truth: &Truth) -> String {
    let total = &truth.total;
    let faults = &total.faults;
    format!(
        "{} ({}) of {} vehicles over {} days; {} events and {} near misses; faults as in real data: {} gaps, {} duplicates, {} out-of-order points, {} broken lines, {} teleports, {} impossible speeds, {} empty files",
        human::files(total.files),
        human::size(total.bytes),
        human::count(truth.vehicles),
        truth.by_day.len(),
        human::count(total.events),
        human::count(total.near_misses),
        human::count(faults.gaps),
        human::count(faults.duplicates),
        human::count(faults.out_of_order),
        human::count(faults.broken()),
        human::count(faults.teleports),
        human::count(faults.impossible_speeds),
        human::count(faults.empty_files),
    )
}
