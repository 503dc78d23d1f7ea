//! Where what a walk finds goes: batches, handed over when they are full or due.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use s3backup_model::{Entry, Failure};

use crate::batch::{Batch, MAX_BATCH, Skip, SourceEnd};

/// The longest that something found waits for its batch to fill, while the file system answers.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) struct Sink<'a> {
    emit: &'a mut dyn FnMut(Batch) -> ControlFlow<()>,
    batch: Batch,
    flushed: Instant,
    /// Set once `emit` wants no more.
    is_stopped: bool,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(source: usize, emit: &'a mut dyn FnMut(Batch) -> ControlFlow<()>) -> Self {
        Self { emit, batch: Batch::new(source), flushed: Instant::now(), is_stopped: false }
    }

    /// Counts a regular file that the patterns do not rule out.
    pub(crate) fn see(&mut self) {
        self.batch.seen += 1;
    }

    pub(crate) fn entry(&mut self, entry: Entry) {
        if self.batch.entries.is_empty() {
            // Most batches become full.
            self.batch.entries.reserve(MAX_BATCH);
        }
        self.batch.entries.push(entry);
    }

    pub(crate) fn skip(&mut self, skip: Skip, bytes: u64, shadow: PathBuf) {
        self.batch.skipped.add(skip.reason, bytes);
        self.batch.skips.push(skip);
        self.batch.shadows.push(shadow);
    }

    pub(crate) fn fail(&mut self, failure: Failure, shadow: PathBuf) {
        self.batch.failures.push(failure);
        self.batch.shadows.push(shadow);
    }

    /// Hands over what is full or due. To be called at least after every thing found.
    pub(crate) fn pulse(&mut self) -> ControlFlow<()> {
        if self.is_stopped {
            return ControlFlow::Break(());
        }
        if self.batch.len() >= MAX_BATCH || self.flushed.elapsed() >= FLUSH_INTERVAL {
            self.flush()
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Hands over what is left, with the end.
    pub(crate) fn finish(mut self, end: SourceEnd) {
        self.batch.end = Some(end);
        // There is nothing left that could be stopped.
        let _ = self.flush();
    }

    fn flush(&mut self) -> ControlFlow<()> {
        let next = Batch::new(self.batch.source);
        let flow = (self.emit)(std::mem::replace(&mut self.batch, next));
        self.flushed = Instant::now();
        self.is_stopped = flow.is_break();
        flow
    }
}
