//! The folder on disk and the index in memory, changed together.
//!
//! ```text
//! DIR/lock            held while a server has the folder open
//! DIR/journal.jsonl   every change; the only thing that names blobs
//! DIR/blobs/xx/…      the bytes of objects and parts; of a null store only those of control data
//! ```

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::Error;
use crate::blob::{self, Blob, BlobWriter};
use crate::checksum::{Algorithm, Hashers};
use crate::clock::Clock;
use crate::index::{Bucket, Index};
use crate::journal::{Journal, Record};
use crate::object::{Object, Upload};
use crate::receive::Expected;

/// The journal is rewritten when more than this many of its records, and more than half, are out of date.
const STALE_RECORDS: usize = 10_000;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Store {
    blobs: Arc<Path>,
    state: Mutex<State>,
    /// Whether data is thrown away.
    is_null: bool,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    index: Index,
    journal: Journal,
    /// `None` once closed: the folder may then belong to another server, and nothing may be written.
    lock: Option<FolderLock>,
}

impl Store {
    /// Opens the folder, making it if needed. Blocks.
    pub(crate) fn open(dir: &Path, is_null: bool, clock: Clock) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let lock = lock(dir)?;
        let mut index = Index::default();
        let path = dir.join("journal.jsonl");
        let mut journal = Journal::open(path.clone(), |record| {
            // What is unused is removed below, all at once.
            index.apply(record);
        })?;
        if is_stale(&journal, &index) {
            journal.rewrite(index.records()).map_err(Error::io(path))?;
        }
        let blobs = dir.join("blobs");
        let used: HashSet<u128> = index.blob_ids().collect();
        blob::remove_unused(&blobs, |id| used.contains(&id)).map_err(Error::io(&blobs))?;
        let state = Mutex::new(State { index, journal, lock: Some(lock) });
        Ok(Self { blobs: blobs.into(), state, is_null, clock })
    }

    /// What time it is, in seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Lets go of the folder. Writes that are still under way fail afterwards.
    pub(crate) fn close(&self) {
        self.state().lock = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the state half changed: a change is one call of `Index::apply`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of the blobs.
    pub(crate) fn blobs(&self) -> &Arc<Path> {
        &self.blobs
    }

    /// A writer for new bytes. Blocks.
    pub(crate) fn create_blob(&self, body: &Expected) -> io::Result<BlobWriter> {
        if !self.is_null || is_control_data(&body.key) {
            return BlobWriter::create(&self.blobs, Hashers::new(&body.algorithms));
        }
        let mut algorithms = body.algorithms.clone();
        if !algorithms.contains(&Algorithm::Crc64Nvme) {
            algorithms.push(Algorithm::Crc64Nvme);
        }
        let hashers = Hashers::new(&algorithms);
        let hashers = if body.needs_md5 { hashers } else { hashers.without_md5() };
        Ok(BlobWriter::to_nowhere(&body.key, hashers))
    }

    /// Looks into the index. `look` holds up every other request, so it copies what it needs and returns.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.state().index)
    }

    /// Looks into one bucket.
    pub(crate) fn read_bucket<T>(
        &self,
        bucket: &str,
        look: impl FnOnce(&Bucket) -> S3Result<T>,
    ) -> S3Result<T> {
        self.read(|index| look(find_bucket(index, bucket)?))
    }

    /// An object, or `NoSuchBucket`, or `NoSuchKey`, or `NoSuchVersion`.
    pub(crate) fn object(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Arc<Object>> {
        self.read_bucket(bucket, |bucket| {
            check_version(version)?;
            bucket.objects.get(key.as_bytes()).map(Arc::clone).ok_or_else(|| s3_error!(NoSuchKey))
        })
    }

    /// Looks at an open upload of a key, or answers `NoSuchUpload`.
    pub(crate) fn upload<T>(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        look: impl FnOnce(&Upload) -> T,
    ) -> S3Result<T> {
        self.read_bucket(bucket, |bucket| find_upload(bucket, key, upload_id).map(look))
    }

    /// Makes the change that `decide` asks for. Blocks for as long as it takes to append a line.
    ///
    /// Nothing else changes between the look that `decide` takes and the change, so conditions are checked there.
    pub(crate) fn change(&self, decide: impl FnOnce(&Index) -> S3Result<Option<Record>>) -> S3Result<()> {
        let mut state = self.state();
        if state.lock.is_none() {
            return Err(s3_error!(ServiceUnavailable, "the server is stopping"));
        }
        let Some(record) = decide(&state.index)? else { return Ok(()) };
        state.journal.append(&record).map_err(internal)?;
        new_blobs(&record).for_each(Blob::keep);
        for unused in state.index.apply(record) {
            unused.doom(&self.blobs);
        }
        let State { index, journal, .. } = &mut *state;
        if is_stale(journal, index) {
            // The change is made; that the journal stays long is no reason to say otherwise.
            let _ = journal.rewrite(index.records());
        }
        Ok(())
    }
}

/// Whether a backup reads the object's bytes again to know its own state, so that others cannot stand for them.
pub(crate) fn is_control_data(key: &str) -> bool {
    key.starts_with(".s3backup/") || key.contains("/.s3backup/")
}

/// The right to the folder.
#[derive(Debug)]
struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Explicitly, since a child process just being started may hold a copy of the handle. If it fails, the lock goes
        // with the last of these.
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<FolderLock, Error> {
    let path = dir.join("lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock(file)),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}

fn is_stale(journal: &Journal, index: &Index) -> bool {
    let stale = journal.records().saturating_sub(index.record_count());
    stale > STALE_RECORDS && stale > journal.records() / 2
}

fn new_blobs(record: &Record) -> impl Iterator<Item = &Blob> {
    let (object, part) = match record {
        Record::PutObject { object, .. } => (Some(object), None),
        Record::PutPart { part, .. } => (None, Some(part)),
        _ => (None, None),
    };
    let pieces = object.into_iter().flat_map(|object| &object.pieces).map(|piece| &*piece.blob);
    pieces.chain(part.map(|part| &*part.blob))
}

/// Without versioning an object has one version, which is named `null`; any other is `NoSuchVersion`.
///
/// So a client that has mistaken one object for another is not given, or does not remove, the wrong one.
pub(crate) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "The specified version does not exist.")),
    }
}

/// The bucket, or `NoSuchBucket`.
pub(crate) fn find_bucket<'a>(index: &'a Index, name: &str) -> S3Result<&'a Bucket> {
    index.buckets.get(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
}

/// The open upload, or `NoSuchUpload`.
pub(crate) fn find_upload<'a>(bucket: &'a Bucket, key: &str, upload_id: &str) -> S3Result<&'a Upload> {
    bucket.uploads.get(upload_id).filter(|upload| upload.key == key).ok_or_else(|| {
        s3_error!(NoSuchUpload, "The specified upload does not exist. It may have been aborted or completed.")
    })
}

/// An answer whose code is not among those that the protocol layer knows.
pub(crate) fn other_error(status: StatusCode, code: &'static str, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// The answer when the server itself fails.
pub(crate) fn internal(error: impl std::error::Error + Send + Sync + 'static) -> S3Error {
    S3Error::with_source(S3ErrorCode::InternalError, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), false, Clock::default()).unwrap();
        let create = |bucket: &str| Record::CreateBucket { bucket: bucket.into(), created: 7 };
        store.change(|_| Ok(Some(create("kept")))).unwrap();
        for _ in 0..STALE_RECORDS {
            store.change(|_| Ok(Some(create("gone")))).unwrap();
            store.change(|_| Ok(Some(Record::DeleteBucket { bucket: "gone".into() }))).unwrap();
        }
        assert!(store.state().journal.records() < STALE_RECORDS + 10);
        drop(store);
        let store = Store::open(dir.path(), false, Clock::default()).unwrap();
        let buckets = store.read(|index| index.buckets.keys().cloned().collect::<Vec<_>>());
        assert_eq!(buckets, ["kept"]);
    }

    #[test]
    fn a_closed_store_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), false, Clock::default()).unwrap();
        store.close();
        let other = Store::open(dir.path(), false, Clock::default()).unwrap();
        let create = Record::CreateBucket { bucket: "late".into(), created: 0 };
        assert!(store.change(|_| Ok(Some(create))).is_err());
        drop(other);
        let other = Store::open(dir.path(), false, Clock::default()).unwrap();
        assert_eq!(other.read(|index| index.buckets.len()), 0);
    }
}
