//! What the caller wants loaded, and everything of the process that has a say in it.

use std::path::PathBuf;

/// What to load.
///
/// It holds all that a result depends on, so that two equal requests on the same files give the same result:
///
/// ```no_run
/// use s3backup_config::{Request, load};
/// let loaded = load(&Request { job: Some("telemetry".to_owned()), ..Request::of_process() })?;
/// # Ok::<(), s3backup_config::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Request {
    /// The file, if the caller names one. Default: it is searched for.
    pub file: Option<PathBuf>,
    /// The job, if the caller names one.
    pub job: Option<String>,
    /// Whether only the destination is to be looked at: then the configuration need not name a source.
    pub only_watches: bool,
    /// The environment variables.
    pub environment: Vec<(String, String)>,
    /// Settings that flags of the command line replace.
    pub overrides: Vec<Override>,
    /// The folder from which a relative `file` counts, and where `backup.toml` is looked for.
    pub current_dir: PathBuf,
    /// The effective user, who may own a file that is found without being named.
    pub user: u32,
    /// The machine's name, the default of `host`.
    pub host_name: String,
}

/// One setting from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key that it replaces, such as `logging.level`.
    pub key: String,
    /// The value, as it would be written in an environment variable.
    pub value: String,
    /// The flag's name, such as `--log-level`; only to be told.
    pub flag: String,
}

impl Request {
    /// The environment, the folder, the user and the host name of this process. Bytes that are not UTF-8 are replaced.
    pub fn of_process() -> Self {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        Self {
            environment: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            // Without a current folder only absolute paths can be found, which is what "." then leads to.
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            user: rustix::process::geteuid().as_raw(),
            host_name: text(gethostname::gethostname()),
            ..Self::default()
        }
    }

    /// Adds a setting from the command line: `request.set("logging.level", "debug", "--log-level")`.
    pub fn set(&mut self, key: &str, value: impl Into<String>, flag: &str) {
        self.overrides.push(Override { key: key.to_owned(), value: value.into(), flag: flag.to_owned() });
    }

    /// The value of an environment variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a variable that holds an absolute path; others are ignored, as the XDG specification asks for.
    pub(crate) fn folder(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

/// Without the values of the environment: some are secrets.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("Request")
            .field("file", &self.file)
            .field("job", &self.job)
            .field("only_watches", &self.only_watches)
            .field("environment", &names)
            .field("overrides", &self.overrides)
            .field("current_dir", &self.current_dir)
            .field("user", &self.user)
            .field("host_name", &self.host_name)
            .finish()
    }
}
