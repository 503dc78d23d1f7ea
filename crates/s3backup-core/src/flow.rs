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
        let (said, updates) = mpsc::channel(UPDATES_AHEAD);

        let control = job.shelf(bucket);
        // The engine has the drain; the leeway is for what it said last. A segment that does not get through in that
        // time is kept and tried again at the end.
        let time_is_up = grace_is_over(job, self.cancel, DRAIN_SHARE + LEEWAY_SHARE);
        let engine = engine.run(planned, said, stop.clone());
        let writer = self.write_down(plan, to_engine, updates, &control, &stop);
        tokio::select! {
            _ = async { tokio::join!(engine, writer) } => {}
            () = time_is_up => {}
        }
    }

    /// The one writer: takes lines of the plan and updates of the engine as they come.
    async fn write_down(
        &mut self,
        mut plan: Plan,
        to_engine: mpsc::Sender<Upload>,
        mut updates: mpsc::Receiver<Update>,
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
                    for update in batch.drain(..) {
                        self.take(update).await;
                    }
                    self.record.store_segments(self.events, control).await;
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
                    waiting.push_back(Upload { entry, key, follow_symlinks });
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
