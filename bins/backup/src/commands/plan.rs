//! `backup plan` and `backup run --dry-run`: what a run would do.

use std::io;

use s3backup_core::{Backup, Error, Planned, Run, ShardOptions, ShardedPlan, Tally, key, line_of};
use serde_json::json;

use super::run;
use crate::cli::{self, Common};
use crate::console;
use crate::exit::{Exit, Stop};
use crate::{human, session};

/// Counts of a plan.
#[derive(Default)]
struct Counts {
    upload: Tally,
    /// Known to be in the bucket as they are.
    unchanged: Tally,
    skipped: u64,
    failed: u64,
    missing: Vec<String>,
}

impl Counts {
    fn add(&mut self, line: &Planned) {
        match line {
            Planned::Upload { entry, .. } => self.upload.add(entry.stat.size),
            Planned::Skip { .. } => self.skipped += 1,
            Planned::Fail(_) => self.failed += 1,
            Planned::MissingSource { message, .. } => self.missing.push(message.clone()),
            _ => {}
        }
    }

    /// What the run would end with, as far as it can be seen before.
    fn exit(&self) -> Exit {
        match (self.missing.is_empty(), self.failed) {
            (false, _) => Exit::Failed,
            (true, 0) => Exit::Success,
            (true, _) => Exit::Partial,
        }
    }
}

pub(crate) async fn run(common: &Common, arguments: &cli::Plan) -> Result<Exit, Stop> {
    match arguments.shards {
        Some(shards) => deal_out(common, arguments, shards).await,
        None => show_all(common).await,
    }
}

/// Begins a run for many workers and prints what names its shards.
async fn deal_out(common: &Common, arguments: &cli::Plan, shards: u32) -> Result<Exit, Stop> {
    let mut options = ShardOptions::new(shards);
    (options.out, options.expires) = (arguments.out.clone(), arguments.expires);
    let asked =
        run::Asked { trigger: arguments.trigger.into(), force: arguments.force, ..run::Asked::default() };
    let start = |backup: &Backup| backup.start_plan(options);
    let planned = run::attend(common, asked, start, async |run: Run<ShardedPlan>| match run.finish().await {
        Ok(plan) => Ok(Ok(plan)),
        Err(Error::Failed(report)) => Ok(Err(report)),
        Err(error) => Err(error),
    });
    let plan = match planned.await? {
        Ok(plan) => plan,
        Err(report) => {
            run::print_result(&report, common.json);
            return Ok(run::exit_of(&report));
        }
    };
    // Who cannot read them cannot start the workers, and must hear of it.
    if common.json {
        console::print(&serde_json::to_string(&plan).map_err(io::Error::from).map_err(printing)?)
            .map_err(printing)?;
    } else {
        for shard in &plan.shards {
            console::print(&shard.uri).map_err(printing)?;
        }
    }
    Ok(Exit::Success)
}

/// Prints every line of the plan: for a person, or as JSON lines.
async fn show_all(common: &Common) -> Result<Exit, Stop> {
    let counts = walk(common, |line| console::print(&render(line, common.json))).await?;
    let unchanged = counts.unchanged;
    if common.json {
        let line = json!({ "action": "unchanged", "files": unchanged.files, "bytes": unchanged.bytes });
        console::show(&line.to_string())?;
    } else if unchanged.files > 0 {
        let (files, bytes) = (human::files(unchanged.files), human::size(unchanged.bytes));
        console::show(&format!("unchanged {files} ({bytes})"))?;
    }
    Ok(counts.exit())
}

/// Prints what a run would do, in short: for a person, or as one JSON document.
pub(crate) async fn dry_run(common: &Common) -> Result<Exit, Stop> {
    let counts = walk(common, |line| {
        if common.json || matches!(line, Planned::Skip { .. }) {
            Ok(())
        } else {
            console::print(&render(line, false))
        }
    })
    .await?;
    let summary = if common.json {
        json!({
            "dry_run": true,
            "would_upload": counts.upload,
            "unchanged": counts.unchanged,
            "skipped": counts.skipped,
            "failed": counts.failed,
            "missing_sources": counts.missing,
        })
        .to_string()
    } else {
        format!(
            "dry run, nothing was done: {} ({}) would be uploaded, {} unchanged, {} skipped, {} could not be backed up",
            human::files(counts.upload.files),
            human::size(counts.upload.bytes),
            human::count(counts.unchanged.files),
            human::files(counts.skipped),
            human::count(counts.failed),
        )
    };
    console::print(&summary).map_err(printing)?;
    Ok(counts.exit())
}

async fn walk(common: &Common, mut show: impl FnMut(&Planned) -> io::Result<()>) -> Result<Counts, Stop> {
    let loaded = session::load(common)?;
    for warning in &loaded.warnings {
        console::say_warning(warning);
    }
    let settings = loaded.settings;
    let log = session::quiet_log(&settings);
    let backup = settings.backup(s3backup_core::Trigger::Manual).logger(log.logger()).build();
    let backup = backup.map_err(|error| Stop::usage(line_of(&error)))?;
    let mut plan = backup.plan().await.map_err(|error| Stop::of(&error))?;
    let mut counts = Counts::default();
    while let Some(batch) = plan.next().await {
        let batch = batch.map_err(|error| Stop::of(&error))?;
        counts.unchanged.merge(batch.unchanged);
        for line in &batch.lines {
            counts.add(line);
            match show(line) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(counts),
                shown => shown.map_err(printing)?,
            }
        }
    }
    Ok(counts)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn printing(error: io::Error) -> Stop {
    Stop::failed(format!("cannot print the plan: {error}"))
}

fn render(line: &Planned, as_json: bool) -> String {
    match (line, as_json) {
        (Planned::Upload { entry, key, reason, .. }, true) => json!({
            "action": "upload", "path": path_of(entry), "key": key, "bytes": entry.stat.size, "reason": reason.as_str(),
        }).to_string(),
        (Planned::Upload { entry, key, reason, .. }, false) => {
            let size = human::size(entry.stat.size);
            format!("upload  {} -> {key} ({size}, {})", path_of(entry), reason.as_str())
        }
        (Planned::Skip { path, reason }, true) => {
            json!({ "action": "skip", "path": path, "reason": reason.as_str() }).to_string()
        }
        (Planned::Skip { path, reason }, false) => format!("skip    {path} ({})", reason.as_str()),
        (Planned::Fail(failure), true) => json!({
            "action": "fail", "path": failure.path, "kind": failure.kind, "message": failure.message,
        }).to_string(),
        (Planned::Fail(failure), false) => {
            format!("FAIL    {} [{}] {}", failure.path, failure.kind.as_str(), failure.message)
        }
        (Planned::MissingSource { message, .. }, true) => {
            json!({ "action": "missing_source", "message": message }).to_string()
        }
        (Planned::MissingSource { message, .. }, false) => format!("FAIL    {message}"),
        _ => String::new(),
    }
}

/// The path escaped as keys are: one line whatever is in it.
fn path_of(entry: &s3backup_core::Entry) -> String {
    use std::os::unix::ffi::OsStrExt;
    key::escape(entry.path().as_os_str().as_bytes())
}
