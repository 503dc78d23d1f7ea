//! Exit codes, as documented in `docs/reference/command-line.md`.

use std::process::ExitCode;

use s3backup_core::{Error, Outcome, line_of};

/// How the process ends. Where restic has a code for it, it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Success = 0,
    /// The work could not be done.
    Failed = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// Done, but some files are not in the bucket, or nobody can be told.
    Partial = 3,
    /// Something in the bucket is not as it should be, or a backup is late.
    Differs = 4,
    /// Another run of the job is going on.
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
    /// Wrong arguments or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// An error of the backup itself.
    pub(crate) fn of(error: &Error) -> Self {
        let exit = match error {
            Error::Locked { .. } | Error::Leased { .. } => Exit::Locked,
            Error::Invalid { .. } | Error::Name { .. } | Error::Slack(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self { exit, message: line_of(error) }
    }

    /// The work could not be done.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let code = |outcome: Outcome| Exit::from(outcome) as u8;
        assert_eq!(code(Outcome::Success), 0);
        assert_eq!(code(Outcome::Failed), 1);
        assert_eq!(Exit::Usage as u8, 2);
        assert_eq!(code(Outcome::Partial), 3);
        assert_eq!((Exit::Differs as u8, Exit::Locked as u8), (4, 11));
        assert_eq!(code(Outcome::Interrupted), 130);
    }
}
