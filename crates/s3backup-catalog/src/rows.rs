//! What the catalog takes and gives: one type for each kind of row.

use chrono::{DateTime, NaiveDate, Utc};
use s3backup_model::manifest::StoredChecksum;
use s3backup_model::{DueState, FileStat, Key, RunId, RunSummary};

/// A destination that the catalog knows: endpoint, bucket and prefix. Never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId(pub(crate) i64);

/// A source of a destination. Never given to another one, also when this one was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) i64);

/// A source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    /// What files name it by.
    pub id: SourceId,
    /// Its prefix template below the destination, which tells it apart.
    pub prefix: String,
    /// Its directory when it was last used, escaped as keys are.
    pub root: String,
}

/// What is held of a file for comparing it with the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Bytes of the path below the source, with `/` between the names.
    pub path: Vec<u8>,
    /// Length in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// `st_mode`.
    pub mode: u32,
    /// What else tells of a change; unknown for rows that were made from the bucket.
    pub hints: Option<Hints>,
    /// What is thought of it.
    pub state: FileState,
}

/// What tells of a change of a file beside its size, time and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// Last change of the inode, nanoseconds since the Unix epoch.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
}

/// What is thought of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileState {
    /// In the source, and proved to be in the bucket.
    Present,
    /// To be sent again: the bucket has not what it should.
    Doubtful,
    /// No longer in the source. The object stays and is no part of the state.
    Gone,
    /// Removed from the source by prune after proof. The object stays and belongs to the state.
    LocallyPruned,
}

impl FileState {
    /// Whether the file belongs to the state: what the bucket should hold and a restore gives back. All but
    /// [`FileState::Gone`] does.
    pub fn is_in_state(self) -> bool {
        self != Self::Gone
    }
}

/// All that is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// Where it was found.
    pub source: SourceId,
    /// Bytes of the path below the source, with `/` between the names. Not empty, and without zero bytes.
    pub path: Vec<u8>,
    /// Length in bytes, at most `i64::MAX`.
    pub size: u64,
    /// Last modification, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// `st_mode`.
    pub mode: u32,
    /// What else tells of a change; `None` for rows that are made from the bucket.
    pub hints: Option<Hints>,
    /// What is thought of it.
    pub state: FileState,
    /// Where its bytes are.
    pub key: Key,
    /// CRC64NVME of the file's own bytes, base64 as S3 writes it; empty where nobody ever computed it.
    pub crc64nvme: String,
    /// Length of the object in bytes, at most `i64::MAX`.
    pub stored_size: u64,
    /// The checksum that the server holds for the object.
    pub stored_checksum: Option<StoredChecksum>,
    /// The object's ETag, without quotes.
    pub etag: String,
    /// The object's version, where the bucket has versioning.
    pub version_id: Option<String>,
    /// How the object's bytes are made from the file's: `none`.
    pub encoding: String,
    /// The run that put the object.
    pub run: RunId,
}

/// A file that is to be sent later in the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// Where it was found.
    pub source: SourceId,
    /// Bytes of the path below the source.
    pub path: Vec<u8>,
    /// What the file system said of it.
    pub stat: FileStat,
}

/// What the manifests say of one object, or of one version of it where the bucket has versioning.
///
/// A run refers to it when it is not before [`VersionRow::put_run`] and before [`VersionRow::ended_run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// The object.
    pub key: Key,
    /// Its version, where the bucket had versioning when it was put.
    pub version_id: Option<String>,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its length in bytes, at most `i64::MAX`.
    pub size: u64,
    /// The run that put it.
    pub put_run: RunId,
    /// The run that replaced it, or found that its file is gone. A file that came back to the same object was never gone.
    pub ended_run: Option<RunId>,
}

/// Size in bytes and ETag of an object as the bucket lists it.
pub type Listed = (u64, String);

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// When it started, to the microsecond.
    pub started_at: DateTime<Utc>,
    /// How it ended; `None` when it was killed or goes on.
    pub summary: Option<RunSummary>,
}

/// A due time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRow {
    /// The due time, to the microsecond.
    pub at: DateTime<Utc>,
    /// The day that it belonged to in the schedule's zone.
    pub local_date: NaiveDate,
    /// IANA name of the zone that the schedule had then. It stays, whatever zone the schedule gets later.
    pub timezone: String,
    /// What became of it.
    pub state: DueState,
    /// The run that decided the state.
    pub run: Option<RunId>,
}

/// A multipart upload that was to be begun, and perhaps was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// The key of the object that it is to become.
    pub key: Key,
    /// The run that last worked on it.
    pub run: RunId,
    /// When it was to be begun, to the microsecond.
    pub intended_at: DateTime<Utc>,
    /// What is known of it once the server answered. While this is `None` there may be an upload in the bucket whose id
    /// nobody holds.
    pub begun: Option<BegunUpload>,
}

/// A multipart upload that the server began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunUpload {
    /// The server's name for it.
    pub upload_id: String,
    /// Length of its parts in bytes, at most `i64::MAX`.
    pub part_size: u64,
    /// The file when the upload was begun: its parts are of use only as long as the file is this one. Its size is at most
    /// `i64::MAX`.
    pub stat: FileStat,
    /// The checksum that was asked for, in the caller's words.
    pub checksum: String,
}
