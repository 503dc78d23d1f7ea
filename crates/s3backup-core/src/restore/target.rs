//! The directory that is restored into: nothing outside of it is ever touched.
//!
//! Keys and paths come from a bucket that somebody else may write to, and links may be planted in the directory. So every
//! step below it is made from the directory above, by descriptor, and no step follows a link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// Permissions that are restored. Who restores a program of root's must not get a program that runs as root.
const PERMISSIONS: u32 = 0o777;

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Target {
    root: Arc<OwnedFd>,
}

/// What is under a name.
pub(super) enum There {
    Nothing,
    /// A regular file of this size and modification time.
    File {
        size: u64,
        mtime_ns: i64,
    },
    /// Something else.
    Other,
}

impl Target {
    /// Opens the directory, and makes it where it is not there. It may itself be a link: who asked for it chose it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { root: Arc::new(root) })
    }

    /// What is under a name below the directory. `None` where not even its folder is there.
    pub(super) fn look(&self, parts: &[Vec<u8>]) -> io::Result<There> {
        match self.folder(parts, false) {
            Ok((folder, name)) => look(&folder, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(There::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Begins a file: an empty one beside its place, without its name.
    pub(super) fn begin(&self, parts: &[Vec<u8>], random: u64) -> io::Result<Begun> {
        let (folder, name) = self.folder(parts, true)?;
        let temporary = format!(".s3backup-restore-{random:016x}");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let (file, name) = (Arc::new(File::from(file)), name.to_vec());
        Ok(Begun { folder, temporary: Some(temporary), name, file })
    }

    /// Makes all of it durable: the names as well as the bytes.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fs::syncfs(&*self.root)?)
    }

    /// The folder of a name, made where it is not there, and the name in it.
    fn folder<'p>(&self, parts: &'p [Vec<u8>], makes: bool) -> io::Result<(OwnedFd, &'p [u8])> {
        let (name, folders) = parts.split_last().ok_or(Errno::INVAL)?;
        let mut folder = self.root.try_clone()?;
        for part in folders {
            let part = OsStr::from_bytes(part);
            if makes {
                match fs::mkdirat(&folder, part, Mode::from_raw_mode(PERMISSIONS)) {
                    Err(Errno::EXIST) | Ok(()) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = fs::openat(&folder, part, flags, Mode::empty())?;
        }
        Ok((folder, name))
    }
}

fn look(folder: &OwnedFd, name: &[u8]) -> io::Result<There> {
    let stat = match fs::statat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(There::Nothing),
        stat => stat?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(There::Other);
    }
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Ok(There::File { size, mtime_ns: s3backup_model::unix_ns(stat.st_mtime, nanoseconds) })
}

/// A file that has no name yet. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Begun {
    folder: OwnedFd,
    /// Until it has its name.
    temporary: Option<String>,
    name: Vec<u8>,
    pub(super) file: Arc<File>,
}

impl Begun {
    /// Gives the file its times, its permissions and, once it is on disk, its name.
    ///
    /// Errors with [`io::ErrorKind::AlreadyExists`] when something has the name by now and `overwrite` is not set.
    pub(super) fn finish(mut self, mtime_ns: i64, mode: u32, overwrite: bool) -> io::Result<()> {
        fs::fchmod(&*self.file, Mode::from_raw_mode(mode & PERMISSIONS))?;
        self.file.set_modified(time(mtime_ns))?;
        self.file.sync_all()?;
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let name = OsStr::from_bytes(&self.name);
        if overwrite {
            fs::renameat(&self.folder, temporary, &self.folder, name)?;
        } else {
            let flags = RenameFlags::NOREPLACE;
            match fs::renameat_with(&self.folder, temporary, &self.folder, name, flags) {
                // Not every file system knows the flag; a link never replaces anything either.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    fs::linkat(&self.folder, temporary, &self.folder, name, AtFlags::empty())?;
                    fs::unlinkat(&self.folder, temporary, AtFlags::empty())?;
                }
                renamed => renamed?,
            }
        }
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What is left otherwise is a file whose name says what it is.
            let _ = fs::unlinkat(&self.folder, temporary, AtFlags::empty());
        }
    }
}

fn time(mtime_ns: i64) -> SystemTime {
    let since = Duration::from_nanos(mtime_ns.unsigned_abs());
    if mtime_ns < 0 { SystemTime::UNIX_EPOCH - since } else { SystemTime::UNIX_EPOCH + since }
}
