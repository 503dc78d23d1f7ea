//! What became of the shards: their results, and whether what these speak of is in the bucket.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use s3backup_model::manifest::{Line, Op};
use s3backup_model::{ManifestRef, PlannedShard, RunId, RunReport, ShardPlan, ShardResult};
use s3backup_transfer::Bucket;

use super::merge::{Merge, check_end, check_origin};
use super::{Place, read, result_name};
use crate::Error;
use crate::backup::Job;
use crate::state::{control_key, read_segment};

/// Shards that are looked at at the same time. Of each, one piece is in memory.
const AT_ONCE: usize = 8;

/// All that is known of the shards.
pub(super) struct Gathered {
    /// What is proved, of whichever shards said something that is true.
    pub(super) merge: Merge,
    /// The shards that are missing or wrong, by their URIs, in their order, and what is the matter with each.
    pub(super) wrong: Vec<(String, String)>,
}

/// What became of one shard.
#[derive(Default)]
struct Shard {
    /// What it proved.
    part: Option<RunReport>,
    /// What is the matter with it.
    wrong: Option<String>,
}

impl Shard {
    fn wrong(why: String) -> Self {
        Self { part: None, wrong: Some(why) }
    }
}

/// Reads all results, and every segment that they name.
///
/// # Errors
/// [`Error::Transfer`] when the bucket does not answer. What is missing, damaged or another's is a shard that is wrong.
pub(super) async fn gather(
    job: &Job,
    bucket: &Bucket,
    place: &Place,
    plan: &ShardPlan,
) -> Result<Gathered, Error> {
    let run = &plan.report.run_id;
    let mut gathered = Gathered { merge: Merge::new(plan.report.clone()), wrong: Vec::new() };
    let shards = (0..).zip(&plan.shards);
    let looking = shards.map(|(shard, planned)| {
        look(job, bucket, run, shard, planned).map(move |found| (shard, found)).boxed()
    });
    let looking: Vec<BoxFuture<'_, (u32, Result<Shard, Error>)>> = looking.collect();
    let mut looked = stream::iter(looking).buffered(AT_ONCE);
    let uri = place.plan_uri(job, run);
    while let Some((shard, found)) = looked.next().await {
        let Shard { part, wrong } = found?;
        if let Some(part) = part {
            gathered.merge.add(shard, part);
        }
        if let Some(why) = wrong {
            gathered.wrong.push((format!("{uri}/{shard}"), why));
        }
    }
    Ok(gathered)
}

async fn look(
    job: &Job,
    bucket: &Bucket,
    run: &RunId,
    shard: u32,
    planned: &PlannedShard,
) -> Result<Shard, Error> {
    let result = match read::<ShardResult>(job, bucket, &result_name(run, shard)).await {
        Ok(Some(result)) => result,
        Ok(None) => {
            return Ok(Shard::wrong("it has no result: it was not run, or not to its end".to_owned()));
        }
        Err(Error::Manifest { why, .. }) => {
            return Ok(Shard::wrong(format!("its result cannot be read: {why}")));
        }
        Err(error) => return Err(error),
    };
    if let Err(why) = check_origin(run, shard, &result) {
        return Ok(Shard::wrong(why));
    }
    let ShardResult { report, .. } = result;
    let mut lines = 0_u64;
    for segment in &report.manifests {
        match check_segment(job, bucket, run, shard, segment).await {
            Ok(more) => lines = lines.saturating_add(more),
            Err(Error::Manifest { key, why }) => {
                return Ok(Shard::wrong(format!("its manifest {key}: {why}")));
            }
            Err(error) => return Err(error),
        }
    }
    if lines < report.uploaded.files {
        let uploaded = report.uploaded.files;
        return Ok(Shard::wrong(format!("its manifest lists {lines} files, and it uploaded {uploaded}")));
    }
    let wrong = check_end(planned, &report).err();
    Ok(Shard { part: Some(report), wrong })
}

/// Reads a segment to its end; gives its number of lines.
async fn check_segment(
    job: &Job,
    bucket: &Bucket,
    run: &RunId,
    shard: u32,
    segment: &ManifestRef,
) -> Result<u64, Error> {
    let key = segment.key.clone();
    let broken = move |why: &str| Error::Manifest { key: key.clone(), why: why.to_owned() };
    let own = control_key(job, &format!("manifests/{run}/{shard}-"))?;
    let is_own = segment.key.as_str().strip_prefix(own.as_str()).is_some_and(|rest| !rest.contains('/'));
    if !is_own {
        return Err(broken("it is not one of this shard"));
    }
    let (run, naming) = (run.clone(), std::sync::Arc::clone(&job.naming));
    let see = move |listed_by: &RunId, lines: Vec<Line>| {
        if *listed_by != run {
            return Err(broken("it is of another run"));
        }
        let is_of_worker =
            |line: &Line| matches!(line.op, Op::Put | Op::Meta) && !naming.is_reserved(line.key.as_str());
        if lines.iter().all(is_of_worker) { Ok(()) } else { Err(broken("it lists what no worker does")) }
    };
    read_segment(bucket, &segment.key, Some(segment), see).await
}
