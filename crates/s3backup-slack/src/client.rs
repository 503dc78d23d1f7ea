//! The client: one message, as many attempts as the time limit allows.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use s3backup_model::{Alert, AlertKind};
use serde_json::Value;
use slog::{debug, o, warn};
use tokio::time::Instant;

use crate::mention::Mention;
use crate::options::{Endpoint, mentions, wrong};
use crate::render::Message;
use crate::reply::{Dialect, Verdict, judge};
use crate::{Cause, Error, Limits, MessageRef, Pace, Place, Secret, SlackOptions, TokioPace};

/// One request, from the connection to the last byte of the reply.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Less than a request's, so that a connection that never came about is told apart from a lost reply.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A wait must leave at least this much for the attempt that it is for.
const MIN_ATTEMPT: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// Slack sends the message back, up to 14,000 characters, each as long as `\ud55c` in JSON.
const MAX_REPLY_BYTES: usize = 256 * 1024;

const REPEAT_NOTE: &str = "may be a repeat: the reply to an earlier attempt was lost";

/// Posts alerts to one channel.
///
/// Cheap to clone; may be shared and used by several tasks at once.
#[derive(Clone)]
pub struct Slack {
    pub(crate) shared: Arc<Shared>,
    pace: Arc<dyn Pace>,
}

pub(crate) struct Shared {
    pub(crate) http: reqwest::Client,
    pub(crate) endpoint: Endpoint,
    pub(crate) secrets: Vec<Secret>,
    on: BTreeSet<AlertKind>,
    mentions: Vec<Mention>,
    time_limit: Duration,
    limits: Limits,
    logger: slog::Logger,
}

/// Where a message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The channel's id (`C0123456789`), which stays when the channel is renamed. A webhook does not tell it.
    pub channel: Option<String>,
    /// Slack's name for the message in its channel. A webhook does not tell it.
    pub ts: Option<String>,
}

impl Sent {
    /// The message, to be answered or replaced later; `None` where Slack did not tell which it is.
    pub fn message(&self) -> Option<MessageRef> {
        Some(MessageRef { channel: self.channel.clone()?, ts: self.ts.clone()? })
    }
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Slack");
        if let Endpoint::Bot { channel, .. } = &self.shared.endpoint {
            f.field("channel", channel);
        }
        f.field("on", &self.shared.on).finish_non_exhaustive()
    }
}

impl Slack {
    /// Checks the options and prepares the HTTPS client. Sends nothing.
    ///
    /// [`Error::Options`] for an empty or malformed token, channel, webhook URL or `api_url`, for a mention that Slack
    /// does not have and for a time limit of zero; [`Error::Client`] where TLS cannot work. Without a logger it says
    /// nothing.
    pub fn new(options: SlackOptions, logger: impl Into<Option<slog::Logger>>) -> Result<Self, Error> {
        let SlackOptions { way, on, mention, time_limit } = options;
        let endpoint = Endpoint::new(way)?;
        let mentions = mentions(&mention)?;
        if time_limit.is_zero() {
            return Err(wrong("the time limit is zero", "give it some seconds"));
        }
        let secrets = endpoint.secrets();
        let logger = logger.into().unwrap_or_else(|| slog::Logger::root(slog::Discard, o!()));
        if endpoint.is_in_clear() {
            warn!(logger, "the address of Slack is http: the secret crosses the network in the clear");
        }
        let http = http_client(&endpoint).map_err(|error| client_error(error, &secrets))?;
        let limits = Limits::default();
        let shared = Shared { http, endpoint, secrets, on, mentions, time_limit, limits, logger };
        Ok(Self { shared: Arc::new(shared), pace: Arc::new(TokioPace) })
    }

    /// With another time and chance than the real ones; for tests.
    #[must_use]
    pub fn with_pace(mut self, pace: Arc<dyn Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// Whether a message can be answered in its thread and be replaced: by a bot, not through a webhook.
    pub fn can_reply(&self) -> bool {
        matches!(self.shared.endpoint, Endpoint::Bot { .. })
    }

    /// Whether alerts of this kind are wanted. [`send`](Self::send) does not ask this.
    pub fn wants(&self, kind: AlertKind) -> bool {
        self.shared.on.contains(&kind)
    }

    /// Posts an alert, whatever its kind, within the time limit.
    ///
    /// Waits and tries again after 429 (if `Retry-After` fits in what is left), after 5xx and where no connection came
    /// about; after a lost reply once. The message says of itself that it may be a repeat where an earlier attempt may
    /// have posted it. If Slack does not take the blocks, the alert is posted once more as plain text.
    ///
    /// The errors say whether to try later ([`Error::is_permanent`], [`Error::retry_after`]) and how
    /// ([`Error::maybe_posted`]). If the future is dropped, the message may or may not have been posted.
    pub async fn send(&self, alert: &Alert) -> Result<Sent, Error> {
        self.send_to(alert, Place::Channel, false).await
    }

    /// As [`send`](Self::send), to a place. The message says of itself that it may be a repeat where it `maybe_posted`
    /// before this call; one that takes the place of another never does, because doing that twice is as good as once.
    ///
    /// When the message that is to be answered or replaced is gone, or too old to be changed, the error
    /// [says so](Error::is_message_gone).
    pub async fn send_to(&self, alert: &Alert, place: Place<'_>, maybe_posted: bool) -> Result<Sent, Error> {
        Delivery::new(self, alert, place, maybe_posted).run().await
    }

    /// One request, and what came of it.
    async fn post(&self, message: &Value, place: Place<'_>, timeout: Duration) -> Verdict {
        let shared = &*self.shared;
        let mut request = shared.http.post(shared.endpoint.url_for(place).clone()).timeout(timeout);
        if let Endpoint::Bot { token, .. } = &shared.endpoint {
            request = request.header(AUTHORIZATION, bearer(token));
        }
        let body = message.to_string();
        let sent = request.header(CONTENT_TYPE, "application/json; charset=utf-8").body(body).send().await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return no_reply(error, &shared.secrets),
        };
        let body = match read_bounded(&mut response).await {
            Ok(body) => body,
            Err(error) if response.status().is_success() => return no_reply(error, &shared.secrets),
            // The status says enough.
            Err(_) => Vec::new(),
        };
        let dialect = match shared.endpoint {
            Endpoint::Bot { .. } => Dialect::WebApi,
            Endpoint::Webhook { .. } => Dialect::Webhook,
        };
        judge(dialect, response.status(), response.headers(), &body, &shared.secrets)
    }
}

/// One alert on its way.
struct Delivery<'a> {
    slack: &'a Slack,
    alert: &'a Alert,
    place: Place<'a>,
    /// Whether an attempt may have posted the message; said in the next one.
    maybe_posted: bool,
    plain: bool,
    lost_before: bool,
    attempts: u32,
    started: Instant,
}

impl<'a> Delivery<'a> {
    fn new(slack: &'a Slack, alert: &'a Alert, place: Place<'a>, maybe_posted: bool) -> Self {
        let started = slack.pace.now();
        Self { slack, alert, place, maybe_posted, plain: false, lost_before: false, attempts: 0, started }
    }

    async fn run(mut self) -> Result<Sent, Error> {
        loop {
            let message = self.message();
            let timeout = self.left().clamp(Duration::from_millis(1), REQUEST_TIMEOUT);
            self.attempts += 1;
            let verdict = self.slack.post(&message, self.place, timeout).await;
            let wait = match verdict {
                Verdict::Posted(sent) => {
                    debug!(self.logger(), "posted an alert to Slack"; "kind" => self.alert.kind.as_str(),
                        "attempts" => self.attempts, "plain" => self.plain);
                    return Ok(sent);
                }
                Verdict::Unfit(error) if self.plain || self.left().is_zero() => return Err(error),
                Verdict::Unfit(error) => {
                    warn!(self.logger(), "Slack does not take the message with blocks, sending plain text";
                        "error" => %error);
                    self.plain = true;
                    Duration::ZERO
                }
                Verdict::GiveUp(error) => return Err(error),
                Verdict::Wait(asked) => {
                    let wait = asked.unwrap_or_else(|| self.backoff()).max(MIN_ATTEMPT);
                    if !self.fits(wait) {
                        return Err(Error::RateLimited {
                            retry_after: wait,
                            maybe_posted: self.maybe_posted,
                        });
                    }
                    wait
                }
                Verdict::Retry { cause, maybe_posted, lost } => {
                    self.maybe_posted |= maybe_posted;
                    let wait = self.slack.pace.jitter(self.backoff());
                    if !self.fits(wait) || (lost && self.lost_before) {
                        return Err(self.unreachable(cause));
                    }
                    self.lost_before |= lost;
                    debug!(self.logger(), "no success with Slack, trying again"; "cause" => %cause,
                        "attempts" => self.attempts, "wait_ms" => wait.as_millis());
                    wait
                }
            };
            if !wait.is_zero() {
                self.slack.pace.sleep(wait).await;
            }
        }
    }

    fn message(&self) -> Value {
        let shared = &*self.slack.shared;
        let is_repeat = self.maybe_posted && !matches!(self.place, Place::Message(_));
        let note = is_repeat.then_some(REPEAT_NOTE);
        let message = Message { alert: self.alert, mentions: &shared.mentions, limits: &shared.limits, note };
        let mut message = if self.plain { message.plain() } else { message.with_blocks() };
        if let Endpoint::Bot { channel, .. } = &shared.endpoint {
            let known = self.place.message();
            message["channel"] = Value::from(known.map_or(channel.as_str(), |known| known.channel.as_str()));
            match self.place {
                Place::Channel => {}
                Place::Thread(known) => message["thread_ts"] = Value::from(known.ts.as_str()),
                Place::Message(known) => message["ts"] = Value::from(known.ts.as_str()),
            }
        }
        message
    }

    fn left(&self) -> Duration {
        let spent = self.slack.pace.now().saturating_duration_since(self.started);
        self.slack.shared.time_limit.saturating_sub(spent)
    }

    fn fits(&self, wait: Duration) -> bool {
        wait + MIN_ATTEMPT <= self.left()
    }

    /// Doubles with each attempt.
    fn backoff(&self) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(10);
        FIRST_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF)
    }

    fn unreachable(&self, source: Cause) -> Error {
        Error::Unreachable { attempts: self.attempts, maybe_posted: self.maybe_posted, source }
    }

    fn logger(&self) -> &slog::Logger {
        &self.slack.shared.logger
    }
}

fn http_client(endpoint: &Endpoint) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("s3backup/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        // The token must not travel to where somebody else points.
        .redirect(reqwest::redirect::Policy::none())
        // Alerts are rare: a kept connection would mostly be dead, which looks like a lost reply.
        .pool_max_idle_per_host(0);
    if endpoint.is_loopback() {
        builder = builder.no_proxy();
    }
    builder.build()
}

fn client_error(error: reqwest::Error, secrets: &[Secret]) -> Error {
    Error::Client { source: Cause::from_chain(error, secrets) }
}

/// The options let only such tokens through as fit in a header.
pub(crate) fn bearer(token: &Secret) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}

fn no_reply(error: reqwest::Error, secrets: &[Secret]) -> Verdict {
    let lost = !error.is_connect();
    Verdict::Retry { cause: Cause::from_chain(error, secrets), maybe_posted: lost, lost }
}

/// The first [`MAX_REPLY_BYTES`] of the body.
pub(crate) async fn read_bounded(response: &mut reqwest::Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_REPLY_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_REPLY_BYTES {
            break;
        }
    }
    Ok(body)
}
