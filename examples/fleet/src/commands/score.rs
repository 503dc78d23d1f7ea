//! `fleet score`: what is found, held against the truth.

use std::path::Path;

use s3backup_fleet::part::Part;
use s3backup_fleet::score::{Score, Scorer};

use crate::cli;
use crate::exit::{Exit, Stop};
use crate::output;
use crate::progress::Trips;
use crate::session::{Job, Session};

pub(crate) fn run(session: &Session, arguments: &cli::Score) -> Result<Exit, Stop> {
    let job = session.job(&arguments.place)?;
    let (score, _) = score(session, &job, &arguments.truth)?;
    if session.common.json {
        let text = serde_json::to_string(&score).map_err(|error| Stop::failed(error.to_string()))?;
        output::print_line(&text)?;
    } else {
        output::print(&score.to_string())?;
    }
    Ok(Exit::Success)
}

/// The score of all days, and how many points there were. The truth is gone through once for each, beside the trips of the day.
pub(super) fn score(session: &Session, job: &Job, truth: &Path) -> Result<(Score, u64), Stop> {
    let mut total = Score::default();
    let mut points = 0;
    for day in &job.days {
        let mut progress = Trips::new(format!("score of {day}"), session.common.quiet);
        let mut scorer = Scorer::open(truth)?;
        session.of_day(job, *day, Part::WHOLE).trips(|trip| {
            progress.see(&trip);
            points += trip.points.len() as u64;
            scorer.trip(&trip.file.name, &trip.overspeed, &trip.rapid)
        })?;
        total.merge(&scorer.finish()?);
    }
    Ok((total, points))
}
