//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;

/// What the names of files that are not whole end with.
const SUFFIX: &str = ".tmp";

/// A file that appears under its name only when it is whole and on the disk; what was there before is replaced at once.
///
/// Until then it has a name that begins with a dot and ends with `.tmp`. Dropped, it is removed. What is left of a process that
/// was killed is removed when the same file is made again.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    folder: PathBuf,
    temporary: NamedTempFile,
}

impl AtomicFile {
    /// Begins a file, and makes its folder if need be.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::DiskFull`].
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.");
        remove_left(&folder, &prefix)?;
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(SUFFIX)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(&folder)
            .map_err(Error::io("create", &folder))?;
        // Says that it belongs to a living process; the lock ends with the process.
        temporary.as_file().lock_shared().map_err(Error::io("lock", temporary.path()))?;
        Ok(Self { path: path.to_owned(), folder, temporary })
    }

    /// Puts it on the disk, and then under its name.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::DiskFull`]; what was there before is then still there.
    pub(crate) fn commit(self) -> Result<(), Error> {
        let Self { path, folder, temporary } = self;
        temporary.as_file().sync_all().map_err(Error::io("write", &path))?;
        temporary.persist(&path).map_err(|error| Error::io("replace", &path)(error.error))?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write", &folder))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}

/// Removes what processes that were killed left of the file.
fn remove_left(folder: &Path, prefix: &str) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(SUFFIX));
        if is_ours && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file that may be gone.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_the_old_one_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/fleet.parquet");
        for text in ["first", "second"] {
            let mut file = AtomicFile::create(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert_ne!(fs::read_to_string(&path).ok().as_deref(), Some(text));
            file.commit().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        drop(AtomicFile::create(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(names(path.parent().unwrap()), ["fleet.parquet"]);
    }

    #[test]
    fn what_the_dead_left_is_removed_and_what_the_living_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(folder.path().join(".a.json.x1y2.tmp"), "left").unwrap();
        fs::write(folder.path().join(".b.json.x1y2.tmp"), "of another").unwrap();
        let living = AtomicFile::create(&path).unwrap();
        AtomicFile::create(&path).unwrap().commit().unwrap();
        living.commit().unwrap();
        assert_eq!(names(folder.path()), [".b.json.x1y2.tmp", "a.json"]);
    }
}
