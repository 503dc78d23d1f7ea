//! Backs up directories to S3, fast, and so that it cannot fail silently.
//!
//! Four ideas are all that there is: **build** a [`Backup`], **run** it, **watch** its [`Event`]s, **cancel** it.
//!
//! ```
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! # let folder = tempfile::tempdir()?;
//! # let trips = folder.path();
//! # std::fs::write(trips.join("trip.json"), "{}")?;
//! # let server = s3backup_local_s3::LocalS3::builder().bucket("fleet-backup").start().await?;
//! use s3backup_core::{Backup, Destination, Outcome, Source};
//!
//! let backup = Backup::builder()
//!     .job("telemetry")
//!     .source(Source::new(trips).include(["**/*.json"]))
//!     .destination(
//!         Destination::new("fleet-backup").prefix("trips"),
//! # )
//! # .destination(
//! #         Destination::new("fleet-backup").prefix("trips")
//! #             .endpoint(server.endpoint()).credentials(server.access_key(), server.secret_key())
//!     )
//!     .build()?;
//!
//! let report = backup.run().await?;
//! for failure in &report.failed {
//!     eprintln!("{}: {}", failure.path, failure.message);
//! }
//! assert_eq!(report.outcome, Outcome::Success);
//! # assert_eq!(report.uploaded.files, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program without an async runtime uses [`Backup::run_blocking`] and needs no other dependency.
//!
//! Credentials and region are found the AWS way: environment, profile, SSO, web identity, container, IMDS. A client of
//! your own can be handed in with [`BackupBuilder::client`]; it must be of the SDK that is re-exported as
//! [`aws_sdk_s3`].
//!
//! # Watch and cancel
//! ```no_run
//! # use s3backup_core::{Backup, Event};
//! # async fn example(backup: Backup) -> Result<(), s3backup_core::Error> {
//! let mut run = backup.start();
//! let cancel = run.cancel_token(); // cancel.cancel() ends the run gracefully
//! while let Some(event) = run.next().await {
//!     if let Event::Uploaded { path, .. } = event {
//!         println!("{path}");
//!     }
//! }
//! let report = run.finish().await?;
//! # Ok(())
//! # }
//! ```
//! [`Event::RunStarted`] comes first and [`Event::RunFinished`] last, each once. Between them every file that was selected
//! has one [`Event::Uploaded`], [`Event::Unchanged`] or [`Event::Failed`], unless the run was cut short. A slow watcher
//! slows the run down and misses nothing.
//!
//! # Every day
//! A [`Scheduler`] runs backups when they are due, makes up for what was missed, tries again what failed, and says how each
//! stands.
//!
//! # How runs end
//! | [`Outcome`] | [`Backup::run`] gives | meaning |
//! | --- | --- | --- |
//! | `Success` | `Ok` | every selected file is proved to be in the bucket |
//! | `Partial` | `Ok` | the run ended and some are not, each named in [`RunReport::failed`]; or a step failed that may |
//! | `Interrupted` | `Ok` | it was cancelled before its work was done |
//! | `Failed` | [`Error::Failed`] | it could not do its work, for the reason in [`RunReport::fatal`] |
//!
//! In every report of a run that was not cut short, [`RunReport::found`] is the number of files in
//! [`RunReport::uploaded`], in [`RunReport::unchanged`] and among the failures together. Failures may be more: what could
//! not even be looked at, such as a directory that must not be read, is no file that was found.
//!
//! # Who is told
//! [`BackupBuilder::slack`] and [`BackupBuilder::alert_command`] say how people are told of a run and of trouble. What is to be told
//! is stored first and then delivered: by the run, and by [`Backup::deliver`] and [`Backup::look_for_trouble`], which whoever keeps a
//! job running calls every minute. [`Backup::tell`] adds what an embedder has to say.
//!
//! # What is in the bucket
//! The files under their own names, and below `PREFIX/.s3backup/<job>/<host>/` the manifest of each run ([`manifest`]) and
//! its report. A report in the bucket means that the run ended and that what it speaks of is there.
//!
//! # What it is not
//! No command line, no configuration file, no global state, no logger of its own: it logs to the [`slog::Logger`] that it
//! is given, and is silent without one.

mod adopt;
mod backup;
mod compare;
mod courier;
mod due;
mod ending;
mod error;
mod events;
mod facts;
mod failed_start;
mod files;
mod flow;
mod latest;
mod memory;
mod metrics;
mod monitor;
pub mod options;
mod outbox;
mod overview;
mod ping;
mod plan;
mod planning;
mod process;
mod progress;
mod prune;
mod record;

mod restore;
mod run;
mod said;
mod scheduler;
mod segment;
mod selection;
mod shards;
mod shrunk;
mod silence;
mod snapshot;
mod start;
mod state;
mod status;
mod steps;
mod telling;
mod trouble;
mod uploads;
mod verify;
mod view;

pub mod alert;
pub mod doctor;

pub use adopt::{AdoptOptions, AdoptReport};
pub use backup::{Backup, BackupBuilder, Clock, Run};
pub use error::{Error, line_of};
pub use failed_start::{FailedStart, StartAlert};
pub use files::{BackedUp, Files};
pub use monitor::{Finding, FindingKind, Monitor, MonitorBuilder, MonitorReport, Watched};
pub use options::{
    AlertCommand, Compare, Destination, Each, MetricsOptions, OnFailure, ScheduleOptions, Select, Source,
    Step,
};
pub use outbox::Delivery;
pub use plan::Reason;
pub use planning::{Plan, PlanBatch, Planned};
pub use progress::{Phase, Progress};
pub use prune::{KeptRun, Prune, PruneItem, PruneKind, PruneOptions, PruneReport, PruneState};
pub use restore::{Restore, RestoreEvent, RestoreOptions, RestoreReport};
pub use s3backup_model::{
    Alert, AlertDelivery, AlertKind, DueRef, DueState, Entry, Event, Fact, Failure, FailureKind, Fatal, Key,
    Name, Outcome, RunId, RunReport, RunSummary, Silence, SkipReason, StepState, StepStream, Tally, Trigger,
    Trouble, TroubleTold, key, manifest,
};
pub use s3backup_report as report;
pub use s3backup_slack::Slack;
pub use s3backup_transfer::{Bucket, ConnectOptions, aws_sdk_s3};
pub use scheduler::{JobState, Running, Scheduler, Sleep, Time};
pub use shards::{ShardOptions, ShardRef, ShardUri, ShardedPlan};
pub use status::{PastRun, Rebuilt, Status};
pub use tokio_util::sync::CancellationToken;
pub use trouble::{Alerts, OpenTrouble};
pub use verify::{
    Content, Difference, DifferenceCounts, Differs, Repair, RepairCounts, Verify, VerifyEvent, VerifyOptions,
    VerifyReport, VerifyScope,
};
pub use view::At;
