//! The one writer of what happened in a run: counts, failures, and the manifest.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;

use s3backup_model::manifest::{Line, MAX_SEGMENT_LINES, Op};
use s3backup_model::{
    Entry, Event, Fact, Failure, FailureKind, Fatal, FileStat, ManifestRef, Outcome, RunReport, Skipped,
    SourceReport, StepReport, Tally, Uploaded, key,
};
use s3backup_transfer::{
    Bucket, ChecksumKind, Done, Error as TransferError, Sse, Stored, Upload, crc64nvme_base64,
};
use tokio_util::sync::CancellationToken;

use crate::RunId;
use crate::events::Emitter;
use crate::facts::{self, Noted};
use crate::plan::Naming;
use crate::planning::{PlanBatch, Planned};
use crate::segment::{Finished, Segment};

/// After this many files in a row that could not be sent for a reason that lies with the network or the server, the
/// rest would only take hours to fail the same way. A file that is in the bucket ends the row; one that cannot be read
/// says nothing about the server and counts for neither.
const FAILURES_IN_A_ROW: u32 = 50;

/// The most warnings that a report holds; a server that is odd about every file must not make it grow without end.
pub(crate) const MAX_WARNINGS: usize = 100;

/// A file that is proved to be in the bucket.
pub(crate) struct Proved {
    pub(crate) entry: Entry,
    /// The file as it was when it was read.
    pub(crate) stat: FileStat,
    /// What the manifest says of it.
    pub(crate) line: Line,
    /// Whether this run sent it; else the bucket had these bytes already.
    pub(crate) is_sent: bool,
}

/// What is known of a run so far.
pub(crate) struct Record {
    run_id: RunId,
    /// Where its segments go: what their names begin with.
    segments_name: String,
    sources: Vec<SourceReport>,
    /// In which sources something could not be looked at.
    troubled: Vec<bool>,
    pub(crate) steps: Vec<StepReport>,
    facts: Vec<Fact>,
    found: Tally,
    uploaded: Uploaded,
    unchanged: Tally,
    gone: Tally,
    resumed_parts: u64,
    skipped: Skipped,
    failed: Vec<Failure>,
    failed_total: u64,
    /// How many of the failures are of files that count as found.
    failed_found: u64,
    retries: u64,
    warnings: Vec<String>,
    warnings_left_out: u64,
    fatal: Option<Fatal>,
    is_hopeless: bool,
    manifests: Vec<ManifestRef>,
    segment: Option<Segment>,
    segments: u64,
    lines_per_segment: u64,
    /// Complete and not yet stored.
    unstored: VecDeque<Finished>,
    /// Whether some lines of the manifest did not get into the bucket.
    has_lost_lines: bool,
    failures_in_a_row: u32,
    interruption: Interruption,
}

/// Whether the run was interrupted before its work was done.
enum Interruption {
    /// The work goes on: the token says it.
    Possible(CancellationToken),
    /// The work is over: what is cancelled now comes too late to cut any of it short.
    Settled(bool),
}

impl Record {
    pub(crate) fn new(
        run_id: RunId,
        sources: impl IntoIterator<Item = String>,
        cancel: CancellationToken,
    ) -> Self {
        let sources: Vec<SourceReport> = sources
            .into_iter()
            .map(|path| SourceReport {
                path,
                seen: 0,
                found: Tally::default(),
                walked: false,
                had_files: false,
            })
            .collect();
        Self {
            segments_name: format!("manifests/{run_id}/"),
            run_id,
            troubled: vec![false; sources.len()],
            sources,
            steps: Vec::new(),
            facts: Vec::new(),
            found: Tally::default(),
            uploaded: Uploaded::default(),
            unchanged: Tally::default(),
            gone: Tally::default(),
            resumed_parts: 0,
            skipped: Skipped::default(),
            failed: Vec::new(),
            failed_total: 0,
            failed_found: 0,
            retries: 0,
            warnings: Vec::new(),
            warnings_left_out: 0,
            fatal: None,
            is_hopeless: false,
            manifests: Vec::new(),
            segment: None,
            segments: 0,
            lines_per_segment: MAX_SEGMENT_LINES,
            unstored: VecDeque::new(),
            has_lost_lines: false,
            failures_in_a_row: 0,
            interruption: Interruption::Possible(cancel),
        }
    }

    /// Cuts segments when they have so many lines.
    pub(crate) fn cut_segments_at(&mut self, lines: u64) {
        self.lines_per_segment = lines;
    }

    /// Lets the names of segments begin with this, for one of several records of the same run.
    pub(crate) fn name_segments(&mut self, name: String) {
        self.segments_name = name;
    }

    /// Says that the work is over: from now on an interruption changes nothing about how the run ends.
    pub(crate) fn end_work(&mut self) {
        self.interruption = Interruption::Settled(self.is_interrupted());
    }

    /// The run was cut short after all: its end could not be recorded.
    pub(crate) fn cut_short(&mut self) {
        self.interruption = Interruption::Settled(true);
    }

    fn is_interrupted(&self) -> bool {
        match &self.interruption {
            Interruption::Possible(cancel) => cancel.is_cancelled(),
            Interruption::Settled(is_interrupted) => *is_interrupted,
        }
    }

    pub(crate) fn found(&self) -> Tally {
        self.found
    }

    /// The run as a whole fails. The first reason stays, because the others mostly follow from it; only what is said of
    /// sources is added up. After an interruption it is a warning: what then goes wrong is not why the run ended.
    pub(crate) async fn fail(&mut self, events: &Emitter, fatal: Fatal) {
        if self.is_interrupted() {
            return self.warn(events, format!("after the interruption: {}", fatal.message)).await;
        }
        self.is_hopeless |= !is_about_a_source(fatal.kind);
        match &mut self.fatal {
            None => self.fatal = Some(fatal),
            // A catalog that cannot be used says so at every use.
            Some(first) if is_about_a_source(first.kind) && !first.message.contains(&fatal.message) => {
                first.message = format!("{}; {}", first.message, fatal.message);
            }
            Some(_) => {}
        }
    }

    /// The same, and there is no use in doing anything more.
    pub(crate) async fn fail_at_once(&mut self, events: &Emitter, fatal: Fatal) {
        self.fail(events, fatal).await;
        self.is_hopeless = true;
    }

    /// Whether there is no use in doing more. A source without its files fails the run, but the others are still sent.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.is_hopeless
    }

    pub(crate) async fn miss_source(&mut self, events: &Emitter, message: String) {
        events.warn(message.clone()).await;
        self.fail(events, Fatal { kind: FailureKind::SourceMissing, message }).await;
    }

    /// What is known of each source.
    pub(crate) fn sources(&self) -> &[SourceReport] {
        &self.sources
    }

    /// Sources that were looked at to their end, all of them, without a file: their places among the sources.
    pub(crate) fn empty_sources(&self) -> Vec<usize> {
        let sources = self.sources.iter().enumerate();
        sources.filter(|(_, source)| source.walked && source.seen == 0).map(|(place, _)| place).collect()
    }

    /// Earlier runs saw files in this source.
    pub(crate) fn had_files(&mut self, place: usize) {
        if let Some(source) = self.sources.get_mut(place) {
            source.had_files = true;
        }
    }

    /// Sources that have files of which none is selected, each with how many it has.
    pub(crate) fn idle_sources(&self) -> Vec<(String, u64)> {
        let idle = self.sources.iter().filter(|source| source.seen > 0 && source.found == Tally::default());
        idle.map(|source| (source.path.clone(), source.seen)).collect()
    }

    /// Remembers a warning, each text once.
    pub(crate) async fn warn(&mut self, events: &Emitter, message: String) {
        if self.warnings.contains(&message) {
            return;
        }
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(message.clone());
        } else {
            self.warnings_left_out += 1;
        }
        events.warn(message).await;
    }

    /// Takes in facts, and warns of what is the matter with them.
    pub(crate) async fn note(&mut self, events: &Emitter, noted: Noted) {
        let left_out = facts::merge(&mut self.facts, noted.facts);
        for problem in noted.problems.into_iter().chain(left_out) {
            self.warn(events, problem).await;
        }
    }

    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Takes in the counts of some lines of the plan. Every selected file counts as found, also one that cannot be
    /// backed up.
    pub(crate) fn saw(&mut self, batch: &PlanBatch) {
        let mut found = batch.refused;
        found.merge(batch.unchanged);
        for line in &batch.lines {
            if let Planned::Upload { entry, .. } = line {
                found.add(entry.stat.size);
            }
        }
        self.found.merge(found);
        let failures = batch.lines.iter().filter(|line| matches!(line, Planned::Fail(_))).count() as u64;
        if let (Some(source), Some(troubled)) =
            (self.sources.get_mut(batch.source), self.troubled.get_mut(batch.source))
        {
            source.seen += batch.seen;
            source.found.merge(found);
            source.had_files |= source.seen > 0;
            // The others are of files whose names cannot be keys.
            *troubled |= failures > batch.refused.files;
            source.walked |= batch.is_whole && !*troubled;
        }
        self.unchanged.merge(batch.unchanged);
        self.failed_found += batch.refused.files;
        self.skipped.merge(&batch.skipped);
    }

    /// Takes in a selected file that is planned elsewhere.
    pub(crate) fn find(&mut self, bytes: u64) {
        self.found.add(bytes);
    }

    /// Once all is said of all files: each that was found must be in the bucket, be a failure, or be one of those that were
    /// dealt out to workers, and each source must have been walked to its end or be in trouble. Only a run that was cut short
    /// may leave some open.
    pub(crate) async fn balance(&mut self, events: &Emitter, dealt_out: u64) {
        if self.is_hopeless || self.is_interrupted() {
            return;
        }
        let ended = self.uploaded.files + self.unchanged.files + self.failed_found + dealt_out;
        let open = self.found.files.abs_diff(ended);
        if open > 0 {
            let message = format!("{open} files are unaccounted for; this is a defect, please report it");
            self.fail(events, Fatal { kind: FailureKind::Other, message }).await;
        }
        // A source that is missing, or a catalog that broke while it was walked, has failed the run already.
        if self.fatal.is_none()
            && let Some(path) = self.half_walked_source()
        {
            let message = format!("{path} was not walked to its end; this is a defect, please report it");
            self.fail(events, Fatal { kind: FailureKind::Other, message }).await;
        }
    }

    /// A source whose files were not all looked at, and of which no failure says why.
    fn half_walked_source(&self) -> Option<String> {
        let mut sources = self.sources.iter().zip(&self.troubled);
        let (source, _) = sources.find(|(source, is_troubled)| !source.walked && !**is_troubled)?;
        Some(source.path.clone())
    }

    pub(crate) async fn failure(&mut self, events: &Emitter, failure: Failure) {
        self.remember(&failure);
        events.emit(Event::Failed { failure }).await;
    }

    /// A file that was found could not be backed up, for a reason that no request gave.
    pub(crate) async fn file_failure(&mut self, events: &Emitter, failure: Failure) {
        self.failed_found += 1;
        self.failure(events, failure).await;
    }

    fn remember(&mut self, failure: &Failure) {
        self.failed_total += 1;
        if self.failed.len() < RunReport::MAX_FAILED {
            self.failed.push(failure.clone());
        }
    }

    /// Takes in how one upload ended; gives what is to be remembered of it, and puts what is to be told into `said`. A manifest
    /// segment may be complete then: see [`Self::store_segments`].
    pub(crate) async fn done(
        &mut self,
        events: &Emitter,
        done: Done,
        said: &mut VecDeque<Event>,
    ) -> Option<Proved> {
        self.retries += done.retries;
        self.resumed_parts += done.resumed_parts;
        self.uploaded.wire_bytes += done.wire_bytes;
        let path = key::escape(done.upload.entry.path().as_os_str().as_bytes());
        match done.result {
            Ok(stored) => Some(self.stored(events, path, done.upload, stored, said).await),
            Err(error) => {
                self.not_stored(events, path, &error, done.attempts, said).await;
                None
            }
        }
    }

    async fn stored(
        &mut self,
        events: &Emitter,
        path: String,
        upload: Upload,
        stored: Stored,
        said: &mut VecDeque<Event>,
    ) -> Proved {
        self.failures_in_a_row = 0;
        let (stat, bytes) = (stored.stat, stored.stat.size);
        let (told_path, key) = (path.clone(), upload.key.clone());
        said.push_back(if stored.sent {
            self.uploaded.files += 1;
            self.uploaded.bytes += bytes;
            Event::Uploaded { path: told_path, key, bytes }
        } else {
            self.unchanged.add(bytes);
            Event::Unchanged { path: told_path, key, bytes }
        });
        let is_known = upload.known.is_some_and(|known| !stored.sent && known.etag == stored.etag);
        let line = Line {
            op: if is_known { Op::Meta } else { Op::Put },
            path,
            key: upload.key,
            size: bytes,
            mtime_ns: stat.mtime_ns,
            mode: stat.mode,
            crc64nvme: stored.crc64nvme,
            stored_size: bytes,
            stored_checksum: stored.checksum,
            etag: stored.etag,
            version_id: stored.version_id,
            encoding: "none".to_owned(),
            run: None,
        };
        self.list(events, &line).await;
        Proved { entry: upload.entry, stat, line, is_sent: stored.sent }
    }

    /// Adds a line to the manifest.
    pub(crate) async fn list(&mut self, events: &Emitter, line: &Line) {
        if let Err(error) = self.push(line) {
            self.manifest_broke(events, &error).await;
        }
    }

    /// A file is gone from its source.
    pub(crate) async fn gone(&mut self, events: &Emitter, line: &Line) {
        self.gone.add(line.size);
        self.list(events, line).await;
    }

    /// Whether something is to be listed that is not in the bucket yet.
    pub(crate) fn has_unlisted(&self) -> bool {
        self.segment.is_some() || self.has_unstored()
    }

    /// Whether segments are complete that are not stored yet.
    pub(crate) fn has_unstored(&self) -> bool {
        !self.unstored.is_empty()
    }

    /// Whether all that was to be listed is in the bucket.
    pub(crate) fn is_all_listed(&self) -> bool {
        !self.has_unlisted() && !self.has_lost_lines
    }

    async fn manifest_broke(&mut self, events: &Emitter, error: &std::io::Error) {
        self.has_lost_lines = true;
        let message = format!("the manifest cannot be made: {error}");
        self.fail(events, Fatal { kind: FailureKind::Record, message }).await;
    }

    async fn not_stored(
        &mut self,
        events: &Emitter,
        path: String,
        error: &TransferError,
        attempts: u32,
        said: &mut VecDeque<Event>,
    ) {
        let (kind, message) = (error.kind(), error.to_line());
        let failure = Failure { path, kind, message: message.clone(), attempts };
        self.failed_found += 1;
        self.remember(&failure);
        said.push_back(Event::Failed { failure });
        if error.is_fatal() {
            self.fail(events, Fatal { kind, message: message.clone() }).await;
        }
        if matches!(kind, FailureKind::Network | FailureKind::Server | FailureKind::Denied) {
            self.failures_in_a_row += 1;
            if self.failures_in_a_row == FAILURES_IN_A_ROW {
                let message = format!(
                    "{FAILURES_IN_A_ROW} files in a row could not be sent, the last because {message}"
                );
                self.fail(events, Fatal { kind, message }).await;
            }
        }
    }

    fn push(&mut self, line: &Line) -> std::io::Result<()> {
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => Segment::start(&self.run_id, self.segments)?,
        };
        segment.push(line)?;
        self.segment = Some(segment);
        if self.segment.as_ref().is_some_and(|segment| segment.is_full(self.lines_per_segment)) {
            self.complete_segment()?;
        }
        Ok(())
    }

    fn complete_segment(&mut self) -> std::io::Result<()> {
        if let Some(segment) = self.segment.take() {
            self.segments = segment.number() + 1;
            self.unstored.push_back(segment.finish()?);
        }
        Ok(())
    }

    /// Completes the segment that is being written, however few lines it has.
    pub(crate) async fn close_segment(&mut self, events: &Emitter) {
        if let Err(error) = self.complete_segment() {
            self.manifest_broke(events, &error).await;
        }
    }

    /// Stores the segments that are complete and remembers them for the report. A segment that is not stored fails the
    /// run: what it lists is in the bucket, but a restore would not find it.
    ///
    /// When the future is dropped, the segment that was on its way is stored by the next call.
    pub(crate) async fn store_segments(&mut self, events: &Emitter, control: &Shelf<'_>) {
        while let Some(segment) = self.unstored.front() {
            let name = format!("{}{}.jsonl.zst", self.segments_name, segment.number);
            let crc64nvme = crc64nvme_base64(&segment.bytes);
            let lines = segment.lines;
            let stored = control.store(&name, segment.bytes.clone()).await;
            self.unstored.pop_front();
            match stored {
                Ok(key) => self.manifests.push(ManifestRef { key, lines, crc64nvme }),
                Err(message) => {
                    self.has_lost_lines = true;
                    let message = format!(
                        "the manifest could not be stored, so {lines} files that are in the bucket are not listed there: {message}"
                    );
                    self.fail(events, Fatal { kind: FailureKind::Record, message }).await;
                }
            }
        }
    }

    /// How the run ends, as things stand.
    pub(crate) fn outcome(&self) -> Outcome {
        let is_step_lost = self.steps.iter().any(|step| step.state.is_lost());
        if self.fatal.is_some() {
            Outcome::Failed
        } else if self.is_interrupted() {
            Outcome::Interrupted
        } else if self.failed_total > 0 || is_step_lost {
            Outcome::Partial
        } else {
            Outcome::Success
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        warnings.extend(left_out(self.warnings_left_out));
        warnings
    }

    /// Puts what is known into a report.
    pub(crate) fn fill(&self, report: &mut RunReport) {
        report.outcome = self.outcome();
        report.steps.clone_from(&self.steps);
        report.facts.clone_from(&self.facts);
        report.sources.clone_from(&self.sources);
        report.found = self.found;
        report.uploaded = self.uploaded;
        report.unchanged = self.unchanged;
        report.gone = self.gone;
        report.resumed_parts = self.resumed_parts;
        report.skipped = self.skipped;
        report.failed.clone_from(&self.failed);
        report.failed_total = self.failed_total;
        report.retries = self.retries;
        report.warnings = self.warnings();
        report.fatal.clone_from(&self.fatal);
        report.manifests.clone_from(&self.manifests);
    }
}

/// What stands for warnings beyond [`MAX_WARNINGS`].
pub(crate) fn left_out(warnings: u64) -> Option<String> {
    (warnings > 0).then(|| format!("and {warnings} more warnings, which are in the log"))
}

/// Of these the other sources know nothing, and neither do files that are new.
fn is_about_a_source(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::SourceMissing | FailureKind::SourceEmpty | FailureKind::Guard | FailureKind::Catalog
    )
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
        let writing = Box::pin(self.bucket.write(&key, bytes, self.checksum, self.sse));
        writing.await.map_err(|error| error.to_line())?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use s3backup_model::{Key, StepState};

    fn record(cancel: &CancellationToken) -> Record {
        Record::new(RunId::new(DateTime::UNIX_EPOCH, 0), ["/data".to_owned()], cancel.clone())
    }

    /// Room for more events than any of these tests makes.
    fn emitter() -> (Emitter, tokio::sync::mpsc::Receiver<Event>) {
        let (sender, events) = tokio::sync::mpsc::channel(1000);
        (Emitter::new(sender, crate::run::silent()), events)
    }

    fn fatal(kind: FailureKind, message: &str) -> Fatal {
        Fatal { kind, message: message.to_owned() }
    }

    fn step(state: StepState) -> StepReport {
        StepReport { name: "s".to_owned(), state, duration_s: 0.0, message: None }
    }

    #[tokio::test]
    async fn what_fails_again_and_again_is_said_once() {
        let (events, _watcher) = emitter();
        let mut record = record(&CancellationToken::new());
        for message in ["the disk is full", "the disk is full", "a source is gone", "the disk is full"] {
            record.fail(&events, fatal(FailureKind::Catalog, message)).await;
        }
        assert_eq!(record.fatal.unwrap().message, "the disk is full; a source is gone");
    }

    #[tokio::test]
    async fn the_outcome_is_the_worst_of_what_happened() {
        let (events, _watcher) = emitter();
        let mut record = record(&CancellationToken::new());
        assert_eq!(record.outcome(), Outcome::Success);
        record.steps.push(step(StepState::Ok));
        assert_eq!(record.outcome(), Outcome::Success);
        record.steps.push(step(StepState::TimedOut));
        assert_eq!(record.outcome(), Outcome::Partial);
        record.steps.clear();
        record.failed_total = 1;
        assert_eq!(record.outcome(), Outcome::Partial);
        record.fail(&events, fatal(FailureKind::Bucket, "first")).await;
        record.fail(&events, fatal(FailureKind::Network, "second")).await;
        record.cut_short();
        assert_eq!(record.outcome(), Outcome::Failed);
        assert_eq!(record.fatal.map(|fatal| fatal.message).as_deref(), Some("first"));
    }

    #[tokio::test]
    async fn a_missing_source_does_not_hide_that_there_is_no_hope() {
        let (events, _watcher) = emitter();
        let mut record = record(&CancellationToken::new());
        record.miss_source(&events, "no disk".to_owned()).await;
        assert!(!record.is_hopeless());
        record.fail(&events, fatal(FailureKind::Bucket, "no bucket")).await;
        assert!(record.is_hopeless());
        assert_eq!(record.fatal, Some(fatal(FailureKind::SourceMissing, "no disk; no bucket")));
    }

    #[tokio::test]
    async fn what_goes_wrong_after_an_interruption_is_a_warning() {
        let (events, _watcher) = emitter();
        let cancel = CancellationToken::new();
        let mut record = record(&cancel);
        cancel.cancel();
        record.fail(&events, fatal(FailureKind::Record, "no answer")).await;
        assert_eq!(record.outcome(), Outcome::Interrupted);
        assert_eq!(record.warnings, ["after the interruption: no answer"]);
    }

    #[tokio::test]
    async fn an_interruption_after_the_work_hides_nothing() {
        let (events, _watcher) = emitter();
        let cancel = CancellationToken::new();
        let mut record = record(&cancel);
        record.end_work();
        cancel.cancel();
        record.fail(&events, fatal(FailureKind::Record, "no answer")).await;
        assert_eq!((record.outcome(), record.warnings.len()), (Outcome::Failed, 0));
    }

    fn batch_of(files: u64) -> PlanBatch {
        let mut batch = PlanBatch { seen: files, is_whole: true, ..PlanBatch::default() };
        batch.refused.files = 1;
        for number in 1..files {
            let entry = Entry {
                source: 0,
                root: std::path::Path::new("/data").into(),
                relative: number.to_string().into(),
                stat: FileStat { size: 1, mtime_ns: 0, ctime_ns: 0, mode: 0, inode: number, device: 1 },
            };
            let key = Key::new(format!("trips/{number}")).unwrap();
            batch.lines.push(Planned::Upload { entry, key, reason: crate::Reason::New, known: None });
        }
        batch
    }

    #[tokio::test]
    async fn files_of_which_nothing_was_said_fail_the_run() {
        let (events, _watcher) = emitter();
        let cancel = CancellationToken::new();
        for (ended, outcome) in [(3, Outcome::Success), (2, Outcome::Failed), (4, Outcome::Failed)] {
            let mut record = record(&cancel);
            record.saw(&batch_of(4));
            (record.uploaded.files, record.unchanged.files) = (1, ended - 1);
            record.balance(&events, 0).await;
            assert_eq!(record.outcome(), outcome);
            if let Some(fatal) = record.fatal {
                assert!(
                    fatal.kind == FailureKind::Other && fatal.message.starts_with("1 files are unaccounted")
                );
            }
        }
        let mut record = record(&cancel);
        record.saw(&batch_of(4));
        cancel.cancel();
        record.balance(&events, 0).await;
        assert_eq!((record.outcome(), record.warnings.len()), (Outcome::Interrupted, 0), "it left some open");
    }

    #[tokio::test]
    async fn a_source_that_was_left_half_way_for_no_reason_fails_the_run() {
        let (events, _watcher) = emitter();
        let cancel = CancellationToken::new();
        let half = || {
            let mut record = record(&cancel);
            record.saw(&PlanBatch { is_whole: false, ..batch_of(4) });
            record.uploaded.files = 3;
            record
        };

        let mut forgotten = half();
        forgotten.balance(&events, 0).await;
        let message = "/data was not walked to its end; this is a defect, please report it";
        assert_eq!(forgotten.fatal, Some(fatal(FailureKind::Other, message)));

        let mut whole = half();
        whole.saw(&PlanBatch { is_whole: true, ..PlanBatch::default() });
        whole.balance(&events, 0).await;
        assert_eq!(whole.outcome(), Outcome::Success);

        let unreadable = Failure {
            path: "/data/locked".to_owned(),
            kind: FailureKind::Unreadable,
            message: "permission denied".to_owned(),
            attempts: 0,
        };
        let mut troubled = half();
        troubled.saw(&PlanBatch { lines: vec![Planned::Fail(unreadable.clone())], ..PlanBatch::default() });
        troubled.failure(&events, unreadable).await;
        troubled.balance(&events, 0).await;
        assert_eq!(troubled.outcome(), Outcome::Partial, "a failure says why");

        let mut missing = half();
        missing.miss_source(&events, "/data is gone".to_owned()).await;
        missing.balance(&events, 0).await;
        assert_eq!(missing.fatal, Some(fatal(FailureKind::SourceMissing, "/data is gone")));

        let mut interrupted = half();
        cancel.cancel();
        interrupted.balance(&events, 0).await;
        assert_eq!(interrupted.outcome(), Outcome::Interrupted);
    }

    #[tokio::test]
    async fn warnings_are_kept_once_and_are_bounded() {
        let (events, mut watcher) = emitter();
        let mut record = record(&CancellationToken::new());
        for number in 0..MAX_WARNINGS + 7 {
            record.warn(&events, format!("warning {number}")).await;
            record.warn(&events, "warning 0".to_owned()).await;
        }
        let kept = record.warnings();
        assert_eq!(kept.len(), MAX_WARNINGS + 1);
        assert_eq!(kept[MAX_WARNINGS], "and 7 more warnings, which are in the log");
        let mut told = 0;
        while watcher.try_recv().is_ok() {
            told += 1;
        }
        assert_eq!(told, MAX_WARNINGS + 7, "every one is told as it comes");
    }
}
