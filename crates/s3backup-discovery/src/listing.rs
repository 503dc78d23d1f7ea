//! The names in one directory, read as they are asked for.

use std::ffi::OsString;
use std::fs::{self, FileType, ReadDir};
use std::io;
use std::path::Path;
use std::vec;

/// One name in a directory.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) name: OsString,
    /// Where the listing itself says it; some file systems do not.
    pub(crate) file_type: Option<FileType>,
}

/// The rest of a directory's names.
#[derive(Debug)]
pub(crate) enum Listing {
    /// Read from the open directory.
    Open(ReadDir),
    /// Held in memory, with the directory closed.
    Held(vec::IntoIter<io::Result<Child>>),
}

impl Listing {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::read_dir(path).map(Self::Open)
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Reads the remaining names and closes the directory.
    pub(crate) fn hold(&mut self) {
        let rest: Vec<_> = self.by_ref().collect();
        *self = Self::Held(rest.into_iter());
    }
}

impl Iterator for Listing {
    type Item = io::Result<Child>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            // A `DirEntry` would keep its directory open for as long as it lives, hence the copy.
            Self::Open(names) => names.next().map(|entry| {
                entry.map(|entry| Child { name: entry.file_name(), file_type: entry.file_type().ok() })
            }),
            Self::Held(names) => names.next(),
        }
    }
}
