//! How a backup stands: its runs, its due times, what it holds; and making its catalog again.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset, TimeDelta};
use s3backup_catalog::{Catalog, DueRow};
use s3backup_model::{DueRef, Outcome, RunId, RunState, RunSummary, Tally, Verified};
use s3backup_report::Failures;
use serde::Serialize;

use crate::backup::Backup;
use crate::latest::{self, Beacon, Seen};
use crate::memory::Memory;
use crate::outbox::Delivery;
use crate::shards::lease;
use crate::start::{note_unseen, take_history, take_over};
use crate::state::{Span, import};
use crate::trouble::Alerts;
use crate::verify::remember::remembered;
use crate::{Error, ending, overview};

/// How many due times back are shown.
const DUE_SHOWN: usize = 14;

/// The most runs that the catalog keeps.
const RUNS_KEPT: usize = 4_000;

/// How a backup stands, as far as the catalog tells or, on a machine without one, the bucket.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The job.
    pub job: s3backup_model::Name,
    /// The machine.
    pub host: s3backup_model::Name,
    /// `s3://bucket/prefix`.
    pub destination: String,
    /// Where this was read: the folder of the catalog, or `bucket`.
    pub source: String,
    /// The last run that ended.
    pub last_run: Option<RunSummary>,
    /// The last that was a success.
    pub last_success: Option<RunSummary>,
    /// A run that began after the last that ended: it goes on, or was killed.
    pub unfinished: Option<RunId>,
    /// Files that are backed up; known from the catalog only.
    pub files: Option<Tally>,
    /// Multipart uploads that are open; known from the catalog only.
    pub open_uploads: Option<u64>,
    /// When the next run is due, in the zone of the schedule.
    pub next_due: Option<DateTime<FixedOffset>>,
    /// The last due times, newest first.
    pub due: Vec<DueRef>,
    /// The last check of the bucket.
    pub verified: Option<Verified>,
    /// What is wrong, and whether people were told; of what is in the bucket only how the delivery stands.
    pub alerts: Alerts,
}

/// The same with what a longer look needs.
pub(crate) struct Standing {
    pub(crate) status: Status,
    /// When the newest run started, also one that has not ended.
    pub(crate) newest_start: DateTime<FixedOffset>,
    /// The runs that ended, newest first.
    pub(crate) runs: Vec<RunSummary>,
    /// What went wrong in the last run that was not a success, where the catalog noted it.
    pub(crate) failures: Option<Failures>,
}

/// What was made again.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Rebuilt {
    /// Runs whose manifests were read.
    pub runs: u64,
    /// Lines of manifests and snapshots.
    pub lines: u64,
    /// The state that they come to.
    pub files: Tally,
}

impl Backup {
    /// How the backup stands. Reads the catalog without its lock, so also while a run goes on; on a machine without a catalog,
    /// `latest.json` in the bucket.
    ///
    /// # Errors
    /// [`Error::Catalog`], or [`Error::Transfer`] where the bucket is asked; [`Error::NoState`] when neither knows of a run.
    pub async fn status(&self) -> Result<Status, Error> {
        Ok(self.stand(DUE_SHOWN).await?.status)
    }

    /// The same with the runs, and with more due times.
    pub(crate) async fn stand(&self, due_shown: usize) -> Result<Standing, Error> {
        match self.stand_in_catalog(due_shown).await? {
            Some(standing) => Ok(standing),
            None => Box::pin(self.stand_in_bucket(due_shown)).await,
        }
    }

    /// As far as the catalog tells; `None` where there is none, or where it knows no run.
    pub(crate) async fn stand_in_catalog(&self, due_shown: usize) -> Result<Option<Standing>, Error> {
        let job = &self.job;
        let memory = Memory::look(job).await?;
        if !memory.is_lasting {
            return Ok(None);
        }
        let now = (job.clock)();
        let (destination, label) = (memory.destination, memory.label.clone());
        let known = memory.with(move |catalog| {
            let runs = catalog.runs(destination, RUNS_KEPT)?;
            let files = catalog.count(destination)?;
            let open = count_open(catalog, destination)?;
            let due = catalog.due_in(DateTime::UNIX_EPOCH, now + TimeDelta::seconds(1), due_shown)?;
            Ok((
                runs,
                files,
                open,
                due,
                remembered(catalog, &label)?,
                overview::noted_failures(catalog, &label)?,
                Alerts::look(catalog, now)?,
            ))
        });
        let (rows, files, open, due, verified, failures, alerts) = known.await?;
        let Some(newest) = rows.first() else { return Ok(None) };
        let source = job.state_dir().map_or_else(String::new, |dir| dir.display().to_string());
        let mut status = self.empty_status(source);
        status.alerts = alerts;
        let newest_start = ending::local(job, newest.started_at);
        status.unfinished = newest.summary.is_none().then(|| newest.run.clone());
        (status.files, status.open_uploads, status.verified) = (Some(files), Some(open), verified);
        status.due = due.iter().map(due_ref).collect();
        let runs: Vec<RunSummary> = rows.into_iter().filter_map(|row| row.summary).collect();
        status.take_runs(&runs);
        Ok(Some(Standing { status, newest_start, runs, failures }))
    }

    async fn stand_in_bucket(&self, due_shown: usize) -> Result<Standing, Error> {
        let (_, seen) = self.latest().await?;
        let Seen::Present(latest, _) = seen else { return Err(self.no_state()) };
        let mut status = self.empty_status("bucket".to_owned());
        status.unfinished = (latest.state == RunState::Running).then(|| latest.run_id.clone());
        status.verified = latest.verified;
        if let Some(known) = latest.alerts {
            status.alerts.delivery = Delivery::of_latest(known);
        }
        status.due =
            latest.runs.iter().flat_map(|run| run.due.iter().rev().cloned()).take(due_shown).collect();
        status.take_runs(&latest.runs);
        Ok(Standing { status, newest_start: latest.started_at, runs: latest.runs, failures: None })
    }

    fn empty_status(&self, source: String) -> Status {
        Status {
            job: self.job.name.clone(),
            host: self.job.host.clone(),
            destination: self.job.destination_url(),
            source,
            last_run: None,
            last_success: None,
            unfinished: None,
            files: None,
            open_uploads: None,
            next_due: self.next_due(),
            due: Vec::new(),
            verified: None,
            alerts: Alerts::default(),
        }
    }

    /// The runs that the catalog knows, newest first, at most `limit`; on a machine without a catalog those that
    /// `latest.json` tells of.
    ///
    /// # Errors
    /// As [`Backup::status`].
    pub async fn history(&self, limit: usize) -> Result<Vec<PastRun>, Error> {
        let memory = Memory::look(&self.job).await?;
        let destination = memory.destination;
        let limit = limit.min(RUNS_KEPT);
        let rows = memory.with(move |catalog| catalog.runs(destination, limit)).await?;
        if !rows.is_empty() {
            let past = |row: s3backup_catalog::RunRow| PastRun {
                run_id: row.run,
                started_at: ending::local(&self.job, row.started_at),
                summary: row.summary,
            };
            return Ok(rows.into_iter().map(past).collect());
        }
        let (_, seen) = self.latest().await?;
        let Seen::Present(latest, _) = seen else { return Err(self.no_state()) };
        let past = |summary: RunSummary| PastRun {
            run_id: summary.run_id.clone(),
            started_at: summary.started_at,
            summary: Some(summary),
        };
        Ok(latest.runs.into_iter().take(limit).map(past).collect())
    }

    /// Makes the catalog again from the bucket, and makes it the one that the bucket belongs to: another machine that backed
    /// up under the same name has to be given another. Takes the job's lock.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Leased`], [`Error::Transfer`], and [`Error::Manifest`] when a piece of the control data is missing or damaged.
    /// A rebuild that was cut short is begun again by the next; a run in between only finds less than there is, asks the
    /// server about each file, and sends nothing twice.
    pub async fn rebuild(&self) -> Result<Rebuilt, Error> {
        let job = &self.job;
        let memory = Memory::open(job, "backup status --rebuild").await?;
        let (bucket, seen) = self.latest().await?;
        lease::refuse(job, &bucket, &seen)?;
        let destination = memory.destination;
        let label = Arc::clone(&memory.label);
        memory
            .with(move |catalog| {
                note_unseen(catalog, &label)?;
                catalog.forget_files(destination)
            })
            .await?;
        let memory = memory.renew(job).await?;
        let imported = import(job, &bucket, &memory, &Span::default()).await?;
        let (owner, destination) = (job.clone(), memory.destination);
        let files = memory
            .with(move |catalog| {
                let reference = take_over(catalog, &owner)?;
                Ok((reference, catalog.count(destination)?))
            })
            .await?;
        let (reference, files) = files;
        if let Seen::Present(latest, _) = &seen {
            take_history(&memory, latest).await?;
            let mut renamed = (**latest).clone();
            renamed.catalog = reference;
            let heartbeat = renamed.heartbeat;
            let state = renamed.state;
            let mut beacon =
                Beacon::new(&bucket, job, &seen, renamed).map_err(|fatal| Error::NotStored(fatal.message))?;
            beacon.write(state, heartbeat).await.map_err(Error::NotStored)?;
        } else if !imported.is_any {
            return Err(self.no_state());
        }
        Ok(Rebuilt { runs: imported.runs, lines: imported.lines, files })
    }

    pub(crate) fn next_due(&self) -> Option<DateTime<FixedOffset>> {
        let schedule = &self.job.schedule.as_ref()?.schedule;
        let next = schedule.next((self.job.clock)())?;
        Some(next.at.with_timezone(&schedule.timezone()).fixed_offset())
    }

    async fn latest(&self) -> Result<(s3backup_transfer::Bucket, Seen), Error> {
        let bucket = self.job.connect().await.map_err(Error::Transfer)?;
        let seen = Box::pin(latest::read(&bucket, &self.job)).await;
        let seen = seen.map_err(|fatal| Error::NotRead(fatal.message))?;
        Ok((bucket, seen))
    }

    fn no_state(&self) -> Error {
        Error::NoState { place: self.job.destination_url() }
    }
}

/// One run of the past.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PastRun {
    /// The run.
    pub run_id: RunId,
    /// When it started, in the job's time zone.
    pub started_at: DateTime<FixedOffset>,
    /// What became of it; nothing of one that goes on or was killed.
    pub summary: Option<RunSummary>,
}

impl Status {
    /// Takes the runs that ended, newest first.
    fn take_runs(&mut self, runs: &[RunSummary]) {
        self.last_run = runs.first().cloned();
        self.last_success = runs.iter().find(|run| run.outcome == Outcome::Success).cloned();
    }
}

fn due_ref(row: &DueRow) -> DueRef {
    let zone = row.timezone.parse().unwrap_or(chrono_tz::Tz::UTC);
    DueRef { at: row.at.with_timezone(&zone).fixed_offset(), state: row.state }
}

fn count_open(
    catalog: &Catalog,
    destination: s3backup_catalog::DestinationId,
) -> Result<u64, s3backup_catalog::Error> {
    const PAGE: usize = 256;
    let (mut count, mut after) = (0, None);
    loop {
        let page = catalog.open_uploads(destination, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(count) };
        count += page.len() as u64;
        after = Some(last.key.clone());
    }
}
