//! `backup status`: how the backup stands.

use std::fmt::Write as _;

use chrono::{DateTime, Offset as _, Utc};
use s3backup_core::{Outcome, RunSummary, Status};

use crate::cli::{self, Common};
use crate::console;
use crate::exit::{Exit, Stop};
use crate::{human, session};

/// Runs before the last that a trend is made of.
const TREND_RUNS: usize = 7;

pub(crate) async fn run(common: &Common, arguments: &cli::Status) -> Result<Exit, Stop> {
    let opened = session::open_quietly(common).await?;
    let backup = &opened.backup;
    if arguments.rebuild {
        let rebuilt = backup.rebuild().await.map_err(|error| Stop::of(&error))?;
        let text = if common.json {
            serde_json::to_string(&rebuilt).map_err(|error| Stop::failed(error.to_string()))?
        } else {
            format!(
                "the catalog was made again from the bucket: {} ({}), from {} runs and {} lines. The backup belongs to this machine now: one that still backs up under the same name needs another `host`",
                human::files(rebuilt.files.files),
                human::size(rebuilt.files.bytes),
                human::count(rebuilt.runs),
                human::count(rebuilt.lines)
            )
        };
        return console::show(&text);
    }
    let status = backup.status().await.map_err(|error| Stop::of(&error))?;
    let past = backup.history(TREND_RUNS + 1).await.map_err(|error| Stop::of(&error))?;
    let summaries: Vec<RunSummary> = past.into_iter().filter_map(|run| run.summary).collect();
    let text = if common.json {
        serde_json::to_string(&status).map_err(|error| Stop::failed(error.to_string()))?
    } else {
        text_of(&status, &summaries)
    };
    console::show(&text)
}

fn text_of(status: &Status, runs: &[RunSummary]) -> String {
    let mut out = format!("{} on {} to {}\n", status.job, status.host, status.destination);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<14}{value}");
    };
    row("last run", status.last_run.as_ref().map_or_else(|| "none has ended".to_owned(), one_line));
    match &status.last_success {
        Some(run) if status.last_run.as_ref().is_some_and(|last| last.outcome != Outcome::Success) => {
            row("last success", one_line(run));
        }
        Some(_) => {}
        None => row("last success", "never".to_owned()),
    }
    if let Some(run) = &status.unfinished {
        row("unfinished", format!("{run} goes on, or was killed; the next run does the rest"));
    }
    if let Some(files) = status.files {
        row("backed up", format!("{} ({})", human::files(files.files), human::size(files.bytes)));
    }
    if let Some(open @ 1..) = status.open_uploads {
        row("open uploads", format!("{}, which the next run goes on with", human::count(open)));
    }
    if let Some(next) = status.next_due {
        row("next due", next.format("%Y-%m-%d %H:%M %:z").to_string());
    }
    let open = status.due.iter().filter(|due| !matches!(due.state.as_str(), "met" | "caught_up"));
    let open: Vec<String> =
        open.map(|due| format!("{} {}", due.at.format("%Y-%m-%d %H:%M"), due.state.as_str())).collect();
    if !open.is_empty() {
        row("not met", open.join(", "));
    }
    if let Some(verified) = &status.verified {
        let differ = if verified.differ == 0 {
            "all as it should be".to_owned()
        } else {
            format!("{} differ", verified.differ)
        };
        let at = verified.at.format("%Y-%m-%d %H:%M");
        row("verified", format!("{at}: {}, {differ}", human::files(verified.objects.files)));
    }
    for trouble in &status.alerts.open {
        let told = if trouble.told_at.is_some() { "" } else { ", not told" };
        row("trouble", format!("since {}{told}: {}", minute(trouble.since, status), trouble.headline));
    }
    if let Some(alerts) = undelivered(status) {
        row("alerts", alerts);
    }
    if let Some(until) = status.alerts.silent_until {
        row(
            "silence",
            format!("no alerts until {}; end it with `backup silence --off`", minute(until, status)),
        );
    }
    if let Some(trend) = trend(runs) {
        row("trend", trend);
    }
    row("read from", status.source.clone());
    out.truncate(out.trim_end().len());
    out
}

/// Alerts that nobody was told, since when and why, with what to do.
fn undelivered(status: &Status) -> Option<String> {
    let delivery = &status.alerts.delivery;
    let since = delivery.failing_since?;
    let count = human::count(delivery.waiting.max(delivery.refused));
    let why = delivery.why.as_deref().unwrap_or("the reason is in the log");
    let mend =
        if delivery.refused > 0 { ". See whether it is mended with `backup slack --test`" } else { "" };
    Some(format!("{count} could not be delivered since {}: {why}{mend}", minute(since, status)))
}

/// A moment, in the zone of the job's runs.
fn minute(at: DateTime<Utc>, status: &Status) -> String {
    let offset = status.last_run.as_ref().map_or_else(|| Utc.fix(), |run| *run.started_at.offset());
    at.with_timezone(&offset).format("%Y-%m-%d %H:%M").to_string()
}

pub(super) fn one_line(run: &RunSummary) -> String {
    let duration = (run.finished_at - run.started_at).as_seconds_f64();
    let mut line = format!(
        "{} {} ({}), {} uploaded ({})",
        run.started_at.format("%Y-%m-%d %H:%M:%S"),
        run.outcome.as_str(),
        human::duration(duration),
        human::files(run.uploaded.files),
        human::size(run.uploaded.bytes)
    );
    if run.failed_total > 0 {
        let _ = write!(line, ", {} failed", human::count(run.failed_total));
    }
    if let Some(fatal) = run.fatal {
        let _ = write!(line, ", {}", fatal.as_str());
    }
    line
}

/// The last run beside the middle of those before it.
fn trend(runs: &[RunSummary]) -> Option<String> {
    let (last, before) = runs.split_first()?;
    let mut bytes: Vec<u64> = before.iter().map(|run| run.uploaded.bytes).collect();
    let mut found: Vec<u64> = before.iter().map(|run| run.found.files).collect();
    if bytes.is_empty() {
        return None;
    }
    bytes.sort_unstable();
    found.sort_unstable();
    Some(format!(
        "{} found and {} uploaded; in the {} runs before usually {} and {}",
        human::files(last.found.files),
        human::size(last.uploaded.bytes),
        before.len(),
        human::files(found[found.len() / 2]),
        human::size(bytes[bytes.len() / 2])
    ))
}
