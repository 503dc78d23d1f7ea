//! One run, from the first look at the bucket to the alert.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use s3backup_model::{Event, FailureKind, Fatal, RunId, RunReport, key};
use s3backup_transfer::{Bucket, Versioning};
use slog::Logger;
use tokio_util::sync::CancellationToken;

use crate::backup::{Job, Reach};
use crate::events::Emitter;
use crate::history;
use crate::record::Record;
use crate::report::{self, Begun};
use crate::steps::{Surroundings, run_steps};

/// Nothing of what is read at the start is used, so it is to be little.
const PROBE_BYTES: u64 = 4 << 10;

/// How late the clock may be by which file systems stamp files.
const STAMP_DELAY: Duration = Duration::from_millis(10);

/// Shares of the grace after an interruption: requests in flight or the step that runs, what they said last, then
/// manifest and report, then the alert. The rest is for the process to end.
pub(crate) const DRAIN_SHARE: f64 = 0.3;
pub(crate) const LEEWAY_SHARE: f64 = 0.05;
const STORE_SHARE: f64 = 0.35;
const ALERT_SHARE: f64 = 0.2;

/// Runs the job once. Always gives a report, whatever happened.
pub(crate) async fn run(job: Arc<Job>, events: Emitter, cancel: CancellationToken) -> RunReport {
    let begun = Begun { at: (job.clock)(), instant: Instant::now() };
    let run_id = RunId::new(begun.at, (job.random)());
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
        record: Record::new(run_id.clone(), job.sources.iter().map(path_of), cancel.clone()),
        job: &job,
        events: &events,
        cancel: &cancel,
        id: run_id.clone(),
        begun,
        settled: None,
    };
    let bucket = run.work_and_say_when_stopping().await;
    // What is cancelled later than this is too late to cut any work short.
    run.record.end_work();

    let mut report = report::empty(&job, run_id, report::local(&job, begun.at));
    let Run { mut record, .. } = run;
    let mut is_sealed = false;
    if let Some(bucket) = &bucket {
        let storing = report::store(&job, bucket, &mut record, &mut report, &events, begun);
        tokio::select! {
            () = storing => is_sealed = true,
            () = grace_is_over(&job, &cancel, STORE_SHARE) => {}
        }
        if !is_sealed {
            record.cut_short();
            let message = "the run was interrupted before its manifest and report were stored";
            record.warn(&events, message.to_owned()).await;
        }
    }
    if !is_sealed {
        report::seal(&mut report, &job, &record, begun);
    }
    report::send_alert(&job, &mut report, &events, grace_is_over(&job, &cancel, ALERT_SHARE)).await;
    events.emit(Event::RunFinished { report: Box::new(report.clone()) }).await;
    report
}

/// Comes true when the run was interrupted and then a share of its grace has passed; never without an interruption.
pub(crate) async fn grace_is_over(job: &Job, cancel: &CancellationToken, share: f64) {
    cancel.cancelled().await;
    tokio::time::sleep(job.grace.mul_f64(share)).await;
}

fn path_of(source: &crate::Source) -> String {
    use std::os::unix::ffi::OsStrExt;
    key::escape(source.path.as_os_str().as_bytes())
}

pub(crate) struct Run<'a> {
    pub(crate) record: Record,
    pub(crate) job: &'a Job,
    pub(crate) events: &'a Emitter,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) id: RunId,
    pub(crate) begun: Begun,
    /// From the start of the run to the end of its last step: what was modified then, the steps have made.
    pub(crate) settled: Option<RangeInclusive<SystemTime>>,
}

impl Run<'_> {
    async fn work_and_say_when_stopping(&mut self) -> Option<Bucket> {
        let (events, cancel) = (self.events, self.cancel);
        let mut said = false;
        let bucket = {
            let saying = async {
                cancel.cancelled().await;
                events.emit(Event::Stopping).await;
                said = true;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = saying => None,
                bucket = self.work() => bucket,
            }
        };
        if cancel.is_cancelled() && !said {
            events.emit(Event::Stopping).await;
        }
        bucket
    }

    /// Everything up to the last file. Gives the bucket when it can be used for the report.
    async fn work(&mut self) -> Option<Bucket> {
        let bucket = match self.reach_bucket().await {
            Ok(bucket) => bucket?,
            Err(fatal) => {
                self.record.fail(self.events, fatal).await;
                return None;
            }
        };
        if self.steps().await {
            Box::pin(self.transfer(&bucket)).await;
            self.record.balance(self.events).await;
            if !self.record.is_hopeless() {
                let cancel = self.cancel;
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    () = self.look_at_empty_sources(&bucket) => {}
                }
            }
        }
        Some(bucket)
    }

    /// Makes the client and asks for `latest.json`, whether it is there or not, so that a wrong bucket, wrong credentials and a dead network show before
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
            match bucket.read(&key, PROBE_BYTES).await {
                Ok(_) => {}
                // It is larger than that, which is fine, or no request can be made, and then neither can this one.
                Err(s3backup_transfer::Error::BadRequest { .. }) => {
                    bucket.head(&key).await.map_err(fatal)?;
                }
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
        let day = self.begun.at.with_timezone(&job.timezone).date_naive();
        let surroundings = Surroundings {
            given: vec![("BACKUP_RUN_ID", self.id.to_string()), ("BACKUP_DAY", day.to_string())],
            secrets: job.secrets.clone(),
            grace: job.grace.mul_f64(DRAIN_SHARE),
        };
        let (reports, verdict) = run_steps(&job.steps, &surroundings, self.events, self.cancel).await;
        self.record.steps = reports;
        if !job.steps.is_empty() {
            let start = SystemTime::from(self.begun.at);
            self.settled = Some(start.checked_sub(STAMP_DELAY).unwrap_or(start)..=(job.clock)().into());
        }
        if let Err(fatal) = verdict {
            self.record.fail(self.events, fatal).await;
        }
        !self.record.is_hopeless() && !self.cancel.is_cancelled()
    }

    /// A source without any file is trouble when an earlier run saw files in it, and worth a word when none did.
    async fn look_at_empty_sources(&mut self, bucket: &Bucket) {
        let empty = self.record.empty_sources();
        if !empty.is_empty() {
            let path_of = |place: &usize| self.record.sources().get(*place).map(|source| source.path.clone());
            let paths: Vec<String> = empty.iter().filter_map(path_of).collect();
            match history::had_files(bucket, &self.job.naming, self.record.sources(), &empty).await {
                Ok(had_files) => {
                    for (place, path) in empty.into_iter().zip(paths) {
                        self.empty_source(place, &path, had_files.contains(&place)).await;
                    }
                }
                Err(error) => {
                    let message = format!(
                        "{} has no files, and whether it ever had any cannot be read from the bucket: {}",
                        paths.join(", "),
                        error.to_line()
                    );
                    // A host that may only write can never look.
                    if error.service().is_some_and(s3backup_transfer::ServiceError::is_denied) {
                        self.record.warn(self.events, message).await;
                    } else {
                        self.record.fail(self.events, Fatal { kind: error.kind(), message }).await;
                    }
                }
            }
        }
        for (path, seen) in self.record.idle_sources() {
            let message = format!("{path}: none of its {seen} files is selected in this run");
            self.record.warn(self.events, message).await;
        }
    }

    async fn empty_source(&mut self, place: usize, path: &str, had_files: bool) {
        if had_files {
            self.record.had_files(place);
            let message = format!(
                "{path} had files in an earlier run and has none now: is its disk mounted, did somebody empty it? Nothing in the bucket was touched"
            );
            self.record.fail(self.events, Fatal { kind: FailureKind::SourceEmpty, message }).await;
        } else {
            self.record.warn(self.events, format!("{path} has no files")).await;
        }
    }
}

/// A logger that drops everything, for callers without one.
pub(crate) fn silent() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}
