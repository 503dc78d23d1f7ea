//! Bodies of requests and replies, as the fault layer needs them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

/// The body of a request, of which the rest can still be read when the service has answered without it.
///
/// A server that closes a connection while the client is sending makes the client lose the answer.
#[derive(Clone)]
pub(crate) struct RequestBody(Arc<Mutex<Incoming>>);

impl RequestBody {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Reads at least `limit` bytes, or to the end, and throws them away.
    pub(crate) async fn drain(mut self, limit: u64) {
        let mut read = 0;
        while read < limit {
            match self.frame().await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) | None => return,
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// What happens to the body of a reply.
pub(crate) enum Damage {
    None,
    /// After so many bytes nothing more comes, and the connection is cut if it can be.
    Stop {
        after: u64,
        cut: Option<CancellationToken>,
    },
    /// The next byte has a bit flipped.
    Flip,
}

/// The body of a reply.
pub(crate) struct ReplyBody {
    pub(crate) inner: s3s::Body,
    pub(crate) damage: Damage,
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        if let Damage::Stop { after: 0, cut } = &self.damage {
            // What was sent before is on its way: hyper writes it out when there is nothing more to be had.
            cut.iter().for_each(CancellationToken::cancel);
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match (&mut self.damage, polled) {
            (Damage::None, polled) => polled,
            (damage, Poll::Ready(Some(Ok(frame)))) => {
                let frame = frame.map_data(|data| damage.apply(data));
                Poll::Ready(Some(Ok(frame)))
            }
            // A reply shorter than thought must not end well either.
            (Damage::Stop { cut, .. }, Poll::Ready(None)) => {
                cut.iter().for_each(CancellationToken::cancel);
                Poll::Pending
            }
            (_, polled) => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        !matches!(self.damage, Damage::Stop { .. }) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Damage {
    fn apply(&mut self, mut data: Bytes) -> Bytes {
        match self {
            Self::Stop { after, .. } => {
                let kept = usize::try_from(*after).unwrap_or(usize::MAX).min(data.len());
                data.truncate(kept);
                *after -= kept as u64;
                data
            }
            Self::Flip if !data.is_empty() => {
                *self = Self::None;
                let mut bytes = data.to_vec();
                bytes[0] ^= 1;
                bytes.into()
            }
            Self::Flip | Self::None => data,
        }
    }
}

/// The length of a body if it is known.
pub(crate) fn length(headers: &http::HeaderMap, body: &impl Body) -> Option<u64> {
    let header = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    header.and_then(|value| value.parse().ok()).or_else(|| body.size_hint().exact())
}
