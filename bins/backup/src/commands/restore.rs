//! `backup restore`: brings files back.

use std::time::{Duration, Instant};

use s3backup_core::{Restore, RestoreEvent, RestoreOptions, RestoreReport};

use crate::cli::{self, Common};
use crate::commands::ls::at;
use crate::console;
use crate::exit::{Exit, Stop};
use crate::signals::Interrupts;
use crate::{human, session};

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(2);

pub(crate) async fn run(common: &Common, arguments: &cli::Restore) -> Result<Exit, Stop> {
    let opened = session::open_quietly(common).await?;
    let interrupts = Interrupts::listen(opened.settings.grace)?;
    let options = RestoreOptions::to(&arguments.to)
        .paths(&arguments.paths)
        .at(at(&arguments.when, opened.settings.timezone)?)
        .overwrite(arguments.overwrite)
        .dry_run(arguments.dry_run);
    let report = watch(opened.backup.restore(options), common, arguments.dry_run, &interrupts).await?;
    print_report(&report, common, arguments)?;
    Ok(exit(&report))
}

fn exit(report: &RestoreReport) -> Exit {
    let is_short = report.failed_total > 0 || report.kept > 0;
    let is_nothing = report.restored.files == 0 && report.there.files == 0;
    match (report.interrupted, is_short, report.unmatched.is_empty()) {
        (true, ..) => Exit::Interrupted,
        (false, false, true) => Exit::Success,
        // Nothing of what was asked for is in the backup.
        (false, false, false) if is_nothing => Exit::Failed,
        (false, ..) => Exit::Partial,
    }
}

async fn watch(
    mut restore: Restore,
    common: &Common,
    is_dry: bool,
    interrupts: &Interrupts,
) -> Result<RestoreReport, Stop> {
    let cancel = restore.cancel_token();
    let mut progress = Progress::new(common.quiet);
    loop {
        let event = tokio::select! {
            event = restore.next() => event,
            () = interrupts.first(), if !cancel.is_cancelled() => {
                cancel.cancel();
                continue;
            }
        };
        match event {
            Some(RestoreEvent::Restored { name, bytes }) => {
                if is_dry && !common.json {
                    // A reader that went away ends the printing and not the count.
                    let _ = console::print(&format!("{bytes:>14}  {name}"));
                }
                progress.add(bytes);
            }
            Some(RestoreEvent::There { bytes, .. }) => progress.add(bytes),
            Some(RestoreEvent::Kept { name }) => {
                console::say_warning(&format!(
                    "{name} is there and differs; it is kept (--overwrite replaces it)"
                ));
            }
            Some(RestoreEvent::Failed { failure }) => {
                console::say_error(&format!(
                    "{} [{}] {}",
                    failure.path,
                    failure.kind.as_str(),
                    failure.message
                ));
            }
            Some(_) => {}
            None => break,
        }
    }
    restore.finish().await.map_err(|error| Stop::of(&error))
}

/// Says every two seconds how far it has come.
struct Progress {
    files: u64,
    bytes: u64,
    told: Instant,
    is_quiet: bool,
}

impl Progress {
    fn new(is_quiet: bool) -> Self {
        Self { files: 0, bytes: 0, told: Instant::now(), is_quiet }
    }

    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        if !self.is_quiet && self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            console::say(&format!("restored {} ({})", human::files(self.files), human::size(self.bytes)));
        }
    }
}

fn print_report(report: &RestoreReport, common: &Common, arguments: &cli::Restore) -> Result<(), Stop> {
    if common.json {
        let text = serde_json::to_string(report).map_err(|error| Stop::failed(error.to_string()))?;
        return console::show(&text).map(|_| ());
    }
    let place = arguments.to.display();
    let (files, bytes) = (human::files(report.restored.files), human::size(report.restored.bytes));
    let mut lines = vec![match (arguments.dry_run, report.interrupted) {
        (true, _) => format!("dry run, nothing was written: {files} ({bytes}) would be restored to {place}"),
        (false, true) => format!("interrupted: {files} ({bytes}) are in {place}; do it again to go on"),
        (false, false) => {
            format!("{files} ({bytes}) restored to {place} in {}", human::duration(report.duration_s))
        }
    }];
    if report.there.files > 0 {
        lines.push(format!("  {} were there already", human::files(report.there.files)));
    }
    if report.kept > 0 {
        lines.push(format!("  {} kept, because others of their names are there", human::files(report.kept)));
    }
    if report.failed_total > 0 {
        // Each was named on stderr when it happened.
        lines.push(format!("  {} could not be restored, as named above", human::files(report.failed_total)));
    }
    if !report.unmatched.is_empty() {
        lines.push(format!("  not in the backup: {}", report.unmatched.join(", ")));
    }
    console::show(&lines.join("\n")).map(|_| ())
}
