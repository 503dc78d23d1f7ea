//! Letting the plan flow through the engine into the record.

use std::collections::VecDeque;
use std::sync::Arc;

use s3backup_discovery::discover;
use s3backup_model::Event;
use s3backup_transfer::{Bucket, Engine, ObjectSettings, Update, Upload};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::planning::{Plan, PlanBatch, Planned};
use crate::record::Shelf;
use crate::run::{DRAIN_SHARE, LEEWAY_SHARE, Run, grace_is_over};

/// Planned uploads that wait for the engine: enough that it never waits for the plan, and few enough to be nothing.
const UPLOADS_AHEAD: usize = 256;

/// Updates that wait to be written down; taken in batches of up to this.
const UPDATES_AHEAD: usize = 512;

impl Run<'_> {
    /// Sends every selected file. Ends within its share of the grace after an interruption.
    pub(crate) async fn transfer(&mut self, bucket: &Bucket) {
        let job = self.job;
        let logger = self.events.logger();
        let sources = job.discovery_sources(self.begun.at, self.settled.as_ref());
        // Ends the flow alone: what is cancelled here is the run's, not the caller's.
        let stop = self.cancel.child_token();
        let plan = Plan::new(
            discover(sources, job.walk_clock(), stop.clone(), logger.clone()),
            Arc::clone(&job.naming),
        );
        let mut settings = job.transfer.clone();
        settings.drain = job.grace.mul_f64(DRAIN_SHARE);
        let objects = ObjectSettings { run: self.id.to_string(), ..job.objects.clone() };
        let engine = Engine::new(bucket.clone(), settings, objects);
        let (to_engine, planned) = mpsc::channel(UPLOADS_AHEAD);
        let (said, mut updates) = mpsc::channel(UPDATES_AHEAD);

        let control = job.shelf(bucket);
        // The engine has the drain; the leeway is for what it said last.
        let time_is_up = grace_is_over(job, self.cancel, DRAIN_SHARE + LEEWAY_SHARE);
        let engine = engine.run(planned, said, stop.clone());
        let mut inbox = VecDeque::new();
        {
            let writer = self.write_down(plan, to_engine, &mut updates, &mut inbox, &control, &stop);
            let writing = async { tokio::join!(engine, writer) };
            tokio::select! {
                _ = writing => {}
                () = time_is_up => {}
            }
        }
        // What was said and not written down is of objects that are in the bucket, or are not: both belong in the report.
        self.take_all(&mut inbox).await;
        while let Ok(update) = updates.try_recv() {
            self.take(update).await;
        }
    }

    /// The one writer: takes lines of the plan and updates of the engine as they come.
    async fn write_down(
        &mut self,
        mut plan: Plan,
        to_engine: mpsc::Sender<Upload>,
        updates: &mut mpsc::Receiver<Update>,
        inbox: &mut VecDeque<Update>,
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
            tokio::select! {
                count = updates.recv_many(&mut batch, UPDATES_AHEAD) => {
                    if count == 0 {
                        break;
                    }
                    inbox.extend(batch.drain(..));
                    self.take_all(inbox).await;
                    // Not after an interruption: the engine's last words wait behind this. A segment that does not get
                    // through is kept, and sent with the report.
                    let (events, cancel) = (self.events, self.cancel);
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => {}
                        () = self.record.store_segments(events, control) => {}
                    }
                }
                slot = reserve(sender.as_ref()), if sender.is_some() => match slot {
                    Some(slot) => {
                        if let Some(upload) = waiting.pop_front() {
                            slot.send(upload);
                        }
                    }
                    None => to_engine = None,
                },
                lines = plan.next(), if to_engine.is_some() && waiting.is_empty() => {
                    if let Some(lines) = lines {
                        self.take_lines(lines, &mut waiting).await;
                    } else {
                        to_engine = None;
                        if !stop.is_cancelled() {
                            self.events.emit(Event::DiscoveryFinished { found: self.record.found() }).await;
                        }
                    }
                }
            }
            if self.record.is_hopeless() {
                stop.cancel();
            }
        }
    }

    async fn take_lines(&mut self, batch: PlanBatch, waiting: &mut VecDeque<Upload>) {
        let before = self.record.found();
        self.record.saw(&batch);
        for line in batch.lines {
            match line {
                Planned::Upload { entry, key, .. } => {
                    let follow_symlinks = self.job.follows_symlinks(entry.source);
                    let file_id = self.job.naming.file_id(&entry);
                    waiting.push_back(Upload { entry, key, file_id, follow_symlinks });
                }
                Planned::Skip { path, reason } => self.events.emit(Event::Skipped { path, reason }).await,
                Planned::Fail(failure) => self.record.failure(self.events, failure).await,
                Planned::MissingSource { message, .. } => self.record.miss_source(self.events, message).await,
            }
        }
        if self.record.found() != before {
            self.events.emit(Event::Found { found: self.record.found() }).await;
        }
    }

    /// Those that it did not get to when the future is dropped stay in `inbox`.
    async fn take_all(&mut self, inbox: &mut VecDeque<Update>) {
        while let Some(update) = inbox.pop_front() {
            self.take(update).await;
        }
    }

    /// What the record keeps is kept before anything is waited for, so that dropping the future loses an event at most.
    async fn take(&mut self, update: Update) {
        match update {
            Update::Sent { bytes } => self.events.emit(Event::Sent { bytes }).await,
            Update::Retrying { key, attempt, delay, cause } => {
                self.events.emit(Event::Retrying { key, attempt, delay, cause }).await;
            }
            Update::Warning { message } => self.record.warn(self.events, message).await,
            Update::Done(done) => self.record.done(self.events, *done).await,
            _ => {}
        }
    }
}

async fn reserve(sender: Option<&mpsc::Sender<Upload>>) -> Option<mpsc::Permit<'_, Upload>> {
    sender?.reserve().await.ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};
    use s3backup_model::{RunId, RunReport};

    use super::*;
    use crate::events::Emitter;
    use crate::record::Record;
    use crate::report::{self, Begun};
    use crate::{Backup, Destination, Source};

    const FILES: usize = 40;

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
        let mut run = Run { record, job, events, cancel, id: id.clone(), begun, settled: None };

        let all_are_sent = async {
            let is_sent = || server.stats().of(Operation::PutObject) > FILES as u64;
            while !is_sent() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cancel.cancel();
        };
        let both = async { tokio::join!(run.transfer(&bucket), all_are_sent) };
        tokio::time::timeout(Duration::from_mins(1), both).await.expect("it takes for ever");

        let mut report: RunReport = report::empty(job, id, report::local(job, begun.at));
        server.faults().clear();
        run.record.close_segment(events).await;
        run.record.store_segments(events, &job.shelf(&bucket)).await;
        report::seal(&mut report, job, &run.record, begun);
        assert_eq!((report.found.files, report.uploaded.files), (FILES as u64, FILES as u64));
        assert_eq!(report.manifests.iter().map(|segment| segment.lines).sum::<u64>(), FILES as u64);
    }
}
