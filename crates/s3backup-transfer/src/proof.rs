//! What the server must show before a file counts as stored.

use s3backup_model::FileStat;

use crate::checksum::{Proof, Whole, encode_crc64};
use crate::engine::{FileTransfer, Stored};
use crate::object::ObjectInfo;
use crate::{ChecksumKind, Error, ServiceError};

impl FileTransfer {
    /// What is stored, once the server has proved it with `info`, or with a HEAD where its reply showed too little, or
    /// by reading the object back.
    pub(crate) async fn proved(
        &self,
        stat: FileStat,
        whole: &Whole,
        info: ObjectInfo,
        sent: bool,
    ) -> Result<Stored, Error> {
        let kind = self.kind();
        let mut info = info;
        let mut proof = info.proof_of(whole, kind);
        if proof.is_none() && info.checksum(kind).is_none() && kind != ChecksumKind::None {
            // The reply to the upload may lack the checksum where HEAD shows it.
            let Some(shown) = self.head().await? else {
                let stored = "no such object".to_owned();
                return Err(Error::Mismatch {
                    key: self.key.clone(),
                    sent: encode_crc64(whole.crc64),
                    stored,
                });
            };
            info = ObjectInfo { version_id: info.version_id, ..shown };
            proof = info.proof_of(whole, kind);
        }
        if proof.is_none() {
            self.explain_missing_proof(whole, &info).await?;
        }
        Ok(Stored {
            stat,
            crc64nvme: encode_crc64(whole.crc64),
            checksum: proof.and_then(|proof| proof.stored_checksum(kind, whole.crc64)),
            etag: info.etag,
            version_id: info.version_id,
            sent,
        })
    }

    /// Decides what it means that the server showed no proof: an error, or, where no checksum was asked for, a
    /// reason to read the object back.
    async fn explain_missing_proof(&self, whole: &Whole, info: &ObjectInfo) -> Result<(), Error> {
        let kind = self.kind();
        let mismatch = |sent: String, stored: String| Error::Mismatch { key: self.key.clone(), sent, stored };
        if let Proof::Checksum(sent, _) = &whole.proof {
            return Err(match info.checksum(kind) {
                None => Error::NotEchoed { key: self.key.clone(), checksum: kind.as_str() },
                Some(_) if info.size != whole.len => {
                    mismatch(format!("{} bytes", whole.len), format!("{} bytes", info.size))
                }
                Some(stored) => mismatch(sent.clone(), stored.to_owned()),
            });
        }
        let reading = self.shared.bucket.read_back(&self.key, self.shared.pace.clone());
        match self.gate().unless_cancelled(reading).await? {
            Ok(read) if read.crc64nvme == encode_crc64(whole.crc64) && read.size == whole.len => Ok(()),
            Ok(read) => Err(mismatch(encode_crc64(whole.crc64), read.crc64nvme)),
            Err(error) if error.service().is_some_and(ServiceError::is_denied) => {
                self.note_unproved().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
