//! The small objects that a monitor leaves in the bucket: that it has looked, that a machine is retired, that a trouble is
//! being told.

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use s3backup_model::{Key, Latest, Name, RunId, Silence, TroubleTold};
use s3backup_transfer::{Bucket, Error as TransferError, WriteCondition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Finding, Monitor, MonitorReport, judge};
use crate::backup::Backup;
use crate::latest;
use crate::{Error, state};

/// Version of these formats.
const SCHEMA: u32 = 1;

/// None of them has more.
const MAX_BYTES: u64 = 64 << 10;

/// Whoever claimed a trouble and has not told it for so long was stopped: another may.
const CLAIM_LIMIT: TimeDelta = TimeDelta::minutes(10);

/// Below `PREFIX/.s3backup/`: when a monitor looked last.
const WATCH: &str = "monitor.json";

#[derive(Serialize, Deserialize)]
struct Watch {
    schema: u32,
    min_reader: u32,
    version: String,
    /// By the server's clock.
    at: DateTime<Utc>,
    by: Name,
    /// How many jobs and machines it saw.
    watched: usize,
    /// How many things were wrong.
    findings: usize,
}

/// Beside `latest.json`: the machine is gone, and nobody need watch for it.
#[derive(Serialize, Deserialize)]
pub(super) struct Retired {
    schema: u32,
    min_reader: u32,
    at: DateTime<Utc>,
    by: Name,
    /// The newest run by then. A newer one means that the machine is back.
    run_id: Option<RunId>,
}

impl Retired {
    pub(super) const NAME: &'static str = "retired.json";

    /// What is there. One that cannot be read retires nobody.
    pub(super) async fn read(bucket: &Bucket, own: &str) -> Result<Option<Self>, TransferError> {
        let Ok(key) = Key::new(format!("{own}{}", Self::NAME)) else { return Ok(None) };
        Ok(read(bucket, &key).await?.map(|(retired, _)| retired))
    }

    /// Whether no run was known by then.
    pub(super) fn is_blind(&self) -> bool {
        self.run_id.is_none()
    }

    pub(super) fn holds_for(&self, latest: &Latest) -> bool {
        self.run_id.as_ref().is_some_and(|run| latest.run_id <= *run)
    }
}

/// Until when nobody is to be told of a machine, if somebody said so beside its `latest.json`. What cannot be read silences
/// nobody.
pub(super) async fn silent_until(
    bucket: &Bucket,
    own: &str,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<FixedOffset>>, TransferError> {
    let Ok(key) = Key::new(format!("{own}{}", Silence::OBJECT)) else { return Ok(None) };
    let silence = read::<Silence>(bucket, &key).await?.map(|(silence, _)| silence);
    Ok(silence.filter(|silence| silence.holds(now)).map(|silence| silence.until))
}

/// Whose it is to tell a trouble.
pub(super) enum Claimed {
    /// This one's, with what it takes to say that it was told.
    Ours(Mark),
    /// This one's, as the bucket does not let it say so.
    Unmarked(String),
    /// Another's, who has told it or is about to.
    Others,
}

/// What it takes to say that a trouble was told.
pub(super) struct Mark {
    key: Key,
    claim: TroubleTold,
    condition: WriteCondition,
}

impl Monitor {
    /// Notes that a machine is gone for good: it is not judged any more, unless it runs again.
    ///
    /// # Errors
    /// [`Error::NoState`] when nothing in the bucket tells of it, [`Error::Transfer`] when the bucket cannot be read or
    /// written.
    pub async fn retire(&self, job: &Name, host: &Name) -> Result<(), Error> {
        let bucket = Box::pin(self.bucket()).await.map_err(Error::Transfer)?;
        let own = format!("{}{job}/{host}/", self.folder);
        let listed = Box::pin(bucket.list_folder(&own, None)).await.map_err(Error::Transfer)?;
        if listed.folders.is_empty() && listed.objects.is_empty() {
            return Err(Error::NoState { place: format!("{} of {job}/{host}", self.place) });
        }
        let key = self.key(&format!("{job}/{host}/{}", latest::NAME))?;
        let bytes = Box::pin(bucket.read(&key, latest::MAX_BYTES)).await.map_err(Error::Transfer)?;
        let said = bytes.and_then(|bytes| latest::parse(&bytes).ok());
        let retired = Retired {
            schema: SCHEMA,
            min_reader: SCHEMA,
            at: bucket.server_clock().unwrap_or_else(|| (self.clock)()),
            by: self.host.clone(),
            run_id: said.map(|latest| latest.run_id),
        };
        let key = self.key(&format!("{job}/{host}/{}", Retired::NAME))?;
        self.write(&bucket, &key, &retired, WriteCondition::Always).await.map_err(Error::Transfer).map(|_| ())
    }

    /// Leaves word that it has looked, so that others notice when it does not any more.
    pub(super) async fn leave_word(&self, report: &mut MonitorReport, bucket: &Bucket) {
        let findings = report.watched.iter().map(|watched| watched.findings.len()).sum::<usize>();
        let watch = Watch {
            schema: SCHEMA,
            min_reader: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: report.at,
            by: self.host.clone(),
            watched: report.watched.len(),
            findings: findings + report.findings.len(),
        };
        let Ok(key) = self.key(WATCH) else { return };
        if let Err(error) = self.write(bucket, &key, &watch, WriteCondition::Always).await {
            report.warnings.push(format!(
                "{key} could not be written, so nobody notices when this monitor stops: {}",
                error.to_line()
            ));
        }
    }

    /// Asks the bucket who tells a trouble.
    pub(super) async fn claim(&self, bucket: &Bucket, job: &Name, host: &Name, finding: &Finding) -> Claimed {
        let (kind, due) = (finding.kind.trouble(), judge::stamp(finding.due));
        let name = format!("{job}/{host}/alerts/{kind}/{due}.json");
        let Ok(key) = self.key(&name) else { return Claimed::Unmarked(name) };
        let claim = TroubleTold {
            schema: TroubleTold::SCHEMA,
            trouble: format!("{job}/{host}/{kind}/{due}"),
            by: format!("monitor on {}", self.host),
            at: self.now(bucket).fixed_offset(),
            told_at: None,
            channel: None,
            ts: None,
        };
        let unmarked = |error: &TransferError| Claimed::Unmarked(error.to_line());
        match self.write(bucket, &key, &claim, WriteCondition::New).await {
            Ok(condition) => return Claimed::Ours(Mark { key, claim, condition }),
            Err(error) if error.is_precondition() => {}
            Err(error) => return unmarked(&error),
        }
        let (there, etag) = match read::<TroubleTold>(bucket, &key).await {
            Ok(Some(read)) => read,
            // What cannot be understood was written by somebody who knows more.
            Ok(None) => return Claimed::Others,
            Err(error) => return unmarked(&error),
        };
        let is_left = there.by == claim.by || claim.at - there.at > CLAIM_LIMIT;
        if there.told_at.is_some() || !is_left {
            return Claimed::Others;
        }
        match self.write(bucket, &key, &claim, WriteCondition::Replaces(etag)).await {
            Ok(condition) => Claimed::Ours(Mark { key, claim, condition }),
            Err(error) if error.is_precondition() => Claimed::Others,
            Err(error) => unmarked(&error),
        }
    }

    /// Says that a claimed trouble was told. Where that cannot be written, another may tell it once more.
    pub(super) async fn mark_told(&self, bucket: &Bucket, mark: Mark) {
        let Mark { key, mut claim, condition } = mark;
        claim.told_at = Some(self.now(bucket).fixed_offset());
        let _ = self.write(bucket, &key, &claim, condition).await;
    }

    fn now(&self, bucket: &Bucket) -> DateTime<Utc> {
        bucket.server_clock().unwrap_or_else(|| (self.clock)())
    }

    fn key(&self, name: &str) -> Result<Key, Error> {
        let key = Key::new(format!("{}{name}", self.folder));
        key.map_err(|error| Error::invalid("[destination] prefix", error.to_string()))
    }

    /// Writes, and gives the condition on which these bytes are replaced.
    async fn write(
        &self,
        bucket: &Bucket,
        key: &Key,
        mark: &impl Serialize,
        condition: WriteCondition,
    ) -> Result<WriteCondition, TransferError> {
        let bytes = serde_json::to_vec(mark).map_err(|error| TransferError::Defect(error.to_string()))?;
        let writing = bucket.write_if(key, bytes.into(), self.checksum, self.sse.as_ref(), condition);
        let info = Box::pin(writing).await?;
        Ok(if info.etag.is_empty() { WriteCondition::Always } else { WriteCondition::Replaces(info.etag) })
    }
}

impl Backup {
    /// When a monitor looked last at what backs up below this prefix, by the server's clock; `None` when none ever has. A
    /// monitor that has stopped is noticed by nobody else.
    ///
    /// # Errors
    /// [`Error::Transfer`] when the bucket cannot be asked, [`Error::Manifest`] when what is there cannot be understood.
    pub async fn last_monitored(&self) -> Result<Option<DateTime<Utc>>, Error> {
        let job = &self.job;
        let bucket = Box::pin(job.connect()).await.map_err(Error::Transfer)?;
        let key = state::shared_key(job, WATCH)?;
        let bytes = Box::pin(bucket.read(&key, MAX_BYTES)).await.map_err(Error::Transfer)?;
        let watch = bytes.map(|bytes| serde_json::from_slice::<Watch>(&bytes)).transpose();
        match watch {
            Ok(watch) => Ok(watch.map(|watch| watch.at)),
            Err(error) => Err(Error::Manifest { key, why: error.to_string() }),
        }
    }
}

/// Reads a mark with its ETag; `None` when it is not there or cannot be understood.
async fn read<T: DeserializeOwned>(bucket: &Bucket, key: &Key) -> Result<Option<(T, String)>, TransferError> {
    let read = Box::pin(bucket.read_tagged(key, MAX_BYTES)).await?;
    Ok(read.and_then(|(bytes, etag)| Some((serde_json::from_slice(&bytes).ok()?, etag))))
}
