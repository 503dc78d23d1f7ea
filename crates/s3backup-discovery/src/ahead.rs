//! Directories that the walk has still to come to, read meanwhile on other threads.
//!
//! Asking the file system about every file is most of what a walk costs, and one thread asks only one thing at a
//! time. Whole directories are handed out, because waking a thread costs as much as asking about some ten files.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, OFlags, statat};
use s3backup_model::FileStat;

use crate::directory::{Opened, file_stat};
use crate::listing::Listing;
use crate::rules::Rules;
use crate::walk::MAX_PATH;

/// How many directories within one are asked for ahead, and how few are left of them when more are asked for: enough
/// that those who read them rarely sleep.
const AHEAD: usize = 8;
const AHEAD_LEAST: usize = 4;

/// The most that are asked for at a time in all directories on the way. With the most names that one may have and what
/// is known of their files, this bounds the memory to some 4 MiB.
const MAX_AHEAD: usize = 16;

/// A directory that was read before the walk came to it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) opened: Opened,
    pub(crate) listing: Listing,
    /// By the place in the listing, what its files are; `None` for what was not looked at.
    pub(crate) stats: Vec<Option<FileStat>>,
}

/// What the walk and those who read ahead of it share.
#[derive(Debug)]
pub(crate) struct Ahead<'a> {
    rules: &'a Rules,
    /// Bytes of names that a directory may have. One with more is left to the walk.
    room: usize,
    /// How much of [`MAX_PATH`] the path of the source takes.
    above: usize,
    queue: Mutex<Queue>,
    posted: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// In the order in which the walk comes to them.
    tasks: Vec<Task>,
    numbers: u64,
    is_over: bool,
}

#[derive(Debug)]
struct Task {
    number: u64,
    /// How far below the source the directory is in which it is, and its place in the listing of that one.
    depth: usize,
    index: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Wanted),
    /// Somebody reads it.
    Taken,
    /// Or `None`, for whatever reason: the walk will see it, and say it.
    Done(Option<Found>),
}

/// A directory to read.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) above: Arc<OwnedFd>,
    /// Its path below the source, and where the last name in it begins.
    pub(crate) relative: Vec<u8>,
    pub(crate) name: usize,
}

/// Ends all reading ahead when it is dropped, however that comes.
pub(crate) struct Over<'a>(pub(crate) &'a Ahead<'a>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.queue().is_over = true;
        self.0.posted.notify_all();
        self.0.done.notify_all();
    }
}

impl<'a> Ahead<'a> {
    pub(crate) fn new(rules: &'a Rules, source: &Path, room: usize) -> Self {
        let above = source.as_os_str().len() + 1;
        Self { rules, room, above, queue: Mutex::default(), posted: Condvar::new(), done: Condvar::new() }
    }

    /// Reads what is asked for until it is over.
    pub(crate) fn help(&self) {
        let _over = Over(self);
        let mut buffer = Listing::buffer();
        let mut queue = self.queue();
        while !queue.is_over {
            queue = match queue.take_waiting() {
                Some((number, wanted)) => {
                    drop(queue);
                    self.put(number, wanted.read(self, &mut buffer))
                }
                None => self.posted.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// How many more are to be asked for in the directory at this depth.
    pub(crate) fn wants(&self, depth: usize) -> usize {
        let queue = self.queue();
        let here = queue.tasks.iter().filter(|task| task.depth == depth).count();
        if here > AHEAD_LEAST { 0 } else { (AHEAD - here).min(MAX_AHEAD - queue.tasks.len()) }
    }

    /// Asks for the directory at this place in the listing of the one at this depth.
    pub(crate) fn post(&self, depth: usize, index: usize, wanted: Wanted) {
        let mut queue = self.queue();
        queue.numbers += 1;
        let task = Task { number: queue.numbers, depth, index, state: State::Waiting(wanted) };
        // The walk comes first to all that is deeper.
        let place = queue.tasks.partition_point(|other| other.depth >= depth);
        queue.tasks.insert(place, task);
        self.posted.notify_one();
    }

    /// What was found in a directory to which the walk comes now; `None` if it is to read it itself.
    pub(crate) fn take(&self, depth: usize, index: usize, buffer: &mut Vec<u8>) -> Option<Found> {
        let mut queue = self.queue();
        let asked = queue.tasks.iter().find(|task| task.depth == depth && task.index == index);
        let number = asked?.number;
        while !queue.is_over {
            let place = queue.place(number)?;
            if !matches!(queue.tasks[place].state, State::Taken) {
                return match queue.tasks.remove(place).state {
                    State::Done(found) => found,
                    State::Waiting(_) | State::Taken => None,
                };
            }
            // What comes next is read here, rather than nothing done.
            queue = match queue.take_waiting() {
                Some((number, wanted)) => {
                    drop(queue);
                    self.put(number, wanted.read(self, buffer))
                }
                None => self.done.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        None
    }

    /// Forgets what was asked for in directories at this depth and below.
    pub(crate) fn leave(&self, depth: usize) {
        self.queue().tasks.retain(|task| task.depth < depth);
    }

    fn put(&self, number: u64, found: Option<Found>) -> MutexGuard<'_, Queue> {
        let mut queue = self.queue();
        // Nobody may want it any more.
        if let Some(place) = queue.place(number) {
            queue.tasks[place].state = State::Done(found);
            self.done.notify_one();
        }
        queue
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Whatever broke, the queue is whole between any two of its changes.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn place(&self, number: u64) -> Option<usize> {
        self.tasks.iter().position(|task| task.number == number)
    }

    fn take_waiting(&mut self) -> Option<(u64, Wanted)> {
        let task = self.tasks.iter_mut().find(|task| matches!(task.state, State::Waiting(_)))?;
        match std::mem::replace(&mut task.state, State::Taken) {
            State::Waiting(wanted) => Some((task.number, wanted)),
            State::Taken | State::Done(_) => None,
        }
    }
}

impl Wanted {
    fn read(mut self, ahead: &Ahead<'_>, buffer: &mut Vec<u8>) -> Option<Found> {
        let is_too_long = |relative: &[u8]| ahead.above + relative.len() > MAX_PATH;
        if is_too_long(&self.relative) {
            return None;
        }
        let name = Path::new(OsStr::from_bytes(self.relative.get(self.name..)?));
        let opened = Opened::within(self.above.as_fd(), name, OFlags::NOFOLLOW).ok()?;
        let go_on = &mut || ControlFlow::Continue(());
        let listing = Listing::read(opened.fd.as_fd(), ahead.room, None, buffer, go_on).ok()?;
        self.relative.push(b'/');
        let directory = self.relative.len();
        let stats = listing.held().map(|(name, kind)| {
            self.relative.truncate(directory);
            self.relative.extend_from_slice(name);
            let relative = Path::new(OsStr::from_bytes(&self.relative));
            // What is excluded is not to be touched, and what is no file is not worth it.
            let is_left_out = kind != FileType::RegularFile
                || ahead.rules.excludes(relative)
                || ahead.rules.leaves_out(relative)
                || is_too_long(&self.relative);
            if is_left_out {
                return None;
            }
            let name = Path::new(OsStr::from_bytes(name));
            statat(&opened.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| file_stat(&stat))
        });
        let stats = stats.collect();
        Some(Found { opened, listing, stats })
    }
}
