//! The plan of a run as a stream: what discovery finds, decided by the planner.

use std::sync::Arc;

use s3backup_discovery::{Batch, Discovery, SourceEnd};
use s3backup_model::{Entry, Failure, Key, SkipReason, Skipped, Tally};

use crate::plan::{Action, Naming, Reason};

/// One line of a plan.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Planned {
    /// A file would be sent.
    Upload {
        /// The file.
        entry: Entry,
        /// Where it goes.
        key: Key,
        /// Why.
        reason: Reason,
    },
    /// Something is left out on purpose.
    Skip {
        /// Local path, escaped as keys are.
        path: String,
        /// Why.
        reason: SkipReason,
    },
    /// Something cannot be backed up.
    Fail(Failure),
    /// A source is not there.
    MissingSource {
        /// Which one, counted from 0.
        source: usize,
        /// What is wrong and what to do.
        message: String,
    },
}

/// What a run would do, as a stream. Nothing is read but names and times of files, no request is sent, and no step runs:
/// files that the steps would make are not in it. Dropping it stops the walk.
///
/// ```no_run
/// # use s3backup_core::{Backup, Planned};
/// # async fn example(backup: Backup) {
/// let mut plan = backup.plan();
/// while let Some(batch) = plan.next().await {
///     for line in batch.lines {
///         match line {
///             Planned::Upload { key, reason, .. } => println!("upload {key}: {}", reason.as_str()),
///             Planned::Skip { path, reason } => println!("skip {path}: {}", reason.as_str()),
///             Planned::Fail(failure) => println!("cannot back up {}: {}", failure.path, failure.message),
///             Planned::MissingSource { message, .. } => println!("{message}"),
///             _ => {}
///         }
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Plan {
    discovery: Discovery,
    naming: Arc<Naming>,
}

/// Some lines of a plan, all of one source.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PlanBatch {
    /// Which source, counted from 0.
    pub source: usize,
    /// The lines.
    pub lines: Vec<Planned>,
    /// The selected files among them that cannot be backed up: their key cannot be made.
    pub refused: Tally,
    /// Counts of the skips among them.
    pub skipped: Skipped,
    /// Regular files that were seen and are not excluded.
    pub seen: u64,
    /// Whether the source was walked to its end.
    pub is_whole: bool,
}

impl Plan {
    pub(crate) fn new(discovery: Discovery, naming: Arc<Naming>) -> Self {
        Self { discovery, naming }
    }

    /// The next lines; `None` at the end. Nothing is lost when the future is dropped. A batch may have no lines.
    pub async fn next(&mut self) -> Option<PlanBatch> {
        let batch = self.discovery.next().await?;
        Some(self.decide(batch))
    }

    fn decide(&self, batch: Batch) -> PlanBatch {
        let source = batch.source;
        let mut lines = Vec::with_capacity(batch.len());
        lines.extend(
            batch.skips.into_iter().map(|skip| Planned::Skip { path: skip.path, reason: skip.reason }),
        );
        lines.extend(batch.failures.into_iter().map(Planned::Fail));
        let mut refused = Tally::default();
        lines.extend(batch.entries.into_iter().map(|entry| match self.naming.plan(&entry) {
            Action::Upload { key, reason } => Planned::Upload { entry, key, reason },
            Action::Fail(failure) => {
                refused.add(entry.stat.size);
                Planned::Fail(failure)
            }
        }));
        let is_whole = matches!(batch.end, Some(SourceEnd::Walked));
        if let Some(SourceEnd::Missing(message) | SourceEnd::Failed(message)) = batch.end {
            lines.push(Planned::MissingSource { source, message });
        }
        PlanBatch { source, lines, refused, skipped: batch.skipped, seen: batch.seen, is_whole }
    }
}
