//! What a run means to a person.

pub(crate) mod news;

use bytesize::ByteSize;
use chrono::{DateTime, FixedOffset};
use s3backup_model::{Alert, AlertKind, Failure, FailureKind, Name, Outcome, RunReport, StepState};

use crate::verify::{Difference, VerifyReport};
use crate::{Finding, monitor};

/// The most failures that an alert names; the report has the others.
const FAILURES: usize = 10;

/// The alert of a run that ended.
///
/// `log` says where its log is, for example a path on that machine.
pub fn of_run(report: &RunReport, log: Option<&str>) -> Alert {
    let kind = match report.outcome {
        Outcome::Success => AlertKind::Success,
        Outcome::Partial => AlertKind::Partial,
        Outcome::Failed | Outcome::Interrupted => AlertKind::Failed,
    };
    let size = |bytes: u64| ByteSize::b(bytes).to_string();
    let count = |files: u64, bytes: u64| format!("{} ({})", files_of(files), size(bytes));
    let mut facts = vec![
        ("Uploaded".to_owned(), count(report.uploaded.files, report.uploaded.bytes)),
        ("Already there".to_owned(), count(report.unchanged.files, report.unchanged.bytes)),
        ("Not backed up".to_owned(), files_of(report.failed_total)),
        ("Skipped".to_owned(), files_of(report.skipped.files)),
        ("Duration".to_owned(), format!("{:.1} s", report.duration_s)),
    ];
    // Before what others want said: a message has no room for all.
    for step in report.steps.iter().filter(|step| step.state != StepState::Ok) {
        let why = step.message.as_deref().unwrap_or(match step.state {
            StepState::NotRun => "it was not run",
            _ => "it was interrupted",
        });
        facts.push((format!("Step {}", step.name), why.to_owned()));
    }
    facts.extend(report.facts.iter().map(|fact| (fact.label.clone(), fact.value.clone())));
    facts.push(("Destination".to_owned(), report.destination.clone()));
    facts.push(("Trigger".to_owned(), report.trigger.as_str().to_owned()));
    let made_up = report.made_up_for();
    if !made_up.is_empty() {
        facts.push(("Made up for".to_owned(), format!("due times {}", made_up.join(", "))));
    }
    if let Some(log) = log {
        facts.push(("Log".to_owned(), log.to_owned()));
    }
    let place = format!("{} on {}", report.job, report.host);
    let (headline, message) = match report.outcome {
        Outcome::Success => {
            let moved = count(report.uploaded.files, report.uploaded.bytes);
            let message = match made_up.len() {
                0 => String::new(),
                1 => "It made up for a due time that was missed or late.".to_owned(),
                missed => format!("It made up for {missed} due times that were missed or late."),
            };
            (format!("Backup {place}: {moved} uploaded, all is in the bucket"), message)
        }
        Outcome::Partial if report.failed_total == 0 => (
            format!("Backup {place}: a step did not succeed"),
            "All files that were there were backed up, but what the step makes may be missing or old. The next run tries again.".to_owned(),
        ),
        Outcome::Partial => (
            format!("Backup {place}: {} not backed up", files_of(report.failed_total)),
            "The run ended, and what is named below is not in the bucket as it is on disk. The next run tries again.".to_owned(),
        ),
        Outcome::Failed => (
            // The words of a notification on a telephone: they must say what it is about.
            match &report.fatal {
                Some(fatal) => format!("Backup {place} failed: {}", fatal.kind.as_str().replace('_', " ")),
                None => format!("Backup {place} failed"),
            },
            report.fatal.as_ref().map_or_else(String::new, |fatal| fatal.message.clone()),
        ),
        Outcome::Interrupted => (
            format!("Backup {place} was interrupted"),
            "It was told to stop before it was done. What it had finished is in the bucket; the next run does the rest.".to_owned(),
        ),
    };
    Alert {
        kind,
        job: report.job.clone(),
        host: report.host.clone(),
        at: report.finished_at,
        headline,
        message,
        run_id: Some(report.run_id.clone()),
        facts,
        failures: report.failed.iter().take(FAILURES).cloned().collect(),
        failed_total: report.failed_total,
        warnings: report.warnings.clone(),
    }
}

/// The alert of something that a monitor found.
///
/// `place` is where it looked: `s3://bucket/prefix`.
pub fn of_finding(job: &Name, host: &Name, finding: &Finding, place: &str) -> Alert {
    let word = finding.kind.as_str().replace('_', " ");
    Alert {
        kind: finding.kind.alert(),
        headline: format!("{}: {word}", who(job, host)),
        message: format!("{}. What to do: {}.", sentence(&finding.what), finding.mend),
        facts: vec![
            ("Since".to_owned(), monitor::time(finding.since)),
            ("Destination".to_owned(), place.to_owned()),
        ],
        ..bare(job.clone(), host.clone(), finding.since)
    }
}

/// The alert that a trouble is over which a monitor told of: of this kind, since that time.
pub fn of_recovery(
    job: &Name,
    host: &Name,
    kind: &str,
    since: DateTime<FixedOffset>,
    at: DateTime<FixedOffset>,
) -> Alert {
    let word = kind.replace('_', " ");
    Alert {
        kind: AlertKind::Recovered,
        headline: format!("{}: no longer {word}", who(job, host)),
        message: format!("It was so for {}.", monitor::words(at - since)),
        ..bare(job.clone(), host.clone(), at)
    }
}

/// The alert of a verification that found differences, with the first of them.
pub fn of_verify(job: &Name, host: &Name, report: &VerifyReport, first: &[Difference]) -> Alert {
    let verified = &report.verified;
    let counts = &report.differences;
    let counts = [
        ("Missing", counts.missing),
        ("Other size", counts.size),
        ("Other content", counts.content),
        ("Version gone", counts.version_gone),
        ("Unreadable", counts.unreadable),
    ];
    let mut facts = vec![("Verified".to_owned(), files_of(verified.objects.files))];
    facts.extend(
        counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| ((*name).to_owned(), count.to_string())),
    );
    let failures = first.iter().take(FAILURES).map(|difference| Failure {
        path: difference.path.clone(),
        kind: FailureKind::Other,
        message: format!("{}: {}", difference.key, difference.what.as_str().replace('_', " ")),
        attempts: 1,
    });
    Alert {
        kind: AlertKind::Differs,
        headline: format!("Backup {job} on {host}: {} differ in the bucket", files_of(verified.differ)),
        message: "They are not in the bucket as they were backed up. `backup verify --repair` on that machine marks them, so that the next run sends them again.".to_owned(),
        facts,
        failures: failures.collect(),
        failed_total: verified.differ,
        warnings: report.warnings.clone(),
        ..bare(job.clone(), host.clone(), verified.at)
    }
}

/// Whom a monitor speaks of: a backup, or itself.
fn who(job: &Name, host: &Name) -> String {
    if job.as_str() == monitor::OWN_JOB {
        format!("The monitor on {host}")
    } else {
        format!("Backup {job} on {host}")
    }
}

/// One with nothing in it yet.
fn bare(job: Name, host: Name, at: DateTime<FixedOffset>) -> Alert {
    Alert {
        kind: AlertKind::Failed,
        job,
        host,
        at,
        headline: String::new(),
        message: String::new(),
        run_id: None,
        facts: Vec::new(),
        failures: Vec::new(),
        failed_total: 0,
        warnings: Vec::new(),
    }
}

/// One of words alone.
fn plain(
    kind: AlertKind,
    job: Name,
    host: Name,
    at: DateTime<FixedOffset>,
    headline: String,
    message: String,
) -> Alert {
    Alert { kind, headline, message, ..bare(job, host, at) }
}

/// With a capital letter at its beginning.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// The alert of a run that could not even begin, such as with a broken configuration.
pub fn of_start(job: Name, host: Name, at: DateTime<FixedOffset>, message: String) -> Alert {
    let headline = format!("Backup {job} on {host} could not start");
    plain(AlertKind::Failed, job, host, at, headline, message)
}

/// A message by itself, to see whether it arrives.
pub fn of_test(job: Name, host: Name, at: DateTime<FixedOffset>) -> Alert {
    let headline = format!("Test: alerts of backup {job} on {host} arrive here");
    let message = "Somebody asked for this message. Nothing is wrong.".to_owned();
    plain(AlertKind::Success, job, host, at, headline, message)
}

/// The alert that nobody watches a backup any more: no monitor has looked since `last`.
pub(crate) fn of_unwatched(
    job: Name,
    host: Name,
    at: DateTime<FixedOffset>,
    last: DateTime<FixedOffset>,
) -> Alert {
    Alert {
        kind: AlertKind::Unwatched,
        headline: format!("Backup {job} on {host} is not watched any more"),
        message: format!(
            "No `backup monitor` has looked at the bucket since {}. While that is so, nobody hears of it when this machine is gone. See to the machine that runs the monitor, and to its schedule.",
            monitor::time(last)
        ),
        ..bare(job, host, at)
    }
}

/// The alert of a monitor that could not even begin.
pub fn of_blind_monitor(job: Name, host: Name, at: DateTime<FixedOffset>, message: String) -> Alert {
    let headline = format!("The monitor on {host} could not start: nobody watches the backups");
    plain(AlertKind::Failed, job, host, at, headline, message)
}

pub(crate) fn files_of(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}
