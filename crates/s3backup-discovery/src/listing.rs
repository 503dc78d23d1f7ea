//! The names in one directory, sorted by their bytes.

use std::env;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use crate::names::Names;
use crate::spill::{Merge, Spill};

/// What the system writes the names of a directory into; as much as the C library takes.
const BUFFER: usize = 32 * 1024;

/// The most threads that read directories ahead of a walk: what is found must still be planned, and that is the work
/// of about one thread for three.
const MAX_HELPERS: usize = 3;

/// What a walk may take.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of names that a walk holds in memory.
    pub(crate) names: usize,
    /// Where names go that are more.
    pub(crate) temp_dir: PathBuf,
    /// Threads that read ahead of it.
    pub(crate) helpers: usize,
}

impl Default for Limits {
    /// 16 MiB, which is 600,000 names of 20 bytes, `$TMPDIR` or `/tmp`, and a thread for every processor but that of
    /// the walk.
    fn default() -> Self {
        let others = thread::available_parallelism().map_or(0, |all| all.get() - 1);
        Self { names: 16 * 1024 * 1024, temp_dir: env::temp_dir(), helpers: others.min(MAX_HELPERS) }
    }
}

impl Limits {
    /// How much of the memory a directory may take when those above it hold `held`. A part is left however much
    /// they hold: the walk must go on, and that many directories of that size are never above one another.
    pub(crate) fn room(&self, held: usize) -> usize {
        self.names.saturating_sub(held).max(self.names / 16)
    }

    /// How much a directory may take that is read ahead: 64 KiB, some 2,500 names.
    pub(crate) fn room_ahead(&self) -> usize {
        self.names / 256
    }
}

/// Why a directory has no listing.
#[derive(Debug)]
pub(crate) enum Unlisted {
    /// The walk is to end.
    Stopped,
    /// It cannot be read.
    Unreadable(io::Error),
    /// Its names do not fit in memory, and there is no temporary file for them.
    Unsorted(io::Error),
}

/// The names of a directory that are still to come, in order.
#[derive(Debug)]
pub(crate) enum Listing {
    Held { names: Names, next: usize },
    Spilled(Merge),
}

impl Listing {
    /// For [`Listing::read`], to be used again and again.
    pub(crate) fn buffer() -> Vec<u8> {
        Vec::with_capacity(BUFFER)
    }

    /// Reads the whole directory, so that one that can be read only in part is known before anything in it is handed
    /// over. At most `room` bytes of names are held, and more go to a temporary file, if there is a place for it.
    /// `buffer` is what the system writes into. Asks `pulse` now and then whether to go on.
    pub(crate) fn read(
        dir: BorrowedFd<'_>,
        room: usize,
        temp_dir: Option<&Path>,
        buffer: &mut Vec<u8>,
        pulse: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Self, Unlisted> {
        let mut names = Names::default();
        let mut spill = None;
        let mut listed = RawDir::new(dir, buffer.spare_capacity_mut());
        loop {
            if listed.is_buffer_empty() && pulse().is_break() {
                return Err(Unlisted::Stopped);
            }
            let entry = match listed.next() {
                Some(Ok(entry)) => entry,
                Some(Err(Errno::INTR)) => continue,
                Some(Err(error)) => return Err(Unlisted::Unreadable(error.into())),
                None => break,
            };
            let (name, kind) = (entry.file_name(), entry.file_type());
            if matches!(name.to_bytes(), b"." | b"..") || names.push(name, kind, room) {
                continue;
            }
            spilled(&mut names, &mut spill, temp_dir).map_err(Unlisted::Unsorted)?;
            names.push(name, kind, room);
        }
        names.sort();
        let Some(mut spill) = spill else { return Ok(Self::Held { names, next: 0 }) };
        spill.add(&names).and_then(|()| spill.merge()).map(Self::Spilled).map_err(Unlisted::Unsorted)
    }

    /// Appends the next name to `path`. Errors where the temporary file cannot be read back.
    pub(crate) fn next(&mut self, path: &mut Vec<u8>) -> io::Result<Option<FileType>> {
        match self {
            Self::Held { names, next } => Ok(names.get(*next).map(|(name, kind)| {
                path.extend_from_slice(name);
                *next += 1;
                kind
            })),
            Self::Spilled(merge) => merge.next(path),
        }
    }

    /// The place of the name that [`Listing::next`] gave last, where names are held in memory.
    pub(crate) fn place(&self) -> Option<usize> {
        match self {
            Self::Held { next, .. } => next.checked_sub(1),
            Self::Spilled(_) => None,
        }
    }

    /// The name at a place in the order, where names are held in memory.
    pub(crate) fn get(&self, place: usize) -> Option<(&[u8], FileType)> {
        match self {
            Self::Held { names, .. } => names.get(place),
            Self::Spilled(_) => None,
        }
    }

    /// The names that are held in memory, in order.
    pub(crate) fn held(&self) -> impl Iterator<Item = (&[u8], FileType)> {
        (0..).map_while(|place| self.get(place))
    }

    /// Bytes of names that it holds in memory.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Held { names, .. } => names.size(),
            Self::Spilled(_) => 0,
        }
    }
}

/// Moves names from memory to the temporary file.
fn spilled(names: &mut Names, spill: &mut Option<Spill>, temp_dir: Option<&Path>) -> io::Result<()> {
    names.sort();
    let to = match spill {
        Some(spill) => spill,
        None => spill.insert(Spill::new(temp_dir.ok_or(io::ErrorKind::FileTooLarge)?)?),
    };
    to.add(names)?;
    names.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn reading_ends_when_the_walk_does() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        let mut calls = 0;
        let mut pulse = || {
            calls += 1;
            if calls < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let fd = File::open(dir.path()).unwrap();
        let read = Listing::read(fd.as_fd(), limits.names, None, &mut Vec::with_capacity(4096), &mut pulse);
        assert!(matches!(read, Err(Unlisted::Stopped)), "{read:?}");
    }

    #[test]
    fn directories_above_leave_some_room() {
        let limits = Limits { names: 1600, ..Limits::default() };
        assert_eq!([0, 600, 1599, 5000].map(|held| limits.room(held)), [1600, 1000, 100, 100]);
    }
}
