//! Moves bytes between local files and one S3 bucket, and never claims more than the server proved.
//!
//! - [`Bucket`] is a bucket with its credentials, region and endpoint: [`Bucket::connect`] builds it the AWS way
//!   (environment, profile, SSO, web identity, container, IMDS), [`Bucket::from_client`] around a client that
//!   exists. Its methods are the control calls: look, list, read and write small objects, remove, download, compare.
//! - [`Engine`] takes a stream of [`Upload`]s and yields a stream of [`Update`]s. It owns the limits (requests in
//!   flight, bytes in flight), reads and hashes files, sends them, retries, and checks what the server stored.
//!
//! What this crate does not know: which files there are, which of them should go, what a run is called, where
//! the results are written down.
//!
//! # Promises
//! - A file is reported as stored only when the server answered with the checksum of the bytes that were read, or,
//!   with [`ChecksumKind::None`], when the MD5 ETag or a read-back proves the same. The one exception is warned of once in
//!   a run: without a checksum, with an ETag that is no MD5, and without the right to read back, there is no proof to be had.
//! - Bytes that changed while they were read are never completed as an object: size, times and inode are compared
//!   after the read ([`MAX_READS`] tries).
//! - A new key is put with `If-None-Match: *` where the server has it, so a strange object is never overwritten.
//!   Without, each key is looked at before it is written, and a warning says what that cannot see.
//! - What the caller knows the bucket to hold ([`Known`]) costs no request while the file still has those bytes; it is
//!   replaced with `If-Match`, so that an object which somebody else wrote meanwhile is never overwritten.
//! - With an [`UploadJournal`], a multipart upload that was interrupted is gone on with. A part that the server has is
//!   kept only when its checksum, or its MD5 in the ETag, is that of the file's bytes now, and the file has the size,
//!   times and inode of when the upload was begun; else it is sent again.
//! - Bytes of files go no faster than [`TransferSettings::bandwidth`] says.
//! - Memory is bounded by [`TransferSettings::memory_bytes`] and the number of requests, whatever the files are.

mod access;
mod bandwidth;
mod batch;
mod body;
mod bucket;
mod buffer;
mod checksum;
mod clock;
mod compare;
mod connect;
mod control;
mod delete;
mod download;
mod engine;
mod error;
mod headers;
mod journal;
mod known;
mod level;
mod listing;
mod multipart;
mod object;
mod pace;
mod probe;
mod proof;
mod put;
mod queue;
mod read;
mod resume;
mod retry;
mod settings;
mod slots;
mod tempo;
mod uploads;
mod wire;

/// The AWS SDK for S3, for callers that hand in a client of their own.
pub use aws_sdk_s3;

pub use access::Access;
pub use bandwidth::{Bandwidth, Rate};
pub use bucket::Bucket;
pub use checksum::{ChecksumKind, crc64nvme_base64};
pub use compare::Compared;
pub use connect::{ConnectOptions, StaticCredentials};
pub use control::{Versioning, WriteCondition};
pub use delete::MAX_DELETES;
pub use download::{DownloadLimits, Downloaded, Expected, Pin};
pub use engine::{Done, Engine, Stored, Update, Upload};
pub use error::{Error, ServiceError};
pub use journal::{JournalError, OpenUpload, UploadJournal};
pub use known::Known;
pub use listing::{Listed, ListedFolders, ListedObject};
pub use object::ObjectInfo;
pub use probe::Lifecycle;
pub use read::MAX_READS;
pub use retry::RetrySettings;
pub use settings::{
    HttpPath, MAX_OBJECT_BYTES, MAX_PARTS, ObjectSettings, Sse, TransferSettings, part_size_for,
};
pub use uploads::OpenUploadInfo;
