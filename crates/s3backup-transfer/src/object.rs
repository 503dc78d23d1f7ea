//! What the server says of one object.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_s3::types::ChecksumMode;
use s3backup_model::Key;
use s3backup_model::manifest::ChecksumType;

use crate::bucket::{Gate, found};
use crate::checksum::{Proof, Whole, encode_crc64};
use crate::download::Pin;
use crate::headers::{unquoted, version};
use crate::wire::{Head, field_of};
use crate::{Bucket, ChecksumKind, Error};

/// What the server says of an object.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Length in bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
    /// Version, where the bucket has versioning.
    pub version_id: Option<String>,
    /// CRC64NVME, base64, where the server holds one.
    pub crc64nvme: Option<String>,
    /// CRC32C, base64.
    pub crc32c: Option<String>,
    /// CRC32, base64.
    pub crc32: Option<String>,
    /// SHA-256, base64, with `-N` behind it when it is one of N parts.
    pub sha256: Option<String>,
    /// Storage class; not every server names the standard one.
    pub storage_class: Option<String>,
    /// Into which archive tier Intelligent-Tiering moved the object; then it must be thawed before it can be read.
    pub archive_status: Option<String>,
    /// How far the thawing of an archived object has come, in the words of S3 (`ongoing-request="true"`).
    pub restore: Option<String>,
    /// Server-side encryption, in the words of S3 (`AES256`, `aws:kms`).
    pub sse: Option<String>,
    /// User metadata, names without `x-amz-meta-`.
    pub metadata: HashMap<String, String>,
}

impl ObjectInfo {
    /// What the reply to an upload of `size` bytes says.
    pub(crate) fn of_upload(size: u64, head: &Head) -> Self {
        let field = |name| head.field(name).map(ToOwned::to_owned);
        Self {
            size,
            etag: unquoted(head.field("etag")),
            version_id: version(head.field("x-amz-version-id")),
            crc64nvme: field(field_of(ChecksumKind::Crc64Nvme)),
            crc32c: field(field_of(ChecksumKind::Crc32c)),
            sha256: field(field_of(ChecksumKind::Sha256)),
            ..Self::default()
        }
    }

    /// The checksum in one algorithm, if the server shows it.
    pub fn checksum(&self, kind: ChecksumKind) -> Option<&str> {
        match kind {
            ChecksumKind::Crc64Nvme => self.crc64nvme.as_deref(),
            ChecksumKind::Crc32c => self.crc32c.as_deref(),
            ChecksumKind::Sha256 => self.sha256.as_deref(),
            ChecksumKind::None => None,
        }
    }

    /// The sign by which this shows that the object has exactly these bytes; `None` where it shows no such thing.
    pub(crate) fn proof_of(&self, whole: &Whole, kind: ChecksumKind) -> Option<Proof> {
        let crc64 = encode_crc64(whole.crc64);
        let shown = match &whole.proof {
            Proof::Checksum(value, _) => self.checksum(kind) == Some(value),
            Proof::Etag(etag) => self.etag == *etag,
        };
        if self.size != whole.len {
            None
        } else if shown {
            Some(whole.proof.clone())
        } else if self.crc64nvme.as_ref() == Some(&crc64) {
            Some(Proof::Checksum(crc64, ChecksumType::FullObject))
        } else {
            None
        }
    }
}

impl Bucket {
    /// What the server says of an object; `None` when there is none. Repeats what may go well later.
    pub async fn head(&self, key: &Key) -> Result<Option<ObjectInfo>, Error> {
        self.head_version(key, None).await
    }

    /// The same for one version of an object; the current one when none is named.
    pub async fn head_version(
        &self,
        key: &Key,
        version_id: Option<&str>,
    ) -> Result<Option<ObjectInfo>, Error> {
        let pin = Pin { version_id: version_id.map(ToOwned::to_owned), etag: None };
        found(self.head_pinned(key, &pin).await)
    }

    /// The same for the content that is asked for.
    pub(crate) async fn head_pinned(&self, key: &Key, pin: &Pin) -> Result<ObjectInfo, Error> {
        let request = |_| self.head_pinned_once(key, pin);
        self.repeat(Gate::default(), pin.head_operation(), key, Duration::ZERO, |_, _, _| {}, request).await
    }

    pub(crate) async fn head_once(&self, key: &Key) -> Result<ObjectInfo, Error> {
        self.head_pinned_once(key, &Pin::default()).await
    }

    async fn head_pinned_once(&self, key: &Key, pin: &Pin) -> Result<ObjectInfo, Error> {
        let request = self.client.head_object().bucket(&*self.name).key(key.as_str());
        let request = request.set_version_id(pin.version_id.clone()).set_if_match(pin.if_match());
        let reply = request.checksum_mode(ChecksumMode::Enabled).send().await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let error = self.error(pin.head_operation(), key, error);
                return Err(Box::pin(self.reason_for(key, pin, error)).await);
            }
        };
        Ok(ObjectInfo {
            size: reply.content_length().and_then(|len| u64::try_from(len).ok()).unwrap_or_default(),
            etag: unquoted(reply.e_tag()),
            version_id: version(reply.version_id()),
            crc64nvme: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            crc32c: reply.checksum_crc32_c().map(ToOwned::to_owned),
            crc32: reply.checksum_crc32().map(ToOwned::to_owned),
            sha256: reply.checksum_sha256().map(ToOwned::to_owned),
            storage_class: reply.storage_class().map(|class| class.as_str().to_owned()),
            archive_status: reply.archive_status().map(|status| status.as_str().to_owned()),
            restore: reply.restore().map(ToOwned::to_owned),
            sse: reply.server_side_encryption().map(|sse| sse.as_str().to_owned()),
            metadata: reply.metadata().cloned().unwrap_or_default(),
        })
    }

    /// A refused HEAD has no body and so no reason: a missing bucket looks like a missing object, and expired
    /// credentials like any bad request. GET is refused with a reason. It is asked where the reason matters, and for
    /// the bucket's sake until one object was missing from a bucket that is there.
    async fn reason_for(&self, key: &Key, pin: &Pin, error: Error) -> Error {
        let status = error.service().map_or(0, |refusal| refusal.status);
        if !(status == 400 || (status == 404 && !self.exists.load(Ordering::Relaxed))) {
            return error;
        }
        let get = self.client.get_object().bucket(&*self.name).key(key.as_str()).range("bytes=0-0");
        let Err(reason) = get.set_version_id(pin.version_id.clone()).send().await else { return error };
        let reason = self.error(pin.head_operation(), key, reason);
        match reason.service() {
            Some(refusal) if refusal.code.is_empty() || refusal.status != status => error,
            Some(refusal) => {
                self.exists.fetch_or(refusal.is_not_found(), Ordering::Relaxed);
                reason
            }
            None => error,
        }
    }
}
