//! What discovery found.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One regular file in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which of the job's sources it was found in, counted from 0.
    pub source: usize,
    /// The source's directory, shared by all of its entries.
    pub root: Arc<Path>,
    /// Path below `root`.
    pub relative: PathBuf,
    /// What the file system said of it during the walk.
    pub stat: FileStat,
}

impl Entry {
    /// The whole local path.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.relative)
    }
}

/// What the file system says of a file. Two equal values mean that the file was, as far as it can be seen from
/// outside, not written in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Length in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since the Unix epoch; negative before it.
    pub mtime_ns: i64,
    /// Last change of the inode, nanoseconds since the Unix epoch.
    pub ctime_ns: i64,
    /// Permission and type bits as `st_mode` has them.
    pub mode: u32,
    /// Inode number.
    pub inode: u64,
    /// Device that the inode lives on.
    pub device: u64,
}

impl From<&Metadata> for FileStat {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            mtime_ns: unix_ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: unix_ns(metadata.ctime(), metadata.ctime_nsec()),
            mode: metadata.mode(),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

/// Nanoseconds since the Unix epoch of a time as file systems give it. Saturates outside of the years 1677 to 2262, which
/// some file systems can store.
pub fn unix_ns(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_do_not_fit_saturate() {
        assert_eq!(unix_ns(-1, 999_999_999), -1);
        assert_eq!(unix_ns(i64::MAX, 0), i64::MAX);
        assert_eq!(unix_ns(i64::MIN, 0), i64::MIN);
    }
}
