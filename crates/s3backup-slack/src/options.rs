//! How Slack is reached, and what it is told.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Url;
use s3backup_model::AlertKind;

use crate::mention::Mention;
use crate::{Error, Place, Secret};

/// Where Slack's Web API is.
pub const DEFAULT_API_URL: &str = "https://slack.com/api";

/// How long one [`send`](crate::Slack::send) tries: 30 s.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Everything that [`Slack::new`](crate::Slack::new) needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlackOptions {
    /// How messages travel.
    pub way: Way,
    /// Which kinds of alert [`wants`](crate::Slack::wants) says yes to. Default: all.
    pub on: BTreeSet<AlertKind>,
    /// Who is told at once of an urgent alert (`failed` and `late`): `@here`, `@channel`, `@everyone`, a member id
    /// (`U123`, `<@U123>`) or a group id (`S123`, `<!subteam^S123>`). Slack has no mention by user name. Default:
    /// nobody.
    pub mention: Vec<String>,
    /// How long one [`send`](crate::Slack::send) may take in all, with its attempts and waits. Default 30 s.
    pub time_limit: Duration,
}

impl SlackOptions {
    /// The defaults for a way.
    pub fn new(way: Way) -> Self {
        Self {
            way,
            on: AlertKind::ALL.into_iter().collect(),
            mention: Vec::new(),
            time_limit: DEFAULT_TIME_LIMIT,
        }
    }
}

/// How messages travel to Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a bot, with `chat.postMessage` and `chat.update`. The app needs the scope `chat:write` and must be in the channel.
    Bot {
        /// The bot token (`xoxb-…`).
        token: Secret,
        /// The channel: its name (`#alarms`) or, which survives a renaming, its id (`C0123456789`).
        channel: String,
        /// The Web API, without a slash at the end: [`DEFAULT_API_URL`], a proxy's or a test's.
        api_url: String,
    },
    /// Through an incoming webhook, which leads to the one channel that it was made for.
    Webhook {
        /// The whole URL. It is all that one needs to post, so it is a secret.
        url: Secret,
    },
}

impl Way {
    /// As a bot, at [`DEFAULT_API_URL`].
    pub fn bot(token: impl Into<Secret>, channel: impl Into<String>) -> Self {
        Self::Bot { token: token.into(), channel: channel.into(), api_url: DEFAULT_API_URL.to_owned() }
    }

    /// Through an incoming webhook.
    pub fn webhook(url: impl Into<Secret>) -> Self {
        Self::Webhook { url: url.into() }
    }
}

/// A way that was checked.
pub(crate) enum Endpoint {
    Bot { post: Url, update: Url, token: Secret, channel: String },
    Webhook { url: Url },
}

impl Endpoint {
    pub(crate) fn new(way: Way) -> Result<Self, Error> {
        match way {
            Way::Bot { token, channel, api_url } => {
                if token.is_empty() {
                    return Err(wrong(
                        "the bot token is empty",
                        "set the token that the app's page shows (xoxb-…)",
                    ));
                }
                if !token.expose().bytes().all(|b| b.is_ascii_graphic()) {
                    let mend = "copy it again from the app's page (xoxb-…)";
                    return Err(wrong("the bot token holds characters that no token has", mend));
                }
                let channel = channel.trim().to_owned();
                if channel.is_empty() || channel == "#" {
                    return Err(wrong(
                        "the channel is empty",
                        "set its name (#alarms) or its id (C0123456789)",
                    ));
                }
                if channel.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    let problem = format!("{channel:?} is not a channel");
                    return Err(wrong(problem, "use its name (#alarms) or its id (C0123456789)"));
                }
                let method = |name: &str| {
                    let method = format!("{}/{name}", api_url.trim().trim_end_matches('/'));
                    http_url(&method).filter(is_plain).ok_or_else(|| {
                        wrong(
                            "api_url is not the address of a Web API",
                            "use https://slack.com/api, or a proxy's like it",
                        )
                    })
                };
                let (post, update) = (method("chat.postMessage")?, method("chat.update")?);
                Ok(Self::Bot { post, update, token, channel })
            }
            Way::Webhook { url } => {
                if url.is_empty() {
                    return Err(wrong("the webhook URL is empty", WEBHOOK_MEND));
                }
                let problem = "the webhook URL is not one";
                http_url(url.expose())
                    .filter(|url| url.path().len() > 1)
                    .map(|url| Self::Webhook { url })
                    .ok_or_else(|| wrong(problem, WEBHOOK_MEND))
            }
        }
    }

    fn url(&self) -> &Url {
        self.url_for(Place::Channel)
    }

    /// Where a message for a place is sent.
    pub(crate) fn url_for(&self, place: Place<'_>) -> &Url {
        match (self, place) {
            (Self::Bot { update, .. }, Place::Message(_)) => update,
            (Self::Bot { post, .. }, _) => post,
            (Self::Webhook { url }, _) => url,
        }
    }

    /// The texts that must not appear anywhere, longest first.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::Bot { token, .. } => vec![token.clone()],
            Self::Webhook { url } => {
                let last =
                    url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
                let texts = [url.as_str(), url.path(), last];
                // Something shorter guards nothing, and striking it out would garble every message.
                texts.into_iter().filter(|text| text.len() > 3).map(Secret::from).collect()
            }
        }
    }

    /// Whether the secret crosses a network that others may listen to.
    pub(crate) fn is_in_clear(&self) -> bool {
        self.url().scheme() == "http" && !self.is_loopback()
    }

    /// Whether the address is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.url().host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

const WEBHOOK_MEND: &str =
    "copy it from the app's page \"Incoming Webhooks\" (https://hooks.slack.com/services/…)";

fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// User name and password would replace the bearer token, and a query would come before the method.
fn is_plain(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
}

pub(crate) fn mentions(texts: &[String]) -> Result<Vec<Mention>, Error> {
    let mend = "use @here, @channel, @everyone, a member id (U0123456789) or a group id (S0123456789)";
    let parse = |text: &String| {
        Mention::parse(text).ok_or_else(|| wrong(format!("nobody can be mentioned as {text:?}"), mend))
    };
    texts.iter().map(parse).collect()
}

pub(crate) fn wrong(problem: impl Into<String>, mend: &'static str) -> Error {
    Error::Options { problem: problem.into(), mend }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(way: Way) -> String {
        match Endpoint::new(way) {
            Ok(_) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_work_is_said_with_its_mend() {
        let bot = |token: &str, channel: &str, api_url: &str| {
            problem(Way::Bot { token: token.into(), channel: channel.into(), api_url: api_url.into() })
        };
        assert_eq!(bot("xoxb-1", "#a", DEFAULT_API_URL), "none");
        assert_eq!(bot("xoxb-1", "C123", "http://127.0.0.1:9/api/"), "none");
        assert!(bot(" \n", "#a", DEFAULT_API_URL).contains("token is empty; set the token"));
        assert!(bot("xoxb 1", "#a", DEFAULT_API_URL).contains("characters that no token has"));
        assert!(bot("xoxb-1", " ", DEFAULT_API_URL).contains("channel is empty; set its name"));
        assert!(bot("xoxb-1", "#", DEFAULT_API_URL).contains("channel is empty"));
        assert!(bot("xoxb-1", "#a b", DEFAULT_API_URL).contains("is not a channel"));
        for api_url in
            ["", "slack.com/api", "ftp://slack.com", "https://u:p@slack.com", "https://slack.com/?x="]
        {
            assert!(bot("xoxb-1", "#a", api_url).contains("api_url"), "{api_url:?}");
        }
        assert!(problem(Way::webhook("")).contains("webhook URL is empty; copy it"));
        for url in ["hush", "https://", "https://hooks.slack.com", "file:///hush"] {
            let said = problem(Way::webhook(url));
            assert!(said.contains("is not one; copy it") && !said.contains("hush"), "{url:?}: {said}");
        }
        assert!(mentions(&["@here".to_owned(), "@bob".to_owned()]).is_err());
    }

    #[test]
    fn a_secret_in_the_clear_is_noticed() {
        let clear = |api_url: &str| {
            let way = Way::Bot { token: "t".into(), channel: "#a".into(), api_url: api_url.into() };
            Endpoint::new(way).is_ok_and(|endpoint| endpoint.is_in_clear())
        };
        assert!(clear("http://slack-proxy:8080/api"));
        assert!(!clear("http://127.0.0.1:8080") && !clear("http://[::1]:80") && !clear("http://localhost"));
        assert!(!clear(DEFAULT_API_URL));
    }

    #[test]
    fn default_is_every_kind() {
        assert_eq!(SlackOptions::new(Way::webhook("https://h/x")).on.len(), AlertKind::ALL.len());
    }
}
