//! What a run that many workers shared leaves when it is over: multipart uploads that nobody goes on with, and its plan.
//!
//! All of it is done as far as it is allowed. What stays does no harm: the lifecycle rule of the bucket ends uploads, and `backup
//! prune` removes plans.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_model::{Key, RunId, ShardLine, ShardPlan};
use s3backup_transfer::{Bucket, MAX_DELETES};
use slog::debug;

use super::{Place, list_name, plan_name};
use crate::Error;
use crate::backup::Job;
use crate::memory::on_blocking_thread;
use crate::state::{Lines, control_key};

/// How far the clocks of the planner and of the server may be apart: S3 refuses requests that are more than 15 minutes off.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(15);

/// The most uploads that are ended. A run has no more than one for each file that is being sent, at each attempt.
const MOST: usize = 10_000;

/// Open uploads: their ids, by key.
type Open = HashMap<String, Vec<String>>;

/// Removes what a run has left. Whatever goes wrong is logged and changes nothing.
pub(super) async fn clear(job: &Job, bucket: &Bucket, place: &Place, plan: &ShardPlan) {
    let run = &plan.report.run_id;
    if let Err(error) = abort_uploads(job, bucket, place, plan).await {
        debug!(job.logger(), "unfinished uploads of the run stay"; "run" => %run, "why" => crate::line_of(&error));
    }
    if let Err(error) = remove_plan(job, bucket, place, plan).await {
        debug!(job.logger(), "the plan of the run stays"; "run" => %run, "why" => crate::line_of(&error));
    }
}

/// Ends the uploads that are certainly of this run: those of a file that is in one of its lists, begun since it began. Others may
/// back up below the same prefix; but a key is of one file of one job alone.
async fn abort_uploads(job: &Job, bucket: &Bucket, place: &Place, plan: &ShardPlan) -> Result<(), Error> {
    let prefix = job.naming.destination();
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let earliest: DateTime<Utc> = plan.report.started_at.to_utc() - CLOCK_SKEW;
    let (mut open, mut count) = (Open::new(), 0);
    let listing = bucket.open_uploads_below(&prefix, |[sent, decoded], upload| {
        if count < MOST && upload.initiated.is_some_and(|at| at >= earliest) {
            count += 1;
            for key in [sent, decoded] {
                let ids = open.entry(key.to_owned()).or_default();
                if !ids.contains(&upload.upload_id) {
                    ids.push(upload.upload_id.clone());
                }
            }
        }
    });
    Box::pin(listing).await.map_err(Error::Transfer)?;
    for name in lists(plan) {
        if open.is_empty() {
            break;
        }
        let Some(bytes) = place.read(bucket, &name).await? else { continue };
        let (ours, others) = on_blocking_thread(move || split(&bytes, open)).await?;
        open = others;
        for (key, id) in ours {
            Box::pin(bucket.abort_upload(&key, &id)).await.map_err(Error::Transfer)?;
        }
    }
    Ok(())
}

/// Takes the uploads of what a list names out of those that are open. A list that is damaged says less.
fn split(list: &[u8], mut open: Open) -> (Vec<(Key, String)>, Open) {
    let mut ours = Vec::new();
    if let Ok(mut lines) = Lines::open(list) {
        while let Ok(Some(line)) = lines.next::<ShardLine>() {
            let ids = open.remove(line.key.as_str()).unwrap_or_default();
            ours.extend(ids.into_iter().map(|id| (line.key.clone(), id)));
        }
    }
    (ours, open)
}

fn lists(plan: &ShardPlan) -> impl Iterator<Item = String> {
    let shards = (0..).zip(&plan.shards);
    shards.flat_map(|(shard, planned)| {
        let run = &plan.report.run_id;
        (0..planned.lists.len()).map(move |number| list_name(run, shard, number))
    })
}

/// Removes all of it, and last what says that there is any.
async fn remove_plan(job: &Job, bucket: &Bucket, place: &Place, plan: &ShardPlan) -> Result<(), Error> {
    let run = &plan.report.run_id;
    match place {
        Place::Bucket(prefix) if *place != Place::of_job(job)? => {
            let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
            let keys = lists(plan).filter_map(|name| Key::new(format!("{prefix}{name}")).ok()).collect();
            delete(bucket, keys).await?;
        }
        Place::Bucket(_) => {}
        Place::Directory(dir) => {
            let (dir, run, shards) = (dir.clone(), run.clone(), plan.shards.len());
            let names: Vec<String> = lists(plan).collect();
            let removing = on_blocking_thread(move || remove_files(&dir, &run, &names, shards));
            removing.await?.map_err(|error| Error::NotRead(error.to_string()))?;
        }
    }
    let folder = control_key(job, &format!("plans/{run}/"))?;
    let last = control_key(job, &plan_name(run))?;
    let mut page = None;
    loop {
        let listing = Box::pin(bucket.list(folder.as_str(), page.as_deref()));
        let listed = listing.await.map_err(Error::Transfer)?;
        let keys = listed.objects.into_iter().filter_map(|object| Key::new(object.key).ok());
        delete(bucket, keys.filter(|key| *key != last).collect()).await?;
        page = listed.next;
        if page.is_none() {
            return delete(bucket, vec![last]).await;
        }
    }
}

/// Removes exactly what the plan has written there: others may have files in the directory.
fn remove_files(dir: &std::path::Path, run: &RunId, names: &[String], shards: usize) -> std::io::Result<()> {
    let is_gone = |removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    for name in names {
        is_gone(std::fs::remove_file(dir.join(name)))?;
    }
    for shard in 0..shards {
        is_gone(std::fs::remove_dir(dir.join(run.as_str()).join(shard.to_string())))?;
    }
    is_gone(std::fs::remove_dir(dir.join(run.as_str())))
}

async fn delete(bucket: &Bucket, keys: Vec<Key>) -> Result<(), Error> {
    let objects: Vec<(Key, Option<String>)> = keys.into_iter().map(|key| (key, None)).collect();
    for some in objects.chunks(MAX_DELETES) {
        let refused = Box::pin(bucket.delete_many(some)).await.map_err(Error::Transfer)?;
        if let Some((_, error)) = refused.into_iter().next() {
            return Err(Error::Transfer(error));
        }
    }
    Ok(())
}
