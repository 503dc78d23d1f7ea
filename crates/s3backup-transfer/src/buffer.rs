//! Memory for the bytes of files.
//!
//! The C library's allocator raises its threshold for mapped memory to the largest block that was freed, and then keeps
//! parts that were sent in the arena of each thread that read one: a run that may hold 64 MiB peaked at 250 MiB. Large
//! buffers are therefore mapped here and unmapped when they are sent, so that what is held is what is used.

use std::io;

use bytes::Bytes;
use memmap2::MmapMut;

/// Buffers from this size on are mapped: the allocator's own threshold before it grows (`mallopt(3)`,
/// `M_MMAP_THRESHOLD`).
const MAPPED_FROM_BYTES: usize = 128 << 10;

/// Zeroed memory to read into.
pub(crate) enum Buffer {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

impl Buffer {
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        if len < MAPPED_FROM_BYTES {
            return Ok(Self::Heap(vec![0; len]));
        }
        MmapMut::map_anon(len).map(Self::Mapped)
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }

    /// The bytes, to be shared from now on.
    pub(crate) fn freeze(self) -> Bytes {
        match self {
            Self::Heap(bytes) => bytes.into(),
            Self::Mapped(bytes) => Bytes::from_owner(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_buffers_keep_what_is_read_into_them() {
        for len in [0, 1, MAPPED_FROM_BYTES - 1, MAPPED_FROM_BYTES, 3 << 20] {
            let mut buffer = Buffer::new(len).unwrap();
            assert!(buffer.as_mut().iter().all(|&byte| byte == 0));
            buffer.as_mut().fill(7);
            let bytes = buffer.freeze();
            assert_eq!(bytes.len(), len);
            assert!(bytes.iter().all(|&byte| byte == 7));
        }
    }
}
