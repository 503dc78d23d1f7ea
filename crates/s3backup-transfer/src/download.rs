//! Bringing an object back as a file that is proved before it gets its name.

use std::path::Path;

use crc_fast::{CrcAlgorithm, Digest};
use s3backup_model::Key;
use tokio::io::AsyncWriteExt;

use crate::checksum::encode_crc64;
use crate::{Bucket, Error};

/// What was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Length in bytes.
    pub size: u64,
    /// CRC64NVME of the bytes, base64.
    pub crc64nvme: String,
}

impl Bucket {
    /// Downloads an object to `path`. The bytes go to a temporary file beside it, are compared with `crc64nvme`
    /// (base64) when that is given, are synced to disk, and only then get the name; what was there before is
    /// replaced. Dropping the future leaves at most the temporary file's name free again.
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
        let mut file = tokio::fs::File::from_std(temporary.reopen().map_err(of_io)?);
        let downloaded = self.repeat("GetObject", key, 0, |_, _, _| {}, |_| self.fetch(key)).await?;
        let downloaded = self.drain(key, downloaded, Some((&mut file, path))).await?;
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
        let body = self.repeat("GetObject", key, 0, |_, _, _| {}, |_| self.fetch(key)).await?;
        self.drain(key, body, None).await
    }

    async fn fetch(&self, key: &Key) -> Result<aws_sdk_s3::primitives::ByteStream, Error> {
        Ok(self.get_once(key).await?.body)
    }

    async fn drain(
        &self,
        key: &Key,
        mut body: aws_sdk_s3::primitives::ByteStream,
        mut file: Option<(&mut tokio::fs::File, &Path)>,
    ) -> Result<Downloaded, Error> {
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        let mut size = 0;
        let idle = self.idle_limit();
        loop {
            let piece = tokio::time::timeout(idle, body.next()).await;
            let Some(piece) = piece.map_err(|_| self.lost("GetObject", key, &"the bytes stopped coming"))?
            else {
                break;
            };
            let piece = piece.map_err(|error| self.lost("GetObject", key, &error))?;
            digest.update(&piece);
            size += piece.len() as u64;
            if let Some((file, path)) = &mut file {
                let of_io = |cause| Error::File { action: "write", path: path.to_path_buf(), cause };
                file.write_all(&piece).await.map_err(of_io)?;
            }
        }
        Ok(Downloaded { size, crc64nvme: encode_crc64(digest.finalize()) })
    }
}
