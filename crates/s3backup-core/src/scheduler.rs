//! Runs jobs when they are due: what a service embeds, and the daemon of the command line.
//!
//! One loop for each job decides with [`Timer`](s3backup_schedule::Timer) when a run starts, and never runs a job beside
//! itself. The loops are tasks of one supervisor, which starts one anew if it ends although its job is still there.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use s3backup_model::Name;
use s3backup_report::JobPage;
use s3backup_schedule::NAP;
use slog::{error, warn};
use tokio::sync::{Semaphore, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::backup::{Backup, Clock};
use crate::options::ScheduleOptions;
use crate::scheduler::board::Board;
use crate::{Error, line_of};

mod board;
mod chores;
mod keeper;
mod standing;

pub use board::{JobState, Running};

/// Runs that go on at once; others wait for their turn. More than one, so that a run that takes hours does not make the other
/// jobs late; few, because each has its own `[transfer] memory` and shares the line with the others.
const RUNS_AT_ONCE: usize = 4;

/// Waits for so long.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// What tells a [`Scheduler`] the time and lets it wait: the machine, unless a test passes time.
#[derive(Clone)]
pub struct Time {
    /// The wall clock. It may be set back and forth.
    pub clock: Clock,
    /// Waiting. It may take longer than it was asked to, as when the machine is suspended.
    pub sleep: Sleep,
}

impl Default for Time {
    fn default() -> Self {
        Self { clock: Arc::new(Utc::now), sleep: Arc::new(|nap| Box::pin(tokio::time::sleep(nap))) }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Time").field("now", &(self.clock)()).finish_non_exhaustive()
    }
}

/// Runs jobs when they are due. Cheap to clone; the clones are one and the same.
///
/// ```no_run
/// # use s3backup_core::{Backup, CancellationToken, Scheduler};
/// # async fn example(telemetry: Backup, logs: Backup) -> Result<(), s3backup_core::Error> {
/// let scheduler = Scheduler::new([telemetry, logs])?; // both were built with `schedule`
/// let stop = CancellationToken::new(); // stop.cancel() ends it gracefully
/// scheduler.run(stop).await;
/// # Ok(())
/// # }
/// ```
///
/// - At the start a run makes up for due times that were missed, if there are any.
/// - A job never runs beside itself, and at most four run at once. One that another process works on is tried again
///   every minute; when that has gone on for longer than the deadline, people are told.
/// - A run that failed is tried again after 5, 10, 20, 40 minutes and then every hour, until one succeeds or the next is due.
///   One that ended `partial`, or took longer than `max_runtime`, waits for the next due time.
/// - Before each run the ledger of due times is looked at: what another process has done meanwhile is not done twice.
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
}

/// A job, and when it is due.
#[derive(Clone)]
struct Planned {
    backup: Backup,
    options: ScheduleOptions,
}

type Jobs = Arc<BTreeMap<Name, Planned>>;

/// What all loops share.
struct Shared {
    time: Time,
    jobs: watch::Sender<Jobs>,
    board: Board,
    slots: Semaphore,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("jobs", &self.shared.jobs.borrow().keys()).finish_non_exhaustive()
    }
}

impl Scheduler {
    /// A scheduler of these jobs, which does nothing before [`run`](Self::run).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a job without [`schedule`](crate::BackupBuilder::schedule), two of the same name, and for none
    /// at all.
    pub fn new(jobs: impl IntoIterator<Item = Backup>) -> Result<Self, Error> {
        Self::with_time(jobs, Time::default())
    }

    /// The same with another time than the machine's, for tests. Give the jobs [the same
    /// clock](crate::BackupBuilder::clock).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_time(jobs: impl IntoIterator<Item = Backup>, time: Time) -> Result<Self, Error> {
        let jobs = planned(jobs)?;
        let board = Board::new((time.clock)());
        board.post(&jobs);
        let slots = Semaphore::new(RUNS_AT_ONCE);
        Ok(Self { shared: Arc::new(Shared { time, jobs: watch::Sender::new(jobs), board, slots }) })
    }

    /// Replaces the jobs, as after a change of their configuration. A run that goes on keeps the settings that it began with,
    /// also one of a job that is no longer there, which ends after it. A schedule that is another one counts from now on.
    ///
    /// # Errors
    /// As [`new`](Self::new); then the jobs stay as they are.
    pub fn replace(&self, jobs: impl IntoIterator<Item = Backup>) -> Result<(), Error> {
        let jobs = planned(jobs)?;
        self.shared.board.post(&jobs);
        self.shared.jobs.send_replace(jobs);
        Ok(())
    }

    /// Runs jobs when they are due, until `cancel` is cancelled: runs that go on then end gracefully, within their grace. To
    /// be called once at a time.
    ///
    /// Dropping the future stops runs at once, as dropping [`Backup::run`] does.
    pub async fn run(&self, cancel: CancellationToken) {
        let shared = &self.shared;
        let mut jobs = shared.jobs.subscribe();
        let mut loops = JoinSet::new();
        let mut names: HashMap<Id, Name> = HashMap::new();
        // A loop that ended by a panic begins again after a nap, so that one that panics at once does not do so all the time.
        let mut rest = Duration::ZERO;
        while !cancel.is_cancelled() {
            shared.board.turned(None);
            let wanted = Arc::clone(&jobs.borrow_and_update());
            for name in wanted.keys() {
                if !names.values().any(|running| running == name) {
                    let keeping = keeper::keep(Arc::clone(shared), name.clone(), cancel.clone(), rest);
                    names.insert(loops.spawn(keeping).id(), name.clone());
                }
            }
            rest = Duration::ZERO;
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = jobs.changed() => {}
                Some(ended) = loops.join_next_with_id() => {
                    let (id, panic) = match ended {
                        Ok((id, ())) => (id, None),
                        Err(error) => (error.id(), Some(error)),
                    };
                    let name = names.remove(&id);
                    let planned = name.as_ref().and_then(|name| wanted.get(name));
                    if let (Some(panic), Some(planned)) = (panic, planned) {
                        rest = NAP;
                        error!(planned.backup.job.logger(), "the loop of the job ended abnormally and begins again; this is a defect, please report it";
                            "why" => line_of(&panic));
                    }
                }
                () = (shared.time.sleep)(NAP) => {}
            }
        }
        while loops.join_next().await.is_some() {}
    }

    /// How each job stands, by name.
    pub fn jobs(&self) -> Vec<JobState> {
        self.shared.board.jobs(self.shared.now())
    }

    /// All that a status page and metrics show of each job, by name, as [`Backup::overview`] has it; how far the runs are
    /// that go on here, and when the next one starts, also if it is another attempt of one that failed. Of a job whose catalog cannot be read, what is known without it; the log says why.
    pub async fn overview(&self) -> Vec<JobPage> {
        let jobs = Arc::clone(&self.shared.jobs.borrow());
        let mut pages = Vec::with_capacity(jobs.len());
        for planned in jobs.values() {
            let backup = &planned.backup;
            pages.push(Box::pin(backup.overview()).await.unwrap_or_else(|error| {
                warn!(backup.job.logger(), "the status page lacks what the catalog knows"; "why" => line_of(&error));
                backup.blank_page()
            }));
        }
        let now = self.shared.now();
        for state in self.jobs() {
            let Some(page) = pages.iter_mut().find(|page| page.job == state.job) else { continue };
            page.next_due = state.next.or(page.next_due);
            if let Some(running) = state.running {
                page.running = running.shown(now).or(page.running.take());
            }
        }
        pages
    }

    /// Whether every loop has looked at the clock within the last two minutes. If not, the process hangs, and is best started
    /// anew.
    pub fn is_turning(&self) -> bool {
        self.shared.board.is_turning()
    }
}

impl Shared {
    fn now(&self) -> DateTime<Utc> {
        (self.time.clock)()
    }

    fn planned(&self, name: &Name) -> Option<Planned> {
        self.jobs.borrow().get(name).cloned()
    }

    /// Waits for work of a job's loop, and shows meanwhile that the loop is not stuck.
    async fn turning<T>(&self, name: &Name, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            self.board.turned(Some(name));
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = (self.time.sleep)(NAP) => {}
            }
        }
    }
}

fn planned(jobs: impl IntoIterator<Item = Backup>) -> Result<Jobs, Error> {
    let mut planned = BTreeMap::new();
    for backup in jobs {
        let name = backup.job.name.clone();
        let Some(options) = backup.job.schedule.clone() else {
            let why = format!("the job {name} has none: say when it is due, such as cron = \"0 20 * * *\"");
            return Err(Error::invalid("[schedule]", why));
        };
        if planned.insert(name.clone(), Planned { backup, options }).is_some() {
            return Err(Error::invalid("job", format!("there are two of the name {name}")));
        }
    }
    if planned.is_empty() {
        return Err(Error::invalid("job", "there is none to schedule"));
    }
    Ok(Arc::new(planned))
}
