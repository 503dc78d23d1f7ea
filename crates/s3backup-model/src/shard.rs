//! A run that many workers share: what its plan, each worker and its end say to each other in the bucket.
//!
//! Below the control data of the job, in `plans/<run-id>/`: [`ShardPlan`] in `plan.json`; the lists
//! `<shard>/<n>.jsonl.zst`, whose first line is a [`manifest::Header`](crate::manifest::Header) and every other a [`ShardLine`];
//! [`ShardProgress`] in `progress/<shard>-<attempt>.json`; [`ShardUpload`] in `uploads/`; [`ShardResult`] in `results/<shard>.json`. Shards are counted
//! from 0. What a worker proved is in manifest segments `manifests/<run-id>/<shard>-<attempt>-<n>.jsonl.zst`, which count once
//! the report of the run names them.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use crate::manifest::StoredChecksum;
use crate::{Key, RunId, RunReport, Tally};

/// What a sharded run is to do. Written once, when the run begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardPlan {
    /// Version of this format.
    pub schema: u32,
    /// Oldest version that can read it.
    pub min_reader: u32,
    /// The prefixes of the sources, in their order, with `{date}` still in them: a worker whose sources have others would make other
    /// keys.
    pub prefixes: Vec<String>,
    /// When it is over, committed or not.
    pub expires_at: DateTime<FixedOffset>,
    /// The shards, in their order.
    pub shards: Vec<PlannedShard>,
    /// The report of the run as far as the plan knows it: what was found, is unchanged or skipped, cannot be backed up, is
    /// gone. Its due times are as they stood.
    pub report: RunReport,
}

/// One part of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedShard {
    /// What is to be sent, or read to see whether it must be.
    pub files: Tally,
    /// The lists of it.
    pub lists: Vec<ShardList>,
}

/// One list of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardList {
    /// Lines, the header not counted.
    pub lines: u64,
    /// CRC64NVME of the stored bytes, base64.
    pub crc64nvme: String,
}

impl ShardPlan {
    /// The version that this code writes, and the newest that it reads.
    pub const SCHEMA: u32 = 1;

    /// The most shards that a plan has. More workers would wait for the server rather than help.
    pub const MAX_SHARDS: u32 = 1000;
}

/// A file of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardLine {
    /// Which source, counted from 0.
    pub source: usize,
    /// Path below the source, escaped as keys are.
    pub path: String,
    /// Length in bytes when the plan was made.
    pub size: u64,
    /// Its key when the plan was made.
    pub key: Key,
    /// What the bucket is known to hold under that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownObject>,
}

/// An object as the plan knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownObject {
    /// Length of the file in bytes.
    pub size: u64,
    /// CRC64NVME of the file's own bytes, base64.
    pub crc64nvme: String,
    /// The checksum that the server holds for the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_checksum: Option<StoredChecksum>,
    /// ETag, without quotes.
    pub etag: String,
    /// Version, where the bucket has versioning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// It is not what it should be: the file is sent whatever its bytes are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_doubtful: bool,
}

/// How far one attempt at a shard is. Written while it goes on, after the segments that it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardProgress {
    /// Version of this format.
    pub schema: u32,
    /// Oldest version that can read it.
    pub min_reader: u32,
    /// The shard.
    pub shard: u32,
    /// Which attempt, named at random.
    pub attempt: String,
    /// What it did so far. Its manifests are those of this attempt alone.
    pub report: RunReport,
}

/// How a shard ended. A better one replaces a worse one, never the other way round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardResult {
    /// Version of this format.
    pub schema: u32,
    /// Oldest version that can read it.
    pub min_reader: u32,
    /// The run.
    pub run_id: RunId,
    /// The shard.
    pub shard: u32,
    /// What became of each of its files. Its manifests are those of this attempt and of the earlier ones that it went on from.
    pub report: RunReport,
}

/// A multipart upload that a worker began. Stored before its first part is sent, so that the next attempt, on whatever machine,
/// sends only the parts that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardUpload {
    /// Version of this format.
    pub schema: u32,
    /// Oldest version that can read it.
    pub min_reader: u32,
    /// The object.
    pub key: Key,
    /// The server's name for the upload.
    pub upload_id: String,
    /// Size of its parts in bytes, but for the last.
    pub part_size: u64,
    /// Which checksum its parts have: `crc64nvme`, `crc32c`, `sha256` or `none`.
    pub checksum: String,
    /// Length of the file in bytes when it was begun; what follows is of that time, too.
    pub size: u64,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since the Unix epoch.
    pub ctime_ns: i64,
    /// `st_mode`.
    pub mode: u32,
    /// Inode number.
    pub inode: u64,
    /// Device that the inode lives on.
    pub device: u64,
}

/// That a sharded run goes on, as `latest.json` tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The run.
    pub run_id: RunId,
    /// How many shards it has.
    pub shards: u32,
    /// Until when no other run of the job may begin.
    pub expires_at: DateTime<FixedOffset>,
}
