//! Who the token is, and whether the channel can be posted to.

use s3backup_slack::{Channel, Error, Slack, SlackOptions, Way};
use serde_json::json;

use crate::fake_slack::{ClosedPort, FakeSlack, Reply};
use crate::{TOKEN, TestPace, slack, webhook};

fn bot(server: &FakeSlack, channel: &str) -> Slack {
    let way = Way::Bot { token: TOKEN.into(), channel: channel.to_owned(), api_url: server.api_url() };
    Slack::new(SlackOptions::new(way), None).unwrap()
}

fn account() -> Reply {
    let body = json!({"ok": true, "team": "Fleet", "user": "backup", "team_id": "T1"});
    Reply::new(200, body.to_string()).header("x-oauth-scopes", "chat:write,channels:read")
}

#[tokio::test]
async fn the_token_is_asked_who_it_is() {
    let server = FakeSlack::start([account()]).await;
    let account = bot(&server, "#alarms").account().await.unwrap();
    assert_eq!((&*account.team, &*account.user), ("Fleet", "backup"));
    assert_eq!(account.scopes.unwrap(), ["chat:write", "channels:read"]);
    let seen = server.seen();
    assert_eq!(seen[0].path, "/api/auth.test");
    assert_eq!(seen[0].authorization.as_deref(), Some(&*format!("Bearer {TOKEN}")));
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let server = FakeSlack::start([Reply::refusal("token_revoked"), Reply::new(200, "log in here")]).await;
    let refused = bot(&server, "#alarms").account().await.unwrap_err();
    assert!(refused.is_permanent() && refused.to_string().contains("OAuth & Permissions"), "{refused}");
    let proxy = bot(&server, "#alarms").account().await.unwrap_err();
    assert!(matches!(proxy, Error::Unexpected { .. }), "{proxy}");

    let closed = ClosedPort::new();
    let api_url = format!("http://{}/api", closed.address());
    let way = Way::Bot { token: TOKEN.into(), channel: "#alarms".to_owned(), api_url };
    let lost = Slack::new(SlackOptions::new(way), None).unwrap().account().await.unwrap_err();
    assert!(!lost.is_permanent() && !format!("{lost:?}").contains(TOKEN), "{lost:?}");
}

#[tokio::test]
async fn a_webhook_tells_nothing_of_itself() {
    let server = FakeSlack::start([]).await;
    let slack = slack(webhook(&server), &TestPace::new());
    assert!(slack.is_webhook());
    assert!(matches!(slack.account().await, Err(Error::Options { .. })));
    assert!(server.seen().is_empty(), "nothing may be posted");
}

#[tokio::test]
async fn the_channel_is_looked_up_where_that_is_possible() {
    let info = |is_member: bool, is_archived: bool| {
        let channel = json!({"is_member": is_member, "is_archived": is_archived});
        Reply::new(200, json!({"ok": true, "channel": channel}).to_string())
    };
    for (reply, expected) in [
        (info(true, false), Channel::Joined),
        (info(false, false), Channel::NotJoined),
        (info(true, true), Channel::Archived),
        (Reply::refusal("missing_scope"), Channel::Unknown),
    ] {
        let server = FakeSlack::start([account(), reply]).await;
        let slack = bot(&server, "C0123456789");
        let account = slack.account().await.unwrap();
        assert_eq!(slack.channel(&account).await, expected);
    }
    let server = FakeSlack::start([account()]).await;
    let slack = bot(&server, "#alarms");
    let account = slack.account().await.unwrap();
    assert_eq!(slack.channel(&account).await, Channel::Unknown, "Slack looks up no names");
    assert_eq!(server.seen().len(), 1);
}
