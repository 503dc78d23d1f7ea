//! A Slack on loopback that answers as it is told, and as Slack does when it is told nothing.
//!
//! Knows nothing of the client, so that other crates can take it for their tests as it is.
#![allow(dead_code, reason = "not every test crate needs all of it")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers.
    Http { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Closes the connection without a word.
    HangUp,
    /// Never answers.
    Silence,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Http { status, headers: Vec::new(), body: body.into() }
    }

    /// `{"ok":false,"error":CODE}`, as the Web API refuses.
    pub(crate) fn refusal(code: &str) -> Self {
        Self::new(200, serde_json::json!({"ok": false, "error": code}).to_string())
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Http { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }

    pub(crate) fn too_many(retry_after: &str) -> Self {
        Self::new(429, "").header("retry-after", retry_after)
    }
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

/// Runs until it is dropped.
pub(crate) struct FakeSlack {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    replies: Mutex<VecDeque<Reply>>,
    usual: Mutex<Option<Reply>>,
    seen: Mutex<Vec<Seen>>,
}

impl FakeSlack {
    /// Gives these replies, one a request, and then Slack's own.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state =
            Arc::new(State { replies: Mutex::new(replies.into_iter().collect()), ..State::default() });
        let task = tokio::spawn(accept(listener, state.clone()));
        Self { address, state, task }
    }

    /// What it answers next, behind the replies that it has still to give.
    pub(crate) fn once(&self, reply: Reply) {
        self.state.replies.lock().expect("no test panics with the lock").push_back(reply);
    }

    /// What it answers from now on when no other reply is left; Slack's own with `None`.
    pub(crate) fn always(&self, reply: impl Into<Option<Reply>>) {
        *self.state.usual.lock().expect("no test panics with the lock") = reply.into();
    }

    pub(crate) fn api_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    pub(crate) fn webhook_url(&self) -> String {
        format!("http://{}/services/T0/B0/HUSH", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("no test panics with the lock").clone()
    }
}

/// A port of loopback at which nobody listens, as long as this is kept.
pub(crate) struct ClosedPort(TcpSocket);

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has a free port");
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }
}

impl Drop for FakeSlack {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, state.clone()));
            // A connection that breaks is what some tests are about.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// An error makes hyper close the connection.
async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, HungUp> {
    let (head, body) = request.into_parts();
    let header = |name: &str| {
        head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let bytes = body.collect().await.map_err(|_| HungUp)?.to_bytes();
    let path = head.uri.path().to_owned();
    let seen = Seen {
        path: path.clone(),
        authorization: header("authorization"),
        content_type: header("content-type").unwrap_or_default(),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    let ts = seen.body["ts"].as_str().map(ToOwned::to_owned);
    let number = {
        let mut all = state.seen.lock().map_err(|_| HungUp)?;
        all.push(seen);
        all.len()
    };
    let next = state.replies.lock().map_err(|_| HungUp)?.pop_front();
    let usual = state.usual.lock().map_err(|_| HungUp)?.clone();
    match next.or(usual).unwrap_or_else(|| as_slack(&path, ts, number)) {
        Reply::HangUp => Err(HungUp),
        Reply::Silence => std::future::pending::<Result<_, Infallible>>().await.map_err(|_| HungUp),
        Reply::Http { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Full::from(body)).map_err(|_| HungUp)
        }
    }
}

/// The name of the message that the request of this number, from 1, has posted.
pub(crate) fn ts_of(number: usize) -> String {
    format!("1764000000.{:06}", number * 100)
}

fn as_slack(path: &str, ts: Option<String>, number: usize) -> Reply {
    match path {
        "/api/chat.postMessage" | "/api/chat.update" => {
            let ts = ts.unwrap_or_else(|| ts_of(number));
            let reply = serde_json::json!({"ok": true, "channel": "C0123456789", "ts": ts, "message": {}});
            Reply::new(200, reply.to_string())
        }
        path if path.starts_with("/services/") => Reply::new(200, "ok"),
        _ => Reply::new(404, "nothing here"),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("hung up")]
struct HungUp;
