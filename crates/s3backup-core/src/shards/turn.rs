//! Who tells people of a run that many workers shared: whoever ends it first, on whichever machine, and nobody after him.
//!
//! A mark in the bucket says that somebody sets out to tell, and then that he has. It stays, so that another commit of the same
//! run tells nobody. Of who was killed between the two nobody knows whether he told: he is waited for, and then it is told again.

use std::time::Duration;

use s3backup_model::{Key, TroubleTold};
use s3backup_transfer::{Bucket, Error as TransferError, WriteCondition};
use slog::debug;

use crate::Error;
use crate::backup::Job;
use crate::ending::local;
use crate::state::control_key;

/// How long whoever set out to tell is waited for, in looks and the time between them: longer than telling may take.
const LOOKS: u32 = 120;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// The largest mark that is read.
const MAX_BYTES: u64 = 64 << 10;

/// Whom nobody is.
const NOBODY: &str = "";

/// The mark of one thing that is told once.
pub(super) struct Turn<'a> {
    job: &'a Job,
    bucket: &'a Bucket,
    key: Key,
    /// What is told.
    what: String,
    /// Who tells it here.
    by: String,
}

impl<'a> Turn<'a> {
    /// `what` is told once, by `by` if it comes to that.
    pub(super) fn new(job: &'a Job, bucket: &'a Bucket, what: String, by: String) -> Result<Self, Error> {
        let key = control_key(job, &format!("alerts/sharded/{what}.json"))?;
        Ok(Self { job, bucket, key, what, by })
    }

    /// Whether it is to be told here. Waits for somebody else who set out to. Where the bucket does not say, it is: better twice than
    /// never.
    pub(super) async fn take(&self) -> bool {
        for look in 0..=LOOKS {
            let condition = match Box::pin(self.bucket.read_tagged(&self.key, MAX_BYTES)).await {
                Ok(None) => WriteCondition::New,
                Ok(Some((bytes, etag))) => match serde_json::from_slice::<TroubleTold>(&bytes) {
                    Ok(told) if told.told_at.is_some() => return false,
                    Ok(told) if told.by != self.by && told.by != NOBODY && look < LOOKS => {
                        tokio::time::sleep(BETWEEN_LOOKS).await;
                        continue;
                    }
                    _ => WriteCondition::Replaces(etag),
                },
                Err(_) => return true,
            };
            match self.write(&self.by, false, condition).await {
                // Somebody was faster.
                Err(error) if error.is_precondition() => {}
                Err(error) => {
                    self.complain(&error);
                    return true;
                }
                Ok(()) => return true,
            }
        }
        true
    }

    /// Says that it was told; or, where that was not possible, that the next who comes need not wait.
    pub(super) async fn end(&self, is_told: bool) {
        let by = if is_told { &self.by } else { NOBODY };
        if let Err(error) = self.write(by, is_told, WriteCondition::Always).await {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &TransferError) {
        debug!(self.job.logger(), "the bucket does not say who tells of a run"; "what" => &self.what, "why" => error.to_line());
    }

    async fn write(&self, by: &str, is_told: bool, condition: WriteCondition) -> Result<(), TransferError> {
        let at = local(self.job, (self.job.clock)());
        let told = TroubleTold {
            schema: TroubleTold::SCHEMA,
            trouble: self.what.clone(),
            by: by.to_owned(),
            at,
            told_at: is_told.then_some(at),
            channel: None,
            ts: None,
        };
        // Plain values always make JSON.
        let bytes = serde_json::to_vec(&told).unwrap_or_default().into();
        let (checksum, sse) = (self.job.transfer.checksum, self.job.objects.sse.as_ref());
        let writing = Box::pin(self.bucket.write_if(&self.key, bytes, checksum, sse, condition));
        writing.await.map(|_| ())
    }
}
