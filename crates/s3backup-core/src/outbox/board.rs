//! The objects `alerts/<kind>/<due>.json` of the bucket, by which a run, the daemon and whoever monitors from another machine
//! say a thing once between them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use s3backup_catalog::{Catalog, Error as CatalogError};
use s3backup_model::{Key, Trouble, TroubleTold};
use s3backup_slack::MessageRef;
use s3backup_transfer::{Bucket, WriteCondition};
use slog::debug;
use tokio::sync::OnceCell;

use crate::backup::Job;
use crate::ending;

/// A bucket that takes longer than this does not hold an alert back.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The largest object that is read.
const MAX_BYTES: u64 = 64 << 10;

/// The setting with the name under which the processes of one catalog tell.
const NAME: &str = "outbox_name";

/// Who may tell a trouble now.
pub(super) enum Claim {
    /// Nobody had told it: now it is ours to tell.
    Ours,
    /// Somebody told it; with the message, where it was told by a bot.
    Told(Option<MessageRef>),
    /// Somebody else set out to tell it, and has not said that he did.
    Others,
    /// The bucket did not say.
    Unknown,
}

/// The name under which the processes of this catalog tell, made from `seed` the first time.
pub(super) fn own_name(catalog: &Catalog, seed: &str) -> Result<String, CatalogError> {
    if let Some(name) = catalog.setting(NAME)? {
        return Ok(name);
    }
    catalog.set_setting(NAME, seed)?;
    Ok(seed.to_owned())
}

/// What is told in the bucket.
pub(super) struct Board {
    job: Arc<Job>,
    name: String,
    bucket: OnceCell<Option<Bucket>>,
}

impl Board {
    pub(super) fn new(job: Arc<Job>, name: String) -> Self {
        Self { job, name, bucket: OnceCell::new() }
    }

    /// Takes the telling of a trouble, if nobody has.
    pub(super) async fn claim(&self, trouble: &Trouble, now: DateTime<Utc>) -> Claim {
        let claiming = async {
            let (bucket, key) = self.place(trouble).await?;
            let note = self.note(trouble, now);
            if self.write(bucket, &key, &note, WriteCondition::New).await? {
                return Some(Claim::Ours);
            }
            let told = read(bucket, &key).await?;
            Some(match told {
                TroubleTold { told_at: Some(_), channel, ts, .. } => {
                    Claim::Told(channel.zip(ts).map(|(channel, ts)| MessageRef { channel, ts }))
                }
                TroubleTold { by, .. } if by == self.name => Claim::Ours,
                _ => Claim::Others,
            })
        };
        let claimed = tokio::time::timeout(TIME_LIMIT, claiming).await;
        claimed.ok().flatten().unwrap_or_else(|| {
            debug!(self.job.logger(), "the bucket does not say who tells of a trouble"; "trouble" => %trouble);
            Claim::Unknown
        })
    }

    /// Says that a trouble was told. If that does not work, somebody else may tell it once more.
    pub(super) async fn told(
        &self,
        trouble: &Trouble,
        message: Option<&(String, String)>,
        now: DateTime<Utc>,
    ) {
        let telling = async {
            let (bucket, key) = self.place(trouble).await?;
            let mut note = self.note(trouble, now);
            note.told_at = Some(note.at);
            (note.channel, note.ts) = message.cloned().unzip();
            self.write(bucket, &key, &note, WriteCondition::Always).await
        };
        if tokio::time::timeout(TIME_LIMIT, telling).await.ok().flatten().is_none() {
            debug!(self.job.logger(), "the bucket does not say that a trouble was told"; "trouble" => %trouble);
        }
    }

    /// The message that somebody told a trouble with.
    pub(super) async fn read(&self, trouble: &Trouble) -> Option<MessageRef> {
        let reading = async {
            let (bucket, key) = self.place(trouble).await?;
            let told = read(bucket, &key).await?;
            Some(MessageRef { channel: told.channel?, ts: told.ts? })
        };
        tokio::time::timeout(TIME_LIMIT, reading).await.ok().flatten()
    }

    async fn place(&self, trouble: &Trouble) -> Option<(&Bucket, Key)> {
        let key = self.job.naming.control_key(&trouble.object()).ok()?;
        let connect = || async { Box::pin(self.job.connect()).await.ok() };
        Some((self.bucket.get_or_init(connect).await.as_ref()?, key))
    }

    fn note(&self, trouble: &Trouble, now: DateTime<Utc>) -> TroubleTold {
        TroubleTold {
            schema: TroubleTold::SCHEMA,
            trouble: trouble.to_string(),
            by: self.name.clone(),
            at: ending::local(&self.job, now),
            told_at: None,
            channel: None,
            ts: None,
        }
    }

    /// Whether it was written; `None` when that did not work.
    async fn write(
        &self,
        bucket: &Bucket,
        key: &Key,
        note: &TroubleTold,
        condition: WriteCondition,
    ) -> Option<bool> {
        let bytes = serde_json::to_vec(note).ok()?.into();
        let (checksum, sse) = (self.job.transfer.checksum, self.job.objects.sse.as_ref());
        match Box::pin(bucket.write_if(key, bytes, checksum, sse, condition)).await {
            Ok(_) => Some(true),
            Err(error) if error.is_precondition() => Some(false),
            Err(_) => None,
        }
    }
}

async fn read(bucket: &Bucket, key: &Key) -> Option<TroubleTold> {
    let bytes = Box::pin(bucket.read(key, MAX_BYTES)).await.ok()??;
    serde_json::from_slice(&bytes).ok()
}
