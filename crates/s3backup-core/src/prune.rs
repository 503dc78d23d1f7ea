//! Retention: which runs, objects and local files go, and their removal. Nothing goes unless a rule says so.
//!
//! What goes is decided by pure functions, [`keep`] for runs and [`sweep`] for objects; [`history`] gathers what they decide
//! upon. [`objects`], [`control`] and [`local`] remove, in this order: at each moment what the bucket and the catalog say is
//! true, and who is killed between two lines has lost nothing that a rule keeps.

mod control;
mod history;
mod keep;
mod local;
mod objects;
mod sweep;
mod unlink;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use s3backup_model::{Key, RunId, RunState, Tally};
use s3backup_transfer::Bucket;
use serde::Serialize;
use slog::{debug, info};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::history::Runs;
use self::keep::{Judged, Keep, keep};
use crate::backup::Job;
use crate::latest::{self, Seen};
use crate::memory::{Memory, machine};
use crate::options::PruneRules;
use crate::shards::lease;
use crate::start::{Facts, Recognition, recognise};
use crate::{Backup, Error};

/// Things that wait for whoever watches. A slow watcher slows the work down, and misses nothing.
const ITEMS_AHEAD: usize = 256;

/// A run that has said nothing for so long is dead: it says something every five minutes, and may fail to twice.
const SILENCE: TimeDelta = TimeDelta::minutes(15);

/// The largest share of the objects, and of their bytes, that goes at once without force, in percent. A rule that is at
/// work daily takes a few in a hundred; a quarter at once is a new rule, a typing error, or a history that is not whole.
const MAX_SHARE: u64 = 25;

/// How retention is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "options do nothing by themselves"]
pub struct PruneOptions {
    /// Whether it is only said what would go.
    pub dry_run: bool,
    /// Whether any share of the objects may go at once.
    pub force: bool,
}

impl PruneOptions {
    /// Only says what would go. Takes no lock and changes nothing. Default no.
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// Lets more than a quarter of the objects go at once. Default no.
    pub fn force(mut self, yes: bool) -> Self {
        self.force = yes;
        self
    }
}

/// What kind of thing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PruneKind {
    /// An object of the backup, or one version of it.
    Object,
    /// Control data of an old run.
    Control,
    /// A local file that is in the bucket.
    Local,
}

impl PruneKind {
    /// The word that is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Control => "control",
            Self::Local => "local",
        }
    }
}

/// What became of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PruneState {
    /// It would go.
    WouldGo,
    /// It is gone.
    Removed,
    /// A rule says that it may go, and it was left.
    Left,
    /// It was left, because the bucket does not have what it should.
    Differs,
}

/// One thing that goes, or that a rule says may go and that was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PruneItem {
    /// What it is.
    pub kind: PruneKind,
    /// What became of it.
    pub state: PruneState,
    /// The object; of a local file, the one that has its bytes.
    pub key: Key,
    /// Its version, where the bucket has versioning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The local file, escaped as keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Length in bytes.
    pub bytes: u64,
    /// Why, for a person.
    pub reason: String,
}

/// A run that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeptRun {
    /// The run.
    pub run_id: RunId,
    /// Why, for a person: at least one reason.
    pub reasons: Vec<String>,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PruneReport {
    /// Whether it was only looked.
    pub dry_run: bool,
    /// Whether it was told to stop before its end. What was removed by then stays removed.
    pub interrupted: bool,
    /// Runs in the bucket.
    pub runs: u64,
    /// Those of them that are kept, newest first. Empty where no rule is about runs: then all are.
    pub kept: Vec<KeptRun>,
    /// Objects, and versions of objects, that are in the bucket according to its manifests.
    pub known: Tally,
    /// Those of them that are gone, or would be.
    pub objects: Tally,
    /// Objects of control data that are gone, or would be.
    pub control: Tally,
    /// Local files that are gone, or would be.
    pub local: Tally,
    /// What a rule says may go and was left, each told of by a [`PruneItem`].
    pub left: u64,
    /// Those of them that were left because the bucket has not what it should: verify it.
    pub differ: u64,
    /// Of a dry run: why nothing would be removed as things are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Backup {
    /// Removes what no rule keeps: versions of objects that only old runs refer to, objects of files that went from their
    /// source before any run that is kept, the control data of old runs, and local files that are proved to be in the bucket.
    /// Needs the catalog of the machine that makes the backup, up to date. Must be called within a tokio runtime.
    ///
    /// ```no_run
    /// # use s3backup_core::{Backup, PruneOptions, options::PruneRules};
    /// # async fn example(backup: Backup) -> Result<(), s3backup_core::Error> {
    /// let rules = PruneRules::default().keep_daily(30).keep_monthly(24);
    /// let mut prune = backup.prune(rules, PruneOptions::default().dry_run(true));
    /// while let Some(item) = prune.next().await {
    ///     println!("{} {}: {}", item.kind.as_str(), item.key, item.reason);
    /// }
    /// let report = prune.finish().await?;
    /// println!("{} objects would go", report.objects.files);
    /// # Ok(())
    /// # }
    /// ```
    pub fn prune(&self, rules: PruneRules, options: PruneOptions) -> Prune {
        let (items, receiver) = mpsc::channel(ITEMS_AHEAD);
        let cancel = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(prune(Arc::clone(&self.job), rules, options, items, cancel.clone()));
        Prune { items: receiver, cancel, task }
    }
}

/// A prune that is going on. Dropping it stops it at once: what it told of is gone, and perhaps a few objects more.
#[derive(Debug)]
pub struct Prune {
    items: mpsc::Receiver<PruneItem>,
    cancel: CancellationToken,
    task: JoinSet<Result<PruneReport, Error>>,
}

impl Prune {
    /// The next thing that went, or would; `None` at the end. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<PruneItem> {
        self.items.recv().await
    }

    /// A token that ends it after the requests in flight; the report then says so.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Waits for the end. Items that were not taken are dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a rule; [`Error::Locked`] while a run is going on, and [`Error::Leased`] while many workers share one; [`Error::PruneRefused`] when it is not
    /// safe, and [`Error::Manifest`] when the history is not whole: then nothing was removed. [`Error::PruneStopped`] at
    /// the first thing that went wrong after that.
    pub async fn finish(mut self) -> Result<PruneReport, Error> {
        while self.items.recv().await.is_some() {}
        match self.task.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(Error::Defect(error.to_string())),
            None => Err(Error::Defect("the prune has no task".to_owned())),
        }
    }
}

/// What all parts of a prune share.
struct Work {
    job: Arc<Job>,
    bucket: Bucket,
    memory: Memory,
    options: PruneOptions,
    items: mpsc::Sender<PruneItem>,
    cancel: CancellationToken,
    report: PruneReport,
}

impl Work {
    /// Counts a thing and tells of it.
    async fn tell(&mut self, item: PruneItem) {
        match item.state {
            PruneState::Left | PruneState::Differs => {
                self.report.left += 1;
                self.report.differ += u64::from(item.state == PruneState::Differs);
            }
            PruneState::WouldGo | PruneState::Removed => match item.kind {
                PruneKind::Object => self.report.objects.add(item.bytes),
                PruneKind::Control => self.report.control.add(item.bytes),
                PruneKind::Local => self.report.local.add(item.bytes),
            },
        }
        debug!(self.job.logger, "prune"; "kind" => item.kind.as_str(), "state" => ?item.state, "key" => item.key.as_str(),
            "version" => item.version_id.clone(), "path" => item.path.clone(), "bytes" => item.bytes, "reason" => item.reason.clone());
        // Nobody watches any more only when the prune is being dropped.
        let _ = self.items.send(item).await;
    }

    /// The state of a thing that goes.
    fn goes(&self) -> PruneState {
        if self.options.dry_run { PruneState::WouldGo } else { PruneState::Removed }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

async fn prune(
    job: Arc<Job>,
    rules: PruneRules,
    options: PruneOptions,
    items: mpsc::Sender<PruneItem>,
    cancel: CancellationToken,
) -> Result<PruneReport, Error> {
    if rules == PruneRules::default() {
        let why = "it sets no rule, and nothing is ever deleted without one: set keep_daily, keep_monthly or local_after";
        return Err(Error::invalid("[prune]", why));
    }
    let memory =
        if options.dry_run { Memory::look(&job).await? } else { Memory::open(&job, "backup prune").await? };
    let bucket = job.connect().await.map_err(Error::Transfer)?;
    let report = PruneReport { dry_run: options.dry_run, ..PruneReport::default() };
    let mut work = Work { job, bucket, memory, options, items, cancel, report };
    let cancel = work.cancel.clone();
    // Until here nothing is removed, and all can be dropped.
    let prepared = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        prepared = Box::pin(work.prepare(&rules)) => Some(prepared?),
    };
    if let Some(prepared) = prepared
        && let Err(error) = Box::pin(work.remove(prepared, &rules)).await
    {
        return Err(work.stopped(error));
    }
    work.report.interrupted = work.is_cancelled();
    let report = work.report;
    info!(work.job.logger, "prune ended"; "dry_run" => report.dry_run, "interrupted" => report.interrupted,
        "objects" => report.objects.files, "object_bytes" => report.objects.bytes, "control" => report.control.files,
        "local" => report.local.files, "local_bytes" => report.local.bytes, "left" => report.left);
    Ok(report)
}

/// What is known before anything is removed.
struct Prepared {
    runs: Runs,
    /// `None` where no rule is about runs.
    retention: Option<objects::Retention>,
}

impl Work {
    async fn prepare(&mut self, rules: &PruneRules) -> Result<Prepared, Error> {
        self.recognise().await?;
        let destination = self.memory.destination;
        if self.memory.with(move |catalog| catalog.count(destination)).await?.files == 0 {
            return Err(refused(
                "there is no file in the state of this backup, which is no state to prune by",
            ));
        }
        let runs = Runs::list(&self.job, &self.bucket).await?;
        let facts = runs.facts(&self.job, &self.bucket, &self.memory).await?;
        self.report.runs = facts.len() as u64;
        runs.note_history(&self.job, &self.bucket, &self.memory).await?;
        if rules.keep_daily.is_none() && rules.keep_monthly.is_none() {
            return Ok(Prepared { runs, retention: None });
        }
        let judged = keep(&facts, rules, (self.job.clock)(), self.job.timezone);
        self.report.kept = judged.iter().filter_map(kept_run).collect();
        let kept: BTreeSet<RunId> = self.report.kept.iter().map(|run| run.run_id.clone()).collect();
        let Some(newest) = judged.first().map(|run| run.id.clone()) else {
            return Err(refused("the bucket has no run"));
        };
        let retention =
            objects::Retention { kept, swept: history::read_swept(&self.job, &self.bucket).await?, newest };
        self.check_share(&retention).await?;
        Ok(Prepared { runs, retention: Some(retention) })
    }

    async fn remove(&mut self, prepared: Prepared, rules: &PruneRules) -> Result<(), Error> {
        if let Some(retention) = &prepared.retention {
            self.sweep_objects(retention).await?;
            if !self.options.dry_run && !self.is_cancelled() {
                history::write_swept(&self.job, &self.bucket, retention.as_swept()).await?;
            }
            if !self.is_cancelled() {
                self.sweep_control(&prepared.runs, &retention.kept).await?;
            }
            if !self.is_cancelled() {
                self.sweep_plans().await?;
            }
        }
        match rules.local_after {
            Some(age) if !self.is_cancelled() => self.prune_local(age).await,
            _ => Ok(()),
        }
    }

    /// The catalog must be the bucket's, and no run may be going on.
    async fn recognise(&self) -> Result<(), Error> {
        let seen = Box::pin(latest::read(&self.bucket, &self.job)).await;
        let seen = seen.map_err(|fatal| refused(format!("latest.json cannot be read: {}", fatal.message)))?;
        if !self.options.dry_run {
            lease::refuse(&self.job, &self.bucket, &seen)?;
        }
        let Seen::Present(latest, _) = seen else {
            return Err(refused(
                "there is no latest.json in the bucket that could be read: run `backup run` first",
            ));
        };
        let now = (self.job.clock)();
        let silence = now.signed_duration_since(latest.heartbeat);
        if latest.state == RunState::Running && silence < SILENCE && !self.options.dry_run {
            let holder = format!(
                "run {} says in the bucket that it is going on, last at {}; if it was killed, {} minutes of silence show it",
                latest.run_id,
                latest.heartbeat.to_rfc3339(),
                SILENCE.num_minutes()
            );
            return Err(Error::Locked { job: self.job.name.clone(), holder });
        }
        let (destination, label) = (self.memory.destination, Arc::clone(&self.memory.label));
        let facts = self.memory.with(move |catalog| Facts::of(catalog, destination, &label)).await?;
        match recognise(&facts, Some(&latest), machine(&self.job).as_deref(), self.memory.is_lasting) {
            Recognition::Same => Ok(()),
            Recognition::Foreign { why } => {
                Err(refused(format!("{why}: prune on the machine that makes the backup")))
            }
            Recognition::Import { .. } | Recognition::TakeIn { .. } | Recognition::Reconcile { .. } => {
                Err(refused(
                    "the catalog on this machine and the bucket are not of one state: `backup run` brings them together",
                ))
            }
        }
    }

    fn stopped(&self, cause: Error) -> Error {
        let report = &self.report;
        let nothing = Tally::default();
        if (report.objects, report.control, report.local) == (nothing, nothing, nothing) {
            return cause;
        }
        Error::PruneStopped {
            objects: report.objects.files,
            control: report.control.files,
            local: report.local.files,
            cause: Box::new(cause),
        }
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::PruneRefused { why: why.into() }
}

fn kept_run(judged: &Judged) -> Option<KeptRun> {
    let reason = |keep: &Keep| match keep {
        Keep::NoRule => "no rule is about runs".to_owned(),
        Keep::Newest => "the newest run".to_owned(),
        Keep::NewestBackup => "the newest run that backed something up".to_owned(),
        Keep::Future => "it began later than now".to_owned(),
        Keep::Day(day) => format!("the last of {day}"),
        Keep::Month(month) => format!("the last of {}", month.format("%Y-%m")),
    };
    let reasons: Vec<String> = judged.keep.iter().map(reason).collect();
    (!reasons.is_empty()).then(|| KeptRun { run_id: judged.id.clone(), reasons })
}
