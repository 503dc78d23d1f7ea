//! Small files are read some at a time on one thread: to wake another thread costs more than to read a small file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::bucket::Gate;
use crate::engine::{Shared, Upload, on_blocking_thread};
use crate::read::{self, WholeFile};

/// What counts as small: to read it costs less than to send it, and hundreds of them fit the memory.
const SMALL_BYTES: u64 = 128 << 10;

/// Files that are read in one go on one thread: what it costs to wake another thread is more than to read a small file.
pub(crate) const BATCH: usize = 16;

/// Bytes that are read in one go.
const BATCH_BYTES: u64 = 512 << 10;

/// Reading goes to as many threads as files are slow to read: when a batch takes longer than this, the next is smaller.
const BATCH_TIME: Duration = Duration::from_millis(2);

/// The most files that are being read at the same time.
pub(crate) const READING: usize = 64;

/// Whether a file is read together with others, and sent with many at a time; larger ones are treated like parts.
pub(crate) fn is_small(size: u64) -> bool {
    size <= SMALL_BYTES
}

/// How files are taken up.
pub(crate) struct Reader {
    /// Not begun yet.
    pub(crate) next: Vec<Upload>,
    /// How many are being read.
    pub(crate) files: usize,
    /// How many to read in one go.
    pub(crate) batch: usize,
    /// How long one takes, smoothed.
    per_file: Duration,
}

impl Default for Reader {
    fn default() -> Self {
        Self { next: Vec::with_capacity(BATCH), files: 0, batch: BATCH, per_file: Duration::ZERO }
    }
}

impl Reader {
    /// Files that go to one thread: some small ones, or one.
    pub(crate) fn take_batch(&mut self) -> Vec<Upload> {
        let mut bytes = 0;
        let fit = self.next.iter().take_while(|upload| {
            bytes += upload.entry.stat.size;
            bytes <= BATCH_BYTES
        });
        let count = fit.count().max(1);
        self.files += count;
        self.next.drain(..count).collect()
    }

    /// Hears how long it took to read one.
    pub(crate) fn note(&mut self, took: Duration) {
        self.per_file = (self.per_file * 7 + took) / 8;
        let fit = BATCH_TIME.as_nanos() / self.per_file.as_nanos().max(1);
        self.batch = usize::try_from(fit).unwrap_or(BATCH).clamp(1, BATCH);
    }
}

/// What came of reading a small file, and the memory that it has together with those that were read with it.
pub(crate) type Small = (Result<WholeFile, Error>, Arc<OwnedSemaphorePermit>);

/// A file that was taken up, and its bytes where it is small.
pub(crate) struct Taken {
    pub(crate) upload: Upload,
    pub(crate) small: Option<Small>,
    pub(crate) took: Duration,
}

/// Reads the small ones of some files on one thread. Nothing of them is left when it is cancelled or dropped.
pub(crate) async fn read_batch(
    shared: Arc<Shared>,
    uploads: Vec<Upload>,
    cancel: CancellationToken,
) -> Vec<Taken> {
    let mut taken = Vec::with_capacity(uploads.len());
    let mut wanted = Vec::with_capacity(uploads.len());
    let mut kib = 0_u32;
    for upload in uploads {
        let size = upload.entry.stat.size;
        let is_wanted = is_small(size) && shared.is_whole(size);
        if is_wanted {
            kib = kib.saturating_add(shared.kib_of(size)).min(shared.memory_kib);
            wanted.push((upload.entry.path(), upload.follow_symlinks, size));
        }
        taken.push((upload, is_wanted));
    }
    // At once for all of them: one that waits for more while it has some could wait for itself.
    let gate = Gate { cancel: Some(&cancel), ..Gate::default() };
    let memory = gate.unless_cancelled(Arc::clone(&shared.memory).acquire_many_owned(kib)).await;
    let Ok(Ok(memory)) = memory else { return Vec::new() };
    let memory = Arc::new(memory);
    let buffers = shared.buffers.clone();
    let (kind, count) = (shared.settings.checksum, u32::try_from(wanted.len()).unwrap_or(1).max(1));
    let read = on_blocking_thread(move || {
        let begun = Instant::now();
        let read: Vec<_> = wanted
            .into_iter()
            .map(|(path, follow, size)| {
                read::open(&path, follow).and_then(|file| file.read_up_to(size, kind, &buffers))
            })
            .collect();
        Ok((read, begun.elapsed() / count))
    });
    let (mut read, took, defect) = match read.await {
        Ok((read, took)) => (read.into_iter(), took, String::new()),
        Err(error) => (Vec::new().into_iter(), Duration::ZERO, error.to_line()),
    };
    let taken = taken.into_iter().map(|(upload, is_wanted)| {
        let read = || read.next().unwrap_or_else(|| Err(Error::Defect(defect.clone())));
        let small = is_wanted.then(read).map(|read| (read, Arc::clone(&memory)));
        Taken { upload, small, took }
    });
    taken.collect()
}
