//! Names of a directory that do not fit in memory: sorted runs in a temporary file, merged as they are read.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::names::{Names, parts};

/// Memory for reading all runs of a directory, shared among them: large reads while there are few runs.
const READ_BUFFERS: usize = 1024 * 1024;

/// The least and the most of it for one run. A directory with so many runs that the least decides, 2,048, has a
/// billion names.
const READ_BUFFER: Range<usize> = 512..64 * 1024;

/// Sorted runs of names in a temporary file without a name, which is gone when this is, however that comes.
#[derive(Debug)]
pub(crate) struct Spill {
    file: BufWriter<File>,
    runs: Vec<Range<u64>>,
    end: u64,
}

impl Spill {
    pub(crate) fn new(temp_dir: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(64 * 1024, tempfile::tempfile_in(temp_dir)?);
        Ok(Self { file, runs: Vec::new(), end: 0 })
    }

    /// Writes sorted names as one run.
    pub(crate) fn add(&mut self, names: &Names) -> io::Result<()> {
        let start = self.end;
        for record in names.in_order() {
            self.file.write_all(record)?;
            self.end += record.len() as u64;
        }
        self.runs.push(start..self.end);
        Ok(())
    }

    pub(crate) fn merge(self) -> io::Result<Merge> {
        let file = Arc::new(self.file.into_inner().map_err(io::IntoInnerError::into_error)?);
        let buffer = (READ_BUFFERS / self.runs.len().max(1)).clamp(READ_BUFFER.start, READ_BUFFER.end);
        let mut heads = BinaryHeap::with_capacity(self.runs.len());
        for range in self.runs {
            let run = BufReader::with_capacity(buffer, Run { file: Arc::clone(&file), range });
            let mut head = Head { record: Vec::new(), run };
            if head.advance()? {
                heads.push(head);
            }
        }
        Ok(Merge { heads, last: Vec::new() })
    }
}

/// The names of all runs in one order.
#[derive(Debug)]
pub(crate) struct Merge {
    heads: BinaryHeap<Head>,
    /// The record that was read last.
    last: Vec<u8>,
}

impl Merge {
    /// Appends the next name to `path`.
    pub(crate) fn next(&mut self, path: &mut Vec<u8>) -> io::Result<Option<FileType>> {
        while let Some(mut head) = self.heads.peek_mut() {
            mem::swap(&mut self.last, &mut head.record);
            let (name, kind) = parts(&self.last);
            // As in memory, a name that was listed twice is there once.
            let is_again = !head.record.is_empty() && parts(&head.record).0 == name;
            if !head.advance()? {
                PeekMut::pop(head);
            }
            if !is_again {
                path.extend_from_slice(name);
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }
}

/// The next record of a run. The greatest is the one whose name comes first.
#[derive(Debug)]
struct Head {
    record: Vec<u8>,
    run: BufReader<Run>,
}

impl Head {
    /// Goes on to the next record, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        self.record.clear();
        if self.run.read_until(0, &mut self.record)? == 0 {
            return Ok(false);
        }
        let mut kind = [0];
        self.run.read_exact(&mut kind)?;
        self.record.extend_from_slice(&kind);
        Ok(true)
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.record.cmp(&self.record)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// A part of a file, read from its beginning whatever else is read of the file.
#[derive(Debug)]
struct Run {
    file: Arc<File>,
    range: Range<u64>,
}

impl Read for Run {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.range.start)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.range.start += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_back_as_one_order_without_what_is_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(dir.path()).unwrap();
        for run in [[c"b", c"d", c"a"], [c"c", c"a", c"e"], [c"a", c"a-", c"b"]] {
            let mut names = Names::default();
            for name in run {
                assert!(names.push(name, FileType::Fifo, usize::MAX));
            }
            names.sort();
            spill.add(&names).unwrap();
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
        let mut merge = spill.merge().unwrap();
        let mut path = Vec::new();
        while let Some(kind) = merge.next(&mut path).unwrap() {
            assert_eq!(kind, FileType::Fifo);
            path.push(b' ');
        }
        assert_eq!(path, b"a a- b c d e ");
    }
}
