//! What all commands begin with.

use std::path::PathBuf;

use chrono::{NaiveDate, Utc};
use s3backup_core::CancellationToken;
use s3backup_fleet::day::Pass;
use s3backup_fleet::digest::Digest;
use s3backup_fleet::limits::Limits;
use s3backup_fleet::part::Part;
use s3backup_fleet::settings::Settings;
use s3backup_fleet::tables::Table;
use s3backup_fleet::trip::Trip;
use s3backup_fleet::zones::Zones;
use tokio::runtime::Runtime;

use crate::cli::{Common, Place};
use crate::days::{Days, today};
use crate::exit::Stop;
use crate::progress::Trips;
use crate::signals;

/// The settings that are used without being named.
const SETTINGS: &str = "fleet.toml";

/// The variable with the day for which `backup` runs a step.
const DAY: &str = "BACKUP_DAY";

/// What lives as long as the command.
pub(crate) struct Session {
    pub(crate) runtime: Runtime,
    pub(crate) cancel: CancellationToken,
    pub(crate) common: Common,
    /// The day for which a backup runs this as one of its steps.
    pub(crate) step: Option<String>,
}

impl Session {
    pub(crate) fn new(common: Common) -> Result<Self, Stop> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Stop::failed(format!("cannot start the program's threads: {error}")))?;
        let cancel = signals::listen(&runtime)?;
        let step = std::env::var_os(DAY).map(|day| day.to_string_lossy().into_owned());
        Ok(Self { runtime, cancel, common, step })
    }

    /// The settings of the file, and what the command line puts in their place.
    pub(crate) fn job(&self, place: &Place) -> Result<Job, Stop> {
        let found = || Some(PathBuf::from(SETTINGS)).filter(|file| file.exists());
        let named = self.common.config.clone().or_else(found);
        let (mut settings, limits) = if let Some(file) = named {
            Settings::read(&file)?
        } else {
            let settings = Settings::default();
            let limits = Limits::new(&settings.limits, Zones::default()).map_err(Stop::usage)?;
            (settings, limits)
        };
        if let Some(data) = &place.data {
            settings.data.clone_from(data);
        }
        if let Some(results) = &place.results {
            settings.results.clone_from(results);
        }
        let today = today(self.step.as_deref(), Utc::now(), settings.timezone).map_err(Stop::usage)?;
        let days = place.day.unwrap_or(Days::Yesterday).resolve(today).collect();
        Ok(Job { settings, limits, days })
    }

    /// Goes once over the trips of a day, writes `tables`, and shows each trip to `watch`.
    pub(crate) fn pass(
        &self,
        job: &Job,
        day: NaiveDate,
        part: Part,
        tables: &[Table],
        mut watch: impl FnMut(&Trip),
    ) -> Result<Digest, Stop> {
        let mut progress = Trips::new(day.to_string(), self.common.quiet);
        let digest = self.of_day(job, day, part).write(tables, |trip| {
            progress.see(trip);
            watch(trip);
        })?;
        Ok(digest)
    }

    /// The trips of a day, to go over them.
    pub(crate) fn of_day<'a>(&'a self, job: &'a Job, day: NaiveDate, part: Part) -> Pass<'a> {
        Pass { settings: &job.settings, limits: &job.limits, day, part, cancel: &self.cancel }
    }
}

/// What is to be done with which days.
pub(crate) struct Job {
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    pub(crate) days: Vec<NaiveDate>,
}
