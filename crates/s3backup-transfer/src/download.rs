//! Bringing objects back: in ranges, many at a time, as a file that is proved before it counts.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use futures::{StreamExt, stream};
use s3backup_model::Key;
use tokio::sync::Semaphore;

use crate::batch::is_small;
use crate::body::{Progress, Watch};
use crate::bucket::{Timing, sign_of};
use crate::buffer::Buffers;
use crate::checksum::encode_crc64;
use crate::engine::on_blocking_thread;
use crate::error::cause_of;
use crate::headers::unquoted;
use crate::level::Bounds;
use crate::object::ObjectInfo;
use crate::pace::Pace;
use crate::slots::Slots;
use crate::wire::{Failure, Reply};
use crate::{Bandwidth, Bucket, Error};

/// How much one request asks for. Larger ones gain nothing on a fast line, and give less to do side by side.
const RANGE_BYTES: u64 = 8 << 20;

/// How much is collected before it is written: a hand-over to another thread then costs little beside the write.
const WRITE_BYTES: usize = 256 << 10;

/// A write of that much which took longer had to wait: to copy it takes 0.1 ms.
const SLOW_WRITE: Duration = Duration::from_millis(2);

/// How many requests for small objects are in flight: few at first, as for uploads.
const SMALL: Bounds = Bounds { start: 16, least: 4, most: 256 };

/// How many for pieces of larger ones.
const RANGES: usize = 16;

const OVERWRITTEN: &str = "was overwritten since, and the bucket keeps no versions of it";

/// What became of an object that is not there.
pub(crate) const NOT_THERE: &str = "is no longer in the bucket";

/// Which content of a key is asked for: that and never another one. By default whatever is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// The version, where the bucket has versioning.
    pub version_id: Option<String>,
    /// The ETag, without quotes, which tells whether the object was overwritten since.
    pub etag: Option<String>,
}

/// What a download must give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Length in bytes.
    pub size: u64,
    /// CRC64NVME, base64, if it is known.
    pub crc64nvme: Option<String>,
}

/// What was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Length in bytes.
    pub size: u64,
    /// CRC64NVME of the bytes, base64.
    pub crc64nvme: String,
}

/// What all downloads together may take. Share one among them.
#[derive(Debug)]
pub struct DownloadLimits {
    /// Requests in flight for small objects.
    small: Arc<Slots>,
    /// Those for pieces of larger ones.
    ranges: Arc<Slots>,
    /// The most that there can be of either.
    most_small: usize,
    most_ranges: usize,
    pace: Pace,
    buffers: Buffers,
    disk: Disk,
}

impl DownloadLimits {
    /// At most so many requests at a time, and at least one. Each takes about 1 MiB of memory, whatever the objects are.
    pub fn new(requests: usize) -> Self {
        let most = requests.clamp(1, Semaphore::MAX_PERMITS);
        let both = Arc::new(Slots::fixed(most));
        Self::of(Arc::clone(&both), most, both, most)
    }

    /// As many requests for small objects, up to 256, as turn out to be best, and 16 for pieces of larger ones, which fill
    /// a fast line. Takes up to 32 MiB of memory.
    pub fn auto() -> Self {
        let small = Arc::new(Slots::auto(SMALL));
        Self::of(small, SMALL.most, Arc::new(Slots::fixed(RANGES)), RANGES)
    }

    fn of(small: Arc<Slots>, most_small: usize, ranges: Arc<Slots>, most_ranges: usize) -> Self {
        let (pace, buffers) = (Pace::default(), Buffers::default());
        Self { small, ranges, most_small, most_ranges, pace, buffers, disk: Disk::default() }
    }

    /// Up to how many objects there is a request for, when all of them are of this size.
    pub fn objects_at_once(&self, size: u64) -> usize {
        if is_small(size) { self.most_small } else { self.most_ranges }
    }

    fn slots(&self, size: u64) -> &Slots {
        if is_small(size) { &self.small } else { &self.ranges }
    }

    /// How fast the bytes of all of them together may come. What has come is waited for before more is taken, so that
    /// buffers of the connections, of some 100 KiB each, may fill faster. Default: as fast as they do.
    #[must_use]
    pub fn with_bandwidth(mut self, bandwidth: Bandwidth) -> Self {
        self.pace = Pace::new(bandwidth);
        self
    }
}

impl Default for DownloadLimits {
    /// [`DownloadLimits::auto`].
    fn default() -> Self {
        Self::auto()
    }
}

/// Where bytes are written: beside the requests as long as the kernel takes them at once, which costs less than the way to
/// another thread (2.4 s of processor time for 3 GiB that way, 1.8 s this way). Where a write had to wait for the disk, the
/// next one is left to a thread that may wait.
#[derive(Debug, Default)]
struct Disk {
    is_slow: AtomicBool,
}

impl Disk {
    fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    fn note(&self, took: Duration) {
        self.is_slow.store(took > SLOW_WRITE, Ordering::Relaxed);
    }
}

impl Pin {
    /// Pins what the server just showed.
    fn of(info: &ObjectInfo) -> Self {
        let etag = Some(info.etag.clone()).filter(|etag| !etag.is_empty());
        Self { version_id: info.version_id.clone(), etag }
    }

    fn is_open(&self) -> bool {
        self.version_id.is_none() && self.etag.is_none()
    }

    /// A version cannot be overwritten, so it needs no condition.
    pub(crate) fn if_match(&self) -> Option<String> {
        let etag = self.etag.as_ref().filter(|_| self.version_id.is_none());
        etag.map(|etag| format!("\"{etag}\""))
    }

    /// Versions take a right of their own, after which errors name the request.
    pub(crate) fn head_operation(&self) -> &'static str {
        if self.version_id.is_some() { "HeadObjectVersion" } else { "HeadObject" }
    }

    fn get_operation(&self) -> &'static str {
        if self.version_id.is_some() { "GetObjectVersion" } else { "GetObject" }
    }
}

/// What the refusal of a pinned content means.
fn gone(key: &Key, error: Error) -> Error {
    let why = if error.is_precondition() {
        OVERWRITTEN
    } else if error.is_not_found() {
        NOT_THERE
    } else {
        return error;
    };
    Error::VersionGone { key: key.clone(), why }
}

impl Bucket {
    /// Downloads an object into `file`, which must be empty and writable, and proves its length and its checksum if
    /// there is one. Large objects come in ranges of 8 MiB side by side. A reply that breaks off is asked for again
    /// from where it broke, and an object whose bytes are others once more as a whole. Nothing is synced to disk.
    ///
    /// Dropping the future, like an error, leaves some of the bytes in the file, and a last piece of up to 256 KiB a
    /// request may still be written to it.
    ///
    /// # Errors
    /// [`Error::VersionGone`] when the content that `pin` asks for cannot be had any more, [`Error::NeedsThaw`] when it
    /// is archived, [`Error::Mismatch`] when it is not what is expected, [`Error::NotWritten`] when the file cannot take
    /// it.
    pub async fn download_into(
        &self,
        key: &Key,
        pin: &Pin,
        expected: &Expected,
        file: Arc<File>,
        limits: &DownloadLimits,
    ) -> Result<Downloaded, Error> {
        let pin = if pin.is_open() { Pin::of(&self.head_pinned(key, pin).await?) } else { pin.clone() };
        let get = Get {
            bucket: self,
            key,
            pin: &pin,
            size: expected.size,
            file: Some(file),
            writes: Semaphore::new(WRITES),
            limits,
        };
        let mut downloaded = get.all().await?;
        let is_other =
            |got: &Downloaded| expected.crc64nvme.as_ref().is_some_and(|sent| *sent != got.crc64nvme);
        if is_other(&downloaded) {
            // They may be other ones only on this way here.
            downloaded = get.all().await?;
        }
        match &expected.crc64nvme {
            Some(sent) if is_other(&downloaded) => {
                let (sent, stored) = (sent.clone(), downloaded.crc64nvme);
                Err(Error::Mismatch { key: key.clone(), sent, stored })
            }
            _ => Ok(downloaded),
        }
    }

    /// Reads an object through and gives its length and checksum, keeping nothing.
    ///
    /// # Errors
    /// Those of [`Bucket::download_into`].
    pub async fn hash_object(
        &self,
        key: &Key,
        pin: &Pin,
        limits: &DownloadLimits,
    ) -> Result<Downloaded, Error> {
        let info = self.head_pinned(key, pin).await;
        let info = info.map_err(|error| if pin.is_open() { error } else { gone(key, error) })?;
        let version_id = info.version_id.clone().or_else(|| pin.version_id.clone());
        let pin = Pin { version_id, ..Pin::of(&info) };
        Get {
            bucket: self,
            key,
            pin: &pin,
            size: info.size,
            file: None,
            writes: Semaphore::new(WRITES),
            limits,
        }
        .all()
        .await
    }

    /// Downloads an object to `path`. The bytes go to a temporary file beside it, are compared with `crc64nvme`
    /// (base64) when that is given, are synced to disk, and only then get the name; what was there before is
    /// replaced. Dropping the future leaves at most the temporary file's name free again.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the bytes are others; then nothing is at `path` that was not there before.
    pub async fn download(
        &self,
        key: &Key,
        path: &Path,
        crc64nvme: Option<&str>,
    ) -> Result<Downloaded, Error> {
        let of_io = |cause| Error::File { action: "write", path: path.to_owned(), cause };
        let info = self.head_pinned(key, &Pin::default()).await?;
        let expected = Expected { size: info.size, crc64nvme: crc64nvme.map(ToOwned::to_owned) };
        let temporary = tempfile::NamedTempFile::new_in(folder_of(path)).map_err(of_io)?;
        let file = Arc::new(temporary.reopen().map_err(of_io)?);
        let downloaded = self
            .download_into(key, &Pin::of(&info), &expected, Arc::clone(&file), &DownloadLimits::default())
            .await
            .map_err(|error| match error {
                Error::NotWritten { cause, .. } => of_io(cause),
                error => error,
            })?;
        let path = path.to_owned();
        on_blocking_thread(move || {
            let of_io = |cause| Error::File { action: "write", path: path.clone(), cause };
            file.sync_all().map_err(of_io)?;
            temporary.persist(&path).map_err(|error| of_io(error.error))?;
            Ok(downloaded)
        })
        .await
    }

    /// Reads an object back by one request at a time and gives its length and checksum.
    pub(crate) async fn read_back(&self, key: &Key, pace: Pace) -> Result<Downloaded, Error> {
        let limits = DownloadLimits { pace, ..DownloadLimits::new(1) };
        self.hash_object(key, &Pin::default(), &limits).await
    }
}

/// One object on its way here.
struct Get<'a> {
    bucket: &'a Bucket,
    key: &'a Key,
    pin: &'a Pin,
    size: u64,
    /// Where the bytes go, if anywhere.
    file: Option<Arc<File>>,
    /// Writes to the file at the same time: more only wait for each other, and burn the processor meanwhile.
    writes: Semaphore,
    limits: &'a DownloadLimits,
}

/// Writes to one file at the same time.
const WRITES: usize = 1;

/// What came back.
struct Answer<'a> {
    /// Quoted, as the server has it.
    etag: Option<String>,
    length: Option<u64>,
    /// `Content-Range`.
    range: Option<String>,
    body: Body<'a>,
}

/// Bytes on their way here.
enum Body<'a> {
    Sdk(ByteStream),
    Wire {
        reply: Reply<'a>,
        /// Why nothing more comes, once what came before is taken.
        failed: Option<Error>,
    },
}

impl<'a> Answer<'a> {
    fn of_sdk(reply: GetObjectOutput) -> Self {
        Self {
            etag: reply.e_tag().map(ToOwned::to_owned),
            length: reply.content_length().and_then(|length| u64::try_from(length).ok()),
            range: reply.content_range().map(ToOwned::to_owned),
            body: Body::Sdk(reply.body),
        }
    }

    fn of_wire(reply: Reply<'a>) -> Self {
        let field = |name| reply.head.field(name).map(ToOwned::to_owned);
        Self {
            etag: field("etag"),
            length: field("content-length").and_then(|length| length.parse().ok()),
            range: field("content-range"),
            body: Body::Wire { reply, failed: None },
        }
    }
}

impl Body<'_> {
    /// Lets another request have the connection. Whether that works is of no concern to this one.
    async fn finish(self) {
        if let Self::Wire { reply, .. } = self {
            let _ = reply.finish().await;
        }
    }
}

/// How far one range has come.
struct Fetched {
    /// The next byte's place in the object.
    at: u64,
    digest: Digest,
}

impl Get<'_> {
    async fn all(&self) -> Result<Downloaded, Error> {
        let ranges = (0..self.size.div_ceil(RANGE_BYTES).max(1))
            .map(|index| index * RANGE_BYTES..self.size.min((index + 1).saturating_mul(RANGE_BYTES)));
        // In order, so that no more checksums are kept than there are requests.
        let mut fetched =
            stream::iter(ranges).map(|range| Box::pin(self.range(range))).buffered(self.limits.most_ranges);
        let mut crc = None;
        while let Some(range) = fetched.next().await {
            let (range_crc, len) = range?;
            crc = Some(
                crc.map_or(range_crc, |crc| checksum_combine(CrcAlgorithm::Crc64Nvme, crc, range_crc, len)),
            );
        }
        Ok(Downloaded { size: self.size, crc64nvme: encode_crc64(crc.unwrap_or_default()) })
    }

    /// Gets one range, in as many replies as it takes, and gives its CRC64NVME and length. Attempts are counted anew
    /// when bytes came.
    async fn range(&self, range: Range<u64>) -> Result<(u64, u64), Error> {
        let mut fetched = Fetched { at: range.start, digest: Digest::new(CrcAlgorithm::Crc64Nvme) };
        let mut failures = 0;
        loop {
            let before = fetched.at;
            let slot = self.limits.slots(self.size).acquire().await;
            let result = self.rest(&range, &mut fetched).await;
            slot.end(1, sign_of(&result));
            let error = match result {
                Ok(()) => return Ok((fetched.digest.finalize(), range.end - range.start)),
                Err(error) if error.is_retryable() => error,
                Err(error) => return Err(error),
            };
            failures = if fetched.at > before { 1 } else { failures + 1 };
            let Some(wait) = self.bucket.wait_after(failures) else { return Err(error) };
            tokio::time::sleep(wait).await;
        }
    }

    /// Gets what is missing of a range by one request.
    async fn rest(&self, range: &Range<u64>, fetched: &mut Fetched) -> Result<(), Error> {
        if fetched.at == range.end && fetched.at > range.start {
            // The range of nothing is an error to a server.
            return Ok(());
        }
        let operation = self.pin.get_operation();
        let asked = fetched.at..range.end;
        let request = Box::pin(self.request(&asked));
        let timing = Timing { operation, key: self.key, attempt: 1, allowance: Duration::ZERO };
        let answer = self.bucket.in_time(timing, &Progress::begin(), request).await?;
        self.check(&answer, &asked)?;
        let mut body = answer.body;
        loop {
            let (mut pieces, mut len) = (Vec::new(), 0_usize);
            let next = loop {
                let left = range.end - fetched.at - len as u64;
                match self.next_piece(&mut body, left).await {
                    Ok(Some(piece)) => {
                        len += piece.len();
                        pieces.push(piece);
                        if len >= WRITE_BYTES {
                            break Ok(true);
                        }
                    }
                    Ok(None) => break Ok(false),
                    Err(error) => break Err(error),
                }
            };
            if fetched.at + len as u64 > range.end {
                return Err(self.other_length("more bytes"));
            }
            // What came before a reply broke off need not come again.
            self.keep(pieces, fetched).await?;
            match next {
                Ok(true) => {}
                Ok(false) if fetched.at == range.end => {
                    body.finish().await;
                    return Ok(());
                }
                Ok(false) => {
                    return Err(self.bucket.lost(
                        operation,
                        self.key,
                        "the reply ended before the object did",
                    ));
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn request(&self, asked: &Range<u64>) -> Result<Answer<'_>, Error> {
        let Bucket { client, name, wire, .. } = self.bucket;
        let range = (!self.is_whole(asked)).then(|| format!("bytes={}-{}", asked.start, asked.end - 1));
        if let Some(wire) = wire {
            let watch = Watch { progress: Progress::begin(), pace: Pace::default() };
            let reply = wire.get_object(self.key, self.pin, range, &watch).await;
            return Ok(Answer::of_wire(reply.map_err(|failure| self.wire_refused(failure))?));
        }
        let request = client.get_object().bucket(&**name).key(self.key.as_str());
        let request = request.set_version_id(self.pin.version_id.clone()).set_if_match(self.pin.if_match());
        let reply = request.set_range(range).send().await;
        Ok(Answer::of_sdk(reply.map_err(|error| self.refused(error))?))
    }

    fn refused(&self, error: SdkError<GetObjectError>) -> Error {
        let archived = match error.as_service_error() {
            Some(GetObjectError::InvalidObjectState(state)) => {
                Some(state.storage_class().map_or("GLACIER", |class| class.as_str()).to_owned())
            }
            _ => None,
        };
        if let Some(storage_class) = archived {
            return Error::NeedsThaw { key: self.key.clone(), storage_class };
        }
        self.not_given(self.bucket.error(self.pin.get_operation(), self.key, error))
    }

    fn wire_refused(&self, failure: Failure) -> Error {
        if let Failure::Refused { refusal, .. } = &failure
            && refusal.code == "InvalidObjectState"
        {
            let class = Some(&*refusal.storage_class).filter(|class| !class.is_empty()).unwrap_or("GLACIER");
            return Error::NeedsThaw { key: self.key.clone(), storage_class: class.to_owned() };
        }
        self.not_given(self.bucket.wire_error(self.pin.get_operation(), self.key, failure))
    }

    fn not_given(&self, error: Error) -> Error {
        if error.service().is_some_and(|refusal| refusal.status == 416) {
            return self.other_length("fewer bytes");
        }
        gone(self.key, error)
    }

    /// Whether the reply brings these bytes of this object, before any of them is kept.
    fn check(&self, answer: &Answer<'_>, asked: &Range<u64>) -> Result<(), Error> {
        if let (Some(pinned), Some(shown)) = (&self.pin.etag, &answer.etag)
            && unquoted(Some(shown)) != *pinned
        {
            // Not every server heeds `If-Match`, and one without versions may pass over the version that is asked for.
            return Err(Error::VersionGone { key: self.key.clone(), why: OVERWRITTEN });
        }
        if self.is_whole(asked) {
            return match answer.length {
                Some(len) if len != self.size => Err(self.other_length(&format!("{len} bytes"))),
                _ => Ok(()),
            };
        }
        match content_range(answer.range.as_deref()) {
            Some((_, Some(size))) if size != self.size => Err(self.other_length(&format!("{size} bytes"))),
            Some((given, _)) if given == *asked => Ok(()),
            // The whole object in the place of a part would be another file; asking again would be answered the same.
            _ => Err(Error::BadRequest {
                operation: self.pin.get_operation(),
                target: self.bucket.target(self.key),
                cause: "the server does not give the part of the object that is asked for (Content-Range)"
                    .to_owned(),
            }),
        }
    }

    fn is_whole(&self, asked: &Range<u64>) -> bool {
        *asked == (0..self.size)
    }

    fn other_length(&self, stored: &str) -> Error {
        Error::Mismatch {
            key: self.key.clone(),
            sent: format!("{} bytes", self.size),
            stored: stored.to_owned(),
        }
    }

    /// Some more of a body of which at most `left` bytes are to come; `None` at its end.
    async fn next_piece(&self, body: &mut Body<'_>, left: u64) -> Result<Option<Bytes>, Error> {
        let lost = |cause: String| self.bucket.lost(self.pin.get_operation(), self.key, cause);
        let stopped = || lost("the bytes stopped coming".to_owned());
        let limit = self.bucket.idle_limit();
        let piece = match body {
            Body::Sdk(body) => {
                let piece = tokio::time::timeout(limit, body.next()).await.map_err(|_| stopped())?;
                piece.transpose().map_err(|error| lost(cause_of(&error)))?
            }
            Body::Wire { failed: Some(_), .. } => None,
            Body::Wire { reply, failed } => {
                // One more than is asked for shows what is too many.
                let most = usize::try_from(left + 1).unwrap_or(WRITE_BYTES).min(WRITE_BYTES);
                let buffer = self.limits.buffers.take(most);
                let mut buffer =
                    buffer.map_err(|cause| Error::NotWritten { key: self.key.clone(), cause })?;
                let mut filled = 0;
                while filled < most && failed.is_none() {
                    let read = reply.read(&mut buffer.as_mut()[filled..]);
                    match tokio::time::timeout(limit, read).await {
                        Ok(Ok(0)) => break,
                        Ok(Ok(count)) => filled += count,
                        Ok(Err(error)) => *failed = Some(lost(cause_of(&error))),
                        Err(_) => *failed = Some(stopped()),
                    }
                }
                Some(buffer.freeze().slice(..filled)).filter(|piece| !piece.is_empty())
            }
        };
        // What came before it broke off is kept first.
        if let (None, Body::Wire { failed, .. }) = (&piece, &mut *body)
            && let Some(error) = failed.take()
        {
            return Err(error);
        }
        self.limits.pace.pass(piece.as_ref().map_or(0, Bytes::len)).await;
        Ok(piece)
    }

    /// Hashes pieces, and writes them where they belong.
    async fn keep(&self, pieces: Vec<Bytes>, fetched: &mut Fetched) -> Result<(), Error> {
        let Fetched { mut at, mut digest } = *fetched;
        let (file, key) = (self.file.clone(), self.key.clone());
        let mut work = move || -> Result<(Fetched, Duration), Error> {
            let begun = Instant::now();
            for piece in &pieces {
                if let Some(file) = &file {
                    file.write_all_at(piece, at)
                        .map_err(|cause| Error::NotWritten { key: key.clone(), cause })?;
                }
                digest.update(piece);
                at += piece.len() as u64;
            }
            Ok((Fetched { at, digest }, begun.elapsed()))
        };
        let disk = &self.limits.disk;
        let took;
        (*fetched, took) = if self.file.is_some() && disk.is_slow() {
            let _turn = self.writes.acquire().await.map_err(|_| Error::Cancelled)?;
            on_blocking_thread(work).await?
        } else {
            work()?
        };
        disk.note(took);
        Ok(())
    }
}

/// The folder of a path; that of a bare name is the current one.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Which bytes a reply brings, and of how many, if it says so. The header comes with status 206 and no other.
fn content_range(header: Option<&str>) -> Option<(Range<u64>, Option<u64>)> {
    let (range, whole) = header?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |digits: &str| digits.trim().parse::<u64>().ok();
    let size = if whole == "*" { None } else { Some(number(whole)?) };
    Some((number(first)?..number(last)?.checked_add(1)?, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io;
    use std::sync::Mutex;

    use aws_sdk_s3::Client;
    use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
    use aws_sdk_s3::primitives::SdkBody;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_runtime_api::http::StatusCode;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;

    const WHOLE: &[u8] = b"0123456789";

    /// Answers each request with the whole object; the first `broken` replies break off in the middle.
    #[derive(Debug)]
    struct Ranges {
        broken: Mutex<u32>,
    }

    impl HttpConnector for Ranges {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let mut broken = self.broken.lock().unwrap();
            let is_get = request.method() == "GET";
            let pieces = if is_get && *broken > 0 {
                vec![Ok(&WHOLE[..5]), Err(io::Error::from(io::ErrorKind::ConnectionReset))]
            } else {
                vec![Ok(WHOLE)]
            };
            *broken -= u32::from(is_get && *broken > 0);
            let frames =
                pieces.into_iter().map(|piece| piece.map(|bytes| Frame::data(Bytes::from_static(bytes))));
            let body = SdkBody::from_body_1_x(StreamBody::new(stream::iter(frames)));
            let mut reply = HttpResponse::new(StatusCode::try_from(200).unwrap(), body);
            reply.headers_mut().insert("content-length", "10");
            reply.headers_mut().insert("etag", "\"e\"");
            HttpConnectorFuture::ready(Ok(reply))
        }
    }

    fn bucket(broken: u32) -> Bucket {
        let connector = SharedHttpConnector::new(Ranges { broken: Mutex::new(broken) });
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("a", "s", None, None, "test"))
            .endpoint_url("http://bucket.invalid")
            .force_path_style(true)
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Bucket::from_client(&Client::from_conf(config), "bucket")
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_ranges_never_makes_a_longer_file() {
        let (folder, key) = (tempfile::tempdir().unwrap(), Key::new("k").unwrap());
        let path = folder.path().join("f");
        assert_eq!(bucket(0).download(&key, &path, None).await.unwrap().size, 10);
        let error = bucket(1).download(&key, &path, None).await.unwrap_err();
        assert!(error.to_line().contains("Content-Range"), "{}", error.to_line());
        assert_eq!(std::fs::read(&path).unwrap(), WHOLE);
    }

    #[tokio::test]
    async fn a_full_disk_is_noticed() {
        let file = Arc::new(File::options().write(true).open("/dev/full").unwrap());
        let (key, expected) = (Key::new("k").unwrap(), Expected { size: 10, crc64nvme: None });
        let limits = DownloadLimits::default();
        let got = bucket(0).download_into(&key, &Pin::default(), &expected, file, &limits).await;
        assert!(matches!(&got, Err(Error::NotWritten { .. })), "{got:?}");
        assert_eq!(got.unwrap_err().kind(), s3backup_model::FailureKind::Unwritable);
    }

    /// Its writes are made by another thread, until one need not wait any more.
    #[tokio::test]
    async fn a_slow_disk_is_waited_for() {
        let (folder, key) = (tempfile::tempdir().unwrap(), Key::new("k").unwrap());
        let path = folder.path().join("f");
        let file = Arc::new(File::create(&path).unwrap());
        let limits = DownloadLimits::default();
        limits.disk.note(SLOW_WRITE * 2);
        assert!(limits.disk.is_slow());
        let expected = Expected { size: 10, crc64nvme: None };
        bucket(0).download_into(&key, &Pin::default(), &expected, file, &limits).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), WHOLE);
        limits.disk.note(SLOW_WRITE);
        assert!(!limits.disk.is_slow());
    }

    /// Another length would be another file.
    #[tokio::test]
    async fn an_object_of_another_length_is_no_match() {
        let key = Key::new("k").unwrap();
        for size in [0, 9, 11, RANGE_BYTES + 1] {
            let folder = tempfile::tempdir().unwrap();
            let file = Arc::new(File::create(folder.path().join("f")).unwrap());
            let expected = Expected { size, crc64nvme: None };
            let (pin, limits) = (Pin { etag: Some("e".into()), ..Pin::default() }, DownloadLimits::new(2));
            let got = bucket(0).download_into(&key, &pin, &expected, Arc::clone(&file), &limits).await;
            match got {
                // A server without ranges cannot say how long the object is.
                Err(Error::BadRequest { .. }) => assert!(size > RANGE_BYTES),
                got => assert!(matches!(got, Err(Error::Mismatch { .. })), "{size}: {got:?}"),
            }
            assert_eq!(file.metadata().unwrap().len(), 0, "{size}");
        }
    }

    /// A server that heeds no condition still shows what it gives.
    #[tokio::test]
    async fn another_etag_is_another_object() {
        let (key, pin) = (Key::new("k").unwrap(), Pin { etag: Some("old".into()), ..Pin::default() });
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(File::create(folder.path().join("f")).unwrap());
        let expected = Expected { size: 10, crc64nvme: None };
        let limits = DownloadLimits::default();
        let got = bucket(0).download_into(&key, &pin, &expected, Arc::clone(&file), &limits).await;
        assert!(matches!(got, Err(Error::VersionGone { .. })), "{got:?}");
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("f")), Path::new("."));
        assert_eq!(folder_of(Path::new("/a/f")), Path::new("/a"));
    }

    #[test]
    fn ranges_are_read_as_they_are_written() {
        assert_eq!(content_range(Some("bytes 3-9/10")), Some((3..10, Some(10))));
        assert_eq!(content_range(Some("bytes 3-9/*")), Some((3..10, None)));
        for other in [None, Some(""), Some("3-9/10"), Some("bytes */10"), Some("bytes 3-9/x")] {
            assert_eq!(content_range(other), None, "{other:?}");
        }
    }
}
