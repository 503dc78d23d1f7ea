//! Taking in the body of a PUT, in bounded memory, and checking it against what the client declared.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use crate::blob::{BlobWriter, NewBlob};
use crate::checksum::{self, Algorithm};
use crate::store::{Store, internal, other_error};

/// How much of a body waits in memory before it is written: large enough that the hop to a blocking thread does not
/// matter, small enough that hundreds of uploads at once do not either.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a client declared about a body.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    /// The one checksum beside the MD5, if any.
    pub(crate) algorithm: Option<Algorithm>,
    /// `None` with an algorithm: it comes in the trailer.
    value: Option<String>,
    md5: Option<Vec<u8>>,
}

impl Declared {
    /// Reads the headers; more than one checksum, or one that cannot be, is refused.
    pub(crate) fn from_headers(headers: &HeaderMap) -> S3Result<Self> {
        let mut in_headers = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let value = headers.get(algorithm.header())?;
            Some((algorithm, value.to_str().unwrap_or_default().to_owned()))
        });
        let in_header = in_headers.next();
        if in_headers.next().is_some() {
            return Err(s3_error!(InvalidRequest, "Expecting a single x-amz-checksum- header"));
        }
        let in_trailer = text(headers, "x-amz-trailer")
            .and_then(|names| names.split(',').find_map(|name| Algorithm::from_header(name.trim())));
        let named =
            text(headers, "x-amz-sdk-checksum-algorithm").and_then(|name| Algorithm::from_name(&name));
        let (algorithm, value) = match (in_header, in_trailer) {
            (Some(_), Some(_)) => {
                return Err(s3_error!(InvalidRequest, "Expecting a single x-amz-checksum- header"));
            }
            (Some((algorithm, value)), None) => {
                if checksum::decode(algorithm, &value).is_none() {
                    return Err(s3_error!(
                        InvalidRequest,
                        "Value for {} header is invalid.",
                        algorithm.header()
                    ));
                }
                (Some(algorithm), Some(value))
            }
            (None, trailer) => (trailer, None),
        };
        if named.is_some() && algorithm.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                 headers were found."
            ));
        }
        Ok(Self { algorithm, value, md5: content_md5(headers)? })
    }

    /// Only the MD5, as a server reads them that knows no other checksum.
    pub(crate) fn md5_from_headers(headers: &HeaderMap) -> S3Result<Self> {
        Ok(Self { md5: content_md5(headers)?, ..Self::default() })
    }

    /// Whether the MD5 has to be computed: to be compared, or because it is the only proof that the client gets.
    pub(crate) fn needs_md5(&self) -> bool {
        self.md5.is_some() || self.algorithm.is_none()
    }

    /// Compares with what arrived: `BadDigest` if it is something else.
    pub(crate) fn verify(&self, body: &NewBlob, trailers: Option<&TrailingHeaders>) -> S3Result<()> {
        if self.md5.is_some() && self.md5.as_deref() != body.digests.md5.as_ref().map(|md5| &md5[..]) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        let Some(algorithm) = self.algorithm else { return Ok(()) };
        let trailing = || {
            trailers.and_then(|trailers| trailers.read(|headers| text(headers, algorithm.header()))).flatten()
        };
        let declared = self.value.clone().or_else(trailing).ok_or_else(|| {
            s3_error!(InvalidRequest, "The trailer {} that was announced is missing", algorithm.header())
        })?;
        if body.digests.get(algorithm) != Some(declared.as_str()) {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
        Ok(())
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn content_md5(headers: &HeaderMap) -> S3Result<Option<Vec<u8>>> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let md5 = value.to_str().ok().and_then(checksum::base64_decode).filter(|md5| md5.len() == 16);
    md5.map(Some).ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid."))
}

/// A body that is to arrive.
pub(crate) struct Expected {
    pub(crate) key: String,
    /// The checksums to compute of it.
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) needs_md5: bool,
}

/// A body that has arrived, but for the last step, which blocks.
///
/// So a small body costs one hop to a blocking thread: for this step and for what is done with the result.
pub(crate) struct Received {
    writer: Option<BlobWriter>,
    rest: Vec<Bytes>,
    expected: Expected,
}

impl Received {
    /// Writes what is still in memory. Blocks.
    pub(crate) fn finish(self, store: &Store) -> S3Result<NewBlob> {
        let writer = write(store, self.writer, &self.expected, &self.rest).map_err(internal)?;
        Ok(writer.finish())
    }
}

/// Takes in a body; one that ends early or whose signature does not fit is refused.
///
/// If the future is dropped, nothing is left behind.
pub(crate) async fn receive(
    store: &Arc<Store>,
    body: Option<StreamingBlob>,
    expected: Expected,
) -> S3Result<Received> {
    let mut received = Received { writer: None, rest: Vec::new(), expected };
    let mut waiting = 0;
    let Some(mut body) = body else { return Ok(received) };
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(body_error)?;
        waiting += chunk.len();
        received.rest.push(chunk);
        if waiting >= BUFFER_BYTES {
            let store = Arc::clone(store);
            received = blocking(move || {
                let writer = write(&store, received.writer, &received.expected, &received.rest);
                Ok(Received { writer: Some(writer.map_err(internal)?), rest: Vec::new(), ..received })
            })
            .await?;
            waiting = 0;
        }
    }
    Ok(received)
}

fn write(
    store: &Store,
    writer: Option<BlobWriter>,
    expected: &Expected,
    chunks: &[Bytes],
) -> io::Result<BlobWriter> {
    let mut writer = match writer {
        Some(writer) => writer,
        None => store.create_blob(expected)?,
    };
    writer.write(chunks)?;
    Ok(writer)
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> S3Result<T> + Send + 'static,
) -> S3Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(internal)?
}

/// The answer to a body that cannot be read to its end.
///
/// The protocol layer does not export the types of these errors, only their text.
fn body_error(error: s3s::StdError) -> S3Error {
    let text = error.to_string();
    let code = if text.contains("Sha256Mismatch") {
        return other_error(
            StatusCode::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
    } else if text.contains("SignatureMismatch") {
        S3ErrorCode::SignatureDoesNotMatch
    } else {
        S3ErrorCode::IncompleteBody
    };
    S3Error::with_source(code, error)
}
