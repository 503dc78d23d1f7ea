//! Build, run, watch, cancel.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use s3backup_discovery::{Rules, Select as DiscoverySelect, discover};
use s3backup_model::{Event, Fact, Name, Outcome, RunReport, Trigger};
use s3backup_slack::{Secret, Slack, SlackOptions};
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::{Bucket, ConnectOptions, Error as TransferError, ObjectSettings};
use slog::Logger;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::events::{EVENTS_AHEAD, Emitter};
use crate::memory::Memory;
use crate::metrics::Publisher;
use crate::options::{
    AlertCommand, Compare, Destination, HttpPath, MetricsOptions, PingOptions, RetrySettings,
    ScheduleOptions, Select, Source, Step, Symlinks, TransferSettings,
};
use crate::outbox::Audience;
use crate::ping::Ping;
use crate::plan::Naming;
use crate::planning::Plan;
use crate::record::Shelf;
use crate::run::{Became, Work, run, silent};
use crate::shards::worker::{self, Rhythm};
use crate::shards::{ShardOptions, ShardUri, ShardedPlan};

/// Up to so many files may change at once whatever share of all they are: a handful of databases that change each day is
/// no mass change.
const ALWAYS_ALLOWED: u64 = 10;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// A backup that is ready to run, as often as wanted. Cheap to clone.
///
/// See the [crate documentation](crate) for an example.
#[derive(Clone)]
pub struct Backup {
    pub(crate) job: Arc<Job>,
}

/// Everything that a run needs to know.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) name: Name,
    pub(crate) host: Name,
    pub(crate) timezone: Tz,
    pub(crate) steps: Vec<Step>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) facts_file: Option<PathBuf>,
    pub(crate) sources: Vec<Source>,
    rules: Vec<Rules>,
    pub(crate) bucket: String,
    server: String,
    pub(crate) reach: Reach,
    pub(crate) naming: Arc<Naming>,
    pub(crate) transfer: TransferSettings,
    pub(crate) objects: ObjectSettings,
    pub(crate) retry: RetrySettings,
    pub(crate) grace: Duration,
    pub(crate) trigger: Trigger,
    pub(crate) schedule: Option<ScheduleOptions>,
    pub(crate) max_changed: u8,
    pub(crate) force: bool,
    state_dir: Option<PathBuf>,
    pub(crate) audience: Arc<Audience>,
    pub(crate) ping: Option<Ping>,
    pub(crate) verify_every: Option<Duration>,
    pub(crate) alert_when_interrupted: bool,
    pub(crate) log_location: Option<String>,
    pub(crate) metrics: Option<Publisher>,
    pub(crate) clock: Clock,
    pub(crate) random: Arc<dyn Fn() -> u32 + Send + Sync>,
    pub(crate) logger: Logger,
}

/// How the bucket is reached.
#[derive(Clone)]
pub(crate) enum Reach {
    Connect(ConnectOptions),
    Client { client: Box<Client>, bucket: String },
}

impl Job {
    /// Whether a source was told to follow symbolic links.
    pub(crate) fn follows_symlinks(&self, source: usize) -> bool {
        self.sources.get(source).is_some_and(|source| source.symlinks == Symlinks::Follow)
    }

    /// The folder of the job's catalog and lock.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.state_dir.as_ref().map(|dir| dir.join(self.name.as_str()))
    }

    /// What the catalog knows the server by: nothing for AWS and for a client that was handed in.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Makes the client.
    pub(crate) async fn connect(&self) -> Result<Bucket, TransferError> {
        let bucket = match &self.reach {
            Reach::Connect(options) => Bucket::connect(options).await?,
            Reach::Client { client, bucket } => Bucket::from_client(client, bucket.clone()),
        };
        Ok(bucket.with_retry(self.retry.clone()))
    }

    /// Of which sources every file is to be read.
    pub(crate) fn reads_all(&self) -> Vec<bool> {
        let reads_all = |source: &Source| source.select == Select::All || source.compare == Compare::Checksum;
        self.sources.iter().map(reads_all).collect()
    }

    /// Whether files that would replace something are counted before any is sent.
    pub(crate) fn guards(&self) -> bool {
        !self.force && self.max_changed < 100
    }

    /// Whether so many of the known files are more than may change at once.
    pub(crate) fn is_too_many(&self, changed: u64, known: u64) -> bool {
        self.guards()
            && changed > ALWAYS_ALLOWED
            && changed.saturating_mul(100) > known.saturating_mul(self.max_changed.into())
    }

    /// `s3://bucket/prefix`, for people.
    pub(crate) fn destination_url(&self) -> String {
        let prefix = self.naming.destination();
        if prefix.is_empty() {
            format!("s3://{}", self.bucket)
        } else {
            format!("s3://{}/{prefix}", self.bucket)
        }
    }

    /// The clock as discovery reads it.
    pub(crate) fn walk_clock(&self) -> s3backup_discovery::Clock {
        let clock = Arc::clone(&self.clock);
        Arc::new(move || clock().into())
    }

    /// The sources with their days resolved for a run that stands for `days`. Files that were modified in the `settled` time, in which
    /// the run's own steps made them, are taken whatever their age.
    pub(crate) fn discovery_sources(
        &self,
        days: &[NaiveDate],
        settled: Option<&RangeInclusive<SystemTime>>,
    ) -> Vec<s3backup_discovery::Source> {
        let before = |day: &NaiveDate| day.checked_sub_days(Days::new(1)).unwrap_or(*day);
        let on = |days: Vec<NaiveDate>| DiscoverySelect::days(days, self.timezone);
        self.sources
            .iter()
            .zip(&self.rules)
            .enumerate()
            .map(|(index, (source, rules))| {
                let select = match source.select {
                    Select::Changed | Select::All => DiscoverySelect::All,
                    Select::Yesterday => on(days.iter().map(before).collect()),
                    Select::Today => on(days.to_vec()),
                    Select::Day(date) => on(vec![date]),
                };
                s3backup_discovery::Source {
                    index,
                    path: source.path.clone(),
                    rules: rules.clone().with_select(select),
                    settled: settled.cloned(),
                }
            })
            .collect()
    }

    pub(crate) fn shelf<'a>(&'a self, bucket: &'a Bucket) -> Shelf<'a> {
        Shelf {
            bucket,
            naming: &self.naming,
            checksum: self.transfer.checksum,
            sse: self.objects.sse.as_ref(),
        }
    }
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = &self.job;
        f.debug_struct("Backup")
            .field("job", &job.name)
            .field("host", &job.host)
            .field("sources", &job.sources)
            .field("destination", &job.destination_url())
            .finish_non_exhaustive()
    }
}

impl Backup {
    /// Starts from the defaults; a source and a destination are needed.
    pub fn builder() -> BackupBuilder {
        BackupBuilder::default()
    }

    /// Runs once to the end and says what it did.
    ///
    /// A file that could not be backed up is no error: it is named in [`RunReport::failed`] and the outcome is
    /// `partial`. Look at [`RunReport::outcome`] before calling it a success.
    ///
    /// The report is also stored in the bucket, where it is the same but for what happened while it was stored and after:
    /// that it could not be stored, and that people could not be told, are only in the one that is returned.
    ///
    /// # Errors
    /// [`Error::Failed`], with the report, when the run could not do its work: no credentials, no bucket, a source missing,
    /// a step that failed. Dropping the future stops everything at once: objects that were sent stay, no manifest or report
    /// of this run is written, and a multipart upload in flight may stay unfinished in the bucket.
    pub async fn run(&self) -> Result<RunReport, Error> {
        self.start().finish().await
    }

    /// As [`run`](Self::run), for a program without an async runtime: makes one for this run and waits.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Error::Runtime`] when no threads can be started.
    ///
    /// # Panics
    /// When it is called within a tokio runtime, which it would block.
    pub fn run_blocking(&self) -> Result<RunReport, Error> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
        let result = runtime.block_on(self.run());
        // A thread that hangs in a dead mount is left to itself: the run has ended without it.
        runtime.shutdown_background();
        result
    }

    /// Starts a run to watch and to cancel. Must be called within a tokio runtime.
    pub fn start(&self) -> Run {
        self.begin(Work::Whole)
    }

    /// Starts a worker's part of a run that many workers share: one shard of a plan, named as `backup plan --shards` prints it.
    /// The run's report is that of the shard. Any number of workers may do any shards at once, and each shard any number of
    /// times, on any machine that has the sources at the same paths: what earlier attempts proved is not done again. Nothing
    /// is kept on this machine, and nobody is told. Must be called within a tokio runtime.
    ///
    /// [`Run::finish`] gives [`Error::Shard`] when there is no such plan, it is over or expired, or it was made with another
    /// configuration; [`Error::Transfer`] when the bucket cannot be asked; else it ends as [`run`](Self::run) does. Dropping
    /// the run stops everything at once: what was sent stays, and the next attempt at the shard goes on from what was stored
    /// last.
    pub fn start_shard(&self, uri: &ShardUri) -> Run {
        let (job, uri) = (Arc::clone(&self.job), uri.clone());
        self.spawn(|events, cancel| worker::run(job, uri, Rhythm::default(), events, cancel))
    }

    /// Starts the steps alone, under the job's lock, for a run that many workers share: the next [`start_plan`](Self::start_plan) goes
    /// on with the same run. When a step aborts, the run has failed, is reported and told. Must be called within a tokio
    /// runtime.
    pub fn start_steps(&self) -> Run {
        self.begin(Work::Steps)
    }

    /// Starts to plan a run for many workers: walks the sources, deals out what is to be sent, and takes the lease, which
    /// keeps other runs of the job from beginning until the run is committed, given up or expired. A run that cannot be
    /// planned has failed, is reported and told.
    ///
    /// A plan does not read files, so that `max_changed` counts all whose times changed. Dropping the [`Run`] leaves lists
    /// that nobody uses, and is to the next run as if this one had been killed. Must be called within a tokio runtime.
    pub fn start_plan(&self, options: ShardOptions) -> Run<ShardedPlan> {
        self.begin(Work::Plan(options))
    }

    fn begin<T>(&self, work: Work) -> Run<T> {
        let job = Arc::clone(&self.job);
        self.spawn(|events, cancel| run(job, work, events, cancel))
    }

    pub(crate) fn spawn<T, F>(&self, work: impl FnOnce(Emitter, CancellationToken) -> F) -> Run<T>
    where
        F: Future<Output = Result<Became, Error>> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        let cancel = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(work(Emitter::new(sender, self.job.logger.clone()), cancel.clone()));
        Run { events, cancel, task, gives: PhantomData }
    }

    /// The same backup, whose runs are started by something else than [`BackupBuilder::trigger`] said.
    #[must_use]
    pub fn triggered_by(&self, trigger: Trigger) -> Self {
        Self { job: Arc::new(Job { trigger, ..Job::clone(&self.job) }) }
    }

    /// What a run would do now, as far as the catalog tells. Runs no step and changes nothing; sends no request. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub async fn plan(&self) -> Result<Plan, Error> {
        let job = &self.job;
        let memory = Memory::look(job).await?;
        let today = (job.clock)().with_timezone(&job.timezone).date_naive();
        let sources = job.discovery_sources(&[today], None);
        let discovery = discover(sources, job.walk_clock(), CancellationToken::new(), job.logger.clone());
        Ok(Plan::new(discovery, Arc::clone(&job.naming), memory, job.reads_all(), None))
    }

    /// Where the files go: `s3://bucket/prefix`.
    pub fn destination(&self) -> String {
        self.job.destination_url()
    }
}

/// A run that is going on.
///
/// Take its events or wait with [`finish`](Self::finish): a run whose events nobody takes waits after a thousand of them,
/// also when it was cancelled. Dropping it stops the run at once, as dropping [`Backup::run`] does; a step that runs is
/// killed with all that it started.
#[derive(Debug)]
pub struct Run<T = RunReport> {
    events: mpsc::Receiver<Event>,
    cancel: CancellationToken,
    task: JoinSet<Result<Became, Error>>,
    gives: PhantomData<fn() -> T>,
}

impl<T> Run<T> {
    /// The next thing that happens; `None` after the last, which is [`Event::RunFinished`]. Nothing is lost when the
    /// future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// A token that ends the run gracefully, within [`BackupBuilder::grace`]: what is finished is recorded, and the report
    /// says `interrupted`. What goes wrong from then on is a warning. A run whose work is done already keeps its outcome.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    async fn became(mut self) -> Result<Became, Error> {
        while self.events.recv().await.is_some() {}
        match self.task.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(Error::Defect(error.to_string())),
            None => Err(Error::Defect("the run has no task".to_owned())),
        }
    }
}

impl Run<RunReport> {
    /// Waits for the end and gives the report. Events that were not taken are dropped.
    ///
    /// # Errors
    /// As [`Backup::run`].
    pub async fn finish(self) -> Result<RunReport, Error> {
        match self.became().await? {
            Became::Report(report) if report.outcome == Outcome::Failed => Err(Error::Failed(report)),
            Became::Report(report) => Ok(*report),
            Became::Planned(_) => Err(Error::Defect("a run was planned and not run".to_owned())),
        }
    }
}

impl Run<ShardedPlan> {
    /// Waits for the plan. Events that were not taken are dropped.
    ///
    /// # Errors
    /// [`Error::Failed`], with the report, when the run could not be planned or was interrupted; [`Error::Leased`] while another
    /// such run goes on; else as [`Backup::run`].
    pub async fn finish(self) -> Result<ShardedPlan, Error> {
        match self.became().await? {
            Became::Planned(plan) => Ok(*plan),
            Became::Report(report) => Err(Error::Failed(report)),
        }
    }
}

/// Collects what a [`Backup`] is.
#[must_use = "a builder does nothing until `build` is called"]
pub struct BackupBuilder {
    job: String,
    host: Option<String>,
    timezone: Tz,
    steps: Vec<Step>,
    facts: Vec<(String, String)>,
    facts_file: Option<PathBuf>,
    sources: Vec<Source>,
    destination: Option<Destination>,
    client: Option<Box<Client>>,
    http: HttpPath,
    transfer: TransferSettings,
    retry: RetrySettings,
    grace: Duration,
    trigger: Trigger,
    schedule: Option<ScheduleOptions>,
    max_changed: u8,
    force: bool,
    state_dir: Option<PathBuf>,
    slack: Option<SlackOptions>,
    alert_command: Option<AlertCommand>,
    ping: Option<PingOptions>,
    verify_every: Option<Duration>,
    withheld: Vec<Secret>,
    alert_when_interrupted: bool,
    log_location: Option<String>,
    metrics: MetricsOptions,
    clock: Clock,
    logger: Option<Logger>,
}

impl Default for BackupBuilder {
    fn default() -> Self {
        Self {
            job: "backup".to_owned(),
            host: None,
            timezone: Tz::UTC,
            steps: Vec::new(),
            facts: Vec::new(),
            facts_file: None,
            sources: Vec::new(),
            destination: None,
            client: None,
            http: HttpPath::default(),
            transfer: TransferSettings::default(),
            retry: RetrySettings::default(),
            grace: Duration::from_secs(3),
            trigger: Trigger::Manual,
            schedule: None,
            max_changed: 50,
            force: false,
            state_dir: None,
            slack: None,
            alert_command: None,
            ping: None,
            verify_every: None,
            withheld: Vec::new(),
            alert_when_interrupted: true,
            log_location: None,
            metrics: MetricsOptions::default(),
            clock: Arc::new(Utc::now),
            logger: None,
        }
    }
}

impl fmt::Debug for BackupBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BackupBuilder");
        shown.field("job", &self.job).field("sources", &self.sources).field("destination", &self.destination);
        shown.finish_non_exhaustive()
    }
}

impl BackupBuilder {
    /// The job's name. Default `backup`.
    pub fn job(mut self, name: impl Into<String>) -> Self {
        self.job = name.into();
        self
    }

    /// The name under which this machine backs up. Default: its host name.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.host = Some(name.into());
        self
    }

    /// The zone of the job's days and of the times in its report. Default UTC.
    pub fn timezone(mut self, timezone: Tz) -> Self {
        self.timezone = timezone;
        self
    }

    /// Adds a program to run before the upload. Steps run in the order in which they were added.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Says something of the runs beside their own counts, in the report and in the message to people, such as `Distance` and
    /// `12,345 km`. At most 20, the label of at most 60 characters and the value of at most 200. One with the same label takes the
    /// place of one before; what steps note comes last.
    pub fn fact(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.push((label.into(), value.into()));
        self
    }

    /// Says as well what this file has when a run begins, in lines `label: value`: what was known to whoever made the data before.
    /// It is read as steps' own are: what is wrong with it, or that it is not there, is a warning.
    pub fn facts_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.facts_file = Some(path.into());
        self
    }

    /// Adds a directory to back up.
    pub fn source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// Where the files go.
    pub fn destination(mut self, destination: Destination) -> Self {
        self.destination = Some(destination);
        self
    }

    /// Uses this client for the bucket; region, endpoint and credentials of the destination are then not looked at.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(Box::new(client));
        self
    }

    /// By which way requests go. Default: those that carry bytes of files by the program's own HTTP client. One that was
    /// handed in makes them all.
    pub fn http(mut self, path: HttpPath) -> Self {
        self.http = path;
        self
    }

    /// Limits and the checksum. The limit of the bandwidth holds for what is restored and verified, too.
    pub fn transfer(mut self, settings: TransferSettings) -> Self {
        self.transfer = settings;
        self
    }

    /// When and how often a request is sent again.
    pub fn retry(mut self, settings: RetrySettings) -> Self {
        self.retry = settings;
        self
    }

    /// How long a run may take to end after it was cancelled. Default 3 s, because schedulers kill after 5.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What starts the runs, for their reports.
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// When runs are due: what was missed is made up for, and told.
    pub fn schedule(mut self, options: ScheduleOptions) -> Self {
        self.schedule = Some(options);
        self
    }

    /// The share of known files, in percent, that may change at once: when more do, none is overwritten, and the run fails.
    /// New files are sent all the same, and up to 10 files may always change. Default 50; 100 means any.
    pub fn max_changed(mut self, percent: u8) -> Self {
        self.max_changed = percent;
        self
    }

    /// Goes on where a run would stop to ask: so many files changed, or a source is empty that had files.
    pub fn force(mut self, yes: bool) -> Self {
        self.force = yes;
        self
    }

    /// Where the job keeps its catalog and its lock, in a folder of its name; made when it is not there. It must not be on
    /// a network file system. Default none: then every run first reads from the bucket what is there, and nothing keeps
    /// two runs apart.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Tells Slack how each run ended, and of trouble.
    pub fn slack(mut self, options: SlackOptions) -> Self {
        self.slack = Some(options);
        self
    }

    /// Runs a program when Slack refuses an alert for good or cannot be reached for an hour; without Slack, for every alert
    /// but those of success.
    pub fn alert_command(mut self, command: AlertCommand) -> Self {
        self.alert_command = Some(command);
        self
    }

    /// Tells a health check when each run begins and how it ends.
    pub fn ping(mut self, options: PingOptions) -> Self {
        self.ping = Some(options);
        self
    }

    /// How often [`Backup::verify_if_due`] compares the bucket with the manifests. Default never.
    pub fn verify_every(mut self, every: Duration) -> Self {
        self.verify_every = Some(every);
        self
    }

    /// Another secret of this process that no step may find in its environment; those of AWS, Slack and the backup are withheld
    /// anyway.
    pub fn withhold(mut self, secret: Secret) -> Self {
        self.withheld.push(secret);
        self
    }

    /// Whether an interruption is told as well. Default yes; a program at a terminal, whose user just pressed Ctrl-C, says
    /// no.
    pub fn alert_when_interrupted(mut self, yes: bool) -> Self {
        self.alert_when_interrupted = yes;
        self
    }

    /// Where the log of the runs is, for alerts.
    pub fn log_location(mut self, place: impl Into<String>) -> Self {
        self.log_location = Some(place.into());
        self
    }

    /// Writes metrics when a run has ended. That it was not possible is a warning of the run.
    pub fn metrics(mut self, options: MetricsOptions) -> Self {
        self.metrics = options;
        self
    }

    /// Another clock than the machine's, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Where to log. Default: nowhere.
    pub fn logger(mut self, logger: Logger) -> Self {
        self.logger = Some(logger);
        self
    }

    /// Checks everything that can be checked without a disk or a network.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Name`] and [`Error::Slack`], each naming the setting.
    pub fn build(self) -> Result<Backup, Error> {
        let logger = self.logger.unwrap_or_else(silent);
        let name = Name::new(self.job).map_err(|cause| Error::Name { what: "job", cause })?;
        let host = match self.host {
            Some(host) => Name::new(host).map_err(|cause| Error::Name { what: "host", cause })?,
            None => Name::lossy(&gethostname::gethostname().to_string_lossy()),
        };
        let destination = self
            .destination
            .ok_or_else(|| Error::invalid("[destination]", "it is missing: name the bucket"))?;
        if destination.bucket.is_empty() {
            return Err(Error::invalid("[destination] bucket", "it is empty: name the bucket"));
        }
        if self.sources.is_empty() {
            return Err(Error::invalid("[[source]]", "there is none: name a directory to back up"));
        }
        check_steps(&self.steps)?;
        let facts = facts_of(self.facts)?;
        let rules = self.sources.iter().map(rules_of).collect::<Result<Vec<_>, _>>()?;
        let prefixes: Vec<String> = self.sources.iter().map(|source| source.prefix.clone()).collect();
        let naming = Naming::new(&destination.prefix, &prefixes, &name, &host, self.timezone)?;
        check_prefixes(&self.sources, &naming)?;

        let slack =
            self.slack.as_ref().map(|options| Slack::new(options.clone(), logger.clone())).transpose();
        let slack = slack.map_err(Error::Slack)?;
        let metrics = Publisher::new(self.metrics, &name, &host)?;
        let is_empty = |command: &AlertCommand| command.command.first().is_none_or(String::is_empty);
        if self.alert_command.as_ref().is_some_and(is_empty) {
            return Err(Error::invalid("[alert] command", "it is empty: name a program"));
        }
        let ping = self.ping.as_ref().map(Ping::new).transpose()?;
        let ping_url = self.ping.map(|options| options.url.expose().to_owned());
        let audience = Audience {
            slack,
            command: self.alert_command,
            secrets: (self.slack.iter().map(secret_of))
                .chain(ping_url)
                .chain(self.withheld.iter().map(|secret| secret.expose().to_owned()))
                .collect(),
        };
        let objects = ObjectSettings {
            storage_class: destination.storage_class,
            sse: destination.sse,
            tags: destination.tags,
            owner: format!("{name}/{host}"),
            run: String::new(),
        };
        let bucket = destination.bucket.clone();
        let server = destination.known_as.or_else(|| destination.endpoint.clone()).unwrap_or_default();
        let reach = match self.client {
            Some(client) => Reach::Client { client, bucket: destination.bucket },
            None => Reach::Connect(ConnectOptions {
                bucket: destination.bucket,
                region: destination.region,
                endpoint: destination.endpoint,
                credentials: destination.credentials,
                http: self.http,
            }),
        };
        let job = Job {
            logger: logger.new(slog::o!("job" => name.to_string(), "host" => host.to_string())),
            name,
            host,
            timezone: self.timezone,
            steps: self.steps,
            facts,
            facts_file: self.facts_file,
            sources: self.sources,
            rules,
            bucket,
            server,
            reach,
            naming: Arc::new(naming),
            transfer: self.transfer,
            objects,
            retry: self.retry,
            grace: self.grace,
            trigger: self.trigger,
            schedule: self.schedule,
            max_changed: self.max_changed,
            force: self.force,
            state_dir: self.state_dir,
            audience: Arc::new(audience),
            ping,
            verify_every: self.verify_every,
            alert_when_interrupted: self.alert_when_interrupted,
            log_location: self.log_location,
            metrics,
            clock: self.clock,
            random: Arc::new(|| fastrand::u32(..)),
        };
        Ok(Backup { job: Arc::new(job) })
    }
}

fn rules_of(source: &Source) -> Result<Rules, Error> {
    if source.path.as_os_str().is_empty() {
        return Err(Error::invalid("[[source]] path", "it is empty: name a directory"));
    }
    Rules::builder()
        .include(&source.include)
        .exclude(&source.exclude)
        .min_age(source.min_age)
        .symlinks(source.symlinks)
        .build()
        .map_err(|error| Error::invalid(format!("[[source]] {}", source.path.display()), error.to_string()))
}

fn facts_of(facts: Vec<(String, String)>) -> Result<Vec<Fact>, Error> {
    let count = facts.len();
    if count > RunReport::MAX_FACTS {
        let why = format!("there are {count}, and a report has room for {}", RunReport::MAX_FACTS);
        return Err(Error::invalid("the facts", why));
    }
    let facts = facts.into_iter().map(|(label, value)| Fact::new(label, value));
    facts.collect::<Result<_, _>>().map_err(|error| Error::invalid("the facts", error.to_string()))
}

fn check_steps(steps: &[Step]) -> Result<(), Error> {
    for step in steps {
        if step.command.first().is_none_or(String::is_empty) {
            return Err(Error::invalid(
                format!("[[step]] {} command", step.name),
                "it is empty: name a program",
            ));
        }
        if step.timeout.is_zero() {
            return Err(Error::invalid(
                format!("[[step]] {} timeout", step.name),
                "it is zero: the step could never run",
            ));
        }
    }
    Ok(())
}

/// Two directories under one prefix would give files of the same name the same key.
fn check_prefixes(sources: &[Source], naming: &Naming) -> Result<(), Error> {
    for (index, source) in sources.iter().enumerate() {
        for (other, earlier) in sources.iter().enumerate().take(index) {
            if source.path != earlier.path && naming.has_shared_prefix(index, other) {
                let why = format!(
                    "{} and {} would share the prefix `{}`, and files of the same name would overwrite each other: give each source a `prefix` of its own",
                    earlier.path.display(),
                    source.path.display(),
                    source.prefix
                );
                return Err(Error::invalid("[[source]] prefix", why));
            }
        }
    }
    Ok(())
}

/// What no other program may see.
pub(crate) fn secret_of(options: &SlackOptions) -> String {
    match &options.way {
        s3backup_slack::Way::Bot { token, .. } => token.expose().to_owned(),
        s3backup_slack::Way::Webhook { url } => url.expose().to_owned(),
    }
}
