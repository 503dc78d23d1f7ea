//! Request bodies: bytes in memory, a range of a file that is read while it is sent, and the watch over how far they
//! have come.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::wire::Outgoing;

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

    /// For a request of the fast path.
    pub(crate) fn to_outgoing(&self) -> Outgoing {
        match self {
            Self::Whole(bytes) => Outgoing::Bytes(bytes.clone()),
            Self::Range { file, offset, len } => {
                let pieces = FileBody::start(Arc::clone(file), *offset, *len);
                Outgoing::Pieces { pieces, now: Bytes::new() }
            }
        }
    }

    /// For a request of the SDK.
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
pub(crate) struct FileBody {
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

    /// The next piece; `None` at the end.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let piece = ready!(self.pieces.poll_recv(context));
        if let Some(Ok(piece)) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.poll_piece(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// How much the transport is given at a time. It asks for more until its buffers are full, so that small pieces show
/// more of how it goes on and cost nothing: they share the memory of the whole.
const TAKEN_BYTES: usize = 16 << 10;

/// How far one request has come.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<(u64, Instant)>>);

impl Progress {
    /// Of a request that begins now.
    pub(crate) fn begin() -> Self {
        Self(Arc::new(Mutex::new((0, Instant::now()))))
    }

    /// So many more bytes were taken to be sent, or something came back.
    pub(crate) fn note(&self, bytes: u64) {
        // A poisoned lock only means that another task panicked beside it.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (last.0 + bytes, Instant::now());
    }

    /// How many bytes were taken, and when something happened last.
    pub(crate) fn last(&self) -> (u64, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes how a request's body is taken by the transport. It begins behind the signing, because only bodies that are
/// plainly in memory are signed over plain HTTP.
#[derive(Debug)]
pub(crate) struct Watch(pub(crate) Progress);

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.request_mut().body_mut();
        let inner = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(WatchedBody { inner, held: Bytes::new(), progress: self.0.clone() });
        Ok(())
    }
}

/// Hands out a body in small pieces and notes each.
struct WatchedBody {
    inner: SdkBody,
    /// What the inner body gave and is not handed out yet.
    held: Bytes,
    progress: Progress,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while self.held.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.held = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let size = TAKEN_BYTES.min(self.held.len());
        let piece = self.held.split_to(size);
        self.progress.note(size as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.size_hint();
        let held = self.held.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}
