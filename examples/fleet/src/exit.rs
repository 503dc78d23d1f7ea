//! How the process ends.

use std::process::ExitCode;

use s3backup_core::{Error as BackupError, Outcome, line_of};
use s3backup_fleet::error::Error;

/// Exit codes, the same as those of `backup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Success = 0,
    /// The work could not be done.
    Failed = 1,
    /// Wrong arguments or settings.
    Usage = 2,
    /// Done, but some files could not be used, or are not in the bucket.
    Partial = 3,
    /// Another run of the job goes on.
    Locked = 11,
    /// Ended by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Partial => Self::Partial,
            Outcome::Failed => Self::Failed,
            Outcome::Interrupted => Self::Interrupted,
        }
    }
}

/// Why a command ended early: what to print and how to end.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Stop {
    /// Wrong arguments or settings.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// The work could not be done.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let exit = match error {
            Error::Interrupted => Exit::Interrupted,
            Error::Settings { .. }
            | Error::Zones { .. }
            | Error::BackupSettings(_)
            | Error::NoSource { .. } => Exit::Usage,
            Error::Backup(BackupError::Invalid { .. } | BackupError::Name { .. } | BackupError::Slack(_)) => {
                Exit::Usage
            }
            Error::Backup(BackupError::Locked { .. } | BackupError::Leased { .. }) => Exit::Locked,
            _ => Exit::Failed,
        };
        Self { exit, message: line_of(&error) }
    }
}
