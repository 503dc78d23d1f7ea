//! What a monitor saw: how each job on each machine stands, and what is wrong with it.

use chrono::{DateTime, FixedOffset, Utc};
use s3backup_model::{AlertKind, Name};
use serde::Serialize;

/// The longest that a finding says.
const MAX_WHAT_CHARS: usize = 1000;

/// What a monitor saw.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MonitorReport {
    /// What was looked at: `s3://bucket/prefix`.
    pub destination: String,
    /// When, by the server's clock.
    pub at: DateTime<Utc>,
    /// The machine that looked.
    pub by: Name,
    /// Every job on every machine that backs up there, and those that are expected; sorted.
    pub watched: Vec<Watched>,
    /// What is wrong with the monitor itself, or with the place that it looks at.
    pub findings: Vec<Finding>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl MonitorReport {
    /// Whether nothing at all is wrong.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty() && self.watched.iter().all(Watched::is_well)
    }
}

/// How one job on one machine stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Watched {
    /// The job.
    pub job: Name,
    /// The machine.
    pub host: Name,
    /// Whether a run is going on, and lets itself be heard.
    pub is_running: bool,
    /// Whether it was retired, and has not run since: it is then not judged.
    pub is_retired: bool,
    /// When the last run that backed up everything ended.
    pub last_success: Option<DateTime<FixedOffset>>,
    /// When the next run is due, in the zone of its schedule.
    pub next_due: Option<DateTime<FixedOffset>>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Until when nobody is to be told of it, where somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_until: Option<DateTime<FixedOffset>>,
    /// By what it cannot be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Watched {
    pub(super) fn new(job: &Name, host: &Name) -> Self {
        Self {
            job: job.clone(),
            host: host.clone(),
            is_running: false,
            is_retired: false,
            last_success: None,
            next_due: None,
            findings: Vec::new(),
            silent_until: None,
            note: None,
        }
    }

    /// Whether nothing is wrong with it.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// In what way.
    pub kind: FindingKind,
    /// Since when, as far as it is known.
    pub since: DateTime<FixedOffset>,
    /// Tells it from the same at other times: the due time that it began with; without one, the run or the day.
    pub due: DateTime<Utc>,
    /// What happened, and why, as far as the bucket tells.
    pub what: String,
    /// What to do now.
    pub mend: String,
}

impl Finding {
    pub(super) fn new(
        kind: FindingKind,
        since: DateTime<FixedOffset>,
        due: DateTime<Utc>,
        what: impl AsRef<str>,
        mend: impl AsRef<str>,
    ) -> Self {
        Self { kind, since, due, what: harmless(what.as_ref()), mend: harmless(mend.as_ref()) }
    }
}

/// What the bucket says may be anything; it is printed on terminals, and goes into messages.
fn harmless(text: &str) -> String {
    text.chars().take(MAX_WHAT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// In what way something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// No complete backup by the deadline.
    Late,
    /// A run goes on though the deadline or its longest time is over.
    LongRunning,
    /// The last run failed.
    Failed,
    /// The last run did not back up everything.
    Partial,
    /// A run ended without a word.
    Killed,
    /// The last run found far less than is usual.
    Shrunk,
    /// The machine's alerts reach nobody.
    AlertsBroken,
    /// A clock is off.
    Clock,
    /// What it says of itself cannot be understood.
    Damaged,
    /// What it says of itself is of a newer version.
    Newer,
    /// It is expected, or has control data, and does not say anything.
    Unseen,
    /// The bucket could not be read.
    Unread,
}

impl FindingKind {
    /// The word of reports, messages and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::LongRunning => "long_running",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Killed => "killed",
            Self::Shrunk => "shrunk",
            Self::AlertsBroken => "alerts_broken",
            Self::Clock => "clock",
            Self::Damaged => "damaged",
            Self::Newer => "newer",
            Self::Unseen => "unseen",
            Self::Unread => "unread",
        }
    }

    /// The word by which a run, a daemon and a monitor know the same trouble.
    pub(super) fn trouble(self) -> &'static str {
        match self {
            // The next start of the job tells so of a run that was killed.
            Self::Killed => Self::Failed.as_str(),
            kind => kind.as_str(),
        }
    }

    /// As which kind of alert it is told.
    pub fn alert(self) -> AlertKind {
        match self {
            Self::Late | Self::Unseen => AlertKind::Late,
            Self::LongRunning => AlertKind::LongRunning,
            Self::Partial => AlertKind::Partial,
            Self::Shrunk => AlertKind::Shrunk,
            _ => AlertKind::Failed,
        }
    }

    /// Whether with this nothing else of it can be known, also not whether an earlier trouble is over.
    pub(super) fn hides_all(self) -> bool {
        matches!(self, Self::Damaged | Self::Newer | Self::Unseen | Self::Unread)
    }
}
