//! One TCP connection, which can be cut.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::inject::Handler;

/// Serves a connection until the client closes it or a fault cuts it.
pub(crate) async fn serve(stream: TcpStream, handler: Arc<Handler>) {
    let cut = CancellationToken::new();
    // Small replies would wait for the acknowledgement of earlier ones; failing to set it only costs time.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(CutStream { stream, cut: cut.clone() });
    let service = service_fn(|request| {
        let (handler, cut) = (Arc::clone(&handler), cut.clone());
        async move { Ok::<_, Infallible>(handler.handle(request, cut).await) }
    });
    let connection = http1::Builder::new().serve_connection(io, service);
    tokio::select! {
        // Clients come and go; how a connection ended is the client's to tell.
        _ = connection => {}
        () = cut.cancelled() => {}
    }
}

/// A stream that, once cut, is closed by a reset (RST) and not in good order (FIN).
struct CutStream {
    stream: TcpStream,
    cut: CancellationToken,
}

impl Drop for CutStream {
    fn drop(&mut self) {
        if self.cut.is_cancelled() {
            // Closing is then abrupt at least, if not a reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
