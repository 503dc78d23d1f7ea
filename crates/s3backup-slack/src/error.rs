//! What can go wrong, named after what the caller can do next.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::Secret;

/// Why a message was not posted, or why Slack cannot be used as it is set up.
///
/// None carries the token or the webhook URL, neither in itself nor in its sources.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options cannot work. Nothing was sent.
    #[error("slack is not set up: {problem}; {mend}")]
    Options {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        mend: &'static str,
    },
    /// There is no HTTPS client, as where the machine's CA certificates cannot be read. Nothing was sent.
    #[error("cannot prepare HTTPS; check the CA certificates of the operating system (ca-certificates)")]
    Client {
        /// What the HTTP library says.
        source: Cause,
    },
    /// Slack understood and said no.
    #[error("slack refused the message with {code}; {mend}")]
    Refused {
        /// Slack's word for it, such as `not_in_channel`, or `http_403` where there was none.
        code: String,
        /// Whether it stays so until a person mends it.
        permanent: bool,
        /// What to do about it.
        mend: &'static str,
    },
    /// Slack wants fewer messages, and asks for more time than is left of the time limit.
    #[error("slack takes no message for another {} s", retry_after.as_secs())]
    RateLimited {
        /// How long to wait before the next attempt; at most an hour.
        retry_after: Duration,
        /// Whether an earlier attempt may have posted the message although its reply was lost.
        maybe_posted: bool,
    },
    /// No useful reply within the time limit: no connection, a lost reply, or errors of the server.
    #[error("slack could not be reached ({attempts} attempts)")]
    Unreachable {
        /// How often it was tried.
        attempts: u32,
        /// Whether one of the attempts may have posted the message although its reply was lost.
        maybe_posted: bool,
        /// Why the last attempt failed.
        source: Cause,
    },
    /// Something answered that does not speak as Slack does, such as a log-in page of a network.
    #[error("something other than slack answered (HTTP {status}): {problem}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// What is odd about the reply, and what to look at.
        problem: &'static str,
    },
}

impl Error {
    /// Whether only a person can mend it, so that sending the same again is useless.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Options { .. } | Self::Client { .. } => true,
            Self::Refused { permanent, .. } => *permanent,
            Self::RateLimited { .. } | Self::Unreachable { .. } | Self::Unexpected { .. } => false,
        }
    }

    /// Whether the message that was to be answered or replaced is not there any more, or may not be changed any more. A
    /// new one can be posted.
    pub fn is_message_gone(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if crate::refusal::is_message_gone(code))
    }

    /// How long Slack asked to wait, if it did; at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether the message may be in the channel all the same: tell [`send_to`](crate::Slack::send_to) so.
    pub fn maybe_posted(&self) -> bool {
        match self {
            Self::Unreachable { maybe_posted, .. } | Self::RateLimited { maybe_posted, .. } => *maybe_posted,
            // Whatever answered with success may have passed the message on.
            Self::Unexpected { status, .. } => (200..300).contains(status),
            _ => false,
        }
    }
}

/// What the network or the HTTP library said, as text without secrets.
///
/// The library's own error is not kept as a source, because it may carry the URL, and a webhook's URL is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole chain of an error of the HTTP library, with `secrets` struck out.
    pub(crate) fn from_chain(error: reqwest::Error, secrets: &[Secret]) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let level = error.to_string();
            if !text.ends_with(&level) {
                text.push_str(": ");
                text.push_str(&level);
            }
            source = error.source();
        }
        Self(strike_out(text, secrets))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}

fn strike_out(text: String, secrets: &[Secret]) -> String {
    secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text, |text, secret| text.replace(secret.expose(), "[redacted]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_struck_out_of_what_a_library_says() {
        let secrets =
            [Secret::new("https://hooks.example/T1/B1/hush"), Secret::new("/T1/B1/hush"), Secret::new("")];
        let said = "cannot get https://hooks.example/T1/B1/hush nor /T1/B1/hush".to_owned();
        assert_eq!(strike_out(said, &secrets), "cannot get [redacted] nor [redacted]");
    }

    #[test]
    fn only_a_lost_reply_leaves_a_doubt() {
        let unexpected = |status| Error::Unexpected { status, problem: "no JSON" };
        assert!(unexpected(200).maybe_posted());
        assert!(!unexpected(302).maybe_posted());
        assert!(
            !Error::RateLimited { retry_after: Duration::from_secs(1), maybe_posted: false }.maybe_posted()
        );
    }
}
