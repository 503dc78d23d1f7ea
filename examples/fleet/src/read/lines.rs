//! Cuts bytes into lines, in memory that does not grow with them.

use std::borrow::Cow;
use std::io::{self, Read};

use super::encoding::{self, Encoding};
use super::record::Fault;
use crate::aside::Rule;

/// How much is read at once: enough that a line seldom lies across two pieces, little enough to stay in the cache.
const PIECE_BYTES: usize = 128 * 1_024;

/// One line, without its line feed.
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: u64,
    /// The line, or its beginning.
    pub(super) bytes: &'a [u8],
    /// How many bytes of a line that is too long are left out.
    skipped_bytes: u64,
}

impl<'a> Line<'a> {
    /// The line as UTF-8, as far as its encoding needs to be changed for that.
    pub(super) fn text(&self, encoding: Encoding) -> Result<Cow<'a, [u8]>, Fault> {
        if self.skipped_bytes == 0 {
            return encoding.decode(self.bytes);
        }
        let length = self.skipped_bytes.saturating_add(self.bytes.len() as u64);
        let detail =
            format!("has {length} bytes, more than `max_line_bytes` in `[read]`, {}", self.bytes.len());
        Err(Fault { rule: Rule::LongLine, detail })
    }
}

pub(super) struct Lines<R> {
    source: R,
    max_line_bytes: usize,
    encoding: Encoding,
    /// What was read and not yet handed out is from `start` to `end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    read_bytes: u64,
    number: u64,
    is_at_end: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R, max_line_bytes: usize) -> Self {
        Self {
            source,
            max_line_bytes,
            encoding: Encoding::Utf8,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            read_bytes: 0,
            number: 0,
            is_at_end: false,
        }
    }

    /// Looks at the first bytes. Lines are cut in this encoding then.
    pub(super) fn detect_encoding(&mut self) -> io::Result<Result<Encoding, Fault>> {
        while self.end < 4 && !self.is_at_end {
            self.read_more()?;
        }
        Ok(encoding::detect(self.waiting()).map(|(encoding, mark_bytes)| {
            self.start = mark_bytes;
            self.encoding = encoding;
            encoding
        }))
    }

    /// How many lines were begun.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes were read.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The next line, none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = 0;
        loop {
            let unsearched = self.waiting().get(searched..).unwrap_or_default();
            if let Some((at, feed_bytes)) = self.encoding.line_feed(unsearched) {
                return Ok(Some(self.hand_out(searched + at, feed_bytes)));
            }
            let waiting = self.end - self.start;
            if self.is_at_end {
                return Ok((waiting > 0).then(|| self.hand_out(waiting, 0)));
            }
            if waiting > self.max_line_bytes {
                return self.skip_line().map(Some);
            }
            // Half a character of two bytes is looked at again.
            searched = waiting & !1;
            self.read_more()?;
        }
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes a line of so many bytes, and its line feed, out of what is waiting.
    fn hand_out(&mut self, length: usize, feed_bytes: usize) -> Line<'_> {
        let start = self.start;
        let kept = length.min(self.max_line_bytes);
        self.start += length + feed_bytes;
        self.number += 1;
        Line {
            number: self.number,
            bytes: self.buffer.get(start..start + kept).unwrap_or_default(),
            skipped_bytes: (length - kept) as u64,
        }
    }

    /// Keeps the beginning of a line that is too long, and reads on to its end.
    fn skip_line(&mut self) -> io::Result<Line<'_>> {
        // Whole characters of two bytes, so that the two bytes of a line feed are not taken for halves of others.
        let kept = self.max_line_bytes & !1;
        let mut skipped_bytes = 0;
        let (length, feed_bytes) = loop {
            let rest = self.waiting().get(kept..).unwrap_or_default();
            if let Some((at, feed_bytes)) = self.encoding.line_feed(rest) {
                break (kept + at, feed_bytes);
            }
            if self.is_at_end {
                break (self.end - self.start, 0);
            }
            let skipped = rest.len() & !1;
            skipped_bytes += skipped as u64;
            self.buffer.copy_within(self.start + kept + skipped..self.end, self.start + kept);
            self.end -= skipped;
            self.read_more()?;
        };
        let line = self.hand_out(length, feed_bytes);
        Ok(Line { skipped_bytes: line.skipped_bytes + skipped_bytes, ..line })
    }

    /// Reads what comes next, after what is waiting.
    fn read_more(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.resize(self.buffer.len().max(self.end + PIECE_BYTES), 0);
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.source.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.end += read;
        self.read_bytes += read as u64;
        self.is_at_end = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, so that each line lies across pieces.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let one = self.0.len().min(1);
            let read = self.0.get(..one).unwrap_or_default().read(buffer)?;
            self.0 = self.0.get(read..).unwrap_or_default();
            Ok(read)
        }
    }

    fn lines(source: impl Read, max_line_bytes: usize) -> Vec<(u64, Vec<u8>, u64)> {
        let mut lines = Lines::new(source, max_line_bytes);
        lines.detect_encoding().unwrap().unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.bytes.to_vec(), line.skipped_bytes));
        }
        all
    }

    #[track_caller]
    fn cut(bytes: &[u8], max_line_bytes: usize, expected: &[(&[u8], u64)]) {
        let expected: Vec<_> =
            (1..).zip(expected).map(|(number, (line, skipped))| (number, line.to_vec(), *skipped)).collect();
        assert_eq!(lines(bytes, max_line_bytes), expected);
        assert_eq!(lines(Trickle(bytes), max_line_bytes), expected);
    }

    #[test]
    fn lines_end_at_line_feeds_and_at_the_end() {
        cut(b"", 8, &[]);
        cut(b"one\n\ntwo\r\n", 8, &[(b"one", 0), (b"", 0), (b"two\r", 0)]);
        cut(b"one\ntwo", 8, &[(b"one", 0), (b"two", 0)]);
        cut(b"\xEF\xBB\xBFone", 8, &[(b"one", 0)]);
    }

    #[test]
    fn of_a_long_line_the_beginning_is_kept() {
        cut(b"12345678\n123456789\n1", 8, &[(b"12345678", 0), (b"12345678", 1), (b"1", 0)]);
        cut(&[b'x'; 100], 8, &[(b"xxxxxxxx", 92)]);
        let mut long = vec![b'x'; 3 * PIECE_BYTES + 1];
        long.extend(b"\nnext");
        cut(&long, 8, &[(b"xxxxxxxx", 3 * PIECE_BYTES as u64 - 7), (b"next", 0)]);
    }

    #[test]
    fn a_line_feed_of_two_bytes_is_one_only_where_a_character_begins() {
        // U+0A0A and U+0A00 have its bytes, and are no line feeds.
        cut(b"\xFF\xFE\x0A\x0A\x00\x0A\x0A\x00x\x00", 8, &[(b"\x0A\x0A\x00\x0A", 0), (b"x\x00", 0)]);
        cut(b"\xFE\xFF\x0A\x0A\x0A\x00\x00\x0A\x00x", 8, &[(b"\x0A\x0A\x0A\x00", 0), (b"\x00x", 0)]);
        let long = [b"\xFF\xFE".as_slice(), &[0x41, 0x0A].repeat(20), b"\x0A\x00x\x00"].concat();
        cut(&long, 8, &[(&[0x41, 0x0A].repeat(4), 32), (b"x\x00", 0)]);
    }
}
