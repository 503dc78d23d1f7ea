//! One bucket: every request that this crate sends is made here, one attempt a call, and repeated in one place.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumMode, EncodingType, ServerSideEncryption, StorageClass,
};
use bytes::{Bytes, BytesMut};
use s3backup_model::Key;
use s3backup_model::manifest::ChecksumType;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::body::{Progress, Watch};
use crate::checksum::{Proof, Sums, Whole, encode_crc64};
use crate::error::cause_of;
use crate::retry::Backoff;
use crate::{ChecksumKind, Error, ObjectSettings, RetrySettings, Sse};

/// A bucket with the client that reaches it. Cheap to clone. `Debug` shows no credentials.
#[derive(Clone)]
pub struct Bucket {
    pub(crate) client: Client,
    name: Arc<str>,
    endpoint: Option<Arc<str>>,
    backoff: Arc<Backoff>,
    /// Whether the bucket is known to be there.
    exists: Arc<AtomicBool>,
}

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
    /// SHA-256, base64, with `-N` behind it when it is one of N parts.
    pub sha256: Option<String>,
    /// User metadata, names without `x-amz-meta-`.
    pub metadata: HashMap<String, String>,
}

impl ObjectInfo {
    /// The checksum in one algorithm, if the server shows it.
    pub(crate) fn checksum(&self, kind: ChecksumKind) -> Option<&str> {
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

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Keys and sizes, in the server's order (not every server sorts).
    pub objects: Vec<(String, u64)>,
    /// Pass this to [`Bucket::list`] for the next page; `None` at the end.
    pub next: Option<String>,
}

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
pub(crate) enum Condition {
    /// None.
    Always,
    /// There must be none of this key.
    New,
    /// The object must still have this ETag.
    Replaces(String),
}

impl Condition {
    pub(crate) fn if_none_match(&self) -> Option<String> {
        (*self == Self::New).then(|| "*".to_owned())
    }

    pub(crate) fn if_match(&self) -> Option<String> {
        if let Self::Replaces(etag) = self { Some(format!("\"{etag}\"")) } else { None }
    }
}

/// What a request waits for before each of its attempts; by default for nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Gate<'a> {
    /// One permit for each request in flight.
    pub(crate) requests: Option<&'a Semaphore>,
    /// No attempt is begun, and no wait between two goes on, once this is set.
    pub(crate) cancel: Option<&'a CancellationToken>,
}

impl<'a> Gate<'a> {
    /// Runs `work` unless the run ends first.
    pub(crate) async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let Some(cancel) = self.cancel else { return Ok(work.await) };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            done = work => Ok(done),
        }
    }

    async fn pass(&self) -> Result<Option<SemaphorePermit<'a>>, Error> {
        let Some(requests) = self.requests else { return Ok(None) };
        let permit = self.unless_cancelled(requests.acquire()).await?;
        permit.map(Some).map_err(|_| Error::Cancelled)
    }
}

/// One try of a request.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// From 1.
    pub(crate) number: u32,
    /// Whether an earlier try may have been carried out although it failed.
    pub(crate) ambiguous: bool,
    /// How far this try has come.
    pub(crate) progress: Progress,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    pub(crate) fn new(client: Client, name: String, endpoint: Option<String>) -> Self {
        Self {
            client,
            name: name.into(),
            endpoint: endpoint.map(Into::into),
            backoff: Arc::new(Backoff::new(RetrySettings::default())),
            exists: Arc::default(),
        }
    }

    /// Sets how requests are repeated and when they count as lost.
    #[must_use]
    pub fn with_retry(mut self, settings: RetrySettings) -> Self {
        self.backoff = Arc::new(Backoff::new(settings));
        self
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the server; `None` for AWS and for a client that was handed in.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// How long a reply may stand still before it counts as lost.
    pub(crate) fn idle_limit(&self) -> Duration {
        self.backoff.idle_limit(0)
    }

    pub(crate) fn target(&self, key: &Key) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// Runs `request` until it succeeds, fails for good, or the attempts are used up. An attempt that stands still
    /// for too long counts as lost; `allowance` is what the server may take longer than usual, and the time at the gate
    /// is not part of it. `on_retry` hears of each failure that is followed by another attempt.
    pub(crate) async fn repeat<T, F>(
        &self,
        gate: Gate<'_>,
        operation: &'static str,
        key: &Key,
        allowance: Duration,
        mut on_retry: impl FnMut(u32, Duration, &Error),
        mut request: impl FnMut(Attempt) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut number, mut ambiguous) = (1, false);
        loop {
            let permit = gate.pass().await?;
            let progress = Progress::begin();
            let attempt = Attempt { number, ambiguous, progress: progress.clone() };
            // The futures of the SDK are large; what waits at the gate should not be.
            let result = self.in_time(operation, key, allowance, &progress, Box::pin(request(attempt))).await;
            drop(permit);
            let error = match result {
                Err(error) if error.is_retryable() => error,
                done => return done,
            };
            let Some(wait) = self.backoff.wait_after(number) else { return Err(error) };
            on_retry(number, wait, &error);
            gate.unless_cancelled(tokio::time::sleep(wait)).await?;
            number += 1;
            ambiguous |= error.is_ambiguous();
        }
    }

    /// One attempt, which counts as lost when it stands still for too long.
    pub(crate) async fn in_time<T>(
        &self,
        operation: &'static str,
        key: &Key,
        allowance: Duration,
        progress: &Progress,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::pin!(request);
        loop {
            let (bytes, since) = progress.last();
            let limit = self.backoff.idle_limit(bytes) + allowance;
            if let Ok(done) = tokio::time::timeout_at(since + limit, &mut request).await {
                return done;
            }
            if progress.last().1 == since {
                // A tenth of a second is exact enough for a person.
                let seconds = (limit.as_secs_f64() * 10.0).round() / 10.0;
                return Err(self.lost(operation, key, format!("nothing moved for {seconds} s")));
            }
        }
    }

    /// How long to wait after attempt number `attempt` failed; `None` when it was the last.
    pub(crate) fn wait_after(&self, attempt: u32) -> Option<Duration> {
        self.backoff.wait_after(attempt)
    }

    /// What the server says of an object; `None` when there is none. Repeats what may go well later.
    pub async fn head(&self, key: &Key) -> Result<Option<ObjectInfo>, Error> {
        let result = self
            .repeat(Gate::default(), "HeadObject", key, Duration::ZERO, |_, _, _| {}, |_| self.head_once(key))
            .await;
        found(result)
    }

    pub(crate) async fn head_once(&self, key: &Key) -> Result<ObjectInfo, Error> {
        let request = self.client.head_object().bucket(&*self.name).key(key.as_str());
        let reply = request.checksum_mode(ChecksumMode::Enabled).send().await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let error = self.error("HeadObject", key, error);
                return Err(Box::pin(self.reason_for(key, error)).await);
            }
        };
        Ok(ObjectInfo {
            size: reply.content_length().and_then(|len| u64::try_from(len).ok()).unwrap_or_default(),
            etag: unquoted(reply.e_tag()),
            version_id: version(reply.version_id()),
            crc64nvme: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            crc32c: reply.checksum_crc32_c().map(ToOwned::to_owned),
            sha256: reply.checksum_sha256().map(ToOwned::to_owned),
            metadata: reply.metadata().cloned().unwrap_or_default(),
        })
    }

    /// A refused HEAD has no body and so no reason: a missing bucket looks like a missing object, and expired
    /// credentials like any bad request. GET is refused with a reason. It is asked where the reason matters, and for
    /// the bucket's sake until one object was missing from a bucket that is there.
    async fn reason_for(&self, key: &Key, error: Error) -> Error {
        let status = error.service().map_or(0, |refusal| refusal.status);
        if !(status == 400 || (status == 404 && !self.exists.load(Ordering::Relaxed))) {
            return error;
        }
        let get = self.client.get_object().bucket(&*self.name).key(key.as_str()).range("bytes=0-0");
        let Err(reason) = get.send().await else { return error };
        let reason = self.error("HeadObject", key, reason);
        match reason.service() {
            Some(refusal) if refusal.code.is_empty() || refusal.status != status => error,
            Some(refusal) => {
                self.exists.fetch_or(refusal.is_not_found(), Ordering::Relaxed);
                reason
            }
            None => error,
        }
    }

    /// Reads a small object whole; `None` when there is none.
    ///
    /// # Errors
    /// An object of more than `limit` bytes is [`Error::BadRequest`]: it is not what the caller takes it for.
    pub async fn read(&self, key: &Key, limit: u64) -> Result<Option<Bytes>, Error> {
        let result = self
            .repeat(
                Gate::default(),
                "GetObject",
                key,
                Duration::ZERO,
                |_, _, _| {},
                |attempt| async move {
                    let reply = self.get_once(key).await?;
                    let size =
                        reply.content_length().and_then(|len| u64::try_from(len).ok()).unwrap_or_default();
                    if size > limit {
                        let cause = format!("it has {size} bytes where at most {limit} were expected");
                        return Err(Error::BadRequest {
                            operation: "GetObject",
                            target: self.target(key),
                            cause,
                        });
                    }
                    let mut body = reply.body;
                    let mut bytes = BytesMut::new();
                    while let Some(piece) = body.next().await {
                        bytes.extend_from_slice(
                            &piece.map_err(|error| self.lost("GetObject", key, cause_of(&error)))?,
                        );
                        attempt.progress.note(0);
                    }
                    Ok(bytes.freeze())
                },
            )
            .await;
        found(result)
    }

    async fn get_once(&self, key: &Key) -> Result<GetObjectOutput, Error> {
        self.get_from(key, 0, None).await
    }

    /// What comes behind the first `at` bytes, if the object still has this ETag.
    pub(crate) async fn get_from(
        &self,
        key: &Key,
        at: u64,
        etag: Option<String>,
    ) -> Result<GetObjectOutput, Error> {
        let request = self.client.get_object().bucket(&*self.name).key(key.as_str()).set_if_match(etag);
        let request = if at > 0 { request.range(format!("bytes={at}-")) } else { request };
        request.send().await.map_err(|error| self.error("GetObject", key, error))
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
        let sums = Sums::of(kind, &bytes);
        let settings = ObjectSettings { sse: sse.cloned(), ..ObjectSettings::default() };
        let info = self
            .repeat(
                Gate::default(),
                "PutObject",
                key,
                Duration::ZERO,
                |_, _, _| {},
                |attempt| {
                    self.put_once(
                        key,
                        ByteStream::from(bytes.clone()),
                        attempt.progress,
                        kind,
                        &sums,
                        &settings,
                        None,
                        &Condition::Always,
                    )
                },
            )
            .await?;
        let sent = sums.sent_base64();
        match info.checksum(kind) {
            Some(stored) if stored != sent => {
                Err(Error::Mismatch { key: key.clone(), sent, stored: stored.to_owned() })
            }
            _ => Ok(info),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(crate) async fn put_once(
        &self,
        key: &Key,
        body: ByteStream,
        progress: Progress,
        kind: ChecksumKind,
        sums: &Sums,
        settings: &ObjectSettings,
        metadata: Option<HashMap<String, String>>,
        condition: &Condition,
    ) -> Result<ObjectInfo, Error> {
        let sum = sums.sent_base64();
        let (sse, kms) = sse_headers(settings.sse.as_ref());
        let mut request = self
            .client
            .put_object()
            .bucket(&*self.name)
            .key(key.as_str())
            .body(body)
            .content_length(i64::try_from(sums.len).unwrap_or(i64::MAX))
            .set_metadata(metadata)
            .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(kms)
            .set_tagging(tagging(settings))
            .set_if_none_match(condition.if_none_match())
            .set_if_match(condition.if_match());
        request = match kind {
            ChecksumKind::Crc64Nvme => request.checksum_crc64_nvme(sum),
            ChecksumKind::Crc32c => request.checksum_crc32_c(sum),
            ChecksumKind::Sha256 => request.checksum_sha256(sum),
            ChecksumKind::None => request.content_md5(sum),
        };
        let reply = request.customize().interceptor(Watch(progress)).send().await;
        let reply = reply.map_err(|error| self.error("PutObject", key, error))?;
        Ok(ObjectInfo {
            size: sums.len,
            etag: unquoted(reply.e_tag()),
            version_id: version(reply.version_id()),
            crc64nvme: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            crc32c: reply.checksum_crc32_c().map(ToOwned::to_owned),
            sha256: reply.checksum_sha256().map(ToOwned::to_owned),
            metadata: HashMap::new(),
        })
    }

    /// One page, at most 1,000 keys, of what starts with `prefix`.
    pub async fn list(&self, prefix: &str, page: Option<&str>) -> Result<Listed, Error> {
        // A listing has no key of its own; its prefix names it in errors.
        let named =
            Key::new(if prefix.is_empty() { "*" } else { prefix }).map_err(|error| Error::BadRequest {
                operation: "ListObjectsV2",
                target: prefix.to_owned(),
                cause: error.to_string(),
            })?;
        self.repeat(
            Gate::default(),
            "ListObjectsV2",
            &named,
            Duration::ZERO,
            |_, _, _| {},
            |_| async {
                let request = self.client.list_objects_v2().bucket(&*self.name).prefix(prefix);
                // Keys can hold characters that XML cannot; the SDK hands them over as they were sent.
                let request = request
                    .encoding_type(EncodingType::Url)
                    .set_continuation_token(page.map(ToOwned::to_owned));
                let reply =
                    request.send().await.map_err(|error| self.error("ListObjectsV2", &named, error))?;
                let objects = reply.contents().iter().filter_map(|object| {
                    let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                    object.key().map(|key| (url_decoded(key), size))
                });
                Ok(Listed {
                    objects: objects.collect(),
                    next: reply.next_continuation_token().map(ToOwned::to_owned),
                })
            },
        )
        .await
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

    pub(crate) fn error<E>(&self, operation: &'static str, key: &Key, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match (Error::of_sdk(operation, self.target(key), error), &self.endpoint) {
            // Who does not answer is worth saying, where it is not simply AWS.
            (Error::NoAnswer { operation, target, cause }, Some(endpoint)) => {
                let address = endpoint.split_once("://").map_or(&**endpoint, |(_, address)| address);
                let cause = format!("{cause} ({})", address.trim_end_matches('/'));
                Error::NoAnswer { operation, target, cause }
            }
            (error, _) => error,
        }
    }

    pub(crate) fn lost(&self, operation: &'static str, key: &Key, cause: impl Into<String>) -> Error {
        Error::NoAnswer { operation, target: self.target(key), cause: cause.into() }
    }
}

pub(crate) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

/// A version id; `null` is what S3 says of objects without one.
pub(crate) fn version(id: Option<&str>) -> Option<String> {
    id.filter(|id| !id.is_empty() && *id != "null").map(ToOwned::to_owned)
}

pub(crate) fn sse_headers(sse: Option<&Sse>) -> (Option<ServerSideEncryption>, Option<String>) {
    match sse {
        None => (None, None),
        Some(Sse::S3) => (Some(ServerSideEncryption::Aes256), None),
        Some(Sse::Kms { key_id }) => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
    }
}

/// Tags in the form of a URL query, as the header takes them.
pub(crate) fn tagging(settings: &ObjectSettings) -> Option<String> {
    let pairs: Vec<String> = settings
        .tags
        .iter()
        .map(|(name, value)| format!("{}={}", url_encoded(name), url_encoded(value)))
        .collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

fn url_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn url_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let hex =
            |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok());
        match (first, behind.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = behind;
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_listed_keys_survive_their_encoding() {
        let tags = [("team".to_owned(), "fleet & co=1".to_owned())].into();
        let settings = ObjectSettings { tags, ..ObjectSettings::default() };
        assert_eq!(tagging(&settings).as_deref(), Some("team=fleet%20%26%20co%3D1"));
        for key in ["a b+c&é%20;=?#'~.txt", "日本/%41", "plain/key"] {
            assert_eq!(url_decoded(&url_encoded(key)), key);
        }
        assert_eq!(url_decoded("a+b%2Bc"), "a b+c");
    }
}
