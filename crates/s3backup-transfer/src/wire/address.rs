//! Where the server is, and how a connection to it is made: its address, a proxy in between, and TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Outgoing, Stream};
use super::reply::bad;
use crate::body::{Progress, Watch};
use crate::connect::CONNECT_TIMEOUT;
use crate::pace::Pace;

/// How long the addresses of a name are used. S3 gives others every few seconds, by which it spreads its load.
const ADDRESSES_LIVE: Duration = Duration::from_secs(15);

/// How long what was sent may stay without an acknowledgement before the kernel gives the connection up: a dead line
/// then costs seconds, whatever waits in its buffers.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// Where requests go.
pub(super) struct Address {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    proxy: Option<Intercept>,
    found: Mutex<Option<(Instant, Arc<[SocketAddr]>)>>,
    turn: AtomicUsize,
}

/// The SDK may reach the server, and the fast path cannot.
#[derive(Debug)]
pub(super) struct Unsupported;

impl Address {
    /// Takes the address out of a URL, and the proxy out of the environment. With TLS if there is a configuration for it.
    pub(super) fn of(url: &http::Uri, tls: Option<Arc<ClientConfig>>) -> Result<Self, Unsupported> {
        let host = url.host().ok_or(Unsupported)?;
        // An IPv6 address has its brackets in a URL and nowhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| Unsupported)?;
        let tls = tls.map(|config| (TlsConnector::from(config), name));
        let proxy = Matcher::from_env().intercept(url);
        if proxy.as_ref().is_some_and(|proxy| proxy.uri().scheme_str() != Some("http")) {
            return Err(Unsupported);
        }
        let port = url.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { host, port, tls, proxy, found: Mutex::default(), turn: AtomicUsize::new(0) })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether what is sent stays on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let is_loopback = |host: &str| {
            host == "localhost"
                || host.ends_with(".localhost")
                || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        };
        self.proxy.is_none() && is_loopback(&self.host)
    }

    /// A proxy that is to be told the whole URL, because it makes the request itself; with what it is to be told of us.
    pub(super) fn forward_proxy(&self) -> Option<&Intercept> {
        self.proxy.as_ref().filter(|_| self.tls.is_none())
    }

    /// Makes a connection within [`CONNECT_TIMEOUT`].
    pub(super) async fn connect(&self) -> io::Result<Connection> {
        let made = tokio::time::timeout(CONNECT_TIMEOUT, self.connect_at_all()).await;
        made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect_at_all(&self) -> io::Result<Connection> {
        let tcp = self.reach().await?;
        tcp.set_nodelay(true)?;
        // Not every platform knows it; without, the engine's own limits of time hold.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(
            &tcp,
            u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or_default(),
        );
        let Some((connector, name)) = &self.tls else { return Ok(Connection::new(Stream::Plain(tcp))) };
        let tcp = if let Some(proxy) = &self.proxy { self.tunnel(tcp, proxy).await? } else { tcp };
        let tls = connector.connect(name.clone(), tcp).await?;
        Ok(Connection::new(Stream::Tls(Box::new(tls))))
    }

    /// The next of the addresses that takes a connection.
    async fn reach(&self) -> io::Result<TcpStream> {
        let addresses = self.addresses().await?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failure = io::Error::other("the host has no address");
        for place in 0..addresses.len() {
            match TcpStream::connect(addresses[(turn + place) % addresses.len()]).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => failure = error,
            }
        }
        // They may have changed.
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Err(failure)
    }

    async fn addresses(&self) -> io::Result<Arc<[SocketAddr]>> {
        // A poisoned lock only means that another task panicked beside it.
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((since, addresses)) = known
            && since.elapsed() < ADDRESSES_LIVE
        {
            return Ok(addresses);
        }
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.uri().host().unwrap_or_default(), proxy.uri().port_u16().unwrap_or(80)),
            None => (&*self.host, self.port),
        };
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|error| io::Error::other(format!("dns error: {error}")))?;
        let addresses: Arc<[SocketAddr]> = found.collect();
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::clone(&addresses)));
        Ok(addresses)
    }

    /// Asks the proxy for a way to the server (RFC 9110, section 9.3.6).
    async fn tunnel(&self, tcp: TcpStream, proxy: &Intercept) -> io::Result<TcpStream> {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let target = format!("{host}:{}", self.port);
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
        if let Some(value) = proxy.basic_auth().and_then(|value| value.to_str().ok()) {
            head.push_str("proxy-authorization: ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut connection = Connection::new(Stream::Plain(tcp));
        let mut nothing = Outgoing::Bytes(Bytes::new());
        let watch = Watch { progress: Progress::begin(), pace: Pace::default() };
        let reply = connection.exchange(head.as_bytes(), &mut nothing, &watch).await?;
        if !(200..300).contains(&reply.status) {
            let cause = format!("the proxy does not let through (HTTP {})", reply.status);
            return Err(io::Error::other(cause));
        }
        connection.into_tcp().ok_or_else(|| bad("the proxy speaks before it is asked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::of(&url.parse().unwrap(), None).unwrap()
    }

    #[test]
    fn what_stays_on_this_machine() {
        for url in
            ["http://127.0.0.1:9000", "http://localhost", "http://b.localhost:80/x", "http://[::1]:9000"]
        {
            assert!(address(url).is_loopback(), "{url}");
        }
        for url in ["http://192.168.0.1:9000", "http://example.com", "http://localhost.example.com"] {
            assert!(!address(url).is_loopback(), "{url}");
        }
        assert_eq!((address("http://[::1]").host.as_str(), address("http://[::1]").port), ("::1", 80));
    }
}
