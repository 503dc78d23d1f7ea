//! What is posted, and what replies lead to.

use std::time::Duration;

use s3backup_model::AlertKind;
use s3backup_slack::{Error, MessageRef, Place, Sent, Slack, SlackOptions, Way};

use crate::fake_slack::{ClosedPort, FakeSlack, Reply};
use crate::{TOKEN, TestPace, alert, bot, seconds, slack, webhook};

#[tokio::test]
async fn bot_posts_to_its_channel() {
    let server = FakeSlack::start([]).await;
    let sent = slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap();
    let ts = Some("1764000000.000100".to_owned());
    assert_eq!(sent, Sent { channel: Some("C0123456789".to_owned()), ts });

    let [seen] = &server.seen()[..] else { panic!("one request") };
    assert_eq!(seen.path, "/api/chat.postMessage");
    assert_eq!(seen.authorization.as_deref(), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(seen.content_type, "application/json; charset=utf-8");
    assert_eq!(seen.body["channel"], "#alarms");
    assert_eq!(seen.body["text"], "<!here> :x: telemetry on gateway-1 failed: 한글 &lt;trips&gt; &amp; more");
    assert!(seen.body["blocks"].is_array());
    assert!(!seen.body.to_string().contains(TOKEN));
    assert!(!seen.body.to_string().contains("repeat"));
}

#[tokio::test]
async fn webhook_posts_without_channel_and_token() {
    let server = FakeSlack::start([]).await;
    let sent = slack(webhook(&server), &TestPace::new()).send(&alert()).await.unwrap();
    assert_eq!(sent, Sent { channel: None, ts: None });

    let [seen] = &server.seen()[..] else { panic!("one request") };
    assert_eq!(seen.path, "/services/T0/B0/HUSH");
    assert_eq!(seen.authorization, None);
    assert!(seen.body.get("channel").is_none());
    assert!(seen.body["blocks"].is_array());
}

#[tokio::test]
async fn a_bot_answers_in_the_thread_and_replaces_the_message() {
    let server = FakeSlack::start([]).await;
    let slack = slack(bot(&server), &TestPace::new());
    let root = slack.send(&alert()).await.unwrap().message().unwrap();
    slack.send_to(&alert(), Place::Thread(&root), false).await.unwrap();
    slack.send_to(&alert(), Place::Message(&root), true).await.unwrap();
    let seen = server.seen();
    let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, ["/api/chat.postMessage", "/api/chat.postMessage", "/api/chat.update"]);
    assert!(seen[0].body.get("thread_ts").is_none() && seen[0].body.get("ts").is_none());
    assert_eq!(
        (&seen[1].body["channel"], &seen[1].body["thread_ts"]),
        (&root.channel.into(), &root.ts.clone().into())
    );
    assert_eq!(seen[2].body["ts"], root.ts);
    assert!(!seen[2].body.to_string().contains("repeat"), "replacing twice is as good as once");
}

#[tokio::test]
async fn a_webhook_posts_wherever_it_should_go() {
    let server = FakeSlack::start([]).await;
    let slack = slack(webhook(&server), &TestPace::new());
    assert!(!slack.can_reply());
    let root = MessageRef { channel: "C1".to_owned(), ts: "1.2".to_owned() };
    slack.send_to(&alert(), Place::Thread(&root), false).await.unwrap();
    let body = &server.seen()[0].body;
    assert!(body.get("thread_ts").is_none() && body.get("channel").is_none(), "{body}");
}

#[tokio::test]
async fn a_message_that_is_gone_is_told_apart() {
    let root = MessageRef { channel: "C1".to_owned(), ts: "1.2".to_owned() };
    for code in ["message_not_found", "thread_not_found", "edit_window_closed", "cant_update_message"] {
        let server = FakeSlack::start([Reply::refusal(code)]).await;
        let slack = slack(bot(&server), &TestPace::new());
        let error = slack.send_to(&alert(), Place::Message(&root), false).await.unwrap_err();
        assert!(error.is_message_gone() && error.is_permanent(), "{error}");
    }
    let server = FakeSlack::start([Reply::refusal("invalid_auth")]).await;
    let error = slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
    assert!(!error.is_message_gone());
}

#[tokio::test]
async fn wants_what_it_is_told_to() {
    let mut options = SlackOptions::new(Way::bot(TOKEN, "#alarms"));
    options.on = [AlertKind::Failed].into();
    let slack = Slack::new(options, None).unwrap();
    assert!(slack.wants(AlertKind::Failed) && !slack.wants(AlertKind::Success));
}

#[tokio::test]
async fn refusals_of_the_web_api_end_it_with_a_mend() {
    for (code, permanent, mend) in [
        ("invalid_auth", true, "xoxb-"),
        ("not_authed", true, "xoxb-"),
        ("account_inactive", true, "xoxb-"),
        ("token_revoked", true, "xoxb-"),
        ("token_expired", true, "xoxb-"),
        ("not_allowed_token_type", true, "bot token"),
        ("channel_not_found", true, "name or id"),
        ("not_in_channel", true, "/invite"),
        ("is_archived", true, "unarchive"),
        ("missing_scope", true, "chat:write"),
        ("restricted_action", true, "admin"),
        ("a_new_word", false, "docs.slack.dev"),
    ] {
        let server = FakeSlack::start([Reply::refusal(code)]).await;
        let error = slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
        assert!(matches!(&error, Error::Refused { code: said, .. } if said == code), "{error:?}");
        assert_eq!(error.is_permanent(), permanent, "{error}");
        assert!(error.to_string().contains(mend), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn refusals_of_a_webhook_end_it_with_a_mend() {
    for (status, body, code, mend) in [
        (400, "invalid_token", "invalid_token", "make a new one"),
        (404, "no_service", "no_service", "make a new one"),
        (404, "no_team", "no_team", "make a new one"),
        (410, "channel_is_archived", "channel_is_archived", "unarchive"),
        (403, "action_prohibited", "action_prohibited", "admin"),
        (404, "a_new_word", "a_new_word", "make a new one"),
        (404, "<html>gone</html>", "http_404", "make a new one"),
        (410, "", "http_410", "make a new one"),
        (403, "", "http_403", "make a new one"),
        (407, "", "http_407", "proxy"),
    ] {
        let server = FakeSlack::start([Reply::new(status, body)]).await;
        let error = slack(webhook(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
        assert!(matches!(&error, Error::Refused { code: said, .. } if said == code), "{error:?}");
        assert!(error.is_permanent() && error.to_string().contains(mend), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn blocks_that_are_not_taken_become_plain_text_once() {
    for code in ["invalid_blocks", "msg_too_long", "msg_blocks_too_long"] {
        let server = FakeSlack::start([Reply::refusal(code)]).await;
        slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap();
        let [first, second] = &server.seen()[..] else { panic!("two requests") };
        assert!(first.body["blocks"].is_array());
        assert!(second.body.get("blocks").is_none());
        assert_eq!(second.body["channel"], "#alarms");
        let text = second.body["text"].as_str().unwrap();
        assert!(text.starts_with("<!here> :x: telemetry on gateway-1 failed"), "{text}");
        assert!(text.contains("The bucket is gone."), "{text}");
    }
    let server = FakeSlack::start([Reply::refusal("invalid_blocks"), Reply::refusal("msg_too_long")]).await;
    let error = slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code, permanent: true, .. } if code == "msg_too_long"));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn retry_after_is_obeyed_while_it_fits() {
    for way in [bot, webhook] {
        let server = FakeSlack::start([Reply::too_many("7"), Reply::too_many("0")]).await;
        let pace = TestPace::new();
        slack(way(&server), &pace).send(&alert()).await.unwrap();
        // A wait of zero would be a hot loop.
        assert_eq!(pace.waits(), seconds(&[7.0, 1.0]));
        // Nothing was posted by the refused ones, so nothing is a repeat.
        assert!(!server.seen()[2].body.to_string().contains("repeat"));
    }
}

#[tokio::test]
async fn retry_after_that_does_not_fit_is_handed_back() {
    for (asked, expected) in [("30", 30), ("86400", 3600), ("99999999999999999999", 1)] {
        let replies = std::iter::repeat_n(Reply::too_many(asked), 20);
        let server = FakeSlack::start(replies).await;
        let error = slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
        assert!(error.retry_after().unwrap() >= Duration::from_secs(expected), "{error:?}");
        assert!(error.retry_after().unwrap() <= Duration::from_hours(1), "{error:?}");
        assert!(!error.is_permanent() && !error.maybe_posted());
        if expected > 1 {
            assert_eq!(server.seen().len(), 1);
        }
    }
}

#[tokio::test]
async fn rate_limit_in_the_body_counts_too() {
    let server = FakeSlack::start([Reply::refusal("ratelimited").header("retry-after", "3")]).await;
    let pace = TestPace::new();
    slack(bot(&server), &pace).send(&alert()).await.unwrap();
    assert_eq!(pace.waits(), seconds(&[3.0]));
}

#[tokio::test]
async fn errors_of_the_server_are_tried_again() {
    for (way, replies) in [
        (bot as fn(&FakeSlack) -> Way, [Reply::new(503, ""), Reply::new(500, "<html>")]),
        (bot, [Reply::refusal("internal_error"), Reply::refusal("fatal_error")]),
        (webhook, [Reply::new(500, "rollup_error"), Reply::new(502, "")]),
    ] {
        let server = FakeSlack::start(replies).await;
        let pace = TestPace::new();
        slack(way(&server), &pace).send(&alert()).await.unwrap();
        assert_eq!(pace.waits(), seconds(&[0.5, 1.0]));
        assert_eq!(server.seen().len(), 3);
        assert!(server.seen()[1].body.to_string().contains("may be a repeat"));
    }
}

#[tokio::test]
async fn a_server_that_stays_ill_is_given_up_within_the_time_limit() {
    let server = FakeSlack::start(std::iter::repeat_n(Reply::new(503, ""), 20)).await;
    let pace = TestPace::new();
    let error = slack(bot(&server), &pace).send(&alert()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { attempts: 7, maybe_posted: true, .. }), "{error:?}");
    assert_eq!(pace.waits(), seconds(&[0.5, 1.0, 2.0, 4.0, 8.0, 8.0]));
    assert!(!error.is_permanent());
}

#[tokio::test]
async fn a_lost_reply_leads_to_one_repeat_that_says_so() {
    let server = FakeSlack::start([Reply::HangUp]).await;
    slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap();
    let [first, second] = &server.seen()[..] else { panic!("two requests") };
    assert!(!first.body.to_string().contains("may be a repeat"));
    assert!(second.body.to_string().contains("may be a repeat"));

    let server = FakeSlack::start([Reply::HangUp, Reply::HangUp]).await;
    let error = slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
    assert!(error.maybe_posted() && !error.is_permanent(), "{error:?}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_was_tried_before_says_so_from_the_start() {
    let server = FakeSlack::start([]).await;
    slack(webhook(&server), &TestPace::new()).send_to(&alert(), Place::Channel, true).await.unwrap();
    assert!(server.seen()[0].body.to_string().contains("may be a repeat"));
}

#[tokio::test]
async fn silence_ends_with_the_time_limit() {
    let server = FakeSlack::start([Reply::Silence]).await;
    let mut options = SlackOptions::new(bot(&server));
    options.time_limit = Duration::from_millis(50);
    let error = Slack::new(options, None).unwrap().send(&alert()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { attempts: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn no_server_is_tried_again_and_leaves_no_doubt() {
    let port = ClosedPort::new();
    let way = Way::webhook(format!("http://{}/services/T0/B0/HUSH", port.address()));
    let pace = TestPace::new();
    let error = slack(way, &pace).send(&alert()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { maybe_posted: false, .. }), "{error:?}");
    assert_eq!(pace.waits().len(), 6);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for way in [bot, webhook] {
        let elsewhere = FakeSlack::start([]).await;
        let redirect = Reply::new(307, "").header("location", elsewhere.webhook_url());
        let server = FakeSlack::start([redirect]).await;
        let error = slack(way(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
        assert!(matches!(error, Error::Unexpected { status: 307, .. }), "{error:?}");
        assert!(elsewhere.seen().is_empty());
    }
}

#[tokio::test]
async fn a_log_in_page_is_no_delivery() {
    for way in [bot, webhook] {
        for page in ["<html>Welcome to the hotel</html>", "", "OK", "{}", "{\"ok\":\"yes\"}"] {
            let server = FakeSlack::start([Reply::new(200, page)]).await;
            let error = slack(way(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
            assert!(matches!(error, Error::Unexpected { status: 200, .. }), "{page}: {error:?}");
            assert!(!error.is_permanent());
            assert_eq!(server.seen().len(), 1);
        }
    }
}

#[tokio::test]
async fn replies_are_read_to_a_bound() {
    let mut long = br#"{"ok":true,"ts":"1","message":{"text":""#.to_vec();
    long.resize(100_000, b'x');
    long.extend(br#""}}"#);
    let server = FakeSlack::start([Reply::new(200, long)]).await;
    let sent = slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap();
    assert_eq!(sent.ts.as_deref(), Some("1"));

    let server = FakeSlack::start([Reply::new(200, vec![b' '; 4 << 20])]).await;
    let error = slack(bot(&server), &TestPace::new()).send(&alert()).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error:?}");
}
