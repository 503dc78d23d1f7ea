//! `fleet statistics`: the figures of trips, vehicles and the fleet.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use s3backup_core::report::human;
use s3backup_fleet::digest::{self, Digest, VehicleScore};
use s3backup_fleet::facts::{self, Facts};
use s3backup_fleet::figures::Figures;
use s3backup_fleet::part::Part;
use s3backup_fleet::tables::{self, Table};
use s3backup_fleet::{day, summary};

use super::told::{KMH, Told, lines};
use crate::cli::Work;
use crate::exit::{Exit, Stop};
use crate::session::{Job, Session};
use crate::text::{self, Side};

const TABLES: [Table; 2] = [Table::Trips, Table::Vehicles];

/// How many of the vehicles with the lowest scores are printed.
const LOWEST: usize = 5;

/// The variable with the file in which a step of a backup notes what is to be said of the run.
const FACTS: &str = "BACKUP_FACTS";

pub(crate) fn run(session: &Session, work: &Work) -> Result<Exit, Stop> {
    let job = session.job(&work.place)?;
    let mut told = Told::new(session);
    for day in &job.days {
        make(session, &job, *day, work.part, &TABLES, &mut told)?;
    }
    if work.part == Part::WHOLE {
        note(&told)?;
    }
    told.finish()
}

/// Makes tables and the digest of a part, and tells of them; if the part is the whole, also what says all of the day.
pub(super) fn make(
    session: &Session,
    job: &Job,
    day: NaiveDate,
    part: Part,
    tables: &[Table],
    told: &mut Told,
) -> Result<(), Stop> {
    let results = &job.settings.results;
    let digest = session.pass(job, day, part, tables, |_| {})?;
    let of_part = tables.iter().filter(|table| **table != Table::Fleet);
    let mut written: Vec<_> = of_part.map(|table| tables::path(results, *table, day, part)).collect();
    digest::write(results, &digest, part)?;
    written.push(digest::path(results, day, part));
    if part == Part::WHOLE {
        written.extend(publish(job, &digest)?);
    }
    told.day(&digest, part, &written, || text(&digest), None)
}

/// Writes what says all of a day, and gives its files.
pub(super) fn publish(job: &Job, digest: &Digest) -> Result<[PathBuf; 3], Stop> {
    let results = &job.settings.results;
    day::publish(results, digest, job.limits.zones())?;
    let day = digest.day;
    let fleet = tables::path(results, Table::Fleet, day, Part::WHOLE);
    Ok([fleet, summary::path(results, day), day::page_path(results, day)])
}

/// Notes the figures of all days for whoever runs this as a step.
pub(super) fn note(told: &Told) -> Result<(), Stop> {
    if let Some(file) = std::env::var_os(FACTS) {
        facts::note(Path::new(&file), &told.facts())?;
    }
    Ok(())
}

/// The figures of a day for a person.
pub(super) fn text(digest: &Digest) -> String {
    let mut facts = Facts::default();
    facts.add(digest);
    let mut facts = facts.lines();
    facts.push(("Speed".to_owned(), speed(&digest.total)));
    let rows: Vec<_> = digest.lowest.iter().take(LOWEST).map(score).collect();
    let head = [
        ("lowest scores", Side::Left),
        ("score", Side::Right),
        ("km", Side::Right),
        ("overspeed", Side::Right),
        ("acceleration", Side::Right),
        ("braking", Side::Right),
        ("turns", Side::Right),
    ];
    format!("{}\n{}\n", lines(&facts), text::table(head, &rows))
}

fn speed(total: &Figures) -> String {
    let kmh = |mps: Option<f64>| mps.map_or_else(|| "-".to_owned(), |mps| format!("{:.0} km/h", mps * KMH));
    let highest = (total.points > 0).then_some(total.max_speed_mmps as f64 / 1000.0);
    let (mean, most) = (kmh(total.mean_speed_mps()), kmh(total.speeds.percentile_mps(0.85)));
    format!("mean {mean}, 85 % of the time up to {most}, highest {}", kmh(highest))
}

fn score(vehicle: &VehicleScore) -> [String; 7] {
    let events = &vehicle.events;
    [
        vehicle.vehicle.clone(),
        format!("{:.0}", vehicle.score_thousandths as f64 / 1000.0),
        human::count(vehicle.distance_mm / 1_000_000),
        human::count(events.overspeed),
        human::count(events.harsh_acceleration),
        human::count(events.harsh_braking),
        human::count(events.sharp_turn),
    ]
}
