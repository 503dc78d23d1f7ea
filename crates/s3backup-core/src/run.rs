//! One run, from the first look at the bucket to the alert.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::NaiveDate;
use s3backup_catalog::{FileState, SourceId, Telling};
use s3backup_model::manifest::Op;
use s3backup_model::{Event, FailureKind, Fatal, Latest, RunId, RunReport, RunState, Tally, Verified, key};
use s3backup_transfer::{Bucket, Error as TransferError, Versioning};
use slog::{Logger, error};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::backup::Job;
use crate::courier::Courier;
use crate::due::Duty;
use crate::ending::{self, Begun};
use crate::events::Emitter;
use crate::facts::Noted;
use crate::latest::{self, Beacon, Seen};
use crate::memory::Memory;
use crate::metrics;
use crate::outbox::{Delivery, Outbox};
use crate::record::Record;
use crate::shards::{ShardOptions, ShardedPlan, StepsDone, lease};
use crate::start;
use crate::steps::{Surroundings, run_steps};
use crate::trouble;
use crate::verify::remember::remembered;

/// How late the clock may be by which file systems stamp files.
const STAMP_DELAY: Duration = Duration::from_millis(10);

/// Shares of the grace after an interruption: requests in flight or the step that runs, what they said last, then
/// manifest and report, then the alert, then metrics. The rest is for the process to end.
pub(crate) const DRAIN_SHARE: f64 = 0.3;
pub(crate) const LEEWAY_SHARE: f64 = 0.05;
pub(crate) const STORE_SHARE: f64 = 0.35;
const ALERT_SHARE: f64 = 0.2;
const METRICS_SHARE: f64 = 0.05;

/// How long a run takes at most to tell people, whatever they are like: what was not delivered then waits.
const ALERT_LIMIT: Duration = Duration::from_secs(100);

/// How often `latest.json` says that the run goes on.
const HEARTBEAT: Duration = Duration::from_mins(5);

/// How much of a run is to be done here.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// All of it.
    Whole,
    /// The steps: a plan comes behind them.
    Steps,
    /// A plan for many workers.
    Plan(ShardOptions),
}

/// That a run has not ended and goes on elsewhere.
#[derive(Debug)]
pub(crate) enum GoesOn {
    /// Its steps are done.
    Stepped,
    /// It is planned.
    Planned(Box<ShardedPlan>),
}

/// What became of a run.
#[derive(Debug)]
pub(crate) enum Became {
    /// It ended, or only its steps were asked for.
    Report(Box<RunReport>),
    /// Workers go on with it.
    Planned(Box<ShardedPlan>),
}

/// Runs the job once, or a part of it. Gives a report whatever happened, unless another run holds the job's lock or lease.
pub(crate) async fn run(
    job: Arc<Job>,
    work: Work,
    events: Emitter,
    cancel: CancellationToken,
) -> Result<Became, Error> {
    if let Work::Plan(options) = &work {
        options.check(&job)?;
    }
    let mut begun = Begun { at: (job.clock)(), instant: Instant::now() };
    let opened = match Memory::open(&job, "backup run").await {
        Err(Error::Locked { job: name, holder }) => {
            trouble::run::look_at_lock(&job, &holder).await;
            return Err(Error::Locked { job: name, holder });
        }
        other => other,
    };
    let last = match &opened {
        Ok(memory) => {
            let label = Arc::clone(&memory.label);
            memory.with(move |catalog| start::stored(catalog, &label)).await.ok().flatten()
        }
        Err(_) => None,
    };
    let reached = match &opened {
        Ok(_) => reach_bucket(&job, &cancel).await,
        Err(_) => Ok(None),
    };
    if let Ok(Some(Reached { bucket, seen, .. })) = &reached {
        lease::refuse(&job, bucket, seen)?;
    }
    // A catalog that was lost or rolled back does not know the last run, and the clock may have been set back.
    let last = last.as_ref().max(reached.as_ref().ok().and_then(Option::as_ref).and_then(Reached::last_run));
    let stepped = match (&work, &opened) {
        (Work::Plan(_), Ok(memory)) => stepped(memory, last).await,
        _ => None,
    };
    let run_id = match &stepped {
        Some(done) => done.run.clone(),
        None => RunId::behind(last, begun.at, (job.random)()),
    };
    begun.at = stepped.as_ref().map_or(begun.at, |done| done.started_at);
    events
        .emit(Event::RunStarted {
            run_id: run_id.clone(),
            job: job.name.clone(),
            host: job.host.clone(),
            destination: job.destination_url(),
            trigger: job.trigger,
        })
        .await;
    let pinging = begin_ping(&job, &run_id);
    let mut record = Record::new(run_id.clone(), job.sources.iter().map(path_of), cancel.clone());
    let memory = match opened {
        Ok(memory) => memory,
        Err(error) => {
            // Without its memory a run could not tell what it may overwrite.
            record.fail_at_once(&events, start::fatal_of(&error)).await;
            Memory::scratch(&job).await?
        }
    };
    let outbox = Outbox::of(&job, memory.catalog.clone());
    let mut run = Run {
        record,
        job: &job,
        events: &events,
        cancel: &cancel,
        id: run_id.clone(),
        begun,
        memory,
        duty: Duty::default(),
        days: Vec::new(),
        settled: None,
        verified: None,
        beacon: None,
        is_overdue: false,
        is_unsettled: false,
        outbox,
        courier: None,
        tells: false,
        work,
        goes_on: None,
    };
    run.note_facts().await;
    run.take_steps(stepped).await;
    let bucket = run.work_and_say_when_stopping(reached).await;
    // What is cancelled later than this is too late to cut any work short.
    run.record.end_work();

    let report = ending::empty(&job, run_id, ending::local(&job, begun.at));
    Ok(match run.goes_on.take() {
        Some(goes_on) => hand_on(run, goes_on, report, pinging).await,
        None => Became::Report(Box::new(end(run, bucket.as_ref(), report, pinging).await)),
    })
}

/// The steps of this very run, if they ran by themselves and nothing came between.
async fn stepped(memory: &Memory, last: Option<&RunId>) -> Option<StepsDone> {
    let (label, last) = (Arc::clone(&memory.label), last.cloned());
    // Where the catalog cannot be read, the run finds out for itself.
    memory.with(move |catalog| StepsDone::look(catalog, &label, last.as_ref())).await.ok().flatten()
}

/// Lets go of a run that goes on elsewhere: delivers what there was to tell at its start.
async fn hand_on(mut run: Run<'_>, goes_on: GoesOn, mut report: RunReport, mut pinging: Pinging) -> Became {
    let (job, events, cancel) = (run.job, run.events, run.cancel);
    run.seal(&mut report);
    let (outbox, courier) = (run.outbox.clone(), run.courier.take());
    // The lock is free for whoever comes next.
    drop(run);
    let telling = tell_people(courier, &outbox, grace_is_over(job, cancel, ALERT_SHARE));
    let pinged = async { while pinging.join_next().await.is_some() {} };
    let pinged = tokio::time::timeout(job.grace, pinged);
    // What could not be told waits, and is told by whoever comes next.
    let _ = tokio::join!(telling, pinged);
    match goes_on {
        GoesOn::Planned(plan) => Became::Planned(plan),
        GoesOn::Stepped => {
            events.emit(Event::RunFinished { report: Box::new(report.clone()) }).await;
            Became::Report(Box::new(report))
        }
    }
}

/// Records how a run ended, and tells people.
async fn end(
    mut run: Run<'_>,
    bucket: Option<&Bucket>,
    mut report: RunReport,
    pinging: Pinging,
) -> RunReport {
    let (job, events, cancel) = (run.job, run.events, run.cancel);
    let mut is_sealed = false;
    if let Some(bucket) = bucket {
        let storing = Box::pin(run.store(bucket, &mut report));
        tokio::select! {
            () = storing => is_sealed = true,
            () = grace_is_over(job, cancel, STORE_SHARE) => {}
        }
        if !is_sealed {
            run.record.cut_short();
            let message = "the run was interrupted before its manifest and report were stored";
            run.record.warn(events, message.to_owned()).await;
        }
    }
    if !is_sealed {
        run.seal(&mut report);
        run.remember_end(&report).await;
    }
    let news = Word {
        outbox: run.outbox.clone(),
        courier: run.courier.take(),
        beacon: run.beacon.clone(),
        tells: run.tells,
        is_wanted: run.is_wanted(&report),
        pinging,
    };
    // The lock is free for the next run while people are told of this one.
    drop(run);
    news.spread(job, events, cancel, &mut report).await;
    metrics::publish(job, &mut report, events, grace_is_over(job, cancel, METRICS_SHARE)).await;
    events.emit(Event::RunFinished { report: Box::new(report.clone()) }).await;
    report
}

/// The word to the health check that the run has begun.
type Pinging = JoinSet<Result<(), String>>;

/// What is needed to tell of a run that has ended.
struct Word {
    outbox: Outbox,
    courier: Option<Courier>,
    beacon: Option<Arc<Mutex<Beacon>>>,
    /// Whether there is an alert of this run.
    tells: bool,
    is_wanted: bool,
    pinging: Pinging,
}

impl Word {
    /// Tells people and the health check, within their share of the grace, and says in the report and in `latest.json` how that
    /// went.
    async fn spread(self, job: &Job, events: &Emitter, cancel: &CancellationToken, report: &mut RunReport) {
        let Self { outbox, courier, beacon, tells, is_wanted, pinging } = self;
        let limit = || grace_is_over(job, cancel, ALERT_SHARE);
        let ping = end_ping(job, pinging, report.clone(), is_wanted);
        let pinged = async {
            tokio::select! {
                pinged = ping => pinged,
                () = limit() => Err("there was no time left".to_owned()),
            }
        };
        let (delivered, pinged) = tokio::join!(tell_people(courier, &outbox, limit()), pinged);
        ending::note_delivery(job, report, events, tells, delivered).await;
        if let Err(why) = pinged {
            let message = format!("the health check was not told of this run: {why}");
            report.warnings.push(message.clone());
            events.warn(message).await;
        }
        if let Some(beacon) = beacon {
            tokio::select! {
                () = ending::say_delivery(&beacon, report) => {}
                () = grace_is_over(job, cancel, LEEWAY_SHARE) => {}
            }
        }
    }
}

/// Delivers what there is to tell, unless the time for that is over before.
pub(crate) async fn tell_people(
    courier: Option<Courier>,
    outbox: &Outbox,
    limit: impl Future<Output = ()>,
) -> Option<Result<Delivery, Error>> {
    let delivering = async {
        if let Some(courier) = courier {
            courier.end().await;
        }
        outbox.deliver(&CancellationToken::new()).await
    };
    tokio::select! {
        delivered = delivering => Some(delivered),
        () = limit => None,
        () = tokio::time::sleep(ALERT_LIMIT) => None,
    }
}

/// Says to the health check that the run has begun, while it goes on.
fn begin_ping(job: &Job, run: &RunId) -> Pinging {
    let mut pinging = JoinSet::new();
    if let Some(ping) = job.ping.clone() {
        let run = run.clone();
        pinging.spawn(async move { ping.begin(&run).await });
    }
    pinging
}

/// Says how it ended, behind the word that it has begun. What became of that one does not matter any more.
async fn end_ping(job: &Job, mut pinging: Pinging, report: RunReport, is_told: bool) -> Result<(), String> {
    let Some(ping) = &job.ping else { return Ok(()) };
    while pinging.join_next().await.is_some() {}
    ping.end(&report, is_told).await
}

/// The bucket, and what it says at the start.
struct Reached {
    bucket: Bucket,
    seen: Seen,
    versioning: Versioning,
}

impl Reached {
    fn last_run(&self) -> Option<&RunId> {
        match &self.seen {
            Seen::Present(latest, _) => Some(&latest.run_id),
            _ => None,
        }
    }
}

/// Makes the client and reads `latest.json`, whether it is there or not, so that a wrong bucket, wrong credentials and a dead
/// network show before anything is done. `Ok(None)` when interrupted meanwhile.
async fn reach_bucket(job: &Job, cancel: &CancellationToken) -> Result<Option<Reached>, Fatal> {
    let looking = async {
        let unreachable = |error: TransferError| Fatal { kind: error.kind(), message: error.to_line() };
        let bucket = job.connect().await.map_err(unreachable)?;
        let (seen, versioning) = tokio::join!(Box::pin(latest::read(&bucket, job)), bucket.versioning());
        Ok(Some(Reached { bucket, seen: seen?, versioning }))
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(None),
        looked = looking => looked,
    }
}

/// Comes true after this long; never without a limit.
async fn passed(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Comes true when the run was interrupted and then a share of its grace has passed; never without an interruption.
pub(crate) async fn grace_is_over(job: &Job, cancel: &CancellationToken, share: f64) {
    cancel.cancelled().await;
    tokio::time::sleep(job.grace.mul_f64(share)).await;
}

fn path_of(source: &crate::Source) -> String {
    use std::os::unix::ffi::OsStrExt;
    key::escape(source.path.as_os_str().as_bytes())
}

pub(crate) struct Run<'a> {
    pub(crate) record: Record,
    pub(crate) job: &'a Arc<Job>,
    pub(crate) events: &'a Emitter,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) id: RunId,
    pub(crate) begun: Begun,
    pub(crate) memory: Memory,
    /// The due times that it stands for.
    pub(crate) duty: Duty,
    /// Their days.
    pub(crate) days: Vec<NaiveDate>,
    /// From the start of the run to the end of its last step: what was modified then, the steps have made.
    pub(crate) settled: Option<RangeInclusive<SystemTime>>,
    /// The last check of the bucket.
    pub(crate) verified: Option<Verified>,
    /// What says in the bucket how it is going.
    pub(crate) beacon: Option<Arc<Mutex<Beacon>>>,
    /// Whether it was interrupted because it took too long.
    pub(crate) is_overdue: bool,
    /// Whether an earlier run may have replaced objects of which it did not hear.
    pub(crate) is_unsettled: bool,
    /// Where what is to be told of it waits.
    pub(crate) outbox: Outbox,
    /// Who delivers it before the run ends, once it is known that the bucket is ours.
    pub(crate) courier: Option<Courier>,
    /// Whether there is anything to tell of how it ended.
    pub(crate) tells: bool,
    /// How much of it is done here.
    pub(crate) work: Work,
    /// That it goes on elsewhere.
    pub(crate) goes_on: Option<GoesOn>,
}

impl Run<'_> {
    async fn work_and_say_when_stopping(
        &mut self,
        reached: Result<Option<Reached>, Fatal>,
    ) -> Option<Bucket> {
        let (events, cancel) = (self.events, self.cancel);
        let limit = self.job.schedule.as_ref().map(|options| options.max_runtime);
        let (mut said, mut is_overdue) = (false, false);
        let bucket = {
            let saying = async {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = passed(limit) => {
                        is_overdue = true;
                        cancel.cancel();
                    }
                }
                events.emit(Event::Stopping).await;
                said = true;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = saying => None,
                bucket = self.work(reached) => bucket,
            }
        };
        if cancel.is_cancelled() && !said {
            events.emit(Event::Stopping).await;
        }
        self.is_overdue = is_overdue;
        if let Some(limit) = limit.filter(|_| is_overdue) {
            let limit = humantime::format_duration(limit);
            let message = format!(
                "the run took longer than `[schedule] max_runtime` = {limit} and was interrupted; the next run does the rest"
            );
            self.record.warn(events, message).await;
        }
        bucket
    }

    /// Everything up to the last file. Gives the bucket when it can be used for the report.
    async fn work(&mut self, reached: Result<Option<Reached>, Fatal>) -> Option<Bucket> {
        if self.record.is_hopeless() {
            return None;
        }
        let Reached { bucket, seen, versioning } = match reached {
            Ok(reached) => reached?,
            Err(fatal) => {
                self.record.fail(self.events, fatal).await;
                return None;
            }
        };
        if versioning == Versioning::Off {
            let message = "the bucket has no versioning: a file that changes replaces its object for good. Switch versioning on";
            self.record.warn(self.events, message.to_owned()).await;
        }
        match self.recognise(&bucket, seen).await {
            Ok(true) => {}
            Ok(false) => return Some(bucket),
            Err(fatal) => {
                // What is in the bucket is another's: nothing is added to it.
                self.outbox.job = None;
                self.record.fail_at_once(self.events, fatal).await;
                return None;
            }
        }
        let (beating, warning) = (self.beat(), self.warn_when_long());
        let mut work = Box::pin(self.work_in(&bucket));
        tokio::select! {
            () = &mut work => {}
            () = beating => {}
            () = warning => {}
        }
        drop(work);
        Some(bucket)
    }

    /// Everything that changes something.
    async fn work_in(&mut self, bucket: &Bucket) {
        self.list_what_was_left().await;
        self.give_back_lost_uploads(bucket).await;
        match self.work.clone() {
            Work::Whole => {
                if self.steps().await {
                    Box::pin(self.transfer(bucket)).await;
                    self.record.balance(self.events, 0).await;
                    self.settle_walked(bucket).await;
                }
            }
            Work::Steps => {
                if self.steps().await {
                    self.remember_steps().await;
                }
            }
            Work::Plan(options) => Box::pin(self.plan_shards(bucket, &options)).await,
        }
    }

    /// After the sources were walked: what is no longer there.
    pub(crate) async fn settle_walked(&mut self, bucket: &Bucket) {
        if !self.record.is_hopeless() && !self.cancel.is_cancelled() {
            self.look_at_empty_sources().await;
            self.settle_gone().await;
            self.give_back_left_uploads(bucket).await;
        }
    }

    /// The steps ran by themselves before: what they made, and how they ended, is this run's.
    async fn take_steps(&mut self, stepped: Option<StepsDone>) {
        let is_planning = matches!(self.work, Work::Plan(_));
        match stepped {
            Some(done) => {
                self.settled = done.settled();
                self.record.steps = done.reports;
                let noted = Noted { facts: done.facts, problems: Vec::new() };
                self.record.note(self.events, noted).await;
            }
            None if is_planning && !self.job.steps.is_empty() => {
                let message = "the steps did not run: `backup steps` before the plan runs them";
                self.record.warn(self.events, message.to_owned()).await;
            }
            None => {}
        }
    }

    /// Takes in what whoever started the run wants said of it.
    async fn note_facts(&mut self) {
        let told = Noted { facts: self.job.facts.clone(), problems: Vec::new() };
        self.record.note(self.events, told).await;
        if let Some(path) = &self.job.facts_file {
            let noted = Noted::read(path.clone()).await.without(&self.job.audience.secrets);
            self.record.note(self.events, noted.of(&path.display().to_string())).await;
        }
    }

    /// Leaves what the steps did to the plan that comes next.
    async fn remember_steps(&mut self) {
        let done = StepsDone::new(self.id.clone(), self.begun.at, &self.record, self.settled.as_ref());
        let label = Arc::clone(&self.memory.label);
        match self.memory.with(move |catalog| done.remember(catalog, &label)).await {
            Ok(()) => self.goes_on = Some(GoesOn::Stepped),
            Err(error) => return self.catalog_broke(&error).await,
        }
        if !self.memory.is_lasting {
            let message = "without `state_dir` the plan does not learn that the steps ran: its report leaves them out, and files that they just made wait for `min_age`";
            self.record.warn(self.events, message.to_owned()).await;
        }
    }

    /// Says in the bucket from time to time that the run goes on. Never ends.
    fn beat(&self) -> impl Future<Output = ()> + use<> {
        let (beacon, memory) = (self.beacon.clone(), self.memory.clone());
        let (clock, timezone) = (Arc::clone(&self.job.clock), self.job.timezone);
        async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let now = clock();
                let _ = memory.with(move |catalog| trouble::note_alive(catalog, now)).await;
                let Some(beacon) = &beacon else { continue };
                let now = clock().with_timezone(&timezone).fixed_offset();
                // What goes wrong shows at the end again, and is said there.
                let _ = beacon.lock().await.write(RunState::Running, now).await;
            }
        }
    }

    /// Tells once that the run takes longer than usual, if it does. Never ends.
    fn warn_when_long(&self) -> impl Future<Output = ()> + use<> {
        let warn_after = self.job.schedule.as_ref().and_then(|options| options.warn_after);
        let left = warn_after.map(|after| after.saturating_sub(self.begun.instant.elapsed()));
        let (job, memory) = (Arc::clone(self.job), self.memory.clone());
        let bell = self.courier.as_ref().map(Courier::bell);
        let (id, at) = (self.id.clone(), self.begun.at);
        let due = self.duty.newest_open().unwrap_or(at);
        async move {
            passed(left).await;
            let owner = Arc::clone(&job);
            let noted = memory.with(move |catalog| {
                trouble::run::long_running(catalog, &owner, &id, due, at, warn_after.unwrap_or_default())
            });
            match noted.await {
                Ok(()) => bell.iter().for_each(|bell| bell.notify_one()),
                Err(error) => {
                    error!(job.logger(), "nobody is told that the run takes long"; "why" => crate::line_of(&error));
                }
            }
            std::future::pending::<()>().await;
        }
    }

    /// Makes sure that the catalog is the one of this bucket, and says in both that the run has begun. `Ok(false)` when
    /// interrupted meanwhile.
    async fn recognise(&mut self, bucket: &Bucket, seen: Seen) -> Result<bool, Fatal> {
        let closing = start::close_shared(self.job, bucket, &self.memory, self.events, seen);
        let seen = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(false),
            closed = Box::pin(closing) => closed?,
        };
        let settling = start::settle(self.job, bucket, &self.memory, &seen);
        let warnings = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(false),
            settled = Box::pin(settling) => settled?,
        };
        for warning in warnings {
            self.record.warn(self.events, warning).await;
        }
        let begun = self.note_begin(&seen).await.map_err(|error| start::fatal_of(&error))?;
        let mut beacon = Beacon::new(bucket, self.job, &seen, begun)?;
        let now = ending::local(self.job, self.begun.at);
        let written = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(false),
            written = beacon.write(RunState::Running, now) => written,
        };
        match written {
            Ok(()) => self.note_stored().await,
            Err(message) => self.record.warn(self.events, message).await,
        }
        self.beacon = Some(Arc::new(Mutex::new(beacon)));
        Ok(true)
    }

    /// Notes the run in the catalog, with the due times that it stands for.
    async fn note_begin(&mut self, seen: &Seen) -> Result<Latest, Error> {
        let job = Arc::clone(self.job);
        let (memory, id, at) = (self.memory.clone(), self.id.clone(), self.begun.at);
        let before = if let Seen::Present(latest, _) = seen { Some(latest.clone()) } else { None };
        let is_continued = before.as_ref().is_some_and(|latest| latest.run_id == id);
        let noted = self.memory.with(move |catalog| {
            let duty = match &job.schedule {
                Some(options) => Duty::look(catalog, options, at)?,
                None => Duty::default(),
            };
            let telling = if is_continued {
                Telling::default()
            } else {
                trouble::run::at_start(catalog, &job, memory.destination, &duty, at)?
            };
            catalog.begin_run(memory.destination, &id, at, &telling)?;
            let is_unsettled = start::note_unsettled(catalog, &memory.label)?;
            let reference = start::identity(catalog, &job, before.as_deref(), memory.is_lasting)?;
            let runs = catalog.runs(memory.destination, Latest::MAX_RUNS)?;
            let runs = runs.into_iter().filter_map(|row| row.summary).collect();
            let verified = remembered(catalog, &memory.label)?.or(before.and_then(|latest| latest.verified));
            let started_at = ending::local(&job, at);
            let mut latest = latest::of_run(&job, &id, started_at, reference, verified, runs);
            latest.alerts = Delivery::look(catalog)?.for_latest(&job);
            Ok((latest, duty, is_unsettled))
        });
        let (latest, duty, is_unsettled) = noted.await?;
        self.courier = Some(Courier::start(self.outbox.clone()));
        self.is_unsettled = is_unsettled;
        self.verified.clone_from(&latest.verified);
        self.days = duty.days(self.begun.at.with_timezone(&self.job.timezone).date_naive());
        if duty.is_too_much {
            let message = "more due times were missed than one run makes up for; the oldest stay missed";
            self.record.warn(self.events, message.to_owned()).await;
        }
        self.duty = duty;
        Ok(latest)
    }

    async fn note_stored(&mut self) {
        let (label, id) = (Arc::clone(&self.memory.label), self.id.clone());
        let noted = self.memory.with(move |catalog| start::note_stored(catalog, &label, &id)).await;
        if let Err(error) = noted {
            self.catalog_broke(&error).await;
        }
    }

    /// What a killed run had proved, or what could not be listed then, enters this run's manifest.
    async fn list_what_was_left(&mut self) {
        const PAGE: usize = 1024;
        let destination = self.memory.destination;
        let mut after: Option<(SourceId, Vec<u8>)> = None;
        loop {
            let from = after.clone();
            let rows = self.memory.with(move |catalog| {
                catalog.unlisted(destination, from.as_ref().map(|(id, path)| (*id, path.as_slice())), PAGE)
            });
            let rows = match rows.await {
                Ok(rows) => rows,
                Err(error) => return self.catalog_broke(&error).await,
            };
            let Some(last) = rows.last() else { return };
            after = Some((last.source, last.path.clone()));
            for row in &rows {
                let op = match row.state {
                    FileState::Gone => Op::Gone,
                    FileState::LocallyPruned => Op::RemovedByPrune,
                    FileState::Present | FileState::Doubtful => Op::Put,
                };
                let line = self.line(op, row);
                self.record.list(self.events, &line).await;
            }
        }
    }

    /// Runs the steps. False when nothing is to be uploaded after them.
    async fn steps(&mut self) -> bool {
        let job = self.job;
        let surroundings = Surroundings {
            run_id: self.id.clone(),
            days: self.days.clone(),
            secrets: job.audience.secrets.clone(),
            grace: job.grace.mul_f64(DRAIN_SHARE),
        };
        let stepped = run_steps(&job.steps, &surroundings, self.events, self.cancel).await;
        self.record.steps = stepped.reports;
        for noted in stepped.noted {
            self.record.note(self.events, noted).await;
        }
        if !job.steps.is_empty() {
            let start = SystemTime::from(self.begun.at);
            self.settled = Some(start.checked_sub(STAMP_DELAY).unwrap_or(start)..=(job.clock)().into());
        }
        if let Some(fatal) = stepped.fatal {
            self.record.fail(self.events, fatal).await;
        }
        !self.record.is_hopeless() && !self.cancel.is_cancelled()
    }

    /// A source without any file is trouble when there were some, and worth a word when there never were.
    async fn look_at_empty_sources(&mut self) {
        for place in self.record.empty_sources() {
            let Some(id) = self.memory.sources.get(place).copied() else { continue };
            let path = self.record.sources().get(place).map(|source| source.path.clone()).unwrap_or_default();
            match self.memory.with(move |catalog| catalog.count_source(id)).await {
                Ok(known) => self.empty_source(place, &path, known).await,
                Err(error) => return self.catalog_broke(&error).await,
            }
        }
        for (path, seen) in self.record.idle_sources() {
            let message = format!("{path}: none of its {seen} files is selected in this run");
            self.record.warn(self.events, message).await;
        }
    }

    async fn empty_source(&mut self, place: usize, path: &str, known: Tally) {
        if known.files > 0 {
            self.record.had_files(place);
            if self.job.force {
                return;
            }
            let message = format!(
                "{path} had {} files when it was last looked at and has none now: is its disk mounted, did somebody empty it? Nothing in the bucket was touched. If it is meant, run once with --force",
                known.files
            );
            self.record.fail(self.events, Fatal { kind: FailureKind::SourceEmpty, message }).await;
        } else {
            self.record.warn(self.events, format!("{path} has no files")).await;
        }
    }
}

/// A logger that drops everything, for callers without one.
pub(crate) fn silent() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}
