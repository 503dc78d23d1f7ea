//! Taking a bucket that another tool filled into the catalog, without sending it again.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use s3backup_catalog::{FileRow, FileState, Hints};
use s3backup_discovery::discover;
use s3backup_model::{Entry, FileStat, Key, RunId, Skipped, Tally};
use s3backup_transfer::{Bucket, Compared, Error as TransferError, Stored};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::backup::{Backup, Job};
use crate::latest;
use crate::memory::Memory;
use crate::plan::Reason;
use crate::planning::{Plan, Planned};
use crate::shards::lease;
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
    /// Files that were left out, as a run leaves them out; what the bucket has of them was not looked at.
    pub skipped: Skipped,
    /// Objects below the prefix that belong to no file that was looked at. Not counted when it was cut short.
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
    /// [`Error::Locked`], [`Error::Leased`], [`Error::NoCatalog`] without a state directory, [`Error::Transfer`] when the bucket cannot be
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
        let bucket = Box::pin(job.connect()).await.map_err(Error::Transfer)?;
        let seen =
            Box::pin(latest::read(&bucket, job)).await.map_err(|fatal| Error::NotRead(fatal.message))?;
        lease::refuse(job, &bucket, &seen)?;
        let settled = Box::pin(settle(job, &bucket, &memory, &seen)).await;
        settled.map_err(|fatal| Error::NotRead(fatal.message))?;
        Box::pin(list_bucket(job, &bucket, &memory)).await?;
        let run = RunId::new((job.clock)(), (job.random)());
        let mut work = Adoption {
            job,
            bucket: &bucket,
            memory: &memory,
            options,
            run,
            proved: Vec::new(),
            doubtful: Vec::new(),
            left: Tally::default(),
            report: AdoptReport::default(),
        };
        Box::pin(work.walk(&cancel)).await?;
        let Adoption { mut report, left, .. } = work;
        report.interrupted = cancel.is_cancelled();
        if !report.interrupted {
            let destination = memory.destination;
            let (unknown, _) = memory.with(move |catalog| catalog.strangers(destination, 0)).await?;
            report.only_in_bucket = Tally {
                files: unknown.files.saturating_sub(left.files),
                bytes: unknown.bytes.saturating_sub(left.bytes),
            };
        }
        Ok(report)
    }
}

struct Adoption<'a> {
    job: &'a Arc<Job>,
    bucket: &'a Bucket,
    memory: &'a Memory,
    options: AdoptOptions,
    run: RunId,
    /// What is to be written: in one transaction for many files, which each take a sync of the disk.
    proved: Vec<FileRow>,
    doubtful: Vec<FileRow>,
    /// Objects of files that the catalog does not know afterwards either.
    left: Tally,
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
            self.report.skipped.merge(&batch.skipped);
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
                    self.report.different.add(entry.stat.size);
                    self.differs(&entry, key, size, etag);
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
                Ok(Compared::Same(stored)) => self.adopt(&entry, key, &stored),
                Ok(Compared::Different) => {
                    self.report.different.add(entry.stat.size);
                    self.differs(&entry, key, size, etag);
                }
                Ok(Compared::Unprovable) => {
                    self.report.unprovable.add(entry.stat.size);
                    self.differs(&entry, key, size, etag);
                }
                Err(TransferError::Cancelled) => {}
                Err(error) if error.is_fatal() => return Err(Error::Transfer(error)),
                Err(error) => {
                    self.left.add(size);
                    self.fail(format!("{key}: {}", error.to_line()));
                }
            }
        }
        drop(compared);
        self.write().await
    }

    fn adopt(&mut self, entry: &Entry, key: Key, stored: &Stored) {
        self.report.adopted.add(stored.stat.size);
        if self.options.dry_run {
            self.left.add(stored.stat.size);
            return;
        }
        let row = self.row(entry, &stored.stat, key).map(|row| FileRow {
            crc64nvme: stored.crc64nvme.clone(),
            stored_checksum: stored.checksum.clone(),
            etag: stored.etag.clone(),
            version_id: stored.version_id.clone(),
            ..row
        });
        self.proved.extend(row);
    }

    /// Of what is to be replaced the catalog keeps the ETag: the next run overwrites that and nothing else.
    fn differs(&mut self, entry: &Entry, key: Key, listed_size: u64, etag: String) {
        if self.report.not_adopted.len() < NAMED {
            self.report.not_adopted.push(key.clone());
        }
        if self.options.dry_run || !self.options.replace_different {
            self.left.add(listed_size);
            return;
        }
        let row = self.row(entry, &entry.stat, key);
        self.doubtful.extend(row.map(|row| FileRow { state: FileState::Doubtful, etag, ..row }));
    }

    fn row(&self, entry: &Entry, stat: &FileStat, key: Key) -> Option<FileRow> {
        Some(FileRow {
            source: *self.memory.sources.get(entry.source)?,
            path: entry.relative.as_os_str().as_bytes().to_vec(),
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            mode: stat.mode,
            hints: Some(Hints { ctime_ns: stat.ctime_ns, inode: stat.inode }),
            state: FileState::Present,
            key,
            crc64nvme: String::new(),
            stored_size: stat.size,
            stored_checksum: None,
            etag: String::new(),
            version_id: None,
            encoding: "none".to_owned(),
            run: self.run.clone(),
        })
    }

    /// Remembers the files. What is proved is in no manifest yet, and the next run lists it; of the others there is nothing
    /// to list.
    async fn write(&mut self) -> Result<(), Error> {
        let (proved, doubtful) = (std::mem::take(&mut self.proved), std::mem::take(&mut self.doubtful));
        if proved.is_empty() && doubtful.is_empty() {
            return Ok(());
        }
        self.memory
            .with(move |catalog| {
                catalog.put_files(&proved)?;
                catalog.import_files(&doubtful)
            })
            .await
    }

    fn fail(&mut self, why: String) {
        if self.report.failed.len() < NAMED {
            self.report.failed.push(why);
        }
    }
}
