//! Asking Slack who the token is, without posting anything: for a check-up.

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::client::{REQUEST_TIMEOUT, Slack, bearer, read_bounded};
use crate::error::Cause;
use crate::options::{Endpoint, wrong};
use crate::refusal::{LOOK_AT_ADDRESS, LOOK_UP, Meaning, meaning};
use crate::reply::harmless;
use crate::{Error, Secret};

/// Who a bot token is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The workspace.
    pub team: String,
    /// The bot.
    pub user: String,
    /// What the app may do, where Slack says so (`chat:write`, …).
    pub scopes: Option<Vec<String>>,
}

/// What is known of the channel without posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The bot is in it.
    Joined,
    /// The bot is not in it.
    NotJoined,
    /// Nobody can post any more.
    Archived,
    /// It cannot be looked up: that takes the channel's id and a scope that posting does not need.
    Unknown,
}

impl Slack {
    /// Whether alerts go through an incoming webhook, which tells nothing of itself unless something is posted.
    pub fn is_webhook(&self) -> bool {
        matches!(self.shared.endpoint, Endpoint::Webhook { .. })
    }

    /// Asks who the bot token is (`auth.test`), once, within 10 s.
    ///
    /// Errors as [`send`](Slack::send); [`Error::Options`] for a webhook, which has no account.
    pub async fn account(&self) -> Result<Account, Error> {
        #[derive(Deserialize)]
        struct Reply {
            team: Option<String>,
            user: Option<String>,
        }
        let (headers, body) = self.ask("auth.test").await?;
        let reply: Reply = serde_json::from_slice(&body).map_err(|_| not_slack(StatusCode::OK))?;
        let scopes = headers.get("x-oauth-scopes").and_then(|scopes| scopes.to_str().ok());
        let scopes = scopes.map(|scopes| scopes.split(',').map(|scope| scope.trim().to_owned()).collect());
        Ok(Account { team: reply.team.unwrap_or_default(), user: reply.user.unwrap_or_default(), scopes })
    }

    /// Looks the channel up (`conversations.info`), once, within 10 s, if that can be done: [`Channel::Unknown`] for the
    /// name of a channel, without the scope for it, and where Slack does not answer.
    pub async fn channel(&self, account: &Account) -> Channel {
        #[derive(Deserialize)]
        struct Reply {
            channel: Info,
        }
        #[derive(Deserialize)]
        struct Info {
            #[serde(default)]
            is_member: bool,
            #[serde(default)]
            is_archived: bool,
        }
        let Endpoint::Bot { channel, .. } = &self.shared.endpoint else { return Channel::Unknown };
        let is_id = channel.starts_with(['C', 'G']) && channel.bytes().all(|b| b.is_ascii_alphanumeric());
        let scopes = account.scopes.as_deref().unwrap_or_default();
        if !is_id || !scopes.iter().any(|scope| matches!(&**scope, "channels:read" | "groups:read")) {
            return Channel::Unknown;
        }
        let Ok((_, body)) = self.ask(&format!("conversations.info?channel={channel}")).await else {
            return Channel::Unknown;
        };
        match serde_json::from_slice::<Reply>(&body) {
            Ok(Reply { channel: Info { is_archived: true, .. } }) => Channel::Archived,
            Ok(Reply { channel: Info { is_member: true, .. } }) => Channel::Joined,
            Ok(_) => Channel::NotJoined,
            Err(_) => Channel::Unknown,
        }
    }

    /// One request of the Web API that changes nothing.
    async fn ask(&self, method: &str) -> Result<(HeaderMap, Vec<u8>), Error> {
        let shared = &*self.shared;
        let Endpoint::Bot { post: url, token, .. } = &shared.endpoint else {
            return Err(wrong("a webhook has no account", "use a bot token to ask for one"));
        };
        let url = url.join(method).map_err(|_| wrong("api_url leads nowhere", LOOK_AT_ADDRESS))?;
        let lost = |error| Error::Unreachable {
            attempts: 1,
            maybe_posted: false,
            source: Cause::from_chain(error, &shared.secrets),
        };
        let request = shared.http.post(Url::clone(&url)).timeout(REQUEST_TIMEOUT);
        let mut response = request.header(AUTHORIZATION, bearer(token)).send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_bounded(&mut response).await.map_err(lost)?;
        check(status, &body, &shared.secrets)?;
        Ok((headers, body))
    }
}

fn check(status: StatusCode, body: &[u8], secrets: &[Secret]) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Reply {
        ok: bool,
        error: Option<String>,
    }
    let reply: Reply = serde_json::from_slice(body).map_err(|_| not_slack(status))?;
    if reply.ok && status.is_success() {
        return Ok(());
    }
    let code = reply.error.unwrap_or_default();
    Err(match meaning(&code) {
        Meaning::Permanent(mend) => Error::Refused { code, permanent: true, mend },
        _ => Error::Refused { code: harmless(&code, secrets), permanent: false, mend: LOOK_UP },
    })
}

fn not_slack(status: StatusCode) -> Error {
    Error::Unexpected {
        status: status.as_u16(),
        problem: "not an answer of Slack; look for a proxy or log-in page in between",
    }
}
