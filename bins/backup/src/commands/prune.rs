//! `backup prune`: what no rule keeps goes.

use s3backup_config::{Prune as Settings, Settings as Job};
use s3backup_core::options::PruneRules;
use s3backup_core::{
    Backup, Prune, PruneItem, PruneOptions, PruneReport, PruneState, Tally, Trigger, line_of,
};
use s3backup_logging::LoggerManager;
use serde_json::json;

use crate::cli::{self, Common};
use crate::console::{self, Progress};
use crate::exit::{Exit, Stop};
use crate::signals::Interrupts;
use crate::{human, session};

pub(crate) async fn run(common: &Common, arguments: &cli::Prune) -> Result<Exit, Stop> {
    let loaded = session::load(common)?;
    for warning in &loaded.warnings {
        console::say_warning(warning);
    }
    let mut job = loaded.settings;
    let Some(settings) = job.prune else {
        return Err(Stop::usage(
            "[prune] is missing in the configuration, and nothing is ever deleted without a rule: set keep_daily, keep_monthly or local_after in it",
        ));
    };
    let interrupts = Interrupts::listen(job.grace)?;
    let progress = Progress::new(true);
    let log = start_log(&job, common, arguments, &progress);
    let result = prune(common, arguments, &mut job, &settings, &log, &interrupts).await;
    if let Err(stop) = &result {
        log.error(&stop.message);
    }
    log.finish();
    result
}

/// What is deleted is told in the log files; a dry run leaves them alone.
fn start_log(job: &Job, common: &Common, arguments: &cli::Prune, progress: &Progress) -> LoggerManager {
    if !arguments.dry_run {
        return session::start_log(job, common, progress);
    }
    LoggerManager::builder(job.job.as_str())
        .dir(None)
        .console_level(s3backup_logging::Level::Error)
        .console(progress.log_console())
        .build()
}

async fn prune(
    common: &Common,
    arguments: &cli::Prune,
    job: &mut Job,
    settings: &Settings,
    log: &LoggerManager,
    interrupts: &Interrupts,
) -> Result<Exit, Stop> {
    let server = session::start_embedded(job).await?;
    let backup = job.backup(Trigger::Manual).logger(log.logger()).build();
    let backup: Backup = backup.map_err(|error| Stop::usage(line_of(&error)))?;
    let options = PruneOptions::default().dry_run(arguments.dry_run).force(arguments.force);
    let ended = watch(backup.prune(rules(settings), options), common, interrupts).await;
    if let Some(server) = server {
        server.shutdown().await;
    }
    let report = ended?;
    print_report(&report, common.json)?;
    Ok(exit(&report))
}

fn rules(settings: &Settings) -> PruneRules {
    let mut rules = PruneRules::default();
    rules.keep_daily = settings.keep_daily;
    rules.keep_monthly = settings.keep_monthly;
    rules.local_after = settings.local_after;
    rules
}

/// That something in the bucket is not as it should be is a failure, whatever else went well.
fn exit(report: &PruneReport) -> Exit {
    if report.interrupted {
        Exit::Interrupted
    } else if report.refused.is_some() || report.differ > 0 {
        Exit::Failed
    } else {
        Exit::Success
    }
}

/// Prints each thing as it goes. A reader that went away changes nothing about what goes.
async fn watch(mut prune: Prune, common: &Common, interrupts: &Interrupts) -> Result<PruneReport, Stop> {
    let cancel = prune.cancel_token();
    let mut is_read = true;
    loop {
        let item = tokio::select! {
            item = prune.next() => item,
            () = interrupts.first(), if !cancel.is_cancelled() => {
                cancel.cancel();
                continue;
            }
        };
        let Some(item) = item else { break };
        is_read = is_read && print_item(&item, common.json).is_ok();
    }
    prune.finish().await.map_err(|error| Stop::of(&error))
}

fn print_item(item: &PruneItem, as_json: bool) -> std::io::Result<()> {
    if as_json {
        return console::print(&serde_json::to_string(item)?);
    }
    let word = match item.state {
        PruneState::WouldGo => "would delete",
        PruneState::Removed => "deleted",
        PruneState::Left => "left",
        _ => "LEFT",
    };
    let what = match (&item.path, &item.version_id) {
        (Some(path), _) => path.clone(),
        (None, Some(version)) => format!("{} (version {version})", item.key),
        (None, None) => item.key.to_string(),
    };
    let (kind, size) = (item.kind.as_str(), human::size(item.bytes));
    console::print(&format!("{word}  {kind:<7}  {what}  {size}: {}", item.reason))
}

fn print_report(report: &PruneReport, as_json: bool) -> Result<(), Stop> {
    let lines = if as_json { vec![json!({ "summary": report }).to_string()] } else { summary(report) };
    for line in lines {
        match console::print(&line) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(Stop::failed(format!("cannot print the result: {error}")));
            }
            _ => {}
        }
    }
    Ok(())
}

fn summary(report: &PruneReport) -> Vec<String> {
    let mut lines: Vec<String> =
        report.kept.iter().map(|run| format!("keeps  {}  {}", run.run_id, run.reasons.join(", "))).collect();
    let verb = if report.dry_run { "dry run, nothing was deleted; would delete" } else { "deleted" };
    let part = |tally: Tally, one: &str, many: &str| {
        let name = if tally.files == 1 { one } else { many };
        format!("{} {name} ({})", human::count(tally.files), human::size(tally.bytes))
    };
    let mut line = format!(
        "{verb}: {} of {}, {}, {}",
        part(report.objects, "object", "objects"),
        human::count(report.known.files),
        part(report.control, "piece of control data", "pieces of control data"),
        part(report.local, "local file", "local files"),
    );
    if report.left > 0 {
        line = format!("{line}; {} left", human::count(report.left));
    }
    if report.interrupted {
        line = format!("interrupted; {line}");
    }
    lines.push(line);
    if let Some(why) = &report.refused {
        lines.push(format!("refused: {why}"));
    }
    if report.differ > 0 {
        lines.push(format!(
            "{} objects are not in the bucket as they should be: run `backup verify`",
            human::count(report.differ)
        ));
    }
    lines
}
