//! What is answered.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use s3backup_core::Scheduler;
use s3backup_core::report::{self, Page};

use super::Access;

const TEXT: &str = "text/plain; charset=utf-8";

const HTML: &str = "text/html; charset=utf-8";

/// The version of the format is a part of the type.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Nothing may be loaded, run or framed.
const CLOSED: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// What is served.
pub(crate) struct Site {
    access: Access,
    scheduler: Scheduler,
    /// Since when the configuration file is broken.
    broken_since: Mutex<Option<DateTime<Utc>>>,
}

/// An answer before it has its headers.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    policy: &'static str,
    body: String,
    more: Option<(HeaderName, HeaderValue)>,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: TEXT, policy: CLOSED, body: body.into(), more: None }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { more: Some((name, HeaderValue::from_static(value))), ..self }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, self.content_type),
            (CONTENT_SECURITY_POLICY, self.policy),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.extend(self.more);
        response
    }
}

impl Site {
    pub(crate) fn new(access: Access, scheduler: Scheduler) -> Self {
        Self { access, scheduler, broken_since: Mutex::new(None) }
    }

    /// Whether the configuration was broken when it was last read, and since when.
    pub(crate) fn configuration_is_broken(&self, since: Option<DateTime<Utc>>) {
        let mut broken = self.broken_since.lock().unwrap_or_else(PoisonError::into_inner);
        *broken = since.map(|since| broken.unwrap_or(since));
    }

    /// Answers one request.
    pub(super) async fn answer<B: Sync>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        self.choose(request).await.into_response()
    }

    async fn choose<B: Sync>(&self, request: &Request<B>) -> Answer {
        let headers = request.headers();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n")
                .with(ALLOW, "GET, HEAD");
        }
        if !self.access.is_called_right(headers) {
            return Answer::text(
                StatusCode::MISDIRECTED_REQUEST,
                "this machine is not known by that name: use its address, or start the daemon with --host-name\n",
            );
        }
        match request.uri().path() {
            "/healthz" => self.health(),
            "/metrics" => self.metrics().await,
            _ if !self.access.is_allowed(headers) => {
                Answer::text(StatusCode::UNAUTHORIZED, "the token is needed: as Bearer, or as the password\n")
                    .with(WWW_AUTHENTICATE, "Basic realm=\"s3backup\", charset=\"UTF-8\"")
            }
            "/" => self.page().await,
            _ => Answer::text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn health(&self) -> Answer {
        let troubles = self.troubles();
        if troubles.is_empty() {
            return Answer::text(StatusCode::OK, "ok\n");
        }
        Answer::text(StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n")
    }

    fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        for job in self.scheduler.jobs() {
            if let Some(due) = job.late {
                troubles.push(format!(
                    "{} on {} is late: no success since {}",
                    job.job,
                    job.host,
                    minute(due)
                ));
            }
            if job.is_stuck {
                troubles.push(format!("{} on {}: its loop hangs", job.job, job.host));
            }
        }
        if troubles.is_empty() && !self.scheduler.is_turning() {
            troubles.push("the scheduler hangs".to_owned());
        }
        if let Some(since) = *self.broken_since.lock().unwrap_or_else(PoisonError::into_inner) {
            troubles.push(format!(
                "the configuration is broken since {}, and the one from before holds: the log says why",
                minute(since.fixed_offset())
            ));
        }
        troubles
    }

    async fn metrics(&self) -> Answer {
        let text = report::metrics(&self.scheduler.overview().await);
        Answer { content_type: METRICS, ..Answer::text(StatusCode::OK, text) }
    }

    /// The status page.
    async fn page(&self) -> Answer {
        let jobs = self.scheduler.overview().await;
        let zone = jobs.iter().find_map(|job| job.next_due);
        let now = Utc::now();
        let made_at = zone.map_or_else(|| now.fixed_offset(), |due| now.with_timezone(due.offset()));
        let page = report::render(&Page { made_at, jobs, live: true });
        Answer { content_type: HTML, policy: report::CSP, ..Answer::text(StatusCode::OK, page) }
    }
}

fn minute(at: DateTime<chrono::FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M %:z").to_string()
}
