//! Finds the files of a backup: [`Rules`] in, [`Entry`](s3backup_model::Entry) values out.
//!
//! A [`Source`] is a directory and the rules for what to take below it. [`walk`] goes through one source on the
//! calling thread; [`discover`] goes through several on a blocking thread and hands over [`Batch`]es that an async
//! caller awaits. Both use the same little memory whether a directory holds ten files or ten million.
//!
//! Files come in one fixed order, that of their paths with a zero for each slash, so a caller who remembers a run in
//! the same order compares the two in one pass. What is there but was not taken is among the
//! [`shadows`](Batch::shadows), in the same order: a remembered file that is neither an entry nor at or below a shadow
//! is gone.
//!
//! What this crate does *not* do: it never opens a file (so whether one can be read is found out later), it knows
//! neither the catalog nor S3, and it reads no clock but the one that it is given and, to pace its batches, one that
//! only goes forward.
//!
//! A trouble with one file or directory is a [`Failure`](s3backup_model::Failure) in a batch and never ends the walk.
//! Something that is gone by the time it is looked at is not a trouble: it does not exist. Every source ends with
//! exactly one [`SourceEnd`], also when the walk is cancelled or breaks.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, SystemTime};
//! use s3backup_discovery::{discover, Rules, Source, SourceEnd};
//! use tokio_util::sync::CancellationToken;
//!
//! # let dir = tempfile::tempdir()?;
//! # let trips = dir.path().to_owned();
//! # std::fs::create_dir(trips.join("vehicle-1"))?;
//! # std::fs::write(trips.join("vehicle-1/trip.json"), "{}")?;
//! # std::fs::write(trips.join("vehicle-1/trip.tmp"), "{")?;
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let rules = Rules::builder()
//!     .include(["**/*.json"])
//!     .exclude(["**/lost+found"])
//!     .min_age(Duration::ZERO)
//!     .build()?;
//! let sources = vec![Source { index: 0, path: trips, rules, settled: None }];
//! let logger = slog::Logger::root(slog::Discard, slog::o!());
//! let mut discovery = discover(sources, Arc::new(SystemTime::now), CancellationToken::new(), logger);
//! let mut files = Vec::new();
//! while let Some(batch) = discovery.next().await {
//!     files.extend(batch.entries.into_iter().map(|entry| entry.relative));
//!     if let Some(end) = batch.end {
//!         assert_eq!(end, SourceEnd::Walked);
//!     }
//! }
//! assert_eq!(files, [std::path::Path::new("vehicle-1/trip.json")]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
mod batch;
mod directory;
mod discover;
mod listing;
mod lookup;
mod names;
mod place;
mod rules;
mod select;
mod sink;
mod spill;
mod trouble;
mod walk;

pub use batch::{Batch, MAX_BATCH, Skip, SourceEnd};
pub use discover::{Clock, Discovery, discover};
pub use lookup::Lookup;
pub use rules::{Error, Rules, RulesBuilder, Symlinks};
pub use select::Select;
pub use walk::{Source, walk};
