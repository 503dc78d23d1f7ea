//! The walk as a task: several sources, one after the other, on a blocking thread.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use slog::{Logger, debug};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, SourceEnd};
use crate::trouble;
use crate::walk::{Source, walk};

/// How many batches the walk may be ahead of whoever takes them: enough that it need not wait while a batch is
/// planned, few enough that what waits stays within some MiB (4,096 entries of a few hundred bytes).
const MAX_BATCHES_AHEAD: usize = 16;

/// Tells the time: the machine's is `Arc::new(SystemTime::now)`.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Walks `sources` one after the other on a blocking thread of the current tokio runtime.
///
/// `min_age` counts back from what `clock` says when a file is looked at. Once `cancel` is cancelled, [`Discovery::next`] ends at once, and the
/// walk as soon as the file system answers. The walk waits when its batches are not taken.
///
/// Panics when called outside of a tokio runtime.
pub fn discover(sources: Vec<Source>, clock: Clock, cancel: CancellationToken, logger: Logger) -> Discovery {
    discover_with(sources, clock, cancel, logger, walk)
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

/// A [`Clock`] as it is read during a walk.
type Reading<'a> = &'a dyn Fn() -> SystemTime;

fn discover_with(
    sources: Vec<Source>,
    clock: Clock,
    cancel: CancellationToken,
    logger: Logger,
    mut walk: impl FnMut(&Source, Reading<'_>, &mut dyn FnMut(Batch) -> ControlFlow<()>) + Send + 'static,
) -> Discovery {
    let (sender, batches) = mpsc::channel(MAX_BATCHES_AHEAD);
    let pending = sources.iter().map(|source| source.index).collect();
    let mut task = JoinSet::new();
    let stop = cancel.clone();
    task.spawn_blocking(move || {
        for source in &sources {
            if stop.is_cancelled() || sender.is_closed() {
                debug!(logger, "walk is stopped"; "before_source" => source.index);
                return;
            }
            debug!(logger, "source is walked"; "source" => source.index, "path" => trouble::shown(&source.path));
            let mut emit = |batch| deliver(&sender, &stop, batch);
            // A fault in one source must neither end the others nor pass for an end of its own.
            let walked = catch_unwind(AssertUnwindSafe(|| walk(source, &*clock, &mut emit)));
            if let Err(panic) = walked {
                let _ =
                    emit(Batch { end: Some(SourceEnd::Failed(told(&*panic))), ..Batch::new(source.index) });
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc as std_mpsc;
    use std::time::Duration;

    use s3backup_model::Failure;

    use super::*;
    use crate::Rules;

    /// How long a test waits for something that must happen before it says that it did not.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn sources(count: usize) -> Vec<Source> {
        let source =
            |index| Source { index, path: PathBuf::from("/nowhere"), rules: Rules::default(), settled: None };
        (0..count).map(source).collect()
    }

    fn clock() -> Clock {
        Arc::new(|| SystemTime::UNIX_EPOCH)
    }

    fn logger() -> Logger {
        Logger::root(slog::Discard, slog::o!())
    }

    fn something(source: usize) -> Batch {
        let failure = Failure {
            path: "/nowhere/file".into(),
            kind: s3backup_model::FailureKind::Unreadable,
            message: String::new(),
            attempts: 1,
        };
        Batch { failures: vec![failure], ..Batch::new(source) }
    }

    async fn ends(mut discovery: Discovery) -> Vec<(usize, SourceEnd)> {
        let mut ends = Vec::new();
        while let Some(batch) = discovery.next().await {
            ends.extend(batch.end.map(|end| (batch.source, end)));
        }
        assert_eq!(discovery.next().await, None, "an end stays an end");
        ends
    }

    #[tokio::test]
    async fn a_fault_in_one_source_is_told_and_the_others_are_walked() {
        let walk = |source: &Source, _: Reading<'_>, emit: &mut dyn FnMut(Batch) -> ControlFlow<()>| {
            let _ = emit(something(source.index));
            assert_ne!(source.index, 0, "a fault");
            let _ = emit(Batch { end: Some(SourceEnd::Walked), ..Batch::new(source.index) });
        };
        let discovery = discover_with(sources(2), clock(), CancellationToken::new(), logger(), walk);
        let ends = ends(discovery).await;
        assert_eq!(ends.len(), 2);
        let SourceEnd::Failed(message) = &ends[0].1 else { panic!("{ends:?}") };
        assert!(message.contains("a fault"), "{message}");
        assert_eq!(ends[1], (1, SourceEnd::Walked));
    }

    #[tokio::test]
    async fn a_walk_that_says_nothing_is_not_taken_for_a_finished_one() {
        let silent = |_: &Source, _: Reading<'_>, _: &mut dyn FnMut(Batch) -> ControlFlow<()>| {};
        let discovery = discover_with(sources(2), clock(), CancellationToken::new(), logger(), silent);
        let ends = ends(discovery).await;
        assert!(matches!(&ends[..], [(0, SourceEnd::Failed(_)), (1, SourceEnd::Failed(_))]), "{ends:?}");
    }

    #[test]
    fn a_walk_that_the_runtime_never_starts_fails() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = runtime();
        let handle = ended.handle().clone();
        drop(ended);
        let discovery = {
            let _guard = handle.enter();
            discover(sources(1), clock(), CancellationToken::new(), logger())
        };
        let ends = runtime().block_on(ends(discovery));
        assert!(matches!(&ends[..], [(0, SourceEnd::Failed(_))]), "{ends:?}");
    }

    /// Finds something again and again until it is stopped, and then says so.
    fn endless(
        stopped: std_mpsc::Sender<usize>,
    ) -> impl FnMut(&Source, Reading<'_>, &mut dyn FnMut(Batch) -> ControlFlow<()>) + Send + 'static {
        move |source, _, emit| {
            while emit(something(source.index)).is_continue() {}
            stopped.send(source.index).unwrap();
        }
    }

    #[tokio::test]
    async fn dropping_it_stops_the_walk() {
        let (stopped, stops) = std_mpsc::channel();
        let mut discovery =
            discover_with(sources(2), clock(), CancellationToken::new(), logger(), endless(stopped));
        assert_eq!(discovery.next().await, Some(something(0)));
        drop(discovery);
        assert_eq!(stops.recv_timeout(PATIENCE), Ok(0));
        assert_eq!(stops.recv_timeout(PATIENCE), Err(std_mpsc::RecvTimeoutError::Disconnected));
    }

    #[tokio::test]
    async fn cancelling_ends_every_source_as_interrupted() {
        let (stopped, stops) = std_mpsc::channel();
        let cancel = CancellationToken::new();
        let mut discovery = discover_with(sources(2), clock(), cancel.clone(), logger(), endless(stopped));
        assert_eq!(discovery.next().await, Some(something(0)));
        cancel.cancel();
        assert_eq!(ends(discovery).await, [(0, SourceEnd::Interrupted), (1, SourceEnd::Interrupted)]);
        assert_eq!(stops.recv_timeout(PATIENCE), Ok(0));
        assert_eq!(stops.recv_timeout(PATIENCE), Err(std_mpsc::RecvTimeoutError::Disconnected));
    }

    #[tokio::test]
    async fn a_walk_that_hangs_does_not_keep_a_cancelled_one_from_ending() {
        let (release, wait) = std_mpsc::channel::<()>();
        let cancel = CancellationToken::new();
        let hangs = move |_: &Source, _: Reading<'_>, _: &mut dyn FnMut(Batch) -> ControlFlow<()>| {
            let _ = wait.recv();
        };
        let discovery = discover_with(sources(1), clock(), cancel.clone(), logger(), hangs);
        cancel.cancel();
        assert_eq!(ends(discovery).await, [(0, SourceEnd::Interrupted)]);
        drop(release);
    }

    #[tokio::test]
    async fn the_walk_waits_for_whoever_takes_its_batches() {
        let (emitted, emits) = std_mpsc::channel();
        let walk = move |source: &Source, _: Reading<'_>, emit: &mut dyn FnMut(Batch) -> ControlFlow<()>| {
            while emit(something(source.index)).is_continue() {
                emitted.send(()).unwrap();
            }
        };
        let discovery = discover_with(sources(1), clock(), CancellationToken::new(), logger(), walk);
        for _ in 0..MAX_BATCHES_AHEAD {
            emits.recv_timeout(PATIENCE).unwrap();
        }
        // One more is in hand, and goes nowhere.
        assert_eq!(emits.try_recv(), Err(std_mpsc::TryRecvError::Empty));
        drop(discovery);
        assert_eq!(emits.recv_timeout(PATIENCE), Err(std_mpsc::RecvTimeoutError::Disconnected));
    }
}
