//! Segments of a manifest: compressed lines that are cut before they grow.

use std::io::{self, Write};

use bytes::Bytes;
use s3backup_model::RunId;
use s3backup_model::manifest::{Header, Line, SCHEMA};
use zstd::stream::write::Encoder;

/// A segment is cut at this many compressed bytes too, so that memory stays bounded whatever the paths are.
const MAX_SEGMENT_BYTES: usize = 4 << 20;

/// Half of a line is checksums, which no level makes smaller: level 3 takes half as much time again, and gives no less.
const LEVEL: i32 = 1;

/// Lines are given to the compressor when they are this many bytes: it takes some time for each piece, however small.
const PIECE_BYTES: usize = 64 << 10;

/// A segment that is being written.
pub(crate) struct Segment {
    encoder: Encoder<'static, Vec<u8>>,
    /// Lines that are not compressed yet.
    piece: Vec<u8>,
    number: u64,
    lines: u64,
}

/// A segment that is complete.
pub(crate) struct Finished {
    pub(crate) number: u64,
    pub(crate) lines: u64,
    pub(crate) bytes: Bytes,
}

impl Segment {
    pub(crate) fn start(run_id: &RunId, number: u64) -> io::Result<Self> {
        let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        let header = Header { schema: SCHEMA, min_reader: SCHEMA, run_id: run_id.clone(), segment: number };
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        serde_json::to_writer(&mut piece, &header)?;
        piece.push(b'\n');
        Ok(Self { encoder, piece, number, lines: 0 })
    }

    pub(crate) fn push(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.piece, line)?;
        self.piece.push(b'\n');
        self.lines += 1;
        if self.piece.len() >= PIECE_BYTES {
            self.encoder.write_all(&self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn is_full(&self, max_lines: u64) -> bool {
        self.lines >= max_lines || self.encoder.get_ref().len() >= MAX_SEGMENT_BYTES
    }

    pub(crate) fn finish(mut self) -> io::Result<Finished> {
        self.encoder.write_all(&self.piece)?;
        Ok(Finished { number: self.number, lines: self.lines, bytes: self.encoder.finish()?.into() })
    }
}
