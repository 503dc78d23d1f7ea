//! Control data: small objects that are read and written whole, and what the bucket is set to.

use std::time::Duration;

use aws_sdk_s3::types::{BucketVersioningStatus, StorageClass};
use bytes::{Bytes, BytesMut};
use s3backup_model::Key;

use crate::body::{Payload, Watch};
use crate::bucket::{Attempt, Gate, found};
use crate::checksum::{Sums, Whole};
use crate::error::cause_of;
use crate::headers::{sdk_metadata, sse_headers, tagging, unquoted, version};
use crate::object::ObjectInfo;
use crate::pace::Pace;
use crate::wire::Given;
use crate::{Bucket, ChecksumKind, Error, ObjectSettings, Sse};

/// Whether the bucket keeps what is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// Overwritten objects are kept.
    Enabled,
    /// Overwritten objects are lost.
    Off,
    /// The server does not say, or these credentials may not ask.
    Unknown,
}

/// On what condition an object is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteCondition {
    /// None.
    Always,
    /// There must be none of this key.
    New,
    /// The object must still have this ETag, given without quotes.
    Replaces(String),
}

impl WriteCondition {
    pub(crate) fn if_none_match(&self) -> Option<String> {
        (*self == Self::New).then(|| "*".to_owned())
    }

    pub(crate) fn if_match(&self) -> Option<String> {
        if let Self::Replaces(etag) = self { Some(format!("\"{etag}\"")) } else { None }
    }
}

impl Bucket {
    /// Reads a small object whole; `None` when there is none.
    ///
    /// # Errors
    /// An object of more than `limit` bytes is [`Error::BadRequest`]: it is not what the caller takes it for.
    pub async fn read(&self, key: &Key, limit: u64) -> Result<Option<Bytes>, Error> {
        Ok(self.read_tagged(key, limit).await?.map(|(bytes, _)| bytes))
    }

    /// The same with the ETag, without quotes, by which [`WriteCondition::Replaces`] replaces these bytes and no others.
    pub async fn read_tagged(&self, key: &Key, limit: u64) -> Result<Option<(Bytes, String)>, Error> {
        let request = |attempt| self.read_once(key, limit, attempt);
        let result = self.repeat(Gate::default(), "GetObject", key, Duration::ZERO, |_, _, _| {}, request);
        found(result.await)
    }

    async fn read_once(&self, key: &Key, limit: u64, attempt: Attempt) -> Result<(Bytes, String), Error> {
        let request = self.client.get_object().bucket(&*self.name).key(key.as_str());
        let reply = request.customize().interceptor(self.clock.clone()).send().await;
        let reply = reply.map_err(|error| self.error("GetObject", key, error))?;
        let etag = unquoted(reply.e_tag());
        let size = reply.content_length().and_then(|len| u64::try_from(len).ok()).unwrap_or_default();
        let mut body = reply.body;
        let mut bytes = BytesMut::new();
        loop {
            let size = size.max(bytes.len() as u64);
            if size > limit {
                let cause = format!("it has {size} bytes where at most {limit} were expected");
                return Err(Error::BadRequest { operation: "GetObject", target: self.target(key), cause });
            }
            let Some(piece) = body.next().await else { return Ok((bytes.freeze(), etag)) };
            let piece = piece.map_err(|error| self.lost("GetObject", key, cause_of(&error)))?;
            bytes.extend_from_slice(&piece);
            attempt.progress.note(0);
        }
    }

    /// Writes a small object of control data in storage class STANDARD, whatever had the key before.
    ///
    /// The checksum of the reply is compared where the server shows one.
    pub async fn write(
        &self,
        key: &Key,
        bytes: Bytes,
        kind: ChecksumKind,
        sse: Option<&Sse>,
    ) -> Result<ObjectInfo, Error> {
        self.write_if(key, bytes, kind, sse, WriteCondition::Always).await
    }

    /// The same on a condition. An object that has these very bytes counts as written by us when an earlier try of the
    /// same request may have been carried out: bytes that must tell their writer should name him.
    ///
    /// A server that knows no conditions is asked what is there, and written to when that is as it should be; what
    /// another program writes between the two is overwritten.
    ///
    /// # Errors
    /// [`Error::Overtaken`] when the condition does not hold; [`Error::is_precondition`] tells it.
    pub async fn write_if(
        &self,
        key: &Key,
        bytes: Bytes,
        kind: ChecksumKind,
        sse: Option<&Sse>,
        condition: WriteCondition,
    ) -> Result<ObjectInfo, Error> {
        let sums = Sums::of(kind, &bytes);
        let settings = ObjectSettings { sse: sse.cloned(), ..ObjectSettings::default() };
        let payload = Payload::Whole(bytes.clone());
        let mut ambiguous = false;
        let write = async |condition: &WriteCondition, ambiguous: &mut bool| {
            let put = |attempt: Attempt| {
                *ambiguous |= attempt.ambiguous;
                let given = Given { settings: &settings, metadata: &[], condition };
                // Control data is little, and what depends on it waits: it goes at once.
                let watch = Watch { progress: attempt.progress, pace: Pace::default() };
                self.put_once(key, &payload, watch, kind, &sums, given)
            };
            self.repeat(Gate::default(), "PutObject", key, Duration::ZERO, |_, _, _| {}, put).await
        };
        let mut written = write(&condition, &mut ambiguous).await;
        let refusal = written.as_ref().err().and_then(Error::service);
        if condition != WriteCondition::Always
            && let Some(refusal) = refusal
        {
            if refusal.is_not_implemented() {
                let there = self.head(key).await?.map(|info| info.etag);
                let holds = match &condition {
                    WriteCondition::Replaces(etag) => there.as_ref() == Some(etag),
                    _ => there.is_none(),
                };
                if !holds {
                    return Err(Error::Overtaken { key: key.clone() });
                }
                written = write(&WriteCondition::Always, &mut ambiguous).await;
            } else if refusal.is_precondition() || (condition.if_match().is_some() && refusal.is_not_found())
            {
                // S3 answers 404, not 412, when what was to be replaced is gone.
                let ours =
                    if ambiguous { self.written_before(key, &bytes, kind, &sums).await? } else { None };
                written = ours.ok_or_else(|| Error::Overtaken { key: key.clone() });
            }
        }
        let info = written?;
        let sent = sums.sent_base64();
        match info.checksum(kind) {
            Some(stored) if stored != sent => {
                Err(Error::Mismatch { key: key.clone(), sent, stored: stored.to_owned() })
            }
            _ => Ok(info),
        }
    }

    /// What the server says of the object if it has these bytes.
    async fn written_before(
        &self,
        key: &Key,
        bytes: &Bytes,
        kind: ChecksumKind,
        sums: &Sums,
    ) -> Result<Option<ObjectInfo>, Error> {
        let Some(info) = self.head(key).await?.filter(|info| info.size == sums.len) else { return Ok(None) };
        if info.proof_of(&Whole::single(sums), kind).is_some() {
            return Ok(Some(info));
        }
        let there = self.read_tagged(key, sums.len).await?;
        Ok(there.filter(|(there, etag)| there == bytes && *etag == info.etag).map(|_| info))
    }

    pub(crate) async fn put_once(
        &self,
        key: &Key,
        payload: &Payload,
        watch: Watch,
        kind: ChecksumKind,
        sums: &Sums,
        given: Given<'_>,
    ) -> Result<ObjectInfo, Error> {
        if let Some(wire) = &self.wire {
            let head = wire.put_object(key, payload, kind, sums, given, &watch).await;
            let head = head.map_err(|failure| self.wire_error("PutObject", key, failure))?;
            return Ok(ObjectInfo::of_upload(sums.len, &head));
        }
        let Given { settings, metadata, condition } = given;
        let sum = sums.sent_base64();
        let (sse, kms) = sse_headers(settings.sse.as_ref());
        let mut request = self
            .client
            .put_object()
            .bucket(&*self.name)
            .key(key.as_str())
            .body(payload.to_stream())
            .content_length(i64::try_from(sums.len).unwrap_or(i64::MAX))
            .set_metadata(sdk_metadata(metadata))
            .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(kms)
            .set_tagging(tagging(settings))
            .set_checksum_algorithm(kind.algorithm())
            .set_if_none_match(condition.if_none_match())
            .set_if_match(condition.if_match());
        request = match kind {
            ChecksumKind::Crc64Nvme => request.checksum_crc64_nvme(sum),
            ChecksumKind::Crc32c => request.checksum_crc32_c(sum),
            ChecksumKind::Sha256 => request.checksum_sha256(sum),
            ChecksumKind::None => request.content_md5(sum),
        };
        let reply = request.customize().interceptor(watch).send().await;
        let reply = reply.map_err(|error| self.error("PutObject", key, error))?;
        Ok(ObjectInfo {
            size: sums.len,
            etag: unquoted(reply.e_tag()),
            version_id: version(reply.version_id()),
            crc64nvme: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            crc32c: reply.checksum_crc32_c().map(ToOwned::to_owned),
            sha256: reply.checksum_sha256().map(ToOwned::to_owned),
            ..ObjectInfo::default()
        })
    }

    /// Whether the bucket keeps what is overwritten. Asks once and repeats nothing: the answer is only good for a
    /// warning.
    pub async fn versioning(&self) -> Versioning {
        let request = self.client.get_bucket_versioning().bucket(&*self.name).send();
        match tokio::time::timeout(self.idle_limit(), request).await {
            Ok(Ok(reply)) if reply.status() == Some(&BucketVersioningStatus::Enabled) => Versioning::Enabled,
            Ok(Ok(_)) => Versioning::Off,
            _ => Versioning::Unknown,
        }
    }
}
