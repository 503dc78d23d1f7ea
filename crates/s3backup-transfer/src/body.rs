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

use crate::pace::{Pace, Turn};
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
pub(crate) const TAKEN_BYTES: usize = 16 << 10;

/// How far one request has come.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    begun: Instant,
    last: Arc<Mutex<(u64, Instant)>>,
}

impl Progress {
    /// Of a request that begins now.
    pub(crate) fn begin() -> Self {
        let begun = Instant::now();
        Self { begun, last: Arc::new(Mutex::new((0, begun))) }
    }

    /// So many more bytes were taken to be sent, or something came back.
    pub(crate) fn note(&self, bytes: u64) {
        // A poisoned lock only means that another task panicked beside it.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (last.0 + bytes, Instant::now());
    }

    /// It will stand still until then, because we do not let it go on.
    pub(crate) fn hold_until(&self, until: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.1 = last.1.max(until);
    }

    /// How many bytes were taken, and when something happened last or may happen next.
    pub(crate) fn last(&self) -> (u64, Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the request began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }
}

/// Notes how a request's body is taken by the transport, and lets it be taken no faster than it may. It begins behind the
/// signing, because only bodies that are plainly in memory are signed over plain HTTP.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) progress: Progress,
    pub(crate) pace: Pace,
}

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
        let (progress, turn) = (self.progress.clone(), Turn::of(self.pace.clone()));
        *body = SdkBody::from_body_1_x(WatchedBody { inner, held: Bytes::new(), progress, turn });
        Ok(())
    }
}

/// Hands out a body in small pieces, each when it may go, and notes it.
struct WatchedBody {
    inner: SdkBody,
    /// What the inner body gave and is not handed out yet.
    held: Bytes,
    progress: Progress,
    turn: Turn,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, held, progress, turn } = self.get_mut();
        while held.is_empty() {
            match ready!(Pin::new(&mut *inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => *held = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let size = TAKEN_BYTES.min(held.len());
        ready!(turn.poll_pass(context, size, |until| progress.hold_until(until)));
        let piece = held.split_to(size);
        progress.note(size as u64);
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

#[cfg(test)]
mod tests {
    use super::*;

    use std::num::NonZeroU64;
    use std::time::Duration;

    use aws_sdk_s3::Client;
    use aws_sdk_s3::config::{BehaviorVersion, Config};
    use http_body_util::BodyExt;
    use s3backup_model::Key;

    use crate::bucket::Timing;
    use crate::{Bandwidth, Bucket, Rate, RetrySettings};

    /// Four pieces with 16 s between them, where 13 s without any would be too long.
    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_held_is_not_lost() {
        let config = Config::builder().behavior_version(BehaviorVersion::latest()).build();
        let retry = RetrySettings { request_timeout: Duration::from_millis(100), ..RetrySettings::default() };
        let bucket = Bucket::from_client(&Client::from_conf(config), "bucket").with_retry(retry);
        let pace = Pace::new(Bandwidth::Always(Rate::BytesPerSecond(NonZeroU64::new(1024).unwrap())));
        let progress = Progress::begin();
        let mut body = WatchedBody {
            inner: SdkBody::from(vec![7; 4 * TAKEN_BYTES]),
            held: Bytes::new(),
            progress: progress.clone(),
            turn: Turn::of(pace),
        };
        let began = Instant::now();
        let request = async {
            while let Some(frame) = body.frame().await {
                assert_eq!(frame.unwrap().into_data().unwrap().len(), TAKEN_BYTES);
            }
            Ok(began.elapsed())
        };
        let key = Key::new("k").unwrap();
        let timing = Timing { operation: "PutObject", key: &key, attempt: 1, allowance: Duration::ZERO };
        let sent = bucket.in_time(timing, &progress, request).await.unwrap();
        assert!(sent >= Duration::from_secs(48), "{sent:?}");
        // Once all is sent, only the server can be slow.
        let silent = std::future::pending::<Result<(), _>>();
        bucket.in_time(timing, &progress, silent).await.unwrap_err();
        assert!(began.elapsed() < sent + Duration::from_secs(17), "{:?}", began.elapsed());
    }
}
