//! Where a walk is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The path of what is looked at: one buffer that every name is written into, since making a path for each file would
/// cost as much as asking the file system about it.
#[derive(Debug)]
pub(crate) struct Place {
    whole: Vec<u8>,
    /// Where the path below the source begins.
    below: usize,
    /// Where the last name begins.
    name: usize,
}

impl Place {
    pub(crate) fn new(root: &Path) -> Self {
        let mut place = Self { whole: root.as_os_str().as_bytes().to_vec(), below: 0, name: 0 };
        let root = place.whole.len();
        place.whole.push(b'/');
        place.enter(root);
        place.below = place.name;
        place.whole.truncate(root);
        place
    }

    /// Length of the whole path, to come back with.
    pub(crate) fn len(&self) -> usize {
        self.whole.len()
    }

    /// Goes back to the directory whose path has this length, to append a name in it to what is returned.
    pub(crate) fn enter(&mut self, directory: usize) -> &mut Vec<u8> {
        self.whole.truncate(directory);
        if self.whole.last().is_some_and(|&last| last != b'/') {
            self.whole.push(b'/');
        }
        self.name = self.whole.len();
        &mut self.whole
    }

    pub(crate) fn whole(&self) -> &Path {
        path(&self.whole)
    }

    /// The path of a directory on the way.
    pub(crate) fn directory(&self, len: usize) -> &Path {
        path(self.whole.get(..len).unwrap_or(&self.whole))
    }

    pub(crate) fn relative(&self) -> &Path {
        path(self.whole.get(self.below..).unwrap_or_default())
    }

    /// The path below the source of a directory on the way, with the slash behind it where there is one.
    pub(crate) fn relative_of(&self, len: usize) -> Vec<u8> {
        let mut relative = self.whole.get(self.below..len).unwrap_or_default().to_vec();
        if !relative.is_empty() {
            relative.push(b'/');
        }
        relative
    }

    pub(crate) fn name(&self) -> &Path {
        path(self.whole.get(self.name..).unwrap_or_default())
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
