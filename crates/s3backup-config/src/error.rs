//! Why a configuration cannot be used.

use std::fmt;
use std::path::PathBuf;

/// A configuration that cannot be used. No variant holds the value of a key that looks secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no file in any of the places.
    #[error(
        "no configuration found; looked for {}; `backup init` writes one, `--config FILE` names one",
        list(places.iter().map(|place| place.display().to_string()))
    )]
    NotFound {
        /// Where it was looked for, first choice first.
        places: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The file was found without being named, and others than its owner could have written it. It can run programs,
    /// so it is not used.
    #[error("{} is not used: {why}; {mend}, or name it with --config", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong with its owner or mode.
        why: String,
        /// The command that mends it.
        mend: String,
    },
    /// The file is not TOML (or YAML, or JSON).
    #[error("{}{}: {message}", path.display(), line.map_or(String::new(), |line| format!(", line {line}")))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// What the parser says.
        message: String,
    },
    /// Keys or values that cannot be, all that were found.
    #[error("{}", several(.0))]
    Invalid(Vec<Problem>),
    /// The file holds several jobs and none was chosen.
    #[error("the configuration holds several jobs; choose one with --job: {}", list(names.iter()))]
    SeveralJobs {
        /// Their names.
        names: Vec<String>,
    },
    /// The file does not hold the job that was asked for.
    #[error("there is no job {name:?}; the configuration has: {}", list(names.iter()))]
    UnknownJob {
        /// What was asked for.
        name: String,
        /// The names that there are.
        names: Vec<String>,
    },
}

/// One key or value that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where it was said: `backup.toml, line 3`, `environment BACKUP_JOB` or `flag --log-level`.
    pub origin: String,
    /// The key, such as `destination.bucket` or `source[0].path`.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(origin: impl Into<String>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { origin: origin.into(), key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.key, self.message)
    }
}

fn list(items: impl Iterator<Item = impl Into<String>>) -> String {
    items.map(Into::into).collect::<Vec<_>>().join(", ")
}

fn several(problems: &[Problem]) -> String {
    match problems {
        [one] => one.to_string(),
        all => {
            let lines: Vec<_> = all.iter().map(|problem| format!("\n  {problem}")).collect();
            format!("the configuration has {} problems:{}", all.len(), lines.concat())
        }
    }
}
