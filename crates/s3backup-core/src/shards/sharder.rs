//! Dealing the files of a plan out to shards, as they come. Pure: it makes lists, somebody else stores them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use bytes::Bytes;
use s3backup_model::manifest::{Header, MAX_SEGMENT_LINES, SCHEMA};
use s3backup_model::{PlannedShard, RunId, ShardLine, ShardList};
use s3backup_transfer::crc64nvme_base64;
use zstd::bulk::Compressor;

/// What a file costs beside its bytes: as long as this many bytes take. On loopback 5,000 files or 1 GiB are sent a second and
/// core; over a slower link bytes cost more and requests as much.
const FILE_BYTES: u64 = 256 << 10;

/// Compressed lists that are not complete, of all shards together, and for one of few.
const LISTS_BYTES: usize = 32 << 20;
const LIST_BYTES: usize = 512 << 10;

/// Lines that are not compressed yet, of all shards together, and for one.
const PIECES_BYTES: usize = 16 << 20;
const PIECE_BYTES: usize = 64 << 10;

const LEVEL: i32 = 1;

/// Deals files out, each to the shard that has least to do so far. What it holds does not grow with the number of files.
pub(crate) struct Sharder {
    run: RunId,
    shards: Vec<Shard>,
    /// The shards, the one with the least work first.
    by_work: BinaryHeap<Reverse<(u64, usize)>>,
    compressor: Compressor<'static>,
    list_bytes: usize,
    piece_bytes: usize,
}

#[derive(Default)]
struct Shard {
    planned: PlannedShard,
    lines: u64,
    /// Lines as they are.
    piece: Vec<u8>,
    /// Those before them, compressed: frames behind each other, which read as one.
    list: Vec<u8>,
}

/// A list that is complete.
#[derive(Debug)]
pub(crate) struct FullList {
    pub(crate) shard: u32,
    /// Counted from 0 in its shard.
    pub(crate) number: usize,
    pub(crate) bytes: Bytes,
}

impl Sharder {
    /// # Errors
    /// When the compressor has no memory.
    pub(crate) fn new(run: RunId, shards: u32) -> io::Result<Self> {
        let count = shards.max(1) as usize;
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        Ok(Self {
            run,
            shards: (0..count).map(|_| Shard::default()).collect(),
            by_work: (0..count).map(|shard| Reverse((0, shard))).collect(),
            compressor,
            list_bytes: LIST_BYTES.min(LISTS_BYTES / count),
            piece_bytes: PIECE_BYTES.min(PIECES_BYTES / count),
        })
    }

    /// Takes one file; gives a list when one is complete, which must be stored.
    ///
    /// # Errors
    /// When it cannot be compressed.
    pub(crate) fn push(&mut self, line: &ShardLine) -> io::Result<Option<FullList>> {
        let Some(mut lightest) = self.by_work.peek_mut() else { return Ok(None) };
        let Reverse((work, place)) = *lightest;
        *lightest = Reverse((work.saturating_add(line.size).saturating_add(FILE_BYTES), place));
        drop(lightest);
        let Some(shard) = self.shards.get_mut(place) else { return Ok(None) };
        if shard.lines == 0 {
            let segment = shard.planned.lists.len() as u64;
            let header = Header { schema: SCHEMA, min_reader: SCHEMA, run_id: self.run.clone(), segment };
            write_line(&mut shard.piece, &header)?;
        }
        write_line(&mut shard.piece, line)?;
        shard.lines += 1;
        shard.planned.files.add(line.size);
        let is_full = shard.lines >= MAX_SEGMENT_LINES || shard.list.len() >= self.list_bytes;
        if shard.piece.len() >= self.piece_bytes || is_full {
            shard.list.extend(self.compressor.compress(&shard.piece)?);
            shard.piece.clear();
        }
        Ok(is_full.then(|| shard.complete(place)))
    }

    /// The lists that are not complete yet, one a shard that has one: no more files come.
    ///
    /// # Errors
    /// When one cannot be compressed.
    pub(crate) fn finish(&mut self) -> io::Result<Vec<FullList>> {
        let mut full = Vec::new();
        for (place, shard) in self.shards.iter_mut().enumerate() {
            if shard.lines > 0 {
                shard.list.extend(self.compressor.compress(&shard.piece)?);
                shard.piece = Vec::new();
                full.push(shard.complete(place));
            }
        }
        Ok(full)
    }

    /// What the shards have become.
    pub(crate) fn planned(self) -> Vec<PlannedShard> {
        self.shards.into_iter().map(|shard| shard.planned).collect()
    }

    /// Bytes that are held for lines.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.shards.iter().map(|shard| shard.piece.capacity() + shard.list.capacity()).sum()
    }
}

impl Shard {
    fn complete(&mut self, place: usize) -> FullList {
        let bytes = Bytes::from(std::mem::take(&mut self.list));
        let (lines, number) = (std::mem::take(&mut self.lines), self.planned.lists.len());
        self.planned.lists.push(ShardList { lines, crc64nvme: crc64nvme_base64(&bytes) });
        FullList { shard: u32::try_from(place).unwrap_or(u32::MAX), number, bytes }
    }
}

fn write_line(piece: &mut Vec<u8>, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *piece, line)?;
    piece.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;
    use s3backup_model::{Key, Tally};

    fn run() -> RunId {
        RunId::new(DateTime::UNIX_EPOCH, 1)
    }

    fn line(number: u64, size: u64) -> ShardLine {
        let path = format!("vehicle-{:04}/2026-11-28/trip-{number:08}.json", number % 977);
        let key = Key::new(format!("trips/{path}")).unwrap();
        ShardLine { source: 0, path, size, key, known: None }
    }

    /// The lines of all lists of each shard, and what the plan says of it.
    fn deal(sizes: &[u64], shards: u32) -> Vec<(Vec<ShardLine>, PlannedShard)> {
        let mut sharder = Sharder::new(run(), shards).unwrap();
        let mut full = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            full.extend(sharder.push(&line(number as u64, *size)).unwrap());
        }
        full.extend(sharder.finish().unwrap());
        let mut dealt: Vec<(Vec<ShardLine>, PlannedShard)> =
            sharder.planned().into_iter().map(|planned| (Vec::new(), planned)).collect();
        for list in full {
            let (lines, planned) = &mut dealt[list.shard as usize];
            let said = &planned.lists[list.number];
            assert_eq!(crc64nvme_base64(&list.bytes), said.crc64nvme);
            let text = String::from_utf8(zstd::decode_all(&*list.bytes).unwrap()).unwrap();
            let (header, rest) = text.split_once('\n').unwrap();
            let header: Header = serde_json::from_str(header).unwrap();
            assert_eq!((header.run_id, header.segment), (run(), list.number as u64));
            let before = lines.len();
            lines.extend(rest.lines().map(|line| serde_json::from_str::<ShardLine>(line).unwrap()));
            assert_eq!((lines.len() - before) as u64, said.lines);
        }
        dealt
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn each_file_is_in_one_shard_and_no_shard_has_much_more_to_do_than_another(
            sizes in proptest::collection::vec(prop_oneof![0..100_u64, 0..(64_u64 << 20)], 0..400),
            shards in 1..20_u32,
        ) {
            let dealt = deal(&sizes, shards);
            prop_assert_eq!(dealt.len(), shards as usize);
            let mut paths: Vec<&str> = dealt.iter().flat_map(|(lines, _)| lines).map(|line| line.path.as_str()).collect();
            paths.sort_unstable();
            paths.dedup();
            prop_assert_eq!(paths.len(), sizes.len());
            let mut work = Vec::new();
            for (lines, planned) in &dealt {
                let mut files = Tally::default();
                for line in lines {
                    files.add(line.size);
                }
                prop_assert_eq!(files, planned.files);
                work.push(files.bytes + files.files * FILE_BYTES);
            }
            // The one with the most got its last file when it had the least.
            let largest = sizes.iter().max().copied().unwrap_or_default() + FILE_BYTES;
            prop_assert!(work.iter().max().unwrap() - work.iter().min().unwrap() <= largest);
        }
    }

    /// The most that is held while so many files are dealt out, and the lists that come of them.
    fn most_held(files: u64, shards: u32) -> (usize, usize) {
        let mut sharder = Sharder::new(run(), shards).unwrap();
        (sharder.list_bytes, sharder.piece_bytes) = (8 << 10, 4 << 10);
        let (mut most, mut lists) = (0, 0);
        for number in 0..files {
            lists += usize::from(sharder.push(&line(number, 1000)).unwrap().is_some());
            if number % 500 == 0 {
                most = most.max(sharder.held());
            }
        }
        (most, lists)
    }

    #[test]
    fn what_is_held_does_not_grow_with_the_number_of_files() {
        let (few, _) = most_held(20_000, 8);
        let (many, lists) = most_held(200_000, 8);
        assert!(many <= few + few / 10, "{few} bytes for few files, {many} for ten times as many");
        assert!(lists > 100, "{lists}");
    }

    #[test]
    fn many_shards_hold_no_more_than_few() {
        let limit = |shards| {
            let sharder = Sharder::new(run(), shards).unwrap();
            shards as usize * (sharder.list_bytes + sharder.piece_bytes)
        };
        assert!([1, 8, 100, 1000].into_iter().all(|shards| limit(shards) <= LISTS_BYTES + PIECES_BYTES));
    }
}
