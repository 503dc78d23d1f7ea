//! Multipart uploads that outlive a run: noted before they begin, resumed by the next run, or given back.

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_catalog::{BegunUpload, UploadRow};
use s3backup_model::{Key, RunId};
use s3backup_transfer::{Bucket, ChecksumKind, JournalError, OpenUpload, UploadJournal};

use crate::backup::Clock;
use crate::memory::Memory;
use crate::run::Run;

/// How far the clocks of this machine and of the server may be apart when it is told whether an upload is one of ours.
/// S3 refuses requests that are more than 15 minutes off.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(15);

/// Notes of uploads that are read at a time.
const PAGE: usize = 256;

/// The engine's notes, kept in the catalog.
#[derive(Debug)]
pub(crate) struct Journal {
    memory: Memory,
    run: RunId,
    clock: Notary,
}

/// The clock, which has no `Debug` of its own.
struct Notary(Clock);

impl std::fmt::Debug for Notary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("clock")
    }
}

impl Journal {
    pub(crate) fn new(memory: Memory, run: RunId, clock: Clock) -> Self {
        Self { memory, run, clock: Notary(clock) }
    }
}

impl UploadJournal for Journal {
    fn intend(&self, key: &Key) -> Result<(), JournalError> {
        let now: DateTime<Utc> = (self.clock.0)();
        Ok(self.memory.here().intend_upload(self.memory.destination, key, &self.run, now)?)
    }

    fn begun(&self, key: &Key, upload: &OpenUpload) -> Result<(), JournalError> {
        let row = BegunUpload {
            upload_id: upload.upload_id.clone(),
            part_size: upload.part_size,
            stat: upload.stat,
            checksum: upload.checksum.as_str().to_owned(),
        };
        Ok(self.memory.here().upload_began(self.memory.destination, key, &row)?)
    }

    fn find(&self, key: &Key) -> Result<Option<OpenUpload>, JournalError> {
        let mut catalog = self.memory.here();
        let Some(row) = catalog.open_upload(self.memory.destination, key)? else { return Ok(None) };
        let Some(begun) = row.begun else { return Ok(None) };
        let Some(checksum) = ChecksumKind::named(&begun.checksum) else { return Ok(None) };
        catalog.touch_upload(self.memory.destination, key, &self.run)?;
        let (upload_id, part_size, stat) = (begun.upload_id, begun.part_size, begun.stat);
        Ok(Some(OpenUpload { upload_id, part_size, stat, checksum }))
    }

    fn ended(&self, key: &Key) -> Result<(), JournalError> {
        Ok(self.memory.here().upload_ended(self.memory.destination, key)?)
    }
}

impl Run<'_> {
    /// Before anything is sent: uploads of which only the intent is known may have begun all the same, when the reply was
    /// lost. They are looked for under exactly these keys and given back.
    pub(crate) async fn give_back_lost_uploads(&mut self, bucket: &Bucket) {
        self.give_back(bucket, |row, _| row.begun.is_none()).await;
    }

    /// After everything was sent: what an earlier run left and this one did not go on with, nobody will resume.
    pub(crate) async fn give_back_left_uploads(&mut self, bucket: &Bucket) {
        let walked_all = self.record.sources().iter().all(|source| source.walked);
        if walked_all && !self.record.is_hopeless() && !self.cancel.is_cancelled() {
            self.give_back(bucket, |row, run| row.run != *run).await;
        }
    }

    async fn give_back(&mut self, bucket: &Bucket, is_left: fn(&UploadRow, &RunId) -> bool) {
        let destination = self.memory.destination;
        let mut after: Option<Key> = None;
        loop {
            let from = after.clone();
            let rows =
                self.memory.with(move |catalog| catalog.open_uploads(destination, from.as_ref(), PAGE)).await;
            let rows = match rows {
                Ok(rows) if rows.is_empty() => return,
                Ok(rows) => rows,
                Err(error) => return self.catalog_broke(&error).await,
            };
            after = rows.last().map(|row| row.key.clone());
            for row in rows {
                if self.cancel.is_cancelled() {
                    return;
                }
                if is_left(&row, &self.id) {
                    self.give_back_one(bucket, &row).await;
                }
            }
        }
    }

    async fn give_back_one(&mut self, bucket: &Bucket, row: &UploadRow) {
        let given_back = match &row.begun {
            Some(begun) => bucket.abort_upload(&row.key, &begun.upload_id).await,
            None => abort_unknown(bucket, row).await,
        };
        if let Err(error) = given_back {
            let message = format!(
                "an unfinished multipart upload of {} could not be given back and is tried again by the next run: {}",
                row.key,
                error.to_line()
            );
            return self.record.warn(self.events, message).await;
        }
        let (destination, key) = (self.memory.destination, row.key.clone());
        let ended: Result<(), _> =
            self.memory.with(move |catalog| catalog.upload_ended(destination, &key)).await;
        if let Err(error) = ended {
            self.catalog_broke(&error).await;
        }
    }
}

/// Gives back the uploads of one key that began when ours may have: others of the key are somebody else's.
async fn abort_unknown(bucket: &Bucket, row: &UploadRow) -> Result<(), s3backup_transfer::Error> {
    let earliest = row.intended_at - CLOCK_SKEW;
    for upload in bucket.open_uploads(&row.key).await? {
        if upload.initiated.is_none_or(|at| at >= earliest) {
            bucket.abort_upload(&row.key, &upload.upload_id).await?;
        }
    }
    Ok(())
}
