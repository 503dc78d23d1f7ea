//! Telling a health check that a run began and how it ended, as <https://healthchecks.io> and its like want it: whoever does
//! not hear of a run in time raises the alarm, also when this machine is gone.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use s3backup_model::{Alert, Outcome, RunId, RunReport};

use crate::options::PingOptions;
use crate::{Error, alert};

/// How often one ping is sent.
const ATTEMPTS: u32 = 2;

/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The most of a reply that is read: it has a few words.
const MAX_REPLY_BYTES: usize = 1024;

/// The most of a body that is sent; servers keep the first 10 to 100 kB.
const MAX_BODY_BYTES: usize = 8 * 1024;

/// A health check, and the way to it.
#[derive(Clone)]
pub(crate) struct Ping {
    http: reqwest::Client,
    /// A secret: whoever knows it can say that all is well.
    url: Url,
    time_limit: Duration,
}

impl Ping {
    pub(crate) fn new(options: &PingOptions) -> Result<Self, Error> {
        let wrong = |why: &str| Error::invalid("[ping] URL", why);
        let url = Url::parse(options.url.expose()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| {
            wrong("it is none: copy the ping URL of the check, such as https://hc-ping.com/… (what was found is not shown)")
        })?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("s3backup/", env!("CARGO_PKG_VERSION")))
            // The secret in the URL must not travel to where somebody else points.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0);
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| wrong(&chain(error)))?;
        Ok(Self { http, url, time_limit: options.time_limit })
    }

    /// Says that a run has begun. Gives why it could not, for a person; no secret is in it.
    pub(crate) async fn begin(&self, run: &RunId) -> Result<(), String> {
        self.send(Some("start"), run, String::new()).await
    }

    /// Says how a run ended. An interruption of which nobody is to be told is only logged: the health check goes on waiting.
    pub(crate) async fn end(&self, report: &RunReport, is_told: bool) -> Result<(), String> {
        let signal = match report.outcome {
            Outcome::Success => None,
            Outcome::Failed => Some("fail"),
            // The exit status of `backup run`: all but 0 are failures.
            Outcome::Partial => Some("3"),
            Outcome::Interrupted if is_told => Some("130"),
            Outcome::Interrupted => Some("log"),
        };
        self.send(signal, &report.run_id, body_of(&alert::of_run(report, None))).await
    }

    async fn send(&self, signal: Option<&str>, run: &RunId, body: String) -> Result<(), String> {
        let mut url = self.url.clone();
        if let (Some(signal), Ok(mut path)) = (signal, url.path_segments_mut()) {
            path.pop_if_empty().push(signal);
        }
        if let Some(id) = uuid_of(run) {
            url.query_pairs_mut().append_pair("rid", &id);
        }
        let trying = async {
            let mut attempt = 1;
            loop {
                match self.post(url.clone(), body.clone()).await {
                    Err(Trouble { may_pass: true, .. }) if attempt < ATTEMPTS => {
                        attempt += 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                    sent => return sent.map_err(|trouble| trouble.why),
                }
            }
        };
        let limit = humantime::format_duration(self.time_limit);
        tokio::time::timeout(self.time_limit, trying)
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {limit}")))
    }

    async fn post(&self, url: Url, body: String) -> Result<(), Trouble> {
        let sent = self.http.post(url).timeout(self.time_limit / ATTEMPTS).body(body).send().await;
        let mut reply = sent.map_err(|error| Trouble { why: chain(error), may_pass: true })?;
        let status = reply.status();
        if !status.is_success() {
            let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(Trouble { why: say(status), may_pass });
        }
        let mut text = Vec::new();
        while let Ok(Some(piece)) = reply.chunk().await {
            text.extend_from_slice(&piece);
            if text.len() > MAX_REPLY_BYTES {
                break;
            }
        }
        // healthchecks.io says so with status 200, lest clients take a typing error for an outage.
        match String::from_utf8_lossy(&text).trim() {
            "OK (not found)" => Err(Trouble { why: say(StatusCode::NOT_FOUND), may_pass: false }),
            "OK (rate limited)" => Err(Trouble { why: say(StatusCode::TOO_MANY_REQUESTS), may_pass: true }),
            _ => Ok(()),
        }
    }
}

/// Why a ping did not arrive, and whether another try may.
struct Trouble {
    why: String,
    may_pass: bool,
}

fn say(status: StatusCode) -> String {
    let what = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => "it does not know this URL: copy it anew from the check",
        StatusCode::TOO_MANY_REQUESTS => "it takes no more pings for now",
        status if status.is_redirection() => {
            "it points elsewhere, where the secret does not go: correct the URL"
        }
        status if status.is_server_error() => "it has trouble of its own",
        _ => "it refuses",
    };
    format!("{what} (HTTP {})", status.as_u16())
}

/// The error of the HTTP library and its causes, without the URL.
fn chain(error: reqwest::Error) -> String {
    crate::line_of(&error.without_url())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What the health check shows of a run.
fn body_of(alert: &Alert) -> String {
    let mut text = format!("{}\n", alert.headline);
    let facts = alert.facts.iter().map(|(name, value)| format!("{name}: {value}"));
    let failures = alert.failures.iter().map(|failure| format!("{}: {}", failure.path, failure.message));
    let warnings = alert.warnings.iter().map(|warning| format!("warning: {warning}"));
    let message = (!alert.message.is_empty()).then(|| alert.message.clone());
    for line in message.into_iter().chain(facts).chain(failures).chain(warnings) {
        text.push_str(&line);
        text.push('\n');
    }
    text.truncate(text.floor_char_boundary(MAX_BODY_BYTES));
    text
}

/// The run as a UUID of version 7 (RFC 9562): its time, and its random digits stretched over the rest. The same run always
/// has the same.
fn uuid_of(run: &RunId) -> Option<String> {
    let millis = u64::try_from(run.time()?.timestamp_millis()).ok()? & 0xffff_ffff_ffff;
    let random = u32::from_str_radix(run.as_str().rsplit_once('-')?.1, 16).ok()?;
    let stretched = u64::from(random).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (high, low) = (millis >> 16, millis & 0xffff);
    let (first, second) = (stretched >> 52, stretched & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000);
    let (variant, node) = (second >> 48, second & 0xffff_ffff_ffff);
    Some(format!("{high:08x}-{low:04x}-7{first:03x}-{variant:04x}-{node:012x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_always_has_the_same_uuid() {
        let run = RunId::parse("20261123T110000.123Z-7f3a91c2").unwrap();
        let uuid = uuid_of(&run).unwrap();
        assert_eq!(uuid, uuid_of(&run).unwrap());
        let shape: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(shape, [8, 4, 4, 4, 12], "{uuid}");
        assert_eq!(uuid.as_bytes()[14], b'7', "{uuid}");
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        assert!(uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{uuid}");
        let other = RunId::parse("20261123T110000.123Z-7f3a91c3").unwrap();
        assert_ne!(uuid_of(&other).unwrap(), uuid);
        let later = RunId::parse("20261123T110000.124Z-00000000").unwrap();
        assert!(uuid_of(&later).unwrap()[..13] > uuid[..13]);
    }

    #[test]
    fn what_is_no_url_is_said_and_not_shown() {
        for bad in ["", "hush", "ftp://hush", "https://"] {
            let error = Ping::new(&PingOptions::new(bad)).err().unwrap().to_string();
            assert!(error.contains("[ping]") && !error.contains("hush"), "{error}");
        }
        assert!(!format!("{:?}", PingOptions::new("https://hc-ping.com/hush")).contains("hush"));
    }
}
