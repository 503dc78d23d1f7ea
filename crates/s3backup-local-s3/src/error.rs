//! What can go wrong when a server is started.
//!
//! Errors of single requests are answers on the wire, in the way of S3, and do not pass through here.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a [`LocalS3`](crate::LocalS3) could not be started.
///
/// `Display` says what was being done; the cause is in [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken or not allowed.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// A file or folder of the store could not be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Another server, in this process or another, has the folder open.
    #[error("{} is in use by another server", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder was written by a version of this crate whose format this one does not know.
    #[error("{} has format {found}, this version reads format {supported}", path.display())]
    Format {
        /// The journal of the folder.
        path: PathBuf,
        /// The format found in it.
        found: u32,
        /// The format that this version reads and writes.
        supported: u32,
    },
    /// The name breaks the rules for bucket names: 3 to 63 of `a-z 0-9 . -`.
    #[error("{name:?} is not a bucket name")]
    BucketName {
        /// The name given.
        name: String,
    },
    /// The system gave no random bytes, so no credentials could be made.
    #[error("the system gives no random numbers")]
    Random {
        /// What the system answered.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: an [`Error::Io`] that names the path.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
