//! The plan of a run as a stream: what discovery finds, compared with what is known.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_catalog::{Catalog, Error as CatalogError, FileRow, FileState, Hints, SourceId};
use s3backup_discovery::{Batch, Discovery, Skip, SourceEnd};
use s3backup_model::{Entry, Failure, FileStat, Key, RunId, SkipReason, Skipped, Tally};
use s3backup_transfer::Known;
use tokio::task::JoinSet;

use crate::Error;
use crate::compare::{Cursor, Seen, Verdict, in_walk_order, judge, walk_order};
use crate::memory::Memory;
use crate::plan::{Naming, Reason};

/// One line of a plan.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all lines are of the large kind, and a batch is bounded"
)]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Planned {
    /// A file would be sent, or read to see whether it must be.
    Upload {
        /// The file.
        entry: Entry,
        /// Where it goes.
        key: Key,
        /// Why.
        reason: Reason,
        /// What the bucket is known to hold for it.
        known: Option<Known>,
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

/// What a run would do, as a stream. Nothing is read but names and times of files and the catalog, no request is sent, and
/// no step runs: files that the steps would make are not in it. Dropping it stops the walk.
///
/// ```no_run
/// # use s3backup_core::{Backup, Planned};
/// # async fn example(backup: Backup) -> Result<(), s3backup_core::Error> {
/// let mut plan = backup.plan().await?;
/// while let Some(batch) = plan.next().await {
///     let batch = batch?;
///     println!("{} files are in the bucket already", batch.unchanged.files);
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
/// # Ok(())
/// # }
/// ```
pub struct Plan {
    discovery: Discovery,
    /// Away while a batch is compared.
    comparison: Option<Comparison>,
    comparing: JoinSet<(Comparison, Result<PlanBatch, CatalogError>)>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("discovery", &self.discovery).finish_non_exhaustive()
    }
}

/// Some lines of a plan, all of one source.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PlanBatch {
    /// Which source, counted from 0.
    pub source: usize,
    /// The lines.
    pub lines: Vec<Planned>,
    /// Selected files that are in the bucket as they are on disk, as far as the catalog knows.
    pub unchanged: Tally,
    /// The selected files among the lines that cannot be backed up: their key cannot be made.
    pub refused: Tally,
    /// Counts of the skips among them.
    pub skipped: Skipped,
    /// Regular files that were seen and are not excluded.
    pub seen: u64,
    /// Whether the source was walked to its end.
    pub is_whole: bool,
}

impl Plan {
    /// A plan that changes nothing, or one that notes in the catalog what it learns.
    pub(crate) fn new(
        discovery: Discovery,
        naming: Arc<Naming>,
        memory: Memory,
        reads_all: Vec<bool>,
        notes: Option<Notes>,
    ) -> Self {
        let comparison = Comparison { naming, memory, reads_all, notes, cursor: None };
        Self { discovery, comparison: Some(comparison), comparing: JoinSet::new() }
    }

    /// The next lines; `None` at the end. Nothing is lost when the future is dropped. A batch may have no lines.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read; the plan then is of no use.
    pub async fn next(&mut self) -> Option<Result<PlanBatch, Error>> {
        if self.comparison.is_some() {
            // The comparison stays where it is until there is something to compare: this future may be dropped here.
            let batch = self.discovery.next().await?;
            if let Some(mut comparison) = self.comparison.take() {
                self.comparing.spawn_blocking(move || {
                    let compared = comparison.compare(batch);
                    (comparison, compared)
                });
            }
        }
        match self.comparing.join_next().await? {
            Ok((comparison, compared)) => {
                self.comparison = Some(comparison);
                Some(compared.map_err(Error::Catalog))
            }
            Err(error) => Some(Err(Error::Defect(error.to_string()))),
        }
    }
}

/// Who notes, and when.
pub(crate) struct Notes {
    pub(crate) run: RunId,
    pub(crate) now: DateTime<Utc>,
}

/// A file that was too young in runs that are a day apart is always written to: it is read as it is, and whether it
/// changed meanwhile shows as with every file.
const PATIENCE: TimeDelta = TimeDelta::days(1);

/// Makes entries of the files that were too young for so long.
fn take_what_waited(
    catalog: &mut Catalog,
    source: SourceId,
    batch: &mut Batch,
    notes: &Notes,
) -> Result<(), CatalogError> {
    let is_young = |skip: &Skip| skip.reason == SkipReason::TooYoung;
    let path_of = |skip: &Skip| skip.entry.as_ref().map(|entry| entry.relative.clone());
    let young: Vec<PathBuf> = batch.skips.iter().filter(|skip| is_young(skip)).filter_map(path_of).collect();
    if young.is_empty() {
        return Ok(());
    }
    let paths: Vec<Vec<u8>> = young.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
    let waited = catalog.wait_for_young(source, &paths, &notes.run, notes.now, PATIENCE)?;
    let waited: HashSet<PathBuf> =
        young.into_iter().zip(waited).filter_map(|(path, waited)| waited.then_some(path)).collect();
    if waited.is_empty() {
        return Ok(());
    }
    let taken = batch.skips.extract_if(.., |skip| {
        is_young(skip) && skip.entry.as_ref().is_some_and(|entry| waited.contains(&entry.relative))
    });
    for entry in taken.filter_map(|skip| skip.entry) {
        batch.skipped.remove(SkipReason::TooYoung, entry.stat.size);
        batch.entries.push(entry);
    }
    batch.shadows.retain(|path| !waited.contains(path));
    batch.entries.sort_by(|one, other| {
        walk_order(one.relative.as_os_str().as_bytes(), other.relative.as_os_str().as_bytes())
    });
    Ok(())
}

/// The place where what was found meets what is known.
struct Comparison {
    naming: Arc<Naming>,
    memory: Memory,
    /// Of which sources every file is to be read.
    reads_all: Vec<bool>,
    /// The run that notes in the catalog what it learns; none of a plan that changes nothing.
    notes: Option<Notes>,
    /// In the source that is walked.
    cursor: Option<(usize, Cursor)>,
}

impl Comparison {
    fn compare(&mut self, mut batch: Batch) -> Result<PlanBatch, CatalogError> {
        let place = batch.source;
        if let (Some(notes), Some(&source)) = (&self.notes, self.memory.sources.get(place)) {
            take_what_waited(&mut self.memory.here(), source, &mut batch, notes)?;
        }
        let mut lines = Vec::with_capacity(batch.skips.len() + batch.failures.len());
        lines.extend(
            batch.skips.into_iter().map(|skip| Planned::Skip { path: skip.path, reason: skip.reason }),
        );
        lines.extend(batch.failures.into_iter().map(Planned::Fail));
        let is_whole = matches!(batch.end, Some(SourceEnd::Walked));
        let mut planned = PlanBatch {
            source: place,
            lines,
            skipped: batch.skipped,
            seen: batch.seen,
            is_whole,
            ..PlanBatch::default()
        };
        self.compare_files(&mut planned, in_walk_order(batch.entries, batch.shadows))?;
        if let Some(SourceEnd::Missing(message) | SourceEnd::Failed(message)) = batch.end {
            planned.lines.push(Planned::MissingSource { source: place, message });
        }
        Ok(planned)
    }

    fn compare_files(
        &mut self,
        planned: &mut PlanBatch,
        found: impl Iterator<Item = Seen>,
    ) -> Result<(), CatalogError> {
        let place = planned.source;
        let Some(&source) = self.memory.sources.get(place) else { return Ok(()) };
        let reads_all = self.reads_all.get(place).copied().unwrap_or_default();
        let mut catalog = self.memory.here();
        let mut cursor = match self.cursor.take() {
            Some((walked, cursor)) if walked == place => cursor,
            _ => Cursor::new(source),
        };
        let mut learnt = Vec::new();
        for seen in found {
            let entry = match seen {
                Seen::Entry(entry) => entry,
                Seen::Shadow(path) => {
                    cursor.shadow(&catalog, path.as_os_str().as_bytes())?;
                    continue;
                }
            };
            let path = entry.relative.as_os_str().as_bytes();
            let verdict = match cursor.meet(&catalog, path)? {
                Some(known) => judge(&known, &entry.stat, reads_all),
                None => Verdict::Take(Reason::New),
            };
            match verdict {
                Verdict::Unchanged => planned.unchanged.add(entry.stat.size),
                Verdict::Learn => {
                    planned.unchanged.add(entry.stat.size);
                    learnt.push((path.to_owned(), entry.stat));
                }
                Verdict::Take(reason) => {
                    let line = self.take(&catalog, source, entry, reason, &mut planned.refused)?;
                    planned.lines.push(line);
                }
            }
        }
        if self.notes.is_some() {
            learn(&mut catalog, source, learnt)?;
            note_gone(&mut catalog, &mut cursor)?;
            while planned.is_whole && cursor.drain(&catalog)? {
                note_gone(&mut catalog, &mut cursor)?;
            }
            note_gone(&mut catalog, &mut cursor)?;
        }
        self.cursor = Some((place, cursor));
        Ok(())
    }

    fn take(
        &self,
        catalog: &Catalog,
        source: SourceId,
        entry: Entry,
        reason: Reason,
        refused: &mut Tally,
    ) -> Result<Planned, CatalogError> {
        let key = match self.naming.key_of(&entry) {
            Ok(key) => key,
            Err(failure) => {
                refused.add(entry.stat.size);
                return Ok(Planned::Fail(failure));
            }
        };
        let row = match reason {
            Reason::New => None,
            _ => catalog.file(source, entry.relative.as_os_str().as_bytes())?,
        };
        // Under another key there is nothing yet, whatever is known of the old one. Of a file that was gone the bucket is
        // asked: its object was nobody's since, and retention may have removed it.
        let known =
            row.filter(|row| row.key == key && row.state != FileState::Gone).map(|row| known_of(&row));
        let reason = if known.is_none() { Reason::New } else { reason };
        Ok(Planned::Upload { entry, key, reason, known })
    }
}

/// What the catalog knows of an object, as the engine asks for it.
pub(crate) fn known_of(row: &FileRow) -> Known {
    Known {
        size: row.size,
        crc64nvme: row.crc64nvme.clone(),
        checksum: row.stored_checksum.clone(),
        etag: row.etag.clone(),
        version_id: row.version_id.clone(),
        is_doubtful: row.state == FileState::Doubtful,
        is_unsettled: false,
    }
}

fn note_gone(catalog: &mut Catalog, cursor: &mut Cursor) -> Result<(), CatalogError> {
    let gone = cursor.take_gone();
    if gone.is_empty() { Ok(()) } else { catalog.note_gone(cursor.source(), &gone) }
}

/// Keeps what the file system says of files that are known only from the bucket.
fn learn(
    catalog: &mut Catalog,
    source: SourceId,
    learnt: Vec<(Vec<u8>, FileStat)>,
) -> Result<(), CatalogError> {
    let hints = |stat: &FileStat| Hints { ctime_ns: stat.ctime_ns, inode: stat.inode };
    let learnt: Vec<_> = learnt.into_iter().map(|(path, stat)| (path, hints(&stat))).collect();
    if learnt.is_empty() { Ok(()) } else { catalog.set_hints(source, &learnt) }
}
