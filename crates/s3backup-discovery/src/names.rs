//! Names with their types, held in memory one behind the other.

use std::ffi::CStr;

use rustix::fs::FileType;

/// What a name takes beside its own bytes: the zero and the type behind it, and its place in the index.
const OVERHEAD: usize = 2 + size_of::<u32>();

/// Names of one directory. One allocation for all of them and one for the index, because a million small ones would
/// take three times the memory and most of the time.
///
/// A name is held as its record: its bytes, a zero, and its type in one byte. Records sort as their names do, since
/// no name has a zero in it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    records: Vec<u8>,
    /// Where each record begins.
    starts: Vec<u32>,
}

impl Names {
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.starts.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes of memory that are in use.
    pub(crate) fn size(&self) -> usize {
        self.records.len() + size_of_val(&*self.starts)
    }

    /// Adds a name, unless all would then take more than `room` bytes; the first one always has room.
    pub(crate) fn push(&mut self, name: &CStr, kind: FileType, room: usize) -> bool {
        let Ok(start) = u32::try_from(self.records.len()) else { return false };
        if !self.is_empty() && self.size() + name.count_bytes() + OVERHEAD > room {
            return false;
        }
        self.starts.push(start);
        self.records.extend_from_slice(name.to_bytes_with_nul());
        self.records.push(byte_of(kind));
        true
    }

    /// Sorts by bytes. A name that was listed twice, which happens where a directory is written meanwhile, is then
    /// there once.
    pub(crate) fn sort(&mut self) {
        let records = &*self.records;
        // The rest of the records is compared rather than one alone, which saves finding its end: two names differ
        // at the latest at the zero behind the shorter one.
        self.starts.sort_unstable_by(|&a, &b| from(records, a).cmp(from(records, b)));
        self.starts.dedup_by(|a, b| name_in(from(records, *a)) == name_in(from(records, *b)));
    }

    /// The name that is at `place` in the order, and its type.
    pub(crate) fn get(&self, place: usize) -> Option<(&[u8], FileType)> {
        Some(parts(from(&self.records, *self.starts.get(place)?)))
    }

    /// The records in order.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &[u8]> {
        self.starts.iter().map(|&start| {
            let record = from(&self.records, start);
            &record[..record.len().min(name_in(record).len() + 2)]
        })
    }
}

fn from(records: &[u8], start: u32) -> &[u8] {
    &records[start as usize..]
}

fn name_in(record: &[u8]) -> &[u8] {
    CStr::from_bytes_until_nul(record).map_or(record, CStr::to_bytes)
}

/// The name and the type in a record.
pub(crate) fn parts(record: &[u8]) -> (&[u8], FileType) {
    let name = name_in(record);
    let kind = record.get(name.len() + 1).copied().unwrap_or(u8::MAX);
    (name, FileType::from_raw_mode(u32::from(kind) << 12))
}

/// The four bits of a mode in which the type is.
fn byte_of(kind: FileType) -> u8 {
    u8::try_from(kind.as_raw_mode() >> 12).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Names = Names { records: Vec::new(), starts: Vec::new() };

    #[test]
    fn names_are_sorted_by_bytes_and_keep_their_types() {
        let mut names = EMPTY;
        for (name, kind) in [
            (c"ab", FileType::RegularFile),
            (c"\xff", FileType::Unknown),
            (c"a", FileType::Directory),
            (c"a-", FileType::Symlink),
            (c"a\x01", FileType::Socket),
            (c"a", FileType::Directory),
        ] {
            assert!(names.push(name, kind, usize::MAX));
        }
        names.sort();
        let sorted: Vec<_> = (0..).map_while(|place| names.get(place)).collect();
        let expected: [(&[u8], _); 5] = [
            (b"a", FileType::Directory),
            (b"a\x01", FileType::Socket),
            (b"a-", FileType::Symlink),
            (b"ab", FileType::RegularFile),
            (b"\xff", FileType::Unknown),
        ];
        assert_eq!(sorted, expected);
        assert!(names.in_order().map(parts).eq(expected));
    }

    #[test]
    fn the_room_bounds_all_but_the_first_name() {
        let mut names = EMPTY;
        assert!(names.push(c"longer than the room", FileType::RegularFile, 8));
        assert!(!names.push(c"b", FileType::RegularFile, 8));
        names.clear();
        let mut pushed = 0;
        while names.push(c"0123", FileType::RegularFile, 100) {
            pushed += 1;
        }
        assert_eq!((pushed, names.size()), (10, 100));
    }
}
