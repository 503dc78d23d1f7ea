//! The fast path: requests that carry the bytes of files, over HTTP/1.1 by hand.
//!
//! On small files the SDK's general pipeline costs several times what reading, hashing and sending cost together. So
//! `PutObject`, `UploadPart` and `GetObject` are made here, and everything else stays with the SDK; also for these three
//! it says where the server is, in which region, and who signs ([`Wire::open`]). What is out of the ordinary (S3 Express,
//! access points in many regions, SOCKS proxies) is left to the SDK entirely.

mod address;
mod connection;
mod identity;
mod reply;
mod requests;
mod sign;
mod tls;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use chrono::{DateTime, TimeDelta, Utc};
use s3backup_model::Key;
use tokio::time::Instant;

use self::address::{Address, Unsupported};
use self::connection::{Connection, Incoming};
use self::identity::{Identities, Identity};
use self::sign::{UNSIGNED, Unsigned, push_encoded};
use crate::Error;
use crate::body::{Payload, Watch};

pub(crate) use self::connection::Outgoing;
pub(crate) use self::reply::{Head, Refusal};
pub(crate) use self::requests::{Given, field_of};
pub(crate) use self::tls::{ca_bundle, read_bundle};

/// Connections are not used again after so long: servers and what is between close those that are idle, S3 after some
/// twenty seconds, and a request that meets the closing is lost.
const IDLE: Duration = Duration::from_secs(10);

/// How the names of directory buckets, and of access points to them, end.
const EXPRESS: [&str; 2] = ["--x-s3", "--xa-s3"];

const USER_AGENT: &str = concat!("s3backup/", env!("CARGO_PKG_VERSION"));

/// One bucket, as requests of the fast path reach it.
pub(crate) struct Wire {
    address: Address,
    /// The value of `host`.
    host: String,
    /// What comes before a key in the path of a URL.
    path: String,
    region: String,
    identities: Identities,
    /// Connections that wait for a request, the one that was used last at the end.
    idle: Mutex<Vec<(Instant, Connection)>>,
    /// How far the server's clock is ahead of ours, in milliseconds.
    skew_ms: AtomicI64,
}

/// One request, but for what signing adds.
struct Request<'a> {
    method: &'static str,
    key: &'a Key,
    /// Encoded, its parameters sorted by name.
    query: String,
    fields: Vec<(&'static str, String)>,
    body: Option<&'a Payload>,
    /// SHA-256 of the payload in hex, or what stands in its place.
    hash: Cow<'static, str>,
}

/// A reply whose body may still be on its way.
pub(crate) struct Reply<'a> {
    wire: &'a Wire,
    pub(crate) head: Head,
    connection: Connection,
    body: Incoming,
}

/// Why there is no good reply.
pub(crate) enum Failure {
    /// No request was made.
    Unsigned(Error),
    /// No request can be made: a value that no header field can have.
    Unsendable { field: &'static str },
    /// No whole reply came.
    Lost(io::Error),
    /// The server refuses.
    Refused { head: Head, refusal: Refusal },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl Wire {
    /// Asks the SDK where a bucket is and how requests to it are signed, by letting it sign one that is never sent.
    /// `None`: the SDK must make the requests itself.
    pub(crate) async fn open(
        client: &Client,
        bucket: &str,
        provider: SharedCredentialsProvider,
    ) -> Result<Option<Self>, Error> {
        // The SDK would ask S3 Express for a session only to sign for it.
        if EXPRESS.iter().any(|suffix| bucket.ends_with(suffix)) {
            return Ok(None);
        }
        let Ok(lifetime) = PresigningConfig::expires_in(Duration::from_mins(1)) else { return Ok(None) };
        // What is wrong with the settings shows at the first request, in the SDK's words.
        let Ok(signed) = client.get_object().bucket(bucket).key(SAMPLE).presigned(lifetime).await else {
            return Ok(None);
        };
        let Some(place) = Place::of(signed.uri()) else { return Ok(None) };
        let bundle = ca_bundle().as_deref().map(read_bundle).transpose()?;
        let mut tls = None;
        if place.url.scheme_str() == Some("https") {
            let Ok(client) = tls::client(bundle) else { return Ok(None) };
            tls = Some(client);
        }
        let address = match Address::of(&place.url, tls) {
            Ok(address) => address,
            Err(Unsupported) => return Ok(None),
        };
        Ok(Some(Self {
            address,
            host: place.host,
            path: place.path,
            identities: Identities::new(provider, place.region.clone()),
            region: place.region,
            idle: Mutex::default(),
            skew_ms: AtomicI64::new(0),
        }))
    }

    /// Whether requests may leave their payload unsigned: TLS protects it, or it does not leave this machine. The signed
    /// checksum is that of the bytes either way.
    fn leaves_payload_unsigned(&self) -> bool {
        self.address.is_tls() || self.address.is_loopback()
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.skew_ms.load(Ordering::Relaxed))
    }

    async fn send(&self, request: Request<'_>, watch: &Watch) -> Result<Reply<'_>, Failure> {
        // A line end in a value would begin another field.
        let is_broken = |value: &str| value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t');
        if let Some((field, _)) = request.fields.iter().find(|(_, value)| is_broken(value)) {
            return Err(Failure::Unsendable { field });
        }
        let now = self.now();
        let identity = self.identities.at(now).await.map_err(Failure::Unsigned)?;
        let method = request.method;
        let mut outgoing =
            request.body.map_or_else(|| Outgoing::Bytes(bytes::Bytes::new()), Payload::to_outgoing);
        let head = self.head_of(request, &identity, now);
        let mut connection = self.connection().await?;
        let head = connection.exchange(head.as_bytes(), &mut outgoing, watch).await?;
        let mut body = connection.body(&head, method)?;
        if (200..300).contains(&head.status) {
            return Ok(Reply { wire: self, head, connection, body });
        }
        let refusal = Refusal::parse(&connection.collect(&mut body).await?);
        self.keep(connection, &body);
        match &*refusal.code {
            "RequestTimeTooSkewed" => self.learn_time(&head),
            "ExpiredToken" | "TokenRefreshRequired" => self.identities.refuse(&identity),
            _ => {}
        }
        Err(Failure::Refused { head, refusal })
    }

    /// The head of a signed request as it is sent.
    fn head_of(&self, request: Request<'_>, identity: &Identity, now: DateTime<Utc>) -> String {
        let mut path = String::with_capacity(self.path.len() + request.key.as_str().len() + 16);
        path.push_str(&self.path);
        push_encoded(&mut path, request.key.as_str(), true);
        let mut fields = request.fields;
        fields.push(("host", self.host.clone()));
        let unsigned = Unsigned {
            method: request.method,
            path: &path,
            query: &request.query,
            fields: &mut fields,
            payload: &request.hash,
        };
        let authorization = unsigned.sign(identity, now, &self.region);

        let mut head = String::with_capacity(1200);
        let _ = write!(head, "{} ", request.method);
        let proxy = self.address.forward_proxy();
        if proxy.is_some() {
            let _ = write!(head, "http://{}", self.host);
        }
        head.push_str(&path);
        if !request.query.is_empty() {
            let _ = write!(head, "?{}", request.query);
        }
        head.push_str(" HTTP/1.1\r\n");
        let mut push = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        for (name, value) in &fields {
            push(name, value);
        }
        push("authorization", &authorization);
        push("user-agent", USER_AGENT);
        if let Some(value) = proxy.and_then(|proxy| proxy.basic_auth()?.to_str().ok()) {
            push("proxy-authorization", value);
        }
        if let Some(body) = request.body {
            push("content-length", &body.len().to_string());
        }
        head.push_str("\r\n");
        head
    }

    /// An idle connection that is still open, else a new one.
    async fn connection(&self) -> io::Result<Connection> {
        loop {
            let Some((since, mut connection)) = self.idle().pop() else { break };
            if since.elapsed() < IDLE && connection.is_open() {
                return Ok(connection);
            }
        }
        self.address.connect().await
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Connection)>> {
        // A poisoned lock only means that another task panicked beside it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, connection: Connection, body: &Incoming) {
        if connection.is_reusable(body) {
            self.idle().push((Instant::now(), connection));
        }
    }

    /// The server refuses our clock: from now on requests are signed by its own (RFC 9110, section 6.6.1).
    fn learn_time(&self, head: &Head) {
        let date = head.field("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        if let Some(date) = date {
            let skew = date.with_timezone(&Utc) - Utc::now();
            self.skew_ms.store(skew.num_milliseconds(), Ordering::Relaxed);
        }
    }
}

impl Reply<'_> {
    /// Reads some of the body; nothing at its end.
    pub(crate) async fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.connection.read_body(&mut self.body, out).await
    }

    /// Gives the connection back, once the body was read or is short enough to be.
    pub(crate) async fn finish(mut self) -> Result<Head, Failure> {
        self.connection.drain(&mut self.body).await?;
        self.wire.keep(self.connection, &self.body);
        Ok(self.head)
    }
}

/// A key that needs no encoding.
const SAMPLE: &str = "k";

/// What a signed URL tells.
struct Place {
    url: http::Uri,
    host: String,
    path: String,
    region: String,
}

impl Place {
    /// `None` for what is not signed in the one way that is known here.
    fn of(signed: &str) -> Option<Self> {
        let url: http::Uri = signed.parse().ok()?;
        let parameter =
            |name: &str| url.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        if parameter("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
            return None;
        }
        // `access key/day/region/service/aws4_request`, its slashes encoded.
        let credential = parameter("X-Amz-Credential")?;
        let mut scope = credential.rsplit("%2F");
        let (_, service, region) = (scope.next()?, scope.next()?, scope.next()?);
        if service != "s3" {
            return None;
        }
        let host = url.authority()?.as_str().to_owned();
        let path = url.path().strip_suffix(SAMPLE)?.to_owned();
        let region = region.to_owned();
        Some(Self { url, host, path, region })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

    /// No request may be made.
    #[derive(Debug)]
    struct Silence;

    impl HttpConnector for Silence {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            panic!("{request:?}")
        }
    }

    /// Where a bucket of AWS in eu-west-1 is.
    async fn opened(bucket: &str) -> Option<Wire> {
        let connector = SharedHttpConnector::new(Silence);
        let credentials = Credentials::new("AK", "s", Some("token".to_owned()), None, "test");
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(credentials.clone())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let provider = SharedCredentialsProvider::new(credentials);
        Wire::open(&Client::from_conf(config), bucket, provider).await.unwrap()
    }

    #[tokio::test]
    async fn buckets_of_aws_are_found_as_the_sdk_finds_them() {
        for (bucket, host, path) in [
            ("bucket", "bucket.s3.eu-west-1.amazonaws.com", "/"),
            // A certificate for all buckets has no place for a second dot.
            ("my.bucket", "s3.eu-west-1.amazonaws.com", "/my.bucket/"),
            (
                "arn:aws:s3:eu-west-1:123456789012:accesspoint/ap",
                "ap-123456789012.s3-accesspoint.eu-west-1.amazonaws.com",
                "/",
            ),
        ] {
            let wire = opened(bucket).await.unwrap();
            assert_eq!((&*wire.host, &*wire.path, &*wire.region), (host, path, "eu-west-1"), "{bucket}");
            assert!(wire.address.is_tls() && wire.leaves_payload_unsigned());
        }
    }

    #[tokio::test]
    async fn what_only_the_sdk_can_reach_is_left_to_it() {
        for bucket in [
            "bucket--usw2-az1--x-s3",
            "ap--usw2-az1--xa-s3",
            "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
        ] {
            assert!(opened(bucket).await.is_none(), "{bucket}");
        }
    }

    #[test]
    fn a_signed_url_tells_where_the_bucket_is() {
        let signed = |host: &str, service: &str| {
            format!(
                "{host}k?x-id=GetObject&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20261128%2Feu-west-1%2F{service}%2Faws4_request&X-Amz-Expires=60"
            )
        };
        let place = Place::of(&signed("https://bucket.s3.eu-west-1.amazonaws.com/", "s3")).unwrap();
        assert_eq!((&*place.host, &*place.path), ("bucket.s3.eu-west-1.amazonaws.com", "/"));
        assert_eq!(place.region, "eu-west-1");
        let place = Place::of(&signed("http://127.0.0.1:9000/base/bucket/", "s3")).unwrap();
        assert_eq!((&*place.host, &*place.path), ("127.0.0.1:9000", "/base/bucket/"));
        assert!(Place::of(&signed("https://b--x-s3.example.com/", "s3express")).is_none());
        assert!(Place::of("https://example.com/k?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256").is_none());
    }
}
