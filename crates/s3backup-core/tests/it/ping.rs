//! What a health check hears of a run, and what becomes of a run when it does not hear.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3backup_core::options::PingOptions;
use s3backup_core::{BackupBuilder, Outcome, RunReport, Step};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::bench::{Bench, failed, soon};
use crate::fake_slack::ClosedPort;

/// A health check on loopback that answers with these statuses and words, then with `200 OK`. No status: never.
struct Check {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    _task: JoinSet<()>,
}

type Replies = Arc<Mutex<VecDeque<Option<(u16, &'static str)>>>>;

impl Check {
    async fn start(replies: impl IntoIterator<Item = Option<(u16, &'static str)>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let replies: Replies = Arc::new(Mutex::new(replies.into_iter().collect()));
        let mut task = JoinSet::new();
        let shared = Arc::clone(&seen);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, replies) = (Arc::clone(&shared), Arc::clone(&replies));
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&seen), Arc::clone(&replies)));
                connections.spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen, _task: task }
    }

    fn url(&self) -> String {
        format!("http://{}/HUSH", self.address)
    }

    /// Paths with their queries, and bodies.
    fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    replies: Replies,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    seen.lock().unwrap().push((path, String::from_utf8(body.to_vec()).unwrap()));
    let reply = replies.lock().unwrap().pop_front().unwrap_or(Some((200, "OK")));
    let Some((status, text)) = reply else { return std::future::pending().await };
    Ok(Response::builder().status(status).body(Full::from(text)).unwrap())
}

fn job(bench: &Bench, url: String) -> BackupBuilder {
    let mut options = PingOptions::new(url);
    options.time_limit = Duration::from_secs(2);
    bench.builder().ping(options)
}

/// Of each ping what stands behind the URL, without the run.
fn signals(check: &Check) -> Vec<String> {
    let seen = check.seen().into_iter();
    seen.map(|(path, _)| path.split('?').next().unwrap().trim_start_matches("/HUSH").to_owned()).collect()
}

fn complained(report: &RunReport) -> &str {
    let warning = report.warnings.last().map_or("", String::as_str);
    assert!(warning.starts_with("the health check was not told of this run: "), "{:?}", report.warnings);
    assert!(!warning.contains("HUSH"), "{warning}");
    warning
}

#[tokio::test]
async fn it_hears_the_beginning_and_the_end_of_every_run() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let check = Check::start([]).await;
    let usual = || job(&bench, check.url());
    assert_eq!(soon(usual().build().unwrap().run()).await.unwrap().outcome, Outcome::Success);
    assert_eq!(signals(&check), ["/start", ""]);
    let seen = check.seen();
    let runs: Vec<_> = seen.iter().map(|(path, _)| path.split_once("?rid=").unwrap().1).collect();
    assert_eq!(runs[0], runs[1]);
    assert_eq!(runs[0].len(), 36);
    for word in ["telemetry on gw-1", "Uploaded: 1 file"] {
        assert!(seen[1].1.contains(word), "{}", seen[1].1);
    }

    bench.file(".s3backup/x", "a");
    assert_eq!(soon(usual().build().unwrap().run()).await.unwrap().outcome, Outcome::Partial);
    failed(soon(usual().step(Step::new("make", ["false"])).build().unwrap().run()).await);
    for is_told in [true, false] {
        let run = usual().alert_when_interrupted(is_told).build().unwrap().start();
        run.cancel_token().cancel();
        assert_eq!(soon(run.finish()).await.unwrap().outcome, Outcome::Interrupted);
    }
    let mut signals = signals(&check);
    assert_eq!(signals.split_off(2), ["/start", "/3", "/start", "/fail", "/start", "/130", "/start", "/log"]);
    assert!(check.seen()[3].1.contains(".s3backup/x"), "{}", check.seen()[3].1);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_once() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let check = Check::start([Some((500, "")), Some((200, "OK")), Some((200, "OK (rate limited)"))]).await;
    let report = soon(job(&bench, check.url()).build().unwrap().run()).await.unwrap();
    assert_eq!(signals(&check), ["/start", "/start", "", ""]);
    assert!(!report.warnings.iter().any(|warning| warning.contains("health check")), "{:?}", report.warnings);
}

#[tokio::test]
async fn one_that_does_not_hear_changes_no_outcome_and_is_said() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let closed = ClosedPort::new();
    let ok = || Some((200, "OK"));
    let down = Check::start([ok(), Some((503, "")), Some((503, ""))]).await;
    let unknown = Check::start([ok(), Some((404, ""))]).await;
    let politely = Check::start([ok(), Some((200, "OK (not found)"))]).await;
    let elsewhere = Check::start([ok(), Some((302, ""))]).await;
    let silent = Check::start([ok(), None, None]).await;
    for (url, words) in [
        (format!("http://{}/HUSH", closed.address()), "error"),
        (down.url(), "it has trouble of its own (HTTP 503)"),
        (unknown.url(), "it does not know this URL"),
        (politely.url(), "it does not know this URL"),
        (elsewhere.url(), "it points elsewhere"),
        (silent.url(), ""),
    ] {
        let report = soon(job(&bench, url).build().unwrap().run()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Success);
        assert!(complained(&report).contains(words), "{:?}", report.warnings);
    }
    assert_eq!((signals(&down).len(), signals(&unknown).len()), (3, 2));
}

#[tokio::test]
async fn the_url_is_nowhere_to_be_seen() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let check = Check::start([]).await;
    let builder = job(&bench, check.url());
    let shown = format!("{builder:?}");
    let built = format!("{:?}", builder.build());
    assert!(!shown.contains("HUSH") && !built.contains("HUSH"), "{shown} {built}");
}
