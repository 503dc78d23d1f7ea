//! What the server remembers of an object, beside its bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use s3s::dto::Timestamp;
use serde::{Deserialize, Serialize};

use crate::blob::Blob;
use crate::checksum::{Algorithm, Checksum, Coverage};

/// An object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Object {
    /// In bytes.
    pub(crate) size: u64,
    /// Without quotes.
    pub(crate) etag: String,
    /// Seconds since 1970, the resolution that S3 has.
    pub(crate) modified: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checksum: Option<Checksum>,
    /// Whether it came by a multipart upload, so that its pieces are parts a client may ask for.
    #[serde(default)]
    pub(crate) multipart: bool,
    /// The bytes, in order; never empty.
    pub(crate) pieces: Vec<Piece>,
    pub(crate) attributes: Attributes,
}

/// A stretch of an object's bytes, in one blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// The number of the part; 1 for an object put at once.
    pub(crate) number: i32,
    /// In bytes.
    pub(crate) size: u64,
    /// Of the object's algorithm, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checksum: Option<String>,
    pub(crate) blob: Arc<Blob>,
}

/// What a client says about an object when it is made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) website_redirect_location: Option<String>,
    /// `x-amz-meta-…`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<(String, String)>,
    /// `None` is `STANDARD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class: Option<String>,
    /// `AES256`, `aws:kms` or `aws:kms:dsse`; nothing is encrypted, it is only remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bucket_key_enabled: Option<bool>,
}

/// A multipart upload that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) key: String,
    /// Seconds since 1970.
    pub(crate) started: u64,
    /// What the client asked for; `None` is CRC64NVME over the whole object, unasked.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) coverage: Coverage,
    pub(crate) attributes: Attributes,
    #[serde(default)]
    pub(crate) parts: BTreeMap<i32, Part>,
}

impl Upload {
    /// The algorithm that every part has a checksum of.
    pub(crate) fn effective_algorithm(&self) -> Algorithm {
        self.algorithm.unwrap_or(Algorithm::Crc64Nvme)
    }
}

/// A part of an open upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) number: i32,
    /// In bytes.
    pub(crate) size: u64,
    /// The MD5 in hex; of a null store the checksum, if the client needs no MD5.
    pub(crate) etag: String,
    /// Seconds since 1970.
    pub(crate) modified: u64,
    /// Base64.
    pub(crate) checksums: Vec<(Algorithm, String)>,
    pub(crate) blob: Arc<Blob>,
}

/// The time as the protocol layer wants it.
pub(crate) fn timestamp(seconds: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}
