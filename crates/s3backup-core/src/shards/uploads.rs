//! Large files that an attempt does not come to the end of: noted in the bucket, so that the next one sends only the parts
//! that are missing, wherever it is.

use std::sync::Arc;

use s3backup_model::{FileStat, Key, RunId, ShardPlan, ShardUpload};
use s3backup_transfer::{Bucket, ChecksumKind, JournalError, OpenUpload, UploadJournal};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::upload_name;
use crate::Error;
use crate::backup::Job;

/// The engine's notes of a worker. What a worker leaves open for good, whoever commits the run finds by a listing.
pub(crate) struct Notes {
    pub(crate) job: Arc<Job>,
    pub(crate) bucket: Bucket,
    pub(crate) run: RunId,
    pub(crate) cancel: CancellationToken,
    /// What the requests run on: the engine asks on threads that may block.
    pub(crate) runtime: Handle,
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notes").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Notes {
    /// Waits for a request; `None` when the worker is interrupted meanwhile, because no thread may outlive it. The engine sees that
    /// by itself.
    fn wait<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, JournalError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Ok(None),
                done = request => Ok(Some(done?)),
            }
        })
    }

    async fn store(&self, key: &Key, upload: &OpenUpload) -> Result<(), Error> {
        let note = ShardUpload {
            schema: ShardPlan::SCHEMA,
            min_reader: ShardPlan::SCHEMA,
            key: key.clone(),
            upload_id: upload.upload_id.clone(),
            part_size: upload.part_size,
            checksum: upload.checksum.as_str().to_owned(),
            size: upload.stat.size,
            mtime_ns: upload.stat.mtime_ns,
            ctime_ns: upload.stat.ctime_ns,
            mode: upload.stat.mode,
            inode: upload.stat.inode,
            device: upload.stat.device,
        };
        let bytes = serde_json::to_vec(&note).map_err(|error| Error::NotStored(error.to_string()))?;
        let stored = self.job.shelf(&self.bucket).store(&upload_name(&self.run, key), bytes.into()).await;
        stored.map(drop).map_err(Error::NotStored)
    }

    async fn read(&self, key: &Key) -> Result<Option<ShardUpload>, Error> {
        match super::read::<ShardUpload>(&self.job, &self.bucket, &upload_name(&self.run, key)).await {
            Ok(note) => Ok(note.filter(|note| note.key == *key)),
            // Without the note the file is sent from its beginning.
            Err(Error::Manifest { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl UploadJournal for Notes {
    fn intend(&self, _key: &Key) -> Result<(), JournalError> {
        Ok(())
    }

    fn begun(&self, key: &Key, upload: &OpenUpload) -> Result<(), JournalError> {
        self.wait(self.store(key, upload)).map(drop)
    }

    fn find(&self, key: &Key) -> Result<Option<OpenUpload>, JournalError> {
        let Some(note) = self.wait(self.read(key))?.flatten() else { return Ok(None) };
        let Some(checksum) = ChecksumKind::named(&note.checksum) else { return Ok(None) };
        let stat = FileStat {
            size: note.size,
            mtime_ns: note.mtime_ns,
            ctime_ns: note.ctime_ns,
            mode: note.mode,
            inode: note.inode,
            device: note.device,
        };
        Ok(Some(OpenUpload { upload_id: note.upload_id, part_size: note.part_size, stat, checksum }))
    }

    /// The note stays: an upload that has ended is seen to be gone, and a worker need not be allowed to delete.
    fn ended(&self, _key: &Key) -> Result<(), JournalError> {
        Ok(())
    }
}
