//! What a run means to a person.

pub(crate) mod news;

use bytesize::ByteSize;
use s3backup_model::{Alert, AlertKind, Outcome, RunReport, StepState};

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
        ("Destination".to_owned(), report.destination.clone()),
        ("Trigger".to_owned(), report.trigger.as_str().to_owned()),
    ];
    for step in report.steps.iter().filter(|step| step.state != StepState::Ok) {
        let why = step.message.as_deref().unwrap_or(match step.state {
            StepState::NotRun => "it was not run",
            _ => "it was interrupted",
        });
        facts.push((format!("Step {}", step.name), why.to_owned()));
    }
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

/// The alert of a run that could not even begin, such as with a broken configuration.
pub fn of_start(
    job: s3backup_model::Name,
    host: s3backup_model::Name,
    at: chrono::DateTime<chrono::FixedOffset>,
    message: String,
) -> Alert {
    let headline = format!("Backup {job} on {host} could not start");
    plain(AlertKind::Failed, job, host, at, headline, message)
}

/// A message by itself, to see whether it arrives.
pub fn of_test(
    job: s3backup_model::Name,
    host: s3backup_model::Name,
    at: chrono::DateTime<chrono::FixedOffset>,
) -> Alert {
    let headline = format!("Test: alerts of backup {job} on {host} arrive here");
    let message = "Somebody asked for this message. Nothing is wrong.".to_owned();
    plain(AlertKind::Success, job, host, at, headline, message)
}

/// An alert of words alone.
fn plain(
    kind: AlertKind,
    job: s3backup_model::Name,
    host: s3backup_model::Name,
    at: chrono::DateTime<chrono::FixedOffset>,
    headline: String,
    message: String,
) -> Alert {
    Alert {
        kind,
        job,
        host,
        at,
        headline,
        message,
        run_id: None,
        facts: Vec::new(),
        failures: Vec::new(),
        failed_total: 0,
        warnings: Vec::new(),
    }
}

fn files_of(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}
