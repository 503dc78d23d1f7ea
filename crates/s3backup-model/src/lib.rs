//! Plain types that the crates of s3backup share. No I/O, no clock, no randomness.
//!
//! An [`Entry`] is a file that discovery found. It gets a [`Key`] in the bucket. What happens to it is told by
//! [`Event`]s, and what a run did is summed up in a [`RunReport`] (for a person and a script) and in
//! [`manifest`] lines (for restore and verify).
//!
//! A `path` is always local and a `key` always remote.

mod alert;
mod entry;
mod event;
mod fact;
mod id;
pub mod key;
mod latest;
pub mod manifest;
mod report;
mod shard;

pub use alert::{Alert, AlertKind, Silence, Trouble, TroubleTold};
pub use entry::{Entry, FileStat, unix_ns};
pub use event::{Event, StepStream};
pub use fact::{Fact, InvalidFact};
pub use id::{InvalidName, Name, RunId};
pub use key::{Key, KeyError};
pub use latest::{AlertDelivery, CatalogRef, Latest, RunState, RunSummary, ScheduleRef, Verified};
pub use report::{
    DueRef, DueState, Failure, FailureKind, Fatal, ManifestRef, Outcome, RunReport, SkipReason, Skipped,
    SkippedByReason, SourceReport, StepReport, StepState, Tally, Trigger, Uploaded,
};
pub use shard::{
    KnownObject, Lease, PlannedShard, ShardLine, ShardList, ShardPlan, ShardProgress, ShardResult,
    ShardUpload,
};
