//! What can be typed.
#![expect(clippy::doc_markdown, reason = "the comments here are help texts, which are printed as they stand")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use s3backup_fleet::part::Part;

use crate::days::Days;

/// From a day of raw vehicle trips to what a fleet operator needs, and both into the bucket
#[derive(Debug, Parser)]
#[command(
    name = "fleet",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
First steps:
  fleet demo                       see everything work, on this machine alone
  fleet errors --data DIR          what is wrong with yesterday's files
  fleet run --no-upload            all tables, the summary and the page of yesterday
  fleet run                        the same, and raw data and results into the bucket

Every command reads the raw trips, DATA/VEHICLE/2026-11-23/*.json and *.csv, and none depends on what
another one wrote: each can be tried again alone, and several may go on at once.

Exit codes:
  0 success   1 failed   2 bad usage or settings   3 done, but some files could not be used or are not
  in the bucket   11 another run of the upload's job is going on   130 interrupted
As a step of a backup ($BACKUP_DAY is set) files that could not be used are no failure: it ends with 0,
and the figures for the message ($BACKUP_FACTS) tell of them."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The fleet's settings [default: ./fleet.toml if it is there, else the defaults]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The points that are possible, as the table `points`; how many lines were set aside, by rule
    Clean(Work),
    /// Intervals above a speed limit, as the table `overspeed`; the worst ones
    Overspeed(Listing),
    /// Harsh acceleration, harsh braking and sharp turns, as the table `rapid`; the worst ones
    Rapid(Listing),
    /// Figures of trips, vehicles and the fleet, as tables, a CSV and a page
    Statistics(Work),
    /// What is wrong with which line of which file, as the table `errors`; the first ones
    #[command(after_help = "\
No line is lost: each is a point in the table `points` or a row in the table `errors`, with the rule
that it breaks and what exactly is wrong. Line 0 is the file as a whole.")]
    Errors(Listing),
    /// All of it, then raw data and results into the bucket, with one report and one message
    #[command(after_help = "\
The upload is that of `backup run` with the settings of backup.toml: its sources must hold the folders
of data and results. Its steps are not run: they are what this command does itself.

Several machines share a day like this; the last command refuses if a part is missing:
  fleet run --part 1/3 & fleet run --part 2/3 & fleet run --part 3/3 & wait
  fleet run --merge 3")]
    Run(Run),
    /// Hold what is found against the truth that `backup generate-data trips --truth FILE` wrote
    Score(Score),
    /// Everything end to end: a generated fleet, the embedded S3 server, all results, the upload, a page
    Demo(Demo),
}

/// Which trips, and where the results go.
#[derive(Debug, Clone, Args)]
pub(crate) struct Work {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Do only one share of the vehicles: 2/8 is the second of eight
    #[arg(long, value_name = "I/N", default_value_t = Part::WHOLE)]
    pub(crate) part: Part,
}

/// Which days of which data.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// yesterday (the default), 2026-11-23, or 2026-11-21..2026-11-23, in the time zone of the settings; as a step of a backup, yesterday is the day before $BACKUP_DAY
    #[arg(long, value_name = "DAY")]
    pub(crate) day: Option<Days>,
    /// The folder of the trips, instead of that of the settings
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where the results go, instead of where the settings say
    #[arg(long, value_name = "DIR")]
    pub(crate) results: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) work: Work,
    /// How many rows are printed; the table has all
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub(crate) limit: u16,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Do only one share of the vehicles, 2/8 is the second of eight, and upload nothing
    #[arg(long, value_name = "I/N", conflicts_with = "merge")]
    pub(crate) part: Option<Part>,
    /// Put together what N parts found, then upload
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) merge: Option<u32>,
    /// Leave the bucket alone
    #[arg(long)]
    pub(crate) no_upload: bool,
    /// The settings of the upload [default: as `backup` finds its own: $BACKUP_CONFIG, ./backup.toml, …]
    #[arg(long, value_name = "FILE", conflicts_with = "no_upload")]
    pub(crate) backup_config: Option<PathBuf>,
    /// Which job of that file
    #[arg(long, value_name = "NAME", conflicts_with = "no_upload")]
    pub(crate) job: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Score {
    /// The file with the true events
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Demo {
    /// How many vehicles
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) vehicles: u32,
    /// How many days, the last of which is yesterday
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=366))]
    pub(crate) days: u32,
    /// Points of each trip; every vehicle has four trips a day
    #[arg(long, value_name = "N", default_value_t = 4_500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) points: u32,
    /// With the noise of a common GPS receiver
    #[arg(long)]
    pub(crate) gps_noise: bool,
    /// A new folder for everything
    #[arg(long, value_name = "DIR", default_value = "fleet-demo")]
    pub(crate) dir: PathBuf,
}
