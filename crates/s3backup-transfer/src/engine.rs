//! Takes planned uploads and sends them, many at a time, within stated limits.

use std::any::Any;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use s3backup_model::manifest::StoredChecksum;
use s3backup_model::{Entry, FileStat, Key};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::batch::{BATCH, READING, Reader, Small, Taken, is_small, read_batch};
use crate::body::{Progress, Watch};
use crate::bucket::{Attempt, Gate, found};
use crate::buffer::{self, Buffers};
use crate::known::Known;
use crate::level::Bounds;
use crate::object::ObjectInfo;
use crate::pace::Pace;
use crate::queue::Queue;
use crate::read::{self, MAX_READS, Read};
use crate::slots::{Slot, Slots};
use crate::{
    Bucket, ChecksumKind, Error, MAX_OBJECT_BYTES, ObjectSettings, TransferSettings, UploadJournal,
    part_size_for,
};

/// Files above the part size that are sent at once. More would only leave more of them unfinished when the run is
/// interrupted: the parts of four already fill the memory limit.
const LARGE_FILES: usize = 4;

/// What a small file costs in memory beside its bytes: a task, a request, its headers, a reply.
const FILE_OVERHEAD_BYTES: u64 = 12 << 10;

/// Eighths of the memory that are handed out for bytes of files. One more is kept for what is read next, and the rest goes
/// into what the allocator, TLS and the bookkeeping of requests take.
const FILES_SHARE: u64 = 5;

/// How many requests for small files are in flight. Few at first, because S3 makes room under a prefix only as it is used
/// more.
const SMALL: Bounds = Bounds { start: 16, least: 4, most: 1024 };

/// How many parts are. Those that memory has room for are fewer.
pub(crate) const PARTS: Bounds = Bounds { start: 3, least: 2, most: 64 };

/// Files that are at work beyond those whose requests are in flight: they are being read, or wait to be sent again.
const AHEAD: usize = 64;

/// What counts as much as a request of its own.
const WEIGHT_BYTES: u64 = 64 << 10;

/// One file to send.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The file.
    pub entry: Entry,
    /// Where it goes.
    pub key: Key,
    /// Tells this file from the others of its owner, the same in every run; ASCII. Stored with the object
    /// (`x-amz-meta-s3backup-file`), so that two files whose keys meet never take each other's place, in one run or in
    /// two.
    pub file_id: String,
    /// Whether a symbolic link may be opened, because the walk was told to follow those of this source.
    pub follow_symlinks: bool,
    /// What the bucket is known to hold for this file under this key. When the file still has these bytes, nothing is
    /// asked of the server and nothing sent; else the known object is replaced without a look at it. When absent, the
    /// key is taken to be new.
    pub known: Option<Known>,
    /// Not to be sent if its bytes differ from those of `known`: it then ends with [`Error::Held`].
    pub hold: bool,
}

/// What the engine says while it works.
#[derive(Debug)]
#[non_exhaustive]
pub enum Update {
    /// More bytes of files arrived at the server.
    Sent {
        /// How many since the last such update.
        bytes: u64,
    },
    /// A request failed and will be sent again. Left out when the reader is behind; [`Done::retries`] has them all.
    Retrying {
        /// The object.
        key: Key,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long until the next.
        delay: Duration,
        /// What went wrong.
        cause: String,
    },
    /// Something that a person should know.
    Warning {
        /// What it is and what to do.
        message: String,
    },
    /// One upload has ended, well or not. Comes exactly once for each that was begun and not cancelled.
    Done(Box<Done>),
}

/// How one upload ended.
#[derive(Debug)]
pub struct Done {
    /// Which one.
    pub upload: Upload,
    /// What is stored now, or why not.
    pub result: Result<Stored, Error>,
    /// How often the request that was repeated most was sent.
    pub attempts: u32,
    /// Requests that were sent again.
    pub retries: u64,
    /// Bytes of request bodies that were sent, repeated ones included.
    pub wire_bytes: u64,
    /// Parts that an earlier run had sent, and that were proved to be the file's instead of being sent again. Their
    /// bytes are in no [`Update::Sent`].
    pub resumed_parts: u64,
}

/// A file that is proved to be in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The file as it was when it was read.
    pub stat: FileStat,
    /// CRC64NVME of its bytes, base64.
    pub crc64nvme: String,
    /// What the server holds as checksum of the object.
    pub checksum: Option<StoredChecksum>,
    /// ETag without quotes.
    pub etag: String,
    /// Version, where the bucket has versioning.
    pub version_id: Option<String>,
    /// Whether it was sent now, or by a try whose reply was lost; else the bucket had these bytes already.
    pub sent: bool,
}

/// Sends files to one bucket.
///
/// ```no_run
/// # use s3backup_transfer::{Bucket, ConnectOptions, Engine, ObjectSettings, TransferSettings, Update, Upload};
/// # async fn example(uploads: Vec<Upload>) -> Result<(), Box<dyn std::error::Error>> {
/// let bucket = Bucket::connect(&ConnectOptions { bucket: "fleet-backup".into(), ..Default::default() }).await?;
/// let (to_engine, planned) = tokio::sync::mpsc::channel(64);
/// let (said, mut updates) = tokio::sync::mpsc::channel(64);
/// let engine = Engine::new(bucket, TransferSettings::default(), ObjectSettings::default());
/// let work = tokio::spawn(engine.run(planned, said, Default::default()));
/// for upload in uploads {
///     to_engine.send(upload).await?;
/// }
/// drop(to_engine);
/// while let Some(update) = updates.recv().await {
///     if let Update::Done(done) = update {
///         println!("{}: {}", done.upload.key, if done.result.is_ok() { "stored" } else { "not stored" });
///     }
/// }
/// work.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Engine {
    shared: Shared,
}

/// What all files share: settings and limits.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bucket: Bucket,
    pub(crate) settings: TransferSettings,
    pub(crate) objects: ObjectSettings,
    /// Where multipart uploads are remembered; without, each is aborted when it cannot be completed.
    pub(crate) journal: Option<Arc<dyn UploadJournal>>,
    /// How fast bytes of files go.
    pub(crate) pace: Pace,
    /// Requests in flight that carry small files, or nothing.
    small: Arc<Slots>,
    /// Parts in flight.
    parts: Arc<Slots>,
    /// Memory for bytes of files, in KiB.
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) memory_kib: u32,
    large: Semaphore,
    pub(crate) buffers: Buffers,
    /// Keys of files on their way: conditions of writes do not hold on every server between two at the same time.
    keys: Mutex<HashSet<Key>>,
    key_freed: Notify,
    /// Whether the server takes conditions; learnt from its first refusal.
    conditional: AtomicBool,
    /// Whether it was said that the server proves nothing.
    unproved: AtomicBool,
}

impl Shared {
    /// Whether a file of this size goes in one request, from memory.
    pub(crate) fn is_whole(&self, size: u64) -> bool {
        let part_size = part_size_for(size, self.settings.part_size_bytes);
        size <= part_size.min(self.settings.memory_bytes)
    }

    /// The memory that so many bytes of a file take.
    pub(crate) fn kib_of(&self, bytes: u64) -> u32 {
        let bytes = buffer::size_for(bytes) + FILE_OVERHEAD_BYTES;
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        kib.min(self.memory_kib)
    }

    fn keys(&self) -> MutexGuard<'_, HashSet<Key>> {
        // A poisoned lock only means that another task panicked beside it: the set is changed in one step.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds a key until it is dropped.
struct KeyGuard<'a> {
    shared: &'a Shared,
    key: &'a Key,
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        self.shared.keys().remove(self.key);
        self.shared.key_freed.notify_waiters();
    }
}

impl Engine {
    /// An engine for one run. Sends nothing yet.
    pub fn new(bucket: Bucket, settings: TransferSettings, objects: ObjectSettings) -> Self {
        let memory_kib = (settings.memory_bytes / 8 * FILES_SHARE) >> 10;
        let memory_kib = u32::try_from(memory_kib).unwrap_or(u32::MAX >> 4).clamp(1, u32::MAX >> 4);
        let (small, parts) = match settings.concurrency {
            Some(limit) => {
                let both = Arc::new(Slots::fixed(limit));
                (Arc::clone(&both), both)
            }
            None => (Arc::new(Slots::auto(SMALL)), Arc::new(Slots::auto(PARTS))),
        };
        let shared = Shared {
            pace: Pace::new(settings.bandwidth.clone()),
            small,
            parts,
            memory: Arc::new(Semaphore::new(memory_kib as usize)),
            memory_kib,
            large: Semaphore::new(LARGE_FILES),
            buffers: Buffers::default(),
            keys: Mutex::default(),
            key_freed: Notify::new(),
            conditional: AtomicBool::new(true),
            unproved: AtomicBool::new(false),
            bucket,
            settings,
            objects,
            journal: None,
        };
        Self { shared }
    }

    /// Remembers multipart uploads in `journal`, so that a later run goes on with those that this one cannot complete.
    /// By default they are aborted.
    #[must_use]
    pub fn with_journal(mut self, journal: Arc<dyn UploadJournal>) -> Self {
        self.shared.journal = Some(journal);
        self
    }

    /// Sends what comes in `uploads` until that ends, and says in `updates` what happens. A full `updates` makes the
    /// engine wait.
    ///
    /// When `cancel` is set, no new file is begun, and single requests in flight have [`TransferSettings::drain`] to
    /// end. Multipart uploads are aborted; with a journal ([`Engine::with_journal`]) they are left open, and the next
    /// run that is given the same file and key sends only the parts that are missing.
    ///
    /// Dropping the future instead stops everything at once: an object is then in the bucket or not, and a multipart
    /// upload may stay unfinished, invisible as an object but stored and paid for until the run that finds it in the
    /// journal, a lifecycle rule or somebody ends it. The journal names each of them: it is written to before an upload
    /// is begun and after it is begun, so that at worst it names a key of which the upload's id is not known.
    pub async fn run(
        self,
        mut uploads: mpsc::Receiver<Upload>,
        updates: mpsc::Sender<Update>,
        cancel: CancellationToken,
    ) {
        let shared = Arc::new(self.shared);
        let (mut small, mut large) = (JoinSet::new(), JoinSet::new());
        let mut reading: JoinSet<Vec<Taken>> = JoinSet::new();
        let mut reader = Reader::default();
        let mut queue = Queue::default();
        let mut is_over = false;
        while !(is_over && queue.is_empty() && reading.is_empty()) {
            while large.len() < shared.parts.limit() + AHEAD
                && let Some(upload) = queue.large.pop_front()
            {
                let transfer = FileTransfer::new(&shared, &upload, &updates, &cancel);
                large.spawn(transfer.run(Taken::unread(upload)));
            }
            while small.len() + reader.files < shared.small.limit() + AHEAD
                && reader.files + reader.batch <= READING.max(BATCH)
                && let Some(batch) = reader.take_batch(&mut queue.small)
            {
                reading.spawn(read_batch(Arc::clone(&shared), batch, cancel.clone()));
            }
            let room = queue.room();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(read) = reading.join_next() => {
                    // A task that only waits for a thread has no reason to end otherwise.
                    for taken in read.unwrap_or_default() {
                        reader.files -= 1;
                        reader.note(taken.took);
                        small.spawn(FileTransfer::new(&shared, &taken.upload, &updates, &cancel).run(taken));
                    }
                }
                Some(_) = small.join_next() => {}
                Some(_) = large.join_next() => {}
                count = uploads.recv_many(&mut queue.came, room), if !is_over && room > 0 => {
                    is_over = count == 0;
                    queue.sort(|size| is_small(size) && shared.is_whole(size));
                }
            }
        }
        let time_is_up = async {
            cancel.cancelled().await;
            tokio::time::sleep(shared.settings.drain).await;
        };
        tokio::pin!(time_is_up);
        while !(small.is_empty() && large.is_empty()) {
            tokio::select! {
                Some(_) = small.join_next() => {}
                Some(_) = large.join_next() => {}
                () = &mut time_is_up => break,
            }
        }
        // What is left when the time is up ends here, and nothing is said after this returns.
        small.shutdown().await;
        large.shutdown().await;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) attempts: AtomicU32,
    pub(crate) retries: AtomicU64,
    pub(crate) wire_bytes: AtomicU64,
    pub(crate) resumed_parts: AtomicU64,
}

/// One file on its way.
pub(crate) struct FileTransfer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
    pub(crate) file_id: String,
    follow_symlinks: bool,
    pub(crate) known: Option<Known>,
    pub(crate) hold: bool,
    updates: mpsc::Sender<Update>,
    pub(crate) cancel: CancellationToken,
    pub(crate) counters: Counters,
}

impl FileTransfer {
    fn new(
        shared: &Arc<Shared>,
        upload: &Upload,
        updates: &mpsc::Sender<Update>,
        cancel: &CancellationToken,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            key: upload.key.clone(),
            file_id: upload.file_id.clone(),
            follow_symlinks: upload.follow_symlinks,
            known: upload.known.clone(),
            hold: upload.hold,
            updates: updates.clone(),
            cancel: cancel.clone(),
            counters: Counters::default(),
        }
    }

    async fn run(self, taken: Taken) {
        let Taken { upload, small, .. } = taken;
        // A defect is a failure of this file, and of no other.
        let result = AssertUnwindSafe(self.send_alone(&upload.entry, small)).catch_unwind().await;
        let result = result.unwrap_or_else(|panic| Err(Error::Defect(words_of(&*panic))));
        if matches!(result, Err(Error::Cancelled)) {
            return;
        }
        let done = Done {
            upload,
            result,
            attempts: self.counters.attempts.load(Ordering::Relaxed).max(1),
            retries: self.counters.retries.load(Ordering::Relaxed),
            wire_bytes: self.counters.wire_bytes.load(Ordering::Relaxed),
            resumed_parts: self.counters.resumed_parts.load(Ordering::Relaxed),
        };
        self.say(Update::Done(Box::new(done))).await;
    }

    async fn send_alone(&self, entry: &Entry, mut small: Option<Small>) -> Result<Stored, Error> {
        let _guard = if let Some(guard) = self.take_key() {
            guard
        } else {
            // Who has the key may need the memory.
            small = None;
            self.alone_with_key().await?
        };
        self.send(entry, small).await
    }

    fn take_key(&self) -> Option<KeyGuard<'_>> {
        let is_free = self.shared.keys().insert(self.key.clone());
        is_free.then(|| KeyGuard { shared: &self.shared, key: &self.key })
    }

    /// Waits until no other file of this run is on its way to the same key; then the object there tells whose it is.
    async fn alone_with_key(&self) -> Result<KeyGuard<'_>, Error> {
        loop {
            let freed = self.shared.key_freed.notified();
            if let Some(guard) = self.take_key() {
                return Ok(guard);
            }
            self.gate().unless_cancelled(freed).await?;
        }
    }

    /// Sends what was read, or reads and sends, until a read was not disturbed.
    async fn send(&self, entry: &Entry, mut small: Option<Small>) -> Result<Stored, Error> {
        let path = entry.path();
        let mut size = entry.stat.size;
        for _ in 0..MAX_READS {
            if size > MAX_OBJECT_BYTES {
                return Err(Error::TooLarge { path, size });
            }
            let part_size = part_size_for(size, self.shared.settings.part_size_bytes);
            let sent = if let Some((read, _memory)) = small.take() {
                self.send_whole(&path, &mut size, read?, None).await?
            } else if self.shared.is_whole(size) {
                let (slot, _memory) = if is_small(size) {
                    (None, self.reserve(size).await?)
                } else {
                    let (slot, memory) = self.place_for_part(size).await?;
                    (Some(slot), memory)
                };
                let (reserved, kind, buffers) = (size, self.kind(), self.shared.buffers.clone());
                let read =
                    self.blocking(&path, move |file| file.read_up_to(reserved, kind, &buffers)).await?;
                self.send_whole(&path, &mut size, read, slot).await?
            } else {
                self.send_parts(&path, &mut size, part_size).await?
            };
            if let Read::Steady(stored) = sent {
                return Ok(stored);
            }
        }
        Err(Error::Changed { path, reads: MAX_READS })
    }

    /// Memory for `bytes` of the file. Taken before they are read, given back after they are sent.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<SemaphorePermit<'_>, Error> {
        let memory = self.shared.memory.acquire_many(self.shared.kib_of(bytes));
        self.gate().unless_cancelled(memory).await?.map_err(|_| Error::Cancelled)
    }

    pub(crate) async fn large_file_slot(&self) -> Result<SemaphorePermit<'_>, Error> {
        let large = self.gate().unless_cancelled(self.shared.large.acquire()).await?;
        large.map_err(|_| Error::Cancelled)
    }

    /// What requests of this file wait for as long as the run goes on.
    pub(crate) fn gate(&self) -> Gate<'_> {
        Gate { slots: Some(&self.shared.small), held: None, weight: 0, cancel: Some(&self.cancel) }
    }

    /// The same for a request that carries a small file.
    pub(crate) fn small_gate(&self, bytes: u64) -> Gate<'_> {
        Gate { weight: 1 + bytes / WEIGHT_BYTES, ..self.gate() }
    }

    /// A slot and memory for a part, or for a file that is as large as one, so that no more is read than can be sent. The
    /// slot is kept until all is over.
    ///
    /// Who waits for memory has no slot: those who have the memory may be waiting for one.
    pub(crate) async fn place_for_part(&self, bytes: u64) -> Result<(Slot<'_>, SemaphorePermit<'_>), Error> {
        let slot = self.gate().unless_cancelled(self.shared.parts.acquire()).await?;
        if let Ok(memory) = self.shared.memory.try_acquire_many(self.shared.kib_of(bytes)) {
            return Ok((slot, memory));
        }
        drop(slot);
        let memory = self.reserve(bytes).await?;
        Ok((self.gate().unless_cancelled(self.shared.parts.acquire()).await?, memory))
    }

    /// The gate of who has such a slot.
    pub(crate) fn part_gate<'a>(&'a self, slot: Slot<'a>, bytes: u64) -> Gate<'a> {
        Gate { slots: None, held: Some(slot), weight: bytes.max(1), ..self.gate() }
    }

    /// The same for requests that bring to an end what was begun, also when the run is ending.
    pub(crate) fn last_gate(&self) -> Gate<'_> {
        Gate { cancel: None, ..self.gate() }
    }

    /// Runs a request of this file until it succeeds or fails for good, and counts and tells of the repeats.
    pub(crate) async fn repeat<T, F>(
        &self,
        gate: Gate<'_>,
        operation: &'static str,
        allowance: Duration,
        request: impl FnMut(Attempt) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let on_retry = |attempt, delay, error: &Error| self.note_retry(attempt, delay, error);
        self.shared.bucket.repeat(gate, operation, &self.key, allowance, on_retry, request).await
    }

    /// What the server says of this file's object.
    pub(crate) async fn head(&self) -> Result<Option<ObjectInfo>, Error> {
        let bucket = &self.shared.bucket;
        found(self.repeat(self.gate(), "HeadObject", Duration::ZERO, |_| bucket.head_once(&self.key)).await)
    }

    pub(crate) async fn say(&self, update: Update) {
        // Nobody listens only when the whole run is being dropped.
        let _ = self.updates.send(update).await;
    }

    pub(crate) async fn sent(&self, bytes: u64) {
        if bytes > 0 {
            self.say(Update::Sent { bytes }).await;
        }
    }

    /// Counts a repeated request and tells of it.
    fn note_retry(&self, attempt: u32, delay: Duration, error: &Error) {
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        let cause = error.to_line();
        let _ = self.updates.try_send(Update::Retrying { key: self.key.clone(), attempt, delay, cause });
    }

    pub(crate) fn note_attempt(&self, number: u32, bytes: u64) {
        self.counters.attempts.fetch_max(number, Ordering::Relaxed);
        self.counters.wire_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Watches over a request that carries bytes of this file.
    pub(crate) fn watch(&self, progress: Progress) -> Watch {
        Watch { progress, pace: self.shared.pace.clone() }
    }

    pub(crate) fn kind(&self) -> ChecksumKind {
        self.shared.settings.checksum
    }

    /// Whether the server is thought to take conditions.
    pub(crate) fn is_conditional(&self) -> bool {
        self.shared.conditional.load(Ordering::Relaxed)
    }

    /// Remembers that it does not, and says so once.
    pub(crate) async fn give_up_conditions(&self) {
        if self.shared.conditional.swap(false, Ordering::Relaxed) {
            let message = "the server knows no conditional writes (If-None-Match): each object is looked \
                           for before it is written, but one that another program writes at the same moment would be \
                           overwritten unnoticed. Let no other program write below this prefix";
            self.say(Update::Warning { message: message.to_owned() }).await;
        }
    }

    /// Says once for all files that nothing shows what the server stored.
    pub(crate) async fn note_unproved(&self) {
        if !self.shared.unproved.swap(true, Ordering::Relaxed) {
            let message = "nothing proves that the objects arrived whole: no checksum was asked for, their ETag is not an \
                           MD5, and these credentials may not read them back. Choose a checksum that the server knows, or \
                           allow s3:GetObject";
            self.say(Update::Warning { message: message.to_owned() }).await;
        }
    }

    /// Opens the file on a blocking thread and lets `work` read it there.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(read::OpenFile) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let path = path.to_owned();
        let follow = self.follow_symlinks;
        on_blocking_thread(move || work(read::open(&path, follow)?)).await
    }
}

/// What a panic says.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

/// Runs file work where it may block.
pub(crate) async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::Defect(error.to_string())))
}
