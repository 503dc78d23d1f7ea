//! Memory for the bytes of files.
//!
//! The C library's allocator raises its threshold for mapped memory to the largest block that was freed, and then keeps
//! parts that were sent in the arena of each thread that read one: a run that may hold 64 MiB peaked at 250 MiB. Large
//! buffers are therefore mapped here. A few that were sent are kept for what is read next, because a fresh page costs
//! more than all else that is done with its bytes: without, 40 % of the time of a large file went into page faults.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;

/// Buffers above this size are mapped: those that are used again cost neither a fresh page nor its zeroing, of which a
/// smaller one has too little to matter.
const MOST_HEAP_BYTES: usize = 16 << 10;

/// The most that is kept for what is read next: a part of the usual size.
const MOST_IDLE_BYTES: usize = 8 << 20;

/// What a buffer for so many bytes takes: mapped ones come in powers of two, so that they fit what is read next.
pub(crate) fn size_for(len: u64) -> u64 {
    if len <= MOST_HEAP_BYTES as u64 { len } else { len.next_power_of_two() }
}

/// Hands out buffers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers(Arc<Mutex<Idle>>);

#[derive(Debug, Default)]
struct Idle {
    maps: Vec<MmapMut>,
    bytes: usize,
}

impl Buffers {
    /// Memory to read into; what is in it is from before.
    pub(crate) fn take(&self, len: usize) -> io::Result<Buffer> {
        if len <= MOST_HEAP_BYTES {
            return Ok(Buffer::Heap(vec![0; len]));
        }
        let size = len.next_power_of_two();
        let map = match self.reuse(size) {
            Some(map) => map,
            None => MmapMut::map_anon(size)?,
        };
        Ok(Buffer::Mapped(Mapped { map: Some(map), len, home: self.clone() }))
    }

    fn reuse(&self, size: usize) -> Option<MmapMut> {
        let mut idle = self.idle();
        let place = idle.maps.iter().rposition(|map| map.len() == size)?;
        idle.bytes -= size;
        Some(idle.maps.swap_remove(place))
    }

    fn keep(&self, map: MmapMut) {
        let mut idle = self.idle();
        if idle.bytes + map.len() <= MOST_IDLE_BYTES {
            idle.bytes += map.len();
            idle.maps.push(map);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // A poisoned lock only means that another task panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory to read into.
pub(crate) enum Buffer {
    Heap(Vec<u8>),
    Mapped(Mapped),
}

/// Goes back where it came from when the last who shares it is done.
pub(crate) struct Mapped {
    map: Option<MmapMut>,
    len: usize,
    home: Buffers,
}

impl Buffer {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(mapped) => mapped.map.as_mut().map_or(&mut [], |map| &mut map[..mapped.len]),
        }
    }

    /// The bytes, to be shared from now on.
    pub(crate) fn freeze(self) -> Bytes {
        match self {
            Self::Heap(bytes) => bytes.into(),
            Self::Mapped(mapped) => Bytes::from_owner(mapped),
        }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.map.as_ref().map_or(&[], |map| &map[..self.len])
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.home.keep(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 6] = [0, 1, MOST_HEAP_BYTES, MOST_HEAP_BYTES + 1, 3 << 20, 8 << 20];

    /// Also when they had other bytes before.
    #[test]
    fn small_and_large_buffers_keep_what_is_read_into_them() {
        let buffers = Buffers::default();
        for fill in 1..4 {
            for len in SIZES {
                let mut buffer = buffers.take(len).unwrap();
                buffer.as_mut().fill(fill);
                let bytes = buffer.freeze();
                assert_eq!(bytes.len(), len);
                let half = bytes.slice(len / 2..);
                drop(bytes);
                assert!(half.iter().all(|&byte| byte == fill));
            }
        }
    }

    #[test]
    fn a_few_are_kept_and_no_more() {
        let buffers = Buffers::default();
        let many: Vec<Bytes> = (0..8).map(|_| buffers.take(5 << 20).unwrap().freeze()).collect();
        assert_eq!(buffers.idle().bytes, 0);
        drop(many);
        assert_eq!(buffers.idle().bytes, MOST_IDLE_BYTES);
        let again = buffers.take(6 << 20).unwrap();
        assert_eq!(buffers.idle().bytes, 0);
        drop(again);
        assert_eq!(size_for(5 << 20), 8 << 20);
    }
}
