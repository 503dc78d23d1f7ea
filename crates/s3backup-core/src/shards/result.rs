//! How a shard ended, as the bucket keeps it: of several attempts the best.

use bytes::Bytes;
use s3backup_model::{Outcome, RunReport, ShardPlan, ShardResult};
use s3backup_transfer::{ServiceError, WriteCondition};

use super::assignment::Assignment;
use super::{MAX_BYTES, result_name};
use crate::Error;
use crate::backup::Job;
use crate::state::control_key;

/// How often it is looked again when other attempts end at the same moment.
const TRIES: u32 = 5;

/// How the shard ended so far.
///
/// # Errors
/// [`Error::Transfer`], and [`Error::Manifest`] when it is damaged.
pub(crate) async fn read(job: &Job, assignment: &Assignment) -> Result<Option<RunReport>, Error> {
    let name = result_name(assignment.uri.run(), assignment.shard);
    let result: Option<ShardResult> = super::read(job, &assignment.bucket, &name).await?;
    let is_its_own =
        |result: &ShardResult| (&result.run_id, result.shard) == (assignment.uri.run(), assignment.shard);
    Ok(result.filter(is_its_own).map(|result| result.report))
}

/// Stores how an attempt ended, unless another ended better. Gives what is stored then.
///
/// # Errors
/// What a person should know: it was not stored, and why.
pub(crate) async fn store(
    job: &Job,
    assignment: &Assignment,
    report: &RunReport,
) -> Result<RunReport, String> {
    let (run, shard) = (assignment.uri.run(), assignment.shard);
    let key = control_key(job, &result_name(run, shard)).map_err(|error| crate::line_of(&error))?;
    let result = ShardResult {
        schema: ShardPlan::SCHEMA,
        min_reader: ShardPlan::SCHEMA,
        run_id: run.clone(),
        shard,
        report: report.clone(),
    };
    let bytes: Bytes = serde_json::to_vec_pretty(&result).map_err(|error| error.to_string())?.into();
    let (kind, sse, bucket) = (job.transfer.checksum, job.objects.sse.as_ref(), &assignment.bucket);
    let mut condition = WriteCondition::New;
    for _ in 0..TRIES {
        let writing = bucket.write_if(&key, bytes.clone(), kind, sse, condition);
        match Box::pin(writing).await {
            Ok(_) => return Ok(report.clone()),
            Err(error)
                if error.is_precondition() || error.service().is_some_and(ServiceError::is_not_found) => {}
            Err(error) => return Err(error.to_line()),
        }
        let read = Box::pin(bucket.read_tagged(&key, MAX_BYTES)).await.map_err(|error| error.to_line())?;
        let Some((other, etag)) = read else {
            condition = WriteCondition::New;
            continue;
        };
        // What cannot be read is worth nothing to whoever commits the run.
        if let Ok(other) = serde_json::from_slice::<ShardResult>(&other)
            && (&other.run_id, other.shard) == (run, shard)
            && worth(&other.report) >= worth(report)
        {
            return Ok(other.report);
        }
        condition = WriteCondition::Replaces(etag);
    }
    Err("it keeps changing: other workers end the same shard again and again".to_owned())
}

/// The more, the better: the outcome, then how few failed, then how much is done.
fn worth(report: &RunReport) -> (u8, std::cmp::Reverse<u64>, u64) {
    let rank = match report.outcome {
        Outcome::Success => 3,
        Outcome::Partial => 2,
        Outcome::Interrupted => 1,
        Outcome::Failed => 0,
    };
    (rank, std::cmp::Reverse(report.failed_total), report.uploaded.files + report.unchanged.files)
}
