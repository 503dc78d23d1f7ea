//! Making the run report, storing it, and telling people.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, FixedOffset, Utc};
use s3backup_catalog::Catalog;
use s3backup_model::{FailureKind, Fatal, Latest, Outcome, RunId, RunReport, RunState, RunSummary, Tally};
use s3backup_transfer::Bucket;
use tokio::sync::Mutex;

use crate::Error;
use crate::backup::Job;
use crate::error::line_of;
use crate::events::Emitter;
use crate::latest::Beacon;
use crate::memory::Shared;
use crate::outbox::{Delivery, Outbox};
use crate::record::Shelf;
use crate::run::Run;
use crate::{overview, snapshot, start, trouble};

/// The report of a run of which nothing is known yet.
pub(crate) fn empty(job: &Job, run_id: RunId, started_at: DateTime<FixedOffset>) -> RunReport {
    RunReport {
        schema: RunReport::SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id,
        job: job.name.clone(),
        host: job.host.clone(),
        destination: job.destination_url(),
        trigger: job.trigger,
        shard: None,
        outcome: Outcome::Failed,
        started_at,
        finished_at: started_at,
        due: Vec::new(),
        steps: Vec::new(),
        facts: Vec::new(),
        sources: Vec::new(),
        found: Tally::default(),
        uploaded: s3backup_model::Uploaded::default(),
        unchanged: Tally::default(),
        gone: Tally::default(),
        skipped: s3backup_model::Skipped::default(),
        failed: Vec::new(),
        failed_total: 0,
        retries: 0,
        resumed_parts: 0,
        verified: None,
        duration_s: 0.0,
        bytes_per_s: 0,
        warnings: Vec::new(),
        fatal: None,
        manifests: Vec::new(),
        alerts: None,
    }
}

/// When a run began, by two clocks: the one that people read, and the one that only goes forward.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    pub(crate) at: DateTime<Utc>,
    pub(crate) instant: Instant,
}

/// A moment in the job's time zone.
pub(crate) fn local(job: &Job, at: DateTime<Utc>) -> DateTime<FixedOffset> {
    at.with_timezone(&job.timezone).fixed_offset()
}

/// Says in the report when it ended, how long it took, and how fast it was.
pub(crate) fn time(job: &Job, begun: Begun, report: &mut RunReport) {
    let duration = begun.instant.elapsed();
    report.finished_at = local(job, (job.clock)());
    report.duration_s = (duration.as_secs_f64() * 1000.0).round() / 1000.0;
    let millis = duration.as_millis().max(1);
    report.bytes_per_s = u64::try_from(u128::from(report.uploaded.bytes) * 1000 / millis).unwrap_or(u64::MAX);
}

impl Run<'_> {
    /// Puts all that is known into the report.
    pub(crate) fn seal(&self, report: &mut RunReport) {
        self.record.fill(report);
        report.due = self.duty.settled(report.outcome);
        report.verified.clone_from(&self.verified);
        time(self.job, self.begun, report);
    }

    /// Stores the last segment of the manifest and then the report, so that a report's presence means that all it speaks of
    /// is there; then the catalog learns it, and last `latest.json`, which may lag and never runs ahead. `report` is then
    /// what was stored, unless storing failed.
    pub(crate) async fn store(&mut self, bucket: &Bucket, report: &mut RunReport) {
        let control = self.job.shelf(bucket);
        self.record.close_segment(self.events).await;
        self.record.store_segments(self.events, &control).await;
        self.seal(report);
        let stored = match serde_json::to_vec_pretty(report) {
            Ok(bytes) => {
                control.store(&format!("runs/{}.json", report.run_id), bytes.into()).await.map(|_| ())
            }
            Err(error) => Err(error.to_string()),
        };
        let is_listed = stored.is_ok() && self.record.is_all_listed();
        if let Err(message) = stored {
            let message = format!("the run report could not be stored in the bucket: {message}");
            self.record.fail(self.events, Fatal { kind: FailureKind::Record, message }).await;
            self.seal(report);
        }
        if is_listed {
            self.mark_listed().await;
            self.snapshot(&control, report).await;
        }
        self.remember_end(report).await;
        self.say_in_latest(report).await;
    }

    async fn mark_listed(&mut self) {
        let destination = self.memory.destination;
        if let Err(error) = self.memory.with(move |catalog| catalog.mark_listed(destination)).await {
            self.catalog_broke(&error).await;
        }
    }

    /// After some runs that changed something, the state as a whole is stored.
    async fn snapshot(&mut self, control: &Shelf<'_>, report: &RunReport) {
        if self.cancel.is_cancelled() {
            return;
        }
        let label = Arc::clone(&self.memory.label);
        let more = u64::from(!report.manifests.is_empty());
        let counted = self.memory.with(move |catalog| snapshot::count_runs(catalog, &label, more)).await;
        let is_due = match counted {
            Ok(is_due) => is_due,
            Err(error) => return self.catalog_broke(&error).await,
        };
        if !is_due {
            return;
        }
        match snapshot::write(self.job, control, &self.memory, &self.id).await {
            Ok(()) => {
                let label = Arc::clone(&self.memory.label);
                let noted = self.memory.with(move |catalog| snapshot::count_anew(catalog, &label)).await;
                if let Err(error) = noted {
                    self.catalog_broke(&error).await;
                }
            }
            // The manifests still have it all.
            Err(error) => {
                let message =
                    format!("a snapshot could not be stored and is tried again: {}", line_of(&error));
                self.record.warn(self.events, message).await;
            }
        }
    }

    /// Whether people are to be told: not whoever interrupts a run at a terminal, but of one that took too long nobody knows.
    pub(crate) fn is_wanted(&self, report: &RunReport) -> bool {
        self.job.alert_when_interrupted || self.is_overdue || report.outcome != Outcome::Interrupted
    }

    /// Writes the end of the run into the catalog, and what is to be told of it.
    pub(crate) async fn remember_end(&mut self, report: &RunReport) {
        let destination = self.memory.destination;
        let (summary, duty) = (RunSummary::from(report), self.duty.clone());
        let is_wanted = self.is_wanted(report);
        let (job, ended) = (Arc::clone(self.job), report.clone());
        let label = Arc::clone(&self.memory.label);
        let noted = self.memory.with(move |catalog| {
            note_outcome(catalog, &label, &ended)?;
            duty.settle(catalog, summary.outcome, &summary.run_id)?;
            // It may have been written by an attempt that was cut short while it waited for this.
            let newest = catalog.runs(destination, 1)?.pop();
            let is_noted = newest.is_some_and(|row| row.run == summary.run_id && row.summary.is_some());
            let telling = trouble::run::at_end(catalog, &job, destination, &ended, is_wanted)?;
            if !is_noted {
                catalog.end_run(destination, &summary, &telling)?;
            }
            Ok(!telling.alerts.is_empty())
        });
        match noted.await {
            Ok(tells) => self.tells |= tells,
            Err(error) => {
                self.catalog_broke(&error).await;
                self.tell_without_catalog(report, is_wanted).await;
            }
        }
    }

    /// Nobody would hear of it: what cannot be remembered is told all the same.
    async fn tell_without_catalog(&mut self, report: &RunReport, is_wanted: bool) {
        let Ok(catalog) = Shared::temporary().await else { return };
        let (job, report) = (Arc::clone(self.job), report.clone());
        let told = catalog.with(move |catalog| {
            let destination = catalog.destination(job.server(), &job.bucket, job.naming.destination())?;
            let telling = trouble::run::at_end(catalog, &job, destination, &report, is_wanted)?;
            catalog.tell(&telling, report.finished_at.to_utc())
        });
        if told.await.is_ok() {
            self.tells = true;
            self.outbox = Outbox::of(self.job, catalog);
        }
    }

    async fn say_in_latest(&mut self, report: &mut RunReport) {
        let Some(beacon) = self.beacon.clone() else { return };
        let mut beacon = beacon.lock().await;
        beacon.latest.runs.insert(0, RunSummary::from(&*report));
        beacon.latest.runs.truncate(Latest::MAX_RUNS);
        // A plan that was interrupted may have been about to take one.
        beacon.latest.lease = None;
        if let Err(message) = beacon.write(RunState::Idle, report.finished_at).await {
            self.record.warn(self.events, message.clone()).await;
            report.warnings.push(message);
        }
    }
}

/// Notes what else the end of a run says: that all is known of the bucket, or what went wrong.
pub(crate) fn note_outcome(
    catalog: &Catalog,
    label: &str,
    report: &RunReport,
) -> Result<(), s3backup_catalog::Error> {
    if report.outcome != Outcome::Success {
        return overview::note_failures(catalog, label, &overview::failures_of(report));
    }
    if start::is_settling(report) {
        start::note_settled(catalog, label)?;
    }
    Ok(())
}

/// What became of the alerts at the end of a run, for its report. Whether people could be told changes nothing about the
/// outcome; that they were not is a warning of the report that the caller gets, which is stored already.
pub(crate) async fn note_delivery(
    job: &Job,
    report: &mut RunReport,
    events: &Emitter,
    tells: bool,
    delivered: Option<Result<Delivery, Error>>,
) {
    let why = match delivered {
        Some(Ok(delivery)) => {
            report.alerts = delivery.for_latest(job);
            delivery.why.filter(|_| report.alerts.is_some())
        }
        Some(Err(error)) => Some(line_of(&error)),
        None => tells.then(|| "there was no time left".to_owned()),
    };
    let Some(why) = why else { return };
    let whom = if job.audience.slack.is_some() { "Slack" } else { "Nobody" };
    let message = if tells {
        format!("{whom} was not told of this run: {why}")
    } else {
        format!("{whom} was not told of earlier trouble: {why}")
    };
    report.warnings.push(message.clone());
    events.warn(message).await;
}

/// Says in `latest.json` that alerts reach nobody, or that they do again, where it says something else.
pub(crate) async fn say_delivery(beacon: &Mutex<Beacon>, report: &RunReport) {
    let mut beacon = beacon.lock().await;
    if beacon.latest.alerts != report.alerts && beacon.latest.state == RunState::Idle {
        beacon.latest.alerts.clone_from(&report.alerts);
        // What goes wrong shows in the next run, which says it again.
        let _ = beacon.write(RunState::Idle, report.finished_at).await;
    }
}
