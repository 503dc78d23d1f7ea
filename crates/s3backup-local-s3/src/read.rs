//! Giving out the bytes of an object, a piece of memory at a time.

use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use s3s::Body;
use s3s::S3Result;
use s3s::dto::StreamingBlob;

use crate::checksum::{Algorithm, Digests, Hashers};
use crate::object::{Object, Piece};
use crate::receive::blocking;
use crate::store::internal;

/// How much is read at once, and the most that a GET holds in memory.
const CHUNK_BYTES: u64 = 256 * 1024;

/// The body of a reply with a range of an object.
///
/// The object stays readable until the body is dropped, even if it is replaced or deleted meanwhile.
pub(crate) async fn body(
    blobs: &Arc<Path>,
    object: Arc<Object>,
    range: Range<u64>,
) -> S3Result<StreamingBlob> {
    let mut reader = Reader { blobs: Arc::clone(blobs), object, range, open: None };
    // The first chunk is read before the reply begins, so that a lost file is an error and not a cut reply.
    let is_whole = reader.range.end - reader.range.start <= CHUNK_BYTES;
    let (chunk, reader) = blocking(move || Ok((reader.next().map_err(internal)?, reader))).await?;
    if is_whole {
        return Ok(StreamingBlob::from(Body::from(chunk)));
    }
    let rest = stream::try_unfold(reader, async |mut reader| {
        if reader.range.is_empty() {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || Ok((reader.next()?, reader)));
        read.await.map_err(io::Error::other)?.map(Some)
    });
    let first = stream::once(async { Ok::<_, io::Error>(chunk) });
    Ok(StreamingBlob::wrap(futures::StreamExt::chain(first, rest)))
}

struct Reader {
    blobs: Arc<Path>,
    object: Arc<Object>,
    /// What is still to be read.
    range: Range<u64>,
    /// What reads from `range.start` on, and the offset in the object at which it ends.
    open: Option<(Box<dyn Read + Send + Sync>, u64)>,
}

impl Reader {
    /// The next bytes; fewer than asked for at the end of the range, none after it.
    fn next(&mut self) -> io::Result<Bytes> {
        let mut chunk = Vec::new();
        let limit = CHUNK_BYTES.min(self.range.end - self.range.start);
        chunk.reserve_exact(usize::try_from(limit).unwrap_or_default());
        let stop = self.range.start + limit;
        while self.range.start < stop {
            let (mut piece, end) = match self.open.take() {
                Some(open) => open,
                None => self.open_piece()?,
            };
            let wanted = stop.min(end) - self.range.start;
            let got = piece.by_ref().take(wanted).read_to_end(&mut chunk)?;
            if got as u64 != wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.range.start += wanted;
            if self.range.start < end {
                self.open = Some((piece, end));
            }
        }
        Ok(chunk.into())
    }

    fn open_piece(&self) -> io::Result<(Box<dyn Read + Send + Sync>, u64)> {
        let (piece, start) = piece_at(&self.object, self.range.start)?;
        let open = piece.blob.open(&self.blobs, piece.size, self.range.start - start)?;
        Ok((open, start + piece.size))
    }
}

/// The piece that has the byte at `offset` of the object, and the offset at which it starts.
fn piece_at(object: &Object, offset: u64) -> io::Result<(&Piece, u64)> {
    let mut start = 0;
    for piece in &object.pieces {
        if offset < start + piece.size {
            return Ok((piece, start));
        }
        start += piece.size;
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Flips a bit of the byte at `offset`, on the disk. Blocks.
pub(crate) fn flip_bit(blobs: &Path, object: &Object, offset: u64) -> io::Result<()> {
    let (piece, start) = piece_at(object, offset)?;
    let file = piece.blob.open_to_damage(blobs)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset - start)?;
    file.write_all_at(&[byte[0] ^ 1], offset - start)
}

/// Reads an object through, for its digests. Blocks.
pub(crate) fn digests(blobs: &Path, object: &Object, algorithms: &[Algorithm]) -> io::Result<Digests> {
    let mut hashers = Hashers::new(algorithms);
    let mut buffer = vec![0; 256 * 1024];
    for piece in &object.pieces {
        let mut open = piece.blob.open(blobs, piece.size, 0)?;
        loop {
            let length = open.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            hashers.update(&buffer[..length]);
        }
    }
    Ok(hashers.finish())
}
