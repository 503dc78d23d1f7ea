//! The loop of one job.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_model::{Name, RunReport, Trigger};
use s3backup_schedule::{Cause, Timer, Turn, jitter};
use slog::{error, info, warn};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::standing::Standing;
use super::{Jobs, Planned, Shared, chores};
use crate::backup::Run;
use crate::options::ScheduleOptions;
use crate::{Error, line_of};

/// How often it is looked whether the bucket is to be verified; also when that could not be done.
const VERIFY_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Runs a job when it is due, until it is cancelled or the job is no longer there. Rests before it begins.
pub(super) async fn keep(shared: Arc<Shared>, name: Name, cancel: CancellationToken, rest: Duration) {
    let Some(planned) = shared.planned(&name) else { return };
    shared.board.run_ended(&name);
    let timer = timer(&planned, shared.now());
    let jobs = shared.jobs.subscribe();
    let mut keeper = Keeper {
        shared: &shared,
        name: &name,
        cancel: &cancel,
        jobs,
        planned,
        timer,
        owed_since: None,
        blocked: None,
        verified_at: None,
    };
    tokio::select! {
        () = keeper.work(rest) => {}
        () = chores::each_minute(&shared, &name) => {}
    }
}

fn timer(planned: &Planned, now: DateTime<Utc>) -> Timer {
    let ScheduleOptions { schedule, catch_up, .. } = &planned.options;
    Timer::new(schedule.clone(), delay(planned), *catch_up, now)
}

fn delay(planned: &Planned) -> Duration {
    let job = &planned.backup.job;
    jitter(&format!("{}/{}", job.name, job.host), planned.options.jitter)
}

struct Keeper<'a> {
    shared: &'a Shared,
    name: &'a Name,
    cancel: &'a CancellationToken,
    jobs: watch::Receiver<Jobs>,
    planned: Planned,
    timer: Timer,
    /// Since when a run is owed of which the ledger of due times may not know.
    owed_since: Option<DateTime<Utc>>,
    blocked: Option<Blocked>,
    /// When it was last looked whether the bucket is to be verified.
    verified_at: Option<DateTime<Utc>>,
}

/// Something else works on the job.
struct Blocked {
    since: DateTime<Utc>,
    is_told: bool,
}

impl Keeper<'_> {
    async fn work(&mut self, rest: Duration) {
        self.pause(rest).await;
        let begun = self.shared.now();
        let is_behind = self.unless_cancelled(Box::pin(self.shared.is_behind(&self.planned))).await;
        if is_behind == Some(true) && self.planned.options.catch_up {
            info!(self.planned.backup.job.logger(), "due times were missed and are made up for");
            self.timer.make_up(begun);
            self.owed_since = Some(begun);
        }
        loop {
            self.shared.board.turned(Some(self.name));
            if self.cancel.is_cancelled() || !self.follow().await {
                return;
            }
            let now = self.shared.now();
            match self.timer.turn(now) {
                Turn::Run(cause) => self.run(cause).await,
                Turn::Wait(nap) => {
                    let next = self.timer.next(now);
                    self.shared.board.next(self.name, next);
                    self.verify(now, next).await;
                    self.pause(nap).await;
                }
            }
        }
    }

    /// Waits for work that may take long, until the scheduler is told to end.
    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            () = self.cancel.cancelled() => None,
            done = self.shared.turning(self.name, work) => Some(done),
        }
    }

    /// Waits, until something changes.
    async fn pause(&mut self, nap: Duration) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            _ = self.jobs.changed() => {}
            () = (self.shared.time.sleep)(nap) => {}
        }
    }

    /// Takes new settings. False when the job is no longer there.
    async fn follow(&mut self) -> bool {
        let Some(planned) = self.jobs.borrow_and_update().get(self.name).cloned() else { return false };
        if Arc::ptr_eq(&planned.backup.job, &self.planned.backup.job) {
            return true;
        }
        let is_other = planned.options.schedule != self.planned.options.schedule;
        self.planned = planned;
        let ScheduleOptions { schedule, catch_up, .. } = &self.planned.options;
        self.timer.change(schedule.clone(), delay(&self.planned), *catch_up, self.shared.now());
        if is_other {
            self.unless_cancelled(self.shared.begin_ledger(&self.planned)).await;
        }
        true
    }

    /// Runs the job once, when it has its turn, unless another process has done so.
    async fn run(&mut self, cause: Cause) {
        let shared = self.shared;
        let Some(_slot) = self.unless_cancelled(shared.slots.acquire()).await else { return };
        if !self.follow().await {
            return;
        }
        let Some(standing) = self.unless_cancelled(shared.look(&self.planned)).await else { return };
        let logger = self.planned.backup.job.logger().clone();
        if standing.is_some_and(|standing| self.is_done(&standing)) {
            info!(logger, "nothing is due any more: another process has run the job");
            (self.owed_since, self.blocked) = (None, None);
            return;
        }
        let trigger = match cause {
            Cause::OnTime => Trigger::Schedule,
            Cause::MakesUp => Trigger::CatchUp,
        };
        let begun = shared.now();
        shared.board.run_began(self.name, trigger, begun);
        let ended = self.watch(self.planned.backup.triggered_by(trigger).start()).await;
        shared.board.run_ended(self.name);
        let now = shared.now();
        match ended {
            Err(Error::Locked { holder, .. }) => {
                self.timer.busy(now);
                self.wait_for(&holder, now).await;
                return;
            }
            // A run goes on, elsewhere: what is late of it is told as of any other.
            Err(error @ Error::Leased { .. }) => {
                self.timer.busy(now);
                info!(logger, "the job is not run now, trying again in a minute"; "why" => line_of(&error));
                return;
            }
            Ok(_) => self.owed_since = None,
            Err(Error::Failed(_)) => self.failed(begun, now),
            Err(error) => {
                self.failed(begun, now);
                let why = line_of(&error);
                error!(logger, "the run ended without a report"; "why" => &why);
                self.tell(format!("{why}. It is tried again soon")).await;
            }
        }
        self.blocked = None;
        self.unless_cancelled(shared.look(&self.planned)).await;
        if let Some(next) = self.timer.next(now) {
            let next = next.with_timezone(&self.planned.options.schedule.timezone());
            info!(logger, "next run"; "at" => next.format("%Y-%m-%d %H:%M:%S %:z").to_string());
        }
    }

    /// Whether somebody else has done what is owed.
    fn is_done(&self, standing: &Standing) -> bool {
        let has_succeeded = |since| standing.last_success.is_some_and(|success| success >= since);
        standing.ledger.is_some_and(|ledger| ledger.is_current && !ledger.is_missed)
            && self.owed_since.is_none_or(has_succeeded)
    }

    fn failed(&mut self, begun: DateTime<Utc>, now: DateTime<Utc>) {
        self.timer.failed(now);
        self.owed_since.get_or_insert(begun);
    }

    /// Verifies the bucket, if that is due, while no run is. One that is not done when the next run is due is given up, and is
    /// still due after it.
    async fn verify(&mut self, now: DateTime<Utc>, next: Option<DateTime<Utc>>) {
        let is_fresh = |at: DateTime<Utc>| at <= now && now - at < VERIFY_PAUSE;
        let backup = self.planned.backup.clone();
        if backup.job.verify_every.is_none() || self.verified_at.is_some_and(is_fresh) {
            return;
        }
        self.verified_at = Some(now);
        let limit = next.map_or(TimeDelta::MAX, |next| next - now).to_std().unwrap_or_default();
        let verifying = async {
            tokio::select! {
                verified = Box::pin(backup.verify_if_due()) => verified.map(|_| ()),
                () = (self.shared.time.sleep)(limit) => Ok(()),
            }
        };
        if let Some(Err(error)) = self.unless_cancelled(verifying).await {
            warn!(backup.job.logger(), "the bucket could not be verified and is soon again"; "why" => line_of(&error));
        }
    }

    /// Watches a run to its end.
    async fn watch(&self, mut run: Run) -> Result<RunReport, Error> {
        let stop = run.cancel_token();
        let stopping = async {
            self.cancel.cancelled().await;
            stop.cancel();
            std::future::pending::<Infallible>().await
        };
        let watching = async {
            while let Some(event) = run.next().await {
                self.shared.board.see(self.name, &event);
            }
            run.finish().await
        };
        tokio::select! {
            ended = self.shared.turning(self.name, watching) => ended,
            never = stopping => match never {},
        }
    }

    /// Another process holds the job's lock. People are told once when it does so for longer than the deadline.
    async fn wait_for(&mut self, holder: &str, now: DateTime<Utc>) {
        warn!(self.planned.backup.job.logger(), "the job is locked, trying again in a minute"; "holder" => holder);
        let blocked = self.blocked.get_or_insert(Blocked { since: now, is_told: false });
        let waited = now - blocked.since;
        let is_long = waited.to_std().is_ok_and(|waited| waited >= self.planned.options.deadline);
        if is_long && !std::mem::replace(&mut blocked.is_told, true) {
            let minutes = waited.num_minutes();
            let message = format!(
                "the job has been locked for {minutes} minutes: {holder}. It is tried again every minute; if that process hangs, end it"
            );
            self.tell(message).await;
        }
    }

    async fn tell(&self, message: String) {
        let backup = &self.planned.backup;
        let telling = self.unless_cancelled(backup.tell_no_run("could not start", message));
        if let Some(Err(error)) = telling.await {
            error!(backup.job.logger(), "nobody was told"; "why" => line_of(&error));
        }
    }
}
