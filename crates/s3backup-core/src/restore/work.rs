//! The restore itself: many files at a time, within stated limits.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use s3backup_catalog::FileRow;
use s3backup_model::{Failure, FailureKind, RunReport};
use s3backup_transfer::{Bucket, DownloadLimits, Error as TransferError, Expected, Pin};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::target::{Target, There};
use super::{RestoreEvent, RestoreOptions, RestoreReport};
use crate::backup::{Backup, Job};
use crate::files::components;
use crate::memory::on_blocking_thread;
use crate::{Error, line_of};

/// Files on their way beyond those that a request is made for: they are synced to disk meanwhile.
const AHEAD: usize = 16;

/// The most requests that files are begun for, whatever the settings say: each of them has two descriptors open beside that
/// of its connection, of the 1,024 that a process usually gets.
const MAX_AT_ONCE: usize = 256;

pub(super) async fn restore(
    job: Arc<Job>,
    options: RestoreOptions,
    events: mpsc::Sender<RestoreEvent>,
    cancel: CancellationToken,
) -> Result<RestoreReport, Error> {
    let started = Instant::now();
    let backup = Backup { job };
    let target = open_target(&options).await?;
    let opening = backup.files(&options.at, &options.paths);
    let mut files = tokio::select! {
        biased;
        () = cancel.cancelled() => {
            return Ok(RestoreReport { interrupted: true, ..RestoreReport::default() });
        }
        files = opening => files?,
    };
    let transfer = &backup.job.transfer;
    let limits = transfer.concurrency.map_or_else(DownloadLimits::auto, DownloadLimits::new);
    let limits = limits.with_bandwidth(transfer.bandwidth.clone());
    let worker = Worker {
        bucket: files.view.bucket.clone(),
        target,
        limits: Arc::new(limits),
        overwrite: options.overwrite,
    };
    let mut report = RestoreReport::default();
    let mut tasks: JoinSet<RestoreEvent> = JoinSet::new();
    'pages: while let Some(rows) = files.next_rows().await? {
        for (row, name, _) in rows {
            let at_once = worker.limits.objects_at_once(row.stored_size).min(MAX_AT_ONCE) + AHEAD;
            while tasks.len() >= at_once {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => break 'pages,
                    Some(ended) = tasks.join_next() => report.take(ended, &events).await,
                }
            }
            let is_outside = Worker::is_outside(&files.job, &row);
            tasks.spawn(worker.clone().restore(row, name, is_outside));
        }
    }
    while !tasks.is_empty() {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(ended) = tasks.join_next() => report.take(ended, &events).await,
        }
    }
    report.interrupted = cancel.is_cancelled();
    // Dropping them removes what they had begun.
    tasks.shutdown().await;
    if !report.interrupted {
        report.unmatched = files.unmatched();
    }
    if let Some(target) = worker.target.filter(|_| report.restored.files > 0) {
        let synced = on_blocking_thread(move || target.sync()).await?;
        synced.map_err(|cause| Error::Target { path: options.to.clone(), cause })?;
    }
    report.duration_s = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    Ok(report)
}

/// None of a dry run into a directory that is not there.
async fn open_target(options: &RestoreOptions) -> Result<Option<Target>, Error> {
    if options.to.as_os_str().is_empty() {
        return Err(Error::invalid("--to", "it is empty: name a directory to restore into"));
    }
    if options.dry_run {
        return Ok(None);
    }
    let path = options.to.clone();
    let opened = on_blocking_thread(move || Target::open(&path)).await?;
    opened.map(Some).map_err(|cause| Error::Target { path: options.to.clone(), cause })
}

impl RestoreReport {
    async fn take(
        &mut self,
        ended: Result<RestoreEvent, tokio::task::JoinError>,
        events: &mpsc::Sender<RestoreEvent>,
    ) {
        let event = ended.unwrap_or_else(|error| {
            failed("?", FailureKind::Other, format!("it ended abnormally ({error}); please report it"))
        });
        match &event {
            RestoreEvent::Restored { bytes, .. } => self.restored.add(*bytes),
            RestoreEvent::There { bytes, .. } => self.there.add(*bytes),
            RestoreEvent::Kept { .. } => self.kept += 1,
            RestoreEvent::Failed { failure } => {
                self.failed_total += 1;
                if self.failed.len() < RunReport::MAX_FAILED {
                    self.failed.push(failure.clone());
                }
            }
        }
        // Nobody watches any more only when the restore is being dropped.
        let _ = events.send(event).await;
    }
}

fn failed(name: &str, kind: FailureKind, message: String) -> RestoreEvent {
    RestoreEvent::Failed { failure: Failure { path: name.to_owned(), kind, message, attempts: 1 } }
}

#[derive(Clone)]
struct Worker {
    bucket: Bucket,
    /// None in a dry run.
    target: Option<Target>,
    limits: Arc<DownloadLimits>,
    overwrite: bool,
}

/// Why a file is not restored.
enum Problem {
    Kept,
    Io(io::Error),
    Transfer(TransferError),
    Defect(Error),
}

impl Worker {
    fn is_outside(job: &Job, row: &FileRow) -> bool {
        job.naming.below_destination(&row.key).is_none() || job.naming.is_reserved(row.key.as_str())
    }

    async fn restore(self, row: FileRow, name: String, is_outside: bool) -> RestoreEvent {
        let Some(parts) = components(&name).filter(|_| !is_outside) else {
            let message = format!(
                "its key {} leads outside of the backup or of the directory: somebody tampered with a manifest",
                row.key
            );
            return failed(&name, FailureKind::Other, message);
        };
        let Some(target) = self.target.clone() else {
            return RestoreEvent::Restored { name, bytes: row.size };
        };
        match self.bring(target, &row, parts).await {
            Ok(true) => RestoreEvent::Restored { name, bytes: row.size },
            Ok(false) => RestoreEvent::There { name, bytes: row.size },
            Err(Problem::Kept) => RestoreEvent::Kept { name },
            Err(Problem::Io(error)) => {
                let message = format!("it cannot be written: {error}");
                failed(&name, FailureKind::Unwritable, message)
            }
            Err(Problem::Transfer(TransferError::Mismatch { key, sent, stored })) => {
                let message = format!(
                    "the bytes of {key} in the bucket are not those that were backed up: their checksum is {stored}, and it was {sent}. They came twice; `backup verify --deep` finds all that are so"
                );
                failed(&name, FailureKind::Checksum, message)
            }
            Err(Problem::Transfer(error)) => failed(&name, error.kind(), error.to_line()),
            Err(Problem::Defect(error)) => failed(&name, FailureKind::Other, line_of(&error)),
        }
    }

    /// Brings one file back; false when it is there already.
    async fn bring(&self, target: Target, row: &FileRow, parts: Vec<Vec<u8>>) -> Result<bool, Problem> {
        let (size, mtime_ns, mode, overwrite) = (row.size, row.mtime_ns, row.mode, self.overwrite);
        let random = fastrand::u64(..);
        let begun = blocking(move || match target.look(&parts).map_err(Problem::Io)? {
            There::File { size: there, mtime_ns: when } if there == size && when == mtime_ns => Ok(None),
            There::File { .. } | There::Other if !overwrite => Err(Problem::Kept),
            _ => target.begin(&parts, random).map(Some).map_err(Problem::Io),
        })
        .await?;
        let Some(begun) = begun else { return Ok(false) };
        let pin = Pin {
            version_id: row.version_id.clone(),
            etag: Some(row.etag.clone()).filter(|etag| !etag.is_empty()),
        };
        let crc64nvme = Some(row.crc64nvme.clone()).filter(|crc| !crc.is_empty());
        let expected = Expected { size: row.stored_size, crc64nvme };
        let file = Arc::clone(&begun.file);
        let download = self.bucket.download_into(&row.key, &pin, &expected, file, &self.limits);
        Box::pin(download).await.map_err(Problem::Transfer)?;
        blocking(move || {
            begun.finish(mtime_ns, mode, overwrite).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Problem::Kept,
                _ => Problem::Io(error),
            })
        })
        .await?;
        Ok(true)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    on_blocking_thread(work).await.map_err(Problem::Defect)?
}
