//! What the bucket tells of its runs and of its objects.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use s3backup_model::{Key, ManifestRef, RunId};
use s3backup_transfer::Bucket;
use serde::{Deserialize, Serialize};

use super::keep::RunFact;
use super::sweep::Swept;
use crate::Error;
use crate::backup::Job;
use crate::memory::Memory;
use crate::state::{
    control_key, newest_snapshot, read_segment, report_of, runs_with, segments_of, snapshot_of,
};

/// What the last prune left behind, below the control prefix.
const SWEPT: &str = "prune.json";

/// The largest that is read: it names the runs that were kept.
const MAX_BYTES: u64 = 16 << 20;

const SCHEMA: u32 = 1;

/// How many runs the catalog is asked for; it has no more.
const RUNS: usize = 4000;

/// Runs of which something is in the bucket.
pub(super) struct Runs {
    /// Those with a report.
    reports: BTreeSet<RunId>,
    /// Those with a manifest.
    manifests: BTreeSet<RunId>,
    pub(super) snapshots: BTreeSet<RunId>,
}

impl Runs {
    pub(super) async fn list(job: &Job, bucket: &Bucket) -> Result<Self, Error> {
        Ok(Self {
            reports: reports(job, bucket).await?,
            manifests: runs_with(job, bucket, "manifests/").await?,
            snapshots: runs_with(job, bucket, "snapshots/").await?,
        })
    }

    /// Those with a report or a manifest.
    pub(super) fn records(&self) -> BTreeSet<RunId> {
        self.reports.union(&self.manifests).cloned().collect()
    }

    /// When each began and how it ended. A run without a report did not, whatever else is known of it.
    pub(super) async fn facts(
        &self,
        job: &Job,
        bucket: &Bucket,
        memory: &Memory,
    ) -> Result<Vec<RunFact>, Error> {
        let destination = memory.destination;
        let known = memory.with(move |catalog| catalog.runs(destination, RUNS)).await?;
        let known: BTreeMap<RunId, _> =
            known.into_iter().filter_map(|row| Some((row.run, row.summary?))).collect();
        let mut facts = Vec::new();
        for id in self.records() {
            let ended = if !self.reports.contains(&id) {
                None
            } else if let Some(summary) = known.get(&id) {
                Some((summary.started_at, summary.outcome))
            } else {
                let report = report_of(job, bucket, &id).await?;
                report.map(|report| (report.started_at, report.outcome))
            };
            let at = ended.map_or_else(|| began(&id), |(at, _)| at.to_utc());
            facts.push(RunFact { id, at, outcome: ended.map(|(_, outcome)| outcome) });
        }
        Ok(facts)
    }

    /// The newest whole snapshot that is not newer than this run.
    pub(super) async fn base(
        &self,
        job: &Job,
        bucket: &Bucket,
        until: &RunId,
    ) -> Result<Option<RunId>, Error> {
        Ok(newest_snapshot(job, bucket, Some(until)).await?.map(|index| index.run_id))
    }

    /// Notes in the catalog which version of which object was put when, and when it ended: all manifests in the order of
    /// their runs, and at its place the oldest snapshot, for what is behind the manifests that an earlier prune removed.
    pub(super) async fn note_history(
        &self,
        job: &Job,
        bucket: &Bucket,
        memory: &Memory,
    ) -> Result<(), Error> {
        memory.with(s3backup_catalog::Catalog::clear_versions).await?;
        let mut oldest = None;
        for run in &self.snapshots {
            oldest = snapshot_of(job, bucket, run).await?;
            if oldest.is_some() {
                break;
            }
        }
        let snapshot = oldest.as_ref().map(|index| index.run_id.clone());
        let all: BTreeSet<RunId> = self.records().into_iter().chain(snapshot).collect();
        for run in &all {
            // Of a run whose manifest is missing as a whole only the report tells that there was one.
            for (key, expected) in segments_of(job, bucket, run).await?.1 {
                note_segment(bucket, memory, &key, expected.as_ref()).await?;
            }
            if let Some(index) = oldest.as_ref().filter(|index| index.run_id == *run) {
                for segment in &index.segments {
                    note_segment(bucket, memory, &segment.segment.key, Some(&segment.segment)).await?;
                }
            }
        }
        Ok(())
    }
}

async fn note_segment(
    bucket: &Bucket,
    memory: &Memory,
    key: &Key,
    expected: Option<&ManifestRef>,
) -> Result<(), Error> {
    let memory = memory.clone();
    let take = move |run: &RunId, lines: Vec<_>| Ok(memory.here().note_versions(run, &lines)?);
    read_segment(bucket, key, expected, take).await.map(|_| ())
}

/// Runs with a report.
async fn reports(job: &Job, bucket: &Bucket) -> Result<BTreeSet<RunId>, Error> {
    let prefix = control_key(job, "runs/")?;
    let mut runs = BTreeSet::new();
    let mut page = None;
    loop {
        let listed =
            Box::pin(bucket.list(prefix.as_str(), page.as_deref())).await.map_err(Error::Transfer)?;
        let names = listed.objects.iter().filter_map(|object| object.key.strip_prefix(prefix.as_str()));
        runs.extend(names.filter_map(|name| RunId::parse(name.strip_suffix(".json")?)));
        page = listed.next;
        if page.is_none() {
            return Ok(runs);
        }
    }
}

/// When a run began, by its id.
fn began(id: &RunId) -> DateTime<Utc> {
    let stamp = id.as_str().split_once('-').map_or("", |(stamp, _)| stamp);
    let at = NaiveDateTime::parse_from_str(stamp, "%Y%m%dT%H%M%S%.3fZ");
    at.map(|at| at.and_utc()).unwrap_or_default()
}

/// `prune.json`.
#[derive(Serialize, Deserialize)]
struct Stored {
    schema: u32,
    min_reader: u32,
    at: DateTime<Utc>,
    #[serde(flatten)]
    swept: Swept,
}

/// Reads what the last prune left behind.
pub(super) async fn read_swept(job: &Job, bucket: &Bucket) -> Result<Option<Swept>, Error> {
    let key = control_key(job, SWEPT)?;
    let Some(bytes) = Box::pin(bucket.read(&key, MAX_BYTES)).await.map_err(Error::Transfer)? else {
        return Ok(None);
    };
    match serde_json::from_slice::<Stored>(&bytes) {
        Ok(stored) if stored.min_reader > SCHEMA => {
            Err(Error::Manifest { key, why: "it was written by a newer version: update s3backup".to_owned() })
        }
        Ok(stored) => Ok(Some(stored.swept)),
        Err(error) => Err(Error::Manifest { key, why: error.to_string() }),
    }
}

/// Says in the bucket what this prune leaves behind.
pub(super) async fn write_swept(job: &Job, bucket: &Bucket, swept: Swept) -> Result<(), Error> {
    let stored = Stored { schema: SCHEMA, min_reader: SCHEMA, at: (job.clock)(), swept };
    let bytes = serde_json::to_vec(&stored).map_err(|error| Error::Segment { cause: error.into() })?;
    job.shelf(bucket).store(SWEPT, bytes.into()).await.map(|_| ()).map_err(Error::NotStored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_its_run_began() {
        let at = DateTime::from_timestamp_millis(1_795_431_600_123).unwrap();
        assert_eq!(began(&RunId::new(at, 7)), at);
    }
}
