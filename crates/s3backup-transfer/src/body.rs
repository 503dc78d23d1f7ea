//! Request bodies that do not fit in memory: a range of a file, read while it is sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// How much is read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces that wait for the network. One is being sent, one is ready, one is being read.
const PIECES_AHEAD: usize = 1;

/// What a streamed body holds in memory.
pub(crate) const STREAM_BYTES: u64 = (PIECE_BYTES * (PIECES_AHEAD + 2)) as u64;

/// The bytes of one request.
#[derive(Clone)]
pub(crate) enum Payload {
    /// In memory.
    Whole(Bytes),
    /// Read from the file while it is sent, once for each attempt.
    Range { file: Arc<File>, offset: u64, len: u64 },
}

impl Payload {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Range { len, .. } => *len,
        }
    }

    /// Else it is read again for each attempt.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    pub(crate) fn to_stream(&self) -> ByteStream {
        match self {
            Self::Whole(bytes) => ByteStream::from(bytes.clone()),
            Self::Range { file, offset, len } => {
                ByteStream::new(SdkBody::from_body_1_x(FileBody::start(Arc::clone(file), *offset, *len)))
            }
        }
    }
}

/// Reads a range on a blocking thread and hands the pieces over as they are asked for. Dropping it ends the reading.
struct FileBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl FileBody {
    fn start(file: Arc<File>, offset: u64, len: u64) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        // The thread is waited for by the channel: it ends with the range, on an error, or when the body is dropped.
        tokio::task::spawn_blocking(move || {
            let mut at = 0;
            while at < len {
                let size = PIECE_BYTES.min(usize::try_from(len - at).unwrap_or(PIECE_BYTES));
                let mut piece = vec![0; size];
                let result = file.read_exact_at(&mut piece, offset + at).map(|()| Bytes::from(piece));
                let ended = result.is_err();
                if sender.blocking_send(result).is_err() || ended {
                    return;
                }
                at += size as u64;
            }
        });
        Self { pieces, left: len }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                let piece = piece?;
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Frame::data(piece))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
