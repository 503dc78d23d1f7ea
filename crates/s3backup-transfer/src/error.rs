//! What can go wrong, told so that a person knows what to do.

use std::io;
use std::path::PathBuf;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use s3backup_model::{FailureKind, Key};

use crate::journal::JournalError;
use crate::wire::{Failure, Refusal};

/// A failure of this crate.
///
/// `Display` says what happened, to what, and what to do; the cause is in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A local file could not be opened, read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `open`, `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file was gone when it was to be read.
    #[error("{} was removed after it was found and before it was read", path.display())]
    Vanished {
        /// The file.
        path: PathBuf,
    },
    /// The file changed during every read.
    #[error("{} was written to during each of {reads} reads; nothing of it was kept in the bucket. The next run tries again; leave files alone for longer after a change if this one is written for long", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// How often it was read.
        reads: u32,
    },
    /// What was a regular file during the walk is something else now.
    #[error("{} is no longer a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than S3 stores.
    #[error("{} has {size} bytes, and S3 stores at most 50 TB in one object: split the file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// No credentials were found where the AWS SDK looks.
    #[error(
        "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"
    )]
    NoCredentials {
        /// What the SDK says of each place.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file that `AWS_CA_BUNDLE` names cannot be used.
    #[error(
        "cannot use the certificates in {}, which AWS_CA_BUNDLE names: {cause}. Name a file in PEM format, or none", path.display()
    )]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// No region is known.
    #[error("no AWS region: set the region of the bucket, or AWS_REGION")]
    NoRegion,
    /// The server answered with an error.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// No whole answer came.
    #[error("no answer to {operation} for {target}: {cause}")]
    NoAnswer {
        /// The S3 operation.
        operation: &'static str,
        /// `s3://bucket/key`.
        target: String,
        /// What happened to the request.
        cause: String,
    },
    /// The request could not be made.
    #[error("cannot make the {operation} request for {target}: {cause}")]
    BadRequest {
        /// The S3 operation.
        operation: &'static str,
        /// `s3://bucket/key`.
        target: String,
        /// Why.
        cause: String,
    },
    /// The server stored something and showed no checksum of it.
    #[error(
        "the server took {key} but shows no {checksum} checksum of it, so nothing proves that it arrived whole: choose the checksum `none` if this server knows none; the ETag or a read-back is the proof then"
    )]
    NotEchoed {
        /// The object.
        key: Key,
        /// The checksum that was asked for.
        checksum: &'static str,
    },
    /// The server shows a checksum of other bytes, or gives other bytes.
    #[error(
        "{key} in the bucket is not what was sent: sent was {sent}, and the server shows {stored}. The object does not count as backed up"
    )]
    Mismatch {
        /// The object.
        key: Key,
        /// What was sent: a checksum in base64, or how many bytes.
        sent: String,
        /// What the server shows of it.
        stored: String,
    },
    /// There is an object of that key which this job did not write.
    #[error(
        "{key} is in the bucket already with other content, and {writer}: it was not overwritten. Give this job a prefix of its own, or move the object away"
    )]
    Conflict {
        /// The object.
        key: Key,
        /// Who wrote it, as far as it can be seen.
        writer: String,
    },
    /// Somebody else wrote to the key after it was looked at.
    #[error("another program wrote {key} at the same time; it was not overwritten")]
    Overtaken {
        /// The object.
        key: Key,
    },
    /// The content that was asked for can no longer be had.
    #[error("{key} {why}")]
    VersionGone {
        /// The object.
        key: Key,
        /// What became of it.
        why: &'static str,
    },
    /// The object is archived.
    #[error(
        "{key} is archived in storage class {storage_class} and cannot be read before it is thawed: ask for that with `aws s3api restore-object`, and try again when it is done (minutes to two days)"
    )]
    NeedsThaw {
        /// The object.
        key: Key,
        /// For example `DEEP_ARCHIVE`.
        storage_class: String,
    },
    /// What was downloaded could not be written.
    #[error("cannot write what was downloaded of {key}")]
    NotWritten {
        /// The object.
        key: Key,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file differs from what the bucket is known to hold, and was to be left alone in that case.
    #[error(
        "{} changed, as many files did at once: what the bucket has of it was not overwritten. If the change is meant, let the next run send it", path.display()
    )]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// A multipart upload could not be remembered, or it is not known whether one was begun before.
    #[error("{key} was not sent, because the record of unfinished uploads cannot be used")]
    Journal {
        /// The object.
        key: Key,
        /// What the journal says.
        #[source]
        cause: JournalError,
    },
    /// The work was told to stop.
    #[error("stopped before it was done")]
    Cancelled,
    /// A task ended abnormally: a defect of this program.
    #[error("a task of the program ended abnormally ({0}); this is a defect, please report it")]
    Defect(String),
}

/// An error that the server answered with.
#[derive(Debug, thiserror::Error)]
#[error("{} (HTTP {status}{}{}{})", .meaning.say(.target, .operation), spaced(.code), self.words(), request(.request_id))]
#[non_exhaustive]
pub struct ServiceError {
    /// The S3 operation.
    pub operation: &'static str,
    /// `s3://bucket/key`.
    pub target: String,
    /// HTTP status.
    pub status: u16,
    /// S3 error code; empty where the server sent none (replies to HEAD have none).
    pub code: String,
    /// The server's own words; may be empty.
    pub message: String,
    /// The server's name for the request; may be empty.
    pub request_id: String,
    meaning: Meaning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    NoSuchBucket,
    WrongRegion,
    Credentials,
    Expired,
    ClockSkew,
    Denied,
    Precondition,
    Busy,
    Corrupted,
    Other,
}

/// `s3://bucket` of `s3://bucket/key`.
fn bucket_of(target: &str) -> &str {
    let begin = "s3://".len();
    let end = target.get(begin..).and_then(|rest| rest.find('/')).map_or(target.len(), |at| begin + at);
    &target[..end]
}

fn spaced(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" {code}") }
}

fn request(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!(", request {id}") }
}

impl Meaning {
    fn of(status: u16, code: &str) -> Self {
        match (status, code) {
            (_, "NoSuchBucket") => Self::NoSuchBucket,
            (301, _)
            | (
                _,
                "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException",
            ) => Self::WrongRegion,
            (_, "ExpiredToken" | "TokenRefreshRequired" | "RequestExpired") => Self::Expired,
            (
                _,
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "NotSignedUp"
                | "InvalidClientTokenId",
            ) => Self::Credentials,
            (_, "RequestTimeTooSkewed") => Self::ClockSkew,
            (_, "PreconditionFailed") | (412, _) => Self::Precondition,
            (
                _,
                "SlowDown"
                | "Throttling"
                | "ThrottlingException"
                | "RequestTimeout"
                | "InternalError"
                | "ServiceUnavailable"
                | "OperationAborted"
                | "ConditionalRequestConflict",
            )
            // The reply's status is 200 when an error came late, inside the body; the work was not done.
            | (200..=299 | 408 | 429 | 500 | 502..=504 | 520..=599, _) => Self::Busy,
            (_, "BadDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" | "InvalidDigest") => {
                Self::Corrupted
            }
            (401 | 403, _) | (_, "AccessDenied") => Self::Denied,
            _ => Self::Other,
        }
    }

    fn say(self, target: &str, operation: &str) -> String {
        match self {
            Self::NoSuchBucket => {
                format!("there is no such bucket: {}. Create it, or correct its name", bucket_of(target))
            }
            Self::WrongRegion => format!(
                "{} is in another region than the one that was asked: correct the region",
                bucket_of(target)
            ),
            Self::Credentials => format!(
                "the server refuses the AWS credentials for {target}: check the access key and its secret, and that they are of this server"
            ),
            Self::Expired => format!(
                "the AWS credentials for {target} have expired: renew them (`aws sso login`, a new session token)"
            ),
            Self::ClockSkew => format!(
                "the server refuses {operation} for {target} because this machine's clock is wrong: set the clock (NTP)"
            ),
            Self::Denied => format!(
                "{operation} is not allowed for {target}: give these credentials the right s3:{} there",
                right(operation)
            ),
            Self::Precondition => format!("{target} changed between two requests"),
            Self::Busy => format!("the server could not do {operation} for {target}"),
            Self::Corrupted => format!("the bytes of {target} arrived damaged at the server"),
            Self::Other => format!("the server refuses {operation} for {target}"),
        }
    }
}

/// The permission that an operation needs, where it is not called the same (AWS: "Required permissions").
fn right(operation: &str) -> &str {
    match operation {
        "HeadObject" => "GetObject",
        "HeadObjectVersion" => "GetObjectVersion",
        "DeleteObjects" => "DeleteObject and s3:DeleteObjectVersion",
        "ListObjectsV2" => "ListBucket",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => "PutObject",
        "ListParts" => "ListMultipartUploadParts",
        other => other,
    }
}

impl ServiceError {
    /// An error about one of many objects, out of a reply that as a whole is good.
    pub(crate) fn inside_reply(operation: &'static str, target: String, code: &str, message: &str) -> Self {
        // The status of such a reply means nothing; the code must tell.
        let meaning = Meaning::of(400, code);
        let (code, message) = (code.to_owned(), message.to_owned());
        Self { operation, target, status: 200, code, message, request_id: String::new(), meaning }
    }

    /// The server's own words, where ours say too little.
    fn words(&self) -> String {
        match self.meaning {
            Meaning::Other | Meaning::Busy | Meaning::WrongRegion if !self.message.is_empty() => {
                format!(": {}", self.message)
            }
            _ => String::new(),
        }
    }

    /// Whether the same request may go well a moment later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.meaning, Meaning::Busy | Meaning::Corrupted | Meaning::Expired)
    }

    /// Whether the server says that the object, or the multipart upload, is not there.
    pub fn is_not_found(&self) -> bool {
        self.status == 404 && self.meaning != Meaning::NoSuchBucket
    }

    /// Whether a condition (`If-Match`, `If-None-Match`) did not hold.
    pub fn is_precondition(&self) -> bool {
        self.meaning == Meaning::Precondition
    }

    /// Whether the credentials are good but have no right to do this.
    pub fn is_denied(&self) -> bool {
        self.meaning == Meaning::Denied
    }

    /// Whether the server does not know the operation or a header of it.
    pub fn is_not_implemented(&self) -> bool {
        self.status == 501 || self.code == "NotImplemented"
    }

    fn kind(&self) -> FailureKind {
        match self.meaning {
            Meaning::NoSuchBucket | Meaning::WrongRegion => FailureKind::Bucket,
            Meaning::Credentials | Meaning::Expired | Meaning::ClockSkew => FailureKind::Credentials,
            Meaning::Denied => FailureKind::Denied,
            Meaning::Corrupted => FailureKind::Checksum,
            Meaning::Precondition => FailureKind::Conflict,
            Meaning::Busy | Meaning::Other => FailureKind::Server,
        }
    }
}

impl Error {
    /// Makes an error of what the SDK says of one request for `target` (`s3://bucket/key`).
    pub(crate) fn of_sdk<E>(operation: &'static str, target: String, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(reply) => {
                let status = reply.raw().status().as_u16();
                let headers = reply.raw().headers();
                let request_id = headers.get("x-amz-request-id").unwrap_or_default().to_owned();
                let metadata = reply.err().meta();
                let code = metadata.code().unwrap_or_default().to_owned();
                let request_id = metadata.request_id().map_or(request_id, ToOwned::to_owned);
                let meaning = Meaning::of(status, &code);
                let message = with_region(
                    metadata.message().unwrap_or_default().to_owned(),
                    headers.get(BUCKET_REGION).filter(|_| meaning == Meaning::WrongRegion),
                );
                Self::Service(ServiceError { operation, target, status, code, message, request_id, meaning })
            }
            SdkError::ConstructionFailure(_) => Self::BadRequest { operation, target, cause: chain(&error) },
            other => {
                let cause = cause_of(&other);
                let is_timeout = match &other {
                    SdkError::TimeoutError(_) => true,
                    SdkError::DispatchFailure(failure) => failure.is_timeout(),
                    _ => false,
                };
                if is_timeout {
                    let cause = "no connection could be made in time".to_owned();
                    return Self::NoAnswer { operation, target, cause };
                }
                if causes(&other).any(<dyn std::error::Error>::is::<CredentialsError>) {
                    return Self::NoCredentials { cause: Box::new(other) };
                }
                Self::NoAnswer { operation, target, cause }
            }
        }
    }

    /// Makes an error of how a request of the fast path for `target` failed.
    pub(crate) fn of_wire(operation: &'static str, target: String, failure: Failure) -> Self {
        match failure {
            Failure::Unsigned(error) => error,
            Failure::Unsendable { field } => {
                let cause = format!("the value of {field} has a line end or another control character in it");
                Self::BadRequest { operation, target, cause }
            }
            Failure::Lost(error) => Self::NoAnswer { operation, target, cause: cause_of(&error) },
            Failure::Refused { head, refusal } => {
                let Refusal { code, message, request_id, .. } = refusal;
                let status = head.status;
                let meaning = Meaning::of(status, &code);
                let message = with_region(
                    message,
                    head.field(BUCKET_REGION).filter(|_| meaning == Meaning::WrongRegion),
                );
                let named = head.field("x-amz-request-id").filter(|_| request_id.is_empty());
                let request_id = named.map_or(request_id, ToOwned::to_owned);
                Self::Service(ServiceError { operation, target, status, code, message, request_id, meaning })
            }
        }
    }

    /// What kind of failure this is, for reports.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::File { .. } | Self::NotRegular { .. } | Self::TooLarge { .. } => FailureKind::Unreadable,
            Self::Vanished { .. } => FailureKind::Vanished,
            Self::Changed { .. } => FailureKind::Changed,
            Self::NoCredentials { .. } => FailureKind::Credentials,
            Self::NoRegion => FailureKind::Bucket,
            Self::Service(error) => error.kind(),
            Self::NoAnswer { .. } | Self::CaBundle { .. } => FailureKind::Network,
            Self::NotEchoed { .. } | Self::Mismatch { .. } => FailureKind::Checksum,
            Self::Conflict { .. } | Self::Overtaken { .. } => FailureKind::Conflict,
            Self::Held { .. } => FailureKind::Guard,
            Self::Journal { .. } => FailureKind::Catalog,
            Self::VersionGone { .. } => FailureKind::VersionGone,
            Self::NeedsThaw { .. } => FailureKind::NeedsThaw,
            Self::NotWritten { .. } => FailureKind::Unwritable,
            Self::BadRequest { .. } | Self::Cancelled | Self::Defect(_) => FailureKind::Other,
        }
    }

    /// Whether the same request may go well a moment later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Service(error) => error.is_retryable(),
            Self::NoAnswer { .. } => true,
            // Where they come from may be busy or out of reach for a moment; only what is written wrong stays wrong.
            Self::NoCredentials { cause } => !causes(&**cause)
                .any(|cause| matches!(cause.downcast_ref(), Some(CredentialsError::InvalidConfiguration(_)))),
            _ => false,
        }
    }

    /// Whether the server says that it is asked too much.
    pub(crate) fn is_busy(&self) -> bool {
        let is_throttled = |code: &str| matches!(code, "SlowDown" | "Throttling" | "ThrottlingException");
        self.service().is_some_and(|error| matches!(error.status, 429 | 503) || is_throttled(&error.code))
    }

    /// Whether the server refuses our clock. By its own, which its answer tells, the same request may go well.
    pub(crate) fn is_clock_skew(&self) -> bool {
        self.service().is_some_and(|error| error.meaning == Meaning::ClockSkew)
    }

    /// Whether the request may have been carried out although it failed.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Service(error) => error.status >= 500 || (200..300).contains(&error.status),
            Self::NoAnswer { .. } => true,
            _ => false,
        }
    }

    /// Whether every other file would fail for the same reason, so that there is no use in going on.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::NoCredentials { .. } | Self::NoRegion | Self::CaBundle { .. } | Self::NotEchoed { .. } => {
                true
            }
            Self::Service(error) => matches!(
                error.meaning,
                Meaning::NoSuchBucket
                    | Meaning::WrongRegion
                    | Meaning::Credentials
                    | Meaning::Expired
                    | Meaning::ClockSkew
            ),
            _ => false,
        }
    }

    /// The server's answer, if it is one.
    pub fn service(&self) -> Option<&ServiceError> {
        if let Self::Service(error) = self { Some(error) } else { None }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.service().is_some_and(ServiceError::is_not_found)
    }

    /// Whether a condition of the request did not hold: somebody else wrote to the key.
    pub fn is_precondition(&self) -> bool {
        matches!(self, Self::Overtaken { .. }) || self.service().is_some_and(ServiceError::is_precondition)
    }

    /// The error and its causes in one line, each fact once: what a report shows.
    pub fn to_line(&self) -> String {
        chain(self)
    }
}

/// The field in which S3 says where a bucket is.
const BUCKET_REGION: &str = "x-amz-bucket-region";

/// The server's words, and the region that it names.
fn with_region(message: String, region: Option<&str>) -> String {
    match region {
        Some(region) if message.is_empty() => format!("it is in {region}"),
        Some(region) => format!("it is in {region}; {message}"),
        None => message,
    }
}

/// Phrases by which the layers of the HTTP client announce each other and say nothing.
const EMPTY_PHRASES: [&str; 12] = [
    "dispatch failure",
    "other",
    "service error",
    "unhandled error",
    "io error",
    "user error",
    "connection error",
    "streaming error",
    "client error (Connect)",
    "client error (SendRequest)",
    "tcp connect error",
    "error reading a body from connection",
];

/// An error and its causes, each fact once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut facts: Vec<String> = Vec::new();
    for error in causes(error) {
        let fact = error.to_string();
        if !EMPTY_PHRASES.contains(&fact.as_str()) && !facts.iter().any(|known| known.contains(&fact)) {
            facts.push(fact);
        }
    }
    if facts.is_empty() { error.to_string() } else { facts.join(": ") }
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Why no whole reply came, in the words of a person where it is one of the usual reasons.
pub(crate) fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let io = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
    let whole = chain(error);
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof,
        ) => "the connection was closed before the reply was whole".to_owned(),
        _ if whole.contains("connection closed before message completed") => {
            "the connection was closed before the reply was whole".to_owned()
        }
        Some(io::ErrorKind::TimedOut) => "no connection could be made in time".to_owned(),
        _ => match whole.strip_prefix("dns error: ") {
            Some(reason) => format!("the host's name is not known: {reason}"),
            None => whole,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(status: u16, code: &str) -> Error {
        Error::Service(ServiceError {
            operation: "PutObject",
            target: "s3://b/k".to_owned(),
            status,
            code: code.to_owned(),
            message: String::new(),
            request_id: String::new(),
            meaning: Meaning::of(status, code),
        })
    }

    #[test]
    fn only_what_may_go_well_later_is_sent_again() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (429, ""),
            (504, ""),
            (400, "RequestTimeout"),
            (200, "InternalError"),
            (409, "ConditionalRequestConflict"),
            (400, "BadDigest"),
            (400, "ExpiredToken"),
        ] {
            assert!(service(status, code).is_retryable(), "{status} {code}");
        }
        for (status, code) in [
            (403, "AccessDenied"),
            (403, ""),
            (404, "NoSuchKey"),
            (404, "NoSuchBucket"),
            (400, "InvalidArgument"),
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (412, "PreconditionFailed"),
            (501, "NotImplemented"),
        ] {
            assert!(!service(status, code).is_retryable(), "{status} {code}");
        }
    }

    #[test]
    fn what_concerns_every_file_ends_the_run() {
        for code in [
            "NoSuchBucket",
            "InvalidAccessKeyId",
            "ExpiredToken",
            "PermanentRedirect",
            "RequestTimeTooSkewed",
        ] {
            assert!(service(403, code).is_fatal(), "{code}");
        }
        for code in ["AccessDenied", "SlowDown", "NoSuchKey", "BadDigest"] {
            assert!(!service(403, code).is_fatal(), "{code}");
        }
    }

    #[test]
    fn a_message_says_what_to_do() {
        assert_eq!(
            service(404, "NoSuchBucket").to_string(),
            "there is no such bucket: s3://b. Create it, or correct its name (HTTP 404 NoSuchBucket)"
        );
        assert!(service(403, "AccessDenied").to_string().contains("s3:PutObject"));
    }
}
