//! What a worker is to do, found in the bucket, and whether it may.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use s3backup_model::{PlannedShard, RunReport, ShardPlan};
use s3backup_transfer::Bucket;

use super::{Place, ShardUri, plan_name};
use crate::Error;
use crate::backup::Job;
use crate::ending::local;
use crate::state::report_of;

/// One shard of a plan that goes on.
pub(crate) struct Assignment {
    pub(crate) bucket: Bucket,
    pub(crate) uri: ShardUri,
    pub(crate) shard: u32,
    pub(crate) place: Place,
    pub(crate) planned: PlannedShard,
    expires_at: DateTime<Utc>,
}

impl Assignment {
    /// Finds the shard that a URI names.
    ///
    /// # Errors
    /// [`Error::Shard`] when there is no such plan or shard, when it is over, or when it was planned with other settings than
    /// these; [`Error::Invalid`] when the URI names no shard; [`Error::Transfer`] and [`Error::Manifest`].
    pub(crate) async fn find(job: &Arc<Job>, uri: &ShardUri) -> Result<Self, Error> {
        let shard = uri.shard().ok_or_else(|| {
            let why = format!("{} is a plan: add /N, the number of one of its shards", text(uri));
            Error::invalid("the shard", why)
        })?;
        let refuse = |why: String| Error::Shard { uri: text(uri), why };
        let place = Place::named(job, uri.place())?;
        if let Some((owner, host)) = uri.owner()
            && ((owner, host) != (&job.name, &job.host) || place != Place::of_job(job)?)
        {
            let here = Place::of_job(job)?.plan_uri(job, uri.run());
            return Err(refuse(format!("with this configuration the plan would be {here}: {SAME_FILE}")));
        }
        let bucket = job.connect().await.map_err(Error::Transfer)?;
        let plan: Option<ShardPlan> = super::read(job, &bucket, &plan_name(uri.run())).await?;
        // Also beside the plan: what is left of one that is over may not be removed yet.
        if let Some(report) = Box::pin(report_of(job, &bucket, uri.run())).await? {
            return Err(refuse(over(&report)));
        }
        let Some(mut plan) = plan else {
            let (place, host) = (job.destination_url(), &job.host);
            return Err(refuse(format!(
                "there is no such plan of {} on {host} below {place}: look whether job, host and prefix are those of the plan",
                job.name
            )));
        };
        let prefixes = (0..job.sources.len()).map(|place| job.naming.source_template(place));
        if !prefixes.eq(plan.prefixes.iter().map(String::as_str))
            || plan.report.destination != job.destination_url()
        {
            return Err(refuse(format!(
                "the plan was made with other sources or another destination: {SAME_FILE}"
            )));
        }
        let shards = plan.shards.len();
        let index = usize::try_from(shard).unwrap_or(usize::MAX);
        if index >= shards {
            return Err(refuse(format!("the plan has {shards} shards, counted from 0")));
        }
        let planned = plan.shards.swap_remove(index);
        let expires_at = plan.expires_at.to_utc();
        let assignment = Self { bucket, uri: uri.clone(), shard, place, planned, expires_at };
        match assignment.expired(job) {
            Some(why) => Err(refuse(why)),
            None => Ok(assignment),
        }
    }

    /// Why nothing may be written for this run any more, if that is so.
    ///
    /// # Errors
    /// [`Error::Transfer`] and [`Error::Manifest`].
    pub(crate) async fn is_over(&self, job: &Job) -> Result<Option<String>, Error> {
        let report = Box::pin(report_of(job, &self.bucket, self.uri.run())).await?;
        Ok(report.map(|report| over(&report)).or_else(|| self.expired(job)))
    }

    fn expired(&self, job: &Job) -> Option<String> {
        // The clocks of machines differ; that of the server is the same for all.
        let now = self.bucket.server_clock().unwrap_or_else(|| (job.clock)());
        (now >= self.expires_at).then(|| {
            let at = local(job, self.expires_at).to_rfc3339();
            format!("the plan expired at {at}; the next plan takes what is left of it")
        })
    }
}

fn over(report: &RunReport) -> String {
    let (outcome, at) = (report.outcome.as_str(), report.finished_at.to_rfc3339());
    format!(
        "the run is over, it ended at {at} as {outcome} and takes nothing in any more; the next plan takes what is left of it"
    )
}

const SAME_FILE: &str = "workers need the backup.toml with which the plan was made";

fn text(uri: &ShardUri) -> String {
    let plan = format!("{}/{}", uri.place(), uri.run());
    uri.shard().map_or(plan.clone(), |shard| format!("{plan}/{shard}"))
}
