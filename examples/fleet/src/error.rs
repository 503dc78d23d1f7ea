//! What ends a command.

use std::io;
use std::path::PathBuf;

use chrono::NaiveDate;
use parquet::errors::ParquetError;

/// What ends a command. A file of a trip that cannot be used is none of these: it is [set aside](crate::aside) and named.
///
/// Results appear under their names only when they are whole, so after any of these the results from before are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `create`, `write`, …
        action: &'static str,
        /// The file or folder that it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The disk took no more.
    #[error(
        "cannot write {}, because its disk is full or its quota used up; make room there, or choose another folder, and run again: nothing half written is left under its name",
        path.display()
    )]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A table could not be made.
    #[error("cannot make the table {}", path.display())]
    Table {
        /// Its file.
        path: PathBuf,
        /// What the library says.
        source: ParquetError,
    },

    /// `fleet.toml` cannot be used.
    #[error("{}: {problem}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, where, and what is possible.
        problem: String,
    },

    /// The file of the zones cannot be used.
    #[error("{}: {problem}", path.display())]
    Zones {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, where, and what is possible.
        problem: String,
    },

    /// The digest of a part cannot be used.
    #[error("{} cannot be used: {problem}; run the part again", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The file of the truth cannot be used.
    #[error("{}: {problem}", path.display())]
    Truth {
        /// The file.
        path: PathBuf,
        /// What is wrong with which line, and what to do.
        problem: String,
    },

    /// The folder of the data cannot be searched.
    #[error("the trips in {} cannot be found: {problem}; --data names another folder", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// What happened, why, and what to do.
        problem: String,
    },

    /// Parts of a day are not there, so that they cannot be put together.
    #[error(
        "the parts of {day} cannot be put together, because these files are missing: {}; run `fleet run --part` for them, then merge again",
        named(missing)
    )]
    MissingParts {
        /// The day.
        day: NaiveDate,
        /// The files that are missing.
        missing: Vec<PathBuf>,
    },

    /// The settings of the upload cannot be used.
    #[error("the settings of the upload, which --backup-config names")]
    BackupSettings(#[source] s3backup_config::Error),

    /// What is to be uploaded is in no source.
    #[error(
        "{} backs up no folder that holds {}; add `[[source]]` with `path = \"{}\"` to it, or leave the upload out with --no-upload",
        settings.display(), folder.display(), folder.display()
    )]
    NoSource {
        /// The `backup.toml`.
        settings: PathBuf,
        /// The folder of data or results.
        folder: PathBuf,
    },

    /// The embedded server could not be started.
    #[error("the embedded S3 server")]
    Server(#[source] s3backup_local_s3::Error),

    /// The upload could not begin.
    #[error("the upload")]
    Backup(#[source] s3backup_core::Error),

    /// It was told to stop.
    #[error("interrupted; the results are as they were before, run again")]
    Interrupted,

    /// The program's threads could not be started, or one of them ended by itself.
    #[error(
        "a worker of the analysis is gone ({0}); this is a fault in the program or of a machine without room for threads, run again"
    )]
    Worker(String),
}

impl Error {
    /// For `map_err` on an I/O result: attaches what was tried on which path, and knows a full disk.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.into();
            if is_full(&source) { Self::DiskFull { path, source } } else { Self::Io { action, path, source } }
        }
    }

    /// For `map_err` on a result of the Parquet library, in which an error of the disk is wrapped.
    pub fn table(path: impl Into<PathBuf>) -> impl FnOnce(ParquetError) -> Self {
        move |source| {
            let path = path.into();
            match source {
                ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                    Ok(source) => Self::io("write", path)(*source),
                    Err(inner) => Self::Table { path, source: ParquetError::External(inner) },
                },
                source => Self::Table { path, source },
            }
        }
    }
}

/// Files for a person, the first few of many.
fn named(files: &[PathBuf]) -> String {
    const SHOWN: usize = 10;
    let mut text: Vec<_> = files.iter().take(SHOWN).map(|file| file.display().to_string()).collect();
    if files.len() > SHOWN {
        text.push(format!("and {} more", files.len() - SHOWN));
    }
    text.join(", ")
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> io::Error {
        io::Error::from(io::ErrorKind::StorageFull)
    }

    #[test]
    fn a_full_disk_is_known_wherever_it_is_met() {
        let wrapped = ParquetError::External(Box::new(full()));
        for error in [Error::io("write", "/r/x.parquet")(full()), Error::table("/r/x.parquet")(wrapped)] {
            assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("/r/x.parquet") && text.contains("make room"), "{text}");
        }
    }

    #[test]
    fn another_error_of_the_disk_keeps_its_cause() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::table("x")(ParquetError::External(Box::new(denied)));
        assert!(matches!(&error, Error::Io { action: "write", .. }), "{error:?}");
        let other = Error::table("x")(ParquetError::General("no".to_owned()));
        assert!(matches!(other, Error::Table { .. }));
    }
}
