//! The client against a fake Slack on loopback.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking"
)]

mod account;
mod fake_slack;
mod post;
mod secrets;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3backup_model::{Alert, AlertKind, Name};
use s3backup_slack::{Pace, Slack, SlackOptions, Way};
use tokio::time::Instant;

use crate::fake_slack::FakeSlack;

const TOKEN: &str = "xoxb-1-HUSH";

/// Time that stands still except in waits, which end at once, and the longest jitter.
#[derive(Debug)]
struct TestPace {
    start: Instant,
    waits: Mutex<Vec<Duration>>,
}

impl TestPace {
    fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), waits: Mutex::default() })
    }

    fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap().clone()
    }
}

impl Pace for TestPace {
    fn now(&self) -> Instant {
        self.start + self.waits().iter().sum::<Duration>()
    }

    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.waits.lock().unwrap().push(wait);
        Box::pin(std::future::ready(()))
    }

    fn jitter(&self, ceiling: Duration) -> Duration {
        ceiling
    }
}

fn bot(server: &FakeSlack) -> Way {
    Way::Bot { token: TOKEN.into(), channel: "#alarms".to_owned(), api_url: server.api_url() }
}

fn webhook(server: &FakeSlack) -> Way {
    Way::webhook(server.webhook_url())
}

fn slack(way: Way, pace: &Arc<TestPace>) -> Slack {
    let mut options = SlackOptions::new(way);
    options.mention = vec!["@here".to_owned()];
    Slack::new(options, None).unwrap().with_pace(pace.clone())
}

fn alert() -> Alert {
    Alert {
        kind: AlertKind::Failed,
        job: Name::new("telemetry").unwrap(),
        host: Name::new("gateway-1").unwrap(),
        at: "2026-11-24T20:05:13+09:00".parse().unwrap(),
        headline: "telemetry on gateway-1 failed: 한글 <trips> & more".to_owned(),
        message: "The bucket is gone.".to_owned(),
        run_id: None,
        facts: Vec::new(),
        failures: Vec::new(),
        failed_total: 0,
        warnings: Vec::new(),
    }
}

fn seconds(seconds: &[f64]) -> Vec<Duration> {
    seconds.iter().copied().map(Duration::from_secs_f64).collect()
}
