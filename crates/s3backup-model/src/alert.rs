//! What a person is told, whichever way it travels.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use crate::{Failure, Name, RunId};

/// A message for people: what happened, to what, why, and what to do now.
///
/// A renderer (Slack, a command's standard input) adds form, never facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What the message is about.
    pub kind: AlertKind,
    /// The job.
    pub job: Name,
    /// The machine.
    pub host: Name,
    /// When it was noticed, in the job's time zone.
    pub at: DateTime<FixedOffset>,
    /// One sentence that stands alone, as in a notification on a telephone.
    pub headline: String,
    /// What happened, why, and what to do now, where the headline does not say it all. May be empty.
    pub message: String,
    /// The run that it is about, if it is about one.
    pub run_id: Option<RunId>,
    /// Label and value, in the order in which to show them.
    pub facts: Vec<(String, String)>,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// How many failures there are in all.
    pub failed_total: u64,
    /// Warnings of the run.
    pub warnings: Vec<String>,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A run ended well.
    Success,
    /// A run ended and some files are not in the bucket.
    Partial,
    /// A run, or its start, failed.
    Failed,
    /// No success by the deadline.
    Late,
    /// A run takes longer than usual.
    LongRunning,
    /// The first success after trouble.
    Recovered,
    /// Far fewer files or bytes than usual.
    Shrunk,
    /// Objects vanished or changed in the bucket.
    Differs,
}

impl AlertKind {
    /// The word that the configuration and messages use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::LongRunning => "long_running",
            Self::Recovered => "recovered",
            Self::Shrunk => "shrunk",
            Self::Differs => "differs",
        }
    }

    /// Whether somebody must act; `mention` goes only with these.
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::Failed | Self::Late)
    }
}
