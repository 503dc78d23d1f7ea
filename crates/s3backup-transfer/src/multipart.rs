//! Large files: in parts, each proved by itself, completed only when the file did not change meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, StorageClass,
};
use futures::{StreamExt, TryStreamExt, stream};
use s3backup_model::FailureKind;

use crate::body::{Payload, STREAM_BYTES, Watch};
use crate::checksum::{Proof, Sums, Whole, combine};
use crate::control::WriteCondition;
use crate::engine::{FileTransfer, Stored, Update, on_blocking_thread};
use crate::headers::{sse_headers, tagging, unquoted, version};
use crate::object::ObjectInfo;
use crate::put::{Decision, MAX_DECISIONS, metadata_of};
use crate::read::{OpenFile, Read};
use crate::{ChecksumKind, Error, ServiceError};

/// How much longer a completion may take for each part.
const PART_ALLOWANCE: Duration = Duration::from_millis(100);

/// A part that the server has.
struct SentPart {
    number: i32,
    etag: String,
    sums: Sums,
}

impl FileTransfer {
    /// Sends a file in parts. `size` is corrected when the file turns out to have another.
    pub(crate) async fn send_parts(
        &self,
        path: &Path,
        size: &mut u64,
        part_size: u64,
    ) -> Result<Read<Stored>, Error> {
        let _slot = self.large_file_slot().await?;
        let file = self.blocking(path, Ok).await?;
        if file.stat.size != *size {
            *size = file.stat.size;
            return Ok(Read::Torn);
        }
        let condition = match self.before_sending(&file, part_size).await? {
            Read::Torn => return Ok(Read::Torn),
            Read::Steady(Before::Have(info, whole)) => {
                return self.proved(file.stat, &whole, info, false).await.map(Read::Steady);
            }
            Read::Steady(Before::Put(condition)) => condition,
        };
        let upload_id = self.create(&file).await?;
        let result = self.send_and_complete(&file, part_size, &upload_id, condition).await;
        if !matches!(&result, Ok(Read::Steady(stored)) if stored.sent) {
            self.abort(&upload_id).await;
        }
        result
    }

    /// Looks whether the bucket has the file, before gigabytes are sent for nothing.
    async fn before_sending(&self, file: &OpenFile, part_size: u64) -> Result<Read<Before>, Error> {
        let fresh = || if self.is_conditional() { WriteCondition::New } else { WriteCondition::Always };
        let info = match self.head().await {
            Ok(Some(info)) => info,
            Ok(None) => return Ok(Read::Steady(Before::Put(fresh()))),
            // A host that may only write cannot look; the condition of the write itself protects what is there.
            Err(error) if error.service().is_some_and(ServiceError::is_denied) => {
                return Ok(Read::Steady(Before::Put(fresh())));
            }
            Err(error) => return Err(error),
        };
        if is_comparable(&info, self.kind(), file.stat.size, part_size) {
            let (reader, kind, cancel) = (file.clone(), self.kind(), self.cancel.clone());
            let hashed = on_blocking_thread(move || {
                let hashed = reader.hash_parts(kind, part_size, &cancel)?;
                Ok(if reader.is_steady()? { hashed } else { Read::Torn })
            });
            let Read::Steady(parts) = self.gate().unless_cancelled(hashed).await?? else {
                return Ok(Read::Torn);
            };
            if let Some(whole) = combine(kind, &parts).filter(|whole| info.proof_of(whole, kind).is_some()) {
                return Ok(Read::Steady(Before::Have(info, whole)));
            }
        }
        Ok(match self.may_replace(&info)? {
            WriteCondition::Replaces(_) if !self.is_conditional() => {
                Read::Steady(Before::Put(WriteCondition::Always))
            }
            condition => Read::Steady(Before::Put(condition)),
        })
    }

    async fn send_and_complete(
        &self,
        file: &OpenFile,
        part_size: u64,
        upload_id: &str,
        condition: WriteCondition,
    ) -> Result<Read<Stored>, Error> {
        let settings = &self.shared.settings;
        let parts_in_memory = usize::try_from(settings.memory_bytes / part_size).unwrap_or(usize::MAX).max(1);
        // One more than memory has room for, so that a part is waiting for it and not the other way round.
        let at_once = parts_in_memory.saturating_add(1).min(settings.concurrency.max(1));
        let count = file.stat.size.div_ceil(part_size).max(1);
        let sending = stream::iter(0..count)
            .map(|index| {
                let offset = index * part_size;
                let len = part_size.min(file.stat.size - offset);
                self.send_part(file, upload_id, index, offset, len)
            })
            .buffer_unordered(at_once)
            .try_collect::<Vec<_>>();
        let sent = self.gate().unless_cancelled(sending).await?;
        let parts = match sent {
            Ok(parts) => parts,
            Err(PartError::Torn) => return Ok(Read::Torn),
            Err(PartError::Other(error)) => return Err(*error),
        };
        let reader = file.clone();
        if !on_blocking_thread(move || reader.is_steady()).await? {
            return Ok(Read::Torn);
        }
        self.complete(file, upload_id, parts, condition).await.map(Read::Steady)
    }

    async fn send_part(
        &self,
        file: &OpenFile,
        upload_id: &str,
        index: u64,
        offset: u64,
        len: u64,
    ) -> Result<SentPart, PartError> {
        let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
        let is_streamed = len > self.shared.settings.memory_bytes;
        let _memory = self.reserve(if is_streamed { STREAM_BYTES } else { len }).await?;
        let (reader, kind, cancel) = (file.clone(), self.kind(), self.cancel.clone());
        let read = on_blocking_thread(move || {
            let read = if is_streamed {
                match reader.hash_range(kind, offset, len, &cancel)? {
                    Read::Steady(sums) => {
                        let file = Arc::clone(&reader.file);
                        Read::Steady((Payload::Range { file, offset, len }, sums))
                    }
                    Read::Torn => Read::Torn,
                }
            } else {
                match reader.read_part(kind, offset, len)? {
                    Read::Steady((bytes, sums)) => Read::Steady((Payload::Whole(bytes), sums)),
                    Read::Torn => Read::Torn,
                }
            };
            // Nothing more of a file is sent once it is seen to have changed: it would be thrown away.
            Ok(if reader.is_unchanged()? { read } else { Read::Torn })
        })
        .await?;
        let Read::Steady((payload, sums)) = read else { return Err(PartError::Torn) };
        let etag = match self.upload_part(file, upload_id, number, &payload, &sums).await {
            // A streamed part was read a second time; other bytes than the hashed ones come from a change.
            Err(error) if is_streamed && error.kind() == FailureKind::Checksum => {
                return Err(PartError::Torn);
            }
            Err(Error::Changed { .. }) => return Err(PartError::Torn),
            other => other?,
        };
        self.sent(len).await;
        Ok(SentPart { number, etag, sums })
    }

    async fn upload_part(
        &self,
        file: &OpenFile,
        upload_id: &str,
        number: i32,
        payload: &Payload,
        sums: &Sums,
    ) -> Result<String, Error> {
        let bucket = &self.shared.bucket;
        self.repeat(self.gate(), "UploadPart", Duration::ZERO, |attempt| async move {
            // What is read again for each attempt fails again for as long as the file is another.
            if attempt.number > 1 && !payload.is_in_memory() && !file.is_unchanged()? {
                return Err(Error::Changed { path: file.path.to_path_buf(), reads: 1 });
            }
            self.note_attempt(attempt.number, payload.len());
            let mut request = bucket
                .client
                .upload_part()
                .bucket(bucket.name())
                .key(self.key.as_str())
                .upload_id(upload_id)
                .part_number(number)
                .content_length(i64::try_from(sums.len).unwrap_or(i64::MAX))
                .body(payload.to_stream());
            let sum = sums.sent_base64();
            request = match self.kind() {
                ChecksumKind::Crc64Nvme => request.checksum_crc64_nvme(&sum),
                ChecksumKind::Crc32c => request.checksum_crc32_c(&sum),
                ChecksumKind::Sha256 => request.checksum_sha256(&sum),
                ChecksumKind::None => request.content_md5(&sum),
            };
            let reply = request.customize().interceptor(Watch(attempt.progress)).send().await;
            let reply = reply.map_err(|error| bucket.error("UploadPart", &self.key, error))?;
            let shown = match self.kind() {
                ChecksumKind::Crc64Nvme => reply.checksum_crc64_nvme(),
                ChecksumKind::Crc32c => reply.checksum_crc32_c(),
                ChecksumKind::Sha256 => reply.checksum_sha256(),
                ChecksumKind::None => None,
            };
            match shown.filter(|shown| *shown != sum) {
                Some(stored) => {
                    Err(Error::Mismatch { key: self.key.clone(), sent: sum, stored: stored.to_owned() })
                }
                None => Ok(unquoted(reply.e_tag())),
            }
        })
        .await
    }

    /// Begins a multipart upload. When the reply to a first try is lost, that try may have begun one whose id nobody
    /// knows: a lifecycle rule removes it.
    async fn create(&self, file: &OpenFile) -> Result<String, Error> {
        let bucket = &self.shared.bucket;
        let settings = &self.shared.objects;
        // Once sent, the request is waited for also when the run is ending: what it began could not be aborted else.
        self.repeat(self.gate(), "CreateMultipartUpload", Duration::ZERO, |attempt| async move {
            self.note_attempt(attempt.number, 0);
            let (sse, kms) = sse_headers(settings.sse.as_ref());
            let (algorithm, r#type) = match self.kind() {
                ChecksumKind::Crc64Nvme => {
                    (Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumType::FullObject))
                }
                ChecksumKind::Crc32c => (Some(ChecksumAlgorithm::Crc32C), Some(ChecksumType::FullObject)),
                ChecksumKind::Sha256 => (Some(ChecksumAlgorithm::Sha256), Some(ChecksumType::Composite)),
                ChecksumKind::None => (None, None),
            };
            let reply = bucket
                .client
                .create_multipart_upload()
                .bucket(bucket.name())
                .key(self.key.as_str())
                .set_metadata(Some(metadata_of(file.stat, settings, &self.file_id)))
                .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
                .set_server_side_encryption(sse)
                .set_ssekms_key_id(kms)
                .set_tagging(tagging(settings))
                .set_checksum_algorithm(algorithm)
                .set_checksum_type(r#type)
                .send()
                .await
                .map_err(|error| bucket.error("CreateMultipartUpload", &self.key, error))?;
            reply
                .upload_id()
                .map(ToOwned::to_owned)
                .ok_or_else(|| bucket.lost("CreateMultipartUpload", &self.key, "the reply names no upload"))
        })
        .await
    }

    async fn complete(
        &self,
        file: &OpenFile,
        upload_id: &str,
        mut parts: Vec<SentPart>,
        mut condition: WriteCondition,
    ) -> Result<Stored, Error> {
        parts.sort_by_key(|part| part.number);
        let completed: Vec<CompletedPart> = parts.iter().map(|part| self.completed_part(part)).collect();
        let sums: Vec<Sums> = parts.into_iter().map(|part| part.sums).collect();
        let whole = combine(self.kind(), &sums)
            .ok_or_else(|| Error::Defect("an upload without parts was to be completed".to_owned()))?;
        let mut ambiguous = false;
        let mut was_refused = false;
        for _ in 0..MAX_DECISIONS {
            let done =
                self.complete_repeatedly(upload_id, &completed, &whole, &condition, &mut ambiguous).await;
            let error = match done {
                Ok(info) => {
                    if was_refused {
                        self.give_up_conditions().await;
                    }
                    return self.proved(file.stat, &whole, info, true).await;
                }
                Err(error) => error,
            };
            if condition != WriteCondition::Always
                && error.service().is_some_and(ServiceError::is_not_implemented)
            {
                if let Decision::Have { info, sent } = self.look(&whole).await? {
                    return self.proved(file.stat, &whole, info, sent).await;
                }
                was_refused = true;
                condition = WriteCondition::Always;
                continue;
            }
            // S3 answers 404, not 412, when what was to be replaced is gone; the upload is still there then.
            if condition.if_match().is_some() && error.is_not_found() && !is_lost_upload(&error) {
                match self.decide(&whole, ambiguous).await? {
                    Decision::Have { info, sent } => {
                        return self.proved(file.stat, &whole, info, sent).await;
                    }
                    Decision::Put(next) => condition = next,
                }
                continue;
            }
            // After a lost reply the upload may be gone because it was completed.
            if error.is_precondition() || (ambiguous && error.is_not_found()) {
                return match self.decide(&whole, ambiguous).await? {
                    Decision::Have { info, sent } => self.proved(file.stat, &whole, info, sent).await,
                    Decision::Put(_) if error.is_precondition() => {
                        Err(self.conflict("it was written while this file was being sent"))
                    }
                    Decision::Put(_) => Err(error),
                };
            }
            return Err(error);
        }
        Err(self.keeps_changing())
    }

    async fn complete_repeatedly(
        &self,
        upload_id: &str,
        parts: &[CompletedPart],
        whole: &Whole,
        condition: &WriteCondition,
        ambiguous: &mut bool,
    ) -> Result<ObjectInfo, Error> {
        let bucket = &self.shared.bucket;
        let sum = match &whole.proof {
            Proof::Checksum(value, s3backup_model::manifest::ChecksumType::FullObject) => Some(value.clone()),
            _ => None,
        };
        let operation = "CompleteMultipartUpload";
        // Servers put the parts together before they answer, which takes longer the more there are (AWS: minutes).
        let allowance = PART_ALLOWANCE * u32::try_from(parts.len()).unwrap_or(u32::MAX);
        // All parts are there: even when the run is ending, one short request saves sending them again.
        self.repeat(self.last_gate(), operation, allowance, |attempt| {
            *ambiguous = attempt.ambiguous;
            let sum = sum.clone();
            async move {
                self.note_attempt(attempt.number, 0);
                let list = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
                let mut request = bucket
                    .client
                    .complete_multipart_upload()
                    .bucket(bucket.name())
                    .key(self.key.as_str())
                    .upload_id(upload_id)
                    .multipart_upload(list)
                    .mpu_object_size(i64::try_from(whole.len).unwrap_or(i64::MAX))
                    .set_if_none_match(condition.if_none_match())
                    .set_if_match(condition.if_match());
                request = match self.kind() {
                    ChecksumKind::Crc64Nvme => {
                        request.set_checksum_crc64_nvme(sum).checksum_type(ChecksumType::FullObject)
                    }
                    ChecksumKind::Crc32c => {
                        request.set_checksum_crc32_c(sum).checksum_type(ChecksumType::FullObject)
                    }
                    ChecksumKind::Sha256 | ChecksumKind::None => request,
                };
                let reply =
                    request.send().await.map_err(|error| bucket.error(operation, &self.key, error))?;
                Ok(ObjectInfo {
                    size: whole.len,
                    etag: unquoted(reply.e_tag()),
                    version_id: version(reply.version_id()),
                    crc64nvme: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
                    crc32c: reply.checksum_crc32_c().map(ToOwned::to_owned),
                    sha256: reply.checksum_sha256().map(ToOwned::to_owned),
                    ..ObjectInfo::default()
                })
            }
        })
        .await
    }

    fn completed_part(&self, part: &SentPart) -> CompletedPart {
        let builder = CompletedPart::builder().part_number(part.number).e_tag(&part.etag);
        let sum = part.sums.sent_base64();
        match self.kind() {
            ChecksumKind::Crc64Nvme => builder.checksum_crc64_nvme(sum),
            ChecksumKind::Crc32c => builder.checksum_crc32_c(sum),
            ChecksumKind::Sha256 => builder.checksum_sha256(sum),
            ChecksumKind::None => builder,
        }
        .build()
    }

    /// Gives the parts back. A failure is a warning: the object is not affected, but the parts are paid for.
    async fn abort(&self, upload_id: &str) {
        let bucket = &self.shared.bucket;
        let operation = "AbortMultipartUpload";
        let aborting = self.repeat(self.last_gate(), operation, Duration::ZERO, |_| async {
            let request = bucket.client.abort_multipart_upload().bucket(bucket.name()).key(self.key.as_str());
            let reply = request.upload_id(upload_id).send().await;
            reply.map(|_| ()).map_err(|error| bucket.error(operation, &self.key, error))
        });
        let result = if self.cancel.is_cancelled() {
            let lost = || bucket.lost(operation, &self.key, "the run is ending");
            // Something must be left of the drain time to say what was not done.
            tokio::time::timeout(self.shared.settings.drain.mul_f64(0.8), aborting)
                .await
                .unwrap_or_else(|_| Err(lost()))
        } else {
            aborting.await
        };
        match result {
            Err(error) if !error.is_not_found() => {
                let message = format!(
                    "an incomplete multipart upload of {} may be left in the bucket ({}): a lifecycle rule that aborts \
                     incomplete uploads removes it",
                    self.key,
                    error.to_line()
                );
                self.say(Update::Warning { message }).await;
            }
            _ => {}
        }
    }
}

/// Whether reading the file could show that the object has the same bytes.
fn is_comparable(info: &ObjectInfo, kind: ChecksumKind, size: u64, part_size: u64) -> bool {
    let parts = size.div_ceil(part_size);
    let has_etag_of_parts = kind == ChecksumKind::None && info.etag.ends_with(&format!("-{parts}"));
    info.size == size && (info.crc64nvme.is_some() || info.checksum(kind).is_some() || has_etag_of_parts)
}

/// Whether the server says that the multipart upload, and not the object, is gone.
fn is_lost_upload(error: &Error) -> bool {
    error.service().is_some_and(|refusal| refusal.code == "NoSuchUpload")
}

/// What to do with a file before it is sent.
enum Before {
    /// The bucket has these bytes.
    Have(ObjectInfo, Whole),
    /// Write on this condition.
    Put(WriteCondition),
}

enum PartError {
    Torn,
    Other(Box<Error>),
}

impl From<Error> for PartError {
    fn from(error: Error) -> Self {
        Self::Other(Box::new(error))
    }
}
