//! The walk itself: one source, depth first, on the calling thread.
//!
//! Written out rather than taken from a crate because what a pattern excludes must not be touched at all: walkers
//! open a directory, and follow a link, before their caller can say no, and that alone hangs on a dead network
//! mount which somebody excluded for that very reason.

use std::fs::{self, FileType, Metadata};
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use s3backup_model::{Entry, Failure, FileStat, SkipReason};

use crate::batch::{Batch, MAX_BATCH, Skip, SourceEnd};
use crate::listing::{Child, Listing};
use crate::rules::{Rules, Symlinks};
use crate::trouble;

/// The most directories held open at a time: far more than trees are deep, far fewer than a process may open.
/// Below this depth the remaining names of the topmost open directory are held in memory instead.
const MAX_OPEN_DIRECTORIES: usize = 64;

/// The longest that something found waits for its batch to fill, while the file system answers.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// A directory, and what to take below it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Which of the job's sources it is, counted from 0; said in every batch and entry.
    pub index: usize,
    /// The directory, or a symbolic link to it. A relative path is relative to the process's current directory.
    pub path: PathBuf,
    /// What to take.
    pub rules: Rules,
    /// Files that were modified in this time are never too young: whoever wrote them is done, such as a program that
    /// ran to its end before the walk in order to make them.
    pub settled: Option<RangeInclusive<SystemTime>>,
}

/// Walks one source on the calling thread and hands over what it finds, in no particular order.
///
/// `min_age` counts back from what `clock` says when a file is looked at. `emit` gets a [`Batch`] when one is full, and about every 100 ms while
/// the file system answers, then even if it is empty, so that a caller can always stop the walk: after
/// [`ControlFlow::Break`] `emit` is not called again. Otherwise the last batch has [`Batch::end`], which is
/// [`SourceEnd::Walked`] or [`SourceEnd::Missing`].
///
/// Memory does not grow with the number of files. It grows with the depth of the tree, and below 64 levels also with
/// the sizes of the directories above. File systems may be crossed. A directory or file that cannot be looked at is
/// a failure and the walk goes on; one that vanished meanwhile is neither an entry nor a failure.
///
/// ```
/// use std::ops::ControlFlow;
/// use std::time::SystemTime;
/// use s3backup_discovery::{walk, Rules, Source};
///
/// # let dir = tempfile::tempdir()?;
/// # std::fs::write(dir.path().join("trip.json"), "{}")?;
/// # let path = dir.path().to_owned();
/// let source = Source { index: 0, path, rules: Rules::default(), settled: None };
/// let mut bytes = 0;
/// walk(&source, &SystemTime::now, &mut |batch| {
///     bytes += batch.entries.iter().map(|entry| entry.stat.size).sum::<u64>();
///     ControlFlow::Continue(())
/// });
/// assert_eq!(bytes, 2);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn walk(source: &Source, clock: &dyn Fn() -> SystemTime, emit: &mut dyn FnMut(Batch) -> ControlFlow<()>) {
    let mut walker = Walker::new(source, clock, emit);
    let end = match walker.start() {
        Err(missing) => SourceEnd::Missing(missing),
        Ok(root) => {
            if walker.run().is_break() {
                return;
            }
            // Whoever moves or unmounts a source makes everything in it vanish, which must not look like an end.
            if fs::metadata(&source.path).is_ok_and(|meta| Id::of(&meta) == root) {
                SourceEnd::Walked
            } else {
                SourceEnd::Missing(trouble::source_replaced(&source.path))
            }
        }
    };
    walker.finish(end);
}

/// Tells directories apart however they are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    device: u64,
    inode: u64,
}

impl Id {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// A directory on the way from the source to where the walk is.
#[derive(Debug)]
struct Frame {
    listing: Listing,
    /// Known where links are followed, to find loops.
    id: Option<Id>,
}

/// What became of a directory that was to be walked.
enum Opened {
    New(Listing, Option<Id>),
    /// It is this one, in which the walk is already.
    Above(PathBuf),
}

struct Walker<'a> {
    source: &'a Source,
    clock: &'a dyn Fn() -> SystemTime,
    emit: &'a mut dyn FnMut(Batch) -> ControlFlow<()>,
    root: Arc<Path>,
    /// Where the walk is: the path below the source, and the whole path.
    relative: PathBuf,
    path: PathBuf,
    frames: Vec<Frame>,
    open: usize,
    batch: Batch,
    flushed: Instant,
}

impl<'a> Walker<'a> {
    fn new(
        source: &'a Source,
        clock: &'a dyn Fn() -> SystemTime,
        emit: &'a mut dyn FnMut(Batch) -> ControlFlow<()>,
    ) -> Self {
        Self {
            source,
            clock,
            emit,
            root: Arc::from(source.path.as_path()),
            relative: PathBuf::new(),
            path: source.path.clone(),
            frames: Vec::new(),
            open: 0,
            batch: Batch::new(source.index),
            flushed: Instant::now(),
        }
    }

    /// Opens the source itself.
    fn start(&mut self) -> Result<Id, String> {
        let unusable = |error| trouble::source_unusable(&self.source.path, &error);
        let meta = fs::metadata(&self.path).map_err(unusable)?;
        if !meta.is_dir() {
            return Err(trouble::source_no_directory(&self.path));
        }
        let listing = Listing::open(&self.path).map_err(unusable)?;
        let id = Id::of(&meta);
        self.push(listing, Some(id));
        Ok(id)
    }

    fn run(&mut self) -> ControlFlow<()> {
        while let Some(frame) = self.frames.last_mut() {
            match frame.listing.next() {
                Some(Ok(child)) => self.enter(&child),
                Some(Err(error)) => self.fail(trouble::directory_unreadable(&self.path, &error)),
                None => self.leave(),
            }
            if self.batch.len() >= MAX_BATCH || self.flushed.elapsed() >= FLUSH_INTERVAL {
                self.flush()?;
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(&mut self, end: SourceEnd) {
        self.batch.end = Some(end);
        // There is nothing left that could be stopped.
        let _ = self.flush();
    }

    fn flush(&mut self) -> ControlFlow<()> {
        let batch = std::mem::replace(&mut self.batch, Batch::new(self.source.index));
        let flow = (self.emit)(batch);
        self.flushed = Instant::now();
        flow
    }

    /// Looks at one name in the current directory; if it is a directory to walk, that becomes the current one.
    fn enter(&mut self, child: &Child) {
        let depth = self.frames.len();
        self.relative.push(&child.name);
        self.path.push(&child.name);
        self.visit(child.file_type);
        if self.frames.len() == depth {
            self.relative.pop();
            self.path.pop();
        }
    }

    /// Goes back up from a directory whose names are used up.
    fn leave(&mut self) {
        if self.frames.pop().is_some_and(|frame| frame.listing.is_open()) {
            self.open -= 1;
        }
        if !self.frames.is_empty() {
            self.relative.pop();
            self.path.pop();
        }
    }

    fn push(&mut self, listing: Listing, id: Option<Id>) {
        self.frames.push(Frame { listing, id });
        self.open += 1;
        if self.open > MAX_OPEN_DIRECTORIES
            && let Some(topmost) = self.frames.iter_mut().find(|frame| frame.listing.is_open())
        {
            topmost.listing.hold();
            self.open -= 1;
        }
    }

    fn visit(&mut self, listed: Option<FileType>) {
        let rules = &self.source.rules;
        if rules.excludes(&self.relative) {
            return self.skip(SkipReason::Excluded);
        }
        let file_type = match listed.map_or_else(|| Ok(fs::symlink_metadata(&self.path)?.file_type()), Ok) {
            Ok(file_type) => file_type,
            Err(error) => return self.fail_unless_gone(&error),
        };
        if file_type.is_symlink() {
            match rules.symlinks {
                Symlinks::Skip => self.skip(SkipReason::Symlink),
                Symlinks::Follow => self.follow(),
            }
        } else if file_type.is_dir() {
            self.visit_directory();
        } else if rules.leaves_out(&self.relative) {
            self.skip(SkipReason::Excluded);
        } else if !file_type.is_file() {
            self.skip(SkipReason::Special);
        } else {
            match fs::symlink_metadata(&self.path) {
                Ok(meta) => self.visit_file(&meta),
                Err(error) => self.fail_unless_gone(&error),
            }
        }
    }

    fn follow(&mut self) {
        let error = match fs::metadata(&self.path) {
            Ok(meta) if meta.is_dir() => return self.visit_directory(),
            Ok(_) if self.source.rules.leaves_out(&self.relative) => return self.skip(SkipReason::Excluded),
            Ok(meta) => return self.visit_file(&meta),
            Err(error) => error,
        };
        // It may have led to a directory below which all is excluded, so nothing is missed.
        if self.source.rules.excludes_below(&self.relative) {
            return self.skip(SkipReason::Excluded);
        }
        match fs::read_link(&self.path) {
            Ok(target) if trouble::is_circle(&error) => self.fail(trouble::circle(&self.path, &target)),
            Ok(target) => self.fail(trouble::broken_link(&self.path, &target, &error)),
            Err(error) => self.fail_unless_gone(&error),
        }
    }

    fn visit_directory(&mut self) {
        if self.source.rules.excludes_below(&self.relative) {
            return self.skip(SkipReason::Excluded);
        }
        match self.open_directory() {
            Ok(Opened::New(listing, id)) => self.push(listing, id),
            Ok(Opened::Above(above)) => self.fail(trouble::link_loop(&self.path, &above)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.fail(trouble::directory_unreadable(&self.path, &error)),
        }
    }

    fn open_directory(&self) -> io::Result<Opened> {
        let mut id = None;
        if self.source.rules.symlinks == Symlinks::Follow {
            let this = Id::of(&fs::metadata(&self.path)?);
            if let Some(above) = self.above(this) {
                return Ok(Opened::Above(above));
            }
            id = Some(this);
        }
        Ok(Opened::New(Listing::open(&self.path)?, id))
    }

    /// The directory above the current path that is the same as `id`. Not only links are asked: one that leads far
    /// outside can come back to the source through ordinary directories.
    fn above(&self, id: Id) -> Option<PathBuf> {
        let depth = self.frames.iter().position(|frame| frame.id == Some(id))?;
        self.path.ancestors().nth(self.frames.len() - depth).map(Path::to_owned)
    }

    fn visit_file(&mut self, meta: &Metadata) {
        if !meta.is_file() {
            // Where it was a file when it was listed, somebody replaced it since.
            return if meta.is_dir() {
                self.visit_directory();
            } else {
                self.skip(if meta.is_symlink() { SkipReason::Symlink } else { SkipReason::Special });
            };
        }
        self.batch.seen += 1;
        let stat = file_stat(meta);
        let rules = &self.source.rules;
        if !rules.select.takes(stat.mtime_ns) {
            self.skip_file(SkipReason::NotSelected, stat);
        } else if self.may_be_written(stat.mtime_ns) {
            self.skip_file(SkipReason::TooYoung, stat);
        } else {
            let entry = self.entry(stat);
            self.batch.entries.push(entry);
        }
    }

    fn may_be_written(&self, mtime_ns: i64) -> bool {
        let min_age = self.source.rules.min_age;
        let is_settled = |times: &RangeInclusive<SystemTime>| {
            (unix_ns(*times.start())..=unix_ns(*times.end())).contains(&i128::from(mtime_ns))
        };
        // The clock is read after the file: one that is written just now must not look as if it were from the future.
        !min_age.is_zero()
            && is_young(mtime_ns, unix_ns((self.clock)()), min_age)
            && !self.source.settled.as_ref().is_some_and(is_settled)
    }

    fn entry(&self, stat: FileStat) -> Entry {
        Entry {
            source: self.source.index,
            root: Arc::clone(&self.root),
            relative: self.relative.clone(),
            stat,
        }
    }

    fn skip_file(&mut self, reason: SkipReason, stat: FileStat) {
        self.batch.skipped.add(reason, stat.size);
        let entry = Some(self.entry(stat));
        self.batch.skips.push(Skip { path: trouble::shown(&self.path), reason, entry });
    }

    fn skip(&mut self, reason: SkipReason) {
        self.batch.skipped.add(reason, 0);
        self.batch.skips.push(Skip { path: trouble::shown(&self.path), reason, entry: None });
    }

    fn fail(&mut self, failure: Failure) {
        self.batch.failures.push(failure);
    }

    fn fail_unless_gone(&mut self, error: &io::Error) {
        if !trouble::is_gone(error) {
            self.fail(trouble::file_unreadable(&self.path, error));
        }
    }
}

fn file_stat(meta: &Metadata) -> FileStat {
    FileStat {
        size: meta.len(),
        mtime_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        mode: meta.mode(),
        inode: meta.ino(),
        device: meta.dev(),
    }
}

/// Saturates outside of the years 1677 to 2262, which some file systems can store.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

fn unix_ns(time: SystemTime) -> i128 {
    let ns = |since: Duration| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => ns(since),
        Err(before) => -ns(before.duration()),
    }
}

fn is_young(mtime_ns: i64, now_ns: i128, min_age: Duration) -> bool {
    let age = now_ns - i128::from(mtime_ns);
    u128::try_from(age).is_ok_and(|age| age < min_age.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_is_what_changed_less_than_the_age_ago() {
        let (now, minute) = (1_795_431_600_000_000_000_i64, Duration::from_mins(1));
        let young = |mtime_ns, min_age| is_young(mtime_ns, i128::from(now), min_age);
        assert!(young(now, minute));
        assert!(young(now - 59_999_999_999, minute));
        assert!(!young(now - 60_000_000_000, minute), "exactly the age is old enough");
        assert!(!young(now + 1, minute), "the future is not young");
        assert!(!young(i64::MAX, minute) && !young(i64::MIN, minute));
        assert!(!young(now, Duration::ZERO), "no age rules out nothing");
        assert!(young(i64::MIN, Duration::MAX));
    }

    #[test]
    fn times_that_do_not_fit_saturate() {
        assert_eq!(nanoseconds(-1, 999_999_999), -1);
        assert_eq!(nanoseconds(i64::MAX, 0), i64::MAX);
        assert_eq!(nanoseconds(i64::MIN, 0), i64::MIN);
        assert_eq!(unix_ns(SystemTime::UNIX_EPOCH - Duration::from_nanos(5)), -5);
    }
}
