//! A worker: does one shard of a plan, as often as it is told to, and leaves in the bucket how far it came.
//!
//! It keeps nothing on its machine, takes no lock and tells nobody: whoever commits the run does. Several may do the same
//! shard at once. What is killed at any line leaves files in the bucket, segments that nobody names, or a progress that the
//! next attempt goes on from.

mod sending;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use s3backup_model::{Event, FailureKind, Fatal, Outcome, RunReport, ShardPlan, ShardProgress};
use tokio_util::sync::CancellationToken;

use super::assignment::Assignment;
use super::earlier::Earlier;
use super::{ShardUri, progress_name, result, segments_name};
use crate::Error;
use crate::backup::Job;
use crate::ending::{self, Begun};
use crate::events::Emitter;
use crate::record::Record;
use crate::run::{Became, STORE_SHARE, grace_is_over};
use crate::start::fatal_of;

/// When what was done is stored, so that the next attempt need not do it again, and when it is looked whether the run is
/// over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    /// After so many lines,
    lines: u64,
    /// or this time, if that is more than a sixteenth of what has passed: a long shard is not cut into ever so many segments.
    store: Duration,
    look: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { lines: 10_000, store: Duration::from_secs(30), look: Duration::from_mins(1) }
    }
}

/// Does one shard. Gives its report whatever happened, unless there is nothing to do here.
pub(crate) async fn run(
    job: Arc<Job>,
    uri: ShardUri,
    rhythm: Rhythm,
    events: Emitter,
    cancel: CancellationToken,
) -> Result<Became, Error> {
    let begun = Begun { at: (job.clock)(), instant: Instant::now() };
    let mut report = ending::empty(&job, uri.run().clone(), ending::local(&job, begun.at));
    report.shard = uri.shard();
    let beginning = async {
        let assignment = Assignment::find(&job, &uri).await?;
        let before = result::read(&job, &assignment).await?;
        Ok::<_, Error>((assignment, before))
    };
    let found = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        found = Box::pin(beginning) => Some(found?),
    };
    events
        .emit(Event::RunStarted {
            run_id: uri.run().clone(),
            job: job.name.clone(),
            host: job.host.clone(),
            destination: job.destination_url(),
            trigger: job.trigger,
        })
        .await;
    match found {
        None => {
            report.outcome = Outcome::Interrupted;
            ending::time(&job, begun, &mut report);
        }
        // It was done by another worker, or by this one, of whose end nobody heard.
        Some((_, Some(done))) if done.outcome == Outcome::Success => report = done,
        Some((assignment, _)) => {
            let attempt = format!("{:08x}", (job.random)());
            let mut record = Record::new(uri.run().clone(), [], cancel.clone());
            record.name_segments(format!("{}{attempt}-", segments_name(uri.run(), assignment.shard)));
            record.cut_segments_at(rhythm.lines);
            let worker = Worker {
                job: &job,
                events: &events,
                cancel: &cancel,
                record,
                assignment: &assignment,
                earlier: Earlier::default(),
                attempt,
                rhythm,
                begun,
                stored: begun.instant,
                may_write: true,
            };
            Box::pin(worker.work(&mut report)).await;
        }
    }
    events.emit(Event::RunFinished { report: Box::new(report.clone()) }).await;
    Ok(Became::Report(Box::new(report)))
}

struct Worker<'a> {
    job: &'a Arc<Job>,
    events: &'a Emitter,
    cancel: &'a CancellationToken,
    record: Record,
    assignment: &'a Assignment,
    earlier: Earlier,
    attempt: String,
    rhythm: Rhythm,
    begun: Begun,
    /// When what was done was stored last.
    stored: Instant,
    /// Whether the run was still going on when it was last looked.
    may_write: bool,
}

impl Worker<'_> {
    async fn work(mut self, report: &mut RunReport) {
        let (job, events, cancel) = (self.job, self.events, self.cancel);
        {
            let stopping = async {
                cancel.cancelled().await;
                events.emit(Event::Stopping).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = stopping => {}
                () = self.do_files() => {}
            }
        }
        self.record.end_work();
        let mut is_stored = false;
        tokio::select! {
            () = Box::pin(self.store(report)) => is_stored = true,
            () = grace_is_over(job, cancel, STORE_SHARE) => {}
        }
        if !is_stored {
            self.record.cut_short();
            let message = "the worker was interrupted before the end of its shard was stored";
            self.record.warn(events, message.to_owned()).await;
            self.seal(report);
        }
    }

    async fn do_files(&mut self) {
        let Assignment { bucket, uri, shard, .. } = self.assignment;
        let read = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return,
            read = Box::pin(Earlier::read(self.job, bucket, uri.run(), *shard)) => read,
        };
        match read {
            Ok((earlier, warnings)) => {
                self.earlier = earlier;
                for warning in warnings {
                    self.record.warn(self.events, warning).await;
                }
            }
            Err(error) => {
                return self.record.fail_at_once(self.events, fatal_of(&error)).await;
            }
        }
        self.events.emit(Event::Found { found: self.assignment.planned.files }).await;
        Box::pin(self.transfer()).await;
        self.balance().await;
    }

    /// The run is over, and nothing is written for it any more.
    async fn end_too_late(&mut self, why: &str) {
        self.may_write = false;
        let fatal = Fatal { kind: FailureKind::Other, message: format!("the worker stops: {why}") };
        self.record.fail_at_once(self.events, fatal).await;
    }

    /// Each line of the shard must have been answered, by this attempt or by an earlier one.
    async fn balance(&mut self) {
        self.record.balance(self.events, 0).await;
        if self.record.is_hopeless() || self.cancel.is_cancelled() {
            return;
        }
        let (listed, planned) =
            (self.record.found().files + self.earlier.found(), self.assignment.planned.files.files);
        if listed != planned {
            let message = format!(
                "the lists of this shard have {listed} files where the plan says {planned}. Plan the run again"
            );
            self.record.fail(self.events, Fatal { kind: FailureKind::Other, message }).await;
        }
    }

    /// When what was done is to be stored; nothing while there is nothing.
    fn next_store(&self) -> Option<tokio::time::Instant> {
        let passed = self.stored.saturating_duration_since(self.begun.instant);
        let due = self.stored + self.rhythm.store.max(passed / 16);
        self.record.has_unlisted().then(|| due.into())
    }

    /// Not after an interruption: the engine's last words wait behind this.
    async fn store_progress_unless_cancelled(&mut self) {
        let cancel = self.cancel;
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.store_progress() => {}
        }
    }

    /// Stores what was done so far: the segments, then the progress that names them.
    ///
    /// When the future is dropped, the next call stores what it did not get to.
    async fn store_progress(&mut self) {
        if !self.may_write {
            return;
        }
        let Assignment { bucket, uri, shard, .. } = self.assignment;
        let control = self.job.shelf(bucket);
        self.record.close_segment(self.events).await;
        self.record.store_segments(self.events, &control).await;
        self.stored = Instant::now();
        let mut report = self.report();
        self.record.fill(&mut report);
        ending::time(self.job, self.begun, &mut report);
        if report.manifests.is_empty() {
            return;
        }
        let progress = ShardProgress {
            schema: ShardPlan::SCHEMA,
            min_reader: ShardPlan::SCHEMA,
            shard: *shard,
            attempt: self.attempt.clone(),
            report,
        };
        let name = progress_name(uri.run(), *shard, &self.attempt);
        let stored = match serde_json::to_vec(&progress) {
            Ok(bytes) => control.store(&name, bytes.into()).await.map(|_| ()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = stored {
            let message = format!(
                "how far the shard is could not be stored, so another attempt would begin farther back: {why}"
            );
            self.record.warn(self.events, message).await;
        }
    }

    /// Stores what is left to be stored, and how the shard ended.
    async fn store(&mut self, report: &mut RunReport) {
        // It may have ended since it was last looked; where that cannot be seen, what is written now is left alone later.
        if self.may_write
            && let Ok(Some(why)) = self.assignment.is_over(self.job).await
        {
            self.end_too_late(&why).await;
        }
        self.store_progress().await;
        self.seal(report);
        if !self.may_write {
            return;
        }
        match result::store(self.job, self.assignment, report).await {
            // Another did what this one could not: the shard is done.
            Ok(stored) if stored.outcome == Outcome::Success && report.outcome != Outcome::Success => {
                *report = stored;
            }
            Ok(_) => {}
            Err(why) => {
                let message = format!("how the shard ended could not be stored in the bucket: {why}");
                self.record.fail(self.events, Fatal { kind: FailureKind::Record, message }).await;
                self.seal(report);
            }
        }
    }

    /// Puts all that is known into the report, with what earlier attempts did.
    fn seal(&self, report: &mut RunReport) {
        *report = self.report();
        self.record.fill(report);
        ending::time(self.job, self.begun, report);
        self.earlier.add_to(report);
    }

    fn report(&self) -> RunReport {
        let run = self.assignment.uri.run().clone();
        let empty = ending::empty(self.job, run, ending::local(self.job, self.begun.at));
        RunReport { shard: Some(self.assignment.shard), ..empty }
    }
}
