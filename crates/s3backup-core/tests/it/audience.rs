//! A job that is due in the evening, with a Slack that tests tell what to do, and eyes for what it was told.

use std::time::Duration;

use s3backup_core::options::{SlackOptions, SlackWay};
use s3backup_core::{Backup, BackupBuilder, Step};
use serde_json::Value;

use crate::due::Evenings;
use crate::fake_slack::{FakeSlack, Reply, ts_of};

pub(crate) struct Audience {
    pub(crate) evenings: Evenings,
    pub(crate) slack: FakeSlack,
}

impl Audience {
    pub(crate) async fn new() -> Self {
        Self { evenings: Evenings::new().await, slack: FakeSlack::start([]).await }
    }

    /// Slack by bot, which gives up at once.
    pub(crate) fn bot(&self) -> SlackOptions {
        impatient(SlackWay::Bot {
            token: "xoxb-hush".into(),
            channel: "#alarms".to_owned(),
            api_url: self.slack.api_url(),
        })
    }

    pub(crate) fn webhook(&self) -> SlackOptions {
        impatient(SlackWay::webhook(self.slack.webhook_url()))
    }

    pub(crate) fn builder(&self) -> BackupBuilder {
        self.evenings.builder().slack(self.bot())
    }

    /// The usual job.
    pub(crate) fn backup(&self) -> Backup {
        self.builder().build().unwrap()
    }

    /// The same, and its runs fail.
    pub(crate) fn broken(&self) -> Backup {
        broken(self.builder())
    }

    pub(crate) fn at(&self, time: &str) {
        self.evenings.at(time);
    }

    /// Slack answers like this from now on; as it does when all is well with `None`.
    pub(crate) fn slack_is(&self, reply: impl Into<Option<Reply>>) {
        self.slack.always(reply);
    }

    /// What arrived since `before` requests, a line each: where it went and its short text.
    pub(crate) fn told_since(&self, before: usize) -> Vec<String> {
        self.slack.seen().iter().skip(before).map(|seen| line(&seen.path, &seen.body)).collect()
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told_since(0)
    }

    pub(crate) fn requests(&self) -> usize {
        self.slack.seen().len()
    }

    /// All of the newest message.
    pub(crate) fn newest(&self) -> String {
        self.slack.seen().last().map_or_else(String::new, |seen| seen.body.to_string())
    }
}

pub(crate) fn broken(builder: BackupBuilder) -> Backup {
    builder.step(Step::new("make", ["false"])).build().unwrap()
}

fn impatient(way: SlackWay) -> SlackOptions {
    let mut options = SlackOptions::new(way);
    options.time_limit = Duration::from_secs(1);
    options
}

fn line(path: &str, body: &Value) -> String {
    let of = |field: &str| body[field].as_str().map(number).unwrap_or_default();
    let place = match (path, body.get("thread_ts")) {
        ("/api/chat.update", _) => format!("update {}", of("ts")),
        (_, Some(_)) => format!("thread {}", of("thread_ts")),
        _ => "post".to_owned(),
    };
    let again = if body.to_string().contains("may be a repeat") { " (again?)" } else { "" };
    format!("{place}{again} {}", body["text"].as_str().unwrap_or_default())
}

/// The number of the request that posted a message, from 1.
fn number(ts: &str) -> usize {
    (1..1000).find(|number| ts_of(*number) == ts).unwrap_or_default()
}
