//! One run, from the first look at the bucket to the alert.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, FixedOffset, Utc};
use s3backup_discovery::discover;
use s3backup_model::{Event, FailureKind, Fatal, Outcome, RunId, RunReport, Tally};
use s3backup_transfer::{Bucket, Engine, ObjectSettings, Update, Upload, Versioning};
use slog::Logger;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backup::{Job, Reach};
use crate::events::Emitter;
use crate::planning::{Plan, Planned};
use crate::record::{Record, Shelf};
use crate::steps::{Surroundings, run_steps};
use crate::{alert, history};

/// Planned uploads that wait for the engine: enough that it never waits for the plan, and few enough to be nothing.
const UPLOADS_AHEAD: usize = 256;

/// Updates that wait to be written down; taken in batches of up to this.
const UPDATES_AHEAD: usize = 512;

/// Largest piece of control data that is read at the start.
const MAX_LATEST_BYTES: u64 = 16 << 20;

/// Shares of the grace after an interruption: requests in flight, then manifest and report, then the alert. The rest is
/// for the process to end.
const DRAIN_SHARE: f64 = 0.35;
const STORE_SHARE: f64 = 0.35;
const ALERT_SHARE: f64 = 0.2;

/// Runs the job once. Always gives a report, whatever happened.
pub(crate) async fn run(job: Arc<Job>, events: Emitter, cancel: CancellationToken) -> RunReport {
    let started = Instant::now();
    let now = (job.clock)();
    let run_id = RunId::new(now, (job.random)());
    let local = |at: DateTime<Utc>| at.with_timezone(&job.timezone).fixed_offset();
    events
        .emit(Event::RunStarted {
            run_id: run_id.clone(),
            job: job.name.clone(),
            host: job.host.clone(),
            destination: job.destination_url(),
            trigger: job.trigger,
        })
        .await;

    let mut run = Run {
        record: Record::new(
            run_id.clone(),
            job.sources.iter().map(|source| source.path.display().to_string()),
        ),
        job: &job,
        events: &events,
        cancel: &cancel,
        run_id: run_id.clone(),
        now,
    };
    let bucket = run.work().await;
    let interrupted = cancel.is_cancelled();
    if interrupted {
        events.emit(Event::Stopping).await;
    }

    let mut report = empty_report(&job, run_id, local(now));
    let Run { mut record, .. } = run;
    if let Some(bucket) = &bucket {
        let storing = store(&job, bucket, &mut record, &mut report, started, interrupted, &local);
        // Without an interruption the requests' own limits bound this.
        let limit = if interrupted { job.grace.mul_f64(STORE_SHARE) } else { Duration::MAX };
        if tokio::time::timeout(limit, storing).await.is_err() {
            record
                .warn(
                    &events,
                    "the run was interrupted before its manifest and report were stored".to_owned(),
                )
                .await;
        }
    }
    seal(&mut report, &record, started, interrupted, local((job.clock)()));
    send_alert(&job, &report, &events, interrupted).await;
    events.emit(Event::RunFinished { report: Box::new(report.clone()) }).await;
    report
}

struct Run<'a> {
    record: Record,
    job: &'a Job,
    events: &'a Emitter,
    cancel: &'a CancellationToken,
    run_id: RunId,
    now: DateTime<Utc>,
}

impl Run<'_> {
    /// Everything up to the last file. Gives the bucket when it can be used for the report.
    async fn work(&mut self) -> Option<Bucket> {
        let bucket = match self.reach_bucket().await {
            Ok(bucket) => bucket?,
            Err(fatal) => {
                self.record.fail(fatal);
                return None;
            }
        };
        if !self.steps().await {
            return Some(bucket);
        }
        self.transfer(&bucket).await;
        if !self.cancel.is_cancelled() && !self.record.is_fatal() {
            self.look_at_empty_sources(&bucket).await;
        }
        Some(bucket)
    }

    /// Makes the client and reads `latest.json`, so that a wrong bucket, wrong credentials and a dead network show before
    /// anything is done. `Ok(None)` when interrupted meanwhile.
    async fn reach_bucket(&mut self) -> Result<Option<Bucket>, Fatal> {
        let job = self.job;
        let fatal = |error: s3backup_transfer::Error| Fatal { kind: error.kind(), message: error.to_line() };
        let looking = async {
            let bucket = match &job.reach {
                Reach::Connect(options) => Bucket::connect(options).await.map_err(fatal)?,
                Reach::Client { client, bucket } => Bucket::from_client(client, bucket.clone()),
            };
            let bucket = bucket.with_retry(job.retry.clone());
            let key = job.naming.control_key("latest.json");
            let key =
                key.map_err(|error| Fatal { kind: FailureKind::KeyTooLong, message: error.to_string() })?;
            match bucket.read(&key, MAX_LATEST_BYTES).await {
                Ok(_) => {}
                // A host that may only write cannot look; whether it may write shows with the first file.
                Err(error) if error.service().is_some_and(s3backup_transfer::ServiceError::is_denied) => {}
                Err(error) => return Err(fatal(error)),
            }
            let versioning = bucket.versioning().await;
            Ok((bucket, versioning))
        };
        let (bucket, versioning) = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(None),
            looked = looking => looked?,
        };
        if versioning == Versioning::Off {
            let message = "the bucket has no versioning: a file that changes replaces its object for good. Switch versioning on";
            self.record.warn(self.events, message.to_owned()).await;
        }
        Ok(Some(bucket))
    }

    /// Runs the steps. False when nothing is to be uploaded after them.
    async fn steps(&mut self) -> bool {
        let job = self.job;
        let day = self.now.with_timezone(&job.timezone).date_naive();
        let surroundings = Surroundings {
            given: vec![("BACKUP_RUN_ID", self.run_id.to_string()), ("BACKUP_DAY", day.to_string())],
            secrets: job.secrets.clone(),
        };
        let (reports, verdict) = run_steps(&job.steps, &surroundings, self.events, self.cancel).await;
        self.record.steps = reports;
        if let Err(fatal) = verdict {
            self.record.fail(fatal);
        }
        !self.record.is_fatal() && !self.cancel.is_cancelled()
    }

    /// Lets the plan flow through the engine into the record.
    async fn transfer(&mut self, bucket: &Bucket) {
        let job = self.job;
        let logger = self.events.logger();
        let sources = job.discovery_sources(self.now);
        // Ends the flow alone: what is cancelled here is the run's, not the caller's.
        let stop = self.cancel.child_token();
        let plan = Plan::new(
            discover(sources, self.now.into(), stop.clone(), logger.clone()),
            Arc::clone(&job.naming),
        );
        let mut settings = job.transfer.clone();
        settings.drain = job.grace.mul_f64(DRAIN_SHARE);
        let objects = ObjectSettings { run: self.run_id.to_string(), ..job.objects.clone() };
        let engine = Engine::new(bucket.clone(), settings, objects);
        let (to_engine, planned) = mpsc::channel(UPLOADS_AHEAD);
        let (said, updates) = mpsc::channel(UPDATES_AHEAD);

        let shelf = job.shelf(bucket);
        let engine = engine.run(planned, said, stop.clone());
        let writer = self.write_down(plan, to_engine, updates, &shelf, &stop);
        tokio::join!(engine, writer);
    }

    /// The one writer: takes lines of the plan and updates of the engine as they come.
    async fn write_down(
        &mut self,
        mut plan: Plan,
        to_engine: mpsc::Sender<Upload>,
        mut updates: mpsc::Receiver<Update>,
        shelf: &Shelf<'_>,
        stop: &CancellationToken,
    ) {
        let mut to_engine = Some(to_engine);
        let mut waiting: std::collections::VecDeque<Upload> = std::collections::VecDeque::new();
        let mut batch = Vec::with_capacity(UPDATES_AHEAD);
        loop {
            // The plan is only asked for more when the engine has taken what there was: both channels stay bounded
            // and neither side waits for the other.
            let sender = to_engine.clone().filter(|_| !waiting.is_empty());
            tokio::select! {
                count = updates.recv_many(&mut batch, UPDATES_AHEAD) => {
                    if count == 0 {
                        break;
                    }
                    for update in batch.drain(..) {
                        self.take(update, shelf).await;
                    }
                }
                slot = reserve(sender.as_ref()), if sender.is_some() => match slot {
                    Some(slot) => {
                        if let Some(upload) = waiting.pop_front() {
                            slot.send(upload);
                        }
                    }
                    None => to_engine = None,
                },
                lines = plan.next(), if to_engine.is_some() && waiting.is_empty() => match lines {
                    Some(lines) => self.take_lines(lines, &mut waiting).await,
                    None => {
                        to_engine = None;
                        self.events.emit(Event::DiscoveryFinished { found: self.record.found() }).await;
                    }
                },
            }
            if self.record.is_fatal_for_transfer() {
                stop.cancel();
            }
        }
    }

    async fn take_lines(
        &mut self,
        batch: crate::planning::PlanBatch,
        waiting: &mut std::collections::VecDeque<Upload>,
    ) {
        self.record.saw(batch.source, batch.seen, &batch.skipped);
        let before = self.record.found();
        for line in batch.lines {
            match line {
                Planned::Upload { entry, key, .. } => {
                    self.record.select(batch.source, entry.stat.size);
                    waiting.push_back(Upload { entry, key });
                }
                Planned::Skip { path, reason } => self.record.skip(self.events, path, reason).await,
                Planned::Fail(failure) => self.record.failure(self.events, failure).await,
                Planned::MissingSource { message, .. } => self.record.miss_source(self.events, message).await,
            }
        }
        if self.record.found() != before {
            self.events.emit(Event::Found { found: self.record.found() }).await;
        }
    }

    async fn take(&mut self, update: Update, shelf: &Shelf<'_>) {
        match update {
            Update::Sent { bytes } => self.events.emit(Event::Sent { bytes }).await,
            Update::Retrying { key, attempt, delay, cause } => {
                self.events.emit(Event::Retrying { key, attempt, delay, cause }).await;
            }
            Update::Warning { message } => self.record.warn(self.events, message).await,
            Update::Done(done) => {
                if let Some(segment) = self.record.done(self.events, *done).await {
                    self.record.store_segment(shelf, segment).await;
                }
            }
            _ => {}
        }
    }

    /// A source without any file is trouble when an earlier run saw files in it, and worth a word when none did.
    async fn look_at_empty_sources(&mut self, bucket: &Bucket) {
        let empty: Vec<String> = self
            .record
            .sources
            .iter()
            .filter(|source| source.seen == 0)
            .map(|source| source.path.clone())
            .collect();
        if !empty.is_empty() {
            match history::sources_that_had_files(bucket, &self.job.naming).await {
                Ok(had_files) => {
                    for path in empty {
                        if had_files.contains(&path) {
                            let message = format!(
                                "{path} had files in an earlier run and has none now: is its disk mounted, did somebody empty it? Nothing in the bucket was touched"
                            );
                            self.record.fail(Fatal { kind: FailureKind::SourceEmpty, message });
                        } else {
                            self.record.warn(self.events, format!("{path} has no files")).await;
                        }
                    }
                }
                Err(error) => {
                    let message = format!(
                        "{} has no files, and whether it ever had any cannot be read from the bucket: {}",
                        empty.join(", "),
                        error.to_line()
                    );
                    self.record.warn(self.events, message).await;
                }
            }
        }
        let idle: Vec<String> = self
            .record
            .sources
            .iter()
            .filter(|source| source.seen > 0 && source.found == Tally::default())
            .map(|source| {
                format!("{}: none of its {} files is selected in this run", source.path, source.seen)
            })
            .collect();
        for message in idle {
            self.record.warn(self.events, message).await;
        }
    }
}

async fn reserve(sender: Option<&mpsc::Sender<Upload>>) -> Option<mpsc::Permit<'_, Upload>> {
    sender?.reserve().await.ok()
}

/// Stores the last segment of the manifest and then the report, so that a report's presence means that all it speaks of
/// is there.
async fn store(
    job: &Job,
    bucket: &Bucket,
    record: &mut Record,
    report: &mut RunReport,
    started: Instant,
    interrupted: bool,
    local: &impl Fn(DateTime<Utc>) -> DateTime<FixedOffset>,
) {
    let shelf = job.shelf(bucket);
    match record.last_segment() {
        Ok(Some(segment)) => record.store_segment(&shelf, segment).await,
        Ok(None) => {}
        Err(error) => {
            let message = format!("the manifest cannot be made: {error}");
            record.fail(Fatal { kind: FailureKind::Record, message });
        }
    }
    seal(report, record, started, interrupted, local((job.clock)()));
    let stored = match serde_json::to_vec_pretty(report) {
        Ok(bytes) => shelf.store(&format!("runs/{}.json", report.run_id), bytes.into()).await.map(|_| ()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(message) = stored {
        let message = format!("the run report could not be stored in the bucket: {message}");
        record.fail(Fatal { kind: FailureKind::Record, message });
    }
}

fn empty_report(job: &Job, run_id: RunId, started_at: DateTime<FixedOffset>) -> RunReport {
    RunReport {
        schema: RunReport::SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id,
        job: job.name.clone(),
        host: job.host.clone(),
        destination: job.destination_url(),
        trigger: job.trigger,
        outcome: Outcome::Failed,
        started_at,
        finished_at: started_at,
        due: Vec::new(),
        steps: Vec::new(),
        sources: Vec::new(),
        found: Tally::default(),
        uploaded: s3backup_model::Uploaded::default(),
        unchanged: Tally::default(),
        skipped: s3backup_model::Skipped::default(),
        failed: Vec::new(),
        failed_total: 0,
        retries: 0,
        resumed_parts: 0,
        duration_s: 0.0,
        bytes_per_s: 0,
        warnings: Vec::new(),
        fatal: None,
        manifests: Vec::new(),
    }
}

/// Puts all that is known into the report.
fn seal(
    report: &mut RunReport,
    record: &Record,
    started: Instant,
    interrupted: bool,
    finished_at: DateTime<FixedOffset>,
) {
    record.fill(report, interrupted);
    let duration = started.elapsed();
    report.finished_at = finished_at;
    report.duration_s = (duration.as_secs_f64() * 1000.0).round() / 1000.0;
    let millis = duration.as_millis().max(1);
    report.bytes_per_s = u64::try_from(u128::from(report.uploaded.bytes) * 1000 / millis).unwrap_or(u64::MAX);
}

/// Tells people, within a bounded time. Whether that works changes nothing about the outcome.
async fn send_alert(job: &Job, report: &RunReport, events: &Emitter, interrupted: bool) {
    let Some(slack) = &job.slack else { return };
    if report.outcome == Outcome::Interrupted && !job.alert_when_interrupted {
        return;
    }
    let alert = alert::of_run(report, job.log_location.as_deref());
    if !slack.wants(alert.kind) {
        return;
    }
    let limit = if interrupted { job.grace.mul_f64(ALERT_SHARE) } else { Duration::MAX };
    let failed = match tokio::time::timeout(limit, slack.send(&alert)).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => chain(&error),
        Err(_) => "there was no time left".to_owned(),
    };
    events.warn(format!("Slack was not told of this run: {failed}")).await;
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// A logger that drops everything, for callers without one.
pub(crate) fn silent() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}
