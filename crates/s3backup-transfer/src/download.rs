//! Bringing an object back as a file that is proved before it gets its name.

use std::path::Path;
use std::time::Duration;

use crc_fast::{CrcAlgorithm, Digest};
use s3backup_model::Key;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::body::Progress;
use crate::checksum::encode_crc64;
use crate::error::cause_of;
use crate::{Bucket, Error};

/// What was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Length in bytes.
    pub size: u64,
    /// CRC64NVME of the bytes, base64.
    pub crc64nvme: String,
}

/// How far a download has come.
struct Fetched {
    at: u64,
    digest: Digest,
    /// Of the object as it was first seen, so that no file is made of two objects.
    etag: Option<String>,
    /// Length of the object, once the server has said it.
    size: Option<u64>,
}

impl Bucket {
    /// Downloads an object to `path`. The bytes go to a temporary file beside it, are compared with `crc64nvme`
    /// (base64) when that is given, are synced to disk, and only then get the name; what was there before is
    /// replaced. A reply that breaks off is asked for again from where it broke. Dropping the future leaves at most
    /// the temporary file's name free again.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the bytes are others; then nothing is at `path` that was not there before.
    pub async fn download(
        &self,
        key: &Key,
        path: &Path,
        crc64nvme: Option<&str>,
    ) -> Result<Downloaded, Error> {
        let of_io = |cause| Error::File { action: "write", path: path.to_owned(), cause };
        let temporary = tempfile::NamedTempFile::new_in(folder_of(path)).map_err(of_io)?;
        let mut file = File::from_std(temporary.reopen().map_err(of_io)?);
        let downloaded = self.fetch(key, Some((&mut file, path))).await?;
        file.sync_all().await.map_err(of_io)?;
        if let Some(expected) = crc64nvme.filter(|expected| *expected != downloaded.crc64nvme) {
            return Err(Error::Mismatch {
                key: key.clone(),
                sent: expected.to_owned(),
                stored: downloaded.crc64nvme,
            });
        }
        temporary.persist(path).map_err(|error| of_io(error.error))?;
        Ok(downloaded)
    }

    /// Reads an object back and gives its length and checksum.
    pub(crate) async fn read_back(&self, key: &Key) -> Result<Downloaded, Error> {
        self.fetch(key, None).await
    }

    /// Gets all bytes, in as many replies as it takes. Attempts are counted anew when bytes came.
    async fn fetch(&self, key: &Key, mut file: Option<(&mut File, &Path)>) -> Result<Downloaded, Error> {
        let mut progress =
            Fetched { at: 0, digest: Digest::new(CrcAlgorithm::Crc64Nvme), etag: None, size: None };
        let mut attempt = 1;
        loop {
            let before = progress.at;
            let error = match self.fetch_rest(key, &mut progress, &mut file).await {
                Err(error) if error.is_retryable() => error,
                done => break done?,
            };
            attempt = if progress.at > before { 1 } else { attempt + 1 };
            let Some(wait) = self.wait_after(attempt) else { return Err(error) };
            tokio::time::sleep(wait).await;
        }
        if let Some((file, path)) = file {
            // Writes go on behind `write_all`: a last one that fails is told of here and nowhere else.
            let of_io = |cause| Error::File { action: "write", path: path.to_owned(), cause };
            file.flush().await.map_err(of_io)?;
        }
        Ok(Downloaded { size: progress.at, crc64nvme: encode_crc64(progress.digest.finalize()) })
    }

    async fn fetch_rest(
        &self,
        key: &Key,
        progress: &mut Fetched,
        file: &mut Option<(&mut File, &Path)>,
    ) -> Result<(), Error> {
        if progress.size == Some(progress.at) {
            // The range of nothing is an error to a server.
            return Ok(());
        }
        let request = Box::pin(self.get_from(key, progress.at, progress.etag.clone()));
        let reply = self.in_time("GetObject", key, Duration::ZERO, &Progress::begin(), request).await?;
        progress.etag = progress.etag.take().or_else(|| reply.e_tag().map(ToOwned::to_owned));
        if progress.at > 0 && !is_rest(reply.content_range(), progress.at, progress.size) {
            return Err(self.no_rest(key));
        }
        let rest = reply.content_length().and_then(|len| u64::try_from(len).ok());
        progress.size = progress.size.or(rest);
        let mut body = reply.body;
        while let Some(piece) = self.next_piece(key, &mut body).await? {
            if let Some((file, path)) = file {
                let of_io = |cause| Error::File { action: "write", path: path.to_path_buf(), cause };
                file.write_all(&piece).await.map_err(of_io)?;
            }
            progress.digest.update(&piece);
            progress.at += piece.len() as u64;
        }
        match progress.size {
            Some(size) if progress.at < size => {
                Err(self.lost("GetObject", key, "the reply ended before the object did"))
            }
            Some(size) if progress.at > size => {
                Err(self.lost("GetObject", key, "the reply has more bytes than the object"))
            }
            _ => Ok(()),
        }
    }

    /// The whole object, appended to its beginning, would be another; asking again would be answered the same.
    fn no_rest(&self, key: &Key) -> Error {
        let cause = "the reply broke off, and the server does not give the rest alone (Content-Range)";
        Error::BadRequest { operation: "GetObject", target: self.target(key), cause: cause.to_owned() }
    }

    async fn next_piece(
        &self,
        key: &Key,
        body: &mut aws_sdk_s3::primitives::ByteStream,
    ) -> Result<Option<bytes::Bytes>, Error> {
        let piece = tokio::time::timeout(self.idle_limit(), body.next()).await;
        let piece = piece.map_err(|_| self.lost("GetObject", key, "the bytes stopped coming"))?;
        piece.transpose().map_err(|error| self.lost("GetObject", key, cause_of(&error)))
    }
}

/// The folder of a path; that of a bare name is the current one.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a reply brings the bytes from `at` to the end. The header comes with status 206 and no other.
fn is_rest(content_range: Option<&str>, at: u64, size: Option<u64>) -> bool {
    let Some(range) = content_range.and_then(|range| range.strip_prefix("bytes ")) else { return false };
    let Some((range, whole)) = range.split_once('/') else { return false };
    let Some((first, last)) = range.split_once('-') else { return false };
    let number = |digits: &str| digits.trim().parse::<u64>().ok();
    let last = number(last).and_then(|last| last.checked_add(1));
    number(first) == Some(at) && (whole == "*" || last == number(whole)) && (size.is_none() || last == size)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io;
    use std::sync::Mutex;

    use aws_sdk_s3::Client;
    use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
    use aws_sdk_s3::primitives::SdkBody;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_runtime_api::http::StatusCode;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;

    const WHOLE: &[u8] = b"0123456789";

    /// Answers each request with the whole object; the first `broken` replies break off in the middle.
    #[derive(Debug)]
    struct Ranges {
        broken: Mutex<u32>,
    }

    impl HttpConnector for Ranges {
        fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
            let mut broken = self.broken.lock().unwrap();
            let pieces = if *broken > 0 {
                vec![Ok(&WHOLE[..5]), Err(io::Error::from(io::ErrorKind::ConnectionReset))]
            } else {
                vec![Ok(WHOLE)]
            };
            *broken = broken.saturating_sub(1);
            let frames =
                pieces.into_iter().map(|piece| piece.map(|bytes| Frame::data(Bytes::from_static(bytes))));
            let body = SdkBody::from_body_1_x(StreamBody::new(futures::stream::iter(frames)));
            let mut reply = HttpResponse::new(StatusCode::try_from(200).unwrap(), body);
            reply.headers_mut().insert("content-length", "10");
            reply.headers_mut().insert("etag", "\"e\"");
            HttpConnectorFuture::ready(Ok(reply))
        }
    }

    fn bucket(broken: u32) -> Bucket {
        let connector = SharedHttpConnector::new(Ranges { broken: Mutex::new(broken) });
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("a", "s", None, None, "test"))
            .endpoint_url("http://bucket.invalid")
            .force_path_style(true)
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Bucket::from_client(&Client::from_conf(config), "bucket")
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_ranges_never_makes_a_longer_file() {
        let (folder, key) = (tempfile::tempdir().unwrap(), Key::new("k").unwrap());
        let path = folder.path().join("f");
        assert_eq!(bucket(0).download(&key, &path, None).await.unwrap().size, 10);
        let error = bucket(1).download(&key, &path, None).await.unwrap_err();
        assert!(error.to_line().contains("Content-Range"), "{}", error.to_line());
        assert_eq!(std::fs::read(&path).unwrap(), WHOLE);
    }

    /// What tells of the only write is that which comes behind it.
    #[tokio::test]
    async fn a_full_disk_is_noticed() {
        let path = Path::new("/dev/full");
        let mut file = File::from_std(std::fs::File::options().write(true).open(path).unwrap());
        let fetched = bucket(0).fetch(&Key::new("k").unwrap(), Some((&mut file, path))).await;
        assert!(matches!(fetched, Err(Error::File { action: "write", .. })), "{fetched:?}");
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("f")), Path::new("."));
        assert_eq!(folder_of(Path::new("/a/f")), Path::new("/a"));
    }

    #[test]
    fn only_the_rest_continues_a_download() {
        assert!(is_rest(Some("bytes 3-9/10"), 3, Some(10)));
        assert!(is_rest(Some("bytes 3-9/*"), 3, None));
        for other in [
            None,
            Some(""),
            Some("bytes 0-9/10"),
            Some("bytes 3-8/10"),
            Some("bytes 3-10/11"),
            Some("3-9/10"),
        ] {
            assert!(!is_rest(other, 3, Some(10)), "{other:?}");
        }
    }
}
