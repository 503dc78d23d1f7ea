//! What must hold.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use s3backup_core::{At, Backup, RestoreOptions, RunReport, VerifyOptions};
use tempfile::TempDir;

use super::{Checked, Life, SECONDS_A_STEP, failed, job, same};
use crate::bench::soon;
use crate::step::Place;
use crate::tree::{escaped, files_in};

impl Life {
    /// Nothing is in the bucket that its file never was, and nothing is removed.
    pub(super) async fn look_into_bucket(&mut self) -> Checked {
        let objects = self.bucket.files().await;
        for (name, bytes) in &objects {
            let ever = self.tree.ever.iter().find(|(other, _)| escaped(other) == *name);
            let was = ever.is_some_and(|(_, ever)| ever.iter().any(|file| file.bytes == *bytes));
            prop_assert!(was, "{name} in the bucket is what its file never was");
        }
        for name in &self.kept {
            prop_assert!(objects.contains_key(name), "{name} is no longer in the bucket");
        }
        self.kept.extend(objects.into_keys());
        Ok(())
    }

    /// What a run said is safe must be there.
    pub(super) async fn look_at_success(&self, report: &RunReport) -> Checked {
        same("found", &report.found.files, &(self.tree.now.len() as u64))?;
        let objects = self.bucket.files().await;
        for (name, file) in &self.tree.now {
            let stored = objects.get(&escaped(name));
            prop_assert!(stored == Some(&file.bytes), "{name:?}: a success without it in the bucket");
        }
        let stranger = self.stranger();
        // A damage that was not met yet may be met by whoever looks.
        let here = if self.is_damaged { &stranger.1 } else { &self.backup };
        for (place, backup) in [("here", here), ("elsewhere", &stranger.1)] {
            let mut listed = BTreeMap::new();
            let mut files = backup.files(&At::Now, &[]).await.map_err(|error| failed(place, &error))?;
            while let Some(page) = files.next().await.unwrap() {
                let facts = page.into_iter().map(|file| {
                    let mtime_ns = file.mtime.timestamp_nanos_opt().unwrap();
                    (file.name, (file.size, mtime_ns, file.mode & 0o777, file.state))
                });
                listed.extend(facts);
            }
            let facts = self.tree.now.iter().map(|(name, file)| {
                (escaped(name), (file.bytes.len() as u64, file.mtime_ns, file.mode, "present"))
            });
            same(&format!("the list {place}"), &listed, &facts.collect())?;
        }
        let to = tempfile::tempdir().unwrap();
        let restored = soon(stranger.1.restore(RestoreOptions::to(to.path())).finish()).await.unwrap();
        same("not restored", &restored.failed, &Vec::new())?;
        same("restored", &files_in(to.path()), &self.tree.now)?;
        let verified = soon(here.verify(VerifyOptions::default()).finish()).await.unwrap();
        same("differences", &(verified.verified.differ, verified.unchecked), &(0, 0))
    }

    /// Restores what a run found, which must be that, but for what was overwritten since.
    pub(super) async fn restore(&self, which: usize, from: Place, directory: Option<&str>) -> Checked {
        let Some(then) = self.successes.get(which % self.successes.len().max(1)) else { return Ok(()) };
        let to = tempfile::tempdir().unwrap();
        let stranger = self.stranger();
        let backup = if from == Place::Here { &self.backup } else { &stranger.1 };
        let at = if self.was_set_back || which.is_multiple_of(2) {
            At::Run(then.run.clone())
        } else {
            At::Time(then.at + TimeDelta::seconds(SECONDS_A_STEP / 2))
        };
        let options = RestoreOptions::to(to.path()).at(at).paths(directory);
        let report = soon(backup.restore(options).finish()).await;
        let report = report.map_err(|error| failed("restore", &error))?;
        let objects = self.bucket.files().await;
        let mut expected = then.files.clone();
        if let Some(directory) = directory {
            let below = format!("{directory}/");
            expected.retain(|name, _| name == directory || name.starts_with(&below));
        }
        for failure in &report.failed {
            let name = expected.keys().find(|name| escaped(name) == failure.path).cloned();
            let file = name.and_then(|name| expected.remove(&name));
            let Some(file) = file else {
                return Err(TestCaseError::fail(format!("nobody asked for it: {failure:?}")));
            };
            let is_there = objects.get(&failure.path) == Some(&file.bytes);
            prop_assert!(!is_there, "{} is in the bucket and was not restored: {failure:?}", then.run);
            if objects.contains_key(&failure.path) {
                same("why it was not restored", &failure.kind.as_str(), &"version_gone")?;
            }
        }
        same(&format!("{} as it was", then.run), &files_in(to.path()), &expected)
    }

    /// A machine that knows nothing, in an empty folder.
    fn stranger(&self) -> (TempDir, Backup) {
        let folder = tempfile::tempdir().unwrap();
        let job = job(&self.bench, &self.clock).state_dir(folder.path());
        let stranger = job.build().unwrap();
        (folder, stranger)
    }
}
