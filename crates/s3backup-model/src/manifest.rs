//! Lines of a manifest: what a run changed in the bucket.
//!
//! A manifest is a series of segments `manifests/<run-id>/<n>.jsonl.zst`, counted from 0. The first line of each is
//! a [`Header`]; every other is a [`Line`]. A reader that finds a `min_reader` above [`SCHEMA`] must stop and ask for
//! a newer version; it ignores fields that it does not know.
//!
//! A snapshot is the whole state after a run: `snapshots/<run-id>/<n>.jsonl.zst`, segments of the same form whose lines are
//! all [`Op::Put`] or [`Op::RemovedByPrune`] and sorted by key, and [`SnapshotIndex`] in `snapshots/<run-id>/index.json`, which is written
//! last: a snapshot without it is not there.

use serde::{Deserialize, Serialize};

use crate::{Key, ManifestRef, RunId, Tally};

/// Version of the format that this code writes and the newest that it reads.
pub const SCHEMA: u32 = 1;

/// The most lines in a segment, the header not counted.
pub const MAX_SEGMENT_LINES: u64 = 250_000;

/// The first line of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version that wrote the segment.
    pub schema: u32,
    /// Oldest version that can read it.
    pub min_reader: u32,
    /// The run.
    pub run_id: RunId,
    /// Number of the segment in its run, from 0.
    pub segment: u64,
}

/// What happened to one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What was done.
    pub op: Op,
    /// Local path, escaped as keys are.
    pub path: String,
    /// Where its bytes are.
    pub key: Key,
    /// Length of the file in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// `st_mode`.
    pub mode: u32,
    /// CRC64NVME of the file's own bytes, base64 of the big-endian value as S3 writes it.
    pub crc64nvme: String,
    /// Length of the object in bytes; differs from `size` where an encoding is used.
    pub stored_size: u64,
    /// The checksum that the server holds for the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_checksum: Option<StoredChecksum>,
    /// The object's ETag, without quotes.
    pub etag: String,
    /// The object's version, where the bucket has versioning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// How the object's bytes are made from the file's: `none`.
    pub encoding: String,
    /// The run that put the object, where it is not the header's: in snapshots, and for what an earlier run had put before
    /// it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// What a manifest line says was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// The object was written, or found to hold these bytes already.
    Put,
    /// Only what is known of the file changed, its bytes did not.
    Meta,
    /// The file is gone from the source; the object stays.
    Gone,
    /// The file was removed from the source by prune, once it was proved to be in the bucket. The object stays, and so does
    /// the file's place in the state: it is neither deleted nor missing.
    RemovedByPrune,
}

/// The segments of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotIndex {
    /// Version that wrote it.
    pub schema: u32,
    /// Oldest version that can read it.
    pub min_reader: u32,
    /// The run after which the state was like this.
    pub run_id: RunId,
    /// Files in the state.
    pub total: Tally,
    /// The segments, in the order of their keys.
    pub segments: Vec<SnapshotSegment>,
}

/// One segment of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSegment {
    /// Its key, lines and checksum.
    #[serde(flatten)]
    pub segment: ManifestRef,
    /// The first key that it has.
    pub first_key: Key,
    /// The last key that it has.
    pub last_key: Key,
}

/// A checksum as the server holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChecksum {
    /// `crc64nvme`, `crc32c` or `sha256`.
    pub algorithm: String,
    /// Base64, as S3 gives it.
    pub value: String,
    /// Whether it covers the object's bytes or the checksums of its parts.
    pub r#type: ChecksumType,
}

/// What a stored checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChecksumType {
    /// The bytes of the whole object.
    FullObject,
    /// The checksums of its parts.
    Composite,
}
