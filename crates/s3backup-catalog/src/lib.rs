//! Remembers what a backup job knows: its files, runs, due times and open multipart uploads, in one `SQLite` file.
//!
//! A [`Catalog`] belongs to one job on one machine and lies on a local disk. It says which files need not be looked at again,
//! what the bucket should hold, and what is not yet in a manifest. The bucket is the truth: a catalog that is lost or
//! damaged is made again from it. A [`JobLock`] sees to it that one process at a time works on the job; others may read
//! the catalog meanwhile, and tell of troubles and deliver alerts.
//!
//! What this crate does *not* do: it never asks the bucket or the file system whether what it holds is still so, it
//! decides nothing, and it starts no thread. All of it blocks, so async callers use it on blocking threads. Its memory
//! does not grow with the number of files: what does is read and written by pages.
//!
//! ```
//! use s3backup_catalog::{Catalog, FileRow, FileState, Hints, JobLock};
//! use s3backup_model::{Key, RunId};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("telemetry");
//! let _lock = JobLock::acquire(&dir, "backup run")?;
//! let mut catalog = Catalog::open(&dir.join("catalog.db"))?;
//! let destination = catalog.destination("", "fleet-backup", "trips")?;
//! let source = catalog.source(destination, "", "/data/trips")?;
//! catalog.put_files(&[FileRow {
//!     source,
//!     path: b"vehicle-1/trip.json".to_vec(),
//!     size: 2,
//!     mtime_ns: 1_795_431_600_000_000_000,
//!     mode: 0o100_644,
//!     hints: Some(Hints { ctime_ns: 1_795_431_600_000_000_000, inode: 42 }),
//!     state: FileState::Present,
//!     key: Key::for_path("trips", b"vehicle-1/trip.json")?,
//!     crc64nvme: "AAECAwQFBgc=".to_owned(),
//!     stored_size: 2,
//!     stored_checksum: None,
//!     etag: "99914b932bd37a50b983c5e7c90ae93b".to_owned(),
//!     version_id: None,
//!     encoding: "none".to_owned(),
//!     run: RunId::new(chrono::DateTime::UNIX_EPOCH, 7),
//! }])?;
//!
//! // What is known comes in pages, in the order of a walk that sorts names by their bytes.
//! let (mut page, mut after) = (Vec::new(), None);
//! loop {
//!     catalog.known(source, after.as_deref(), 1024, &mut page)?;
//!     let Some(last) = page.last() else { break };
//!     after = Some(last.path.clone());
//!     assert_eq!(page[0].path, b"vehicle-1/trip.json");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod catalog;
mod error;
mod lock;
mod rows;
mod sql;
mod telling;

pub use catalog::Catalog;
pub use error::Error;
pub use lock::JobLock;
pub use rows::{
    BegunUpload, Deferred, DestinationId, DueRow, FileRow, FileState, Hints, Known, Listed, RunRow, SourceId,
    SourceRow, UploadRow, VersionRow,
};
pub use telling::{AlertForm, AlertRow, AlertsWaiting, NewAlert, Settled, Telling, TroubleRow};
