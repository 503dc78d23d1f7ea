//! A verification from its beginning to its end.

use std::sync::Arc;

use s3backup_catalog::{Catalog, FileRow, FileState};
use s3backup_model::{Key, RunId, RunState, Tally, Verified};
use s3backup_transfer::{Bucket, DownloadLimits};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::check::{Checker, Differing, Finding, Reading};
use super::judge::{Horizon, is_listed_as_known};
use super::remember::{remember, remembered};
use super::{
    DifferenceCounts, Repair, RepairCounts, STRANGERS_NAMED, VerifyEvent, VerifyOptions, VerifyReport,
    VerifyScope,
};
use crate::Error;
use crate::backup::Job;
use crate::ending::local;
use crate::latest::{self, HEARTBEAT_LIMIT, Seen};
use crate::memory::{Memory, on_blocking_thread};
use crate::options::Select;
use crate::shards::lease;
use crate::start::list_bucket;
use crate::view::{At, View, is_up_to_date};

/// Rows that are read at a time.
const PAGE: usize = 1024;

/// A selection of less than this is looked at by HEAD, if it is also small beside the state.
const FEW: u64 = 10_000;

/// A listing brings 1,000 objects with one request, one page after the other; HEADs go many at a time.
const SMALL_SHARE: u64 = 20;

/// Most files of a sample: they are chosen in memory.
const MAX_SAMPLE: usize = 100_000;

/// Differences that are marked in one transaction.
const MARKS: usize = 256;

/// Most objects that are looked at at the same time.
const MAX_AT_ONCE: usize = 64;

/// What one download may take in memory.
const DOWNLOAD_BYTES: u64 = 1 << 20;

/// So many objects in a row without an answer: there is no use in asking for the others.
const MAX_SILENT: u32 = 100;

pub(super) async fn verify(
    job: Arc<Job>,
    options: VerifyOptions,
    events: mpsc::Sender<VerifyEvent>,
    cancel: CancellationToken,
) -> Result<VerifyReport, Error> {
    let mut report = empty(&job, &options);
    let working = work(&job, &options, &events, &mut report);
    let is_done = tokio::select! {
        biased;
        () = cancel.cancelled() => false,
        worked = Box::pin(working) => {
            worked?;
            true
        }
    };
    report.interrupted = !is_done;
    Ok(report)
}

fn empty(job: &Job, options: &VerifyOptions) -> VerifyReport {
    let seed = if let VerifyScope::Sample { seed, .. } = options.scope { Some(seed) } else { None };
    VerifyReport {
        verified: Verified {
            at: local(job, (job.clock)()),
            objects: Tally::default(),
            downloaded: Tally::default(),
            differ: 0,
        },
        of: Tally::default(),
        differences: DifferenceCounts::default(),
        unchecked: 0,
        newer: 0,
        strangers: Tally::default(),
        strangers_named: Vec::new(),
        repair: options.repair.then(RepairCounts::default),
        seed,
        interrupted: false,
        warnings: Vec::new(),
    }
}

/// The state to compare with, under the job's lock where it is to be marked.
async fn view(job: &Arc<Job>, options: &VerifyOptions) -> Result<View, Error> {
    if !options.repair {
        return View::open(job, &At::Now).await;
    }
    // The lock would make a catalog where there is none.
    if !Memory::look(job).await?.is_lasting {
        let why = "there is none on this machine".to_owned();
        return Err(Error::NoCatalog { job: job.name.clone(), why });
    }
    let memory = Memory::open(job, "backup verify --repair").await?;
    let bucket = job.connect().await.map_err(Error::Transfer)?;
    lease::look(job, &bucket).await?;
    if !is_up_to_date(job, &bucket, &memory).await? {
        let why = "it is not the one that the bucket was last written from".to_owned();
        return Err(Error::NoCatalog { job: job.name.clone(), why });
    }
    Ok(View { bucket, memory })
}

/// What the state that is looked at cannot know.
async fn horizon(job: &Job, bucket: &Bucket) -> Result<Option<Horizon>, Error> {
    // Nobody can have put anything behind a state without it.
    let Ok(Seen::Present(latest, _)) = Box::pin(latest::read(bucket, job)).await else { return Ok(None) };
    let is_alive = (job.clock)() - latest.heartbeat.to_utc() < HEARTBEAT_LIMIT
        || lease::live(&latest, lease::now(job, bucket)).is_some();
    Ok(Some(Horizon {
        owner: job.objects.owner.clone(),
        run: latest.run_id.clone(),
        is_running: latest.state == RunState::Running && is_alive,
    }))
}

async fn work(
    job: &Arc<Job>,
    options: &VerifyOptions,
    events: &mpsc::Sender<VerifyEvent>,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let View { bucket, memory } = view(job, options).await?;
    let by_memory = usize::try_from(job.transfer.memory_bytes / DOWNLOAD_BYTES).unwrap_or(MAX_AT_ONCE);
    let at_once = job.transfer.concurrency.unwrap_or(MAX_AT_ONCE).min(by_memory).clamp(1, MAX_AT_ONCE);
    let checker = Arc::new(Checker {
        job: Arc::clone(job),
        // Under the lock no run goes on, and what one that was killed has put is a difference like any other.
        horizon: if options.repair { None } else { horizon(job, &bucket).await? },
        bucket,
        memory,
        reading: match options.scope {
            VerifyScope::Sample { .. } => Reading::Restore,
            _ if options.deep => Reading::All,
            _ => Reading::Needed,
        },
        limits: DownloadLimits::new(at_once).with_bandwidth(job.transfer.bandwidth.clone()),
    });
    let mut desk = Desk {
        checker,
        events,
        report,
        repair: options.repair,
        at_once,
        tasks: JoinSet::new(),
        differing: Vec::new(),
        silent: 0,
    };
    match &options.scope {
        VerifyScope::Sample { count, seed } => desk.sample(*count, *seed).await?,
        VerifyScope::All => desk.against_listing(None).await?,
        VerifyScope::Run(run) => desk.selection(&Chosen::Run(run.clone())).await?,
        // Ids sort by the time at which their runs started.
        VerifyScope::Since(at) => desk.selection(&Chosen::From(RunId::new(*at, 0))).await?,
    }
    let Desk { checker, report, .. } = desk;
    warn_of_days(job, report);
    report.verified.at = local(job, (job.clock)());
    // A clean result that leaves something out would be a lie.
    let is_true = report.unchecked == 0 || report.verified.differ > 0;
    let Checker { bucket, memory, .. } = &*checker;
    let is_news = match options.scope {
        VerifyScope::All => true,
        // A sample that finds nothing does not take back what a look at everything found.
        VerifyScope::Sample { .. } => report.verified.differ > 0 || !differed(memory).await?,
        VerifyScope::Run(_) | VerifyScope::Since(_) => false,
    };
    if is_news && is_true {
        let warnings = remember(job, bucket, memory, options.repair, &report.verified).await;
        report.warnings.extend(warnings);
    }
    Ok(())
}

/// Whether the last verification that is remembered found something.
async fn differed(memory: &Memory) -> Result<bool, Error> {
    let label = Arc::clone(&memory.label);
    let last = memory.with(move |catalog| remembered(catalog, &label)).await?;
    Ok(last.is_some_and(|last| last.differ > 0))
}

/// Sources of which runs take only some days send nothing else, also when it is marked.
fn warn_of_days(job: &Job, report: &mut VerifyReport) {
    if report.repair.is_none_or(|repair| repair.marked == 0) {
        return;
    }
    for source in &job.sources {
        if !matches!(source.select, Select::Changed | Select::All) {
            report.warnings.push(format!(
                "{} is selected by day: what is marked of other days is sent by a run that selects them, for example once with `select = \"changed\"`",
                source.path.display()
            ));
        }
    }
}

/// By which runs the objects were put.
#[derive(Clone, Debug)]
enum Chosen {
    Run(RunId),
    From(RunId),
}

impl Chosen {
    fn has(&self, row: &FileRow) -> bool {
        match self {
            Self::Run(run) => row.run == *run,
            Self::From(run) => row.run >= *run,
        }
    }
}

/// Hands out the work and takes in what was found.
struct Desk<'a> {
    checker: Arc<Checker>,
    events: &'a mpsc::Sender<VerifyEvent>,
    report: &'a mut VerifyReport,
    repair: bool,
    at_once: usize,
    tasks: JoinSet<(FileRow, Result<Finding, Error>)>,
    /// Not yet told of.
    differing: Vec<Differing>,
    /// Objects in a row without an answer.
    silent: u32,
}

impl Desk<'_> {
    async fn sample(&mut self, count: usize, seed: u64) -> Result<(), Error> {
        let destination = self.checker.memory.destination;
        let count = count.min(MAX_SAMPLE);
        let rows = self.checker.memory.with(move |catalog| catalog.sample(destination, count, seed)).await?;
        for row in &rows {
            self.report.of.add(row.stored_size);
        }
        for row in rows {
            self.give(row, false).await?;
        }
        self.end().await
    }

    /// What some runs put: by HEAD where that takes fewer requests than listing everything.
    async fn selection(&mut self, chosen: &Chosen) -> Result<(), Error> {
        let destination = self.checker.memory.destination;
        let all = self.checker.memory.with(move |catalog| catalog.count(destination)).await?;
        let selected = self.count(chosen).await?;
        if selected.files >= FEW || selected.files.saturating_mul(SMALL_SHARE) >= all.files {
            return self.against_listing(Some((chosen, selected))).await;
        }
        self.report.of = selected;
        let mut after: Option<Key> = None;
        loop {
            let rows = self.state_behind(after).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.key.clone());
            for row in rows.into_iter().filter(|row| chosen.has(row)) {
                self.give(row, false).await?;
            }
        }
        self.end().await
    }

    async fn count(&self, chosen: &Chosen) -> Result<Tally, Error> {
        let mut selected = Tally::default();
        let mut after: Option<Key> = None;
        loop {
            let rows = self.state_behind(after).await?;
            let Some(last) = rows.last() else { return Ok(selected) };
            after = Some(last.key.clone());
            rows.iter().filter(|row| chosen.has(row)).for_each(|row| selected.add(row.stored_size));
        }
    }

    async fn state_behind(&self, after: Option<Key>) -> Result<Vec<FileRow>, Error> {
        let destination = self.checker.memory.destination;
        let read = move |catalog: &mut Catalog| catalog.state_by_key(destination, after.as_ref(), PAGE);
        self.checker.memory.with(read).await
    }

    /// Compares with a listing of the whole bucket.
    async fn against_listing(&mut self, chosen: Option<(&Chosen, Tally)>) -> Result<(), Error> {
        let Checker { job, bucket, memory, .. } = &*Arc::clone(&self.checker);
        let destination = memory.destination;
        self.tell(VerifyEvent::Listing).await;
        list_bucket(job, bucket, memory).await?;
        self.report.of = match chosen {
            Some((_, selected)) => selected,
            None => memory.with(move |catalog| catalog.count(destination)).await?,
        };
        let mut after: Option<Key> = None;
        loop {
            let rows = memory
                .with(move |catalog| catalog.state_against_listing(destination, after.as_ref(), PAGE))
                .await?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.key.clone());
            for (row, listed) in rows {
                if chosen.is_some_and(|(chosen, _)| !chosen.has(&row)) {
                    continue;
                }
                let is_as_listed = listed.is_some_and(|(size, etag)| is_listed_as_known(&row, size, &etag));
                if is_as_listed && self.checker.reading == Reading::Needed {
                    self.report.verified.objects.add(row.stored_size);
                } else {
                    self.give(row, is_as_listed).await?;
                }
            }
            self.progress().await;
        }
        self.end().await?;
        let strangers = memory.with(move |catalog| {
            let strangers = catalog.strangers(destination, STRANGERS_NAMED)?;
            catalog.clear_listed()?;
            Ok(strangers)
        });
        (self.report.strangers, self.report.strangers_named) = strangers.await?;
        Ok(())
    }

    /// Has an object looked at, as soon as there is room.
    async fn give(&mut self, row: FileRow, is_as_listed: bool) -> Result<(), Error> {
        while self.tasks.len() >= self.at_once {
            self.take().await?;
        }
        let checker = Arc::clone(&self.checker);
        self.tasks.spawn(async move {
            let found = Box::pin(checker.check(row.clone(), is_as_listed)).await;
            (row, found)
        });
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Error> {
        while !self.tasks.is_empty() {
            self.take().await?;
        }
        self.settle().await?;
        self.progress().await;
        Ok(())
    }

    async fn take(&mut self) -> Result<(), Error> {
        let Some(ended) = self.tasks.join_next().await else { return Ok(()) };
        let (row, found) = ended.map_err(|error| Error::Defect(error.to_string()))?;
        self.silent = match &found {
            Ok(Finding::Unchecked { is_network: true, .. }) => self.silent + 1,
            _ => 0,
        };
        match found? {
            Finding::Same { read } => {
                self.report.verified.objects.add(row.stored_size);
                if let Some(read) = read {
                    self.report.verified.downloaded.add(read);
                }
            }
            Finding::Newer => self.report.newer += 1,
            Finding::Differs(differing) => {
                self.differing.push(*differing);
                if self.differing.len() >= MARKS {
                    self.settle().await?;
                }
            }
            Finding::Unchecked { why, .. } if self.silent >= MAX_SILENT => {
                return Err(Error::NoAnswers { count: self.silent, last: why });
            }
            Finding::Unchecked { why: message, .. } => {
                self.report.unchecked += 1;
                let (key, path) = (row.key.clone(), self.checker.shown_path(&row));
                self.tell(VerifyEvent::Unchecked { key, path, message }).await;
            }
        }
        if self.checker.reading != Reading::Needed {
            self.progress().await;
        }
        Ok(())
    }

    /// Marks the differences where that was asked for, and then tells of them.
    async fn settle(&mut self) -> Result<(), Error> {
        let mut differing = std::mem::take(&mut self.differing);
        if self.repair {
            let checker = Arc::clone(&self.checker);
            let marked = on_blocking_thread(move || mark(&checker, &mut differing).map(|()| differing));
            differing = marked.await??;
        }
        for Differing { difference, row } in differing {
            self.report.verified.objects.add(row.stored_size);
            self.report.verified.differ += 1;
            self.report.differences.add(difference.what);
            if let Some(counts) = &mut self.report.repair {
                match difference.repair {
                    Some(Repair::Marked) => counts.marked += 1,
                    _ => counts.file_gone += 1,
                }
            }
            self.tell(VerifyEvent::Differs(Box::new(difference))).await;
        }
        Ok(())
    }

    async fn progress(&self) {
        self.tell(VerifyEvent::Progress { checked: self.report.verified.objects, of: self.report.of }).await;
    }

    async fn tell(&self, event: VerifyEvent) {
        // Nobody watches any more only when it is being dropped.
        let _ = self.events.send(event).await;
    }
}

/// Marks what has a file here. The next run sends that, and may overwrite what is there now and nothing else.
fn mark(checker: &Checker, differing: &mut [Differing]) -> Result<(), Error> {
    let mut rows = Vec::with_capacity(differing.len());
    for Differing { difference, row } in differing {
        let is_here = row.state != FileState::LocallyPruned
            && checker.local_path(row).is_some_and(|path| is_file(checker, row, &path));
        difference.repair = Some(if is_here { Repair::Marked } else { Repair::FileGone });
        if is_here {
            let etag = difference.found.as_ref().map(|found| found.etag.clone()).unwrap_or_default();
            rows.push(FileRow { state: FileState::Doubtful, etag, ..row.clone() });
        }
    }
    checker.memory.here().import_files(&rows).map_err(Error::Catalog)
}

fn is_file(checker: &Checker, row: &FileRow, path: &std::path::Path) -> bool {
    let follows =
        checker.memory.place_of(row.source).is_some_and(|place| checker.job.follows_symlinks(place));
    let metadata = if follows { path.metadata() } else { path.symlink_metadata() };
    metadata.is_ok_and(|metadata| metadata.is_file())
}
