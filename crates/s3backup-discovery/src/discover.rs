//! The walk as a task: several sources, one after the other, on a blocking thread.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use slog::{Logger, debug};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, SourceEnd};
use crate::walk::{Source, walk};

/// How many batches the walk may be ahead of whoever takes them: enough that it need not wait while a batch is
/// planned, few enough that what waits stays within some MiB (4,096 entries of a few hundred bytes).
const MAX_BATCHES_AHEAD: usize = 16;

/// Walks `sources` one after the other on a blocking thread of the current tokio runtime.
///
/// `now` is what `min_age` counts back from. Once `cancel` is cancelled, [`Discovery::next`] ends at once, and the
/// walk as soon as the file system answers. The walk waits when its batches are not taken.
///
/// Panics when called outside of a tokio runtime.
pub fn discover(
    sources: Vec<Source>,
    now: SystemTime,
    cancel: CancellationToken,
    logger: Logger,
) -> Discovery {
    discover_with(sources, now, cancel, logger, walk)
}

/// Batches as they are found. Dropping it stops the walk at the next thing it finds, or within about 100 ms while
/// the file system answers; a call that hangs in a dead mount is left to itself on its thread.
#[derive(Debug)]
pub struct Discovery {
    batches: mpsc::Receiver<Batch>,
    cancel: CancellationToken,
    /// Indices of the sources whose end has not been handed over.
    pending: VecDeque<usize>,
    /// Whether the walk is no longer listened to.
    silent: bool,
    /// Owns the walk: one that has not started when this is dropped never does.
    _task: JoinSet<()>,
}

impl Discovery {
    /// The next batch, or `None` when every source has ended.
    ///
    /// Every source ends exactly once, with a [`Batch::end`]: the ones that a cancelled walk did not get to end as
    /// [`SourceEnd::Interrupted`], and if the walk breaks, [`SourceEnd::Failed`] says so.
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Batch> {
        let batch = match self.receive().await {
            Some(batch) => batch,
            None => self.unfinished()?,
        };
        if batch.end.is_some() {
            self.pending.pop_front();
        }
        Some(batch)
    }

    async fn receive(&mut self) -> Option<Batch> {
        if self.silent {
            return None;
        }
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => self.batches.try_recv().ok(),
            batch = self.batches.recv() => batch,
        }
    }

    /// The end of a source of which the walk says nothing more.
    fn unfinished(&mut self) -> Option<Batch> {
        // What a cancelled walk still sends would come behind the end of its source.
        self.silent = true;
        self.batches.close();
        let end = if self.cancel.is_cancelled() {
            SourceEnd::Interrupted
        } else {
            SourceEnd::Failed(
                "the search for files was ended from outside before it was done; run again".into(),
            )
        };
        Some(Batch { end: Some(end), ..Batch::new(*self.pending.front()?) })
    }
}

fn discover_with(
    sources: Vec<Source>,
    now: SystemTime,
    cancel: CancellationToken,
    logger: Logger,
    mut walk: impl FnMut(&Source, SystemTime, &mut dyn FnMut(Batch) -> ControlFlow<()>) + Send + 'static,
) -> Discovery {
    let (sender, batches) = mpsc::channel(MAX_BATCHES_AHEAD);
    let pending = sources.iter().map(|source| source.index).collect();
    let mut task = JoinSet::new();
    let stop = cancel.clone();
    task.spawn_blocking(move || {
        for source in &sources {
            debug!(logger, "source is walked"; "source" => source.index, "path" => %source.path.display());
            let mut emit = |batch| deliver(&sender, &stop, batch);
            // A fault in one source must neither end the others nor pass for an end of its own.
            let walked = catch_unwind(AssertUnwindSafe(|| walk(source, now, &mut emit)));
            if let Err(panic) = walked {
                let _ =
                    emit(Batch { end: Some(SourceEnd::Failed(told(&*panic))), ..Batch::new(source.index) });
            }
            if stop.is_cancelled() || sender.is_closed() {
                debug!(logger, "walk is stopped"; "source" => source.index);
                return;
            }
        }
    });
    Discovery { batches, cancel, pending, silent: false, _task: task }
}

fn deliver(sender: &mpsc::Sender<Batch>, stop: &CancellationToken, batch: Batch) -> ControlFlow<()> {
    let taken = batch.is_empty() || sender.blocking_send(batch).is_ok();
    if taken && !stop.is_cancelled() && !sender.is_closed() {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!(
        "the search for files broke ({}), so files may not have been found; this is a fault in the program: report it",
        text.unwrap_or("for a reason that it did not give")
    )
}
