//! Keeping `latest.json`: what this job says of itself in the bucket.

use bytes::Bytes;
use chrono::TimeDelta;
use s3backup_model::{
    CatalogRef, FailureKind, Fatal, Key, Latest, RunId, RunState, RunSummary, ScheduleRef, Verified,
};
use s3backup_transfer::{Bucket, ChecksumKind, Error as TransferError, ServiceError, Sse, WriteCondition};

use crate::backup::Job;
use crate::options::ScheduleOptions;

/// The name of the object below the control prefix.
pub(crate) const NAME: &str = "latest.json";

/// The largest that is read. With 400 runs it has about 200 KiB.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

/// A run that goes on says so every five minutes. One that has not for so long was killed.
pub(crate) const HEARTBEAT_LIMIT: TimeDelta = TimeDelta::minutes(15);

/// How often a write is tried when another comes between.
const TRIES: u32 = 3;

/// What was found in the bucket at the start.
pub(crate) enum Seen {
    /// None is there.
    Absent,
    /// This, with its ETag.
    Present(Box<Latest>, String),
    /// Something that cannot be read, and why.
    Damaged(String),
    /// These credentials may not read.
    Hidden,
}

/// Reads what the last run said.
pub(crate) async fn read(bucket: &Bucket, job: &Job) -> Result<Seen, Fatal> {
    let key = key(job)?;
    let (bytes, etag) = match bucket.read_tagged(&key, MAX_BYTES).await {
        Ok(Some(read)) => read,
        Ok(None) => return Ok(Seen::Absent),
        Err(error) if error.service().is_some_and(ServiceError::is_denied) => return Ok(Seen::Hidden),
        // It is too large to be what it should be.
        Err(error @ TransferError::BadRequest { .. }) => return Ok(Seen::Damaged(error.to_line())),
        Err(error) => return Err(Fatal { kind: error.kind(), message: error.to_line() }),
    };
    match parse(&bytes) {
        Ok(latest) => Ok(Seen::Present(Box::new(latest), etag)),
        Err(NotRead::Newer(version)) => {
            let message =
                format!("{key} was written by a newer version (it needs {version}): update s3backup");
            Err(Fatal { kind: FailureKind::Catalog, message })
        }
        Err(NotRead::Damaged(why)) => Ok(Seen::Damaged(format!("{key}: {why}"))),
    }
}

/// Why it cannot be read.
pub(crate) enum NotRead {
    /// It needs a reader of this version.
    Newer(u32),
    /// What is wrong with it.
    Damaged(String),
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Latest, NotRead> {
    #[derive(serde::Deserialize)]
    struct Version {
        min_reader: u32,
    }
    let damaged = |error: serde_json::Error| NotRead::Damaged(error.to_string());
    let Version { min_reader } = serde_json::from_slice(bytes).map_err(damaged)?;
    if min_reader > Latest::SCHEMA {
        return Err(NotRead::Newer(min_reader));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

fn key(job: &Job) -> Result<Key, Fatal> {
    let key = job.naming.control_key(NAME);
    key.map_err(|error| Fatal { kind: FailureKind::KeyTooLong, message: error.to_string() })
}

/// The writer of `latest.json` during a run.
pub(crate) struct Beacon {
    bucket: Bucket,
    key: Key,
    checksum: ChecksumKind,
    sse: Option<Sse>,
    condition: WriteCondition,
    /// What is written; state and heartbeat are set each time.
    pub(crate) latest: Latest,
}

impl Beacon {
    pub(crate) fn new(bucket: &Bucket, job: &Job, seen: &Seen, latest: Latest) -> Result<Self, Fatal> {
        let condition = match seen {
            Seen::Absent => WriteCondition::New,
            Seen::Present(_, etag) if !etag.is_empty() => WriteCondition::Replaces(etag.clone()),
            Seen::Present(..) | Seen::Damaged(_) | Seen::Hidden => WriteCondition::Always,
        };
        Ok(Self {
            bucket: bucket.clone(),
            key: key(job)?,
            checksum: job.transfer.checksum,
            sse: job.objects.sse.clone(),
            condition,
            latest,
        })
    }

    /// Writes it, unless a newer run has. Dropping the future may leave it written or not; the next write finds out.
    ///
    /// # Errors
    /// What a person should know: it was not written, and why.
    pub(crate) async fn write(
        &mut self,
        state: RunState,
        heartbeat: chrono::DateTime<chrono::FixedOffset>,
    ) -> Result<(), String> {
        (self.latest.state, self.latest.heartbeat) = (state, heartbeat);
        let bytes: Bytes = serde_json::to_vec(&self.latest).map_err(|error| error.to_string())?.into();
        for _ in 0..TRIES {
            let (kind, sse) = (self.checksum, self.sse.as_ref());
            let condition = self.condition.clone();
            let writing = self.bucket.write_if(&self.key, bytes.clone(), kind, sse, condition);
            match Box::pin(writing).await {
                Ok(info) if info.etag.is_empty() => {
                    self.condition = WriteCondition::Always;
                    return Ok(());
                }
                Ok(info) => {
                    self.condition = WriteCondition::Replaces(info.etag);
                    return Ok(());
                }
                Err(error)
                    if error.is_precondition() || error.service().is_some_and(ServiceError::is_not_found) =>
                {
                    self.look_again().await?;
                }
                Err(error) => return Err(not_written(&error.to_line())),
            }
        }
        Err(not_written("it keeps changing"))
    }

    /// Finds out what came between. An older run never replaces a newer one.
    async fn look_again(&mut self) -> Result<(), String> {
        let read = Box::pin(self.bucket.read_tagged(&self.key, MAX_BYTES)).await;
        self.condition = match read {
            Ok(Some((bytes, etag))) => match parse(&bytes) {
                Ok(other) if other.run_id > self.latest.run_id => return Err(other_run(&other)),
                _ => WriteCondition::Replaces(etag),
            },
            Ok(None) => WriteCondition::New,
            Err(error) => return Err(not_written(&TransferError::to_line(&error))),
        };
        Ok(())
    }
}

fn not_written(why: &str) -> String {
    format!("latest.json could not be written, so whoever watches this job sees an older state: {why}")
}

fn other_run(other: &Latest) -> String {
    format!(
        "run {} of the same job and host began after this one: another machine backs up under the name {}. Give each machine a `host` of its own",
        other.run_id, other.host
    )
}

/// What a run says of itself.
pub(crate) fn of_run(
    job: &Job,
    run_id: &RunId,
    started_at: chrono::DateTime<chrono::FixedOffset>,
    catalog: CatalogRef,
    verified: Option<Verified>,
    runs: Vec<RunSummary>,
) -> Latest {
    Latest {
        schema: Latest::SCHEMA,
        min_reader: Latest::SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        job: job.name.clone(),
        host: job.host.clone(),
        destination: job.destination_url(),
        state: RunState::Running,
        run_id: run_id.clone(),
        started_at,
        heartbeat: started_at,
        lease: None,
        schedule: job.schedule.as_ref().map(schedule_of),
        catalog,
        verified,
        alerts: None,
        runs,
    }
}

/// When runs are due, as others are told.
pub(crate) fn schedule_of(options: &ScheduleOptions) -> ScheduleRef {
    ScheduleRef {
        cron: options.schedule.cron().to_owned(),
        timezone: options.schedule.timezone().name().to_owned(),
        deadline_s: options.deadline.as_secs(),
        max_runtime_s: options.max_runtime.as_secs(),
    }
}
