//! The one sentence that says how a job stands.

use std::fmt::Write as _;

use s3backup_model::{Outcome, RunSummary};

use crate::JobPage;
use crate::human;

/// How it stands, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mood {
    Good,
    Busy,
    Unknown,
    Warning,
    Bad,
}

impl Mood {
    /// The class of the stylesheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }

    /// A sign that tells it without a colour.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Busy => "▶",
            Self::Unknown => "?",
            Self::Warning => "!",
            Self::Bad => "✕",
        }
    }
}

impl From<Outcome> for Mood {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Good,
            Outcome::Partial | Outcome::Interrupted => Self::Warning,
            Outcome::Failed => Self::Bad,
        }
    }
}

/// How a job stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) mood: Mood,
    pub(crate) headline: String,
    /// What to know beside it, or to do. May be empty.
    pub(crate) detail: String,
}

/// The worst that is true.
pub(crate) fn verdict(job: &JobPage) -> Verdict {
    let says = |mood, headline: String, detail: String| Verdict { mood, headline, detail };
    let going_on = job.running.as_ref().map_or("", |running| match running.progress {
        Some(_) => " A run is going on.",
        None => " A run began and has not ended.",
    });
    if let Some(since) = job.late_since.filter(|_| job.is_late()) {
        let headline = format!("Late since {}", since.format("%Y-%m-%d %H:%M"));
        let last = match &job.last_success {
            Some(run) => format!("The last success was on {}.", run.finished_at.format("%Y-%m-%d %H:%M")),
            None => "There was never a success.".to_owned(),
        };
        return says(Mood::Bad, headline, format!("{last}{going_on}"));
    }
    let last = job.runs.first();
    if let Some(running) = &job.running
        && (running.progress.is_some() || last.is_none())
    {
        let since = format!("Since {}.", running.started_at.format("%Y-%m-%d %H:%M"));
        return says(Mood::Busy, "Running".to_owned(), since);
    }
    let Some(last) = last else {
        let detail = "It has not run yet, or nothing is known of its runs.".to_owned();
        return says(Mood::Unknown, "No run has ended yet".to_owned(), detail);
    };
    if last.outcome != Outcome::Success {
        let (headline, detail) = unsuccessful(last);
        return says(last.outcome.into(), headline, format!("{detail}{going_on}"));
    }
    if let Some(verified) = job.verified.as_ref().filter(|verified| verified.differ > 0) {
        let headline = format!("{} not as expected", objects(verified.differ));
        let at = verified.at.format("%Y-%m-%d %H:%M");
        let detail = format!("Found on {at}. Run `backup verify`, then `backup verify --repair`.");
        return says(Mood::Warning, headline, detail);
    }
    if let Some(trouble) = job.troubles.first() {
        let more = match job.troubles.len() {
            1 => String::new(),
            count => format!("And {} more below.", count - 1),
        };
        return says(Mood::Warning, trouble.headline.clone(), more);
    }
    let mut detail = format!("As of {}.{going_on}", last.finished_at.format("%Y-%m-%d %H:%M"));
    if job.alerts_waiting > 0 {
        let _ = write!(detail, " {} could not be delivered yet.", alerts(job.alerts_waiting));
    }
    let mood = if job.alerts_waiting > 0 { Mood::Warning } else { Mood::Good };
    says(mood, "All is in the bucket".to_owned(), detail)
}

fn unsuccessful(run: &RunSummary) -> (String, String) {
    let at = run.finished_at.format("%Y-%m-%d %H:%M");
    match run.outcome {
        Outcome::Partial if run.failed_total == 0 => (
            "A step did not succeed".to_owned(),
            format!("All files that were there on {at} are in the bucket."),
        ),
        Outcome::Partial => (
            format!("{} not in the bucket", human::files(run.failed_total)),
            format!("The run of {at} did not get all. The next run tries again."),
        ),
        Outcome::Interrupted => (
            "The last run was interrupted".to_owned(),
            format!("On {at}. What it had finished is in the bucket; the next run does the rest."),
        ),
        Outcome::Failed | Outcome::Success => (
            match run.fatal {
                Some(kind) => format!("The last run failed: {}", kind.as_str().replace('_', " ")),
                None => "The last run failed".to_owned(),
            },
            format!("On {at}. The report of the run says why."),
        ),
    }
}

fn objects(count: u64) -> String {
    if count == 1 { "1 object is".to_owned() } else { format!("{} objects are", human::count(count)) }
}

fn alerts(count: u64) -> String {
    if count == 1 { "1 alert".to_owned() } else { format!("{} alerts", human::count(count)) }
}
