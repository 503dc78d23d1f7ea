//! What a run has to tell: when it begins, when it takes long, when it ends, and when it cannot begin.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_catalog::{Catalog, DestinationId, Error as CatalogError, Telling};
use s3backup_model::{AlertKind, RunId, RunReport, RunSummary};
use slog::error;
use tokio_util::sync::CancellationToken;

use super::{RUNS, by_deadline, delta, late, subject, unfinished};
use crate::alert::{self, news};
use crate::backup::Job;
use crate::due::Duty;
use crate::memory::Shared;
use crate::outbox::Outbox;
use crate::shrunk::{self, Verdict};
use crate::telling::Teller;
use crate::{Error, ending, line_of};

/// A run that holds the job for longer is trouble, where the schedule does not say how long one may take.
const LONGEST_RUN: TimeDelta = TimeDelta::hours(10);

/// What there is to tell when a run begins, under the job's lock: that the one before it was killed, and, if it does not
/// succeed, that a due time was missed.
pub(crate) fn at_start(
    catalog: &Catalog,
    job: &Job,
    destination: DestinationId,
    duty: &Duty,
    now: DateTime<Utc>,
) -> Result<Telling, CatalogError> {
    let mut teller = Teller::look(catalog, &job.audience, now)?;
    let subject = subject(job, now);
    if let Some(run) = unfinished(catalog, destination)? {
        let started_at = ending::local(job, run.started_at);
        let due = duty.newest_until(run.started_at).unwrap_or(run.started_at);
        teller.run_is_over(subject.at);
        teller.notice(due, news::killed(&subject, &run.run, started_at));
    } else if let Some(options) = &job.schedule
        && let Some(due) = duty.oldest_until(by_deadline(options, now))
    {
        let kinds = [AlertKind::Failed, AlertKind::Partial, AlertKind::Late];
        if kinds.iter().all(|kind| teller.open(*kind).is_none()) {
            teller.notice_quietly(due.at, late(catalog, job, destination, options, due, now)?);
        }
    }
    Ok(teller.done())
}

/// Stores that a run takes longer than usual.
pub(crate) fn long_running(
    catalog: &mut Catalog,
    job: &Job,
    run: &RunId,
    due: DateTime<Utc>,
    started_at: DateTime<Utc>,
    warn_after: Duration,
) -> Result<(), CatalogError> {
    let now = (job.clock)();
    let mut teller = Teller::look(catalog, &job.audience, now)?;
    let started_at = ending::local(job, started_at);
    teller.notice(due, news::long_running(&subject(job, now), run, started_at, warn_after));
    catalog.tell(&teller.done(), now)
}

/// What there is to tell when a run ends.
pub(crate) fn at_end(
    catalog: &Catalog,
    job: &Job,
    destination: DestinationId,
    report: &RunReport,
    is_wanted: bool,
) -> Result<Telling, CatalogError> {
    let mut teller = Teller::look(catalog, &job.audience, report.finished_at.to_utc())?;
    if is_wanted {
        let mut alert = alert::of_run(report, job.log_location.as_deref());
        let schedule = job.schedule.as_ref().map(|options| &options.schedule);
        if let Some(next) = schedule.and_then(|schedule| schedule.next(report.finished_at.to_utc())) {
            let at = ending::local(job, next.at);
            alert.facts.push(("Next due".to_owned(), at.format("%Y-%m-%d %H:%M").to_string()));
        }
        teller.run(report, alert, size(catalog, job, destination, report)?);
    } else {
        teller.run_is_over(report.finished_at);
    }
    Ok(teller.done())
}

/// What is thought of how much a run found.
fn size(
    catalog: &Catalog,
    job: &Job,
    destination: DestinationId,
    report: &RunReport,
) -> Result<Verdict, CatalogError> {
    let rows = catalog.runs(destination, RUNS)?;
    let past = rows.iter().filter_map(|row| row.summary.as_ref());
    Ok(shrunk::judge_run(&RunSummary::from(report), past, job.schedule.is_some()))
}

/// Tells of a run that cannot start because another has held the job for longer than a run may take. What goes wrong here is
/// logged: the caller has a reason of its own to end.
pub(crate) async fn look_at_lock(job: &Arc<Job>, holder: &str) {
    if let Err(error) = tell_of_lock(job, holder.to_owned()).await {
        error!(job.logger(), "nobody is told that the job is locked"; "why" => line_of(&error));
    }
}

async fn tell_of_lock(job: &Arc<Job>, holder: String) -> Result<(), Error> {
    let Some(catalog) = Shared::beside(job).await? else { return Ok(()) };
    let asked = Arc::clone(job);
    let is_told = catalog.with(move |catalog| {
        let job = asked;
        let now = (job.clock)();
        let destination = catalog.destination(job.server(), &job.bucket, job.naming.destination())?;
        let longest = job.schedule.as_ref().map_or(LONGEST_RUN, |options| delta(options.max_runtime));
        let Some(run) = unfinished(catalog, destination)?.filter(|run| now - run.started_at > longest) else {
            return Ok(false);
        };
        let mut teller = Teller::look(catalog, &job.audience, now)?;
        teller.notice(run.started_at, news::locked(&subject(&job, now), &holder, run.started_at));
        catalog.tell(&teller.done(), now)?;
        Ok(true)
    });
    if is_told.await? {
        Outbox::of(job, catalog.clone()).deliver(&CancellationToken::new()).await?;
    }
    Ok(())
}
