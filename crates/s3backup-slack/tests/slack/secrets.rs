//! The token and the webhook URL appear nowhere, whatever fails.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use s3backup_slack::{Error, Slack, SlackOptions, Way};
use slog::{Drain, KV, Logger, OwnedKVList, Record, o};

use crate::fake_slack::{ClosedPort, FakeSlack, Reply};
use crate::{TOKEN, TestPace, alert, bot, webhook};

/// Part of the token and of the webhook URL of the tests.
const HUSH: &str = "HUSH";

/// Keeps all that is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<String>>);

impl Drain for Kept {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        struct Text<'a>(&'a mut String);
        impl slog::Serializer for Text<'_> {
            fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                let _ = write!(self.0, " {key}={value}");
                Ok(())
            }
        }
        let mut kept = self.0.lock().unwrap();
        let _ = write!(kept, "\n{}", record.msg());
        record.kv().serialize(record, &mut Text(&mut kept)).unwrap();
        values.serialize(record, &mut Text(&mut kept)).unwrap();
        Ok(())
    }
}

fn everything(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, " {error} {error:?}");
        source = error.source();
    }
    text
}

async fn assert_hush(way: Way) {
    let kept = Kept::default();
    let options = SlackOptions::new(way);
    assert!(!format!("{options:?} {options:#?}").contains(HUSH));
    let slack =
        Slack::new(options, Logger::root(kept.clone().fuse(), o!())).unwrap().with_pace(TestPace::new());
    assert!(!format!("{slack:?} {slack:#?}").contains(HUSH));
    let error = slack.send(&alert()).await.unwrap_err();
    assert!(!everything(&error).contains(HUSH), "{}", everything(&error));
    let logged = kept.0.lock().unwrap().clone();
    assert!(!logged.contains(HUSH), "{logged}");
}

#[tokio::test]
async fn no_connection() {
    let port = ClosedPort::new();
    let address = port.address();
    let ways = [
        Way::Bot {
            token: TOKEN.into(),
            channel: "#alarms".to_owned(),
            api_url: format!("http://{address}/api"),
        },
        Way::webhook(format!("http://{address}/services/T0/B0/HUSH")),
        Way::webhook(format!("http://me:HUSH@{address}/services/T0/B0/HUSH?HUSH#HUSH")),
    ];
    for way in ways {
        assert_hush(way).await;
    }
}

#[tokio::test]
async fn no_tls() {
    let server = FakeSlack::start([]).await;
    let url = server.webhook_url().replace("http://", "https://");
    assert_hush(Way::webhook(url)).await;
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn replies_that_send_the_secret_back() {
    for way in [bot, webhook] {
        for body in [
            r#"{"ok":false,"error":"xoxb-1-HUSH"}"#,
            r#"{"ok":false,"error":"HUSH"}"#,
            r#"{"ok":"HUSH"}"#,
            "xoxb-1-HUSH",
            "/services/T0/B0/HUSH",
            "HUSH",
        ] {
            for status in [200, 302, 400, 403, 404] {
                let reply = Reply::new(status, body).header("location", format!("/{HUSH}"));
                let server = FakeSlack::start([reply]).await;
                assert_hush(way(&server)).await;
            }
            let server = FakeSlack::start(std::iter::repeat_n(Reply::new(500, body), 20)).await;
            assert_hush(way(&server)).await;
        }
        let server = FakeSlack::start([Reply::HangUp, Reply::HangUp]).await;
        assert_hush(way(&server)).await;
    }
}

#[tokio::test]
async fn a_word_that_is_the_secret_is_not_repeated() {
    let server = FakeSlack::start([Reply::refusal("all_lower_case_secret")]).await;
    let way = Way::Bot {
        token: "all_lower_case_secret".into(),
        channel: "#alarms".to_owned(),
        api_url: server.api_url(),
    };
    let slack = Slack::new(SlackOptions::new(way), None).unwrap();
    let error = slack.send(&alert()).await.unwrap_err();
    assert!(!everything(&error).contains("all_lower_case_secret"), "{error:?}");
}

#[tokio::test]
async fn options_that_cannot_work() {
    for way in [
        Way::webhook("ftp://hooks.example/HUSH"),
        Way::webhook("HUSH"),
        Way::bot("HUSH\u{7}", "#alarms"),
        Way::Bot {
            token: "t".into(),
            channel: "#a".to_owned(),
            api_url: "https://me:HUSH@slack.example".to_owned(),
        },
    ] {
        let error = Slack::new(SlackOptions::new(way), None).unwrap_err();
        assert!(error.is_permanent() && !everything(&error).contains(HUSH), "{error:?}");
    }
}
