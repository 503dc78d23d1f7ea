//! Large files: in parts, each proved by itself, completed only when the file did not change meanwhile.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, StorageClass,
};
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use s3backup_model::FailureKind;

use crate::body::{Payload, STREAM_BYTES};
use crate::checksum::{Proof, Sums, Whole, combine};
use crate::control::WriteCondition;
use crate::engine::{FileTransfer, PARTS, Stored, Update, on_blocking_thread};
use crate::headers::{sdk_metadata, sse_headers, tagging, unquoted, version};
use crate::object::ObjectInfo;
use crate::put::{Decision, MAX_DECISIONS, metadata_of};
use crate::read::{OpenFile, Read};
use crate::resume::ListedPart;
use crate::slots::Slot;
use crate::wire::field_of;
use crate::{ChecksumKind, Error, OpenUpload, ServiceError};

/// How much longer a completion may take for each part.
const PART_ALLOWANCE: Duration = Duration::from_millis(100);

/// The coarsest unit in which a server says when an upload was begun.
const STAMP_GRAIN: Duration = Duration::from_secs(1);

/// A multipart upload that this run fills.
pub(crate) struct Multipart {
    pub(crate) id: String,
    pub(crate) part_size: u64,
    /// The parts that an earlier run had sent, by number.
    pub(crate) had: HashMap<i32, ListedPart>,
    /// Whether an earlier run began it.
    pub(crate) is_resumed: bool,
}

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
        match self.compare_large_with_known(&file).await? {
            Read::Torn => return Ok(Read::Torn),
            Read::Steady(Some(stored)) => return Ok(Read::Steady(stored)),
            Read::Steady(None) => {}
        }
        let found = self.find_open(&file).await?;
        let part_size = found.part_size().unwrap_or(part_size);
        let before = self.before_sending(&file, part_size, found.is_gone()).await;
        let mut resumed = found.open();
        let condition = match before {
            Ok(ControlFlow::Continue(condition)) => condition,
            ended => {
                let result = ended.map(|flow| flow.break_value().unwrap_or(Read::Torn));
                if let Some(upload) = resumed {
                    self.settle(&upload.id, &result).await;
                }
                return result;
            }
        };
        loop {
            let upload = match resumed.take() {
                Some(upload) => upload,
                None => self.begin(&file, part_size).await?,
            };
            let result = self.send_and_complete(&file, &upload, condition.clone()).await;
            self.settle(&upload.id, &result).await;
            match result {
                // Somebody aborted it after its parts were listed.
                Err(error) if upload.is_resumed && is_lost_upload(&error) => {}
                result => return result,
            }
        }
    }

    /// Looks whether the bucket has the file, before gigabytes are sent for nothing; not at an object that is known.
    ///
    /// `was_ours` says that an upload of this very file is gone and may have been completed: then an object with these
    /// bytes is our own.
    async fn before_sending(
        &self,
        file: &OpenFile,
        part_size: u64,
        was_ours: bool,
    ) -> Result<ControlFlow<Read<Stored>, WriteCondition>, Error> {
        let may_have = !self.is_doubtful();
        if let Some(condition) = self.known_condition().filter(|_| !(was_ours && may_have)) {
            return Ok(ControlFlow::Continue(condition));
        }
        let info = match self.head().await {
            Ok(Some(info)) => info,
            Ok(None) => return Ok(ControlFlow::Continue(self.fresh_condition())),
            // A host that may only write cannot look; the condition of the write itself protects what is there.
            Err(error) if error.service().is_some_and(ServiceError::is_denied) => {
                let condition = self.known_condition().unwrap_or_else(|| self.fresh_condition());
                return Ok(ControlFlow::Continue(condition));
            }
            Err(error) => return Err(error),
        };
        if may_have && is_comparable(&info, self.kind(), file.stat.size, part_size) {
            let (reader, kind, cancel) = (file.clone(), self.kind(), self.cancel.clone());
            let hashed = on_blocking_thread(move || {
                let hashed = reader.hash_parts(kind, part_size, &cancel)?;
                Ok(if reader.is_steady()? { hashed } else { Read::Torn })
            });
            let Read::Steady(parts) = self.gate().unless_cancelled(hashed).await?? else {
                return Ok(ControlFlow::Break(Read::Torn));
            };
            if let Some(whole) = combine(kind, &parts).filter(|whole| info.proof_of(whole, kind).is_some()) {
                let stored = self.proved(file.stat, &whole, info, was_ours).await?;
                return Ok(ControlFlow::Break(Read::Steady(stored)));
            }
        }
        Ok(ControlFlow::Continue(match self.may_replace(&info)? {
            WriteCondition::Replaces(_) if !self.is_conditional() => WriteCondition::Always,
            condition => condition,
        }))
    }

    /// Begins a multipart upload that the journal knows of, before and after.
    async fn begin(&self, file: &OpenFile, part_size: u64) -> Result<Multipart, Error> {
        self.note_intended().await?;
        let is_unclear = AtomicBool::new(false);
        let begun_at = Instant::now();
        let id = match self.create(file, &is_unclear).await {
            Ok(id) => id,
            Err(error) => {
                if !is_unclear.load(Ordering::Relaxed) {
                    self.note_ended().await;
                }
                return Err(error);
            }
        };
        // Before the journal names this one alone: a run that dies here leaves the intent, by which the next finds all.
        if is_unclear.load(Ordering::Relaxed) {
            self.abort_earlier_tries(&id, begun_at.elapsed()).await;
        }
        let begun = OpenUpload { upload_id: id.clone(), part_size, stat: file.stat, checksum: self.kind() };
        if let Err(error) = self.note_begun(begun).await {
            self.abort(&id).await;
            return Err(error);
        }
        // What was kept of another upload went with it.
        self.counters.resumed_parts.store(0, Ordering::Relaxed);
        Ok(Multipart { id, part_size, had: HashMap::new(), is_resumed: false })
    }

    /// Looks for uploads of this key that tries of the same request have begun in the time before this one, and aborts
    /// them: nobody knows their ids.
    async fn abort_earlier_tries(&self, id: &str, time: Duration) {
        let listing = self.shared.bucket.open_uploads(&self.key);
        let open = match self.gate().unless_cancelled(listing).await.flatten() {
            Ok(open) => open,
            Err(error) => return self.warn_of_left_upload(&error).await,
        };
        // By the server's clock alone.
        let ours = open.iter().find(|upload| upload.upload_id == id).and_then(|upload| upload.initiated);
        let window = chrono::TimeDelta::from_std(time + STAMP_GRAIN).unwrap_or(chrono::TimeDelta::MAX);
        let is_earlier_try =
            |initiated: DateTime<Utc>| ours.is_none_or(|ours| (ours - initiated).abs() <= window);
        for upload in open.iter().filter(|upload| upload.upload_id != id) {
            if upload.initiated.is_none_or(is_earlier_try) {
                self.abort(&upload.upload_id).await;
            }
        }
    }

    async fn send_and_complete(
        &self,
        file: &OpenFile,
        upload: &Multipart,
        condition: WriteCondition,
    ) -> Result<Read<Stored>, Error> {
        let part_size = upload.part_size;
        let settings = &self.shared.settings;
        let parts_in_memory = usize::try_from(settings.memory_bytes / part_size).unwrap_or(usize::MAX).max(1);
        // One more than memory has room for, so that a part is waiting for it and not the other way round.
        let at_once =
            parts_in_memory.saturating_add(1).min(settings.concurrency.unwrap_or(PARTS.most).max(1));
        let count = file.stat.size.div_ceil(part_size).max(1);
        let sending = stream::iter(0..count)
            .map(|index| {
                let offset = index * part_size;
                let len = part_size.min(file.stat.size - offset);
                self.keep_or_send_part(file, upload, index, offset, len)
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
        self.complete(file, upload, parts, condition).await.map(Read::Steady)
    }

    async fn keep_or_send_part(
        &self,
        file: &OpenFile,
        upload: &Multipart,
        index: u64,
        offset: u64,
        len: u64,
    ) -> Result<SentPart, PartError> {
        let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
        if let Some(listed) = upload.had.get(&number).filter(|listed| listed.size == len)
            && let Some(sums) = self.prove_part(file, listed, offset).await?
        {
            return Ok(SentPart { number, etag: listed.etag.clone(), sums });
        }
        self.send_part(file, &upload.id, number, offset, len).await
    }

    async fn send_part(
        &self,
        file: &OpenFile,
        upload_id: &str,
        number: i32,
        offset: u64,
        len: u64,
    ) -> Result<SentPart, PartError> {
        let is_streamed = len > self.shared.settings.memory_bytes;
        let held = if is_streamed { STREAM_BYTES } else { len };
        let (slot, _memory) = self.place_for_part(held).await?;
        let (reader, kind, cancel) = (file.clone(), self.kind(), self.cancel.clone());
        let buffers = self.shared.buffers.clone();
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
                match reader.read_part(kind, offset, len, &buffers)? {
                    Read::Steady((bytes, sums)) => Read::Steady((Payload::Whole(bytes), sums)),
                    Read::Torn => Read::Torn,
                }
            };
            // Nothing more of a file is sent once it is seen to have changed: it would be thrown away.
            Ok(if reader.is_unchanged()? { read } else { Read::Torn })
        })
        .await?;
        let Read::Steady((payload, sums)) = read else { return Err(PartError::Torn) };
        let etag = match self.upload_part(slot, file, upload_id, number, &payload, &sums).await {
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
        slot: Slot<'_>,
        file: &OpenFile,
        upload_id: &str,
        number: i32,
        payload: &Payload,
        sums: &Sums,
    ) -> Result<String, Error> {
        let bucket = &self.shared.bucket;
        self.repeat(self.part_gate(slot, sums.len), "UploadPart", Duration::ZERO, |attempt| async move {
            // What is read again for each attempt fails again for as long as the file is another.
            if attempt.number > 1 && !payload.is_in_memory() && !file.is_unchanged()? {
                return Err(Error::Changed { path: file.path.to_path_buf(), reads: 1 });
            }
            self.note_attempt(attempt.number, payload.len());
            let sum = sums.sent_base64();
            if let Some(wire) = &bucket.wire {
                let (kind, watch) = (self.kind(), &self.watch(attempt.progress));
                let head = wire.upload_part(&self.key, upload_id, number, payload, kind, sums, watch).await;
                let head = head.map_err(|failure| bucket.wire_error("UploadPart", &self.key, failure))?;
                let shown = head.field(field_of(kind)).filter(|_| kind != ChecksumKind::None);
                return self.part_etag(sum, shown, head.field("etag"));
            }
            let mut request = bucket
                .client
                .upload_part()
                .bucket(bucket.name())
                .key(self.key.as_str())
                .upload_id(upload_id)
                .part_number(number)
                .content_length(i64::try_from(sums.len).unwrap_or(i64::MAX))
                .set_checksum_algorithm(self.kind().algorithm())
                .body(payload.to_stream());
            request = match self.kind() {
                ChecksumKind::Crc64Nvme => request.checksum_crc64_nvme(&sum),
                ChecksumKind::Crc32c => request.checksum_crc32_c(&sum),
                ChecksumKind::Sha256 => request.checksum_sha256(&sum),
                ChecksumKind::None => request.content_md5(&sum),
            };
            let reply = request.customize().interceptor(self.watch(attempt.progress)).send().await;
            let reply = reply.map_err(|error| bucket.error("UploadPart", &self.key, error))?;
            let shown = match self.kind() {
                ChecksumKind::Crc64Nvme => reply.checksum_crc64_nvme(),
                ChecksumKind::Crc32c => reply.checksum_crc32_c(),
                ChecksumKind::Sha256 => reply.checksum_sha256(),
                ChecksumKind::None => None,
            };
            self.part_etag(sum, shown, reply.e_tag())
        })
        .await
    }

    /// The ETag of a part of which the server shows no other checksum than was sent.
    fn part_etag(&self, sent: String, shown: Option<&str>, etag: Option<&str>) -> Result<String, Error> {
        match shown.filter(|shown| *shown != sent) {
            Some(stored) => Err(Error::Mismatch { key: self.key.clone(), sent, stored: stored.to_owned() }),
            None => Ok(unquoted(etag)),
        }
    }

    /// Begins a multipart upload. When the reply to a first try is lost, that try may have begun one whose id nobody
    /// knows: `is_unclear` says at the end whether there may be one.
    async fn create(&self, file: &OpenFile, is_unclear: &AtomicBool) -> Result<String, Error> {
        let bucket = &self.shared.bucket;
        let settings = &self.shared.objects;
        // Once sent, the request is waited for also when the run is ending: what it began could not be aborted else.
        self.repeat(self.gate(), "CreateMultipartUpload", Duration::ZERO, |attempt| {
            let (algorithm, r#type) = algorithm_of(self.kind());
            let (sse, kms) = sse_headers(settings.sse.as_ref());
            let request = bucket
                .client
                .create_multipart_upload()
                .bucket(bucket.name())
                .key(self.key.as_str())
                .set_metadata(sdk_metadata(&metadata_of(file.stat, settings, &self.file_id)))
                .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
                .set_server_side_encryption(sse)
                .set_ssekms_key_id(kms)
                .set_tagging(tagging(settings))
                .set_checksum_algorithm(algorithm)
                .set_checksum_type(r#type);
            async move {
                self.note_attempt(attempt.number, 0);
                is_unclear.store(true, Ordering::Relaxed);
                let reply = request.send().await.map_err(|error| {
                    let error = bucket.error("CreateMultipartUpload", &self.key, error);
                    is_unclear.store(attempt.ambiguous || error.is_ambiguous(), Ordering::Relaxed);
                    error
                })?;
                is_unclear.store(attempt.ambiguous, Ordering::Relaxed);
                reply.upload_id().map(ToOwned::to_owned).ok_or_else(|| {
                    bucket.lost("CreateMultipartUpload", &self.key, "the reply names no upload")
                })
            }
        })
        .await
    }

    async fn complete(
        &self,
        file: &OpenFile,
        upload: &Multipart,
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
        // Nobody looked at the object: a refusal is then the first that is heard of it.
        let mut is_unseen = self.known_condition().is_some_and(|known| known == condition);
        for _ in 0..MAX_DECISIONS {
            let done =
                self.complete_repeatedly(&upload.id, &completed, &whole, &condition, &mut ambiguous).await;
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
                is_unseen = false;
                match self.decide(&whole, ambiguous).await? {
                    Decision::Have { info, sent } => {
                        return self.proved(file.stat, &whole, info, sent).await;
                    }
                    Decision::Put(next) => condition = next,
                }
                continue;
            }
            // After a lost reply, of this run or of the one before, the upload may be gone because it was completed.
            let was_lost = ambiguous || (upload.is_resumed && !self.is_doubtful() && is_lost_upload(&error));
            if error.is_precondition() || (was_lost && error.is_not_found()) {
                match self.decide(&whole, was_lost).await? {
                    Decision::Have { info, sent } => {
                        return self.proved(file.stat, &whole, info, sent).await;
                    }
                    Decision::Put(next) if error.is_precondition() && is_unseen => condition = next,
                    Decision::Put(_) if error.is_precondition() => {
                        return Err(self.conflict("it was written while this file was being sent"));
                    }
                    Decision::Put(_) => return Err(error),
                }
                is_unseen = false;
                continue;
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

    /// Gives the parts back, and says whether that is done. A failure is a warning: the object is not affected, but the
    /// parts are paid for.
    pub(crate) async fn abort(&self, upload_id: &str) -> bool {
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
        let error = match result {
            Err(error) if !error.is_not_found() => error,
            _ => return true,
        };
        self.warn_of_left_upload(&error).await;
        false
    }

    async fn warn_of_left_upload(&self, error: &Error) {
        let message = format!(
            "an incomplete multipart upload of {} may be left in the bucket ({}): a lifecycle rule that aborts \
             incomplete uploads removes it",
            self.key,
            error.to_line()
        );
        self.say(Update::Warning { message }).await;
    }
}

/// Whether reading the file could show that the object has the same bytes.
fn is_comparable(info: &ObjectInfo, kind: ChecksumKind, size: u64, part_size: u64) -> bool {
    let parts = size.div_ceil(part_size);
    let has_etag_of_parts = kind == ChecksumKind::None && info.etag.ends_with(&format!("-{parts}"));
    info.size == size && (info.crc64nvme.is_some() || info.checksum(kind).is_some() || has_etag_of_parts)
}

fn algorithm_of(kind: ChecksumKind) -> (Option<ChecksumAlgorithm>, Option<ChecksumType>) {
    match kind {
        ChecksumKind::Crc64Nvme => (Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumType::FullObject)),
        ChecksumKind::Crc32c => (Some(ChecksumAlgorithm::Crc32C), Some(ChecksumType::FullObject)),
        ChecksumKind::Sha256 => (Some(ChecksumAlgorithm::Sha256), Some(ChecksumType::Composite)),
        ChecksumKind::None => (None, None),
    }
}

/// Whether the server says that the multipart upload, and not the object, is gone.
pub(crate) fn is_lost_upload(error: &Error) -> bool {
    error.service().is_some_and(|refusal| refusal.code == "NoSuchUpload")
}

pub(crate) enum PartError {
    Torn,
    Other(Box<Error>),
}

impl From<Error> for PartError {
    fn from(error: Error) -> Self {
        Self::Other(Box::new(error))
    }
}
