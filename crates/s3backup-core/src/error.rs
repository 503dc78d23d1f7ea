//! What can go wrong before or instead of a run.

use std::path::PathBuf;

use s3backup_model::{InvalidName, Key, Name, RunId, RunReport};

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that the builder was told cannot be.
    #[error("{what}: {why}")]
    Invalid {
        /// Which setting, as the configuration file calls it.
        what: String,
        /// What is wrong and what was expected.
        why: String,
    },
    /// A job or host name that cannot be one.
    #[error("`{what}`")]
    Name {
        /// `job` or `host`.
        what: &'static str,
        /// Why.
        #[source]
        cause: InvalidName,
    },
    /// The Slack settings cannot work.
    #[error("[slack]")]
    Slack(#[source] s3backup_slack::Error),
    /// The run could not do its work; [`RunReport::fatal`] says why. It was alerted and, where the bucket could be
    /// reached, stored.
    #[error("the backup failed: {}", .0.fatal.as_ref().map_or("no reason is known", |fatal| &fatal.message))]
    Failed(Box<RunReport>),
    /// Another run of the job is going on, or something else that works with its catalog.
    #[error("the job {job} is locked: {holder}. Wait for it to end, or stop it")]
    Locked {
        /// The job.
        job: Name,
        /// Who holds the lock, as far as it is known.
        holder: String,
    },
    /// A run of the job that many workers share is going on.
    #[error(
        "run {run} of {job} is shared by many workers and goes on until {until} at most: wait for it, end it with `backup commit {run}`, or give it up with `backup commit {run} --abandon`"
    )]
    Leased {
        /// The job.
        job: Name,
        /// The run.
        run: RunId,
        /// When it is over at the latest.
        until: chrono::DateTime<chrono::FixedOffset>,
    },
    /// There is no such plan, it is over, or its shard does not fit what is configured here.
    #[error("{uri}: {why}")]
    Shard {
        /// Which plan or shard.
        uri: String,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// A run that many workers share cannot be committed: some of its shards are missing or wrong.
    #[error(
        "run {run} cannot be committed, {} of its {shards} shards are missing or wrong: {}. Run each again with `backup run --shard`, then commit again; or give the run up with `backup commit {run} --abandon`",
        wrong.len(), named(wrong)
    )]
    Incomplete {
        /// The run.
        run: RunId,
        /// How many shards it has.
        shards: u32,
        /// Each that is missing or wrong, by its URI, and what is the matter with it.
        wrong: Vec<(String, String)>,
    },
    /// The catalog cannot be used.
    #[error("the catalog")]
    Catalog(#[from] s3backup_catalog::Error),
    /// A damaged catalog could not be moved out of the way.
    #[error("cannot move the damaged catalog {} away", path.display())]
    State {
        /// The catalog.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The bucket could not be asked.
    #[error("the bucket")]
    Transfer(#[source] s3backup_transfer::Error),
    /// A piece of the control data in the bucket is missing, damaged or of a newer version.
    #[error("{key}: {why}")]
    Manifest {
        /// The piece.
        key: Key,
        /// What is wrong with it.
        why: String,
    },
    /// Neither the catalog nor the bucket tells of a backup.
    #[error(
        "nothing in {place} tells of a backup of this job and host: run `backup run` first, or look whether job, host and prefix are those of the machine that made it"
    )]
    NoState {
        /// `s3://bucket/prefix`.
        place: String,
    },
    /// The work needs the catalog that the backup is made with.
    #[error(
        "the catalog of {job} is needed, and {why}: do it on the machine that makes the backup, after a `backup run`"
    )]
    NoCatalog {
        /// The job.
        job: Name,
        /// What is the matter with it.
        why: String,
    },
    /// One object after the other could not be looked at.
    #[error(
        "the bucket does not answer: {count} objects in a row could not be looked at, the last because of this: {last}"
    )]
    NoAnswers {
        /// How many.
        count: u32,
        /// What was said of the last.
        last: String,
    },
    /// A piece of control data could not be read.
    #[error("control data could not be read: {0}")]
    NotRead(String),
    /// Retention was not applied, because that was not safe.
    #[error("nothing was deleted: {why}")]
    PruneRefused {
        /// Why, and what to do.
        why: String,
    },
    /// Retention was applied up to the first thing that went wrong.
    #[error(
        "stopped after {objects} objects, {control} pieces of control data and {local} local files were deleted; another prune goes on from there"
    )]
    PruneStopped {
        /// Objects that were deleted.
        objects: u64,
        /// Pieces of control data that were deleted.
        control: u64,
        /// Local files that were deleted.
        local: u64,
        /// What went wrong.
        #[source]
        cause: Box<Error>,
    },
    /// The directory to restore into cannot be used.
    #[error("cannot restore into {}", path.display())]
    Target {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A segment of control data could not be made.
    #[error("cannot make a manifest or snapshot")]
    Segment {
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A piece of control data could not be stored.
    #[error("control data could not be stored: {0}")]
    NotStored(String),
    /// The threads of an async runtime could not be started.
    #[error("cannot start the threads of the backup")]
    Runtime(#[source] std::io::Error),
    /// A task of this program ended abnormally.
    #[error("the run ended abnormally ({0}); this is a defect, please report it")]
    Defect(String),
}

impl Error {
    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }
}

/// The first of what is missing.
pub(crate) fn named(wrong: &[(String, String)]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = wrong.iter().take(SHOWN).map(|(uri, why)| format!("{uri} ({why})")).collect();
    let more = wrong.len().saturating_sub(SHOWN);
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// An error and its causes in one line, each behind a colon: what a person is shown.
pub fn line_of(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}
