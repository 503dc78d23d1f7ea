//! The walk itself: one source, depth first, on the calling thread.
//!
//! Written out rather than taken from a crate because what a pattern excludes must not be touched at all: walkers
//! open a directory, and follow a link, before their caller can say no, and that alone hangs on a dead network
//! mount which somebody excluded for that very reason.

use std::fs;
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use s3backup_model::{Entry, Failure, FileStat, SkipReason, unix_ns};

use crate::batch::{Batch, Skip, SourceEnd};
use crate::directory::{Directory, Id, Opened};
use crate::listing::{Limits, Listing, Unlisted};
use crate::place::Place;
use crate::rules::{Rules, Symlinks};
use crate::sink::Sink;
use crate::trouble;

/// The most directories held open at a time: far more than trees are deep, far fewer than a process may open.
/// Those above are closed, and opened again when the walk comes back to them.
const MAX_OPEN_DIRECTORIES: usize = 64;

/// The longest path that Linux takes, without the zero behind it. A walk step by step gets further, but nobody could
/// open what it finds there.
const MAX_PATH: usize = 4095;

/// What the system writes the names of a directory into; as much as the C library takes.
const LISTING_BUFFER: usize = 32 * 1024;

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

/// Walks one source on the calling thread and hands over what it finds, in order.
///
/// The order is depth first, the names of a directory sorted by their bytes, files and directories mixed. Whole
/// paths below the source are therefore in the order of their bytes with a zero for each slash: `a/b`, `a-b`, `ab`.
/// [`Batch::entries`] and [`Batch::shadows`] are each in this order, also from batch to batch, and nothing in a
/// batch comes before anything in the one before it.
///
/// `min_age` counts back from what `clock` says when a file is looked at. `emit` gets a [`Batch`] when one is full,
/// and about every 100 ms while the file system answers, then even if it is empty, so that a caller can always stop
/// the walk: after [`ControlFlow::Break`] `emit` is not called again. Otherwise the last batch has [`Batch::end`].
///
/// Memory does not grow with the number of files: names beyond 16 MiB are sorted in a temporary file without a name
/// in `$TMPDIR` (default `/tmp`), which takes the names of that one directory and is gone with it. Memory grows with
/// the depth of the tree, in the worst case by 1 MiB a level. At most 64 directories are open at a time.
///
/// File systems may be crossed. A directory or file that cannot be looked at is a failure and the walk goes on; one
/// that vanished meanwhile is neither an entry nor a failure. Unless links are followed, a directory that a link
/// takes the place of during the walk is not followed either.
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
    walk_within(Limits::default(), source, clock, emit);
}

fn walk_within(
    limits: Limits,
    source: &Source,
    clock: &dyn Fn() -> SystemTime,
    emit: &mut dyn FnMut(Batch) -> ControlFlow<()>,
) {
    let mut walker = Walker {
        source,
        clock,
        limits,
        sink: Sink::new(source.index, emit),
        root: Arc::from(source.path.as_path()),
        place: Place::new(&source.path),
        above: Vec::new(),
        buffer: Vec::with_capacity(LISTING_BUFFER),
    };
    if let ControlFlow::Continue(end) = walker.run() {
        walker.sink.finish(end);
    }
}

struct Walker<'a> {
    source: &'a Source,
    clock: &'a dyn Fn() -> SystemTime,
    limits: Limits,
    sink: Sink<'a>,
    root: Arc<Path>,
    place: Place,
    /// The directories above the one in which the walk is, from the source down.
    above: Vec<Directory>,
    buffer: Vec<u8>,
}

impl Walker<'_> {
    /// Walks the source to its end, or breaks where the walk is stopped.
    fn run(&mut self) -> ControlFlow<(), SourceEnd> {
        let path = &self.source.path;
        let root = match self.open_source() {
            Ok(root) => root,
            Err(missing) => return ControlFlow::Continue(SourceEnd::Missing(missing)),
        };
        let id = root.id;
        let root = match self.list(root, 0) {
            Ok(root) => root,
            Err(Unlisted::Stopped) => return ControlFlow::Break(()),
            Err(Unlisted::Unreadable(error)) => {
                return ControlFlow::Continue(SourceEnd::Missing(trouble::source_unusable(path, &error)));
            }
            Err(Unlisted::Unsorted(error)) => {
                let why = trouble::source_unsorted(path, &self.limits.temp_dir, &error);
                return ControlFlow::Continue(SourceEnd::Missing(why));
            }
        };
        if let Err(error) = self.descend(root)? {
            // What is still to come is not known, and part of this directory is handed over already.
            let why = trouble::names_lost(path, &self.limits.temp_dir, &error);
            return ControlFlow::Continue(SourceEnd::Failed(why));
        }
        // Whoever moves or unmounts a source makes everything in it vanish, which must not look like an end.
        let end = if Id::at(path).is_ok_and(|now| now == id) {
            SourceEnd::Walked
        } else {
            SourceEnd::Missing(trouble::source_replaced(path))
        };
        ControlFlow::Continue(end)
    }

    fn open_source(&self) -> Result<Opened, String> {
        let path = &self.source.path;
        let unusable = |error| trouble::source_unusable(path, &error);
        if fs::metadata(path).map_err(unusable)?.is_dir() {
            Opened::at(path).map_err(unusable)
        } else {
            Err(trouble::source_no_directory(path))
        }
    }

    /// Visits everything below `here`. Errors where the names of a directory cannot be read back.
    fn descend(&mut self, mut here: Directory) -> ControlFlow<(), io::Result<()>> {
        loop {
            match here.next(&mut self.place) {
                Ok(Some(listed)) => {
                    if let Some(below) = self.visit(&mut here, listed) {
                        self.above.push(std::mem::replace(&mut here, below));
                    }
                }
                Ok(None) => match self.above.pop() {
                    Some(above) => here = above,
                    None => return ControlFlow::Continue(Ok(())),
                },
                Err(error) => return ControlFlow::Continue(Err(error)),
            }
            self.sink.pulse()?;
        }
    }

    /// Looks at the name in `here` where the walk is. Gives the directory to enter, if it is one.
    fn visit(&mut self, here: &mut Directory, listed: FileType) -> Option<Directory> {
        let rules = &self.source.rules;
        if rules.excludes(self.place.relative()) {
            return self.skip(SkipReason::Excluded);
        }
        let kind = match listed {
            // Some file systems do not say it in the listing.
            FileType::Unknown => match self.stat(here, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(error) => return self.fail_unless_gone(&error),
            },
            known => known,
        };
        match kind {
            FileType::Symlink => match rules.symlinks {
                Symlinks::Skip => self.skip(SkipReason::Symlink),
                Symlinks::Follow => self.follow(here),
            },
            FileType::Directory => self.visit_directory(here),
            _ if rules.leaves_out(self.place.relative()) => self.skip(SkipReason::Excluded),
            FileType::RegularFile => match self.stat(here, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is(&stat, FileType::Directory) => self.visit_directory(here),
                Ok(stat) => self.visit_file(&stat),
                Err(error) => self.fail_unless_gone(&error),
            },
            _ => self.skip(SkipReason::Special),
        }
    }

    fn follow(&mut self, here: &mut Directory) -> Option<Directory> {
        let error = match self.stat(here, AtFlags::empty()) {
            Ok(stat) if is(&stat, FileType::Directory) => return self.visit_directory(here),
            Ok(stat) => return self.visit_included(&stat),
            Err(error) => error,
        };
        // It may have led to a directory below which all is excluded, so nothing is missed.
        if self.source.rules.excludes_below(self.place.relative()) {
            return self.skip(SkipReason::Excluded);
        }
        let path = self.place.whole();
        match fs::read_link(path) {
            Ok(target) if trouble::is_circle(&error) => self.fail(trouble::circle(path, &target)),
            Ok(target) => self.fail(trouble::broken_link(path, &target, &error)),
            Err(error) => self.fail_unless_gone(&error),
        }
    }

    fn visit_directory(&mut self, here: &mut Directory) -> Option<Directory> {
        if self.source.rules.excludes_below(self.place.relative()) {
            return self.skip(SkipReason::Excluded);
        }
        let error = match self.open(here) {
            Ok(opened) => {
                return match self.above(here, opened.id) {
                    Some(above) => self.fail(trouble::link_loop(self.place.whole(), above)),
                    None => self.enter(opened, here.size()),
                };
            }
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => None,
            Some(Errno::NOTDIR | Errno::LOOP) => self.visit_replacement(here, &error),
            _ => self.fail(trouble::directory_unreadable(self.place.whole(), &error)),
        }
    }

    /// Opens the directory where the walk is.
    fn open(&mut self, here: &mut Directory) -> io::Result<Opened> {
        self.check_length()?;
        // With this one and `here`, two fewer above them may stay open. They were opened one by one from the top.
        let far = self.above.len().checked_sub(MAX_OPEN_DIRECTORIES - 1);
        if let Some(directory) = far.and_then(|far| self.above.get_mut(far)) {
            directory.close();
        }
        let flags = match self.source.rules.symlinks {
            Symlinks::Skip => OFlags::NOFOLLOW,
            Symlinks::Follow => OFlags::empty(),
        };
        here.open(&self.place, flags)
    }

    /// The path of the directory that is `id` and in which the walk is already. Not only links are asked: one that
    /// leads far outside can come back to the source through ordinary directories. Without links there are no loops.
    fn above(&self, here: &Directory, id: Id) -> Option<&Path> {
        if self.source.rules.symlinks == Symlinks::Skip {
            return None;
        }
        let mut entered = self.above.iter().chain([here]);
        entered.find(|directory| directory.id() == id).map(|directory| directory.path(&self.place))
    }

    /// Lists a directory, to enter it. `held` is the memory that the one above it holds.
    fn enter(&mut self, opened: Opened, held: usize) -> Option<Directory> {
        match self.list(opened, held) {
            Ok(directory) => Some(directory),
            Err(Unlisted::Stopped) => None,
            Err(Unlisted::Unreadable(error)) if trouble::is_gone(&error) => None,
            Err(Unlisted::Unreadable(error)) => {
                self.fail(trouble::directory_unreadable(self.place.whole(), &error))
            }
            Err(Unlisted::Unsorted(error)) => {
                let temp_dir = &self.limits.temp_dir;
                self.fail(trouble::directory_unsorted(self.place.whole(), temp_dir, &error))
            }
        }
    }

    fn list(&mut self, opened: Opened, held: usize) -> Result<Directory, Unlisted> {
        let held = held + self.above.iter().map(Directory::size).sum::<usize>();
        let (room, pulse) = (self.limits.room(held), &mut || self.sink.pulse());
        let listing = Listing::read(opened.fd.as_fd(), room, &self.limits, &mut self.buffer, pulse)?;
        Ok(Directory::new(opened, listing, &self.place))
    }

    /// Visits what was a directory when it was listed and is none any more.
    fn visit_replacement(&mut self, here: &mut Directory, error: &io::Error) -> Option<Directory> {
        let flags = match self.source.rules.symlinks {
            Symlinks::Skip => AtFlags::SYMLINK_NOFOLLOW,
            Symlinks::Follow => AtFlags::empty(),
        };
        match self.stat(here, flags) {
            // It keeps changing, or the file system says two things of it.
            Ok(stat) if is(&stat, FileType::Directory) => {
                self.fail(trouble::directory_unreadable(self.place.whole(), error))
            }
            Ok(stat) if is(&stat, FileType::Symlink) => self.skip(SkipReason::Symlink),
            Ok(stat) => self.visit_included(&stat),
            Err(error) => self.fail_unless_gone(&error),
        }
    }

    fn visit_included(&mut self, stat: &Stat) -> Option<Directory> {
        if self.source.rules.leaves_out(self.place.relative()) {
            self.skip(SkipReason::Excluded)
        } else {
            self.visit_file(stat)
        }
    }

    /// Takes a file, or says why not. Never gives a directory.
    fn visit_file(&mut self, stat: &Stat) -> Option<Directory> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            // Where it was a file when it was listed, somebody replaced it since.
            FileType::Symlink => return self.skip(SkipReason::Symlink),
            _ => return self.skip(SkipReason::Special),
        }
        self.sink.see();
        let stat = file_stat(stat);
        if !self.source.rules.select.takes(stat.mtime_ns) {
            return self.skip_file(SkipReason::NotSelected, stat);
        }
        if self.may_be_written(stat.mtime_ns) {
            return self.skip_file(SkipReason::TooYoung, stat);
        }
        let entry = self.entry(stat);
        self.sink.entry(entry);
        None
    }

    fn may_be_written(&self, mtime_ns: i64) -> bool {
        let min_age = self.source.rules.min_age;
        let is_settled = |times: &RangeInclusive<SystemTime>| {
            (since_epoch_ns(*times.start())..=since_epoch_ns(*times.end())).contains(&i128::from(mtime_ns))
        };
        // The clock is read after the file: one that is written just now must not look as if it were from the future.
        !min_age.is_zero()
            && is_young(mtime_ns, since_epoch_ns((self.clock)()), min_age)
            && !self.source.settled.as_ref().is_some_and(is_settled)
    }

    fn stat(&self, here: &mut Directory, flags: AtFlags) -> io::Result<Stat> {
        self.check_length()?;
        here.stat(&self.place, flags)
    }

    fn check_length(&self) -> io::Result<()> {
        if self.place.len() > MAX_PATH { Err(Errno::NAMETOOLONG.into()) } else { Ok(()) }
    }

    fn entry(&self, stat: FileStat) -> Entry {
        Entry {
            source: self.source.index,
            root: Arc::clone(&self.root),
            relative: self.place.relative().to_owned(),
            stat,
        }
    }

    fn skip_file(&mut self, reason: SkipReason, stat: FileStat) -> Option<Directory> {
        self.leave_out(reason, stat.size, Some(self.entry(stat)))
    }

    fn skip(&mut self, reason: SkipReason) -> Option<Directory> {
        self.leave_out(reason, 0, None)
    }

    fn leave_out(&mut self, reason: SkipReason, bytes: u64, entry: Option<Entry>) -> Option<Directory> {
        let skip = Skip { path: trouble::shown(self.place.whole()), reason, entry };
        self.sink.skip(skip, bytes, self.place.relative().to_owned());
        None
    }

    fn fail(&mut self, failure: Failure) -> Option<Directory> {
        self.sink.fail(failure, self.place.relative().to_owned());
        None
    }

    fn fail_unless_gone(&mut self, error: &io::Error) -> Option<Directory> {
        if trouble::is_gone(error) {
            return None;
        }
        self.fail(trouble::file_unreadable(self.place.whole(), error))
    }
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

fn file_stat(stat: &Stat) -> FileStat {
    let ns = |seconds, nanoseconds| unix_ns(seconds, i64::try_from(nanoseconds).unwrap_or_default());
    FileStat {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime_ns: ns(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: ns(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode,
        inode: stat.st_ino,
        device: stat.st_dev,
    }
}

fn since_epoch_ns(time: SystemTime) -> i128 {
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
    fn a_time_before_the_epoch_is_negative() {
        assert_eq!(since_epoch_ns(SystemTime::UNIX_EPOCH - Duration::from_nanos(5)), -5);
    }

    /// Walks with so little memory for names that almost every directory needs a temporary file.
    fn walked(path: &Path, names: usize, temp_dir: &Path, mut look: impl FnMut()) -> (Batch, Vec<PathBuf>) {
        let source = Source { index: 0, path: path.to_owned(), rules: Rules::default(), settled: None };
        let limits = Limits { names, temp_dir: temp_dir.to_owned() };
        let mut all = Batch::default();
        walk_within(limits, &source, &SystemTime::now, &mut |batch| {
            look();
            all.entries.extend(batch.entries);
            all.failures.extend(batch.failures);
            all.shadows.extend(batch.shadows);
            all.end = batch.end;
            ControlFlow::Continue(())
        });
        let found = all.entries.iter().map(|entry| entry.relative.clone()).collect();
        (all, found)
    }

    fn make(dir: &Path, files: impl IntoIterator<Item = String>) -> Vec<PathBuf> {
        let mut made: Vec<_> = files.into_iter().map(PathBuf::from).collect();
        for file in &made {
            fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
            fs::write(dir.join(file), "").unwrap();
        }
        // The order of paths by components is that of their bytes with a zero for each slash.
        made.sort();
        made
    }

    #[test]
    fn directories_that_do_not_fit_in_memory_come_in_order_too() {
        let (dir, temp_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let names = (0..1000).map(|n| format!("{}", n * 7919 % 1000));
        let below = (0..1000).map(|n| format!("5-dir/{}/{n}", n % 3));
        let made = make(dir.path(), names.chain(below));
        for limit in [1, 500, 20_000] {
            let (all, found) = walked(dir.path(), limit, temp_dir.path(), || ());
            assert_eq!((all.end, all.failures), (Some(SourceEnd::Walked), vec![]), "{limit}");
            assert!(found == made, "{limit}");
        }
    }

    #[test]
    fn a_directory_for_which_there_is_no_temporary_file_is_a_failure_that_says_what_to_do() {
        let (dir, temp_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let gone = temp_dir.path().join("gone");
        make(
            dir.path(),
            ["a".to_owned(), "c".to_owned()].into_iter().chain((0..100).map(|n| format!("b/{n}"))),
        );
        let (all, found) = walked(dir.path(), 500, &gone, || ());
        assert_eq!(found, [Path::new("a"), Path::new("c")], "the walk goes on");
        assert_eq!((all.end, &*all.shadows), (Some(SourceEnd::Walked), &[PathBuf::from("b")][..]));
        let message = &all.failures[0].message;
        let advice = format!("free space in `{}`, or set TMPDIR to", gone.display());
        assert!(message.contains("No such file or directory") && message.contains(&advice), "{message}");

        let (all, found) = walked(&dir.path().join("b"), 500, &gone, || ());
        assert!(found.is_empty());
        assert!(matches!(&all.end, Some(SourceEnd::Missing(why)) if why.contains(&advice)), "{:?}", all.end);
    }

    #[test]
    fn names_that_cannot_be_read_back_do_not_pass_for_the_end() {
        let (dir, temp_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // More than the buffers behind the temporary file hold.
        let files = make(dir.path(), (0..2000).map(|n| format!("{n:0200}"))).len();
        let truncate = || {
            for fd in fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap) {
                if fs::read_link(fd.path()).is_ok_and(|file| file.starts_with(temp_dir.path())) {
                    fs::File::options().write(true).open(fd.path()).unwrap().set_len(0).unwrap();
                }
            }
        };
        let (all, found) = walked(dir.path(), 150_000, temp_dir.path(), truncate);
        assert!((1..files).contains(&found.len()), "{}", found.len());
        let Some(SourceEnd::Failed(why)) = all.end else { panic!("{:?}", all.end) };
        assert!(why.contains("could not be read back") && why.contains("TMPDIR"), "{why}");
    }
}
