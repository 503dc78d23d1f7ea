//! What the caller knows of an object, and what that spares.

use std::path::Path;

use s3backup_model::FileStat;
use s3backup_model::manifest::StoredChecksum;

use crate::checksum::encode_crc64;
use crate::control::WriteCondition;
use crate::engine::{FileTransfer, Stored, on_blocking_thread};
use crate::read::{OpenFile, Read};
use crate::{ChecksumKind, Error, ServiceError};

/// What the caller knows the bucket to hold for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Length in bytes.
    pub size: u64,
    /// CRC64NVME of the bytes, base64.
    pub crc64nvme: String,
    /// What the server holds as checksum of the object.
    pub checksum: Option<StoredChecksum>,
    /// ETag without quotes. The object is replaced only while it has this one, or is seen to be this file's.
    pub etag: String,
    /// Version, where the bucket has versioning.
    pub version_id: Option<String>,
    /// The object is not what it should be: the file is sent whatever its bytes are, over the object with this ETag
    /// (empty: there is none). What the server claims of the object is not believed.
    pub is_doubtful: bool,
    /// Somebody may have replaced the object for this file and not have heard of it. Before a file with these bytes counts
    /// as stored, the server is asked whether the object still has this ETag; else the file is sent.
    pub is_unsettled: bool,
}

impl FileTransfer {
    /// What a read of the file means beside what is known of its object: stored already, held back, or (`None`) to be
    /// sent.
    pub(crate) async fn compare_with_known(
        &self,
        path: &Path,
        stat: FileStat,
        crc64: u64,
    ) -> Result<Option<Stored>, Error> {
        let Some(known) = &self.known else { return Ok(None) };
        let is_same = known.size == stat.size && known.crc64nvme == encode_crc64(crc64);
        if self.hold && !is_same {
            return Err(Error::Held { path: path.to_owned() });
        }
        if !is_same || known.is_doubtful || (known.is_unsettled && !self.is_still(known).await?) {
            return Ok(None);
        }
        Ok(Some(Stored {
            stat,
            crc64nvme: known.crc64nvme.clone(),
            checksum: known.checksum.clone(),
            etag: known.etag.clone(),
            version_id: known.version_id.clone(),
            sent: false,
        }))
    }

    /// Whether the object is the one that is known.
    async fn is_still(&self, known: &Known) -> Result<bool, Error> {
        match self.head().await {
            Ok(info) => Ok(info.is_some_and(|info| info.etag == known.etag)),
            // A host that may only write cannot look.
            Err(error) if error.service().is_some_and(ServiceError::is_denied) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The same for a file that is not kept in memory. It is read only if that can make a difference.
    pub(crate) async fn compare_large_with_known(
        &self,
        file: &OpenFile,
    ) -> Result<Read<Option<Stored>>, Error> {
        let Some(known) = &self.known else { return Ok(Read::Steady(None)) };
        if known.size != file.stat.size {
            let path = file.path.to_path_buf();
            return if self.hold { Err(Error::Held { path }) } else { Ok(Read::Steady(None)) };
        }
        if known.is_doubtful && !self.hold {
            return Ok(Read::Steady(None));
        }
        let (reader, cancel) = (file.clone(), self.cancel.clone());
        let hashed = on_blocking_thread(move || {
            let hashed = reader.hash_range(ChecksumKind::Crc64Nvme, 0, reader.stat.size, &cancel)?;
            Ok(if reader.is_steady()? { hashed } else { Read::Torn })
        });
        let Read::Steady(sums) = self.gate().unless_cancelled(hashed).await?? else { return Ok(Read::Torn) };
        self.compare_with_known(&file.path, file.stat, sums.crc64).await.map(Read::Steady)
    }

    /// Whether the object is known to be other than it should be, whatever the server says of it.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.is_doubtful)
    }

    /// Of the first write to a key of which enough is known that nobody need look, on a server with conditions.
    pub(crate) fn known_condition(&self) -> Option<WriteCondition> {
        match &self.known {
            _ if !self.is_conditional() => None,
            Some(known) if !known.etag.is_empty() => Some(WriteCondition::Replaces(known.etag.clone())),
            Some(known) if known.is_doubtful => Some(WriteCondition::New),
            _ => None,
        }
    }
}
