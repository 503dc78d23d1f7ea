//! What can go wrong before or instead of a run.

use s3backup_model::{InvalidName, RunReport};

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
