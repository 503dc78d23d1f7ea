//! Looking whether the bucket still has what the state says, and marking what is to be sent again.

mod check;
mod due;
pub(crate) mod judge;
pub(crate) mod remember;
mod work;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use s3backup_model::{Key, RunId, Tally, Verified};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Backup, Error};

/// Events that wait for whoever watches. A slow watcher slows the work down, and misses nothing.
const EVENTS_AHEAD: usize = 256;

/// Keys of strangers that are named; all are counted.
const STRANGERS_NAMED: usize = 5;

/// What is to be verified, and how thoroughly. By default everything, without downloading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "options do nothing by themselves"]
pub struct VerifyOptions {
    /// Whether every object is downloaded and hashed, which finds what rotted on the server's disks.
    pub deep: bool,
    /// Whether what differs is marked in the catalog, so that the next run sends it again.
    pub repair: bool,
    /// Which objects.
    pub scope: VerifyScope,
}

impl VerifyOptions {
    /// Whether every object is downloaded and hashed. Default no.
    pub fn deep(mut self, yes: bool) -> Self {
        self.deep = yes;
        self
    }

    /// Whether what differs is marked in the catalog, so that the next run sends it again, and may overwrite what is there
    /// instead of it. It holds the job's lock as long as it works. Default no.
    pub fn repair(mut self, yes: bool) -> Self {
        self.repair = yes;
        self
    }

    /// Which objects. Default all.
    pub fn scope(mut self, scope: VerifyScope) -> Self {
        self.scope = scope;
        self
    }
}

/// Which objects of the state are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyScope {
    /// All.
    #[default]
    All,
    /// Those that this run put.
    Run(RunId),
    /// Those that were put by runs which started at this time or later.
    Since(DateTime<Utc>),
    /// So many, chosen at random: each is restored into a temporary file and proved.
    Sample {
        /// How many. At most 100,000.
        count: usize,
        /// The same seed chooses the same files of the same state.
        seed: u64,
    },
}

/// What happens while the bucket is verified.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum VerifyEvent {
    /// The bucket is being listed; nothing is compared before that is done.
    Listing,
    /// So much of what is to be verified has been.
    Progress {
        /// Done.
        checked: Tally,
        /// All of it.
        of: Tally,
    },
    /// An object is not as it should be.
    Differs(Box<Difference>),
    /// An object could not be looked at.
    Unchecked {
        /// The object.
        key: Key,
        /// Its file, escaped as keys are.
        path: String,
        /// Why.
        message: String,
    },
}

/// An object that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The object.
    pub key: Key,
    /// Its file, escaped as keys are.
    pub path: String,
    /// In what it differs.
    pub what: Differs,
    /// What should be there.
    pub expected: Content,
    /// What is there, as far as the server says.
    pub found: Option<Content>,
    /// What else a person should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What became of it, where a repair was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// In what an object differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Differs {
    /// It is not there.
    Missing,
    /// Its length.
    Size,
    /// Its bytes.
    Content,
    /// Something else lies under its key, and the version that was put is gone.
    VersionGone,
    /// The server names it and does not give its bytes.
    Unreadable,
}

impl Differs {
    /// The word of the reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size => "size",
            Self::Content => "content",
            Self::VersionGone => "version_gone",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What an object is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Length in bytes.
    pub size: u64,
    /// CRC64NVME of its bytes, base64, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
    /// ETag without quotes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub etag: String,
    /// Version, where the bucket has versioning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

/// What a repair can do for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// The next run sends its file again.
    Marked,
    /// Its file is gone from this machine as well: nothing here can mend it.
    FileGone,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// What is remembered of it in the bucket.
    #[serde(flatten)]
    pub verified: Verified,
    /// Objects that were to be looked at.
    pub of: Tally,
    /// Differences by their kind.
    pub differences: DifferenceCounts,
    /// Objects that could not be looked at, or not read: nothing is known of them.
    pub unchecked: u64,
    /// Objects that a run of this job has put since the state was read: another verification will look at them.
    pub newer: u64,
    /// Objects below the prefix of which the state knows nothing, where the bucket was listed. They are no difference.
    pub strangers: Tally,
    /// The first of them, in the order of their keys.
    pub strangers_named: Vec<Key>,
    /// What a repair did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairCounts>,
    /// The seed by which the sample was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether it was cancelled before its end; what was not looked at is in none of the counts.
    pub interrupted: bool,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// How many objects differ in what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DifferenceCounts {
    /// [`Differs::Missing`].
    pub missing: u64,
    /// [`Differs::Size`].
    pub size: u64,
    /// [`Differs::Content`].
    pub content: u64,
    /// [`Differs::VersionGone`].
    pub version_gone: u64,
    /// [`Differs::Unreadable`].
    pub unreadable: u64,
}

impl DifferenceCounts {
    fn add(&mut self, what: Differs) {
        *match what {
            Differs::Missing => &mut self.missing,
            Differs::Size => &mut self.size,
            Differs::Content => &mut self.content,
            Differs::VersionGone => &mut self.version_gone,
            Differs::Unreadable => &mut self.unreadable,
        } += 1;
    }
}

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairCounts {
    /// Files that the next run sends again.
    pub marked: u64,
    /// Objects whose files are gone.
    pub file_gone: u64,
}

impl Backup {
    /// Compares the bucket with the state of the backup: presence, length, content. Changes nothing in the data; that it
    /// was verified is noted in the bucket and in the catalog, where everything was looked at. Works on any machine, from
    /// the bucket alone; [`VerifyOptions::repair`] needs the machine that makes the backup. Must be called within a tokio
    /// runtime.
    ///
    /// ```no_run
    /// # use s3backup_core::{Backup, VerifyEvent, VerifyOptions};
    /// # async fn example(backup: Backup) -> Result<(), s3backup_core::Error> {
    /// let mut verify = backup.verify(VerifyOptions::default());
    /// while let Some(event) = verify.next().await {
    ///     if let VerifyEvent::Differs(difference) = event {
    ///         println!("{}: {}", difference.key, difference.what.as_str());
    ///     }
    /// }
    /// let report = verify.finish().await?;
    /// assert_eq!((report.verified.differ, report.unchecked), (0, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify(&self, options: VerifyOptions) -> Verify {
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        let cancel = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(work::verify(Arc::clone(&self.job), options, sender, cancel.clone()));
        Verify { events, cancel, task }
    }
}

/// A verification that is going on. Dropping it stops it at once; marks of a repair that were told of stay.
#[derive(Debug)]
pub struct Verify {
    events: mpsc::Receiver<VerifyEvent>,
    cancel: CancellationToken,
    task: JoinSet<Result<VerifyReport, Error>>,
}

impl Verify {
    /// The next thing that happens; `None` at the end. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<VerifyEvent> {
        self.events.recv().await
    }

    /// A token that ends it at once; the report then says so.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Waits for the end. Events that were not taken are dropped.
    ///
    /// # Errors
    /// [`Error::NoState`] when there is no backup, [`Error::Transfer`] and [`Error::Manifest`] when the bucket cannot be
    /// asked, [`Error::NoCatalog`] and [`Error::Locked`] when a repair was asked for and cannot be done here and now.
    pub async fn finish(mut self) -> Result<VerifyReport, Error> {
        while self.events.recv().await.is_some() {}
        match self.task.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(Error::Defect(error.to_string())),
            None => Err(Error::Defect("the verification has no task".to_owned())),
        }
    }
}
