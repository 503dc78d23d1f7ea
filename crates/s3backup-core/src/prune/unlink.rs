//! Removing a local file, if it is still the one that is known.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use s3backup_catalog::FileRow;

/// Why a file was left.
pub(super) type Unfit = String;

/// Whether the file below `root` is still exactly the one that the row knows. Never follows a symbolic link below `root`.
pub(super) fn check(root: &Path, row: &FileRow) -> Result<(), Unfit> {
    let (parent, name) = open_parent(root, &row.path)?;
    compare(&parent, name, row)
}

/// Removes the file if it still is. Between looking and removing nothing else happens; who replaces it in that very moment,
/// by another file of this name, loses that one.
pub(super) fn remove(root: &Path, row: &FileRow) -> Result<(), Unfit> {
    let (parent, name) = open_parent(root, &row.path)?;
    compare(&parent, name, row)?;
    fs::unlinkat(&parent, name, AtFlags::empty())
        .map_err(|error| format!("it cannot be removed: {}", io::Error::from(error)))
}

/// Opens the directory of the file, one name at a time.
fn open_parent<'a>(root: &Path, relative: &'a [u8]) -> Result<(OwnedFd, &'a OsStr), Unfit> {
    let relative = Path::new(OsStr::from_bytes(relative));
    let name = relative.file_name().ok_or("its path has no name")?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut parent = retry_on_intr(|| fs::openat(CWD, root, flags, Mode::empty())).map_err(unreachable)?;
    for component in relative.parent().into_iter().flat_map(Path::components) {
        let Component::Normal(name) = component else {
            return Err("its path leads out of the source".to_owned());
        };
        parent = retry_on_intr(|| fs::openat(&parent, name, flags | OFlags::NOFOLLOW, Mode::empty()))
            .map_err(unreachable)?;
    }
    Ok((parent, name))
}

fn unreachable(error: Errno) -> Unfit {
    match error {
        Errno::NOENT => "it is not there any more".to_owned(),
        // A symbolic link is no directory for whoever does not follow it.
        Errno::LOOP | Errno::NOTDIR => "a directory above it is a symbolic link, or none any more".to_owned(),
        error => format!("its directory cannot be opened: {}", io::Error::from(error)),
    }
}

fn compare(parent: &OwnedFd, name: &OsStr, row: &FileRow) -> Result<(), Unfit> {
    let Some(hints) = row.hints else {
        return Err("no run has looked at it since the catalog was made".to_owned());
    };
    let stat = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| match error {
        Errno::NOENT => "it is not there any more".to_owned(),
        error => format!("it cannot be looked at: {}", io::Error::from(error)),
    })?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is no regular file any more".to_owned());
    }
    let is_same = u64::try_from(stat.st_size) == Ok(row.size)
        && nanoseconds(stat.st_mtime, stat.st_mtime_nsec) == row.mtime_ns
        && nanoseconds(stat.st_ctime, stat.st_ctime_nsec) == hints.ctime_ns
        && stat.st_ino == hints.inode
        && stat.st_mode == row.mode;
    if is_same { Ok(()) } else { Err("it changed since the last run".to_owned()) }
}

fn nanoseconds(seconds: i64, nanoseconds: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.try_into().unwrap_or_default())
}
