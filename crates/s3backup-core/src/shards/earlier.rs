//! What earlier attempts at a shard proved: a worker goes on from there, on any machine.

use std::sync::Arc;

use s3backup_catalog::{Error as CatalogError, FileRow};
use s3backup_model::{ManifestRef, RunId, RunReport, ShardProgress, Tally, Uploaded};
use s3backup_transfer::Bucket;

use super::{attempts_name, progress_name, segments_name};
use crate::Error;
use crate::backup::Job;
use crate::error::line_of;
use crate::memory::Memory;
use crate::state::{control_key, fold, read_segment};

/// How an attempt is named.
const ATTEMPT_DIGITS: usize = 8;

/// What is known of the files of a shard before an attempt begins.
#[derive(Default)]
pub(crate) struct Earlier {
    /// The files, in a catalog that ends with the attempt; none where there was no attempt.
    files: Option<Memory>,
    manifests: Vec<ManifestRef>,
    /// Files that were sent and that the lists have not come to yet.
    sent: u64,
    found: Tally,
    uploaded: Uploaded,
    unchanged: Tally,
    retries: u64,
    resumed_parts: u64,
}

impl Earlier {
    /// Reads what the attempts left. Of what is missing or damaged it is only said so: its files are sent again.
    ///
    /// # Errors
    /// [`Error::Transfer`] and [`Error::Catalog`].
    pub(crate) async fn read(
        job: &Arc<Job>,
        bucket: &Bucket,
        run: &RunId,
        shard: u32,
    ) -> Result<(Self, Vec<String>), Error> {
        let (mut earlier, mut warnings) = (Self::default(), Vec::new());
        for progress in attempts(job, bucket, run, shard, &mut warnings).await? {
            let files = match &earlier.files {
                Some(files) => files.clone(),
                None => Memory::scratch(job).await?,
            };
            earlier.files = Some(files.clone());
            let ours = control_key(job, &format!("{}{}-", segments_name(run, shard), progress.attempt))?;
            let ShardProgress { report, .. } = progress;
            earlier.sent += report.uploaded.files;
            earlier.uploaded.wire_bytes += report.uploaded.wire_bytes;
            earlier.retries += report.retries;
            earlier.resumed_parts += report.resumed_parts;
            for segment in report.manifests {
                if !segment.key.as_str().starts_with(ours.as_str()) {
                    warnings.push(format!("{} is named by an attempt that did not write it", segment.key));
                    continue;
                }
                match take_in(job, bucket, &files, &segment).await {
                    Ok(()) => earlier.manifests.push(segment),
                    Err(error @ Error::Manifest { .. }) => {
                        let message = "what an earlier attempt did is done again";
                        warnings.push(format!("{message}: {}", line_of(&error)));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((earlier, warnings))
    }

    /// The files that were proved, to be asked on threads that may block.
    pub(crate) fn files(&self) -> Option<Files> {
        self.files.clone().map(Files)
    }

    /// The lists came to a file that was proved.
    pub(crate) fn meet(&mut self, bytes: u64) {
        self.found.add(bytes);
        if self.sent > 0 {
            self.sent -= 1;
            self.uploaded.files += 1;
            self.uploaded.bytes += bytes;
        } else {
            self.unchanged.add(bytes);
        }
    }

    /// How many files it met.
    pub(crate) fn found(&self) -> u64 {
        self.found.files
    }

    /// Adds what was done earlier to what an attempt did.
    pub(crate) fn add_to(&self, report: &mut RunReport) {
        report.found.merge(self.found);
        report.uploaded.files += self.uploaded.files;
        report.uploaded.bytes += self.uploaded.bytes;
        report.uploaded.wire_bytes += self.uploaded.wire_bytes;
        report.unchanged.merge(self.unchanged);
        report.retries += self.retries;
        report.resumed_parts += self.resumed_parts;
        // What is read later holds, and this attempt knows more.
        report.manifests.splice(..0, self.manifests.iter().cloned());
    }
}

/// Files that were proved.
pub(crate) struct Files(Memory);

impl Files {
    /// What is known of a file. Blocks.
    pub(crate) fn get(&self, source: usize, path: &[u8]) -> Result<Option<FileRow>, CatalogError> {
        let Some(source) = self.0.sources.get(source) else { return Ok(None) };
        self.0.here().file(*source, path)
    }
}

/// The attempts that got somewhere, in the order in which they began. Their failures are left out.
async fn attempts(
    job: &Job,
    bucket: &Bucket,
    run: &RunId,
    shard: u32,
    warnings: &mut Vec<String>,
) -> Result<Vec<ShardProgress>, Error> {
    let prefix = control_key(job, &attempts_name(run, shard))?;
    // One page: nobody tries a thousand times, and what lies there beyond is done again.
    let listed = Box::pin(bucket.list(prefix.as_str(), None)).await.map_err(Error::Transfer)?;
    let mut attempts = Vec::new();
    for object in listed.objects {
        let name = object.key.strip_prefix(prefix.as_str()).and_then(|name| name.strip_suffix(".json"));
        let Some(attempt) = name.filter(|name| is_attempt(name)) else { continue };
        match super::read::<ShardProgress>(job, bucket, &progress_name(run, shard, attempt)).await {
            Ok(Some(mut progress))
                if progress.report.run_id == *run
                    && (progress.shard, progress.attempt.as_str()) == (shard, attempt) =>
            {
                progress.report.failed = Vec::new();
                attempts.push(progress);
            }
            Ok(Some(_)) => warnings.push(format!("{} is of another attempt, and is left alone", object.key)),
            Ok(None) => {}
            Err(error @ Error::Manifest { .. }) => {
                warnings.push(format!("what an earlier attempt did is done again: {}", line_of(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    attempts.sort_by(|one, other| {
        (one.report.started_at, &one.attempt).cmp(&(other.report.started_at, &other.attempt))
    });
    Ok(attempts)
}

fn is_attempt(name: &str) -> bool {
    name.len() == ATTEMPT_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Takes in a segment, all of it or nothing: a file that is known by half a segment would be in no manifest.
async fn take_in(job: &Job, bucket: &Bucket, files: &Memory, segment: &ManifestRef) -> Result<(), Error> {
    read_segment(bucket, &segment.key, Some(segment), |_, _| Ok(())).await?;
    fold(job, bucket, files, &segment.key, Some(segment)).await.map(|_| ())
}
