//! The daemon's small web server: `/healthz`, `/metrics` and the status page.
//!
//! Whoever reaches it is not trusted: connections, their time and their size are bounded, and each answers one request.

mod access;
mod pages;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

pub(crate) use access::Access;
pub(crate) use pages::Site;

/// Connections at once; others wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long a request may take to arrive.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may take in all.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);

/// The longest request line with all headers, in bytes.
const MAX_REQUEST_BYTES: usize = 16 << 10;

const MAX_HEADERS: usize = 64;

/// How long it waits after a connection could not be accepted, as when too many files are open.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// Answers requests until the future is dropped, which closes all connections.
pub(crate) async fn serve(listener: TcpListener, site: Arc<Site>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // It is closed by nobody.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&site), place));
            }
            Err(_) => tokio::time::sleep(REFUSED_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>, _place: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_LIMIT)
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ended is the client's to tell.
    let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
}
