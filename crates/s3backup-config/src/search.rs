//! Finds the file, and refuses one that somebody else could have written.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{Error, Request};

/// Where a file of the whole system is.
const SYSTEM: &str = "/etc/s3backup/backup.toml";

/// No configuration is as large as this, but a file that was named by mistake may be, or have no end.
const MAX_BYTES: u64 = 1 << 20;

/// A file that was read.
pub(crate) struct Found {
    /// As a person knows it: as it was named, or `backup.toml` of the current folder.
    pub(crate) shown: PathBuf,
    /// The same, absolute if the current folder is.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Found {
    /// The folder from which the paths in the file count.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// Reads the file that the request names, or else the first that there is.
pub(crate) fn find(request: &Request) -> Result<Found, Error> {
    let variable = request.variable("BACKUP_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(shown) = request.file.clone().or(variable) {
        let path = plain(&request.current_dir.join(&shown));
        return match open(&path) {
            Ok((file, _)) => read(&file, shown, path),
            Err(cause) => Err(Error::Read { path: shown, cause }),
        };
    }
    let places = places(request);
    for (shown, path) in &places {
        match open(path) {
            Ok((file, metadata)) => {
                check_owner(shown, &metadata, request.user)?;
                return read(&file, shown.clone(), path.clone());
            }
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            // A file that is there but cannot be read must not silently give way to the next one.
            Err(cause) => return Err(Error::Read { path: shown.clone(), cause }),
        }
    }
    Err(Error::NotFound { places: places.into_iter().map(|(_, path)| path).collect() })
}

/// The path without `.`, as people write paths.
pub(crate) fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

fn places(request: &Request) -> Vec<(PathBuf, PathBuf)> {
    let user = request
        .folder("XDG_CONFIG_HOME")
        .or_else(|| request.folder("HOME").map(|home| home.join(".config")))
        .map(|folder| folder.join("s3backup/backup.toml"));
    let here = (PathBuf::from("backup.toml"), request.current_dir.join("backup.toml"));
    let others = user.into_iter().chain([PathBuf::from(SYSTEM)]);
    std::iter::once(here).chain(others.map(|path| (path.clone(), path))).collect()
}

/// The metadata is that of the open file, so that nothing can be put in its place after the check.
fn open(path: &Path) -> std::io::Result<(File, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    Ok((file, metadata))
}

fn read(file: &File, shown: PathBuf, path: PathBuf) -> Result<Found, Error> {
    let mut bytes = Vec::new();
    match file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > MAX_BYTES => {
            Err(Error::Read { path: shown, cause: ErrorKind::FileTooLarge.into() })
        }
        Ok(_) => Ok(Found { shown, path, bytes }),
        Err(cause) => Err(Error::Read { path: shown, cause }),
    }
}

/// Whether nobody but root and the caller can have written a configuration, which can run programs.
///
/// A file that is found without being named is not read otherwise; for one that is named, this is only good to know.
///
/// # Errors
/// [`Error::Untrusted`] says who else can, and the command that mends it; [`Error::Read`] if the file is not there.
pub fn check_writers(path: &Path, user: u32) -> Result<(), Error> {
    let (_, metadata) = open(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
    check_owner(path, &metadata, user)
}

fn check_owner(shown: &Path, metadata: &Metadata, user: u32) -> Result<(), Error> {
    let untrusted = |why: String, command: &str| Error::Untrusted {
        path: shown.to_owned(),
        why,
        mend: format!("`{command} {}`", shown.display()),
    };
    if metadata.uid() != 0 && metadata.uid() != user {
        let why = format!("it belongs to user {}, who is neither root nor the caller", metadata.uid());
        return Err(untrusted(why, &format!("chown {user}")));
    }
    if metadata.mode() & 0o022 != 0 {
        let why = format!("others than its owner can write it (mode {:03o})", metadata.mode() & 0o777);
        return Err(untrusted(why, "chmod go-w"));
    }
    Ok(())
}
