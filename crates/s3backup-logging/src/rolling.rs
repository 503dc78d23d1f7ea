//! Appends lines to the file of their date and rotates it at its maximal size, beside other
//! processes that do the same.
//!
//! Nothing is remembered about a file that another process could change: before each line the path
//! is looked at, which tells in one call how large the file is and whether it is still the file
//! that is open here. The lock is held on the log file itself. Whoever gets it and then still finds
//! the path leading to the locked file is the only one to rotate it, because a rotation ends with
//! the rename of that very file.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use crate::names::{self, FileNames};

/// How often a file may be replaced under our hands before one line is written. Other processes
/// that rotate explain one or two; more takes a size of a line or so, and many processes.
const MAX_REOPENS: u32 = 16;

/// When files are rotated and removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_size_bytes: u64,
    pub(crate) keep_files: u32,
    /// Heeded by the [`retention`](crate::retention).
    pub(crate) keep_days: u32,
}

/// Something that could not be done to a file.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// What could not be done, as part of a sentence.
    pub(crate) operation: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

/// Names the operation and the path of an I/O error.
pub(crate) fn trouble(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Trouble {
    move |error| Trouble { operation, path: path.to_owned(), error }
}

/// One kind of log file of a job through the days.
pub(crate) struct RollingFile {
    names: FileNames,
    limits: Limits,
    open: Option<OpenFile>,
}

struct OpenFile {
    file: File,
    path: PathBuf,
    id: FileId,
    /// Whether the last write ended in the middle of a line.
    torn: bool,
}

enum Rotation {
    /// The path is free, or leads to another file by now.
    Gone,
    /// Another process is about it; the file may grow a little meanwhile.
    Busy,
}

impl RollingFile {
    pub(crate) fn new(names: FileNames, limits: Limits) -> Self {
        Self { names, limits, open: None }
    }

    /// Appends `line` (one or more whole lines) to the file of `date` in a single write.
    ///
    /// An error means that the line is not in the file. That a file could not be
    /// rotated is given to `complain`: it must not cost a line.
    pub(crate) fn append(
        &mut self,
        date: NaiveDate,
        line: &[u8],
        complain: &mut dyn FnMut(&Trouble),
    ) -> Result<(), Trouble> {
        let path = self.names.current(date);
        let mut open = self.file_with_room(&path, line, complain)?;
        let written = open.write(line);
        self.open = Some(open);
        written.map_err(trouble("written", &path))
    }

    /// The file that `path` leads to, after rotating it if `line` does not fit.
    fn file_with_room(
        &mut self,
        path: &Path,
        line: &[u8],
        complain: &mut dyn FnMut(&Trouble),
    ) -> Result<OpenFile, Trouble> {
        for _ in 0..MAX_REOPENS {
            let open = match self.open.take_if(|open| open.path == path) {
                Some(open) => open,
                None => self.open_file(path)?,
            };
            let Ok(on_disk) = fs::metadata(path) else { continue };
            if file_id(&on_disk) != open.id {
                continue;
            }
            if !self.is_full(&on_disk, line) {
                return Ok(open);
            }
            match self.rotate(&open, line) {
                Ok(Rotation::Gone) => {}
                Ok(Rotation::Busy) => return Ok(open),
                Err(problem) => {
                    // A file that is too large is better than a line that is lost.
                    complain(&problem);
                    return Ok(open);
                }
            }
        }
        // Even if it is rotated away at once, what is written to it is kept.
        self.open_file(path)
    }

    /// Opens the file for appending; makes the directory if it is missing or has gone.
    fn open_file(&self, path: &Path) -> Result<OpenFile, Trouble> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        let opened = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.names.dir()).map_err(trouble("created", self.names.dir()))?;
                options.open(path)
            }
            opened => opened,
        };
        let file = opened.map_err(trouble("opened", path))?;
        let id = file_id(&file.metadata().map_err(trouble("examined", path))?);
        Ok(OpenFile { file, path: path.to_owned(), id, torn: false })
    }

    fn is_full(&self, on_disk: &Metadata, line: &[u8]) -> bool {
        let size = on_disk.len();
        let limit = self.limits.max_size_bytes;
        // What is not a regular file has no size that a rotation would change.
        on_disk.is_file() && limit > 0 && size > 0 && size.saturating_add(line.len() as u64) > limit
    }

    /// Moves the open file, too full for `line`, to `.1`, after moving `.1` to `.2` and so on.
    fn rotate(&self, open: &OpenFile, line: &[u8]) -> Result<Rotation, Trouble> {
        match open.file.try_lock() {
            // A file system without locks: a race between two rotations only makes a file short,
            // but without rotation the disk would fill.
            Ok(()) | Err(TryLockError::Error(_)) => {}
            // Waiting would let a stopped process stop the log of all the others.
            Err(TryLockError::WouldBlock) => return Ok(Rotation::Busy),
        }
        let rotated = self.rotate_locked(open, line);
        // Explicitly, since a child process just being started may hold a copy of the handle. An
        // error would say that there was no lock.
        let _ = open.file.unlock();
        rotated
    }

    fn rotate_locked(&self, open: &OpenFile, line: &[u8]) -> Result<Rotation, Trouble> {
        let path = &open.path;
        let still_full = fs::metadata(path)
            .is_ok_and(|on_disk| file_id(&on_disk) == open.id && self.is_full(&on_disk, line));
        if !still_full {
            return Ok(Rotation::Gone);
        }
        if self.limits.keep_files == 0 {
            fs::remove_file(path).map_err(trouble("removed", path))?;
            return Ok(Rotation::Gone);
        }
        // Only up to the first free number: the chain has a gap if a rotation was interrupted, and
        // keep_files may be any number.
        let free = (1..self.limits.keep_files)
            .find(|number| fs::symlink_metadata(names::rotated(path, *number)).is_err())
            .unwrap_or(self.limits.keep_files);
        for number in (1..free).rev() {
            let from = names::rotated(path, number);
            fs::rename(&from, names::rotated(path, number + 1)).map_err(trouble("rotated", &from))?;
        }
        fs::rename(path, names::rotated(path, 1)).map_err(trouble("rotated", path))?;
        Ok(Rotation::Gone)
    }
}

impl OpenFile {
    /// Writes in one call; only if the disk takes a part of it are there more.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        // What a full disk left of an earlier line must not become the start of this one.
        let repaired = self.torn.then(|| [b"\n", line].concat());
        let mut rest = repaired.as_deref().unwrap_or(line);
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = rest[..written].last() != Some(&b'\n');
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What tells one file from another, whatever its name.
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(metadata: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

/// Elsewhere there is no stable way to ask: a log directory is for one process there.
#[cfg(not(unix))]
fn file_id(_metadata: &Metadata) -> FileId {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "half a li").unwrap();
        let limits = Limits { max_size_bytes: 0, keep_files: 0, keep_days: 0 };
        let names = FileNames::new(dir.path().to_owned(), "info", "job");
        let mut open = RollingFile::new(names, limits).open_file(&path).unwrap();
        open.torn = true;
        open.write(b"one\n").unwrap();
        open.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "half a li\none\ntwo\n");
    }
}
