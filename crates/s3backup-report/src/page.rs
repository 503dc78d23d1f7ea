//! What is known of backups, as plain values.

use chrono::{DateTime, FixedOffset};
use s3backup_model::{
    AlertKind, DueRef, Failure, Fatal, Name, Outcome, RunId, RunSummary, ScheduleRef, Tally, Verified,
};
use serde::{Deserialize, Serialize};

/// One page about some jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// When the facts were gathered.
    pub made_at: DateTime<FixedOffset>,
    /// The jobs, in the order in which to show them.
    pub jobs: Vec<JobPage>,
    /// Whether a server makes the page anew each time: it then loads itself again from time to time.
    pub live: bool,
}

/// How one job stands.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPage {
    /// The job.
    pub job: Name,
    /// The machine.
    pub host: Name,
    /// `s3://bucket/prefix`.
    pub destination: String,
    /// When runs are due, where the job says it.
    pub schedule: Option<ScheduleRef>,
    /// When the next run is due, in the zone of the schedule.
    pub next_due: Option<DateTime<FixedOffset>>,
    /// The deadline that passed without a success, also while a run goes on that may still bring it:
    /// [`is_late`](Self::is_late) is what to ask.
    pub late_since: Option<DateTime<FixedOffset>>,
    /// A run that began and has not ended.
    pub running: Option<Running>,
    /// The last run that was a success, however long ago.
    pub last_success: Option<RunSummary>,
    /// Files that are backed up, where that is known.
    pub held: Option<Tally>,
    /// The last runs that ended, newest first.
    pub runs: Vec<RunSummary>,
    /// The last due times, newest first.
    pub due: Vec<DueRef>,
    /// What went wrong in the last run that was not a success.
    pub failures: Option<Failures>,
    /// What people were told of and is not over.
    pub troubles: Vec<Trouble>,
    /// Alerts that could not be delivered yet.
    pub alerts_waiting: u64,
    /// The last check of the bucket.
    pub verified: Option<Verified>,
}

impl JobPage {
    /// A job of which nothing else is known yet.
    pub fn new(job: Name, host: Name, destination: impl Into<String>) -> Self {
        Self {
            job,
            host,
            destination: destination.into(),
            schedule: None,
            next_due: None,
            late_since: None,
            running: None,
            last_success: None,
            held: None,
            runs: Vec::new(),
            due: Vec::new(),
            failures: None,
            troubles: Vec::new(),
            alerts_waiting: 0,
            verified: None,
        }
    }

    /// Whether a success is overdue and no run is known to go on that may still bring it.
    pub fn is_late(&self) -> bool {
        self.late_since.is_some() && !self.goes_on()
    }

    /// Whether a run is known to go on.
    pub(crate) fn goes_on(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.progress.is_some())
    }
}

/// A run that began and has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// The run.
    pub run_id: RunId,
    /// When it started, in the job's time zone.
    pub started_at: DateTime<FixedOffset>,
    /// How far it is. Only who runs it knows; for others it goes on, or was killed.
    pub progress: Option<Progress>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Selected files so far.
    pub found: Tally,
    /// Whether all sources were walked, so that `found` does not grow any more.
    pub is_found_whole: bool,
    /// Those of them that are in the bucket.
    pub done: Tally,
    /// Bytes of files a second.
    pub bytes_per_s: u64,
    /// Files that could not be backed up so far.
    pub failed: u64,
}

/// What went wrong in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failures {
    /// The run.
    pub run_id: RunId,
    /// When it started, in the job's time zone.
    pub started_at: DateTime<FixedOffset>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed as a whole, when it did.
    pub fatal: Option<Fatal>,
    /// The first entries that could not be backed up.
    pub failed: Vec<Failure>,
    /// How many there were in all.
    pub failed_total: u64,
}

/// Something that people were told of and that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about.
    pub kind: AlertKind,
    /// Since when.
    pub since: DateTime<FixedOffset>,
    /// One sentence that stands alone.
    pub headline: String,
    /// Whether nobody could be told of it yet.
    pub is_undelivered: bool,
}
