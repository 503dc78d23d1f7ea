//! Looking at the state of a backup: now from the catalog, or as it was from the bucket.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use s3backup_model::RunId;
use s3backup_transfer::Bucket;

use crate::Error;
use crate::backup::Job;
use crate::latest::{self, Seen};
use crate::memory::Memory;
use crate::start::{Facts, Recognition, recognise};
use crate::state::{Span, import};

/// Which state of the backup is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum At {
    /// As it is now.
    #[default]
    Now,
    /// As it was at this time: after the last run that had started by then.
    Time(DateTime<Utc>),
    /// As it was after this run.
    Run(RunId),
}

/// A state to read from, and the bucket that it is of.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) bucket: Bucket,
    pub(crate) memory: Memory,
}

impl View {
    /// The state as it is now comes from the catalog where that is up to date, and else from the bucket alone, as does every
    /// earlier state. Nothing on disk or in the bucket is changed, and the job's lock is not needed.
    ///
    /// # Errors
    /// [`Error::Transfer`] and [`Error::Manifest`] when the bucket cannot be read; [`Error::NoState`] when there is nothing
    /// that tells of a state.
    pub(crate) async fn open(job: &Arc<Job>, at: &At) -> Result<Self, Error> {
        let bucket = job.connect().await.map_err(Error::Transfer)?;
        if *at == At::Now
            && let Some(memory) = Self::catalog(job, &bucket).await?
        {
            return Ok(Self { bucket, memory });
        }
        let until = match at {
            At::Now => None,
            // Ids sort by the time at which their runs started.
            At::Time(at) => Some(RunId::new(*at, u32::MAX)),
            At::Run(run) => Some(run.clone()),
        };
        let memory = Memory::scratch(job).await?;
        let imported = import(job, &bucket, &memory, &Span { after: None, until }).await?;
        if !imported.is_any {
            return Err(Error::NoState { place: job.destination_url() });
        }
        Ok(Self { bucket, memory })
    }

    /// The catalog, if the bucket says that it is up to date.
    async fn catalog(job: &Arc<Job>, bucket: &Bucket) -> Result<Option<Memory>, Error> {
        let memory = match Memory::look(job).await {
            // The bucket tells the same, and whoever restores need not mend the catalog first.
            Err(Error::Catalog(error)) if error.is_corrupt() => return Ok(None),
            memory => memory?,
        };
        Ok(is_up_to_date(job, bucket, &memory).await?.then_some(memory))
    }
}

/// Whether the catalog is the one that the bucket was last written from.
pub(crate) async fn is_up_to_date(job: &Job, bucket: &Bucket, memory: &Memory) -> Result<bool, Error> {
    let Ok(Seen::Present(latest, _)) = Box::pin(latest::read(bucket, job)).await else { return Ok(false) };
    let (destination, label) = (memory.destination, Arc::clone(&memory.label));
    let facts = memory.with(move |catalog| Facts::of(catalog, destination, &label)).await?;
    let here = crate::memory::machine(job);
    Ok(recognise(&facts, Some(&latest), here.as_deref(), memory.is_lasting) == Recognition::Same)
}
