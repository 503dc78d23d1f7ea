//! One life: a machine with its directory, its catalog and its bucket, from the first step to the last.

mod look;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use s3backup_catalog::JobLock;
use s3backup_core::options::TransferSettings;
use s3backup_core::{
    Backup, BackupBuilder, Error, Event, FailureKind, Outcome, Run, RunId, RunReport, Source, VerifyOptions,
};
use s3backup_local_s3::{Fault, FaultKind};
use tempfile::TempDir;

use crate::bench::{Bench, soon, until};
use crate::bucket::{Bucket, Objects};
use crate::step::{Damage, Place, Step};
use crate::tree::{DIRECTORIES, Files, MODES, NAMES, Tree, escaped, files_in};

/// When lives begin.
const BEGINNING: i64 = 1_795_000_000;

/// What passes from one step to the next.
const SECONDS_A_STEP: i64 = 60;

/// What the first run says after the catalog was lost, and after it was rolled back, perhaps to when there was none.
const MADE_AGAIN: &[&str] = &["made again from the bucket"];
const BROUGHT_UP: &[&str] = &["was brought up to it", "made again from the bucket"];

type Checked = Result<(), TestCaseError>;

/// A run that succeeded, and what it found.
struct Success {
    run: RunId,
    at: DateTime<Utc>,
    files: Files,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a thing of its own that may have happened")]
pub(crate) struct Life {
    bench: Bench,
    bucket: Bucket,
    backup: Backup,
    /// The same machine, told to keep no catalog.
    forgetful: Backup,
    /// Seconds since 1970.
    clock: Arc<AtomicI64>,
    /// What the clock says is no order of the runs.
    was_set_back: bool,
    tree: Tree,
    /// Those of which the bucket tells.
    successes: Vec<Success>,
    /// What is in the bucket stays there.
    kept: BTreeSet<String>,
    /// Whether the catalog does not know the change times of all files.
    has_forgotten: bool,
    /// Whether the bucket has lost something of which no run that ended well has heard.
    has_lost: bool,
    /// Whether a page of the catalog is damaged, which is seen when it is met.
    is_damaged: bool,
    /// Whether `latest.json` may be of another catalog of this machine, begun while there was none to go on with.
    may_be_foreign: bool,
    /// What the next run must say.
    news: Option<&'static [&'static str]>,
    saved_catalog: Option<SavedCatalog>,
    saved_bucket: Option<SavedBucket>,
}

struct SavedCatalog {
    folder: TempDir,
    /// How many runs succeeded by then.
    successes: usize,
}

struct SavedBucket {
    successes: usize,
    kept: BTreeSet<String>,
}

fn same<T: PartialEq + Debug>(what: &str, left: &T, right: &T) -> Checked {
    prop_assert!(left == right, "{what}: {left:#?}\nand not: {right:#?}");
    Ok(())
}

impl Life {
    pub(crate) async fn new() -> Self {
        let bench = Bench::new().await;
        let bucket = Bucket::new(&bench).await;
        let clock = Arc::new(AtomicI64::new(BEGINNING));
        let forgetful = job(&bench, &clock).build().unwrap();
        let backup = job(&bench, &clock).state_dir(bench.dir("state")).build().unwrap();
        let tree = Tree::new(bench.data());
        Self {
            bench,
            bucket,
            backup,
            forgetful,
            clock,
            was_set_back: false,
            tree,
            successes: Vec::new(),
            kept: BTreeSet::new(),
            has_forgotten: false,
            has_lost: false,
            is_damaged: false,
            may_be_foreign: true,
            news: None,
            saved_catalog: None,
            saved_bucket: None,
        }
    }

    pub(crate) async fn live(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            Box::pin(self.step(step)).await?;
            self.clock.fetch_add(SECONDS_A_STEP, Ordering::SeqCst);
            same("the test's own model", &files_in(&self.bench.data()), &self.tree.now)?;
        }
        Box::pin(self.run(true)).await?;
        for which in 0..self.successes.len() {
            let from = if which.is_multiple_of(2) { Place::Here } else { Place::Elsewhere };
            self.restore(which, from, None).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Checked {
        let tree = &mut self.tree;
        match *step {
            Step::Write { name, len } => tree.write(NAMES[name], len),
            Step::Rewrite { name } => tree.rewrite(NAMES[name]),
            Step::RewriteInSecret { name } => tree.rewrite_in_secret(NAMES[name]).await,
            Step::Append { name } => tree.change(NAMES[name], |bytes| bytes.extend_from_slice(b"more")),
            Step::Truncate { name } => tree.change(NAMES[name], |bytes| bytes.truncate(bytes.len() / 2)),
            Step::Touch { name } => tree.change(NAMES[name], |_| ()),
            Step::ChangeMode { name, mode } => tree.change_mode(NAMES[name], MODES[mode]),
            Step::Delete { name } => tree.delete(NAMES[name]),
            Step::Rename { from, to } => tree.rename(NAMES[from], NAMES[to]),
            Step::RenameDirectory { from, to } => tree.rename_directory(DIRECTORIES[from], DIRECTORIES[to]),
            Step::BringBack { name, which } => tree.bring_back(NAMES[name], which),
            Step::Run => Box::pin(self.run(true)).await?,
            Step::RunWithoutCatalog => Box::pin(self.run(false)).await?,
            Step::RunAmongFaults { seed } => self.run_among_faults(seed).await?,
            Step::Cancel { events } => self.cancel(events).await?,
            Step::Kill { request, is_carried_out, keeps_catalog } => {
                self.kill(request, is_carried_out, keeps_catalog).await?;
            }
            Step::LoseCatalog => self.lose_catalog(),
            Step::Rebuild => {
                if !self.successes.is_empty() {
                    self.may_be_foreign = true;
                    Box::pin(self.mend()).await?;
                }
            }
            Step::DamageCatalog { how } => self.damage_catalog(how),
            Step::SaveCatalog => self.save_catalog(),
            Step::RollBackCatalog => self.roll_back_catalog(),
            Step::SaveBucket => {
                self.bucket.save().await;
                self.saved_bucket =
                    Some(SavedBucket { successes: self.successes.len(), kept: self.kept.clone() });
            }
            Step::RollBackBucket => {
                if let Some(saved) = self.saved_bucket.take() {
                    self.bucket.roll_back().await;
                    self.successes.truncate(saved.successes);
                    self.kept = saved.kept;
                    self.lose();
                }
            }
            Step::EmptyBucket => {
                self.bucket.empty().await;
                self.successes.clear();
                self.kept.clear();
                self.lose();
            }
            Step::LoseControlData => {
                self.bucket.lose_control_data().await;
                self.successes.clear();
                self.lose();
            }
            Step::LoseObject { which } => self.lose_object(which).await?,
            Step::SetClockBack { minutes } => {
                self.clock.fetch_sub(minutes * 60, Ordering::SeqCst);
                self.was_set_back = true;
            }
            Step::Restore { which, from, directory } => {
                self.restore(which, from, directory.map(|place| DIRECTORIES[place])).await?;
            }
        }
        Ok(())
    }

    fn state_dir(&self) -> PathBuf {
        self.bench.dir("state/telemetry")
    }

    fn forget(&mut self, news: Option<&'static [&'static str]>) {
        (self.has_forgotten, self.is_damaged) = (true, false);
        self.news = news.filter(|_| !self.successes.is_empty() && !self.has_lost);
    }

    fn lose_catalog(&mut self) {
        let _ = std::fs::remove_dir_all(self.state_dir());
        self.forget(Some(MADE_AGAIN));
    }

    /// The bucket has lost something: its copy, of runs that are not counted any more, is of no use either.
    fn lose(&mut self) {
        (self.has_lost, self.may_be_foreign, self.news) = (true, true, None);
        self.saved_bucket = self.saved_bucket.take().filter(|saved| saved.successes <= self.successes.len());
    }

    /// Does what a run says that is to be done when the catalog is not one that it can use.
    async fn mend(&mut self) -> Checked {
        if self.is_damaged {
            self.lose_catalog();
        }
        if self.may_be_foreign {
            // There may be nothing to make it from.
            match soon(Box::pin(self.backup.rebuild())).await {
                Ok(_) | Err(Error::NoState { .. }) => {}
                Err(error) => return Err(failed("rebuild", &error)),
            }
        }
        self.forget(None);
        // A copy of the catalog is of before.
        self.may_be_foreign = self.saved_catalog.is_some();
        Ok(())
    }

    fn damage_catalog(&mut self, how: Damage) {
        let path = self.state_dir().join("catalog.db");
        let Ok(mut bytes) = std::fs::read(&path) else { return };
        for name in ["catalog.db-wal", "catalog.db-shm"] {
            let _ = std::fs::remove_file(self.state_dir().join(name));
        }
        let half = bytes.len() / 2;
        match how {
            Damage::Garbage => bytes.fill(7),
            Damage::Half => bytes.truncate(half),
            Damage::Page => bytes[half / 4096 * 4096..][..4096].fill(7),
        }
        std::fs::write(path, bytes).unwrap();
        self.forget(matches!(how, Damage::Garbage).then_some(MADE_AGAIN));
        self.is_damaged = matches!(how, Damage::Page);
    }

    fn save_catalog(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        copy_files(&self.state_dir(), folder.path());
        self.saved_catalog = Some(SavedCatalog { folder, successes: self.successes.len() });
    }

    fn roll_back_catalog(&mut self) {
        if let Some(saved) = &self.saved_catalog {
            std::fs::remove_dir_all(self.state_dir()).unwrap();
            copy_files(saved.folder.path(), &self.state_dir());
            let is_old = (1..self.successes.len()).contains(&saved.successes);
            self.forget(is_old.then_some(BROUGHT_UP));
        }
    }

    async fn run(&mut self, keeps_catalog: bool) -> Checked {
        let before = self.bucket.files().await;
        self.get_ready(keeps_catalog).await;
        let mut ended = watched(self.machine(keeps_catalog).start()).await;
        // What is to be done the message says.
        if is_about_catalog(&ended.1) && (self.is_damaged || self.may_be_foreign) {
            Box::pin(self.mend()).await?;
            self.get_ready(keeps_catalog).await;
            ended = watched(self.machine(keeps_catalog).start()).await;
        }
        prop_assert!(is_success(&ended.1), "the run ended with {}", shown(&ended.1));
        self.ended(ended, Some(&before), keeps_catalog).await
    }

    async fn run_among_faults(&mut self, seed: u64) -> Checked {
        let mut random = fastrand::Rng::with_seed(seed);
        let kinds = [FaultKind::LostReply, FaultKind::InternalError, FaultKind::ResetBeforeReply];
        let faults = kinds.map(|kind| Fault::new(kind).percent(random.f64() * 25.0, random.u64(..)));
        self.get_ready(true).await;
        self.bench.server.faults().set(faults);
        let ended = watched(self.backup.start()).await;
        self.bench.server.faults().clear();
        self.ended(ended, None, true).await
    }

    async fn cancel(&mut self, events: usize) -> Checked {
        self.get_ready(true).await;
        let mut run = self.backup.start();
        for _ in 0..events {
            if soon(run.next()).await.is_none() {
                break;
            }
        }
        run.cancel_token().cancel();
        let ended = watched(run).await;
        self.ended(ended, None, true).await
    }

    async fn kill(&mut self, request: u64, is_carried_out: bool, keeps_catalog: bool) -> Checked {
        let begun = if is_carried_out {
            // What waits is its repetition.
            let lost = Fault::new(FaultKind::LostReply).nth(request);
            vec![lost, Fault::new(FaultKind::Hang).nth(request + 1)]
        } else {
            vec![Fault::new(FaultKind::Hang).nth(request)]
        };
        let before = self.bench.server.stats().faults;
        let expected = before + begun.len() as u64;
        self.get_ready(keeps_catalog).await;
        self.bench.server.faults().set(begun);
        let mut run = self.machine(keeps_catalog).start();
        let mut events = Vec::new();
        let ended_by_itself = soon(async {
            loop {
                tokio::select! {
                    event = run.next() => match event {
                        Some(event) => events.push(event),
                        None => break true,
                    },
                    () = tokio::time::sleep(Duration::from_millis(1)) => {
                        if self.bench.server.stats().faults >= expected {
                            break false;
                        }
                    }
                }
            }
        })
        .await;
        if ended_by_itself {
            let ended = (events, soon(run.finish()).await);
            self.bench.server.faults().clear();
            return self.ended(ended, None, keeps_catalog).await;
        }
        drop(run);
        until(|| JobLock::acquire(&self.state_dir(), "test").is_ok()).await;
        self.bench.server.faults().clear();
        self.cut_short(keeps_catalog).await
    }

    /// What must be so before a run: what nobody could see is no secret any more, and no earlier run still holds the lock.
    async fn get_ready(&mut self, keeps_catalog: bool) {
        if self.has_forgotten || !keeps_catalog {
            self.tree.reveal();
        }
        until(|| JobLock::acquire(&self.state_dir(), "test").is_ok()).await;
    }

    fn machine(&self, keeps_catalog: bool) -> &Backup {
        if keeps_catalog { &self.backup } else { &self.forgetful }
    }

    /// A run has come to its end, good or bad.
    async fn ended(
        &mut self,
        (events, ended): (Vec<Event>, Result<RunReport, Error>),
        before: Option<&Objects>,
        keeps_catalog: bool,
    ) -> Checked {
        let report = match ended {
            Ok(report) => report,
            Err(Error::Failed(report)) => *report,
            Err(error) => return Err(TestCaseError::fail(format!("the run failed: {error:#?}"))),
        };
        if report.outcome != Outcome::Success {
            return self.cut_short(keeps_catalog).await;
        }
        if let Some(before) = before.filter(|_| !self.has_lost) {
            for event in &events {
                if let Event::Uploaded { key, .. } = event {
                    let name = key.as_str().strip_prefix("trips/").unwrap();
                    let file = self.tree.now.iter().find(|(other, _)| escaped(other) == name).unwrap().1;
                    prop_assert!(
                        before.get(name) != Some(&file.bytes),
                        "{name} was there and was sent again"
                    );
                }
            }
        }
        if let Some(news) = self.news.filter(|_| before.is_some() && keeps_catalog) {
            let is_said =
                report.warnings.iter().any(|warning| news.iter().any(|news| warning.contains(news)));
            prop_assert!(is_said, "no {news:?} in {:#?}", report.warnings);
        }
        self.has_forgotten = !keeps_catalog;
        (self.has_lost, self.news) = (false, None);
        self.look_into_bucket().await?;
        self.look_at_success(&report).await?;
        let (run, at) = (report.run_id, report.started_at.to_utc());
        self.successes.push(Success { run, at, files: self.tree.now.clone() });
        Ok(())
    }

    async fn cut_short(&mut self, keeps_catalog: bool) -> Checked {
        // It may have said it.
        self.news = None;
        self.has_forgotten |= !keeps_catalog;
        self.look_into_bucket().await
    }

    async fn lose_object(&mut self, which: usize) -> Checked {
        let objects = self.bucket.files().await;
        if objects.is_empty() || self.successes.is_empty() || self.has_lost || self.has_forgotten {
            return Ok(());
        }
        let name = objects.keys().nth(which % objects.len()).unwrap();
        self.bucket.lose(name).await;
        self.kept.remove(name);
        let report = soon(self.backup.verify(VerifyOptions::default().repair(true)).finish()).await.unwrap();
        if self.successes.last().is_some_and(|last| last.files.keys().any(|file| escaped(file) == *name)) {
            prop_assert!(report.verified.differ > 0, "{name} is missing and nobody says so");
        }
        self.has_lost = true;
        Ok(())
    }
}

/// The job on any machine.
fn job(bench: &Bench, clock: &Arc<AtomicI64>) -> BackupBuilder {
    let clock = Arc::clone(clock);
    let time = move || DateTime::from_timestamp(clock.load(Ordering::SeqCst), 0).unwrap();
    // One request after the other, so that the same seed does the same.
    let transfer = TransferSettings { concurrency: Some(1), ..TransferSettings::default() };
    let job = bench.forgetful_job().source(Source::new(bench.data())).transfer(transfer);
    // What is guarded is tested elsewhere.
    job.clock(Arc::new(time)).max_changed(100).force(true)
}

async fn watched(mut run: Run) -> (Vec<Event>, Result<RunReport, Error>) {
    soon(async {
        let mut events = Vec::new();
        while let Some(event) = run.next().await {
            events.push(event);
        }
        (events, run.finish().await)
    })
    .await
}

fn is_about_catalog(ended: &Result<RunReport, Error>) -> bool {
    let Err(Error::Failed(report)) = ended else { return false };
    report.fatal.as_ref().is_some_and(|fatal| fatal.kind == FailureKind::Catalog)
}

fn is_success(ended: &Result<RunReport, Error>) -> bool {
    matches!(ended, Ok(report) if report.outcome == Outcome::Success)
}

/// What a person needs of a run that did not end well.
fn shown(ended: &Result<RunReport, Error>) -> String {
    match ended {
        Ok(report) => short(report),
        Err(Error::Failed(report)) => short(report),
        Err(error) => format!("{error:?}"),
    }
}

fn short(report: &RunReport) -> String {
    format!("{:?}: {:#?} {:#?} {:#?}", report.outcome, report.fatal, report.failed, report.warnings)
}

fn failed(what: &str, error: &Error) -> TestCaseError {
    TestCaseError::fail(format!("{what}: {error:?}"))
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
