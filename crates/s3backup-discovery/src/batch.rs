//! What a walk hands over.

use std::path::PathBuf;

use s3backup_model::{Entry, Failure, SkipReason, Skipped};

/// The most entries, skips and failures together in one [`Batch`].
///
/// Large enough that handing one over costs nothing beside the `stat` calls behind it, small enough that what is
/// found reaches the uploader at once and a full channel of batches stays within a few MiB.
pub const MAX_BATCH: usize = 256;

/// What was found in one source since the batch before.
///
/// Numbers are of this batch alone: the caller adds them up. `entries`, `skips` and `failures` hold at most
/// [`MAX_BATCH`] items together. A batch may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// [`Source::index`](crate::Source::index) of the source.
    pub source: usize,
    /// Selected files, in the order of the walk.
    pub entries: Vec<Entry>,
    /// How much was left out on purpose, by reason. Bytes count only where the file was looked at: not for what
    /// patterns rule out, links and special files.
    pub skipped: Skipped,
    /// What was left out on purpose, one by one; as many as `skipped.files` says.
    pub skips: Vec<Skip>,
    /// What could not be looked at.
    pub failures: Vec<Failure>,
    /// Paths below the source, in the order of the walk, of all that is in the source and not among the entries: one
    /// for each skip and each failure. That of a directory stands for everything below it too.
    ///
    /// A file that was in a source once, is no entry and is neither at nor below a shadow does not exist any more, as
    /// far as the walk got: everything that comes before the last thing handed over, and the rest as well once the
    /// source ended as [`SourceEnd::Walked`].
    pub shadows: Vec<PathBuf>,
    /// Regular files that the patterns do not rule out, whether they were then selected or not.
    pub seen: u64,
    /// How the source ended. Its last batch has it, and no other.
    pub end: Option<SourceEnd>,
}

impl Batch {
    pub(crate) fn new(source: usize) -> Self {
        Self { source, ..Self::default() }
    }

    /// How many things the batch names: entries, skips and failures. Shadows are these skips and failures again.
    pub fn len(&self) -> usize {
        self.entries.len() + self.skips.len() + self.failures.len()
    }

    /// Whether the batch says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.end.is_none()
    }
}

/// Something that was left out on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Whole local path, escaped as keys are. Of a directory that is excluded as a whole, the directory's.
    pub path: String,
    /// Why.
    pub reason: SkipReason,
    /// The file, where it was looked at ([`SkipReason::TooYoung`] and [`SkipReason::NotSelected`]): a caller who
    /// knows more, such as that it has been too young for days, may take it anyway.
    pub entry: Option<Entry>,
}

/// How the walk of a source ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEnd {
    /// Everything below it was visited; what could not be is among the failures.
    Walked,
    /// It is not there, is not a directory or cannot be listed, or it was removed or replaced during the walk.
    /// What happened, why, and what to do.
    Missing(String),
    /// The walk was cancelled; there may be more files than were found.
    Interrupted,
    /// The walk broke, through a fault in this program or in the disk of its temporary file; there may be more files
    /// than were found. What happened, and what to do.
    Failed(String),
}
