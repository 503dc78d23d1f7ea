//! The pieces of a job's section that are lists and tables.

use std::fmt::Write as _;

use chrono::{DateTime, FixedOffset, TimeDelta};
use s3backup_model::RunSummary;

use crate::escape::Text;
use crate::human;
use crate::page::{Failures, JobPage, Progress, Running, Trouble};
use crate::verdict::Mood;

/// The most runs that are listed one by one.
const RUNS: usize = 20;

/// The most failures that are listed one by one; the report of the run has more.
const FAILURES: usize = 50;

/// A moment, as a person and a program read it. A line may break between date and time, not within.
pub(crate) fn time(at: DateTime<FixedOffset>) -> String {
    let (date, time) = (at.format("%Y-%m-%d"), at.format("%H:%M"));
    format!("<time datetime=\"{}\"><span>{date}</span> <span>{time}</span></time>", at.to_rfc3339())
}

/// `3 h ago`, `in 22 h`.
fn from_now(at: DateTime<FixedOffset>, now: DateTime<FixedOffset>) -> String {
    let span = at.signed_duration_since(now);
    let words = coarsely(span.abs());
    if span > TimeDelta::zero() { format!("in {words}") } else { format!("{words} ago") }
}

fn coarsely(span: TimeDelta) -> String {
    match (span.num_days(), span.num_hours(), span.num_minutes()) {
        (2.., ..) => format!("{} days", span.num_days()),
        (_, 2.., _) => format!("{} h", span.num_hours()),
        (_, _, minutes) => format!("{minutes} min"),
    }
}

/// What is good to know at a glance.
pub(crate) fn facts(job: &JobPage, now: DateTime<FixedOffset>) -> String {
    let mut out = "<dl class=\"facts\">".to_owned();
    let mut fact = |name: &str, value: &str, more: &str| {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>");
    };
    match &job.last_success {
        Some(run) => {
            let more = format!("{}, took {}", from_now(run.finished_at, now), took(run));
            fact("Last success", &time(run.finished_at), &more);
        }
        None => fact("Last success", "never", ""),
    }
    match (job.next_due, &job.schedule) {
        (Some(next), schedule) => {
            let zone = schedule.as_ref().map_or_else(String::new, |schedule| {
                format!(", <code>{}</code> {}", Text(&schedule.cron), Text(&schedule.timezone))
            });
            fact("Next due", &time(next), &format!("{}{zone}", from_now(next, now)));
        }
        (None, _) => fact("Next due", "no schedule", "runs are started by hand or by others"),
    }
    if let Some(held) = job.held {
        fact("Backed up", &human::files(held.files), &human::size(held.bytes));
    }
    match &job.verified {
        Some(verified) => {
            let differ = match verified.differ {
                0 => "all as expected".to_owned(),
                count => format!("{} not as expected", human::count(count)),
            };
            let more = format!("{}, {differ}", human::files(verified.objects.files));
            fact("Bucket checked", &time(verified.at), &more);
        }
        None => fact("Bucket checked", "never", "<code>backup verify</code> does it"),
    }
    out.push_str("</dl>");
    out
}

fn took(run: &RunSummary) -> String {
    human::duration((run.finished_at - run.started_at).as_seconds_f64().max(0.0))
}

/// The run that goes on.
pub(crate) fn running(running: &Running, now: DateTime<FixedOffset>) -> String {
    let since = format!("{} ({})", time(running.started_at), from_now(running.started_at, now));
    let Some(progress) = running.progress else {
        return format!(
            "<p>Run <code>{}</code> began {since} and has not ended: it goes on, or was killed. The next run does the rest.</p>",
            running.run_id
        );
    };
    let Progress { found, is_found_whole, done, bytes_per_s, failed } = progress;
    let more = if is_found_whole { "" } else { "+" };
    let mut line = format!(
        "{} of {}{more} files, {} of {}{more}, {}/s",
        human::count(done.files),
        human::count(found.files),
        human::size(done.bytes),
        human::size(found.bytes),
        human::size(bytes_per_s)
    );
    if is_found_whole && let Some(seconds) = found.bytes.saturating_sub(done.bytes).checked_div(bytes_per_s) {
        let _ = write!(line, ", about {} left", human::duration(seconds as f64));
    }
    if failed > 0 {
        let _ = write!(line, ", {} not backed up so far", human::count(failed));
    }
    // What is done, by bytes, because files differ; where there are none, by files.
    let (value, max) = if found.bytes > 0 { (done.bytes, found.bytes) } else { (done.files, found.files) };
    format!(
        "<p>Run <code>{}</code> began {since}.</p><progress max=\"{}\" value=\"{value}\" aria-label=\"Progress of the run\"></progress><p>{line}</p>",
        running.run_id,
        max.max(1)
    )
}

/// What people were told of and is not over.
pub(crate) fn troubles(troubles: &[Trouble], waiting: u64) -> String {
    let mut out = String::new();
    if !troubles.is_empty() {
        out.push_str("<ul class=\"troubles\">");
        for trouble in troubles {
            let told =
                if trouble.is_undelivered { " <strong>Nobody could be told yet.</strong>" } else { "" };
            let _ = write!(
                out,
                "<li><span class=\"tag\">{}</span> {} <small>since {}</small>{told}</li>",
                trouble.kind.as_str().replace('_', " "),
                Text(&trouble.headline),
                time(trouble.since)
            );
        }
        out.push_str("</ul>");
    }
    if waiting > 0 {
        let _ = write!(
            out,
            "<p>Alerts that could not be delivered yet: {}. They are tried again; look at the log for the reason.</p>",
            human::count(waiting)
        );
    }
    out
}

/// What went wrong in the last run that was not a success, and whether a later one mended it.
pub(crate) fn failures(failures: &Failures, job: &JobPage) -> String {
    let mut out = format!(
        "<p>Run <code>{}</code> of {} ended as {}.",
        failures.run_id,
        time(failures.started_at),
        failures.outcome.as_str()
    );
    if job.runs.first().is_some_and(|newest| newest.run_id > failures.run_id) {
        out.push_str(" Runs after it were successful.");
    }
    out.push_str("</p>");
    if let Some(fatal) = &failures.fatal {
        let kind = fatal.kind.as_str().replace('_', " ");
        let _ = write!(out, "<p><span class=\"tag\">{kind}</span> {}</p>", Text(&fatal.message));
    }
    if failures.failed.is_empty() {
        return out;
    }
    out.push_str(
        "<table class=\"failures\"><thead><tr><th scope=\"col\">Path</th><th scope=\"col\">What happened</th></tr></thead><tbody>",
    );
    for failure in failures.failed.iter().take(FAILURES) {
        let _ = write!(
            out,
            "<tr><th scope=\"row\"><bdi>{}</bdi></th><td><span class=\"tag\">{}</span> {}</td></tr>",
            Text(&failure.path),
            failure.kind.as_str().replace('_', " "),
            Text(&failure.message)
        );
    }
    out.push_str("</tbody></table>");
    let shown = failures.failed.len().min(FAILURES) as u64;
    if failures.failed_total > shown {
        let left = human::count(failures.failed_total - shown);
        let _ = write!(out, "<p>And {left} more, in the report of the run and in the log.</p>");
    }
    out
}

/// The last runs, newest first.
pub(crate) fn runs(runs: &[RunSummary]) -> String {
    let mut out = "<table class=\"runs\"><thead><tr><th scope=\"col\">Start</th><th scope=\"col\">Outcome</th><th scope=\"col\" class=\"num wide\">Took</th><th scope=\"col\" class=\"num\">Sent</th><th scope=\"col\" class=\"num\">Not backed up</th><th scope=\"col\" class=\"num wide\">Started by</th></tr></thead><tbody>".to_owned();
    for run in runs.iter().take(RUNS) {
        let mood = Mood::from(run.outcome);
        let why = run
            .fatal
            .map_or_else(String::new, |kind| format!(" <small>{}</small>", kind.as_str().replace('_', " ")));
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"{}\"><span class=\"chip\"><span aria-hidden=\"true\">{}</span> {}</span>{why}</td><td class=\"num wide\">{}</td><td class=\"num\">{} <small>{}</small></td><td class=\"num\">{}</td><td class=\"num wide\">{}</td></tr>",
            time(run.started_at),
            mood.class(),
            mood.sign(),
            run.outcome.as_str(),
            took(run),
            human::files(run.uploaded.files),
            human::size(run.uploaded.bytes),
            human::count(run.failed_total),
            run.trigger.as_str()
        );
    }
    out.push_str("</tbody></table>");
    out
}
