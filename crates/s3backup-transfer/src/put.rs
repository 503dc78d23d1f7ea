//! Small files: one request each.

use std::path::Path;
use std::time::Duration;

use s3backup_model::FileStat;

use crate::body::Payload;
use crate::bucket::Gate;
use crate::checksum::{Sums, Whole};
use crate::control::WriteCondition;
use crate::engine::{FileTransfer, Stored};
use crate::object::ObjectInfo;
use crate::read::{Read, WholeFile};
use crate::slots::Slot;
use crate::wire::Given;
use crate::{Error, ObjectSettings};

/// Metadata names on our objects, without `x-amz-meta-`.
const OWNER: &str = "s3backup-owner";
const FILE: &str = "s3backup-file";

/// How often an upload is decided anew because the object changed under it.
pub(crate) const MAX_DECISIONS: u32 = 3;

impl FileTransfer {
    /// Puts a file of up to one part that was read into memory. `size` is corrected when it turned out to be another.
    pub(crate) async fn send_whole(
        &self,
        path: &Path,
        size: &mut u64,
        read: WholeFile,
        slot: Option<Slot<'_>>,
    ) -> Result<Read<Stored>, Error> {
        let (bytes, sums, stat) = match read {
            WholeFile::Read(bytes, sums, stat) => (bytes, sums, stat),
            WholeFile::Again(now) => {
                *size = now;
                return Ok(Read::Torn);
            }
        };
        if let Some(stored) = self.compare_with_known(path, stat, sums.crc64).await? {
            return Ok(Read::Steady(stored));
        }
        let stored = self.put(Payload::Whole(bytes), &sums, stat, slot).await?;
        if stored.sent {
            self.sent(stat.size).await;
        }
        Ok(Read::Steady(stored))
    }

    /// Puts one object, deciding by what is there whether to create, to replace, or to leave it.
    ///
    /// A larger file has its slot already, for the first of its requests.
    async fn put(
        &self,
        payload: Payload,
        sums: &Sums,
        stat: FileStat,
        mut slot: Option<Slot<'_>>,
    ) -> Result<Stored, Error> {
        let whole = Whole::single(sums);
        let mut condition = self.known_condition().unwrap_or_else(|| self.fresh_condition());
        let mut was_refused = false;
        for _ in 0..MAX_DECISIONS {
            if condition == WriteCondition::Always
                && let Decision::Have { info, sent } = self.look(&whole).await?
            {
                return self.proved(stat, &whole, info, sent).await;
            }
            let mut ambiguous = false;
            let gate = match slot.take() {
                Some(slot) => self.part_gate(slot, sums.len),
                None => self.small_gate(sums.len),
            };
            let put = self.put_repeatedly(gate, &payload, sums, stat, &condition, &mut ambiguous).await;
            let error = match put {
                Ok(info) => {
                    if was_refused {
                        self.give_up_conditions().await;
                    }
                    return self.proved(stat, &whole, info, true).await;
                }
                Err(error) => error,
            };
            if condition != WriteCondition::Always
                && error.service().is_some_and(crate::ServiceError::is_not_implemented)
            {
                // It may be another header that the server does not know: the same without a condition will show.
                was_refused = true;
                condition = WriteCondition::Always;
            } else if error.is_precondition() || (condition.if_match().is_some() && error.is_not_found()) {
                // S3 answers 404, not 412, when what was to be replaced is gone.
                match self.decide(&whole, ambiguous).await? {
                    Decision::Have { info, sent } => return self.proved(stat, &whole, info, sent).await,
                    Decision::Put(next) => condition = next,
                }
            } else {
                return Err(error);
            }
        }
        Err(self.keeps_changing())
    }

    async fn put_repeatedly(
        &self,
        gate: Gate<'_>,
        payload: &Payload,
        sums: &Sums,
        stat: FileStat,
        condition: &WriteCondition,
        ambiguous: &mut bool,
    ) -> Result<ObjectInfo, Error> {
        let bucket = &self.shared.bucket;
        let settings = &self.shared.objects;
        let metadata = &*metadata_of(stat, settings, &self.file_id);
        self.repeat(gate, "PutObject", Duration::ZERO, |attempt| {
            *ambiguous = attempt.ambiguous;
            async move {
                self.note_attempt(attempt.number, payload.len());
                let given = Given { settings, metadata, condition };
                let watch = self.watch(attempt.progress);
                bucket.put_once(&self.key, payload, watch, self.kind(), sums, given).await
            }
        })
        .await
    }

    /// Of the first write to a key of which nothing is known.
    pub(crate) fn fresh_condition(&self) -> WriteCondition {
        if self.is_conditional() { WriteCondition::New } else { WriteCondition::Always }
    }

    /// What to do about an object that is there already, or is another than was thought.
    ///
    /// `ambiguous` says that an earlier try of the same request may have been carried out: then an object with our
    /// bytes is our own. Of an object in doubt nothing else is believed.
    pub(crate) async fn decide(&self, whole: &Whole, ambiguous: bool) -> Result<Decision, Error> {
        let Some(info) = self.head().await? else {
            return Ok(Decision::Put(WriteCondition::New));
        };
        if (ambiguous || !self.is_doubtful()) && info.proof_of(whole, self.kind()).is_some() {
            return Ok(Decision::Have { info, sent: ambiguous });
        }
        self.may_replace(&info).map(Decision::Put)
    }

    /// What a condition would have found out: whether something is there that must not be overwritten. Between this look
    /// and the write another program can still come; two files of this run cannot.
    pub(crate) async fn look(&self, whole: &Whole) -> Result<Decision, Error> {
        match self.decide(whole, false).await {
            // A host that may only write cannot look.
            Err(error) if error.service().is_some_and(crate::ServiceError::is_denied) => {
                Ok(Decision::Put(WriteCondition::Always))
            }
            decided => decided,
        }
    }

    /// On what condition the object may be replaced: it must be the one that is known, whoever wrote that, or one of
    /// this job's.
    pub(crate) fn may_replace(&self, info: &ObjectInfo) -> Result<WriteCondition, Error> {
        if self.known.as_ref().is_some_and(|known| !known.etag.is_empty() && known.etag == info.etag) {
            return Ok(WriteCondition::Replaces(info.etag.clone()));
        }
        let owner = &self.shared.objects.owner;
        match (info.metadata.get(OWNER), info.metadata.get(FILE)) {
            (Some(writer), Some(file)) if writer == owner && *file != self.file_id => Err(self
                .conflict("another file of this job has the same key (two sources or two names meet there)")),
            (Some(writer), _) if writer == owner => Ok(WriteCondition::Replaces(info.etag.clone())),
            (Some(writer), _) => Err(self.conflict(&format!("the job {writer} wrote it"))),
            (None, _) => Err(self.conflict("another program wrote it")),
        }
    }

    pub(crate) fn keeps_changing(&self) -> Error {
        self.conflict("it keeps changing while this job tries to replace it")
    }

    pub(crate) fn conflict(&self, writer: &str) -> Error {
        Error::Conflict { key: self.key.clone(), writer: writer.to_owned() }
    }
}

/// What to do with a key.
#[expect(clippy::large_enum_variant, reason = "there is one a file, and only for a moment")]
pub(crate) enum Decision {
    /// The bucket has these bytes.
    Have {
        /// As HEAD shows it.
        info: ObjectInfo,
        /// Whether this run sent them.
        sent: bool,
    },
    /// Write on this condition.
    Put(WriteCondition),
}

/// What is stored beside the bytes of a file, as header fields: its times and mode in the form that rclone uses, and who
/// wrote it.
pub(crate) fn metadata_of(
    stat: FileStat,
    settings: &ObjectSettings,
    file_id: &str,
) -> Vec<(&'static str, String)> {
    let mut metadata = vec![
        ("x-amz-meta-mtime", decimal_seconds(stat.mtime_ns)),
        ("x-amz-meta-mode", format!("{:o}", stat.mode)),
    ];
    if !settings.owner.is_empty() {
        metadata.push(("x-amz-meta-s3backup-owner", settings.owner.clone()));
        metadata.push(("x-amz-meta-s3backup-run", settings.run.clone()));
        metadata.push(("x-amz-meta-s3backup-file", file_id.to_owned()));
    }
    metadata
}

fn decimal_seconds(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal_seconds() {
        assert_eq!(decimal_seconds(1_795_431_600_000_000_001), "1795431600.000000001");
        assert_eq!(decimal_seconds(-1), "-0.000000001");
        assert_eq!(decimal_seconds(0), "0.000000000");
    }
}
