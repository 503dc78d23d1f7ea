//! Bringing files back: each proved before it gets its name, and never outside of the directory that was asked for.

mod target;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use s3backup_model::{Failure, Tally};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::backup::Backup;
use crate::events::EVENTS_AHEAD;
use crate::view::At;

/// What is to be restored, and where.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// The directory to restore into; made when it is not there.
    pub to: PathBuf,
    /// Which files: see [`Backup::files`]. None for all.
    pub paths: Vec<String>,
    /// The state that is restored.
    pub at: At,
    /// Whether files that are there and differ are replaced. Default: they are kept.
    pub overwrite: bool,
    /// Only say what would be restored.
    pub dry_run: bool,
}

impl RestoreOptions {
    /// All files, as they are backed up now, into a directory.
    pub fn to(dir: impl Into<PathBuf>) -> Self {
        Self { to: dir.into(), ..Self::default() }
    }

    /// Only these files, directories and globs.
    #[must_use]
    pub fn paths(mut self, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// As it was.
    #[must_use]
    pub fn at(mut self, at: At) -> Self {
        self.at = at;
        self
    }

    /// Replaces files that are there and differ.
    #[must_use]
    pub fn overwrite(mut self, yes: bool) -> Self {
        self.overwrite = yes;
        self
    }

    /// Only says what would be restored.
    #[must_use]
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }
}

/// What happens during a restore.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RestoreEvent {
    /// A file is there with its bytes, proved; or would be, in a dry run.
    Restored {
        /// Its name below the directory, escaped as keys are.
        name: String,
        /// Its bytes.
        bytes: u64,
    },
    /// A file was there already, with the same size and modification time.
    There {
        /// Its name below the directory, escaped as keys are.
        name: String,
        /// Its bytes.
        bytes: u64,
    },
    /// Another file of this name is there and was kept.
    Kept {
        /// Its name below the directory, escaped as keys are.
        name: String,
    },
    /// A file could not be restored.
    Failed {
        /// Which, and why.
        failure: Failure,
    },
}

/// What a restore did.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Files that were restored; in a dry run, that would be.
    pub restored: Tally,
    /// Files that were there already.
    pub there: Tally,
    /// Files that were kept because others of their names are there.
    pub kept: u64,
    /// What could not be restored; the first 1,000.
    pub failed: Vec<Failure>,
    /// How many in all.
    pub failed_total: u64,
    /// What was asked for and is not in the backup.
    pub unmatched: Vec<String>,
    /// Whether it was cut short.
    pub interrupted: bool,
    /// Wall time in seconds.
    pub duration_s: f64,
}

impl Backup {
    /// Restores files. Each goes to `DIR/<key below the destination's prefix>`, with its modification time and its
    /// permissions (set-user-ID, set-group-ID and sticky bits are dropped). Its bytes go to a temporary file beside, are
    /// compared with the checksum that the backup has of them, are synced to disk, and only then get the name.
    ///
    /// Works from the bucket alone on a machine without a catalog, changes nothing there, and takes no lock. Not restored,
    /// because not backed up: owners, empty directories, symbolic links, extended attributes.
    ///
    /// Doing it again goes on where a restore was cut short. Must be called within a tokio runtime.
    ///
    /// ```no_run
    /// # use s3backup_core::{Backup, Error, RestoreOptions};
    /// # async fn example(backup: Backup) -> Result<(), Error> {
    /// let report = backup.restore(RestoreOptions::to("/tmp/restored").paths(["vehicle-1"])).finish().await?;
    /// assert_eq!(report.failed_total, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn restore(&self, options: RestoreOptions) -> Restore {
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        let cancel = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(work::restore(Arc::clone(&self.job), options, sender, cancel.clone()));
        Restore { events, cancel, task }
    }
}

/// A restore that is going on. Dropping it stops it at once: files that have their names are whole, and no temporary file
/// is left.
#[derive(Debug)]
pub struct Restore {
    events: mpsc::Receiver<RestoreEvent>,
    cancel: CancellationToken,
    task: JoinSet<Result<RestoreReport, Error>>,
}

impl Restore {
    /// The next thing that happens; `None` at the end. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<RestoreEvent> {
        self.events.recv().await
    }

    /// A token that ends the restore: files on their way are given up.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Waits for the end. Events that were not taken are dropped.
    ///
    /// # Errors
    /// Those of [`Backup::files`], and [`Error::Target`] when the directory cannot be used. A file that cannot be restored
    /// is no error: it is named in the report.
    pub async fn finish(mut self) -> Result<RestoreReport, Error> {
        while self.events.recv().await.is_some() {}
        match self.task.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(Error::Defect(error.to_string())),
            None => Err(Error::Defect("the restore has no task".to_owned())),
        }
    }
}
