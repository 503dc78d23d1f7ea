//! A lane: the bounded queue and the thread between the callers and one output.
//!
//! `slog-async` carries the records. Who may enter the queue is decided here, because its own
//! overflow strategies treat all levels alike: lines below a warning may fill only a part of the
//! queue, and nobody ever waits for room.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use slog::{Drain, Level, Never, OwnedKVList, Record, RecordLocation, RecordStatic};
use slog_async::{AsyncCore, AsyncGuard};

use crate::builder::Clock;
use crate::entry::{Entry, Value};

/// How many lines may wait for one output: a few seconds of debug lines of a busy run, and some
/// megabytes of memory at the very most.
pub(crate) const QUEUE_LINES: usize = 8_192;

/// The part of the queue that only warnings and errors may enter.
pub(crate) const RESERVED_LINES: usize = QUEUE_LINES / 4;

/// Room for the marks of [`Lane::flush`], which are not counted as lines.
const MARKS: usize = 64;

/// The tag of the record that stands for "everything up to here".
const MARK_TAG: &str = "s3backup-logging: flush";

/// How often a lasting overload is said.
const OVERLOAD_INTERVAL: TimeDelta = TimeDelta::minutes(1);

thread_local! {
    static WRITES_LOG: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is just writing log lines. What happens meanwhile must not be logged by the
/// bridge for dependencies: a console writer that logs would keep itself busy for ever.
pub(crate) fn is_log_thread() -> bool {
    WRITES_LOG.get()
}

/// Writes entries somewhere, on the lane's thread.
pub(crate) trait Sink: Send + 'static {
    /// Writes one entry. There is no error to return: a sink knows best whom to tell.
    fn write(&mut self, entry: &Entry);

    /// Writes what is still to be written, after the lines before a [`Lane::flush`].
    fn flush(&mut self, now: DateTime<Utc>);

    /// The same after the last line, and says what could not be written at all.
    fn close(&mut self, now: DateTime<Utc>);
}

/// The way to one output.
pub(crate) struct Lane {
    core: AsyncCore,
    guard: Mutex<Option<AsyncGuard>>,
    queue: Arc<Queue>,
}

impl Lane {
    /// Starts the thread that feeds `sink`. `name` is the thread's.
    pub(crate) fn start(name: &str, sink: impl Sink, zone: Tz, clock: Clock) -> Self {
        let queue = Arc::new(Queue::default());
        let worker = Worker {
            state: Mutex::new(State { sink: Box::new(sink), overload_said: None }),
            queue: Arc::clone(&queue),
            zone,
            clock: AssertUnwindSafe(clock),
        };
        let (core, guard) = AsyncCore::custom(worker)
            .thread_name(name.to_owned())
            .chan_size(QUEUE_LINES + MARKS)
            // Never does for a line, which was let in only if there was room.
            .blocking(true)
            .build_with_guard();
        Self { core, guard: Mutex::new(Some(guard)), queue }
    }

    /// Queues a record, or counts it as dropped.
    pub(crate) fn log(&self, record: &Record<'_>, values: &OwnedKVList) {
        if self.queue.enter(record.level()) && self.core.log(record, values).is_err() {
            // The lane is closed: the program is at its end.
            self.queue.leave();
        }
    }

    /// Waits until everything that was queued before is written.
    pub(crate) fn flush(&self) {
        let ticket = {
            let mut marks = lock(&self.queue.marks);
            marks.asked += 1;
            marks.asked
        };
        let location = RecordLocation { file: "", line: 0, column: 0, function: "", module: "" };
        let header = RecordStatic { location: &location, tag: MARK_TAG, level: Level::Info };
        let mark = format_args!("");
        let mark = Record::new(&header, &mark, slog::BorrowedKV(&()));
        if self.core.log(&mark, &slog::o!().into()).is_err() {
            return;
        }
        let mut marks = lock(&self.queue.marks);
        // A ticket is taken before its mark is queued, so the ticket-th mark to arrive, even if it
        // is another caller's, comes after all that this caller logged.
        while marks.passed < ticket && !marks.closed {
            marks = self.queue.passed.wait(marks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes everything that is queued and ends the thread. Later records are ignored.
    pub(crate) fn close(&self) {
        // The guard's drop waits for the thread; the lock is not held meanwhile.
        let guard = lock(&self.guard).take();
        drop(guard);
    }
}

#[derive(Default)]
struct Queue {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    marks: Mutex<Marks>,
    passed: Condvar,
}

#[derive(Default)]
struct Marks {
    asked: u64,
    passed: u64,
    closed: bool,
}

impl Queue {
    fn enter(&self, level: Level) -> bool {
        let limit =
            if level.is_at_least(Level::Warning) { QUEUE_LINES } else { QUEUE_LINES - RESERVED_LINES };
        let has_room = self.waiting.fetch_add(1, Ordering::Relaxed) < limit;
        if !has_room {
            self.leave();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    fn leave(&self) -> usize {
        self.waiting.fetch_sub(1, Ordering::Relaxed) - 1
    }
}

/// The far end of the queue.
struct Worker {
    state: Mutex<State>,
    queue: Arc<Queue>,
    zone: Tz,
    clock: AssertUnwindSafe<Clock>,
}

struct State {
    sink: Box<dyn Sink>,
    overload_said: Option<DateTime<Utc>>,
}

impl Worker {
    fn write(&self, record: &Record<'_>, values: &OwnedKVList) {
        let entry = Entry::read(record, values, self.zone, || (self.clock)());
        let mut state = lock(&self.state);
        state.sink.write(&entry);
        let waiting = self.queue.leave();
        if self.queue.dropped.load(Ordering::Relaxed) > 0 {
            // Saying it at every line would make the overload worse.
            let now = entry.time.to_utc();
            let said_lately = state.overload_said.is_some_and(|said| (now - said).abs() < OVERLOAD_INTERVAL);
            if waiting <= QUEUE_LINES / 2 || !said_lately {
                self.say_overload(&mut state, now);
            }
        }
    }

    /// Ends a stretch of lines with the sink's `flush` or `close`.
    fn settle(&self, end: impl FnOnce(&mut dyn Sink, DateTime<Utc>)) {
        let now = (self.clock)();
        let mut state = lock(&self.state);
        self.say_overload(&mut state, now);
        end(&mut *state.sink, now);
    }

    fn say_overload(&self, state: &mut State, now: DateTime<Utc>) {
        let dropped = self.queue.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            state.overload_said = Some(now);
            state.sink.write(&Entry::warning(
                now.with_timezone(&self.zone),
                "log lines dropped under overload",
                vec![("lines".to_owned(), Value::Unsigned(dropped))],
            ));
        }
    }
}

impl Drain for Worker {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        WRITES_LOG.set(true);
        if record.tag() == MARK_TAG {
            self.settle(Sink::flush);
            lock(&self.queue.marks).passed += 1;
            self.queue.passed.notify_all();
        } else {
            self.write(record, values);
        }
        WRITES_LOG.set(false);
        Ok(())
    }
}

/// Runs on the lane's thread after the last record, also if the sink panicked.
impl Drop for Worker {
    fn drop(&mut self) {
        WRITES_LOG.set(true);
        if !self.state.is_poisoned() {
            self.settle(Sink::close);
        }
        lock(&self.queue.marks).closed = true;
        self.queue.passed.notify_all();
    }
}

/// Locks, whatever happened to an earlier holder: no state here can be left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
