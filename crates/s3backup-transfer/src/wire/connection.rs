//! One connection, and one request at a time on it (HTTP/1.1, RFC 9112).
//!
//! The whole exchange is polled by the task that makes the request: nothing is handed to another task, which is where a
//! general client spends most of its time on small files.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::reply::{Chunks, Framing, Head, bad};
use crate::body::{FileBody, TAKEN_BYTES, Watch};
use crate::pace::Turn;

/// How much is read at a time of a head and what comes with it: a whole reply to a PUT.
const READ_BYTES: usize = 4 << 10;

/// The most that is handed to the kernel at a time: it then is asked again, and shows how it goes on.
const WRITE_BYTES: usize = 256 << 10;

/// The most of a body that is read only so that the connection can be used again.
const MAX_DRAIN_BYTES: u64 = 64 << 10;

/// The most that is kept of a body that says what went wrong.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// What the bytes go over.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn poll_read(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, out),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, out),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }
}

/// The body of a request.
pub(crate) enum Outgoing {
    Bytes(Bytes),
    /// Read from a file while it is sent.
    Pieces {
        pieces: FileBody,
        now: Bytes,
    },
}

impl Outgoing {
    /// Bytes that can be sent now; none at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if let Self::Pieces { pieces, now } = self
            && now.is_empty()
        {
            match pieces.poll_piece(context) {
                Poll::Ready(Some(piece)) => *now = piece?,
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        match self {
            Self::Bytes(bytes) | Self::Pieces { now: bytes, .. } => Poll::Ready(Ok(bytes)),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) | Self::Pieces { now: bytes, .. } => drop(bytes.split_to(count)),
        }
    }
}

/// A connection that can take a request.
pub(super) struct Connection {
    stream: Stream,
    /// What was read and not used yet.
    held: Vec<u8>,
    /// Whether the last exchange left it so that another can follow.
    is_clean: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, held: Vec::with_capacity(READ_BYTES), is_clean: true }
    }

    /// The bare stream, if nothing was read ahead from it.
    pub(super) fn into_tcp(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(tcp) if self.held.is_empty() => Some(tcp),
            _ => None,
        }
    }

    /// Whether the server still holds it open, as far as can be seen without asking. What came without being asked for
    /// is no reply to anything.
    pub(super) fn is_open(&mut self) -> bool {
        self.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Sends a request and reads the head of its reply. The body of the reply must be read, or the connection dropped.
    ///
    /// A server that refuses a request may answer before it has all of it; what is left is not sent then.
    pub(super) async fn exchange(
        &mut self,
        head: &[u8],
        body: &mut Outgoing,
        watch: &Watch,
    ) -> io::Result<Head> {
        self.is_clean = false;
        let mut rest = head;
        let mut gait = Gait { turn: Turn::of(watch.pace.clone()), step: WRITE_BYTES, allowed: 0 };
        if watch.pace.is_limited() {
            gait.step = TAKEN_BYTES;
        }
        let mut is_whole = false;
        loop {
            is_whole = is_whole || self.send(&mut rest, body, &mut gait, watch).await?;
            let head = self.read_head().await?;
            // What a proxy or server says meanwhile is no answer yet (RFC 9110, section 15.2): the request goes on.
            if !(100..200).contains(&head.status) {
                self.is_clean = is_whole && head.keeps_alive();
                return Ok(head);
            }
        }
    }

    /// Sends what is left of head and body; `false` when the server spoke before all was sent.
    async fn send(
        &mut self,
        head: &mut &[u8],
        body: &mut Outgoing,
        gait: &mut Gait,
        watch: &Watch,
    ) -> io::Result<bool> {
        loop {
            let step = poll_fn(|context| self.poll_send(context, head, body, gait, watch)).await?;
            match step {
                Sent::Bytes { of_head, of_body } => {
                    *head = &head[of_head..];
                    body.advance(of_body);
                    gait.allowed -= of_body;
                    watch.progress.note(of_body as u64);
                }
                Sent::All => return Ok(true),
                Sent::Answered => return Ok(false),
            }
        }
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        head: &[u8],
        body: &mut Outgoing,
        gait: &mut Gait,
        watch: &Watch,
    ) -> Poll<io::Result<Sent>> {
        if !self.held.is_empty() {
            return Poll::Ready(Ok(Sent::Answered));
        }
        // The head goes with the first piece.
        let bytes = ready!(body.poll_next(context))?;
        // Asked before each further piece: a server that has spoken wants none, though there be room for it.
        if head.is_empty()
            && !bytes.is_empty()
            && let Poll::Ready(spoke) = self.poll_spoken(context)
        {
            return Poll::Ready(spoke);
        }
        if gait.allowed == 0 && !bytes.is_empty() {
            let step = bytes.len().min(gait.step);
            ready!(gait.turn.poll_pass(context, step, |until| watch.progress.hold_until(until)));
            gait.allowed = step;
        }
        let bytes = &bytes[..bytes.len().min(gait.allowed)];
        let step = if head.is_empty() && bytes.is_empty() {
            self.stream.poll_flush(context).map_ok(|()| Sent::All)
        } else {
            let slices = [IoSlice::new(head), IoSlice::new(bytes)];
            // An empty slice in front would be taken for nothing to write by some streams.
            let slices = if head.is_empty() { &slices[1..] } else { &slices[..] };
            self.stream.poll_write(context, slices).map_ok(|count| {
                let of_head = count.min(head.len());
                Sent::Bytes { of_head, of_body: count - of_head }
            })
        };
        match step {
            Poll::Ready(Ok(Sent::Bytes { of_head: 0, of_body: 0 })) => {
                Poll::Ready(Err(io::ErrorKind::WriteZero.into()))
            }
            Poll::Ready(Ok(sent)) => Poll::Ready(Ok(sent)),
            // The server may have answered and then closed its side; its words say more than the broken pipe.
            Poll::Ready(Err(error)) => match self.poll_spoken(context) {
                Poll::Ready(Ok(answered)) => Poll::Ready(Ok(answered)),
                _ => Poll::Ready(Err(error)),
            },
            Poll::Pending => self.poll_spoken(context),
        }
    }

    /// Whether the server said something before it was its turn.
    fn poll_spoken(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Sent>> {
        match ready!(self.poll_fill(context))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(Sent::Answered)),
        }
    }

    async fn read_head(&mut self) -> io::Result<Head> {
        loop {
            if !self.held.is_empty()
                && let Some((head, length)) = Head::parse(&self.held)?
            {
                self.held.drain(..length);
                return Ok(head);
            }
            if poll_fn(|context| self.poll_fill(context)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads some more behind what is held; nothing at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [0; READ_BYTES];
        let mut out = ReadBuf::new(&mut piece);
        match self.stream.poll_read(context, &mut out) {
            Poll::Ready(Ok(())) => {
                self.held.extend_from_slice(out.filled());
                Poll::Ready(Ok(out.filled().len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The body of the reply whose head was read last.
    pub(super) fn body(&mut self, head: &Head, method: &str) -> io::Result<Incoming> {
        let framing = head.framing(method)?;
        self.is_clean &= framing != Framing::UntilClosed;
        Ok(Incoming { framing, chunks: Chunks::default() })
    }

    /// Whether another request can follow, after the body of the last reply was read to its end.
    pub(super) fn is_reusable(&self, body: &Incoming) -> bool {
        self.is_clean && body.is_over() && self.held.is_empty()
    }

    /// Reads what is left of a body that nobody wants, if it is short; the connection is else of no more use.
    pub(super) async fn drain(&mut self, body: &mut Incoming) -> io::Result<()> {
        match body.framing {
            Framing::Length(left) if left > MAX_DRAIN_BYTES => Ok(()),
            // Its end is that of the connection.
            Framing::UntilClosed => Ok(()),
            Framing::Length(_) | Framing::Chunked => self.collect(body).await.map(drop),
        }
    }

    /// Reads a body that says what went wrong, up to what is sensible for one.
    pub(super) async fn collect(&mut self, body: &mut Incoming) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        let mut piece = [0; READ_BYTES];
        while whole.len() < MAX_ERROR_BYTES {
            match self.read_body(body, &mut piece).await? {
                0 => break,
                count => whole.extend_from_slice(&piece[..count]),
            }
        }
        Ok(whole)
    }

    /// Reads some of a body; nothing at its end.
    pub(super) async fn read_body(&mut self, body: &mut Incoming, out: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_body(context, body, out)).await
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        body: &mut Incoming,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match body.framing {
            Framing::Length(0) => Poll::Ready(Ok(0)),
            Framing::Length(left) => {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
                let count = match self.poll_some(context, &mut out[..most])? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Poll::Ready(count) => count,
                    Poll::Pending => return Poll::Pending,
                };
                body.framing = Framing::Length(left - count as u64);
                Poll::Ready(Ok(count))
            }
            Framing::UntilClosed => self.poll_some(context, out),
            Framing::Chunked => loop {
                let most = self.held.len().min(out.len());
                let (dropped, taken) = body.chunks.take(&self.held[..most])?;
                out[..taken].copy_from_slice(&self.held[dropped..dropped + taken]);
                self.held.drain(..dropped + taken);
                if taken > 0 || body.chunks.is_over() {
                    return Poll::Ready(Ok(taken));
                }
                if dropped == 0 && most < self.held.len() {
                    return Poll::Ready(Err(bad("a line of its framing is too long")));
                }
                if dropped > 0 && !self.held.is_empty() {
                    continue;
                }
                match self.poll_fill(context)? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Poll::Ready(_) => {}
                    Poll::Pending => return Poll::Pending,
                }
            },
        }
    }

    /// What is held first, then straight from the stream.
    fn poll_some(&mut self, context: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.held.is_empty() {
            let count = self.held.len().min(out.len());
            out[..count].copy_from_slice(&self.held[..count]);
            self.held.drain(..count);
            return Poll::Ready(Ok(count));
        }
        let mut buffer = ReadBuf::new(out);
        match self.stream.poll_read(context, &mut buffer)? {
            Poll::Ready(()) => Poll::Ready(Ok(buffer.filled().len())),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// How fast the bytes of one request go.
struct Gait {
    turn: Turn,
    /// How much is asked for at a time.
    step: usize,
    /// How much may go now.
    allowed: usize,
}

/// What came of one step of sending.
enum Sent {
    Bytes { of_head: usize, of_body: usize },
    All,
    Answered,
}

/// How much of a reply's body is still to come.
pub(super) struct Incoming {
    framing: Framing,
    chunks: Chunks,
}

impl Incoming {
    fn is_over(&self) -> bool {
        match self.framing {
            Framing::Length(left) => left == 0,
            Framing::Chunked => self.chunks.is_over(),
            Framing::UntilClosed => false,
        }
    }
}
