//! What Slack is told of a run, and what happens when it cannot be.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use s3backup_core::options::{SlackOptions, SlackWay};
use s3backup_core::{AlertKind, BackupBuilder, Outcome, Step};

use crate::bench::{Bench, soon};
use crate::fake_slack::{ClosedPort, FakeSlack, Reply};

fn bot(api_url: String) -> SlackOptions {
    SlackOptions::new(SlackWay::Bot { token: "xoxb-hush".into(), channel: "#alarms".to_owned(), api_url })
}

fn job(bench: &Bench, slack: &FakeSlack) -> BackupBuilder {
    bench.builder().slack(bot(slack.api_url())).log_location("/var/log/s3backup")
}

#[tokio::test]
async fn every_outcome_is_told_once() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let slack = FakeSlack::start([]).await;
    let mut told = 0;
    // What is new is posted; how the first message of a trouble is brought up to date is looked at elsewhere.
    let posts = || -> Vec<_> {
        slack.seen().into_iter().filter(|seen| seen.path == "/api/chat.postMessage").collect()
    };
    let mut last = |words: &[&str]| {
        let seen = posts();
        told += 1;
        assert_eq!(seen.len(), told);
        let seen = &seen[told - 1];
        assert_eq!(seen.authorization.as_deref(), Some("Bearer xoxb-hush"));
        let text = seen.body.to_string();
        for word in words {
            assert!(text.contains(word), "no {word} in {text}");
        }
    };
    let usual = || job(&bench, &slack);

    assert_eq!(soon(usual().build().unwrap().run()).await.unwrap().outcome, Outcome::Success);
    last(&["telemetry on gw-1", "1 file (1 B) uploaded", "/var/log/s3backup", "s3://fleet-backup/trips"]);

    bench.file(".s3backup/x", "a");
    assert_eq!(soon(usual().build().unwrap().run()).await.unwrap().outcome, Outcome::Partial);
    last(&["1 file not backed up", ".s3backup/x"]);

    assert!(soon(usual().step(Step::new("make", ["false"])).build().unwrap().run()).await.is_err());
    last(&["failed", "step `make`"]);

    let run = usual().build().unwrap().start();
    run.cancel_token().cancel();
    let report = soon(run.finish()).await.unwrap();
    assert_eq!((report.outcome, &report.warnings), (Outcome::Interrupted, &Vec::new()));
    last(&["was interrupted"]);

    let run = usual().alert_when_interrupted(false).build().unwrap().start();
    run.cancel_token().cancel();
    assert_eq!(soon(run.finish()).await.unwrap().outcome, Outcome::Interrupted);
    let mut options = bot(slack.api_url());
    options.on = [AlertKind::Failed].into();
    soon(bench.builder().slack(options).build().unwrap().run()).await.unwrap();
    assert_eq!(posts().len(), 4, "what is not wanted is not told");

    let mut gone = bench.destination();
    gone.bucket = "no-such-bucket".to_owned();
    assert!(soon(usual().destination(gone).build().unwrap().run()).await.is_err());
    last(&["no such bucket"]);
}

#[tokio::test]
async fn a_slack_that_is_down_changes_no_outcome_and_is_said() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let closed = ClosedPort::new();
    let silent = FakeSlack::start([Reply::Silence, Reply::Silence]).await;
    let refusing = FakeSlack::start([Reply::refusal("invalid_auth")]).await;
    for api_url in [format!("http://{}/api", closed.address()), silent.api_url(), refusing.api_url()] {
        let mut options = bot(api_url);
        options.time_limit = Duration::from_secs(2);
        let report = soon(bench.builder().slack(options).build().unwrap().run()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Success);
        let warning = report.warnings.last().unwrap();
        assert!(warning.starts_with("Slack was not told of this run: "), "{warning}");
        let stored = bench.stored_report(&report).await;
        assert_eq!(stored.warnings, report.warnings[..report.warnings.len() - 1]);
    }
}

#[tokio::test]
async fn a_slack_that_does_not_answer_does_not_outlast_the_grace() {
    let bench = Bench::new().await;
    let slack = FakeSlack::start([Reply::Silence]).await;
    let run = job(&bench, &slack).build().unwrap().start();
    let cancel = run.cancel_token();
    let ending = tokio::spawn(run.finish());
    crate::bench::until(|| !slack.seen().is_empty()).await;
    cancel.cancel();
    let began = Instant::now();
    let report = soon(ending).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(report.outcome, Outcome::Success, "all work was done when the signal came");
    assert!(report.warnings.last().unwrap().contains("there was no time left"));
}

/// Keeps every line that is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl slog::Drain for Lines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, values: &slog::OwnedKVList) -> Result<(), slog::Never> {
        struct Text(String);
        impl slog::Serializer for Text {
            fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                write!(self.0, " {key}={value}").map_err(|_| slog::Error::Other)?;
                Ok(())
            }
        }
        use slog::KV as _;
        let mut text = Text(record.msg().to_string());
        record.kv().serialize(record, &mut text).unwrap();
        values.serialize(record, &mut text).unwrap();
        let mut lines = self.0.lock().unwrap();
        *lines += &text.0;
        lines.push('\n');
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_in_a_report_a_log_or_debug_output() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let slack = FakeSlack::start([Reply::refusal("invalid_auth"), Reply::new(404, "no_team")]).await;
    let webhook = SlackOptions::new(SlackWay::webhook(slack.webhook_url()));
    for options in [bot(slack.api_url()), webhook] {
        let lines = Lines::default();
        let logger = slog::Logger::root(lines.clone(), slog::o!());
        let builder = bench.builder().slack(options).logger(logger);
        let mut shown = format!("{builder:?}");
        let backup = builder.build().unwrap();
        write!(shown, "{backup:?}").unwrap();
        let report = soon(backup.run()).await.unwrap();
        assert!(report.warnings.iter().any(|warning| warning.contains("Slack was not told")));
        write!(shown, "{report:?}").unwrap();
        shown += &lines.0.lock().unwrap();
        assert!(shown.contains("run finished") && shown.contains("job=telemetry"), "{shown}");
        for secret in ["xoxb-hush", "HUSH", bench.server.secret_key()] {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
    }
}
