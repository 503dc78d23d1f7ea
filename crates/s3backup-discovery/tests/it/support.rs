//! Makes trees and walks them. Every walk is held to its order.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use s3backup_discovery::{Batch, MAX_BATCH, Rules, RulesBuilder, Skip, Source, SourceEnd, walk};
use s3backup_model::{Entry, Failure, Skipped};
use tempfile::TempDir;

/// The clock of the tests: 23 November 2026, 20:00 in Seoul.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(498_731)
}

/// A directory with files of a few bytes, all modified a day before [`now`].
pub(crate) fn tree(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        add(dir.path().join(file));
    }
    dir
}

pub(crate) fn add(path: impl AsRef<Path>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "data").unwrap();
    touch(path, now() - Duration::from_hours(24));
}

pub(crate) fn touch(path: &Path, modified: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

pub(crate) fn source(path: impl Into<PathBuf>, rules: RulesBuilder) -> Source {
    Source { index: 7, path: path.into(), rules: rules.build().unwrap(), settled: None }
}

/// All that a walk found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) entries: Vec<Entry>,
    pub(crate) skips: Vec<Skip>,
    pub(crate) skipped: Skipped,
    pub(crate) failures: Vec<Failure>,
    pub(crate) shadows: Vec<PathBuf>,
    pub(crate) seen: u64,
    pub(crate) end: Option<SourceEnd>,
}

/// What paths below a source are sorted by.
pub(crate) fn order(relative: &Path) -> Vec<u8> {
    relative.as_os_str().as_bytes().iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
}

fn assert_ordered<'a>(paths: impl Iterator<Item = &'a Path>) {
    let keys: Vec<_> = paths.map(order).collect();
    for pair in keys.windows(2) {
        assert!(pair[0] < pair[1], "{:?}", pair.iter().map(|key| key.escape_ascii()).collect::<Vec<_>>());
    }
}

impl Report {
    pub(crate) fn add(&mut self, batch: Batch) {
        assert_eq!(batch.source, 7);
        assert!(batch.len() <= MAX_BATCH, "a batch of {}", batch.len());
        assert_eq!(self.end, None, "nothing comes behind the end");
        assert_eq!(batch.skipped.files, batch.skips.len() as u64);
        assert_eq!(batch.shadows.len(), batch.skips.len() + batch.failures.len());
        let last =
            [self.entries.last().map(|entry| &*entry.relative), self.shadows.last().map(PathBuf::as_path)];
        let last = last.into_iter().flatten().max_by_key(|path| order(path));
        assert_ordered(last.into_iter().chain(batch.entries.iter().map(|entry| &*entry.relative)));
        assert_ordered(last.into_iter().chain(batch.shadows.iter().map(PathBuf::as_path)));
        self.shadows.extend(batch.shadows);
        self.entries.extend(batch.entries);
        self.skips.extend(batch.skips);
        self.skipped.merge(&batch.skipped);
        self.failures.extend(batch.failures);
        self.seen += batch.seen;
        self.end = batch.end;
    }

    /// Paths of the entries below the source, in the order in which they came.
    pub(crate) fn found(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.relative.to_str().unwrap()).collect()
    }

    /// Paths of the shadows below the source, in the order in which they came.
    pub(crate) fn shadows(&self) -> Vec<&str> {
        self.shadows.iter().map(|path| path.to_str().unwrap()).collect()
    }

    /// Paths below `root` and reasons of what was skipped, sorted.
    pub(crate) fn left_out(&self, root: &Path) -> Vec<(&str, &'static str)> {
        let root = format!("{}/", root.to_str().unwrap());
        let below = |skip: &'_ Skip| skip.path.strip_prefix(&root).unwrap().len();
        let mut skips: Vec<_> = self
            .skips
            .iter()
            .map(|skip| (&skip.path[skip.path.len() - below(skip)..], skip.reason.as_str()))
            .collect();
        skips.sort_unstable();
        skips
    }

    /// The one failure.
    pub(crate) fn failure(&self) -> &Failure {
        assert_eq!(self.failures.len(), 1, "{:?}", self.failures);
        assert_eq!(self.failures[0].attempts, 1);
        &self.failures[0]
    }
}

/// Walks to the end.
pub(crate) fn walked(source: &Source) -> Report {
    let mut report = Report::default();
    walk(source, &now, &mut |batch| {
        report.add(batch);
        ControlFlow::Continue(())
    });
    report
}

/// Walks a tree by rules, and expects no trouble.
pub(crate) fn clean(path: &Path, rules: RulesBuilder) -> Report {
    let report = walked(&source(path, rules));
    assert_eq!(report.failures, []);
    assert_eq!(report.end, Some(SourceEnd::Walked));
    report
}

pub(crate) fn rules() -> RulesBuilder {
    Rules::builder()
}
