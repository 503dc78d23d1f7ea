//! One module a command.

pub(crate) mod clean;
pub(crate) mod demo;
pub(crate) mod errors;
pub(crate) mod overspeed;
pub(crate) mod rapid;
pub(crate) mod run;
pub(crate) mod score;
pub(crate) mod statistics;
mod told;
mod worst;

use s3backup_fleet::digest::Digest;
use s3backup_fleet::tables::{Table, path};
use s3backup_fleet::trip::Trip;
use serde_json::Value;

use crate::cli::Work;
use crate::exit::{Exit, Stop};
use crate::session::{Job, Session};
use told::Told;

/// What a command that makes one table says of a day.
trait Say {
    /// Takes in a trip.
    fn see(&mut self, _trip: &Trip) {}

    /// For a person, below the headline.
    fn text(&self, digest: &Digest) -> String;

    /// For a program, beside the figures: a name and what is below it.
    fn json(&self, _digest: &Digest) -> Option<(&'static str, Value)> {
        None
    }
}

/// Goes over all days for one table.
fn one_table<S: Say>(
    session: &Session,
    work: &Work,
    table: Table,
    new: impl Fn(&Job) -> S,
) -> Result<Exit, Stop> {
    let job = session.job(&work.place)?;
    let mut told = Told::new(session);
    for day in &job.days {
        let mut say = new(&job);
        let digest = session.pass(&job, *day, work.part, &[table], |trip| say.see(trip))?;
        let written = [path(&job.settings.results, table, *day, work.part)];
        told.day(&digest, work.part, &written, || say.text(&digest), say.json(&digest))?;
    }
    told.finish()
}
