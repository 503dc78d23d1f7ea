//! The words of alerts that no single report makes: what began, what goes on, and what is over.

use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, FixedOffset};
use s3backup_catalog::TroubleRow;
use s3backup_model::{Alert, AlertKind, Name, RunId, RunSummary, Tally};

use super::{files_of, plain};
use crate::shrunk::Shrunk;

/// Whose news it is, and when it was noticed.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) job: Name,
    pub(crate) host: Name,
    /// In the job's time zone.
    pub(crate) at: DateTime<FixedOffset>,
}

impl Subject {
    fn alert(&self, kind: AlertKind, headline: String, message: String) -> Alert {
        plain(kind, self.job.clone(), self.host.clone(), self.at, headline, message)
    }

    fn place(&self) -> String {
        format!("{} on {}", self.job, self.host)
    }

    fn local(&self, at: DateTime<chrono::Utc>) -> String {
        minute(at.with_timezone(self.at.offset()))
    }
}

/// No success by the deadline of this due time.
pub(crate) fn late(
    subject: &Subject,
    due: DateTime<FixedOffset>,
    deadline: Duration,
    last_success: Option<&RunSummary>,
) -> Alert {
    let headline = format!("Backup {} is late: due {}", subject.place(), minute(due));
    let message = format!(
        "No run succeeded within {} after it was due. Look whether the machine is on, whether what starts the runs is, and into the log of the last run; then start a run: `backup run --job {}`.",
        humantime::format_duration(deadline),
        subject.job
    );
    let mut alert = subject.alert(AlertKind::Late, headline, message);
    let last = last_success.map_or_else(
        || "none is known".to_owned(),
        |run| format!("{}, {}", minute(run.started_at), files_of(run.found.files)),
    );
    alert.facts.push(("Due".to_owned(), minute(due)));
    alert.facts.push(("Last success".to_owned(), last));
    alert
}

/// A run that goes on for longer than it should.
pub(crate) fn long_running(
    subject: &Subject,
    run_id: &RunId,
    started_at: DateTime<FixedOffset>,
    warn_after: Duration,
) -> Alert {
    let headline =
        format!("Backup {} runs for more than {}", subject.place(), humantime::format_duration(warn_after));
    let message = "It goes on. It says so again when it ends, however it ends.".to_owned();
    let mut alert = subject.alert(AlertKind::LongRunning, headline, message);
    alert.run_id = Some(run_id.clone());
    alert.facts.push(("Started".to_owned(), minute(started_at)));
    alert
}

/// The run before this one never said how it ended.
pub(crate) fn killed(subject: &Subject, run_id: &RunId, started_at: DateTime<FixedOffset>) -> Alert {
    let headline = format!("Backup {}: the last run was killed", subject.place());
    let message = "It did not say how it ended: its process was killed (by hand, for want of memory, by a defect), or the machine went down. What it had finished is in the bucket, and the run that noticed it does the rest. Look into the log of that time, and into the system's for \"Out of memory\".".to_owned();
    let mut alert = subject.alert(AlertKind::Failed, headline, message);
    alert.run_id = Some(run_id.clone());
    alert.facts.push(("Started".to_owned(), minute(started_at)));
    alert
}

/// A run could not start because another holds the job for far too long.
pub(crate) fn locked(subject: &Subject, holder: &str, since: DateTime<chrono::Utc>) -> Alert {
    let headline = format!("Backup {} cannot start: another run does not end", subject.place());
    let message = format!(
        "The job is held by {holder}, by a run that started {}. Look what it waits for (a dead disk or network mount?), end it, and start a run.",
        subject.local(since)
    );
    subject.alert(AlertKind::Failed, headline, message)
}

/// A run that succeeded with far less than is usual.
pub(crate) fn shrunk(subject: &Subject, run_id: &RunId, found: Tally, shrunk: &Shrunk) -> Alert {
    let headline = format!(
        "Backup {} found far less than usual: {} instead of about {}",
        subject.place(),
        tally(found),
        tally(shrunk.usual)
    );
    let message = "All that it found is in the bucket, and nothing was removed there. Is a disk of the sources not mounted, does what makes the files still run, was a folder moved?".to_owned();
    let mut alert = subject.alert(AlertKind::Shrunk, headline, message);
    alert.run_id = Some(run_id.clone());
    alert.facts.push(("Found".to_owned(), tally(found)));
    alert.facts.push(("Usually".to_owned(), format!("{} (of {} days)", tally(shrunk.usual), shrunk.days)));
    alert
}

/// The first success after trouble: what the success has to say, and what is over.
pub(crate) fn recovered(success: Alert, over: &[&TroubleRow]) -> Alert {
    let zone = *success.at.offset();
    let began = over.iter().map(|row| began(row)).min().unwrap_or(success.at.to_utc());
    let took = span(began, success.at.to_utc());
    let mut facts = vec![(
        "Down".to_owned(),
        format!("{took}, from {} to {}", minute(began.with_timezone(&zone)), minute(success.at)),
    )];
    facts.extend(over.iter().map(|row| ("Was".to_owned(), told_times(row, zone))));
    facts.extend(success.facts);
    Alert {
        kind: AlertKind::Recovered,
        headline: format!(
            "Backup {} on {} recovered after {took}: all is in the bucket",
            success.job, success.host
        ),
        facts,
        ..success
    }
}

/// What the first message of a trouble says from then on: the newest, and how often it was noticed.
pub(crate) fn again(alert: &Alert, row: &TroubleRow) -> Alert {
    let mut alert = alert.clone();
    let since = minute(row.since.with_timezone(alert.at.offset()));
    alert.facts.insert(0, ("So far".to_owned(), format!("{} times since {since}", row.times + 1)));
    alert
}

/// What the first message of a trouble says when it is over.
pub(crate) fn over(row: &TroubleRow, at: DateTime<FixedOffset>) -> Alert {
    let took = span(began(row), at.to_utc());
    let mut alert = row.alert.clone();
    alert.facts.insert(0, ("Over".to_owned(), format!("{}, after {took}", minute(at))));
    Alert {
        kind: AlertKind::Recovered,
        headline: format!("Over after {took}: {}", alert.headline),
        at,
        ..alert
    }
}

/// From when it counts: of a due time that was missed, the due time.
fn began(row: &TroubleRow) -> DateTime<chrono::Utc> {
    row.trouble.due.min(row.since)
}

fn told_times(row: &TroubleRow, zone: FixedOffset) -> String {
    let since = minute(row.since.with_timezone(&zone));
    let times = if row.times > 1 { format!(", {} times", row.times) } else { String::new() };
    format!("{} since {since}{times}: {}", row.trouble.kind.as_str(), row.alert.headline)
}

fn tally(tally: Tally) -> String {
    format!("{} ({})", files_of(tally.files), ByteSize::b(tally.bytes))
}

fn minute(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// How long it took, to the minute, or to the second where it was less.
fn span(from: DateTime<chrono::Utc>, to: DateTime<chrono::Utc>) -> String {
    let seconds = u64::try_from((to - from).num_seconds()).unwrap_or_default();
    let rounded = if seconds < 60 { seconds } else { seconds / 60 * 60 };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}
