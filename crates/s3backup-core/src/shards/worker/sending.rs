//! The files of a shard on their way: from the lists through the engine into the record.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use s3backup_model::{Event, Tally};
use s3backup_transfer::{Update, Upload};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::backup::Job;
use crate::flow::{UPDATES_AHEAD, UPLOADS_AHEAD, UPLOADS_AT_ONCE, engine, reserve, until};
use crate::run::{DRAIN_SHARE, LEEWAY_SHARE, grace_is_over};
use crate::said::Said;
use crate::shards::assignment::Assignment;
use crate::shards::lists::{BATCHES_AHEAD, Batch, Listed, Reader};
use crate::shards::uploads::Notes;

/// What the engine said and is not dealt with yet.
#[derive(Default)]
struct Inbox {
    updates: VecDeque<Update>,
    said: Said,
}

impl Worker<'_> {
    /// Sends every file of the lists. Ends within its share of the grace after an interruption.
    pub(super) async fn transfer(&mut self) {
        let Assignment { bucket, uri, shard, place, planned, .. } = self.assignment;
        let stop = self.cancel.child_token();
        let (to_engine, uploads) = mpsc::channel(UPLOADS_AHEAD);
        let (to_writer, mut updates) = mpsc::channel(UPDATES_AHEAD);
        let (to_lines, mut batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = Reader {
            bucket: bucket.clone(),
            place: place.clone(),
            run: uri.run().clone(),
            shard: *shard,
            lists: planned.lists.clone(),
        };
        let reading = reader.hand_over(Arc::clone(self.job), self.earlier.files(), to_lines);
        let notes = Notes {
            job: Arc::clone(self.job),
            bucket: bucket.clone(),
            run: uri.run().clone(),
            cancel: stop.clone(),
            runtime: Handle::current(),
        };
        let engine = engine(self.job, bucket, uri.run()).with_journal(Arc::new(notes));
        let sending = engine.run(uploads, to_writer, stop.clone());
        let time_is_up = grace_is_over(self.job, self.cancel, DRAIN_SHARE + LEEWAY_SHARE);
        let mut inbox = Inbox::default();
        {
            let writing = self.write_down(to_engine, &mut updates, &mut batches, &mut inbox, &stop);
            let all = async {
                tokio::select! {
                    // A thread that hangs in a dead mount is left to itself once nobody waits for its lines.
                    ((), ()) = async { tokio::join!(sending, writing) } => {}
                    () = async { reading.await; std::future::pending().await } => {}
                }
            };
            tokio::select! {
                () = all => {}
                () = time_is_up => {}
            }
        }
        while let Ok(update) = updates.try_recv() {
            inbox.updates.push_back(update);
        }
        self.take_all(&mut inbox).await;
    }

    /// The one writer: takes lines of the lists and updates of the engine as they come.
    async fn write_down(
        &mut self,
        to_engine: mpsc::Sender<Upload>,
        updates: &mut mpsc::Receiver<Update>,
        batches: &mut mpsc::Receiver<Batch>,
        inbox: &mut Inbox,
        stop: &CancellationToken,
    ) {
        let (job, assignment, cancel, look) = (self.job, self.assignment, self.cancel, self.rhythm.look);
        let mut over = pin!(until_over(job, assignment, look));
        let mut to_engine = Some(to_engine);
        let mut waiting: VecDeque<Upload> = VecDeque::new();
        let mut batch = Vec::with_capacity(UPDATES_AHEAD);
        loop {
            let sender = to_engine.clone().filter(|_| !waiting.is_empty());
            tokio::select! {
                count = updates.recv_many(&mut batch, UPDATES_AHEAD) => {
                    if count == 0 {
                        break;
                    }
                    inbox.updates.extend(batch.drain(..));
                    self.take_all(inbox).await;
                    if self.record.has_unstored() {
                        self.store_progress_unless_cancelled().await;
                    }
                }
                slots = reserve(sender.as_ref(), waiting.len()), if sender.is_some() => match slots {
                    Some(slots) => {
                        let ready = waiting.len().min(UPLOADS_AT_ONCE);
                        slots.zip(waiting.drain(..ready)).for_each(|(slot, upload)| slot.send(upload));
                    }
                    None => to_engine = None,
                },
                lines = batches.recv(), if to_engine.is_some() && waiting.is_empty() => match lines {
                    Some(Ok(lines)) => self.take_lines(lines, &mut waiting).await,
                    Some(Err(fatal)) => self.record.fail_at_once(self.events, fatal).await,
                    None => to_engine = None,
                },
                () = until(self.next_store()), if !cancel.is_cancelled() => {
                    self.store_progress_unless_cancelled().await;
                }
                why = &mut over, if self.may_write => self.end_too_late(&why).await,
            }
            if self.record.is_hopeless() {
                stop.cancel();
            }
        }
    }

    async fn take_lines(&mut self, lines: Vec<Listed>, waiting: &mut VecDeque<Upload>) {
        let mut done = Tally::default();
        for line in lines {
            match line {
                Listed::Upload(upload) => {
                    self.record.find(upload.entry.stat.size);
                    waiting.push_back(upload);
                }
                Listed::Done { bytes } => {
                    self.earlier.meet(bytes);
                    done.add(bytes);
                }
                Listed::Fail { bytes, failure } => {
                    self.record.find(bytes);
                    self.record.file_failure(self.events, failure).await;
                }
            }
        }
        if done.files > 0 {
            self.events.emit(Event::Known { unchanged: done }).await;
        }
    }

    /// What it did not get to when the future is dropped stays in `inbox`.
    async fn take_all(&mut self, inbox: &mut Inbox) {
        while let Some(update) = inbox.updates.pop_front() {
            inbox.said.take(update, &mut self.record, self.events).await;
        }
        inbox.said.tell(self.events).await;
    }
}

/// Looks from time to time whether the run is over, and ends with why: whoever is late must not write into what others hold for
/// finished.
async fn until_over(job: &Job, assignment: &Assignment, every: Duration) -> String {
    loop {
        tokio::time::sleep(every).await;
        // Where the bucket does not answer, that shows in what is sent.
        if let Ok(Some(why)) = assignment.is_over(job).await {
            return why;
        }
    }
}
