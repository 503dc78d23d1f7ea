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
        let folder = path.parent().unwrap_or(Path::new("."));
        let temporary = tempfile::NamedTempFile::new_in(folder).map_err(of_io)?;
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
            _ => Ok(()),
        }
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
