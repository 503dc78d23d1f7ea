//! A run that many workers share: a plan in parts, a worker for each part, and one end.
//!
//! The names of what they leave for each other below the control data of the job are all here; what is in it is in
//! [`s3backup_model`].

mod assignment;
mod commit;
mod earlier;
mod gather;
pub(crate) mod lease;
mod leftovers;
mod lists;
mod merge;
mod place;
mod planner;
mod result;
mod settle;
mod sharder;
mod steps;
mod tell;
mod turn;
mod uploads;
mod uri;
pub(crate) mod worker;

use s3backup_model::{Key, RunId, ShardPlan};
use s3backup_transfer::{Bucket, crc64nvme_base64};
use serde::de::DeserializeOwned;

pub(crate) use commit::{catch_up, close_expired};
pub(crate) use place::Place;
pub use planner::{ShardOptions, ShardRef, ShardedPlan};
pub(crate) use steps::StepsDone;
pub use uri::ShardUri;

use crate::Error;
use crate::backup::Job;
use crate::state::control_key;

/// The largest piece that is read: a plan of 1,000 shards with its report is a hundredth of it.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

/// The name of the plan of a run.
pub(crate) fn plan_name(run: &RunId) -> String {
    format!("plans/{run}/plan.json")
}

/// The name of how far an attempt at a shard is.
pub(crate) fn progress_name(run: &RunId, shard: u32, attempt: &str) -> String {
    format!("plans/{run}/progress/{shard}-{attempt}.json")
}

/// What the names of all attempts at a shard begin with.
pub(crate) fn attempts_name(run: &RunId, shard: u32) -> String {
    format!("plans/{run}/progress/{shard}-")
}

/// The name of how a shard ended.
pub(crate) fn result_name(run: &RunId, shard: u32) -> String {
    format!("plans/{run}/results/{shard}.json")
}

/// The name of a note of the upload of a large file: a key of any length and content has one.
pub(crate) fn upload_name(run: &RunId, key: &Key) -> String {
    let sum = crc64nvme_base64(key.as_str().as_bytes()).replace('/', "_");
    format!("plans/{run}/uploads/{sum}.json")
}

/// What the names of the segments begin with that list what all attempts at a shard put.
pub(crate) fn segments_name(run: &RunId, shard: u32) -> String {
    format!("manifests/{run}/{shard}-")
}

/// The name of a list of a shard, below the place where plans lie.
pub(crate) fn list_name(run: &RunId, shard: u32, number: usize) -> String {
    format!("{run}/{shard}/{number}.jsonl.zst")
}

/// Reads a piece of control data; `None` when it is not there.
///
/// # Errors
/// [`Error::Transfer`]; [`Error::Manifest`] when it is damaged or of a newer version.
pub(crate) async fn read<T: DeserializeOwned>(
    job: &Job,
    bucket: &Bucket,
    name: &str,
) -> Result<Option<T>, Error> {
    #[derive(serde::Deserialize)]
    struct Version {
        min_reader: u32,
    }
    let key = control_key(job, name)?;
    let read = Box::pin(bucket.read(&key, MAX_BYTES)).await.map_err(Error::Transfer)?;
    let Some(bytes) = read else { return Ok(None) };
    let damaged = |error: serde_json::Error| Error::Manifest { key: key.clone(), why: error.to_string() };
    let Version { min_reader } = serde_json::from_slice(&bytes).map_err(damaged)?;
    if min_reader > ShardPlan::SCHEMA {
        let why = format!("it was written by a newer version (it needs {min_reader}): update s3backup");
        return Err(Error::Manifest { key, why });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}
