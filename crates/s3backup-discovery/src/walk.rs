//! The walk itself: one source, depth first, on the calling thread.
//!
//! Written out rather than taken from a crate because what a pattern excludes must not be touched at all: walkers
//! open a directory, and follow a link, before their caller can say no, and that alone hangs on a dead network
//! mount which somebody excluded for that very reason.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;
use s3backup_model::{Entry, Failure, FileStat, SkipReason};

use crate::ahead::{Ahead, Over};
use crate::batch::{Batch, Skip, SourceEnd};
use crate::directory::{Directory, Id, Opened, file_stat};
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
pub(crate) const MAX_PATH: usize = 4095;

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

/// Walks one source on the calling thread and hands over what it finds, in order. As many other threads as there are
/// processors left, at most three, read directories ahead of it; they have ended when this returns.
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
/// the depth of the tree, in the worst case by 1 MiB a level. What was read ahead takes up to 4 MiB. At most 64 directories
/// are open at a time, and 16 more that were read ahead.
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
    let rules = &source.rules;
    let ahead = Ahead::new(rules, &source.path, limits.room_ahead());
    // What links lead to may be a directory in which the walk is already, and only the walk knows where it is.
    let helpers = match rules.symlinks {
        Symlinks::Skip => limits.helpers,
        Symlinks::Follow => 0,
    };
    thread::scope(|scope| {
        // Without them the walk reads everything itself.
        let helper =
            || thread::Builder::new().name("walk-ahead".to_owned()).spawn_scoped(scope, || ahead.help());
        let helpers: Vec<_> = (0..helpers).map_while(|_| helper().ok()).collect();
        {
            let _over = Over(&ahead);
            let mut walker = Walker {
                source,
                clock,
                limits,
                sink: Sink::new(source.index, emit),
                root: Arc::from(source.path.as_path()),
                place: Place::new(&source.path),
                above: Vec::new(),
                ahead: (!helpers.is_empty()).then_some(&ahead),
                buffer: Listing::buffer(),
            };
            if let ControlFlow::Continue(end) = walker.run() {
                walker.sink.finish(end);
            }
        }
        for helper in helpers {
            // What one that broke left undone was read by the walk.
            let _ = helper.join();
        }
    });
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
    /// If there is somebody who reads ahead.
    ahead: Option<&'a Ahead<'a>>,
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
        self.look_ahead(&mut here);
        loop {
            match here.next(&mut self.place) {
                Ok(Some(listed)) => {
                    if let Some(below) = self.visit(&mut here, listed) {
                        self.above.push(std::mem::replace(&mut here, below));
                        self.look_ahead(&mut here);
                    }
                }
                Ok(None) => {
                    if let Some(ahead) = self.ahead {
                        ahead.leave(self.above.len());
                    }
                    match self.above.pop() {
                        Some(above) => here = above,
                        None => return ControlFlow::Continue(Ok(())),
                    }
                }
                Err(error) => return ControlFlow::Continue(Err(error)),
            }
            self.sink.pulse()?;
        }
    }

    /// Has the next directories in `here` read by others.
    fn look_ahead(&self, here: &mut Directory) {
        let Some(ahead) = self.ahead else { return };
        let (rules, depth) = (&self.source.rules, self.above.len());
        for _ in 0..ahead.wants(depth) {
            let Some((index, wanted)) = here.next_ahead(&self.place) else { return };
            let relative = Path::new(OsStr::from_bytes(&wanted.relative));
            if !rules.excludes(relative) && !rules.excludes_below(relative) {
                ahead.post(depth, index, wanted);
            }
        }
    }

    /// What was read of the directory where the walk is, before it came there.
    fn take_ahead(&mut self, here: &mut Directory) -> Option<Directory> {
        let ahead = self.ahead?;
        self.look_ahead(here);
        let found = ahead.take(self.above.len(), here.index()?, &mut self.buffer)?;
        // It may have become a link, or another directory, since it was read.
        let now = self.stat(here, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if found.opened.id != Id::of(&now) {
            return None;
        }
        self.close_far();
        Some(Directory::found(found, &self.place))
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
                Ok(stat) => FileType::from_raw_mode(stat.mode),
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
            FileType::RegularFile => match self.look(here) {
                Ok(stat) if is(&stat, FileType::Directory) => self.visit_directory(here),
                Ok(stat) => self.visit_file(stat),
                Err(error) => self.fail_unless_gone(&error),
            },
            _ => self.skip(SkipReason::Special),
        }
    }

    fn follow(&mut self, here: &mut Directory) -> Option<Directory> {
        let error = match self.stat(here, AtFlags::empty()) {
            Ok(stat) if is(&stat, FileType::Directory) => return self.visit_directory(here),
            Ok(stat) => return self.visit_included(stat),
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
        if let Some(directory) = self.take_ahead(here) {
            return Some(directory);
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
        self.close_far();
        let flags = match self.source.rules.symlinks {
            Symlinks::Skip => OFlags::NOFOLLOW,
            Symlinks::Follow => OFlags::empty(),
        };
        here.open(&self.place, flags)
    }

    fn close_far(&mut self) {
        // With the next one and that in which it is, two fewer above them may stay open. They were opened one by one
        // from the top.
        let far = self.above.len().checked_sub(MAX_OPEN_DIRECTORIES - 1);
        if let Some(directory) = far.and_then(|far| self.above.get_mut(far)) {
            directory.close();
        }
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
        let listing =
            Listing::read(opened.fd.as_fd(), room, Some(&self.limits.temp_dir), &mut self.buffer, pulse)?;
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
            Ok(stat) => self.visit_included(stat),
            Err(error) => self.fail_unless_gone(&error),
        }
    }

    fn visit_included(&mut self, stat: FileStat) -> Option<Directory> {
        if self.source.rules.leaves_out(self.place.relative()) {
            self.skip(SkipReason::Excluded)
        } else {
            self.visit_file(stat)
        }
    }

    /// Takes a file, or says why not. Never gives a directory.
    fn visit_file(&mut self, stat: FileStat) -> Option<Directory> {
        match FileType::from_raw_mode(stat.mode) {
            FileType::RegularFile => {}
            // Where it was a file when it was listed, somebody replaced it since.
            FileType::Symlink => return self.skip(SkipReason::Symlink),
            _ => return self.skip(SkipReason::Special),
        }
        self.sink.see();
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

    /// What the name in `here` where the walk is was when it, or somebody ahead of it, looked.
    fn look(&self, here: &mut Directory) -> io::Result<FileStat> {
        here.looked_at().map_or_else(|| self.stat(here, AtFlags::SYMLINK_NOFOLLOW), Ok)
    }

    fn stat(&self, here: &mut Directory, flags: AtFlags) -> io::Result<FileStat> {
        self.check_length()?;
        here.stat(&self.place, flags).map(|stat| file_stat(&stat))
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

fn is(stat: &FileStat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.mode) == kind
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
        let limits = Limits { names, temp_dir: temp_dir.to_owned(), ..Limits::default() };
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
    fn reading_ahead_changes_nothing_of_what_is_found() {
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let dir = tempfile::tempdir().unwrap();
            let mut name =
                |names: u8| format!("{}{}", ["d", "x", "e-"][random.usize(..3)], random.u8(..names));
            let mut files: Vec<String> = Vec::new();
            for _ in 0..400 {
                let below: Vec<String> = [4, 12, 3, 30].into_iter().map(&mut name).collect();
                let depth = 1 + files.len() % 4;
                files.push(format!("{}.f", below[..depth].join("/")));
            }
            make(dir.path(), files);
            std::os::unix::fs::symlink("d1", dir.path().join("link")).unwrap();
            rustix::fs::mkdirat(rustix::fs::CWD, dir.path().join("d9"), 0o755.into()).unwrap();
            let rules =
                Rules::builder().exclude(["**/x2", "**/e-*/x*"]).min_age(Duration::ZERO).build().unwrap();
            let source = Source { index: 0, path: dir.path().to_owned(), rules, settled: None };
            let walked = |helpers| {
                let mut all = Batch::default();
                let limits = Limits { helpers, ..Limits::default() };
                walk_within(limits, &source, &SystemTime::now, &mut |mut batch| {
                    all.entries.append(&mut batch.entries);
                    all.skips.append(&mut batch.skips);
                    all.failures.append(&mut batch.failures);
                    all.shadows.append(&mut batch.shadows);
                    all.seen += batch.seen;
                    all.end = batch.end;
                    ControlFlow::Continue(())
                });
                all
            };
            let alone = walked(0);
            assert!(alone.entries.len() > 100 && alone.skips.len() > 5, "seed {seed}: {alone:?}");
            for helpers in [1, 3] {
                assert_eq!(walked(helpers), alone, "seed {seed}, {helpers} helpers");
            }
        }
    }

    #[test]
    fn a_walk_that_is_stopped_ends_those_who_read_ahead() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), (0..9000).map(|n| format!("{}/{n}", n % 300)));
        let source = Source { index: 0, path: dir.path().to_owned(), rules: Rules::default(), settled: None };
        let limits = Limits { helpers: 3, ..Limits::default() };
        let mut batches = 0;
        walk_within(limits, &source, &SystemTime::now, &mut |_| {
            batches += 1;
            ControlFlow::Break(())
        });
        assert_eq!(batches, 1);
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
