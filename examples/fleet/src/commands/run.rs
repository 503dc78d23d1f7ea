//! `fleet run`: all of it, then the upload.

use std::fmt::Write as _;

use s3backup_config::{Loaded, Request};
use s3backup_core::report::human;
use s3backup_core::{Outcome, RunReport};
use s3backup_fleet::day;
use s3backup_fleet::part::Part;
use s3backup_fleet::tables::Table;
use s3backup_fleet::upload::{self, Upload};

use super::statistics::{self, note, publish};
use super::told::Told;
use crate::cli::Run;
use crate::exit::{Exit, Stop};
use crate::output;
use crate::progress::{Progress, per_second};
use crate::session::{Job, Session};

/// Failures of the upload that are named; its report has up to 1,000.
const FAILURES: usize = 20;

pub(crate) fn run(session: &Session, arguments: &Run) -> Result<Exit, Stop> {
    let job = session.job(&arguments.place)?;
    let mut told = Told::new(session);
    if arguments.no_upload || arguments.part.is_some() {
        analyse(session, arguments, &job, &mut told)?;
        return told.finish();
    }
    let request = request(arguments);
    let done = prepare(&request, &job).and_then(|loaded| {
        analyse(session, arguments, &job, &mut told)?;
        Ok(loaded)
    });
    let loaded = match done {
        Ok(loaded) => loaded,
        Err(stop) => return Err(not_started(session, &request, stop)),
    };
    let report = upload(session, loaded, &told)?;
    tell_upload(&mut told, &report)?;
    let exit = told.finish()?;
    Ok(if report.outcome == Outcome::Success { exit } else { report.outcome.into() })
}

/// The tables of every day, or the sum of what parts found.
fn analyse(session: &Session, arguments: &Run, job: &Job, told: &mut Told) -> Result<(), Stop> {
    let part = arguments.part.unwrap_or(Part::WHOLE);
    for day in &job.days {
        let Some(parts) = arguments.merge else {
            statistics::make(session, job, *day, part, &Table::ALL, told)?;
            continue;
        };
        let digest = day::merge(&job.settings, *day, parts)?;
        let written = publish(job, &digest)?;
        told.day(&digest, Part::WHOLE, &written, || statistics::text(&digest), None)?;
    }
    if part == Part::WHOLE { note(told) } else { Ok(()) }
}

/// Looks whether the upload can be, before there is any work that would be for nothing.
fn prepare(request: &Request, job: &Job) -> Result<Loaded, Stop> {
    Ok(Upload::settings(request, &job.settings.data, &job.settings.results)?)
}

/// Tells people of a day of which nothing will be uploaded.
fn not_started(session: &Session, request: &Request, stop: Stop) -> Stop {
    // Whoever ended it knows, and whoever runs it already will tell.
    if !matches!(stop.exit, Exit::Interrupted | Exit::Locked)
        && let Some(why) = session.runtime.block_on(upload::tell_failed(request, stop.message.clone()))
    {
        output::say(&format!("error: nobody was told: {why}"));
    }
    stop
}

fn upload(session: &Session, loaded: Loaded, told: &Told) -> Result<RunReport, Stop> {
    session.runtime.block_on(async {
        let upload = Upload::open(loaded, told.facts(), session.common.quiet).await?;
        let report = watch(session, &upload).await;
        upload.close().await;
        report
    })
}

/// Runs the upload and shows how far it is.
pub(super) async fn watch(session: &Session, upload: &Upload) -> Result<RunReport, Stop> {
    let mut progress = Progress::new(session.common.quiet);
    let mut so_far = s3backup_core::Progress::default();
    let report = upload.run(&session.cancel, |event| {
        so_far.see(event);
        progress.say(|passed| {
            let (done, found) = (human::count(so_far.done.files), human::files(so_far.found.files));
            let rate = human::size(per_second(so_far.bytes(), passed));
            format!("upload: {done} of {found}, {}, {rate}/s", human::size(so_far.bytes()))
        });
    });
    Ok(report.await?)
}

/// Says how the upload went.
fn tell_upload(told: &mut Told, report: &RunReport) -> Result<(), Stop> {
    let value = serde_json::to_value(report).map_err(|error| Stop::failed(error.to_string()))?;
    told.also("upload", value, &summary(report))
}

/// The upload for a person.
pub(super) fn summary(report: &RunReport) -> String {
    let mut text = format!(
        "upload: {} to {}: {} sent ({}), {} there already, {} failed, in {}\n",
        report.outcome.as_str(),
        report.destination,
        human::files(report.uploaded.files),
        human::size(report.uploaded.bytes),
        human::count(report.unchanged.files),
        human::count(report.failed_total),
        human::duration(report.duration_s),
    );
    if let Some(fatal) = &report.fatal {
        let _ = writeln!(text, "  {} ({})", fatal.message, fatal.kind.as_str());
    }
    for failure in report.failed.iter().take(FAILURES) {
        let _ = writeln!(text, "  {} [{}] {}", failure.path, failure.kind.as_str(), failure.message);
    }
    let shown = report.failed.len().min(FAILURES) as u64;
    if report.failed_total > shown {
        let more = human::count(report.failed_total - shown);
        let _ = writeln!(text, "  and {more} more, in the report and the log");
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    text
}

fn request(arguments: &Run) -> Request {
    let mut request = Request::of_process();
    request.file.clone_from(&arguments.backup_config);
    request.job.clone_from(&arguments.job);
    request
}
