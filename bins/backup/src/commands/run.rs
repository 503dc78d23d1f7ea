//! `backup run`: one run now.

use std::io::IsTerminal;
use std::path::PathBuf;

use s3backup_config::{Loaded, Settings};
use s3backup_core::{Backup, Error, FailureKind, Outcome, Run, RunReport, ShardUri, Trigger, line_of};
use s3backup_local_s3::LocalS3;
use s3backup_logging::LoggerManager;
use serde_json::json;

use crate::cli::{self, Common};
use crate::console::{self, Progress};
use crate::exit::{Exit, Stop};
use crate::signals::Interrupts;
use crate::{human, session};

/// Failures that the summary names; the report has up to 1,000.
const FAILURES_SHOWN: usize = 20;

/// What is asked of one run beside what the configuration says.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) trigger: Trigger,
    /// Whether it goes on where it would stop to ask.
    pub(super) force: bool,
    /// Whether the steps ran before.
    pub(super) no_steps: bool,
    /// What is to be said of it.
    pub(super) facts: Option<PathBuf>,
}

pub(crate) async fn run(common: &Common, arguments: &cli::Run) -> Result<Exit, Stop> {
    let asked = Asked {
        trigger: arguments.trigger.into(),
        force: arguments.force,
        no_steps: arguments.no_steps,
        facts: arguments.facts.clone(),
    };
    if let Some(uri) = &arguments.shard {
        return shard(common, asked, uri).await;
    }
    let report = attend(common, asked, Backup::start, report_of).await?;
    print_result(&report, common.json);
    Ok(exit_of(&report))
}

/// `backup steps`: the steps alone.
pub(crate) async fn steps(common: &Common, arguments: &cli::Steps) -> Result<Exit, Stop> {
    let asked = Asked { trigger: arguments.trigger.into(), ..Asked::default() };
    let report = attend(common, asked, Backup::start_steps, report_of).await?;
    if common.json || report.outcome == Outcome::Failed || report.outcome == Outcome::Interrupted {
        print_result(&report, common.json);
    } else {
        for step in &report.steps {
            let message = step.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            let took = human::duration(step.duration_s);
            console::show(&format!("step {}: {} ({took}){message}", step.name, step.state.as_str()))?;
        }
    }
    Ok(exit_of(&report))
}

/// Starts something of a run, watches it to its end, and tells people when it could not even start.
pub(super) async fn attend<T, R>(
    common: &Common,
    asked: Asked,
    start: impl FnOnce(&Backup) -> Run<T>,
    finish: impl AsyncFnOnce(Run<T>) -> Result<R, Error>,
) -> Result<R, Stop> {
    let loaded = match session::load(common) {
        Ok(loaded) => loaded,
        Err(stop) => return Err(not_started(common, stop).await),
    };
    // Listens to the very end: the log and the report must not hang either.
    let interrupts = Interrupts::listen(loaded.settings.grace)?;
    match attend_with_log(common, asked, loaded, &interrupts, start, finish).await {
        Ok(result) => Ok(result),
        // Whoever runs it already will tell how it ends.
        Err(stop) if stop.exit == Exit::Locked => {
            print_not_started(common, &stop);
            Err(stop)
        }
        Err(stop) => Err(not_started(common, stop).await),
    }
}

/// A worker's part. Whoever commits the run tells how it ended.
async fn shard(common: &Common, asked: Asked, uri: &ShardUri) -> Result<Exit, Stop> {
    let working = async {
        let loaded = session::load_for(common, uri)?;
        let interrupts = Interrupts::listen(loaded.settings.grace)?;
        let start = |backup: &Backup| backup.start_shard(uri);
        attend_with_log(common, asked, loaded, &interrupts, start, report_of).await
    };
    let report = working.await.inspect_err(|stop| print_not_started(common, stop))?;
    print_result(&report, common.json);
    Ok(exit_of(&report))
}

/// The report of a run, also of one that failed.
async fn report_of(run: Run) -> Result<RunReport, Error> {
    match run.finish().await {
        Err(Error::Failed(report)) => Ok(*report),
        ended => ended,
    }
}

/// A success of which nobody can be told is not all that a run is for: somebody must look.
pub(super) fn exit_of(report: &RunReport) -> Exit {
    match Exit::from(report.outcome) {
        Exit::Success if report.alerts.as_ref().is_some_and(|alerts| alerts.refused > 0) => Exit::Partial,
        exit => exit,
    }
}

/// Tells of a run that could not even start.
pub(super) async fn not_started(common: &Common, stop: Stop) -> Stop {
    session::alert_failed_start(common, &stop).await;
    print_not_started(common, &stop);
    stop
}

/// The one JSON document that a script waits for.
fn print_not_started(common: &Common, stop: &Stop) {
    if common.json {
        let fatal = json!({ "kind": FailureKind::Other, "message": &stop.message });
        // Nobody reads it when stdout is closed; the exit code says the same.
        let _ =
            console::print(&json!({ "schema": 1, "outcome": Outcome::Failed, "fatal": fatal }).to_string());
    }
}

async fn attend_with_log<T, R>(
    common: &Common,
    asked: Asked,
    loaded: Loaded,
    interrupts: &Interrupts,
    start: impl FnOnce(&Backup) -> Run<T>,
    finish: impl AsyncFnOnce(Run<T>) -> Result<R, Error>,
) -> Result<R, Stop> {
    let mut settings = loaded.settings;
    let mut progress = Progress::new(common.quiet);
    let log = session::start_log(&settings, common, &progress);
    for warning in &loaded.warnings {
        log.warning(warning);
    }
    session::warn_of_own_files(&settings, &log);
    progress.start(log.logger());
    let started = begin(asked, &mut settings, &log, start).await;
    let result = match started {
        Ok((mut run, server)) => {
            watch(&mut run, &progress, interrupts).await;
            let result = finish(run).await.map_err(|error| Stop::of(&error));
            if let Some(server) = server {
                server.shutdown().await;
            }
            result
        }
        Err(stop) => Err(stop),
    };
    if let Err(stop) = &result {
        log.error(&stop.message);
    }
    drop(progress);
    log.finish();
    result
}

async fn begin<T>(
    asked: Asked,
    settings: &mut Settings,
    log: &LoggerManager,
    start: impl FnOnce(&Backup) -> Run<T>,
) -> Result<(Run<T>, Option<LocalS3>), Stop> {
    let server = session::start_embedded(settings).await?;
    if asked.no_steps {
        settings.steps.clear();
    }
    let mut builder = settings
        .backup(asked.trigger)
        .logger(log.logger())
        .force(asked.force)
        // Whoever pressed Ctrl-C knows.
        .alert_when_interrupted(!std::io::stderr().is_terminal());
    if let Some(path) = log.info_log_path() {
        builder = builder.log_location(path.display().to_string());
    }
    if let Some(path) = asked.facts {
        builder = builder.facts_file(path);
    }
    let backup = builder.build().map_err(|error| Stop::usage(line_of(&error)))?;
    Ok((start(&backup), server))
}

/// Shows what happens until nothing more does, and hands on the first interruption.
async fn watch<T>(run: &mut Run<T>, progress: &Progress, interrupts: &Interrupts) {
    let cancel = run.cancel_token();
    loop {
        let event = tokio::select! {
            event = run.next() => event,
            () = interrupts.first(), if !cancel.is_cancelled() => {
                cancel.cancel();
                continue;
            }
        };
        match event {
            Some(event) => progress.see(&event),
            None => return,
        }
    }
}

/// Prints the result. That it cannot be printed changes nothing about the run, and so nothing about the exit code.
pub(super) fn print_result(report: &RunReport, json: bool) {
    match print_report(report, json) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            console::say_error(&format!("cannot print the report: {error}"));
        }
        _ => {}
    }
}

/// One JSON document, or a summary for a person.
fn print_report(report: &RunReport, json: bool) -> std::io::Result<()> {
    if json {
        return console::print(&serde_json::to_string(report)?);
    }
    for line in summary(report) {
        console::print(&line)?;
    }
    Ok(())
}

pub(crate) fn summary(report: &RunReport) -> Vec<String> {
    let row = |name: &str, files: u64, rest: String| {
        format!("  {name:<14}{:>12}  {rest}", human::count(files)).trim_end().to_owned()
    };
    let mut lines = vec![headline(report)];
    if let Some(fatal) = &report.fatal {
        lines.push(format!("  {} ({})", fatal.message, fatal.kind.as_str()));
    }
    let rate = format!("{}, {}/s", human::size(report.uploaded.bytes), human::size(report.bytes_per_s));
    lines.push(row("uploaded", report.uploaded.files, rate));
    lines.push(row("already there", report.unchanged.files, human::size(report.unchanged.bytes)));
    if report.gone.files > 0 {
        lines.push(row(
            "gone",
            report.gone.files,
            format!("{}, kept in the bucket", human::size(report.gone.bytes)),
        ));
    }
    lines.push(row("skipped", report.skipped.files, reasons(report)));
    lines.push(row("failed", report.failed_total, retries(report)));
    for failure in report.failed.iter().take(FAILURES_SHOWN) {
        lines.push(format!("    {} [{}] {}", failure.path, failure.kind.as_str(), failure.message));
    }
    let shown = report.failed.len().min(FAILURES_SHOWN) as u64;
    if report.failed_total > shown {
        lines.push(format!(
            "    and {} more, in the report and the log",
            human::count(report.failed_total - shown)
        ));
    }
    for step in report.steps.iter().filter(|step| step.message.is_some()) {
        lines.push(format!("  step {}: {}", step.name, step.message.as_deref().unwrap_or_default()));
    }
    lines.extend(report.facts.iter().map(|fact| format!("  {}: {}", fact.label, fact.value)));
    let made_up = report.made_up_for();
    if !made_up.is_empty() {
        lines.push(format!("  made up for due times: {}", made_up.join(", ")));
    }
    lines.extend(report.warnings.iter().map(|warning| format!("  warning: {warning}")));
    lines
}

fn headline(report: &RunReport) -> String {
    let took = human::duration(report.duration_s);
    let place = &report.destination;
    match report.outcome {
        Outcome::Success => match report.shard {
            Some(shard) => format!("success: every file of shard {shard} is in {place} ({took})"),
            None => format!("success: every selected file is in {place} ({took})"),
        },
        Outcome::Partial if report.failed_total == 0 => {
            format!("partial: every selected file is in {place}, and a step did not succeed ({took})")
        }
        Outcome::Partial => format!("partial: the run ended after {took}, and not all of it is in {place}"),
        Outcome::Failed => format!("failed after {took}"),
        Outcome::Interrupted => format!("interrupted after {took}; what was finished is in {place}"),
    }
}

fn reasons(report: &RunReport) -> String {
    let by = &report.skipped.by_reason;
    let named = [
        ("excluded", by.excluded),
        ("too young", by.too_young),
        ("special", by.special),
        ("symlink", by.symlink),
        ("not selected", by.not_selected),
    ];
    let named = named.iter().filter(|(_, count)| *count > 0);
    named.map(|(name, count)| format!("{name} {}", human::count(*count))).collect::<Vec<_>>().join(", ")
}

fn retries(report: &RunReport) -> String {
    if report.retries == 0 {
        String::new()
    } else {
        format!("requests sent again: {}", human::count(report.retries))
    }
}
