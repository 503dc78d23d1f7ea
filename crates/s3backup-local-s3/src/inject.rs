//! Takes requests from the wire, does to them what the faults say, and hands the rest to the S3 service.

use std::future;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use s3s::Body;
use s3s::service::S3Service;
use slog::{Logger, debug, trace};
use tokio_util::sync::CancellationToken;

use crate::body::{Damage, ReplyBody, RequestBody, length};
use crate::clock::Clock;
use crate::faults::{FaultHandle, FaultKind, Plan};
use crate::operation::Target;
use crate::random;
use crate::stats::Counters;

/// What all connections of a server share.
pub(crate) struct Handler {
    pub(crate) service: S3Service,
    pub(crate) faults: FaultHandle,
    pub(crate) counters: Counters,
    pub(crate) clock: Clock,
    pub(crate) log: Logger,
}

impl Handler {
    /// Answers a request, or does not; `cut` resets its connection.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        cut: CancellationToken,
    ) -> Response<ReplyBody> {
        let target = Target::of(request.method(), request.uri(), request.headers());
        let _under_way = self.counters.request(target.operation);
        let plan = self.faults.plan(&target, request.headers());
        self.counters.faults(plan.faults);
        if plan.faults > 0 {
            debug!(self.log, "fault injected"; "operation" => target.operation.name(), "key" => &target.key,
                "latency_ms" => plan.latency.as_millis(), "fault" => ?plan.fate, "quirks" => ?plan.quirks);
        }
        let mut reply = self.answer(request, plan, &cut).await;
        trace!(self.log, "request answered"; "operation" => target.operation.name(), "key" => &target.key,
            "status" => reply.status().as_u16());
        let id = format!("{:016X}", random::id() >> 64);
        if let Ok(id) = HeaderValue::try_from(id) {
            reply.headers_mut().insert("x-amz-request-id", id);
        }
        if let Some(date) = self.clock.date() {
            reply.headers_mut().insert(header::DATE, date);
        }
        reply
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        plan: Plan,
        cut: &CancellationToken,
    ) -> Response<ReplyBody> {
        let length_bytes = length(request.headers(), request.body());
        // A client that asks first has sent nothing yet, and must not be told to go on for nothing.
        let drains = !request.headers().contains_key(header::EXPECT);
        let body = RequestBody::new_from(request);
        let (mut request, rest) = body;
        request.extensions_mut().insert(plan.quirks);
        request.extensions_mut().insert(plan.failing_keys);

        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        let mut damage = Damage::None;
        let refusal = match plan.fate {
            None => None,
            Some(FaultKind::Hang) => return future::pending().await,
            Some(FaultKind::ResetInRequest) => {
                rest.drain(length_bytes.unwrap_or(0) / 2).await;
                return reset(cut).await;
            }
            Some(FaultKind::ResetBeforeReply) => {
                rest.drain(u64::MAX).await;
                return reset(cut).await;
            }
            Some(FaultKind::LostReply) => {
                self.call(request).await;
                return reset(cut).await;
            }
            Some(FaultKind::ResetInReply) => {
                damage = Damage::Stop { after: 0, cut: Some(cut.clone()) };
                None
            }
            Some(FaultKind::HangInReply) => {
                damage = Damage::Stop { after: 0, cut: None };
                None
            }
            Some(FaultKind::CorruptReply) => {
                damage = Damage::Flip;
                None
            }
            Some(kind) => Some(refusal(&kind)),
        };
        let reply = match refusal {
            Some(reply) => reply,
            None => self.call(request).await,
        };
        if drains {
            rest.drain(u64::MAX).await;
        }
        if let Damage::Stop { after, cut } = &mut damage {
            match (length(reply.headers(), reply.body()), cut) {
                (Some(length @ 1..), _) => *after = length / 2,
                (_, Some(cut)) => return reset(cut).await,
                (_, None) => return future::pending().await,
            }
        }
        reply.map(|inner| ReplyBody { inner, damage })
    }

    async fn call(&self, request: Request<RequestBody>) -> Response<Body> {
        match self.service.call(request.map(Body::http_body_unsync)).await {
            Ok(reply) => reply,
            Err(_) => error_reply(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        }
    }
}

impl RequestBody {
    /// The request with a body of which a second handle is kept.
    fn new_from(request: Request<Incoming>) -> (Request<Self>, Self) {
        let (parts, body) = request.into_parts();
        let body = Self::new(body);
        (Request::from_parts(parts, body.clone()), body)
    }
}

async fn reset(cut: &CancellationToken) -> Response<ReplyBody> {
    cut.cancel();
    future::pending().await
}

fn refusal(kind: &FaultKind) -> Response<Body> {
    match kind {
        FaultKind::SlowDown => error_reply(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        FaultKind::TooManyRequests => error_reply(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        FaultKind::AccessDenied => error_reply(StatusCode::FORBIDDEN, "AccessDenied"),
        FaultKind::ExpiredToken => error_reply(StatusCode::BAD_REQUEST, "ExpiredToken"),
        FaultKind::NoConditionalWrites => error_reply(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
        FaultKind::ErrorInOkReply => error_reply(StatusCode::OK, "InternalError"),
        FaultKind::Error { status, code } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            error_reply(status, code)
        }
        _ => error_reply(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    }
}

/// An error in the way of S3.
fn error_reply(status: StatusCode, code: &str) -> Response<Body> {
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>This error was \
         injected.</Message></Error>"
    );
    let mut reply = Response::new(Body::from(body));
    *reply.status_mut() = status;
    *reply.headers_mut() =
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"))]);
    reply
}
