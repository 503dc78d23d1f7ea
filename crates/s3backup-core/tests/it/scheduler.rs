//! Jobs that run when they are due, while the test passes the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_core::options::{Schedule, SlackOptions, SlackWay};
use s3backup_core::{
    Backup, BackupBuilder, CancellationToken, JobState, Outcome, ScheduleOptions, Scheduler, Source, Time,
    Trigger,
};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use slog::{Drain, Logger, Never, OwnedKVList, Record, o};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bench::{Bench, soon, until};
use crate::fake_slack::FakeSlack;
use crate::memory::{state_dir, success};

/// A time that passes only when the test says so: a wall clock, which can be set, and how much has passed.
#[derive(Clone)]
struct Days {
    now: Arc<Mutex<DateTime<Utc>>>,
    passed: watch::Sender<Duration>,
    /// The next look at the scheduler's clock panics.
    is_broken: Arc<AtomicBool>,
}

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-{}:00Z", text.replace(' ', "T")).parse().unwrap()
}

impl Days {
    fn from(text: &str) -> Self {
        Self {
            now: Arc::new(Mutex::new(at(text))),
            passed: watch::Sender::new(Duration::ZERO),
            is_broken: Arc::default(),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap()
    }

    /// The clock is set; nobody who sleeps notices.
    fn set(&self, text: &str) {
        *self.now.lock().unwrap() = at(text);
    }

    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += TimeDelta::from_std(time).unwrap();
        self.passed.send_modify(|passed| *passed += time);
    }

    /// Lets time pass until something is so: half a minute, a nap of the loops, at each look.
    async fn until(&self, mut is_so: impl FnMut() -> bool) {
        until(|| {
            self.pass(Duration::from_secs(30));
            is_so()
        })
        .await;
    }

    fn time(&self) -> Time {
        let (clock, sleeper) = (self.clone(), self.clone());
        Time {
            clock: Arc::new(move || {
                assert!(!clock.is_broken.swap(false, Ordering::Relaxed), "the clock is broken");
                clock.now()
            }),
            sleep: Arc::new(move |nap| {
                let mut passed = sleeper.passed.subscribe();
                let end = *passed.borrow() + nap;
                Box::pin(async move {
                    let _ = passed.wait_for(|passed| *passed >= end).await;
                })
            }),
        }
    }

    fn dress(&self, builder: BackupBuilder) -> BackupBuilder {
        let days = self.clone();
        builder.schedule(daily("0 20 * * *")).clock(Arc::new(move || days.now()))
    }
}

fn daily(cron: &str) -> ScheduleOptions {
    ScheduleOptions::new(Schedule::new(cron, chrono_tz::UTC).unwrap())
}

/// A scheduler that runs.
struct Going {
    scheduler: Scheduler,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Going {
    fn start(jobs: impl IntoIterator<Item = Backup>, days: &Days) -> Self {
        let scheduler = Scheduler::with_time(jobs, days.time()).unwrap();
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        let (running, stopped) = (scheduler.clone(), stop.clone());
        task.spawn(async move { running.run(stopped).await });
        Self { scheduler, stop, task }
    }

    fn job(&self) -> JobState {
        self.scheduler.jobs().remove(0)
    }

    async fn end(mut self) {
        self.stop.cancel();
        soon(self.task.join_next()).await.unwrap().unwrap();
    }
}

/// Trigger and outcome of all runs that ended, oldest first.
async fn runs(backup: &Backup) -> Vec<(Trigger, Outcome)> {
    let past = backup.history(100).await.unwrap();
    past.into_iter().rev().filter_map(|run| run.summary).map(|run| (run.trigger, run.outcome)).collect()
}

const MANUAL: (Trigger, Outcome) = (Trigger::Manual, Outcome::Success);
const ON_TIME: (Trigger, Outcome) = (Trigger::Schedule, Outcome::Success);
const CAUGHT_UP: (Trigger, Outcome) = (Trigger::CatchUp, Outcome::Success);

#[tokio::test]
async fn what_was_missed_is_made_up_once_at_the_start_and_then_each_due_time_has_its_run() {
    let bench = Bench::new().await;
    bench.file("a", "x");
    let days = Days::from("20 09:00");
    let backup = days.dress(bench.builder()).build().unwrap();
    success(&backup).await;
    days.set("22 09:00");
    let going = Going::start([backup.clone()], &days);
    days.until(|| going.job().last_success.is_some_and(|at| at > self::at("22 08:59"))).await;
    days.set("22 19:59");
    days.until(|| going.job().last_success.is_some_and(|at| at >= self::at("22 20:00"))).await;
    assert!(going.scheduler.is_turning());
    assert_eq!(going.job().late, None);
    going.end().await;
    assert_eq!(runs(&backup).await, [MANUAL, CAUGHT_UP, ON_TIME]);

    let again = Going::start([backup.clone()], &days);
    days.until(|| again.job().next.is_some()).await;
    assert_eq!(again.job().next.unwrap(), at("23 20:00"));
    again.end().await;
    assert_eq!(runs(&backup).await.len(), 3, "nothing was missed");
}

#[tokio::test]
async fn a_job_that_is_new_waits_for_its_time_and_a_restart_knows_what_it_missed() {
    let bench = Bench::new().await;
    bench.file("a", "x");
    let days = Days::from("20 21:00");
    let backup = days.dress(bench.builder()).build().unwrap();
    let going = Going::start([backup.clone()], &days);
    days.until(|| going.job().next.is_some()).await;
    going.end().await;
    days.set("21 21:00");
    let going = Going::start([backup.clone()], &days);
    days.until(|| going.job().last_success.is_some()).await;
    going.end().await;
    assert_eq!(runs(&backup).await, [CAUGHT_UP]);
    let due = backup.status().await.unwrap().due;
    assert_eq!(due.iter().map(|due| due.state.as_str()).collect::<Vec<_>>(), ["met"]);
}

#[tokio::test]
async fn a_run_that_fails_is_tried_again_soon_and_the_job_is_late_until_it_succeeds() {
    let bench = Bench::new().await;
    let days = Days::from("20 19:00");
    let source = bench.dir("later");
    let backup = days.dress(bench.job()).source(Source::new(&source)).build().unwrap();
    let going = Going::start([backup.clone()], &days);
    days.until(|| going.job().next.is_some()).await;
    std::fs::remove_dir(&source).unwrap();
    days.until(|| going.job().late.is_some()).await;
    assert_eq!(going.job().late.unwrap(), at("20 20:00"));
    assert!(going.job().next.unwrap() < at("20 23:00"), "{:?}", going.job().next);
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("a"), "x").unwrap();
    days.until(|| going.job().last_success.is_some()).await;
    assert_eq!(going.job().late, None);
    going.end().await;
    let runs = runs(&backup).await;
    let failed = runs.iter().filter(|run| **run == (Trigger::Schedule, Outcome::Failed)).count();
    assert!((2..12).contains(&failed), "{runs:?}");
    assert_eq!(runs.last(), Some(&ON_TIME));
}

#[tokio::test]
async fn a_job_without_a_ledger_asks_the_bucket_and_goes_on_until_it_has_succeeded() {
    let bench = Bench::new().await;
    bench.file("a", "x");
    let days = Days::from("20 09:00");
    let backup = days.dress(bench.builder()).build().unwrap();
    success(&backup).await;
    std::fs::remove_dir_all(state_dir(&bench)).unwrap();
    days.set("22 09:00");
    let (data, elsewhere) = (bench.data(), bench.dir("").join("elsewhere"));
    std::fs::rename(&data, &elsewhere).unwrap();
    let going = Going::start([backup.clone()], &days);
    let has_failed =
        || going.job().running.is_none() && going.job().next.is_some_and(|next| next < at("22 19:00"));
    days.until(has_failed).await;
    std::fs::rename(elsewhere, data).unwrap();
    let begun = days.now();
    days.until(|| going.job().last_success.is_some_and(|at| at >= begun)).await;
    going.end().await;
    assert_eq!(runs(&backup).await.last(), Some(&CAUGHT_UP));
}

#[tokio::test]
async fn two_schedulers_run_a_job_once() {
    let bench = Bench::new().await;
    bench.file("a", "x");
    let days = Days::from("20 19:00");
    let [one, other] = [(); 2].map(|()| days.dress(bench.builder()).build().unwrap());
    let (first, second) = (Going::start([one.clone()], &days), Going::start([other], &days));
    let is_ready = |going: &Going| going.job().next.is_some();
    days.until(|| is_ready(&first) && is_ready(&second)).await;
    days.set("20 20:00");
    let has_run = |going: &Going| going.job().last_success.is_some_and(|at| at >= self::at("20 20:00"));
    days.until(|| has_run(&first) && has_run(&second)).await;
    days.until(|| [&first, &second].iter().all(|going| going.job().next.unwrap() > at("21 19:00"))).await;
    first.end().await;
    second.end().await;
    assert_eq!(runs(&one).await, [ON_TIME]);
}

#[tokio::test]
async fn a_lock_that_is_held_for_too_long_is_told_once() {
    let bench = Bench::new().await;
    bench.file("hangs", "x");
    let days = Days::from("20 19:00");
    let slack = FakeSlack::start([]).await;
    let way = SlackWay::Bot { token: "t".into(), channel: "#c".to_owned(), api_url: slack.api_url() };
    let backup = days.dress(bench.builder()).slack(SlackOptions::new(way)).build().unwrap();
    let going = Going::start([backup], &days);
    days.until(|| going.job().next.is_some()).await;
    let hang = Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs");
    bench.server.faults().add(hang);
    let before = bench.server.stats().faults;
    let other = days.dress(bench.builder()).build().unwrap().start();
    until(|| bench.server.stats().faults > before).await;
    // Minutes pass here while a message is on its way. One that took too long by that is sent again, and says so.
    let told = || {
        let seen = slack.seen();
        let is_told = |text: &String| {
            text.contains("could not start")
                && text.contains("has been locked for 6")
                && !text.contains("may be a repeat")
        };
        seen.iter().map(|seen| seen.body.to_string()).filter(is_told).count()
    };
    days.until(|| told() > 0).await;
    assert!(days.now() > at("20 21:00"), "it is told after the deadline");
    let later = days.now() + TimeDelta::hours(2);
    days.until(|| days.now() > later).await;
    assert_eq!(told(), 1, "once");
    bench.server.faults().clear();
    other.cancel_token().cancel();
    soon(other.finish()).await.unwrap();
    days.until(|| going.job().last_success.is_some()).await;
    going.end().await;
}

/// A log that breaks once, when a run starts.
struct Breaks(Arc<AtomicBool>);

impl Drain for Breaks {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let is_start = record.msg().to_string().contains("run started");
        assert!(!(is_start && self.0.swap(false, Ordering::Relaxed)), "the log of the run is broken");
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_of_a_run_is_told_and_tried_again() {
    let bench = Bench::new().await;
    bench.file("a", "x");
    let days = Days::from("20 19:00");
    let slack = FakeSlack::start([]).await;
    let way = SlackWay::Bot { token: "t".into(), channel: "#c".to_owned(), api_url: slack.api_url() };
    let is_broken = Arc::new(AtomicBool::new(false));
    let logger = Logger::root(Breaks(Arc::clone(&is_broken)), o!());
    let backup = days.dress(bench.builder()).slack(SlackOptions::new(way)).logger(logger);
    let backup = backup.build().unwrap();
    let going = Going::start([backup.clone()], &days);
    days.until(|| going.job().next.is_some()).await;
    is_broken.store(true, Ordering::Relaxed);
    days.until(|| !is_broken.load(Ordering::Relaxed)).await;
    days.until(|| going.job().last_success.is_some()).await;
    assert!(slack.seen()[0].body.to_string().contains("this is a defect"), "{:?}", slack.seen()[0].body);
    going.end().await;
    assert_eq!(runs(&backup).await, [ON_TIME]);
}

#[tokio::test]
async fn a_loop_that_ends_by_a_panic_begins_again() {
    let bench = Bench::new().await;
    bench.file("a", "x");
    let days = Days::from("20 19:00");
    let backup = days.dress(bench.builder()).build().unwrap();
    let going = Going::start([backup.clone()], &days);
    days.until(|| going.job().next.is_some()).await;
    days.is_broken.store(true, Ordering::Relaxed);
    days.until(|| !days.is_broken.load(Ordering::Relaxed)).await;
    days.until(|| going.job().last_success.is_some()).await;
    going.end().await;
    assert_eq!(runs(&backup).await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_was_years_ahead_silences_nothing() {
    let bench = Bench::new().await;
    bench.file("a", "x");
    let days = Days::from("20 09:00");
    let backup = days.dress(bench.builder()).build().unwrap();
    success(&backup).await;
    let going = Going::start([backup.clone()], &days);
    days.until(|| going.job().next.is_some()).await;
    *days.now.lock().unwrap() = "2036-11-20T21:00:00Z".parse().unwrap();
    days.until(|| {
        going
            .job()
            .last_success
            .is_some_and(|at| at.to_utc() > "2036-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap())
    })
    .await;
    days.set("20 19:50");
    let count = runs(&backup).await.len();
    days.until(|| going.job().next.is_some_and(|next| next == at("21 20:00"))).await;
    going.end().await;
    assert_eq!(runs(&backup).await.len(), count + 1);
}

#[tokio::test]
async fn new_settings_are_taken_and_a_run_keeps_those_that_it_has() {
    let bench = Bench::new().await;
    bench.file("hangs", "x");
    let days = Days::from("20 19:00");
    let job = |name: &str, cron: &str| {
        let state = bench.dir("state");
        days.dress(bench.builder()).job(name).state_dir(state).schedule(daily(cron)).build().unwrap()
    };
    let going = Going::start([job("one", "0 20 * * *"), job("two", "0 20 * * *")], &days);
    days.until(|| going.scheduler.jobs().iter().all(|job| job.next.is_some())).await;
    going.scheduler.replace([job("one", "0 22 * * *"), job("three", "0 23 * * *")]).unwrap();
    let next =
        || going.scheduler.jobs().into_iter().map(|job| (job.job.to_string(), job.next)).collect::<Vec<_>>();
    let wanted = [("one".to_owned(), at("20 22:00")), ("three".to_owned(), at("20 23:00"))];
    days.until(|| {
        next()
            .iter()
            .map(|(name, next)| (name.clone(), next.map(|next| next.to_utc())))
            .eq(wanted.iter().map(|(name, at)| (name.clone(), Some(*at))))
    })
    .await;
    assert!(days.now() < at("20 22:00"));

    let hang = Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs");
    bench.server.faults().add(hang);
    days.set("20 22:00");
    let is_running = || {
        going.scheduler.jobs().iter().any(|job| job.running.as_ref().is_some_and(|run| run.run_id.is_some()))
    };
    days.until(is_running).await;
    going.scheduler.replace([job("one", "0 21 * * *")]).unwrap();
    days.pass(Duration::from_mins(1));
    assert!(is_running(), "a run goes on with its settings");
    bench.server.faults().clear();
    going.end().await;

    let no_schedule = bench.backup();
    assert!(Scheduler::new([no_schedule]).unwrap_err().to_string().contains("[schedule]"));
    assert!(Scheduler::new([job("one", "@daily"), job("one", "@daily")]).is_err());
    assert!(Scheduler::new([]).is_err());
}

#[tokio::test]
async fn few_runs_go_on_at_once_and_all_end_when_told() {
    let bench = Bench::new().await;
    bench.file("hangs", "x");
    let days = Days::from("20 19:00");
    let job = |n: u32| {
        days.dress(bench.builder()).job(format!("job-{n}")).state_dir(bench.dir("state")).build().unwrap()
    };
    let jobs: Vec<Backup> = (0..6).map(job).collect();
    let going = Going::start(jobs.clone(), &days);
    days.until(|| going.scheduler.jobs().iter().all(|job| job.next.is_some())).await;
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs"));
    days.set("20 20:00");
    let running = || going.scheduler.jobs().iter().filter(|job| job.running.is_some()).count();
    days.until(|| running() == 4).await;
    for _ in 0..20 {
        days.pass(Duration::from_secs(30));
        tokio::task::yield_now().await;
        assert_eq!(running(), 4);
    }
    assert!(going.scheduler.is_turning(), "those that wait are not stuck");
    going.end().await;
    let mut ended = 0;
    for backup in &jobs {
        if backup.history(1).await.is_ok_and(|runs| runs.iter().any(|run| run.summary.is_some())) {
            assert_eq!(runs(backup).await, [(Trigger::Schedule, Outcome::Interrupted)]);
            ended += 1;
        }
    }
    assert_eq!(ended, 4);
}
