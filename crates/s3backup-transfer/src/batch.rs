//! Small files are read some at a time on one thread: to wake another thread costs more than to read a small file.

use std::collections::VecDeque;
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
    /// How many are being read.
    pub(crate) files: usize,
    /// How many to read in one go.
    pub(crate) batch: usize,
    /// How long one takes, smoothed.
    per_file: Duration,
}

impl Default for Reader {
    fn default() -> Self {
        Self { files: 0, batch: BATCH, per_file: Duration::ZERO }
    }
}

impl Reader {
    /// Takes files that go to one thread; none when there are none.
    pub(crate) fn take_batch(&mut self, files: &mut VecDeque<Upload>) -> Option<Vec<Upload>> {
        let mut bytes = 0;
        let fit = files.iter().take(self.batch).take_while(|upload| {
            bytes += upload.entry.stat.size;
            bytes <= BATCH_BYTES
        });
        let count = fit.count().max(1).min(files.len());
        self.files += count;
        (count > 0).then(|| files.drain(..count).collect())
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

impl Taken {
    /// A file of which nothing was read.
    pub(crate) fn unread(upload: Upload) -> Self {
        Self { upload, small: None, took: Duration::ZERO }
    }
}

/// Reads some small files on one thread. Nothing of them is left when it is cancelled or dropped.
pub(crate) async fn read_batch(
    shared: Arc<Shared>,
    uploads: Vec<Upload>,
    cancel: CancellationToken,
) -> Vec<Taken> {
    let kib = uploads.iter().map(|upload| shared.kib_of(upload.entry.stat.size));
    let kib = kib.fold(0, u32::saturating_add).min(shared.memory_kib);
    // At once for all of them: one that waits for more while it has some could wait for itself.
    let gate = Gate { cancel: Some(&cancel), ..Gate::default() };
    let memory = gate.unless_cancelled(Arc::clone(&shared.memory).acquire_many_owned(kib)).await;
    let Ok(Ok(memory)) = memory else { return Vec::new() };
    let memory = Arc::new(memory);
    let buffers = shared.buffers.clone();
    let (kind, count) = (shared.settings.checksum, u32::try_from(uploads.len()).unwrap_or(1).max(1));
    let file = |upload: &Upload| (upload.entry.path(), upload.follow_symlinks, upload.entry.stat.size);
    let wanted: Vec<_> = uploads.iter().map(file).collect();
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
    let taken = uploads.into_iter().map(|upload| {
        let read = read.next().unwrap_or_else(|| Err(Error::Defect(defect.clone())));
        Taken { upload, small: Some((read, Arc::clone(&memory))), took }
    });
    taken.collect()
}
