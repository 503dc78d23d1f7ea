//! The end of a run that many workers shared: it is committed, or given up.
//!
//! The report in the bucket is the one point at which it ends: it is written once, by whoever comes first. All else follows from it
//! and is done again by whoever finds that it may be undone: `latest.json`, the catalog of the owner, the message to people, the
//! removal of the plan. Who is killed between any two lines leaves a run that is not over, or one that another commit finishes.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};
use s3backup_model::{
    FailureKind, Fatal, Latest, Outcome, RunId, RunReport, RunState, RunSummary, ShardPlan,
};
use s3backup_transfer::{Bucket, WriteCondition};

use super::gather::{Gathered, gather};
use super::{Place, ShardUri, lease, leftovers, plan_name, read};
use crate::backup::Job;
use crate::ending::{self, local};
use crate::events::Emitter;
use crate::latest::{self, Beacon, Seen};
use crate::memory::Memory;
use crate::state::{control_key, report_of};
use crate::{Backup, Error, error, start};

impl Backup {
    /// Ends a run that many workers shared, once all of its shards are done: checks each shard's result and manifest, writes the one
    /// report of the run and `latest.json`, tells people, and removes the plan and what else the run has left. On any machine, any
    /// number of times, also at once: a run has one report, and people are told of it once.
    ///
    /// Where the backup is made from this machine, its catalog learns the end of the run; else the next run there takes it in.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when shards are missing or wrong: people are told of that once, and nothing is changed. [`Error::Shard`]
    /// when there is no such plan, or when it has expired. [`Error::Failed`], with the report, of a run that was committed and
    /// failed as a whole. [`Error::Invalid`] for the plan of another job, host or bucket; [`Error::Transfer`] and
    /// [`Error::NotStored`] when the bucket does not answer.
    ///
    /// Dropping the future leaves a run that is not over, or one that is and of which the rest, such as the message to people, is
    /// done by another call.
    pub async fn commit(&self, plan: &ShardUri) -> Result<RunReport, Error> {
        let report = Box::pin(end(&self.job, plan, false)).await?;
        if report.outcome == Outcome::Failed { Err(Error::Failed(Box::new(report))) } else { Ok(report) }
    }

    /// Gives a run up that many workers shared, so that others may begin: as [`Backup::commit`], but the run ends as failed, whatever
    /// became of its shards. What they proved is kept, and the next run does the rest. Workers that still go on are not waited for:
    /// their unfinished uploads are ended. A run that was committed stays so, and its report is given.
    ///
    /// # Errors
    /// As [`Backup::commit`], but for those that say that the run was not complete, has expired or failed.
    pub async fn abandon(&self, plan: &ShardUri) -> Result<RunReport, Error> {
        Box::pin(end(&self.job, plan, true)).await
    }
}

async fn end(job: &Arc<Job>, uri: &ShardUri, abandons: bool) -> Result<RunReport, Error> {
    let place = Place::of_plan(job, uri)?;
    if let Some(shard) = uri.shard() {
        let why = format!("it names shard {shard}, and a run ends as a whole: leave `/{shard}` out");
        return Err(Error::invalid("the plan", why));
    }
    let bucket = Box::pin(job.connect()).await.map_err(Error::Transfer)?;
    let seen = Box::pin(latest::read(&bucket, job)).await.map_err(|fatal| Error::NotRead(fatal.message))?;
    let owner = owner(job, &seen).await;
    let events = Emitter::unwatched(job.logger().clone());
    let end = End { job, bucket: &bucket, run: uri.run(), place, owner: owner.as_ref(), events: &events };
    let plan = end.plan().await?;
    let report = match report_of(job, &bucket, end.run).await? {
        Some(report) => report,
        None if abandons => {
            let plan = plan.clone().or_else(|| end.lost_plan(&seen)).ok_or_else(|| end.no_plan())?;
            Box::pin(end.give_up(&plan, "it was given up with `backup commit --abandon`")).await?
        }
        None => Box::pin(end.commit(plan.as_ref().ok_or_else(|| end.no_plan())?)).await?,
    };
    Box::pin(end.finish(report, plan.as_ref())).await
}

/// Ends a run that many workers shared and that was not committed until its plan expired: as [`Backup::abandon`]. For a run that finds
/// its lease at the start, under the job's lock, in the catalog from which the backup is made. `latest.json` is another then.
///
/// # Errors
/// As [`Backup::abandon`].
pub(crate) async fn close_expired(
    job: &Arc<Job>,
    bucket: &Bucket,
    latest: &Latest,
    memory: &Memory,
    events: &Emitter,
) -> Result<(), Error> {
    let Some(lease) = &latest.lease else { return Ok(()) };
    let end =
        End { job, bucket, run: &lease.run_id, place: Place::of_job(job)?, owner: Some(memory), events };
    let plan = end.plan().await?;
    let report = if let Some(report) = report_of(job, bucket, end.run).await? {
        report
    } else {
        let plan = plan.clone().unwrap_or_else(|| end.plan_of(latest));
        Box::pin(end.give_up(&plan, "it was not committed before its plan expired")).await?
    };
    Box::pin(end.finish(report, plan.as_ref())).await.map(|_| ())
}

/// Takes in a run that was planned here and committed elsewhere, and does what that left undone, such as telling people. For a run that
/// finds it at its start, as for [`close_expired`].
///
/// # Errors
/// As [`Backup::commit`], but for those that say that the run was not complete, has expired or failed.
pub(crate) async fn catch_up(
    job: &Arc<Job>,
    bucket: &Bucket,
    run: &RunId,
    memory: &Memory,
    events: &Emitter,
) -> Result<(), Error> {
    let owner = Some(memory).filter(|memory| memory.is_lasting);
    let end = End { job, bucket, run, place: Place::of_job(job)?, owner, events };
    let Some(report) = report_of(job, bucket, run).await? else {
        let key = control_key(job, &format!("runs/{run}.json"))?;
        return Err(Error::Manifest {
            key,
            why: "it is missing, and latest.json says that the run ended".to_owned(),
        });
    };
    let plan = end.plan().await?;
    Box::pin(end.finish(report, plan.as_ref())).await.map(|_| ())
}

/// The catalog from which the backup is made, if it is on this machine and nobody else works with it.
async fn owner(job: &Arc<Job>, seen: &Seen) -> Option<Memory> {
    let Seen::Present(latest, _) = seen else { return None };
    // Opening one with its lock would make it.
    let memory = Memory::look(job).await.ok().filter(|memory| memory.is_lasting)?;
    let (asked, latest) = (Arc::clone(job), latest.clone());
    let is_owner = memory.with(move |catalog| start::is_owner(catalog, &asked, &latest)).await.ok()?;
    if is_owner { Memory::open(job, "backup commit").await.ok() } else { None }
}

/// What the end of a run has to do with.
pub(super) struct End<'a> {
    pub(super) job: &'a Arc<Job>,
    pub(super) bucket: &'a Bucket,
    pub(super) run: &'a RunId,
    /// Where the lists of the plan lie.
    place: Place,
    /// The catalog from which the backup is made, if it is here.
    pub(super) owner: Option<&'a Memory>,
    pub(super) events: &'a Emitter,
}

impl End<'_> {
    async fn plan(&self) -> Result<Option<ShardPlan>, Error> {
        let name = plan_name(self.run);
        let Some(plan) = read::<ShardPlan>(self.job, self.bucket, &name).await? else { return Ok(None) };
        let of = (&plan.report.run_id, &plan.report.job, &plan.report.host);
        if of != (self.run, &self.job.name, &self.job.host)
            || plan.shards.len() > ShardPlan::MAX_SHARDS as usize
        {
            let key = control_key(self.job, &name)?;
            return Err(Error::Manifest { key, why: "it is not the plan of this run".to_owned() });
        }
        Ok(Some(plan))
    }

    fn no_plan(&self) -> Error {
        let why = "there is neither a plan nor a report of it: look whether run, job, host and prefix are those of `backup plan --shards`";
        self.refusal(why)
    }

    fn refusal(&self, why: impl Into<String>) -> Error {
        Error::Shard { uri: self.place.plan_uri(self.job, self.run), why: why.into() }
    }

    /// What stands for a plan that is gone, or was not written before its planner was killed, while its lease says that it goes on.
    fn lost_plan(&self, seen: &Seen) -> Option<ShardPlan> {
        let Seen::Present(latest, _) = seen else { return None };
        let is_leased = latest.lease.as_ref().is_some_and(|lease| lease.run_id == *self.run);
        is_leased.then(|| self.plan_of(latest))
    }

    fn plan_of(&self, latest: &Latest) -> ShardPlan {
        ShardPlan {
            schema: ShardPlan::SCHEMA,
            min_reader: ShardPlan::SCHEMA,
            prefixes: Vec::new(),
            expires_at: latest.lease.as_ref().map_or(latest.heartbeat, |lease| lease.expires_at),
            shards: Vec::new(),
            report: ending::empty(self.job, self.run.clone(), latest.started_at),
        }
    }

    fn now(&self) -> DateTime<FixedOffset> {
        local(self.job, (self.job.clock)())
    }

    /// Writes the report of a run whose shards are all done.
    async fn commit(&self, plan: &ShardPlan) -> Result<RunReport, Error> {
        let now = self.now();
        if plan.expires_at <= lease::now(self.job, self.bucket) {
            let why = format!(
                "it expired {}: the next `backup run` of the job closes it, or `backup commit {} --abandon`; what its workers put is kept, and the next run sends the rest",
                plan.expires_at.to_rfc3339(),
                self.run
            );
            return Err(self.refusal(why));
        }
        let Gathered { merge, wrong } = gather(self.job, self.bucket, &self.place, plan).await?;
        if wrong.is_empty() {
            return self.store(merge.end(now, None)).await;
        }
        let shards = u32::try_from(plan.shards.len()).unwrap_or(ShardPlan::MAX_SHARDS);
        let error = Error::Incomplete { run: self.run.clone(), shards, wrong };
        let fatal = Fatal { kind: FailureKind::Incomplete, message: error.to_string() };
        let refused = merge.end(now, Some(fatal));
        Box::pin(self.tell_of_refusal(refused)).await;
        Err(error)
    }

    /// Writes the report of a run that fails whatever became of its shards.
    async fn give_up(&self, plan: &ShardPlan, why: &str) -> Result<RunReport, Error> {
        let Gathered { merge, wrong } = gather(self.job, self.bucket, &self.place, plan).await?;
        let message = match wrong.len() {
            0 => format!("{why}; its {} shards were done, and what they put is kept", plan.shards.len()),
            count => format!(
                "{why}; {count} of its {} shards were not done: {}. What workers put is kept, and the next run sends the rest",
                plan.shards.len(),
                error::named(&wrong)
            ),
        };
        self.store(merge.end(self.now(), Some(Fatal { kind: FailureKind::Incomplete, message }))).await
    }

    /// Stores the report, which ends the run; gives the one that was there, if somebody else was faster.
    async fn store(&self, report: RunReport) -> Result<RunReport, Error> {
        let key = control_key(self.job, &format!("runs/{}.json", self.run))?;
        let bytes =
            serde_json::to_vec_pretty(&report).map_err(|error| Error::NotStored(error.to_string()))?;
        let (checksum, sse) = (self.job.transfer.checksum, self.job.objects.sse.as_ref());
        let writing = self.bucket.write_if(&key, bytes.into(), checksum, sse, WriteCondition::New);
        match Box::pin(writing).await {
            Ok(_) => Ok(report),
            Err(error) if error.is_precondition() => {
                let theirs = report_of(self.job, self.bucket, self.run).await?;
                theirs.ok_or_else(|| Error::NotStored(error.to_line()))
            }
            Err(error) => Err(Error::NotStored(error.to_line())),
        }
    }

    /// All that follows from the report.
    async fn finish(&self, mut report: RunReport, plan: Option<&ShardPlan>) -> Result<RunReport, Error> {
        let (beacon, history) = self.say_in_latest(&mut report).await;
        Box::pin(self.tell_of_end(&mut report, history, beacon)).await?;
        if let Some(plan) = plan {
            Box::pin(leftovers::clear(self.job, self.bucket, &self.place, plan)).await;
        }
        Ok(report)
    }

    /// Says in `latest.json` that the run is over, unless it says so already or a newer one has begun. That it could not is a warning:
    /// the report is the truth, and the next run goes by it. Gives what writes there, and what it said before.
    async fn say_in_latest(&self, report: &mut RunReport) -> (Option<Beacon>, Option<Latest>) {
        let seen = match Box::pin(latest::read(self.bucket, self.job)).await {
            Ok(seen) => seen,
            Err(fatal) => return (self.warn(report, fatal.message).await, None),
        };
        let Seen::Present(before, _) = &seen else {
            let message = "latest.json is missing or damaged, and does not say that the run is over: the next run writes it anew";
            return (self.warn(report, message.to_owned()).await, None);
        };
        let before = Latest::clone(before);
        if before.run_id > *self.run {
            return (None, Some(before));
        }
        let is_told = before.runs.iter().any(|run| run.run_id == *self.run);
        let mut latest = before.clone();
        latest.lease = None;
        if !is_told {
            (latest.run_id, latest.started_at) = (self.run.clone(), report.started_at);
            latest.runs.insert(0, RunSummary::from(&*report));
            latest.runs.truncate(Latest::MAX_RUNS);
        }
        let mut beacon = match Beacon::new(self.bucket, self.job, &seen, latest) {
            Ok(beacon) => beacon,
            Err(fatal) => return (self.warn(report, fatal.message).await, Some(before)),
        };
        let is_said = is_told && before.lease.is_none() && before.state == RunState::Idle;
        if !is_said && let Err(message) = beacon.write(RunState::Idle, report.finished_at).await {
            return (self.warn(report, message).await, Some(before));
        }
        (Some(beacon), Some(before))
    }

    pub(super) async fn warn(&self, report: &mut RunReport, message: String) -> Option<Beacon> {
        report.warnings.push(message.clone());
        self.events.warn(message).await;
        None
    }
}
