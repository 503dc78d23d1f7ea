//! Letting the plan flow through the engine into the record and the catalog.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use s3backup_catalog::{Deferred, FileRow, FileState, Hints};
use s3backup_discovery::discover;
use s3backup_model::manifest::{Line, Op};
use s3backup_model::{Entry, Event, Failure, FailureKind, Fatal, Key, RunId, key};
use s3backup_transfer::{Bucket, Engine, Error as TransferError, Known, ObjectSettings, Update, Upload};
use tokio::sync::mpsc::{self, PermitIterator};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::backup::Job;
use crate::plan::Reason;
use crate::planning::{Notes, Plan, PlanBatch, Planned, known_of};
use crate::record::{Proved, Shelf};
use crate::run::{DRAIN_SHARE, LEEWAY_SHARE, Run, grace_is_over};
use crate::said::Said;
use crate::uploads::Journal;

/// Planned uploads that wait for the engine: enough that it never waits for the plan, and few enough to be nothing.
pub(crate) const UPLOADS_AHEAD: usize = 256;

/// Updates that wait to be written down; taken in batches of up to this.
pub(crate) const UPDATES_AHEAD: usize = 512;

/// As many uploads as the engine must have taken before it is given more, so that it is not fed one by one.
pub(crate) const UPLOADS_AT_ONCE: usize = 64;

/// Proved files wait for the catalog until they are this many or this many bytes, or have waited this long. Writing them is
/// synced to disk, which costs the same for one and for a thousand. What waits when the run is killed is in the bucket, and
/// the next run is told so when it sends it: the bytes are what that costs at most. A file in parts never waits.
const ROWS_AT_ONCE: usize = 1024;
const BYTES_AT_ONCE: u64 = 4 << 20;
const ROWS_WAIT: Duration = Duration::from_millis(200);

/// Files that were put off, read back at a time.
const DEFERRED_PAGE: usize = 256;

/// What comes next to the engine.
enum Stage {
    /// What the walk finds. New files go at once; those that may replace something are put off.
    Walk,
    /// The files that were put off, from behind this one.
    Deferred {
        after: i64,
        /// Only to see how many of them really differ; nothing is sent.
        hold: bool,
    },
    /// Waits until the engine has answered for all that it was given.
    Held,
    /// Nothing.
    End,
}

/// What the writer knows of the flow.
pub(crate) struct Flow {
    plan: Plan,
    stage: Stage,
    /// Uploads that the engine was given and has not answered for.
    outstanding: u64,
    /// Files of which the catalog knew, and which are still there.
    known: u64,
    deferred: u64,
    /// The last of the files that were put off by the walk.
    last_deferred: i64,
    held: u64,
}

impl Flow {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, stage: Stage::Walk, outstanding: 0, known: 0, deferred: 0, last_deferred: 0, held: 0 }
    }

    /// The next of what the walk finds.
    pub(crate) async fn next_lines(&mut self) -> Option<Result<PlanBatch, Error>> {
        self.plan.next().await
    }

    /// Files of which the catalog knew, and which are still there.
    pub(crate) fn known(&self) -> u64 {
        self.known
    }

    /// Files that were put off because they may replace something.
    pub(crate) fn deferred(&self) -> u64 {
        self.deferred
    }
}

/// What the engine said and is not dealt with yet.
#[derive(Default)]
struct Inbox {
    updates: VecDeque<Update>,
    /// What the watcher is to be told.
    said: Said,
    /// What the catalog is to be told, each with whether this run sent it.
    rows: Vec<(FileRow, bool)>,
    row_bytes: u64,
    /// When the rows have waited long enough.
    due: Option<Instant>,
}

impl Inbox {
    fn add_row(&mut self, row: FileRow, is_sent: bool, now: Instant) {
        self.due.get_or_insert(now + ROWS_WAIT);
        self.row_bytes += row.size;
        self.rows.push((row, is_sent));
    }

    /// Whether the rows must not wait any more.
    fn is_due(&self, now: Instant) -> bool {
        self.rows.len() >= ROWS_AT_ONCE
            || self.row_bytes >= BYTES_AT_ONCE
            || self.due.is_some_and(|due| due <= now)
    }

    fn take_rows(&mut self) -> Vec<(FileRow, bool)> {
        (self.row_bytes, self.due) = (0, None);
        std::mem::take(&mut self.rows)
    }
}

impl Run<'_> {
    /// Sends every selected file. Ends within its share of the grace after an interruption.
    pub(crate) async fn transfer(&mut self, bucket: &Bucket) {
        let job = self.job;
        if let Err(error) = self.memory.with(s3backup_catalog::Catalog::clear_deferred).await {
            return self.catalog_broke(&error).await;
        }
        // Ends the flow alone: what is cancelled here is the run's, not the caller's.
        let stop = self.cancel.child_token();
        let flow = Flow::new(self.walk(stop.clone()));
        let mut engine = engine(job, bucket, &self.id);
        // What does not outlive the run cannot tell the next one where to go on.
        if self.memory.is_lasting {
            let journal = Journal::new(self.memory.clone(), self.id.clone(), Arc::clone(&job.clock));
            engine = engine.with_journal(Arc::new(journal));
        }
        let (to_engine, planned) = mpsc::channel(UPLOADS_AHEAD);
        let (said, mut updates) = mpsc::channel(UPDATES_AHEAD);

        let control = job.shelf(bucket);
        // The engine has the drain; the leeway is for what it said last.
        let time_is_up = grace_is_over(job, self.cancel, DRAIN_SHARE + LEEWAY_SHARE);
        let engine = engine.run(planned, said, stop.clone());
        let mut inbox = Inbox::default();
        {
            let writer = self.write_down(flow, to_engine, &mut updates, &mut inbox, &control, &stop);
            let writing = async { tokio::join!(engine, writer) };
            tokio::select! {
                _ = writing => {}
                () = time_is_up => {}
            }
        }
        // What was said and not written down is of objects that are in the bucket, or are not: both belong in the report.
        while let Ok(update) = updates.try_recv() {
            inbox.updates.push_back(update);
        }
        self.take_all(&mut inbox).await;
        self.remember(&mut inbox).await;
    }

    /// What the sources have, compared with what is known.
    pub(crate) fn walk(&self, stop: CancellationToken) -> Plan {
        let job = self.job;
        let sources = job.discovery_sources(&self.days, self.settled.as_ref());
        let discovery = discover(sources, job.walk_clock(), stop, self.events.logger().clone());
        let notes = Some(Notes { run: self.id.clone(), now: self.begun.at });
        Plan::new(discovery, Arc::clone(&job.naming), self.memory.clone(), job.reads_all(), notes)
    }

    /// The one writer: takes lines of the plan and updates of the engine as they come.
    async fn write_down(
        &mut self,
        mut flow: Flow,
        to_engine: mpsc::Sender<Upload>,
        updates: &mut mpsc::Receiver<Update>,
        inbox: &mut Inbox,
        control: &Shelf<'_>,
        stop: &CancellationToken,
    ) {
        let mut to_engine = Some(to_engine);
        let mut waiting: VecDeque<Upload> = VecDeque::new();
        let mut batch = Vec::with_capacity(UPDATES_AHEAD);
        loop {
            // The plan is only asked for more when the engine has taken what there was: both channels stay bounded
            // and neither side waits for the other.
            let sender = to_engine.clone().filter(|_| !waiting.is_empty());
            let is_waiting_for_engine = matches!(flow.stage, Stage::Held) && flow.outstanding > 0;
            tokio::select! {
                count = updates.recv_many(&mut batch, UPDATES_AHEAD) => {
                    if count == 0 {
                        break;
                    }
                    flow.outstanding -= batch.iter().filter(|update| matches!(update, Update::Done(_))).count() as u64;
                    flow.held += self.defer_held(&mut batch).await;
                    inbox.updates.extend(batch.drain(..));
                    self.take_all(inbox).await;
                    if self.record.has_unstored() {
                        // Storing a segment may take long.
                        self.remember(inbox).await;
                    }
                    // Not after an interruption: the engine's last words wait behind this. A segment that does not get
                    // through is kept, and sent with the report.
                    let (events, cancel) = (self.events, self.cancel);
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => {}
                        () = self.record.store_segments(events, control) => {}
                    }
                }
                slots = reserve(sender.as_ref(), waiting.len()), if sender.is_some() => match slots {
                    Some(slots) => {
                        for (slot, upload) in slots.zip(waiting.drain(..waiting.len().min(UPLOADS_AT_ONCE))) {
                            flow.outstanding += 1;
                            slot.send(upload);
                        }
                    }
                    None => to_engine = None,
                },
                () = until(inbox.due) => self.remember(inbox).await,
                more = next(&mut flow, self), if to_engine.is_some() && waiting.is_empty() && !is_waiting_for_engine => {
                    match more {
                        More::Lines(lines) => self.take_lines(lines, &mut flow, &mut waiting).await,
                        More::Uploads(uploads) => waiting.extend(uploads),
                        More::StageEnds => self.end_stage(&mut flow, stop).await,
                        More::Broken(error) => self.catalog_broke(&error).await,
                    }
                    if matches!(flow.stage, Stage::End) {
                        to_engine = None;
                    }
                }
            }
            if self.record.is_hopeless() {
                stop.cancel();
            }
        }
    }

    pub(crate) async fn take_lines(
        &mut self,
        batch: PlanBatch,
        flow: &mut Flow,
        waiting: &mut VecDeque<Upload>,
    ) {
        let before = self.record.found();
        self.record.saw(&batch);
        if batch.unchanged.files > 0 {
            self.events.emit(Event::Known { unchanged: batch.unchanged }).await;
        }
        let mut deferred = Vec::new();
        for line in batch.lines {
            match line {
                Planned::Upload { entry, key, reason, known } => {
                    if self.job.guards() && !matches!(reason, Reason::New | Reason::Repair) {
                        deferred.extend(self.deferred(&entry));
                    } else {
                        waiting.push_back(self.upload(entry, key, known, false));
                    }
                }
                Planned::Skip { path, reason } => self.events.emit(Event::Skipped { path, reason }).await,
                Planned::Fail(failure) => self.record.failure(self.events, failure).await,
                Planned::MissingSource { message, .. } => self.record.miss_source(self.events, message).await,
            }
        }
        flow.deferred += deferred.len() as u64;
        flow.known += batch.unchanged.files + deferred.len() as u64;
        self.defer(deferred).await;
        if self.record.found() != before {
            self.events.emit(Event::Found { found: self.record.found() }).await;
        }
    }

    fn upload(&self, entry: Entry, key: Key, known: Option<Known>, hold: bool) -> Upload {
        let known = known.map(|known| Known { is_unsettled: self.is_unsettled, ..known });
        let follow_symlinks = self.job.follows_symlinks(entry.source);
        let file_id = self.job.naming.file_id(&entry);
        Upload { entry, key, file_id, follow_symlinks, known, hold }
    }

    fn deferred(&self, entry: &Entry) -> Option<Deferred> {
        let source = *self.memory.sources.get(entry.source)?;
        Some(Deferred { source, path: entry.relative.as_os_str().as_bytes().to_vec(), stat: entry.stat })
    }

    async fn defer(&mut self, files: Vec<Deferred>) {
        if files.is_empty() {
            return;
        }
        if let Err(error) = self.memory.with(move |catalog| catalog.defer(&files)).await {
            self.catalog_broke(&error).await;
        }
    }

    /// Takes out the files that were not sent because they differ from what is in the bucket, and puts them off once more.
    async fn defer_held(&mut self, batch: &mut Vec<Update>) -> u64 {
        let held = batch.extract_if(.., |update| {
            matches!(update, Update::Done(done) if matches!(done.result, Err(TransferError::Held { .. })))
        });
        let held: Vec<Deferred> = held
            .filter_map(|update| match update {
                Update::Done(done) => self.deferred(&done.upload.entry),
                _ => None,
            })
            .collect();
        let count = held.len() as u64;
        self.defer(held).await;
        count
    }

    /// Decides what comes behind a stage that has ended.
    async fn end_stage(&mut self, flow: &mut Flow, stop: &CancellationToken) {
        match flow.stage {
            Stage::Walk => {
                if !stop.is_cancelled() {
                    self.events.emit(Event::DiscoveryFinished { found: self.record.found() }).await;
                }
                flow.last_deferred = i64::try_from(flow.deferred).unwrap_or(i64::MAX);
                let hold = self.job.is_too_many(flow.deferred, flow.known);
                flow.stage = if flow.deferred > 0 { Stage::Deferred { after: 0, hold } } else { Stage::End };
            }
            Stage::Deferred { hold: true, .. } => flow.stage = Stage::Held,
            Stage::Held if flow.held == 0 => flow.stage = Stage::End,
            Stage::Held if self.job.is_too_many(flow.held, flow.known) => {
                self.stand_guard(flow).await;
                flow.stage = Stage::End;
            }
            Stage::Held => flow.stage = Stage::Deferred { after: flow.last_deferred, hold: false },
            Stage::Deferred { hold: false, .. } | Stage::End => flow.stage = Stage::End,
        }
    }

    /// So many of the files that were put off look changed that none is dealt out. Nobody has read them yet.
    pub(crate) async fn hold_back_unread(&mut self, flow: &mut Flow) {
        (flow.held, flow.last_deferred) = (flow.deferred, 0);
        let message = "what was looked at is size and times alone: one `backup run` reads the files and tells whether they differ";
        self.record.warn(self.events, message.to_owned()).await;
        self.stand_guard(flow).await;
    }

    /// So much has changed at once that none of it is overwritten.
    async fn stand_guard(&mut self, flow: &Flow) {
        let mut after = flow.last_deferred;
        loop {
            let page = self.memory.with(move |catalog| catalog.deferred(after, DEFERRED_PAGE)).await;
            let page = match page {
                Ok(page) if page.is_empty() => break,
                Ok(page) => page,
                Err(error) => return self.catalog_broke(&error).await,
            };
            for (number, file) in page {
                after = number;
                let Some(entry) = self.entry(file) else { continue };
                let path = key::escape(entry.path().as_os_str().as_bytes());
                let message =
                    "it changed together with many others, and what is in the bucket was not overwritten";
                let failure =
                    Failure { path, kind: FailureKind::Guard, message: message.to_owned(), attempts: 0 };
                self.record.file_failure(self.events, failure).await;
            }
        }
        let message = format!(
            "{} of the {} files that are in the bucket changed at once, more than `[guard] max_changed` = {} % allows, so none of them was overwritten; new files were sent. Look whether somebody encrypted or damaged them; if it is meant, run once with --force",
            flow.held, flow.known, self.job.max_changed
        );
        self.record.fail(self.events, Fatal { kind: FailureKind::Guard, message }).await;
    }

    fn entry(&self, file: Deferred) -> Option<Entry> {
        let place = self.memory.place_of(file.source)?;
        let root = self.job.sources.get(place)?.path.as_path().into();
        Some(Entry {
            source: place,
            root,
            relative: PathBuf::from(OsString::from_vec(file.path)),
            stat: file.stat,
        })
    }

    /// The next of the files that were put off, as uploads.
    pub(crate) async fn deferred_uploads(
        &self,
        after: i64,
        hold: bool,
        until: i64,
    ) -> Result<(i64, Vec<Upload>), Error> {
        let page = self
            .memory
            .with(move |catalog| {
                let page = catalog.deferred(after, DEFERRED_PAGE)?;
                let with_rows =
                    page.into_iter().filter(|(number, _)| *number <= until).map(|(number, file)| {
                        let row = catalog.file(file.source, &file.path)?;
                        Ok((number, file, row))
                    });
                with_rows.collect::<Result<Vec<_>, s3backup_catalog::Error>>()
            })
            .await?;
        let last = page.last().map_or(after, |(number, ..)| *number);
        let uploads = page.into_iter().filter_map(|(_, file, row)| {
            let entry = self.entry(file)?;
            let key = self.job.naming.key_of(&entry).ok()?;
            let known = row.filter(|row| row.key == key).map(|row| known_of(&row));
            Some(self.upload(entry, key, known, hold))
        });
        Ok((last, uploads.collect()))
    }

    /// What it did not get to when the future is dropped stays in `inbox`.
    async fn take_all(&mut self, inbox: &mut Inbox) {
        while let Some(update) = inbox.updates.pop_front() {
            let proved = inbox.said.take(update, &mut self.record, self.events).await;
            if let Some((row, is_sent)) = proved.and_then(|proved| self.row(proved)) {
                inbox.add_row(row, is_sent, Instant::now());
            }
        }
        if inbox.is_due(Instant::now()) {
            self.remember(inbox).await;
        }
        inbox.said.tell(self.events).await;
    }

    /// Writes into the catalog what is proved. A file whose key is another now leaves its old object behind.
    async fn remember(&mut self, inbox: &mut Inbox) {
        let rows = inbox.take_rows();
        if rows.is_empty() {
            return;
        }
        match self.memory.with(move |catalog| catalog.put_proved(&rows)).await {
            Ok(moved) => {
                for old in moved {
                    let line = self.line(Op::Gone, &old);
                    self.record.list(self.events, &line).await;
                }
            }
            Err(error) => self.catalog_broke(&error).await,
        }
    }

    fn row(&self, Proved { entry, stat, line, is_sent }: Proved) -> Option<(FileRow, bool)> {
        let row = FileRow {
            source: *self.memory.sources.get(entry.source)?,
            path: entry.relative.into_os_string().into_vec(),
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            mode: stat.mode,
            hints: Some(Hints { ctime_ns: stat.ctime_ns, inode: stat.inode }),
            state: FileState::Present,
            key: line.key,
            crc64nvme: line.crc64nvme,
            stored_size: line.stored_size,
            stored_checksum: line.stored_checksum,
            etag: line.etag,
            version_id: line.version_id,
            encoding: line.encoding,
            run: self.id.clone(),
        };
        Some((row, is_sent))
    }

    /// The manifest line of a row.
    pub(crate) fn line(&self, op: Op, row: &FileRow) -> Line {
        let place = self.memory.place_of(row.source);
        let root = place.and_then(|place| self.job.sources.get(place)).map(|source| source.path.as_path());
        crate::state::line_of_row(op, row, root)
    }

    /// The catalog cannot be used: what is in the bucket is listed there all the same.
    pub(crate) async fn catalog_broke(&mut self, error: &Error) {
        let message = format!(
            "{}. What was sent is in the bucket and listed there; the next run has to read it back",
            crate::line_of(error)
        );
        self.record.fail(self.events, Fatal { kind: FailureKind::Catalog, message }).await;
    }

    /// The files that were not found where they were are gone, in sources that were walked to their end.
    pub(crate) async fn settle_gone(&mut self) {
        let (destination, id) = (self.memory.destination, self.id.clone());
        if self.record.sources().iter().all(|source| source.walked)
            && let Err(error) = self.memory.with(move |catalog| catalog.forget_young(destination, &id)).await
        {
            return self.catalog_broke(&error).await;
        }
        for (place, source) in self.record.sources().to_vec().into_iter().enumerate() {
            let Some(id) = self.memory.sources.get(place).copied() else { continue };
            let is_meant = source.seen > 0 || self.job.force;
            if !(source.walked && is_meant) || self.record.is_hopeless() || self.cancel.is_cancelled() {
                continue;
            }
            loop {
                let gone = self.memory.with(move |catalog| catalog.apply_gone(id, DEFERRED_PAGE)).await;
                let gone = match gone {
                    Ok(gone) if gone.is_empty() => break,
                    Ok(gone) => gone,
                    Err(error) => return self.catalog_broke(&error).await,
                };
                for row in gone {
                    let line = self.line(Op::Gone, &row);
                    self.record.gone(self.events, &line).await;
                }
            }
        }
    }
}

/// What sends the files of a run.
pub(crate) fn engine(job: &Job, bucket: &Bucket, run: &RunId) -> Engine {
    let mut settings = job.transfer.clone();
    settings.drain = job.grace.mul_f64(DRAIN_SHARE);
    let objects = ObjectSettings { run: run.to_string(), ..job.objects.clone() };
    Engine::new(bucket.clone(), settings, objects)
}

/// More for the engine.
enum More {
    Lines(PlanBatch),
    Uploads(Vec<Upload>),
    StageEnds,
    Broken(Error),
}

/// Nothing is lost when the future is dropped.
async fn next(flow: &mut Flow, run: &Run<'_>) -> More {
    match flow.stage {
        Stage::Walk => match flow.plan.next().await {
            Some(Ok(lines)) => More::Lines(lines),
            Some(Err(error)) => {
                flow.stage = Stage::End;
                More::Broken(error)
            }
            None => More::StageEnds,
        },
        Stage::Deferred { after, hold } => {
            // What was held back is put off again, behind the last of these.
            let until = if hold { flow.last_deferred } else { i64::MAX };
            match run.deferred_uploads(after, hold, until).await {
                Ok((last, _)) if last == after => More::StageEnds,
                Ok((last, uploads)) => {
                    flow.stage = Stage::Deferred { after: last, hold };
                    More::Uploads(uploads)
                }
                Err(error) => {
                    flow.stage = Stage::End;
                    More::Broken(error)
                }
            }
        }
        Stage::Held | Stage::End => More::StageEnds,
    }
}

/// Room for some of the uploads that wait.
pub(crate) async fn reserve(
    sender: Option<&mpsc::Sender<Upload>>,
    waiting: usize,
) -> Option<PermitIterator<'_, Upload>> {
    sender?.reserve_many(waiting.min(UPLOADS_AT_ONCE)).await.ok()
}

/// Comes true at this time; never without one.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};
    use s3backup_model::RunReport;

    use super::*;
    use crate::ending::{self, Begun};
    use crate::events::Emitter;
    use crate::record::Record;
    use crate::{Backup, Destination, Source};

    const FILES: usize = 40;

    #[tokio::test]
    async fn rows_are_written_together_and_do_not_wait_long() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = s3backup_catalog::Catalog::open(&dir.path().join("catalog.db")).unwrap();
        let destination = catalog.destination("", "bucket", "").unwrap();
        let row = |size| FileRow {
            source: catalog.source(destination, "", "/data").unwrap(),
            path: b"f".to_vec(),
            size,
            mtime_ns: 0,
            mode: 0,
            hints: None,
            state: FileState::Present,
            key: Key::new("f").unwrap(),
            crc64nvme: String::new(),
            stored_size: size,
            stored_checksum: None,
            etag: String::new(),
            version_id: None,
            encoding: "none".to_owned(),
            run: RunId::new(chrono::DateTime::UNIX_EPOCH, 0),
        };
        let (mut inbox, begun) = (Inbox::default(), Instant::now());
        let later = begun + ROWS_WAIT;
        assert!(!inbox.is_due(later), "nothing waits");
        inbox.add_row(row(1), true, begun);
        inbox.add_row(row(1), true, later);
        assert!(!inbox.is_due(begun) && inbox.is_due(later), "the first has waited long enough");
        assert_eq!(inbox.take_rows().len(), 2);
        assert!(!inbox.is_due(later));
        inbox.add_row(row(BYTES_AT_ONCE), true, later);
        assert!(inbox.is_due(later), "to send it again would take long");
        inbox.take_rows();
        for _ in 0..ROWS_AT_ONCE {
            assert!(!inbox.is_due(later));
            inbox.add_row(row(1), true, later);
        }
        assert!(inbox.is_due(later));
    }

    #[tokio::test]
    async fn what_ended_while_a_segment_was_stored_is_recorded_when_the_run_is_interrupted() {
        let server = LocalS3::builder().bucket("fleet-backup").start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        for number in 0..FILES {
            std::fs::write(dir.path().join(number.to_string()), "x").unwrap();
        }
        let hangs = Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("manifests/");
        server.faults().add(hangs);
        let destination = Destination::new("fleet-backup").endpoint(server.endpoint()).region("us-east-1");
        let destination = destination.credentials(server.access_key(), server.secret_key());
        let backup = Backup::builder().source(Source::new(dir.path())).destination(destination);
        let backup = backup.grace(Duration::from_secs(6)).build().unwrap();
        let job = &backup.job;
        let crate::backup::Reach::Connect(options) = &job.reach else { panic!("it has no client") };
        let bucket = Bucket::connect(options).await.unwrap();
        let (sender, _watcher) = mpsc::channel(1000);
        let (events, cancel) = (Emitter::new(sender, crate::run::silent()), CancellationToken::new());
        let begun = Begun { at: (job.clock)(), instant: std::time::Instant::now() };
        let id = RunId::new(begun.at, 1);
        let mut record = Record::new(id.clone(), [dir.path().display().to_string()], cancel.clone());
        record.cut_segments_at(1);
        let (events, cancel) = (&events, &cancel);
        let memory = crate::memory::Memory::scratch(job).await.unwrap();
        let outbox = crate::outbox::Outbox::of(job, memory.catalog.clone());
        let (duty, days) = (crate::due::Duty::default(), Vec::new());
        let mut run = Run {
            record,
            job,
            events,
            cancel,
            id: id.clone(),
            begun,
            memory,
            duty,
            days,
            settled: None,
            verified: None,
            beacon: None,
            is_overdue: false,
            is_unsettled: false,
            outbox,
            courier: None,
            tells: false,
            work: crate::run::Work::Whole,
            goes_on: None,
        };

        let all_are_sent = async {
            let is_sent = || server.stats().of(Operation::PutObject) > FILES as u64;
            while !is_sent() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cancel.cancel();
        };
        let both = async { tokio::join!(run.transfer(&bucket), all_are_sent) };
        tokio::time::timeout(Duration::from_mins(1), both).await.expect("it takes for ever");

        let mut report: RunReport = ending::empty(job, id, ending::local(job, begun.at));
        server.faults().clear();
        run.record.close_segment(events).await;
        run.record.store_segments(events, &job.shelf(&bucket)).await;
        run.seal(&mut report);
        assert_eq!((report.found.files, report.uploaded.files), (FILES as u64, FILES as u64));
        assert_eq!(report.manifests.iter().map(|segment| segment.lines).sum::<u64>(), FILES as u64);
    }
}
