//! The one writer of what happened in a run: counts, failures, and the manifest.

use std::os::unix::ffi::OsStrExt;

use s3backup_model::manifest::{Line, Op};
use s3backup_model::{
    Event, Failure, FailureKind, Fatal, ManifestRef, Outcome, RunReport, SkipReason, Skipped, SourceReport,
    StepReport, StepState, Tally, Uploaded, key,
};
use s3backup_transfer::{
    Bucket, ChecksumKind, Done, Error as TransferError, Sse, Stored, Upload, crc64nvme_base64,
};

use crate::RunId;
use crate::events::Emitter;
use crate::plan::Naming;
use crate::segment::{Finished, Segment};

/// After this many files in a row that could not be sent for a reason that lies with the network or the server, the
/// rest would only take hours to fail the same way.
const FAILURES_IN_A_ROW: u32 = 50;

/// What is known of a run so far.
pub(crate) struct Record {
    run_id: RunId,
    pub(crate) sources: Vec<SourceReport>,
    pub(crate) steps: Vec<StepReport>,
    found: Tally,
    uploaded: Uploaded,
    unchanged: Tally,
    skipped: Skipped,
    failed: Vec<Failure>,
    failed_total: u64,
    retries: u64,
    warnings: Vec<String>,
    fatal: Option<Fatal>,
    manifests: Vec<ManifestRef>,
    segment: Option<Segment>,
    segments: u64,
    failures_in_a_row: u32,
}

impl Record {
    pub(crate) fn new(run_id: RunId, sources: impl IntoIterator<Item = String>) -> Self {
        let source = |path| SourceReport { path, seen: 0, found: Tally::default() };
        Self {
            run_id,
            sources: sources.into_iter().map(source).collect(),
            steps: Vec::new(),
            found: Tally::default(),
            uploaded: Uploaded::default(),
            unchanged: Tally::default(),
            skipped: Skipped::default(),
            failed: Vec::new(),
            failed_total: 0,
            retries: 0,
            warnings: Vec::new(),
            fatal: None,
            manifests: Vec::new(),
            segment: None,
            segments: 0,
            failures_in_a_row: 0,
        }
    }

    pub(crate) fn found(&self) -> Tally {
        self.found
    }

    pub(crate) fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The run as a whole fails. The first reason stays: the others mostly follow from it.
    pub(crate) fn fail(&mut self, fatal: Fatal) {
        self.fatal.get_or_insert(fatal);
    }

    pub(crate) fn is_fatal(&self) -> bool {
        self.fatal.is_some()
    }

    /// Whether there is no use in sending more. A missing source fails the run, but the other sources are still sent.
    pub(crate) fn is_fatal_for_transfer(&self) -> bool {
        self.fatal.as_ref().is_some_and(|fatal| fatal.kind != FailureKind::SourceMissing)
    }

    pub(crate) async fn miss_source(&mut self, events: &Emitter, message: String) {
        events.emit(Event::Warning { message: message.clone() }).await;
        match &mut self.fatal {
            Some(fatal) if fatal.kind == FailureKind::SourceMissing => {
                fatal.message = format!("{}; {message}", fatal.message);
            }
            _ => self.fail(Fatal { kind: FailureKind::SourceMissing, message }),
        }
    }

    /// Remembers a warning, each text once.
    pub(crate) async fn warn(&mut self, events: &Emitter, message: String) {
        if !self.warnings.contains(&message) {
            self.warnings.push(message.clone());
            events.warn(message).await;
        }
    }

    pub(crate) fn saw(&mut self, source: usize, seen: u64, skipped: &Skipped) {
        if let Some(source) = self.sources.get_mut(source) {
            source.seen += seen;
        }
        self.skipped.merge(skipped);
    }

    /// A selected file.
    pub(crate) fn select(&mut self, source: usize, bytes: u64) {
        self.found.add(bytes);
        if let Some(source) = self.sources.get_mut(source) {
            source.found.add(bytes);
        }
    }

    pub(crate) async fn skip(&mut self, events: &Emitter, path: String, reason: SkipReason) {
        events.emit(Event::Skipped { path, reason }).await;
    }

    pub(crate) async fn failure(&mut self, events: &Emitter, failure: Failure) {
        self.failed_total += 1;
        if self.failed.len() < RunReport::MAX_FAILED {
            self.failed.push(failure.clone());
        }
        events.emit(Event::Failed { failure }).await;
    }

    /// Takes in how one upload ended. Gives a manifest segment that is to be stored when one is full.
    pub(crate) async fn done(&mut self, events: &Emitter, done: Done) -> Option<Finished> {
        self.retries += done.retries;
        self.uploaded.wire_bytes += done.wire_bytes;
        let path = key::escape(done.upload.entry.path().as_os_str().as_bytes());
        match done.result {
            Ok(stored) => self.stored(events, path, &done.upload, stored).await,
            Err(error) => {
                self.not_stored(events, path, &error, done.attempts).await;
                None
            }
        }
    }

    async fn stored(
        &mut self,
        events: &Emitter,
        path: String,
        upload: &Upload,
        stored: Stored,
    ) -> Option<Finished> {
        self.failures_in_a_row = 0;
        let (key, bytes) = (upload.key.clone(), stored.stat.size);
        if stored.sent {
            self.uploaded.files += 1;
            self.uploaded.bytes += bytes;
            events.emit(Event::Uploaded { path: path.clone(), key, bytes }).await;
        } else {
            self.unchanged.add(bytes);
            events.emit(Event::Unchanged { path: path.clone(), key, bytes }).await;
        }
        let line = Line {
            op: Op::Put,
            path,
            key: upload.key.clone(),
            size: bytes,
            mtime_ns: stored.stat.mtime_ns,
            mode: stored.stat.mode,
            crc64nvme: stored.crc64nvme,
            stored_size: bytes,
            stored_checksum: stored.checksum,
            etag: stored.etag,
            version_id: stored.version_id,
            encoding: "none".to_owned(),
        };
        match self.push(&line) {
            Ok(full) => full,
            Err(error) => {
                let message = format!("the manifest cannot be made: {error}");
                self.fail(Fatal { kind: FailureKind::Record, message });
                None
            }
        }
    }

    async fn not_stored(&mut self, events: &Emitter, path: String, error: &TransferError, attempts: u32) {
        let (kind, message) = (error.kind(), error.to_line());
        if error.is_fatal() {
            self.fail(Fatal { kind, message: message.clone() });
        }
        if matches!(kind, FailureKind::Network | FailureKind::Server | FailureKind::Denied) {
            self.failures_in_a_row += 1;
            if self.failures_in_a_row == FAILURES_IN_A_ROW {
                let message = format!(
                    "{FAILURES_IN_A_ROW} files in a row could not be sent, the last because {message}"
                );
                self.fail(Fatal { kind, message });
            }
        }
        self.failure(events, Failure { path, kind, message, attempts }).await;
    }

    fn push(&mut self, line: &Line) -> std::io::Result<Option<Finished>> {
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => Segment::start(&self.run_id, self.segments)?,
        };
        segment.push(line)?;
        if segment.is_full() {
            self.segments = segment.number() + 1;
            return segment.finish().map(Some);
        }
        self.segment = Some(segment);
        Ok(None)
    }

    /// The last segment, if anything is in it.
    pub(crate) fn last_segment(&mut self) -> std::io::Result<Option<Finished>> {
        match self.segment.take() {
            Some(segment) if !segment.is_empty() => segment.finish().map(Some),
            _ => Ok(None),
        }
    }

    /// Stores a segment and remembers it for the report. A segment that is not stored fails the run: what it lists is in
    /// the bucket, but a restore would not find it.
    pub(crate) async fn store_segment(&mut self, shelf: &Shelf<'_>, segment: Finished) {
        let name = format!("manifests/{}/{}.jsonl.zst", self.run_id, segment.number);
        let crc64nvme = crc64nvme_base64(&segment.bytes);
        let stored = shelf.store(&name, segment.bytes).await;
        match stored {
            Ok(key) => self.manifests.push(ManifestRef { key, lines: segment.lines, crc64nvme }),
            Err(message) => {
                let message = format!(
                    "the manifest could not be stored, so {} files that are in the bucket are not listed there: {message}",
                    segment.lines
                );
                self.fail(Fatal { kind: FailureKind::Record, message });
            }
        }
    }

    /// How the run ends, as things stand.
    pub(crate) fn outcome(&self, interrupted: bool) -> Outcome {
        let is_step_lost =
            self.steps.iter().any(|step| matches!(step.state, StepState::Failed | StepState::TimedOut));
        if self.fatal.is_some() {
            Outcome::Failed
        } else if interrupted {
            Outcome::Interrupted
        } else if self.failed_total > 0 || is_step_lost {
            Outcome::Partial
        } else {
            Outcome::Success
        }
    }

    /// Puts what is known into a report.
    pub(crate) fn fill(&self, report: &mut RunReport, interrupted: bool) {
        report.outcome = self.outcome(interrupted);
        report.steps.clone_from(&self.steps);
        report.sources.clone_from(&self.sources);
        report.found = self.found;
        report.uploaded = self.uploaded;
        report.unchanged = self.unchanged;
        report.skipped = self.skipped;
        report.failed.clone_from(&self.failed);
        report.failed_total = self.failed_total;
        report.retries = self.retries;
        report.warnings.clone_from(&self.warnings);
        report.fatal.clone_from(&self.fatal);
        report.manifests.clone_from(&self.manifests);
    }
}

/// Where control data goes.
pub(crate) struct Shelf<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) naming: &'a Naming,
    pub(crate) checksum: ChecksumKind,
    pub(crate) sse: Option<&'a Sse>,
}

impl Shelf<'_> {
    /// Stores one piece under its name below the job's control prefix.
    pub(crate) async fn store(&self, name: &str, bytes: bytes::Bytes) -> Result<s3backup_model::Key, String> {
        let key = self.naming.control_key(name).map_err(|error| error.to_string())?;
        self.bucket.write(&key, bytes, self.checksum, self.sse).await.map_err(|error| error.to_line())?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn record() -> Record {
        Record::new(RunId::new(DateTime::UNIX_EPOCH, 0), ["/data".to_owned()])
    }

    fn step(state: StepState) -> StepReport {
        StepReport { name: "s".to_owned(), state, duration_s: 0.0, message: None }
    }

    #[test]
    fn the_outcome_is_the_worst_of_what_happened() {
        let mut record = record();
        assert_eq!(record.outcome(false), Outcome::Success);
        record.steps.push(step(StepState::Ok));
        assert_eq!(record.outcome(false), Outcome::Success);
        record.steps.push(step(StepState::TimedOut));
        assert_eq!(record.outcome(false), Outcome::Partial);
        record.steps.clear();
        record.failed_total = 1;
        assert_eq!(record.outcome(false), Outcome::Partial);
        assert_eq!(record.outcome(true), Outcome::Interrupted);
        record.fail(Fatal { kind: FailureKind::Bucket, message: "first".to_owned() });
        record.fail(Fatal { kind: FailureKind::Network, message: "second".to_owned() });
        assert_eq!(record.outcome(true), Outcome::Failed);
        assert_eq!(record.fatal.map(|fatal| fatal.message).as_deref(), Some("first"));
    }
}
