//! The run report: what `backup run --json` prints and what is stored in the bucket.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use crate::{AlertDelivery, Fact, Key, Name, RunId, Verified};

/// What one run did. Readers ignore fields that they do not know; a field is never given another meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Version of this format: 1.
    pub schema: u32,
    /// Version of s3backup that made the report.
    pub version: String,
    /// The run.
    pub run_id: RunId,
    /// The job that was run.
    pub job: Name,
    /// The machine that ran it.
    pub host: Name,
    /// Where the files went: `s3://bucket/prefix`.
    pub destination: String,
    /// What started the run.
    pub trigger: Trigger,
    /// Which part of a run that many workers share this is about; absent from the report of a whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
    /// Start, in the job's time zone.
    pub started_at: DateTime<FixedOffset>,
    /// End, in the job's time zone.
    pub finished_at: DateTime<FixedOffset>,
    /// Due times that this run stands for.
    #[serde(default)]
    pub due: Vec<DueRef>,
    /// The steps that ran before the upload.
    #[serde(default)]
    pub steps: Vec<StepReport>,
    /// What whoever started the run, and its steps, want said of it; absent when there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// The sources, each with what was selected in it.
    #[serde(default)]
    pub sources: Vec<SourceReport>,
    /// Selected entries: those that should be in the bucket after the run.
    pub found: Tally,
    /// Entries sent and proved to be in the bucket.
    pub uploaded: Uploaded,
    /// Entries that the bucket already had, byte for byte.
    pub unchanged: Tally,
    /// Files that earlier runs backed up and that are no longer in their source. They stay in the bucket.
    #[serde(default)]
    pub gone: Tally,
    /// What was left out, and why.
    pub skipped: Skipped,
    /// Entries that are not in the bucket as they are on disk; the first 1,000.
    pub failed: Vec<Failure>,
    /// How many failed in all.
    pub failed_total: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Parts that an earlier run had sent.
    pub resumed_parts: u64,
    /// The last time that the bucket was compared with the manifests, with what a restore of a sample came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// Wall time in seconds.
    pub duration_s: f64,
    /// Bytes of uploaded files a second, over the whole run.
    pub bytes_per_s: u64,
    /// What a person should know although nothing failed.
    pub warnings: Vec<String>,
    /// Why the run as a whole failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fatal: Option<Fatal>,
    /// The manifest segments that belong to the run.
    #[serde(default)]
    pub manifests: Vec<ManifestRef>,
    /// Alerts that nobody was told when the run ended; absent when there are none, and from the report in the bucket, which is
    /// stored before anybody is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertDelivery>,
}

impl RunReport {
    /// Version of the format that this code writes.
    pub const SCHEMA: u32 = 1;

    /// The most failures that are listed one by one.
    pub const MAX_FAILED: usize = 1000;

    /// The most facts; of more the last ones count.
    pub const MAX_FACTS: usize = 20;

    /// A run that begins later after its due time is said to be late, in whole hours.
    const LATE_H: i64 = 1;

    /// The due times that the run made up for, for a person: those that passed without a run, and its own if it began
    /// an hour or more after it, as in `2026-11-19 20:00 (13 h late)`.
    pub fn made_up_for(&self) -> Vec<String> {
        let told = self.due.iter().filter_map(|due| {
            let hours = (self.started_at - due.at).num_hours();
            let at = due.at.format("%Y-%m-%d %H:%M");
            match due.state {
                DueState::CaughtUp => Some(at.to_string()),
                DueState::Met if hours >= Self::LATE_H => Some(format!("{at} ({hours} h late)")),
                _ => None,
            }
        });
        told.collect()
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every selected entry is proved to be in the bucket.
    Success,
    /// The run ended and some entries are not in the bucket; each is named.
    Partial,
    /// The run could not do its work.
    Failed,
    /// Ended by a signal or a time limit.
    Interrupted,
}

impl Outcome {
    /// The word that is used in reports, logs and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What started a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A person.
    #[default]
    Manual,
    /// The daemon, at a due time.
    Schedule,
    /// The daemon, for due times that passed while it was down.
    CatchUp,
    /// An Airflow task.
    Airflow,
    /// A cron job.
    Cron,
    /// A systemd timer.
    Systemd,
    /// A Kubernetes `CronJob`.
    Kubernetes,
}

impl Trigger {
    /// The word that reports, logs and messages use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::CatchUp => "catch-up",
            Self::Airflow => "airflow",
            Self::Cron => "cron",
            Self::Systemd => "systemd",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// A due time and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueRef {
    /// The due time.
    pub at: DateTime<FixedOffset>,
    /// What became of it so far.
    pub state: DueState,
}

/// What became of a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DueState {
    /// The first successful run that started at or after it started before the next one.
    Met,
    /// It was missed, and a later run made up for it.
    CaughtUp,
    /// No run has made up for it.
    Missed,
    /// The run that stands for it ended `partial`, and none has done better since.
    Partial,
}

impl DueState {
    /// The word that reports and the catalog use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::CaughtUp => "caught_up",
            Self::Missed => "missed",
            Self::Partial => "partial",
        }
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name in the configuration.
    pub name: String,
    /// How it ended.
    pub state: StepState,
    /// Wall time in seconds.
    pub duration_s: f64,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Exit status 0.
    Ok,
    /// Another exit status, or it could not be started.
    Failed,
    /// Killed because it took longer than its `timeout`.
    TimedOut,
    /// Killed because the run was interrupted.
    Interrupted,
    /// Not started, because an earlier step failed.
    NotRun,
}

impl StepState {
    /// The word that reports and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Interrupted => "interrupted",
            Self::NotRun => "not_run",
        }
    }

    /// Whether what the step makes may be missing or old although the run went on.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

/// What was selected in one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The source's directory.
    pub path: String,
    /// Regular files seen below it that its rules do not exclude, whether selected this time or not.
    pub seen: u64,
    /// What was selected.
    pub found: Tally,
    /// Whether all of it was looked at. Not when the run ended before, when the source was not there, or when something
    /// in it could not be read.
    #[serde(default)]
    pub walked: bool,
    /// Whether this run or an earlier one saw files there, as far as is known: a run that finds none passes on what the
    /// reports before it say, so that it is not forgotten when they are old. Unknown, and false, when the run saw no
    /// files and `walked` is false.
    #[serde(default)]
    pub had_files: bool,
}

/// A number of files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

impl Tally {
    /// Counts one more file.
    pub fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    /// Adds what another count has.
    pub fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// What was uploaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Files.
    pub files: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// Bytes of request bodies that were sent for them, those of repeated requests included.
    pub wire_bytes: u64,
}

/// What was left out on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Entries; a directory that is excluded as a whole counts as one.
    pub files: u64,
    /// Bytes, where they are known.
    pub bytes: u64,
    /// The entries by reason.
    pub by_reason: SkippedByReason,
}

impl Skipped {
    /// Counts one more entry.
    pub fn add(&mut self, reason: SkipReason, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        *self.by_reason.of(reason) += 1;
    }

    /// Takes back one entry that was counted.
    pub fn remove(&mut self, reason: SkipReason, bytes: u64) {
        self.files -= 1;
        self.bytes -= bytes;
        *self.by_reason.of(reason) -= 1;
    }

    /// Adds what another count has.
    pub fn merge(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        let (mine, theirs) = (&mut self.by_reason, &other.by_reason);
        mine.excluded += theirs.excluded;
        mine.too_young += theirs.too_young;
        mine.special += theirs.special;
        mine.symlink += theirs.symlink;
        mine.not_selected += theirs.not_selected;
    }
}

/// Skipped entries by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SkippedByReason {
    /// Ruled out by `include` or `exclude`.
    pub excluded: u64,
    /// Younger than `min_age`: perhaps still being written.
    pub too_young: u64,
    /// Not a regular file: socket, FIFO, device.
    pub special: u64,
    /// A symbolic link, with `symlinks = "skip"`.
    pub symlink: u64,
    /// Not of the day that `select` asks for.
    pub not_selected: u64,
}

impl SkippedByReason {
    fn of(&mut self, reason: SkipReason) -> &mut u64 {
        match reason {
            SkipReason::Excluded => &mut self.excluded,
            SkipReason::TooYoung => &mut self.too_young,
            SkipReason::Special => &mut self.special,
            SkipReason::Symlink => &mut self.symlink,
            SkipReason::NotSelected => &mut self.not_selected,
        }
    }
}

/// Why an entry was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// Ruled out by `include` or `exclude`.
    Excluded,
    /// Younger than `min_age`.
    TooYoung,
    /// Socket, FIFO or device.
    Special,
    /// A symbolic link, with `symlinks = "skip"`.
    Symlink,
    /// Not of the selected day.
    NotSelected,
}

impl SkipReason {
    /// The word that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::TooYoung => "too_young",
            Self::Special => "special",
            Self::Symlink => "symlink",
            Self::NotSelected => "not_selected",
        }
    }
}

/// An entry that could not be backed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Local path, escaped as keys are.
    pub path: String,
    /// What kind of failure, for scripts.
    pub kind: FailureKind,
    /// What happened, why, and what to do, for a person.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// Kinds of failure. A reader must expect ones that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The file or directory could not be read.
    Unreadable,
    /// The file was gone between the walk and the read.
    Vanished,
    /// The file changed each time while it was read.
    Changed,
    /// The key would be longer than 1,024 bytes.
    KeyTooLong,
    /// The key would fall among the control data.
    ReservedKey,
    /// A symbolic link leads back to one of its parents.
    SymlinkLoop,
    /// Somebody else's object has the key.
    Conflict,
    /// The server says that this is not allowed.
    Denied,
    /// The server did not prove that it holds these bytes.
    Checksum,
    /// No reply, or the connection broke, in every attempt.
    Network,
    /// The server answered with an error in every attempt, or with one that another attempt cannot mend.
    Server,
    /// A source is not there.
    SourceMissing,
    /// A source that had files has none.
    SourceEmpty,
    /// A step did not succeed.
    Step,
    /// Credentials are missing, wrong or expired.
    Credentials,
    /// The bucket is not there, or not in this region.
    Bucket,
    /// The manifest or the report could not be stored in the bucket.
    Record,
    /// So many known files changed at once that none of them was overwritten.
    Guard,
    /// The catalog on disk cannot be used, or belongs to another machine.
    Catalog,
    /// The object, or the version of it that was asked for, is no longer in the bucket.
    VersionGone,
    /// The object is archived and must be thawed before it can be read.
    NeedsThaw,
    /// A file could not be written where it was to be restored.
    Unwritable,
    /// A run that many workers share was refused, given up or over before all of its shards were done.
    Incomplete,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

impl FailureKind {
    /// The word that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Vanished => "vanished",
            Self::Changed => "changed",
            Self::KeyTooLong => "key_too_long",
            Self::ReservedKey => "reserved_key",
            Self::SymlinkLoop => "symlink_loop",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Checksum => "checksum",
            Self::Network => "network",
            Self::Server => "server",
            Self::SourceMissing => "source_missing",
            Self::SourceEmpty => "source_empty",
            Self::Step => "step",
            Self::Credentials => "credentials",
            Self::Bucket => "bucket",
            Self::Record => "record",
            Self::Guard => "guard",
            Self::Catalog => "catalog",
            Self::VersionGone => "version_gone",
            Self::NeedsThaw => "needs_thaw",
            Self::Unwritable => "unwritable",
            Self::Incomplete => "incomplete",
            Self::Other => "other",
        }
    }
}

/// Why a run as a whole failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fatal {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What happened, why, and what to do now.
    pub message: String,
}

/// A manifest segment of a run, or a segment of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// Its key.
    pub key: Key,
    /// Lines in it, the header not counted.
    pub lines: u64,
    /// CRC64NVME of the stored object, base64.
    pub crc64nvme: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_are_stored() {
        let stored = |value: serde_json::Value| value.as_str().map(ToOwned::to_owned);
        for outcome in [Outcome::Success, Outcome::Partial, Outcome::Failed, Outcome::Interrupted] {
            assert_eq!(stored(serde_json::to_value(outcome).unwrap()).as_deref(), Some(outcome.as_str()));
        }
        for trigger in [
            Trigger::Manual,
            Trigger::Schedule,
            Trigger::CatchUp,
            Trigger::Airflow,
            Trigger::Cron,
            Trigger::Systemd,
            Trigger::Kubernetes,
        ] {
            assert_eq!(stored(serde_json::to_value(trigger).unwrap()).as_deref(), Some(trigger.as_str()));
        }
        for state in
            [StepState::Ok, StepState::Failed, StepState::TimedOut, StepState::Interrupted, StepState::NotRun]
        {
            assert_eq!(stored(serde_json::to_value(state).unwrap()).as_deref(), Some(state.as_str()));
        }
        for kind in
            [FailureKind::Unreadable, FailureKind::KeyTooLong, FailureKind::SymlinkLoop, FailureKind::Other]
        {
            assert_eq!(stored(serde_json::to_value(kind).unwrap()).as_deref(), Some(kind.as_str()));
        }
    }
}
