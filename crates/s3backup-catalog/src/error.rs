//! What can go wrong, told so that a person knows what to do.

use std::io;
use std::path::PathBuf;

use s3backup_model::Key;

/// A cause from below this crate.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failure of this crate.
///
/// `Display` says what happened, to what, and what to do; the cause is in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The catalog was made by a newer version of s3backup. Nothing in it was touched.
    #[error(
        "{} was written by a newer version of s3backup (schema {found}, this version knows {known}): use that version, or another state directory",
        path.display()
    )]
    Newer {
        /// The catalog.
        path: PathBuf,
        /// Version of its schema.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// The file is no catalog, or is damaged.
    #[error(
        "{} is not a catalog that can be used ({detail}): move it away and make it again from the bucket with `backup status --rebuild`",
        path.display()
    )]
    Corrupt {
        /// The catalog.
        path: PathBuf,
        /// What was found.
        detail: String,
        /// What `SQLite` says of it, where it was `SQLite` that noticed.
        #[source]
        cause: Option<Cause>,
    },
    /// Another process has the job.
    #[error("the job is locked by {holder} ({})", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who has it, for a person.
        holder: String,
    },
    /// Another process wrote to the catalog for longer than this one waits.
    #[error("{} is being written by another process", path.display())]
    Busy {
        /// The catalog.
        path: PathBuf,
    },
    /// A record that must not be stored. Nothing of its batch was.
    #[error("a record was not stored: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: String,
    },
    /// A file that was gone cannot be taken for present again: its object holds another file by now.
    #[error("the object {key} belongs to another file by now")]
    KeyTaken {
        /// The key that both have.
        key: Key,
    },
    /// There is no note of an upload that was to be changed.
    #[error("no upload of {key} is noted")]
    NoUpload {
        /// Its key.
        key: Key,
    },
    /// A file or directory of the catalog or the lock could not be made or read.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `create`, `open`, `lock` or `write`.
        action: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// `SQLite` could not do its work: the disk is full, or the file cannot be opened or written.
    #[error("cannot use the catalog {}", path.display())]
    Sqlite {
        /// The catalog.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Cause,
    },
}

impl Error {
    /// Whether the catalog itself is beyond use, so that one made from the bucket must take its place.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// Whether another process has the job.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// Whether a newer version of s3backup made the catalog.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }
}
