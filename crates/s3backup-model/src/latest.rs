//! `latest.json`: what a job on a host says of itself in the bucket, read by the next run and by whoever watches.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use crate::{DueRef, FailureKind, Lease, Name, Outcome, RunId, RunReport, Tally, Trigger};

/// The newest word of a job on a host. Written when a run starts, every few minutes while it goes on, and when it ends.
///
/// It may lag behind the reports and manifests in the bucket and never runs ahead of them. Readers ignore fields that they
/// do not know, and stop at a `min_reader` above [`Latest::SCHEMA`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// Version of this format.
    pub schema: u32,
    /// Oldest version that can read it.
    pub min_reader: u32,
    /// Version of s3backup that wrote it.
    pub version: String,
    /// The job.
    pub job: Name,
    /// The machine.
    pub host: Name,
    /// Where the files go: `s3://bucket/prefix`.
    pub destination: String,
    /// Whether a run is going on. A run that was killed leaves `running` behind, with a heartbeat that grows old.
    pub state: RunState,
    /// The run that wrote this: the newest one that was started.
    pub run_id: RunId,
    /// When that run started, in the job's time zone.
    pub started_at: DateTime<FixedOffset>,
    /// When this was written, by the clock of the machine.
    pub heartbeat: DateTime<FixedOffset>,
    /// That the run is shared by many workers, from its plan to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// When runs are due, where the job says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleRef>,
    /// The catalog from which the run worked.
    pub catalog: CatalogRef,
    /// The last check of the bucket against the manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// Alerts that nobody was told yet; absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertDelivery>,
    /// The last runs that ended, newest first, at most [`Latest::MAX_RUNS`].
    #[serde(default)]
    pub runs: Vec<RunSummary>,
}

impl Latest {
    /// The version that this code writes, and the newest that it reads.
    pub const SCHEMA: u32 = 1;

    /// The most runs that are told of: more than a year of daily ones.
    pub const MAX_RUNS: usize = 400;
}

/// Whether a run is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A run is going on, or was killed.
    Running,
    /// The last run ended.
    Idle,
}

/// When runs of a job are due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRef {
    /// Cron expression.
    pub cron: String,
    /// IANA name of the zone in which it is read.
    pub timezone: String,
    /// How long after a due time a success is late, in seconds.
    pub deadline_s: u64,
    /// How long a run may take, in seconds.
    pub max_runtime_s: u64,
}

/// Alerts that could not be delivered so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertDelivery {
    /// How many wait.
    pub waiting: u64,
    /// How many reach nobody until a person mends something.
    #[serde(default)]
    pub refused: u64,
    /// Since when they cannot be delivered, in the job's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_since: Option<DateTime<FixedOffset>>,
    /// Why, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Which catalog a run worked from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRef {
    /// Made at random when the catalog was.
    pub id: String,
    /// A checksum of what names the machine, to tell a catalog that was lost from one that was copied elsewhere. Absent
    /// where the machine has no name of its own, such as in a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// The outcome of checking the bucket against the manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When, in the job's time zone.
    pub at: DateTime<FixedOffset>,
    /// Objects that were looked at.
    pub objects: Tally,
    /// Those of them that were downloaded and hashed.
    pub downloaded: Tally,
    /// Those that are not there or are other than they should be.
    pub differ: u64,
}

/// One run that ended, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run_id: RunId,
    /// What started it.
    pub trigger: Trigger,
    /// How it ended.
    pub outcome: Outcome,
    /// Start, in the job's time zone.
    pub started_at: DateTime<FixedOffset>,
    /// End, in the job's time zone.
    pub finished_at: DateTime<FixedOffset>,
    /// Selected entries.
    pub found: Tally,
    /// Entries sent.
    pub uploaded: Tally,
    /// Entries that could not be backed up.
    pub failed_total: u64,
    /// Why it failed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fatal: Option<FailureKind>,
    /// Due times that it stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<DueRef>,
}

impl From<&RunReport> for RunSummary {
    fn from(report: &RunReport) -> Self {
        Self {
            run_id: report.run_id.clone(),
            trigger: report.trigger,
            outcome: report.outcome,
            started_at: report.started_at,
            finished_at: report.finished_at,
            found: report.found,
            uploaded: Tally { files: report.uploaded.files, bytes: report.uploaded.bytes },
            failed_total: report.failed_total,
            fatal: report.fatal.as_ref().map(|fatal| fatal.kind),
            due: report.due.clone(),
        }
    }
}
