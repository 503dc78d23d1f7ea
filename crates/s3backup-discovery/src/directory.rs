//! A directory on the way from the source to where the walk is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::retry_on_intr;

use s3backup_model::{FileStat, unix_ns};

use crate::ahead::{Found, Wanted};
use crate::listing::Listing;
use crate::place::Place;

/// Tells directories apart however they are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    device: u64,
    inode: u64,
}

impl Id {
    pub(crate) fn of(stat: &FileStat) -> Self {
        Self { device: stat.device, inode: stat.inode }
    }

    /// What a path leads to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&file_stat(&fs::stat(path)?)))
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
        Self::within(CWD, path, OFlags::empty())
    }

    /// Opens a directory in another.
    pub(crate) fn within(above: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<Self> {
        let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| fs::openat(above, path, flags, Mode::empty()))?;
        let id = Id::of(&file_stat(&fs::fstat(&fd)?));
        Ok(Self { fd, id })
    }
}

#[derive(Debug)]
pub(crate) struct Directory {
    /// `None` while it is closed because there are many below it.
    fd: Option<Arc<OwnedFd>>,
    id: Id,
    /// Length of its whole path.
    len: usize,
    listing: Listing,
    /// What its files are, where that was looked at ahead of the walk.
    stats: Vec<Option<FileStat>>,
    /// Up to where in the listing directories were looked for to read them ahead.
    ahead: usize,
}

impl Directory {
    /// A directory where the walk now is.
    pub(crate) fn new(opened: Opened, listing: Listing, place: &Place) -> Self {
        Self::found(Found { opened, listing, stats: Vec::new() }, place)
    }

    /// A directory where the walk now is, which was read ahead of it.
    pub(crate) fn found(Found { opened, listing, stats }: Found, place: &Place) -> Self {
        Self { fd: Some(Arc::new(opened.fd)), id: opened.id, len: place.len(), listing, stats, ahead: 0 }
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
    pub(crate) fn next(&mut self, place: &mut Place) -> io::Result<Option<FileType>> {
        self.listing.next(place.enter(self.len))
    }

    /// What the file of the name where the walk is was, if it was looked at ahead.
    pub(crate) fn looked_at(&self) -> Option<FileStat> {
        *self.stats.get(self.listing.place()?)?
    }

    /// The place of the name where the walk is, by which it is asked for ahead.
    pub(crate) fn index(&self) -> Option<usize> {
        self.listing.place()
    }

    /// The next directory in it to which the walk has not come and which was not given before, and its place.
    pub(crate) fn next_ahead(&mut self, place: &Place) -> Option<(usize, Wanted)> {
        // The walk is at the last that was given.
        self.ahead = self.ahead.max(self.listing.place().map_or(0, |walk| walk + 1));
        loop {
            let index = self.ahead;
            let (name, kind) = self.listing.get(index)?;
            self.ahead += 1;
            if kind == FileType::Directory {
                let mut relative = place.relative_of(self.len);
                let start = relative.len();
                relative.extend_from_slice(name);
                let above = Arc::clone(self.handle(place).ok()?);
                return Some((index, Wanted { above, relative, name: start }));
            }
        }
    }

    /// Gives its descriptor back; it is opened again when it is needed.
    pub(crate) fn close(&mut self) {
        self.fd = None;
    }

    /// Looks at the name in it where the walk is.
    pub(crate) fn stat(&mut self, place: &Place, flags: AtFlags) -> io::Result<Stat> {
        Ok(fs::statat(self.handle(place)?.as_fd(), place.name(), flags)?)
    }

    /// Opens the directory of the name in it where the walk is.
    pub(crate) fn open(&mut self, place: &Place, flags: OFlags) -> io::Result<Opened> {
        Opened::within(self.handle(place)?.as_fd(), place.name(), flags)
    }

    fn handle(&mut self, place: &Place) -> io::Result<&Arc<OwnedFd>> {
        let fd = match self.fd.take() {
            Some(fd) => fd,
            None => Arc::new(self.reopen(self.path(place))?),
        };
        Ok(self.fd.insert(fd))
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

/// What a backup knows of a file.
pub(crate) fn file_stat(stat: &Stat) -> FileStat {
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
