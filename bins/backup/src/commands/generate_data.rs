//! `backup generate-data`: trip files to try things on.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate, Utc};
use chrono_tz::Asia::Seoul;
use s3backup_core::line_of;
use s3backup_fleet_data::{FleetData, Truth};

use crate::cli::{Common, GenerateData};
use crate::exit::{Exit, Stop};
use crate::{console, human};

/// Progress is told after this long, and as often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

pub(crate) fn run(common: &Common, arguments: &GenerateData) -> Result<Exit, Stop> {
    let mut data = FleetData::new()
        .vehicles(arguments.vehicles)
        .days(arguments.days)
        .trips_per_day(arguments.trips)
        .points_per_trip(arguments.points)
        .seed(arguments.seed)
        .end_day(arguments.end_day.unwrap_or_else(yesterday))
        .overwrite(arguments.force);
    if let Some(size) = arguments.size {
        data = data.of_size(size.as_u64());
    }
    let mut last = Instant::now();
    let truth = data.write_to_with(&arguments.out, |progress| {
        if !common.quiet && last.elapsed() >= PROGRESS_EVERY {
            last = Instant::now();
            eprintln!("{} of {} files", human::count(progress.files), human::count(progress.files_total));
        }
        ControlFlow::Continue(())
    });
    let truth = truth.map_err(|error| match error {
        s3backup_fleet_data::Error::InvalidOption { .. } | s3backup_fleet_data::Error::NoSuchDay { .. } => {
            Stop::usage(line_of(&error))
        }
        s3backup_fleet_data::Error::NotEmpty { .. } => {
            Stop::usage(format!("{}; --force replaces", line_of(&error)))
        }
        _ => Stop::failed(line_of(&error)),
    })?;
    let text = if common.json {
        serde_json::to_string(&truth).map_err(|error| Stop::failed(error.to_string()))?
    } else {
        describe(&truth)
    };
    console::print(&text).map_err(|error| Stop::failed(error.to_string()))?;
    Ok(Exit::Success)
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
        "{} ({}) of {} vehicles over {} days; faults as in real data: {} gaps, {} duplicates, {} out-of-order points, {} broken lines, {} empty files",
        human::files(total.files),
        human::size(total.bytes),
        human::count(truth.vehicles),
        truth.by_day.len(),
        human::count(faults.gaps),
        human::count(faults.duplicates),
        human::count(faults.out_of_order),
        human::count(faults.broken()),
        human::count(faults.empty_files),
    )
}
