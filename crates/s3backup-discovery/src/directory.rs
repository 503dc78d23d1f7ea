//! A directory on the way from the source to where the walk is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::retry_on_intr;

use crate::listing::Listing;
use crate::place::Place;

/// Tells directories apart however they are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    device: u64,
    inode: u64,
}

impl Id {
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }

    /// What a path leads to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::stat(path)?))
    }
}

/// A directory just opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) fd: OwnedFd,
    pub(crate) id: Id,
}

impl Opened {
    /// Opens what a path leads to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        open(CWD, path, OFlags::empty())
    }
}

#[derive(Debug)]
pub(crate) struct Directory {
    /// `None` while it is closed because there are many below it.
    fd: Option<OwnedFd>,
    id: Id,
    /// Length of its whole path.
    len: usize,
    listing: Listing,
}

impl Directory {
    /// A directory where the walk now is.
    pub(crate) fn new(opened: Opened, listing: Listing, place: &Place) -> Self {
        Self { fd: Some(opened.fd), id: opened.id, len: place.len(), listing }
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Its whole path, where `place` is in it or below.
    pub(crate) fn path<'a>(&self, place: &'a Place) -> &'a Path {
        place.directory(self.len)
    }

    /// Bytes of names that it holds in memory.
    pub(crate) fn size(&self) -> usize {
        self.listing.size()
    }

    /// Goes to the next name in it.
    pub(crate) fn next(&mut self, place: &mut Place) -> io::Result<Option<fs::FileType>> {
        self.listing.next(place.enter(self.len))
    }

    /// Gives its descriptor back; it is opened again when it is needed.
    pub(crate) fn close(&mut self) {
        self.fd = None;
    }

    /// Looks at the name in it where the walk is.
    pub(crate) fn stat(&mut self, place: &Place, flags: AtFlags) -> io::Result<Stat> {
        Ok(fs::statat(self.handle(place)?, place.name(), flags)?)
    }

    /// Opens the directory of the name in it where the walk is.
    pub(crate) fn open(&mut self, place: &Place, flags: OFlags) -> io::Result<Opened> {
        open(self.handle(place)?, place.name(), flags)
    }

    fn handle(&mut self, place: &Place) -> io::Result<BorrowedFd<'_>> {
        let fd = match self.fd.take() {
            Some(fd) => fd,
            None => self.reopen(self.path(place))?,
        };
        Ok(OwnedFd::as_fd(self.fd.insert(fd)))
    }

    fn reopen(&self, path: &Path) -> io::Result<OwnedFd> {
        let opened = Opened::at(path)?;
        if opened.id == self.id {
            Ok(opened.fd)
        } else {
            // Its names are not those that are still to come.
            Err(io::Error::other("the directory that it is in was replaced during the walk"))
        }
    }
}

fn open(above: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<Opened> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| fs::openat(above, path, flags, Mode::empty()))?;
    let id = Id::of(&fs::fstat(&fd)?);
    Ok(Opened { fd, id })
}
