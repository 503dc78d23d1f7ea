//! Verifying from time to time, and telling people what differs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use s3backup_core::options::{SlackOptions, SlackWay};
use s3backup_core::{AlertKind, Backup};

use crate::bench::{BUCKET, Bench, soon};
use crate::fake_slack::FakeSlack;
use crate::memory::success;

#[tokio::test]
async fn it_is_due_when_the_last_is_a_week_old_and_tells_what_differs() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.file(name, name);
    }
    let slack = FakeSlack::start([]).await;
    let now = Arc::new(Mutex::new(Utc::now()));
    let clock = Arc::clone(&now);
    let way = SlackWay::Bot { token: "t".into(), channel: "#c".to_owned(), api_url: slack.api_url() };
    let mut options = SlackOptions::new(way);
    options.on = [AlertKind::Differs].into();
    let week = Duration::from_hours(7 * 24);
    let builder = || {
        bench.builder().slack(options.clone()).clock(Arc::new({
            let clock = Arc::clone(&clock);
            move || *clock.lock().unwrap()
        }))
    };
    let backup: Backup = builder().verify_every(week).build().unwrap();
    let later = |days| *now.lock().unwrap() += TimeDelta::days(days);
    let verify = async || soon(backup.verify_if_due()).await.unwrap();

    assert!(verify().await.is_none(), "there is nothing yet");
    success(&backup).await;
    assert!(
        soon(builder().build().unwrap().verify_if_due()).await.unwrap().is_none(),
        "it was not asked for"
    );
    assert_eq!(verify().await.unwrap().verified.objects.files, 3);
    assert!(verify().await.is_none());
    later(6);
    success(&backup).await;
    assert!(verify().await.is_none());
    for key in ["trips/a", "trips/c"] {
        bench.client().delete_object().bucket(BUCKET).key(key).send().await.unwrap();
    }
    later(1);
    assert!(slack.seen().is_empty());
    let report = verify().await.unwrap();
    assert_eq!(report.verified.differ, 2);
    assert_eq!(slack.seen().len(), 1);
    let told = slack.seen()[0].body.to_string();
    for word in ["2 files differ in the bucket", "trips/a: missing", "trips/c: missing", "verify --repair"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
    assert!(verify().await.is_none(), "until the next week");
    // On a machine without a catalog, the bucket says when it was.
    let elsewhere = builder().state_dir(bench.dir("elsewhere")).verify_every(week).build().unwrap();
    assert!(soon(elsewhere.verify_if_due()).await.unwrap().is_none());
}
