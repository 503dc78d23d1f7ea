//! Limits and object settings.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Bandwidth, ChecksumKind};

/// The most parts that a multipart upload can have (AWS: "Amazon S3 multipart upload limits").
pub const MAX_PARTS: u64 = 10_000;

/// The largest object that S3 stores: 50 TB (AWS, since December 2025).
pub const MAX_OBJECT_BYTES: u64 = 50_000_000_000_000;

/// The least size of a part that is not the last (AWS: "Amazon S3 multipart upload limits").
pub(crate) const MIN_PART_BYTES: u64 = 5 << 20;

/// Part size where nothing else is asked for. Eight parts then fill the default memory limit; larger ones gain
/// nothing on a LAN and cost more when one must be sent again.
const DEFAULT_PART_BYTES: u64 = 8 << 20;

/// How files are sent.
#[derive(Clone, Debug)]
pub struct TransferSettings {
    /// Most requests in flight. By default it finds its own level, between 4 and 1,024 for small files and 2 and 64 for
    /// parts.
    pub concurrency: Option<usize>,
    /// Size of a part in bytes, at least 5 MiB; files up to this size go in one request. It grows by itself where a
    /// file would need more than 10,000 parts. Default 8 MiB.
    pub part_size_bytes: u64,
    /// Most bytes of files in memory at once. A part larger than this is streamed from the file, which then is read
    /// twice. Default 64 MiB.
    pub memory_bytes: u64,
    /// What proves that the bytes arrived.
    pub checksum: ChecksumKind,
    /// How fast the bytes of files may go, those of all requests together. What is read back for a proof counts, too;
    /// control data does not. Default: as fast as they do.
    pub bandwidth: Bandwidth,
    /// How long files in flight may go on after cancellation; a multipart upload ends at once, and is aborted unless there
    /// is a journal. Default 1 s.
    pub drain: Duration,
}

impl Default for TransferSettings {
    fn default() -> Self {
        Self {
            concurrency: None,
            part_size_bytes: DEFAULT_PART_BYTES,
            memory_bytes: 64 << 20,
            checksum: ChecksumKind::default(),
            bandwidth: Bandwidth::default(),
            drain: Duration::from_secs(1),
        }
    }
}

/// Who makes the requests that carry the bytes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpPath {
    /// This crate, over HTTP/1.1 by hand, at a fraction of the SDK's cost for small files. Where the SDK alone can reach the
    /// bucket (S3 Express, access points of many regions, a SOCKS proxy), it is the SDK all the same.
    #[default]
    Fast,
    /// The AWS SDK, as for all other requests: the way out where the fast path meets a server that it does not get on with.
    Sdk,
}

/// What each data object is given beside its bytes.
#[derive(Clone, Debug, Default)]
pub struct ObjectSettings {
    /// For example `STANDARD_IA`; the bucket's default when absent.
    pub storage_class: Option<String>,
    /// Server-side encryption; the bucket's default when absent.
    pub sse: Option<Sse>,
    /// Object tags.
    pub tags: BTreeMap<String, String>,
    /// Who writes: `job/host`, ASCII. Stored with each object (`x-amz-meta-s3backup-owner`), so that a later run knows
    /// which objects it may replace. When empty nothing is stored, and no object is ever replaced.
    pub owner: String,
    /// The run, ASCII. Stored with each object (`x-amz-meta-s3backup-run`), for people who look.
    pub run: String,
}

/// Server-side encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sse {
    /// With keys that S3 manages (`AES256`).
    S3,
    /// With a KMS key; the account's default key for S3 when no id is given.
    Kms {
        /// Id, ARN or alias of the key.
        key_id: Option<String>,
    },
}

/// The part size for a file of `size` bytes: `wanted`, or what 10,000 parts need, rounded up to whole MiB.
///
/// ```
/// use s3backup_transfer::part_size_for;
/// assert_eq!(part_size_for(1 << 30, 8 << 20), 8 << 20);
/// assert!(part_size_for(50_000_000_000_000, 8 << 20) * 10_000 >= 50_000_000_000_000);
/// ```
pub fn part_size_for(size: u64, wanted: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    let needed = size.div_ceil(MAX_PARTS).div_ceil(MIB) * MIB;
    wanted.max(MIN_PART_BYTES).max(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_are_enough_for_the_largest_object() {
        for size in [1, 80_000 << 20, (80_000 << 20) + 1, MAX_OBJECT_BYTES] {
            let part = part_size_for(size, 8 << 20);
            assert!(size.div_ceil(part) <= MAX_PARTS, "{size}");
            assert!(part <= 5 << 30, "S3 takes no part above 5 GiB: {size}");
        }
        assert_eq!(part_size_for(80_000 << 20, 8 << 20), 8 << 20);
        assert_eq!(part_size_for((80_000 << 20) + 1, 8 << 20), 9 << 20);
        assert_eq!(part_size_for(1, 1), 5 << 20);
    }
}
