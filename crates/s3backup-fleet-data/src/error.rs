//! What can go wrong while a set is planned or written.

use std::{io, path::PathBuf};

use chrono::NaiveDate;

/// Why a set was not generated.
///
/// The message describes its own level only; [`source`](std::error::Error::source) has the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option, or several together, ask for something that cannot be generated. Nothing was written.
    #[error("{option}: {problem}")]
    InvalidOption {
        /// The method of [`FleetData`](crate::FleetData) that takes the option.
        option: &'static str,
        /// What is wrong with it and what is possible.
        problem: String,
    },

    /// One of the days does not exist in the time zone (a zone that moved across the date line left one out).
    /// Nothing was written.
    #[error("{day} has no morning in {timezone}")]
    NoSuchDay {
        /// The day that is missing.
        day: NaiveDate,
        /// The name of the time zone.
        timezone: String,
    },

    /// The output folder holds something already, and
    /// [`overwrite`](crate::FleetData::overwrite) was not asked for. Nothing was written.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The output folder.
        path: PathBuf,
    },

    /// The progress callback asked to stop. The files up to then are complete.
    #[error("stopped after {files} files below {}", path.display())]
    Stopped {
        /// The output folder.
        path: PathBuf,
        /// How many files were written.
        files: u64,
    },

    /// A file or folder could not be read or written. Files written before it are complete; this one may not be.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `create`, `write`, …
        action: &'static str,
        /// The file or folder that it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err` on an I/O result: attaches what was tried on which path.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }

    pub(crate) fn invalid(option: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidOption { option, problem: problem.into() }
    }
}
