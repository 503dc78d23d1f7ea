//! Taking a bucket that another tool filled into the catalog, without sending it again.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use s3backup_catalog::{FileRow, FileState, Hints};
use s3backup_discovery::discover;
use s3backup_model::{Entry, Key, RunId, Tally};
use s3backup_transfer::{Bucket, Compared, Error as TransferError, Stored};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::backup::{Backup, Job};
use crate::latest;
use crate::memory::Memory;
use crate::plan::Reason;
use crate::planning::{Plan, Planned};
use crate::start::{list_bucket, settle};

/// Files that are compared at a time: each is read once, and costs a request.
const FILES: usize = 16;

/// The most that a report names.
const NAMED: usize = 1_000;

/// How a bucket is taken over.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AdoptOptions {
    /// Only say what would be taken over.
    pub dry_run: bool,
    /// Let the next run overwrite the objects that are different, or of which nothing shows what they are.
    pub replace_different: bool,
}

impl AdoptOptions {
    /// Only says what would be taken over.
    #[must_use]
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// Lets the next run overwrite exactly the objects that are different now.
    #[must_use]
    pub fn replace_different(mut self, yes: bool) -> Self {
        self.replace_different = yes;
        self
    }
}

/// What was taken over.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct AdoptReport {
    /// Files whose objects have the same bytes: they belong to the backup now, and the next run lists them.
    pub adopted: Tally,
    /// Files that the catalog knew already.
    pub known: Tally,
    /// Files whose objects have other bytes.
    pub different: Tally,
    /// Files of whose objects nothing shows which bytes they have.
    pub unprovable: Tally,
    /// Keys of the different and the unprovable; the first 1,000.
    pub not_adopted: Vec<Key>,
    /// Files that are not in the bucket: the next run sends them.
    pub only_local: Tally,
    /// Objects below the prefix that belong to no file.
    pub only_in_bucket: Tally,
    /// What could not be compared, and why; the first 1,000.
    pub failed: Vec<String>,
    /// Whether it was cut short. What was adopted by then stays so.
    pub interrupted: bool,
}

impl Backup {
    /// Takes objects that another tool has put under the keys of this job's files into the catalog, each proved to have the
    /// bytes of its file. Nothing in the bucket is changed. Takes the job's lock.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NoCatalog`] without a state directory, [`Error::Transfer`] when the bucket cannot be
    /// listed. Dropping the future leaves a part of them adopted, which does no harm: it can be done again.
    pub async fn adopt(
        &self,
        options: AdoptOptions,
        cancel: CancellationToken,
    ) -> Result<AdoptReport, Error> {
        let job = &self.job;
        let memory = Memory::open(job, "backup adopt").await?;
        if !memory.is_lasting {
            let why = "this one has no state directory".to_owned();
            return Err(Error::NoCatalog { job: job.name.clone(), why });
        }
        let bucket = job.connect().await.map_err(Error::Transfer)?;
        let seen =
            Box::pin(latest::read(&bucket, job)).await.map_err(|fatal| Error::NotRead(fatal.message))?;
        settle(job, &bucket, &memory, &seen).await.map_err(|fatal| Error::NotRead(fatal.message))?;
        list_bucket(job, &bucket, &memory).await?;
        let run = RunId::new((job.clock)(), (job.random)());
        let mut work =
            Adoption { job, bucket: &bucket, memory: &memory, options, run, report: AdoptReport::default() };
        work.walk(&cancel).await?;
        let destination = memory.destination;
        let strangers = memory.with(move |catalog| catalog.strangers(destination, 0)).await?;
        work.report.only_in_bucket = strangers.0;
        work.report.interrupted = cancel.is_cancelled();
        Ok(work.report)
    }
}

struct Adoption<'a> {
    job: &'a Arc<Job>,
    bucket: &'a Bucket,
    memory: &'a Memory,
    options: AdoptOptions,
    run: RunId,
    report: AdoptReport,
}

impl Adoption<'_> {
    async fn walk(&mut self, cancel: &CancellationToken) -> Result<(), Error> {
        let job = self.job;
        let today = (job.clock)().with_timezone(&job.timezone).date_naive();
        let sources = job.discovery_sources(&[today], None);
        let discovery = discover(sources, job.walk_clock(), cancel.clone(), job.logger().clone());
        let mut plan =
            Plan::new(discovery, Arc::clone(&job.naming), self.memory.clone(), job.reads_all(), None);
        while let Some(batch) = plan.next().await {
            let batch = batch?;
            self.report.known.merge(batch.unchanged);
            let mut candidates = Vec::new();
            for line in batch.lines {
                match line {
                    Planned::Upload { entry, key, reason: Reason::New, known: None } => {
                        candidates.push((entry, key));
                    }
                    Planned::Upload { entry, .. } => self.report.known.add(entry.stat.size),
                    Planned::Fail(failure) => self.fail(format!("{}: {}", failure.path, failure.message)),
                    Planned::MissingSource { message, .. } => self.fail(message),
                    Planned::Skip { .. } => {}
                }
            }
            self.compare(candidates, cancel).await?;
        }
        Ok(())
    }

    async fn compare(
        &mut self,
        candidates: Vec<(Entry, Key)>,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let listed = self.memory.with(move |catalog| {
            let with_listed = candidates.into_iter().map(|(entry, key)| {
                let listed = catalog.listed(&key)?;
                Ok((entry, key, listed))
            });
            with_listed.collect::<Result<Vec<_>, s3backup_catalog::Error>>()
        });
        let mut open = Vec::new();
        for (entry, key, listed) in listed.await? {
            match listed {
                None => self.report.only_local.add(entry.stat.size),
                Some((size, etag)) if size != entry.stat.size => {
                    self.differs(&entry, key, size, etag, Tallied::Different).await?;
                }
                Some((size, etag)) => open.push((entry, key, size, etag)),
            }
        }
        let (bucket, job) = (self.bucket, self.job);
        let mut compared = stream::iter(open)
            .map(|(entry, key, size, etag)| async move {
                let follows = job.follows_symlinks(entry.source);
                let compared = bucket.compare(&entry, follows, &key, cancel).await;
                (entry, key, size, etag, compared)
            })
            .buffer_unordered(FILES);
        while let Some((entry, key, size, etag, compared)) = compared.next().await {
            match compared {
                Ok(Compared::Same(stored)) => self.adopt(&entry, key, &stored).await?,
                Ok(Compared::Different) => self.differs(&entry, key, size, etag, Tallied::Different).await?,
                Ok(Compared::Unprovable) => {
                    self.differs(&entry, key, size, etag, Tallied::Unprovable).await?;
                }
                Err(TransferError::Cancelled) => {}
                Err(error) => self.fail(format!("{key}: {}", error.to_line())),
            }
        }
        Ok(())
    }

    async fn adopt(&mut self, entry: &Entry, key: Key, stored: &Stored) -> Result<(), Error> {
        self.report.adopted.add(stored.stat.size);
        let state = FileState::Present;
        self.write(entry, key, stored.stat.size, &stored.etag, Some(stored), state).await
    }

    async fn differs(
        &mut self,
        entry: &Entry,
        key: Key,
        size: u64,
        etag: String,
        as_what: Tallied,
    ) -> Result<(), Error> {
        match as_what {
            Tallied::Different => self.report.different.add(entry.stat.size),
            Tallied::Unprovable => self.report.unprovable.add(entry.stat.size),
        }
        if self.report.not_adopted.len() < NAMED {
            self.report.not_adopted.push(key.clone());
        }
        if self.options.replace_different {
            return self.write(entry, key, size, &etag, None, FileState::Doubtful).await;
        }
        Ok(())
    }

    /// Remembers a file. It is in no manifest yet: the next run lists it.
    async fn write(
        &self,
        entry: &Entry,
        key: Key,
        stored_size: u64,
        etag: &str,
        stored: Option<&Stored>,
        state: FileState,
    ) -> Result<(), Error> {
        use std::os::unix::ffi::OsStrExt;
        let Some(&source) = self.memory.sources.get(entry.source) else { return Ok(()) };
        if self.options.dry_run {
            return Ok(());
        }
        let stat = stored.map_or(entry.stat, |stored| stored.stat);
        let row = FileRow {
            source,
            path: entry.relative.as_os_str().as_bytes().to_vec(),
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            mode: stat.mode,
            hints: Some(Hints { ctime_ns: stat.ctime_ns, inode: stat.inode }),
            state,
            key,
            crc64nvme: stored.map(|stored| stored.crc64nvme.clone()).unwrap_or_default(),
            stored_size,
            stored_checksum: stored.and_then(|stored| stored.checksum.clone()),
            etag: etag.to_owned(),
            version_id: stored.and_then(|stored| stored.version_id.clone()),
            encoding: "none".to_owned(),
            run: self.run.clone(),
        };
        let is_doubtful = state == FileState::Doubtful;
        self.memory
            .with(move |catalog| {
                // Of what is doubtful there is nothing to list.
                if is_doubtful { catalog.import_files(&[row]) } else { catalog.put_files(&[row]) }
            })
            .await
    }

    fn fail(&mut self, why: String) {
        if self.report.failed.len() < NAMED {
            self.report.failed.push(why);
        }
    }
}

/// Why a file was not adopted.
#[derive(Clone, Copy)]
enum Tallied {
    Different,
    Unprovable,
}
