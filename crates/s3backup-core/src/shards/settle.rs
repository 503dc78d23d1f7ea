//! What the catalog of the machine that planned a run learns of how it ended.

use std::sync::Arc;

use s3backup_catalog::AlertForm;
use s3backup_model::{RunReport, RunSummary};
use s3backup_transfer::Bucket;

use crate::Error;
use crate::backup::Job;
use crate::memory::Memory;
use crate::state::fold_report;
use crate::{due, ending, snapshot, trouble};

/// How many runs back the one that ended is looked for.
const RUNS: usize = 100;

/// Takes the end of a run into the catalog that it was planned from, once: files, due times, the run, and what there is to tell. When
/// it `is_told`, only what was told before is brought up to date.
///
/// A catalog that does not know the run is an older copy of itself: it takes in what there is to tell alone, and the next run brings
/// it up to the bucket.
///
/// # Errors
/// As [`import`](crate::state::import). Dropping the future leaves a run that has not ended there, and another call takes it in.
pub(super) async fn take_in(
    job: &Arc<Job>,
    bucket: &Bucket,
    memory: &Memory,
    report: &RunReport,
    is_told: bool,
) -> Result<(), Error> {
    let (destination, run) = (memory.destination, report.run_id.clone());
    let known = memory
        .with(move |catalog| Ok(catalog.runs(destination, RUNS)?.into_iter().find(|row| row.run == run)))
        .await?;
    let is_known = match known {
        Some(row) if row.summary.is_some() => return Ok(()),
        Some(_) => {
            // Before the run: with it, nobody would look for them any more.
            fold_report(job, bucket, memory, report).await?;
            true
        }
        None => false,
    };
    let (job, report, label) = (Arc::clone(job), report.clone(), Arc::clone(&memory.label));
    memory
        .with(move |catalog| {
            let mut telling = trouble::run::at_end(catalog, &job, destination, &report, true)?;
            if is_told {
                telling.alerts.retain(|alert| alert.form == AlertForm::Update);
            }
            if !is_known {
                return catalog.tell(&telling, report.finished_at.to_utc());
            }
            ending::note_outcome(catalog, &label, &report)?;
            due::settle(catalog, &report.due, &report.run_id)?;
            snapshot::count_runs(catalog, &label, u64::from(!report.manifests.is_empty()))?;
            catalog.end_run(destination, &RunSummary::from(&report), &telling)
        })
        .await
}
