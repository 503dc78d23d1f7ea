//! Random lives of a directory and its backup, compared with a small model: what a run says is safe can be restored, as it was.
//!
//! `BACKUP_MODEL_ROUNDS` and `BACKUP_MODEL_SEED` in the environment make it longer, or another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use s3backup_core::{At, Backup, Error, Outcome, RestoreOptions, RunId, RunReport, Source, VerifyOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::bench::{Bench, soon};
use crate::memory::{kill, rewrite_in_secret, state_dir};

const ROUNDS: u32 = 24;
const SEED: u8 = 20;

/// Files, and directories that are in the way of files.
const NAMES: [&str; 9] = ["a", "b", "d/a", "d/b", "d/e", "d/e/c", "f", "f/new\nline", "\u{d55c}"];
const DIRECTORIES: [&str; 4] = ["d", "d/e", "f", "g"];
const MODES: [u32; 3] = [0o600, 0o644, 0o755];

#[derive(Clone, Debug)]
enum Step {
    Write {
        name: usize,
        len: usize,
    },
    /// Other bytes of the same length.
    Rewrite {
        name: usize,
    },
    /// The same, and the old modification time again.
    RewriteInSecret {
        name: usize,
    },
    Append {
        name: usize,
    },
    Truncate {
        name: usize,
    },
    Touch {
        name: usize,
    },
    ChangeMode {
        name: usize,
        mode: usize,
    },
    Delete {
        name: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    RenameDirectory {
        from: usize,
        to: usize,
    },
    Run,
    /// A run that ends after so many events as with a crash.
    Kill {
        events: usize,
    },
    LoseCatalog,
    DamageCatalog,
    /// Keeps a copy of the catalog.
    Save,
    /// Brings the copy back.
    RollBack,
    Restore {
        which: usize,
        elsewhere: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    prop_oneof![
        6 => (name(), 0_usize..3000).prop_map(|(name, len)| Step::Write { name, len }),
        2 => name().prop_map(|name| Step::Rewrite { name }),
        2 => name().prop_map(|name| Step::RewriteInSecret { name }),
        1 => name().prop_map(|name| Step::Append { name }),
        1 => name().prop_map(|name| Step::Truncate { name }),
        2 => name().prop_map(|name| Step::Touch { name }),
        1 => (name(), 0..MODES.len()).prop_map(|(name, mode)| Step::ChangeMode { name, mode }),
        2 => name().prop_map(|name| Step::Delete { name }),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (0..DIRECTORIES.len(), 0..DIRECTORIES.len()).prop_map(|(from, to)| Step::RenameDirectory { from, to }),
        6 => Just(Step::Run),
        3 => (0_usize..14).prop_map(|events| Step::Kill { events }),
        1 => Just(Step::LoseCatalog),
        1 => Just(Step::DamageCatalog),
        1 => Just(Step::Save),
        1 => Just(Step::RollBack),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, elsewhere)| Step::Restore { which, elsewhere }),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct File {
    bytes: Vec<u8>,
    mtime_ns: i64,
    mode: u32,
}

type Files = BTreeMap<String, File>;

/// What is in a directory.
fn files_in(root: &Path) -> Files {
    let mut found = Files::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            let stat = std::fs::symlink_metadata(&path).unwrap();
            if stat.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let mtime_ns = stat.mtime() * 1_000_000_000 + stat.mtime_nsec();
            let mode = stat.mode() & 0o777;
            found.insert(name, File { bytes: std::fs::read(&path).unwrap(), mtime_ns, mode });
        }
    }
    found
}

/// The names of files, as keys have them.
fn escaped(name: &str) -> String {
    name.replace('\n', "%0A")
}

#[expect(clippy::struct_excessive_bools, reason = "each is a thing that happened, by itself")]
struct Life {
    bench: Bench,
    backup: Backup,
    data: PathBuf,
    now: Files,
    /// After each run that succeeded.
    states: Vec<(RunId, Files)>,
    /// Files whose bytes changed since.
    dirty: BTreeSet<String>,
    /// Whether a file changed so that only its change time tells, which only the catalog knows.
    has_secrets: bool,
    /// Whether the catalog does not know the change times of all files.
    has_forgotten: bool,
    /// What the next run must warn of.
    is_lost: bool,
    /// Whether a run was killed since the last that ended.
    was_killed: bool,
    saved: Option<TempDir>,
    versions: u64,
}

type Checked = Result<(), TestCaseError>;

fn same<T: PartialEq + Debug>(what: &str, left: &T, right: &T) -> Checked {
    prop_assert!(left == right, "{what}: {left:?}\nand not: {right:?}");
    Ok(())
}

impl Life {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let data = bench.data();
        // What is guarded is tested elsewhere.
        let backup = bench.builder().max_changed(100).force(true).build().unwrap();
        Self {
            bench,
            backup,
            data,
            now: Files::new(),
            states: Vec::new(),
            dirty: BTreeSet::new(),
            has_secrets: false,
            has_forgotten: false,
            is_lost: false,
            was_killed: false,
            saved: None,
            versions: 0,
        }
    }

    async fn live(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            self.step(step).await?;
        }
        self.run().await?;
        for which in 0..self.states.len() {
            self.restore(which, which % 2 == 0).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Write { name, len } => {
                let name = NAMES[name];
                self.make_room(name);
                let bytes = self.bytes(len);
                self.put(name, bytes);
            }
            Step::Rewrite { name } => {
                if let Some(file) = self.now.get(NAMES[name]) {
                    let bytes = self.bytes(file.bytes.len());
                    self.put(NAMES[name], bytes);
                }
            }
            Step::RewriteInSecret { name } => self.rewrite_in_secret(NAMES[name]).await,
            Step::Append { name } => self.change_bytes(NAMES[name], |bytes| bytes.extend_from_slice(b"more")),
            Step::Truncate { name } => {
                self.change_bytes(NAMES[name], |bytes| bytes.truncate(bytes.len() / 2));
            }
            Step::Touch { name } => {
                if let Some(bytes) = self.now.get(NAMES[name]).map(|file| file.bytes.clone()) {
                    let was_dirty = self.dirty.contains(NAMES[name]);
                    self.put(NAMES[name], bytes);
                    if !was_dirty {
                        self.dirty.remove(NAMES[name]);
                    }
                }
            }
            Step::ChangeMode { name, mode } => {
                if let Some(file) = self.now.get_mut(NAMES[name]) {
                    file.mode = MODES[mode];
                    let mode = PermissionsExt::from_mode(MODES[mode]);
                    std::fs::set_permissions(self.data.join(NAMES[name]), mode).unwrap();
                }
            }
            Step::Delete { name } => {
                if self.now.remove(NAMES[name]).is_some() {
                    std::fs::remove_file(self.data.join(NAMES[name])).unwrap();
                }
            }
            Step::Rename { from, to } => self.rename(NAMES[from], NAMES[to]),
            Step::RenameDirectory { from, to } => self.rename_directory(DIRECTORIES[from], DIRECTORIES[to]),
            Step::Run => self.run().await?,
            Step::Kill { events } => self.kill(events).await,
            Step::LoseCatalog => {
                if self.may_forget() {
                    std::fs::remove_dir_all(state_dir(&self.bench)).unwrap();
                    (self.has_forgotten, self.is_lost) = (true, true);
                }
            }
            Step::DamageCatalog => {
                if self.may_forget() {
                    for name in ["catalog.db-wal", "catalog.db-shm"] {
                        let _ = std::fs::remove_file(state_dir(&self.bench).join(name));
                    }
                    std::fs::write(state_dir(&self.bench).join("catalog.db"), vec![7; 9000]).unwrap();
                    (self.has_forgotten, self.is_lost) = (true, true);
                }
            }
            Step::Save => {
                if state_dir(&self.bench).exists() {
                    let copy = tempfile::tempdir().unwrap();
                    copy_files(&state_dir(&self.bench), copy.path());
                    self.saved = Some(copy);
                }
            }
            Step::RollBack => {
                if let (true, Some(saved)) = (self.may_forget(), &self.saved) {
                    std::fs::remove_dir_all(state_dir(&self.bench)).unwrap();
                    copy_files(saved.path(), &state_dir(&self.bench));
                    (self.has_forgotten, self.is_lost) = (true, false);
                }
            }
            Step::Restore { which, elsewhere } => self.restore(which, elsewhere).await?,
        }
        Ok(())
    }

    /// Bytes that no file had before.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.versions += 1;
        let stamp = format!("{:08x}", self.versions);
        stamp.bytes().cycle().take(len).collect()
    }

    /// Writes a file, as of a time that no file had before.
    fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.versions += 1;
        let path = self.data.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let since = Duration::new(1_790_000_000 + self.versions, 123_456_789);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + since).unwrap();
        let mtime_ns = i64::try_from(since.as_nanos()).unwrap();
        let mode = self.now.get(name).map_or(0o644, |file| file.mode);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        self.now.insert(name.to_owned(), File { bytes, mtime_ns, mode });
        self.dirty.insert(name.to_owned());
    }

    fn change_bytes(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = self.now.get(name) {
            let mut bytes = file.bytes.clone();
            change(&mut bytes);
            self.put(name, bytes);
        }
    }

    async fn rewrite_in_secret(&mut self, name: &str) {
        let len = self.now.get(name).map_or(0, |file| file.bytes.len());
        if len > 0 && !self.has_forgotten {
            let bytes = self.bytes(len);
            rewrite_in_secret(&self.data.join(name), std::str::from_utf8(&bytes).unwrap()).await;
            self.now.get_mut(name).unwrap().bytes = bytes;
            self.dirty.insert(name.to_owned());
            self.has_secrets = true;
        }
    }

    /// Removes what is in the way of a file: a directory of its name, or files of the names of its directories.
    fn make_room(&mut self, name: &str) {
        let path = self.data.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        for above in Path::new(name).ancestors().skip(1).filter(|above| self.data.join(above).is_file()) {
            std::fs::remove_file(self.data.join(above)).unwrap();
        }
        let below = format!("{name}/");
        self.now.retain(|other, _| !other.starts_with(&below) && !name.starts_with(&format!("{other}/")));
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let Some(file) = self.now.get(from).cloned().filter(|_| from != to) {
            let held = self.data.join(".held");
            std::fs::rename(self.data.join(from), &held).unwrap();
            self.now.remove(from);
            self.make_room(to);
            std::fs::create_dir_all(self.data.join(to).parent().unwrap()).unwrap();
            std::fs::rename(held, self.data.join(to)).unwrap();
            self.now.insert(to.to_owned(), file);
            self.dirty.insert(to.to_owned());
        }
    }

    fn rename_directory(&mut self, from: &str, to: &str) {
        let (source, target) = (self.data.join(from), self.data.join(to));
        if source.is_dir() && !to.starts_with(from) && !from.starts_with(to) {
            self.make_room(to);
            self.now.remove(to);
            let _ = std::fs::remove_file(&target);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::rename(source, target).unwrap();
            let moved =
                |name: &String| name.strip_prefix(&format!("{from}/")).map(|rest| format!("{to}/{rest}"));
            let (gone, rest): (Files, Files) =
                std::mem::take(&mut self.now).into_iter().partition(|(name, _)| moved(name).is_some());
            self.now = rest;
            for (name, file) in gone {
                let name = moved(&name).unwrap();
                self.dirty.insert(name.clone());
                self.now.insert(name, file);
            }
        }
    }

    /// What only the catalog knows may not be lost with it: that limit is stated, and not what is tested here.
    fn may_forget(&self) -> bool {
        !self.has_secrets && state_dir(&self.bench).exists()
    }

    async fn run(&mut self) -> Checked {
        same("the test's own model", &files_in(&self.data), &self.now)?;
        let report = soon(async {
            loop {
                match self.backup.run().await {
                    // A run that was dropped at its very beginning may still be opening the catalog.
                    Err(Error::Locked { .. }) => tokio::task::yield_now().await,
                    ended => return ended,
                }
            }
        });
        let report =
            report.await.map_err(|error| TestCaseError::fail(format!("the run failed: {error:?}")))?;
        same("outcome", &report.outcome, &Outcome::Success)?;
        prop_assert!(
            report.uploaded.files <= self.dirty.len() as u64,
            "{} files were sent, and changed had {:?}",
            report.uploaded.files,
            self.dirty
        );
        if self.is_lost && !self.was_killed && !self.states.is_empty() {
            let is_said = |warning: &String| warning.contains("made again from the bucket");
            prop_assert!(report.warnings.iter().any(is_said), "{:?}", report.warnings);
        }
        (self.has_secrets, self.has_forgotten, self.is_lost, self.was_killed) = (false, false, false, false);
        self.dirty.clear();
        self.look(&report).await?;
        self.states.push((report.run_id, self.now.clone()));
        Ok(())
    }

    /// What a run said is safe must be there.
    async fn look(&self, report: &RunReport) -> Checked {
        same("found", &report.found.files, &(self.now.len() as u64))?;
        let mut listed = BTreeMap::new();
        let mut files = self.backup.files(&At::Now, &[]).await.unwrap();
        while let Some(page) = files.next().await.unwrap() {
            for file in page {
                listed.insert(
                    file.name,
                    (file.size, file.mtime.timestamp_nanos_opt().unwrap(), file.mode & 0o777),
                );
            }
        }
        let expected = |(name, file): (&String, &File)| {
            (escaped(name), (file.bytes.len() as u64, file.mtime_ns, file.mode))
        };
        same("the list", &listed, &self.now.iter().map(expected).collect())?;
        for (name, file) in &self.now {
            let stored = self.bench.get(&format!("trips/{}", escaped(name))).await;
            prop_assert!(stored == file.bytes, "the object of {name:?} is not the file");
        }
        let verified = soon(self.backup.verify(VerifyOptions::default()).finish()).await.unwrap();
        same("differences", &verified.verified.differ, &0)
    }

    async fn kill(&mut self, events: usize) {
        let mut run = self.backup.start();
        for _ in 0..events {
            if soon(run.next()).await.is_none() {
                break;
            }
        }
        kill(&self.bench, run).await;
        // The killed run may have told of it, or may still be about to open the catalog if it had hardly begun, and then
        // makes it again also where it is damaged later.
        (self.is_lost, self.was_killed) = (false, true);
    }

    /// Restores a state, which must be that of then, but for what was overwritten since.
    async fn restore(&self, which: usize, elsewhere: bool) -> Checked {
        let Some((run, then)) = self.states.get(which % self.states.len().max(1)) else { return Ok(()) };
        let (to, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stranger = self.bench.forgetful_job().source(Source::new(&self.data)).state_dir(state.path());
        let stranger = stranger.build().unwrap();
        let backup = if elsewhere { &stranger } else { &self.backup };
        let options = RestoreOptions::to(to.path()).at(At::Run(run.clone()));
        let report = soon(backup.restore(options).finish()).await.unwrap();
        let restored = files_in(to.path());
        let mut gone = BTreeSet::new();
        for failure in &report.failed {
            same("failure", &failure.kind.as_str(), &"version_gone")?;
            gone.insert(failure.path.clone());
        }
        for (name, file) in then {
            if gone.contains(&escaped(name)) {
                continue;
            }
            prop_assert!(restored.get(name) == Some(file), "{name:?} of {run} is not what it was");
        }
        same("number of files", &(restored.len() + gone.len()), &then.len())?;
        if self.states.last().is_some_and(|(last, _)| last == run) && self.dirty.is_empty() {
            same("gone from the newest state", &gone.len(), &0)?;
        }
        Ok(())
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn whatever_happens_what_a_run_says_is_safe_can_be_restored() {
    let rounds = from_environment("BACKUP_MODEL_ROUNDS").unwrap_or(ROUNDS);
    let seed = from_environment("BACKUP_MODEL_SEED").unwrap_or(SEED);
    println!("BACKUP_MODEL_SEED={seed} BACKUP_MODEL_ROUNDS={rounds}");
    let config =
        Config { cases: rounds, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let runtime = Runtime::new().unwrap();
    let lived = runner.run(&proptest::collection::vec(step(), 1..40), |steps| {
        runtime.block_on(async { Box::pin(Life::new().await.live(&steps)).await })
    });
    if let Err(error) = lived {
        panic!("BACKUP_MODEL_SEED={seed}: {error}");
    }
}
