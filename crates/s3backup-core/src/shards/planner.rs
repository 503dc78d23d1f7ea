//! Planning a run for many workers: the walk of a run, whose uploads are dealt out instead of sent.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta};
use s3backup_catalog::Catalog;
use s3backup_model::{
    Event, FailureKind, Fatal, KnownObject, Lease, Name, Outcome, PlannedShard, RunId, RunState, ShardLine,
    ShardPlan, Tally, key,
};
use s3backup_transfer::{Bucket, Upload};
use serde::Serialize;
use slog::info;

use super::sharder::{FullList, Sharder};
use super::steps::StepsDone;
use super::{Place, list_name, plan_name};
use crate::backup::Job;
use crate::flow::Flow;
use crate::record::Shelf;
use crate::run::{GoesOn, Run};
use crate::{Error, ending, line_of, start, trouble};

/// How long a plan holds where no schedule says how long a run may take.
const LONGEST_RUN: Duration = Duration::from_hours(10);

/// How a run is spread over many workers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShardOptions {
    /// How many shards, at most 1,000. More than there are workers, so that a slow one holds up little.
    pub shards: u32,
    /// Where the lists of the shards go: `s3://bucket/prefix` in the destination's bucket, or a directory that all workers share.
    /// Default: with the control data of the job.
    pub out: Option<String>,
    /// After how long the run is over, whether it was committed or not. Default: the schedule's `max_runtime`, else 10 hours.
    pub expires: Option<Duration>,
}

impl ShardOptions {
    /// So many shards, with the control data of the job.
    pub fn new(shards: u32) -> Self {
        Self { shards, out: None, expires: None }
    }

    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn check(&self, job: &Job) -> Result<Place, Error> {
        if self.shards == 0 || self.shards > ShardPlan::MAX_SHARDS {
            let why = format!("{} is not between 1 and {}", self.shards, ShardPlan::MAX_SHARDS);
            return Err(Error::invalid("the number of shards", why));
        }
        if self.expires.is_some_and(|expires| expires.is_zero()) {
            return Err(Error::invalid("the time after which a plan expires", "it is zero"));
        }
        match &self.out {
            Some(out) => Place::named(job, out),
            None => Place::of_job(job),
        }
    }
}

/// A run that waits for its workers. What `backup plan --shards --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ShardedPlan {
    /// Version of this format: 1.
    pub schema: u32,
    /// The run.
    pub run_id: RunId,
    /// The job.
    pub job: Name,
    /// The machine whose run it is, whoever works on it.
    pub host: Name,
    /// Where the files go: `s3://bucket/prefix`.
    pub destination: String,
    /// What names the plan.
    pub plan: String,
    /// When the run is over, committed or not, in the job's time zone.
    pub expires_at: DateTime<FixedOffset>,
    /// Selected entries.
    pub found: Tally,
    /// Those of them that are in the bucket as they are on disk.
    pub unchanged: Tally,
    /// What is known already not to get into the bucket.
    pub failed_total: u64,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// The shards. Some may have no files.
    pub shards: Vec<ShardRef>,
}

/// One shard, for whoever starts its worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShardRef {
    /// Its number, from 0.
    pub shard: u32,
    /// What names it.
    pub uri: String,
    /// Files to send, or to read to see whether they must be.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Run<'_> {
    /// Walks the sources and stores what is to be done in shards, then the plan, then the lease: with it the run belongs to
    /// the workers. Until then it ends like any other, also when it is interrupted.
    pub(crate) async fn plan_shards(&mut self, bucket: &Bucket, options: &ShardOptions) {
        let cancel = self.cancel;
        let planned = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            planned = self.deal_out(bucket, options) => planned,
        };
        let shards = match planned {
            Ok(shards) => shards,
            Err(error) => return self.not_planned(&error).await,
        };
        let dealt = shards.iter().map(|shard| shard.files.files).sum();
        self.record.balance(self.events, dealt).await;
        if self.record.is_hopeless() {
            return;
        }
        self.settle_walked(bucket).await;
        if self.record.is_hopeless() || cancel.is_cancelled() {
            return;
        }
        let published = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            published = self.publish(bucket, options, shards) => published,
        };
        match published {
            Ok(plan) => self.goes_on = plan.map(|plan| GoesOn::Planned(Box::new(plan))),
            Err(error) => self.not_planned(&error).await,
        }
    }

    /// Stores the lists of the shards.
    async fn deal_out(
        &mut self,
        bucket: &Bucket,
        options: &ShardOptions,
    ) -> Result<Vec<PlannedShard>, Error> {
        let job = self.job;
        let place = options.check(job)?;
        let desk = Desk { place: &place, shelf: &job.shelf(bucket), run: self.id.clone() };
        let mut sharder =
            Sharder::new(self.id.clone(), options.shards).map_err(|cause| Error::Segment { cause })?;
        self.memory.with(Catalog::clear_deferred).await?;
        let mut flow = Flow::new(self.walk(self.cancel.child_token()));
        let mut waiting = VecDeque::new();
        while let Some(batch) = flow.next_lines().await {
            self.take_lines(batch?, &mut flow, &mut waiting).await;
            desk.deal(&mut sharder, waiting.drain(..)).await?;
        }
        self.events.emit(Event::DiscoveryFinished { found: self.record.found() }).await;
        if job.is_too_many(flow.deferred(), flow.known()) {
            self.hold_back_unread(&mut flow).await;
        } else {
            let mut after = 0;
            loop {
                let (last, uploads) = self.deferred_uploads(after, false, i64::MAX).await?;
                if last == after {
                    break;
                }
                after = last;
                desk.deal(&mut sharder, uploads).await?;
            }
        }
        for list in sharder.finish().map_err(|cause| Error::Segment { cause })? {
            desk.store(list).await?;
        }
        Ok(sharder.planned())
    }

    /// Stores what the plan itself changed, then the plan, then the lease. `None` when that was not possible, which the record
    /// knows.
    async fn publish(
        &mut self,
        bucket: &Bucket,
        options: &ShardOptions,
        shards: Vec<PlannedShard>,
    ) -> Result<Option<ShardedPlan>, Error> {
        let job = self.job;
        let place = options.check(job)?;
        let control = job.shelf(bucket);
        self.record.close_segment(self.events).await;
        self.record.store_segments(self.events, &control).await;
        if self.record.is_hopeless() {
            return Ok(None);
        }
        let mut report = ending::empty(job, self.id.clone(), ending::local(job, self.begun.at));
        self.seal(&mut report);
        // What the due times become is not known yet.
        report.due = self.duty.settled(Outcome::Failed);
        let longest = job.schedule.as_ref().map_or(LONGEST_RUN, |schedule| schedule.max_runtime);
        let expires = TimeDelta::from_std(options.expires.unwrap_or(longest)).unwrap_or(TimeDelta::days(366));
        let now = bucket.server_clock().unwrap_or_else(|| (job.clock)());
        let expires_at = ending::local(job, now.checked_add_signed(expires).unwrap_or(now));
        let plan = ShardPlan {
            schema: ShardPlan::SCHEMA,
            min_reader: ShardPlan::SCHEMA,
            prefixes: (0..job.sources.len())
                .map(|place| job.naming.source_template(place).to_owned())
                .collect(),
            expires_at,
            shards,
            report,
        };
        let bytes = serde_json::to_vec(&plan).map_err(|error| Error::NotStored(error.to_string()))?;
        control.store(&plan_name(&self.id), bytes.into()).await.map_err(Error::NotStored)?;
        let (label, id) = (Arc::clone(&self.memory.label), self.id.clone());
        let until = expires_at.to_utc();
        self.memory
            .with(move |catalog| {
                start::note_planned(catalog, &label, &id)?;
                StepsDone::forget(catalog, &label)?;
                trouble::note_shared(catalog, &id, until)
            })
            .await?;
        let shown = self.shown(&place, &plan);
        let Some(beacon) = self.beacon.clone() else { return Ok(None) };
        let mut beacon = beacon.lock().await;
        let count = u32::try_from(plan.shards.len()).unwrap_or(u32::MAX);
        beacon.latest.lease = Some(Lease { run_id: self.id.clone(), shards: count, expires_at });
        let at = ending::local(job, (job.clock)());
        beacon.write(RunState::Running, at).await.map_err(Error::NotStored)?;
        info!(self.events.logger(), "run planned"; "run" => %self.id, "shards" => count,
            "expires_at" => expires_at.to_rfc3339());
        Ok(Some(shown))
    }

    fn shown(&self, place: &Place, plan: &ShardPlan) -> ShardedPlan {
        let uri = place.plan_uri(self.job, &self.id);
        let shard = |(number, shard): (u32, &PlannedShard)| ShardRef {
            shard: number,
            uri: format!("{uri}/{number}"),
            files: shard.files.files,
            bytes: shard.files.bytes,
        };
        let report = &plan.report;
        ShardedPlan {
            schema: ShardPlan::SCHEMA,
            run_id: self.id.clone(),
            job: report.job.clone(),
            host: report.host.clone(),
            destination: report.destination.clone(),
            expires_at: plan.expires_at,
            found: report.found,
            unchanged: report.unchanged,
            failed_total: report.failed_total,
            warnings: report.warnings.clone(),
            shards: (0..).zip(&plan.shards).map(shard).collect(),
            plan: uri,
        }
    }

    async fn not_planned(&mut self, error: &Error) {
        let message = format!("the run could not be planned: {}", line_of(error));
        let kind = match error {
            Error::Catalog(_) => FailureKind::Catalog,
            Error::Transfer(error) => error.kind(),
            _ => FailureKind::Record,
        };
        self.record.fail_at_once(self.events, Fatal { kind, message }).await;
    }
}

/// Where lists are stored as they become full.
struct Desk<'a> {
    place: &'a Place,
    shelf: &'a Shelf<'a>,
    run: RunId,
}

impl Desk<'_> {
    async fn deal(
        &self,
        sharder: &mut Sharder,
        uploads: impl IntoIterator<Item = Upload>,
    ) -> Result<(), Error> {
        for upload in uploads {
            if let Some(list) =
                sharder.push(&line_of_upload(upload)).map_err(|cause| Error::Segment { cause })?
            {
                self.store(list).await?;
            }
        }
        Ok(())
    }

    async fn store(&self, list: FullList) -> Result<(), Error> {
        let name = list_name(&self.run, list.shard, list.number);
        self.place.store(self.shelf, &name, list.bytes).await
    }
}

fn line_of_upload(upload: Upload) -> ShardLine {
    ShardLine {
        source: upload.entry.source,
        path: key::escape(upload.entry.relative.as_os_str().as_bytes()),
        size: upload.entry.stat.size,
        key: upload.key,
        known: upload.known.map(|known| KnownObject {
            size: known.size,
            crc64nvme: known.crc64nvme,
            stored_checksum: known.checksum,
            etag: known.etag,
            version_id: known.version_id,
            is_doubtful: known.is_doubtful,
        }),
    }
}
