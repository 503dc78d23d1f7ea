//! What a reply means. Pure: status, headers and body in, verdict out.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use crate::refusal::{LOOK_AT_ADDRESS, LOOK_UP, Meaning, UNFIT, WEBHOOK, meaning};
use crate::{Cause, Error, Secret, Sent};

/// What to do after an attempt.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The message is in the channel.
    Posted(Sent),
    /// Try again without blocks; if it was without, this is the error.
    Unfit(Error),
    /// Another attempt is useless now.
    GiveUp(Error),
    /// Too many messages: try again after so long, if the server said how long.
    Wait(Option<Duration>),
    /// Try again.
    Retry {
        /// Why.
        cause: Cause,
        /// Whether the message may have been posted all the same.
        maybe_posted: bool,
        /// Whether no reply came at all, although the message went out.
        lost: bool,
    },
}

/// More than this is not obeyed: a proxy's mistake must not silence alerts for years.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// How a reply is told apart from that of something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `{"ok":true,…}`.
    WebApi,
    /// `ok`.
    Webhook,
}

pub(crate) fn judge(
    dialect: Dialect,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[Secret],
) -> Verdict {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Verdict::Wait(retry_after(headers));
    }
    if status.is_server_error() {
        return down(format!("HTTP status {}", status.as_u16()));
    }
    if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY) {
        let cause = Cause::new(format!("HTTP status {}", status.as_u16()));
        return Verdict::Retry { cause, maybe_posted: false, lost: false };
    }
    if status.is_redirection() {
        return unexpected(status, "a redirect, which is not followed; give the address that it leads to");
    }
    let (posted, code) = match dialect {
        Dialect::WebApi => read_web_api(body),
        Dialect::Webhook => read_webhook(body),
    };
    match (posted, code) {
        (Some(sent), _) if status.is_success() => Verdict::Posted(sent),
        (_, Some(code)) => match refused(&code, headers, secrets) {
            Verdict::GiveUp(Error::Refused { code, permanent: false, .. }) if status.is_client_error() => {
                Verdict::GiveUp(by_status(dialect, status, code))
            }
            verdict => verdict,
        },
        _ if status.is_client_error() => {
            Verdict::GiveUp(by_status(dialect, status, format!("http_{}", status.as_u16())))
        }
        _ => unexpected(status, "not an answer of Slack; look for a proxy or log-in page in between"),
    }
}

/// The part of a reply of the Web API that matters here.
#[derive(Deserialize)]
struct WebApiReply {
    ok: bool,
    error: Option<String>,
    channel: Option<String>,
    ts: Option<String>,
}

fn read_web_api(body: &[u8]) -> (Option<Sent>, Option<String>) {
    match serde_json::from_slice::<WebApiReply>(body) {
        Ok(reply) if reply.ok => (Some(Sent { channel: reply.channel, ts: reply.ts }), None),
        Ok(reply) => (None, Some(reply.error.unwrap_or_default())),
        Err(_) => (None, None),
    }
}

/// A webhook answers with a word. Anything else with status 200 is not from Slack: a network's log-in page must not
/// count as delivery.
fn read_webhook(body: &[u8]) -> (Option<Sent>, Option<String>) {
    let text = String::from_utf8_lossy(body);
    let word = text.trim();
    if word == "ok" || matches!(read_web_api(body), (Some(_), _)) {
        (Some(Sent { channel: None, ts: None }), None)
    } else if is_word(word) {
        (None, Some(word.to_owned()))
    } else {
        (None, None)
    }
}

fn refused(code: &str, headers: &HeaderMap, secrets: &[Secret]) -> Verdict {
    let meaning = meaning(code);
    let code = if meaning == Meaning::Unknown { harmless(code, secrets) } else { code.to_owned() };
    let error = |permanent, mend| Error::Refused { code: code.clone(), permanent, mend };
    match meaning {
        Meaning::Permanent(mend) => Verdict::GiveUp(error(true, mend)),
        Meaning::Unfit => Verdict::Unfit(error(true, UNFIT)),
        Meaning::Busy => Verdict::Wait(retry_after(headers)),
        Meaning::Down => down(format!("slack answered {code}")),
        Meaning::Unknown => Verdict::GiveUp(error(false, LOOK_UP)),
    }
}

/// What a status means beside a word that is not known, or where there is none: mostly a wrong address, or a proxy.
fn by_status(dialect: Dialect, status: StatusCode, code: String) -> Error {
    let gone = matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE);
    let mend = if gone && dialect == Dialect::Webhook { WEBHOOK } else { LOOK_AT_ADDRESS };
    Error::Refused { code, permanent: true, mend }
}

fn down(why: String) -> Verdict {
    Verdict::Retry { cause: Cause::new(why), maybe_posted: true, lost: false }
}

fn unexpected(status: StatusCode, problem: &'static str) -> Verdict {
    Verdict::GiveUp(Error::Unexpected { status: status.as_u16(), problem })
}

/// An unknown word, unless it may be (a part of) a secret that the server sends back.
pub(crate) fn harmless(code: &str, secrets: &[Secret]) -> String {
    let leaks = |secret: &Secret| {
        let secret = secret.expose();
        !secret.is_empty() && (code.contains(secret) || (code.len() > 3 && secret.contains(code)))
    };
    if is_word(code) && !secrets.iter().any(leaks) { code.to_owned() } else { "an unknown word".to_owned() }
}

/// Slack's words for errors.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
