//! Bytes made up in place of those that a null store threw away.
//!
//! Every object begins somewhere in one endless repetition of the same random bytes, so that making them costs no
//! more than copying them. Its last eight bytes are chosen so that all of it has the CRC64NVME of what was thrown
//! away: a client that proves what it reads by that checksum finds it good.

use std::io::{self, Read};
use std::sync::LazyLock;

use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};

/// The length of what is repeated: it fits a processor's cache, and repeats in no object that is put at once.
const PATTERN_BYTES: usize = 1024 * 1024;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; PATTERN_BYTES];
    fastrand::Rng::with_seed(0).fill(&mut bytes);
    bytes
});

/// The polynomial of CRC64NVME, its bits reversed as the checksum computes with them.
const POLYNOMIAL: u64 = 0x9A6C_9329_AC4B_C9B5;

/// As many bytes as the checksum has.
const TAIL_BYTES: u64 = 8;

/// How to make the bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Where in the pattern they begin.
    start: usize,
    /// The last eight bytes, or all if there are fewer, the lowest first.
    tail: u64,
}

impl Made {
    /// `size` bytes for a key: always the same but for the last eight, which give all of them the CRC64NVME `crc`.
    ///
    /// Fewer than eight bytes come out as they went in: they are the only ones with that checksum.
    pub(crate) fn new(key: &str, size: u64, crc: u64) -> Self {
        let hash = crc_fast::checksum(CrcAlgorithm::Crc64Nvme, key.as_bytes());
        let start = usize::try_from(hash % PATTERN_BYTES as u64).unwrap_or_default();
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        let tail_bytes = size.min(TAIL_BYTES);
        let (mut place, mut rest) = (start, size - tail_bytes);
        while rest > 0 {
            let piece = repeated(place, rest);
            digest.update(piece);
            place += piece.len();
            rest -= piece.len() as u64;
        }
        // The checksum of a text is the register that is left, inverted. Eight steps for each byte mix it in, each of
        // which can be taken back: so what the tail must be is what takes one register to the other.
        let mut register = !crc;
        for _ in 0..tail_bytes * 8 {
            register = match register >> 63 {
                1 => (register ^ POLYNOMIAL) << 1 | 1,
                _ => register << 1,
            };
        }
        Self { start, tail: register ^ !digest.finalize() }
    }

    /// Reads the bytes of a blob of `size` bytes from `offset` on.
    pub(crate) fn reader(self, size: u64, offset: u64) -> impl Read + Send + Sync + use<> {
        Reader { made: self, size, offset }
    }
}

/// Bytes of the pattern from a place on, at most `limit`, and at least one if that is not 0.
fn repeated(place: usize, limit: u64) -> &'static [u8] {
    let rest = &PATTERN[place % PATTERN_BYTES..];
    &rest[..usize::try_from(limit).unwrap_or(usize::MAX).min(rest.len())]
}

struct Reader {
    made: Made,
    size: u64,
    offset: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tail_start = self.size - self.size.min(TAIL_BYTES);
        let tail = self.made.tail.to_le_bytes();
        let bytes = if self.offset < tail_start {
            let turn = usize::try_from(self.offset % PATTERN_BYTES as u64).unwrap_or_default();
            repeated(self.made.start + turn, tail_start - self.offset)
        } else {
            let at = |offset: u64| usize::try_from(offset - tail_start).unwrap_or_default();
            &tail[at(self.offset.min(self.size))..at(self.size)]
        };
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        self.offset += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
    }

    fn all(made: Made, size: usize, offset: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        made.reader(size as u64, offset as u64).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_made_has_the_checksum_of_what_was_sent() {
        for size in [0, 1, 7, 8, 9, 4096, PATTERN_BYTES, PATTERN_BYTES + 8, 3 * PATTERN_BYTES + 77] {
            let sent: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let made = Made::new("trips/a", size as u64, crc(&sent));
            let bytes = all(made, size, 0);
            assert_eq!((bytes.len(), crc(&bytes)), (size, crc(&sent)), "{size} bytes");
            assert_eq!(bytes == sent, size <= 8, "{size} bytes");
            for offset in [0, 1, size / 2, size.saturating_sub(9), size.saturating_sub(3), size] {
                let offset = offset.min(size);
                assert!(all(made, size, offset) == bytes[offset..], "{size} bytes from {offset}");
            }
        }
    }

    #[test]
    fn other_keys_have_other_bytes() {
        let bytes = |key| all(Made::new(key, 100, 7), 100, 0);
        assert_eq!(bytes("a"), bytes("a"));
        assert_ne!(bytes("a"), bytes("b"));
    }
}
