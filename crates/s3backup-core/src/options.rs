//! What a backup is told: plain values, checked when the backup is built.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;

pub use s3backup_discovery::Symlinks;
pub use s3backup_schedule::Schedule;
pub use s3backup_slack::{Secret, SlackOptions, Way as SlackWay};
pub use s3backup_transfer::{
    Bandwidth, ChecksumKind, HttpPath, Rate, RetrySettings, Sse, StaticCredentials, TransferSettings,
};

/// A local directory tree to back up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Source {
    /// The directory.
    pub path: PathBuf,
    /// Globs of files to take, matched against the path below the source. Empty: every file.
    pub include: Vec<String>,
    /// Globs of files and directories to leave out; wins over `include`.
    pub exclude: Vec<String>,
    /// Which of them to take.
    pub select: Select,
    /// How to tell that a file is as it was when it was backed up.
    pub compare: Compare,
    /// Leave files that were modified less than this before they are looked at for the next run, but not what the run's
    /// own steps make. Default: none are left.
    pub min_age: Duration,
    /// What to do with symbolic links. Default: skip them.
    pub symlinks: Symlinks,
    /// Where they go below the destination's prefix. `{date}` stands for the file's modification date in the job's
    /// time zone, `{job}` and `{host}` for the names.
    pub prefix: String,
}

impl Source {
    /// Every file below `path` that is not yet in the bucket as it is now.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            include: Vec::new(),
            exclude: Vec::new(),
            select: Select::Changed,
            compare: Compare::Times,
            min_age: Duration::ZERO,
            symlinks: Symlinks::Skip,
            prefix: String::new(),
        }
    }

    /// Takes only files that one of these globs matches.
    #[must_use]
    pub fn include(mut self, globs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.include = globs.into_iter().map(Into::into).collect();
        self
    }

    /// Leaves out what one of these globs matches.
    #[must_use]
    pub fn exclude(mut self, globs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.exclude = globs.into_iter().map(Into::into).collect();
        self
    }

    /// Takes all files, or those of a day.
    #[must_use]
    pub fn select(mut self, select: Select) -> Self {
        self.select = select;
        self
    }

    /// Says how to tell that a file is as it was when it was backed up.
    #[must_use]
    pub fn compare(mut self, compare: Compare) -> Self {
        self.compare = compare;
        self
    }

    /// Leaves files that are younger for the next run, but not what the run's own steps make.
    #[must_use]
    pub fn min_age(mut self, age: Duration) -> Self {
        self.min_age = age;
        self
    }

    /// Skips or follows symbolic links.
    #[must_use]
    pub fn symlinks(mut self, symlinks: Symlinks) -> Self {
        self.symlinks = symlinks;
        self
    }

    /// Puts the files below this, inside the destination's prefix.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

/// Which files of a source to take. What the bucket has already is never sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// All that are not in the bucket as they are now, whenever they were made.
    #[default]
    Changed,
    /// The same, and every file is read: as [`Select::Changed`] with [`Compare::Checksum`].
    All,
    /// Those modified on the day before the run's, in the job's time zone. A run that makes up for missed due times takes
    /// the days of them all.
    Yesterday,
    /// Those modified on the run's day; of a run that makes up for missed due times, on the days of them all.
    Today,
    /// Those modified on this day.
    Day(NaiveDate),
}

/// How to tell that a file is as it was when it was backed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// By size, times, mode and inode. A file that differs in anything but its size is read, and sent only when its bytes
    /// differ.
    #[default]
    Times,
    /// By its bytes: every file is read in every run. For file systems whose times lie.
    Checksum,
}

/// When runs are due, and what that means for one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScheduleOptions {
    /// The due times.
    pub schedule: Schedule,
    /// Whether a run makes up for due times that were missed. Default yes.
    pub catch_up: bool,
    /// A success is late when it comes this long after its due time; for whoever monitors the bucket. Default 1 h.
    pub deadline: Duration,
    /// A run that takes longer is interrupted. Default 10 h.
    pub max_runtime: Duration,
    /// A run that takes longer is told of while it goes on. Default: never.
    pub warn_after: Option<Duration>,
    /// A [`Scheduler`](crate::Scheduler) starts a run later than it is due, always by the same time, which is less than this
    /// and another for each job and host. Default 0.
    pub jitter: Duration,
}

impl ScheduleOptions {
    /// Due times with the defaults.
    pub fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            catch_up: true,
            deadline: Duration::from_hours(1),
            max_runtime: Duration::from_hours(10),
            warn_after: None,
            jitter: Duration::ZERO,
        }
    }
}

/// Where metrics go when a run has ended, however it did. Without any of them they go nowhere.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MetricsOptions {
    /// A file for the textfile collector of node-exporter, such as `/var/lib/node_exporter/s3backup.prom`: replaced as a
    /// whole, and readable by everybody. `{job}` and `{host}` stand for the names. Two jobs must not share one.
    pub textfile: Option<PathBuf>,
    /// The URL of a Pushgateway, such as `http://127.0.0.1:9091`; the group is `job/<job>/instance/<host>`.
    pub pushgateway: Option<String>,
}

impl MetricsOptions {
    /// The file for the textfile collector.
    #[must_use]
    pub fn textfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.textfile = Some(path.into());
        self
    }

    /// The URL of a Pushgateway.
    #[must_use]
    pub fn pushgateway(mut self, url: impl Into<String>) -> Self {
        self.pushgateway = Some(url.into());
        self
    }
}

/// A program that is told what Slack does not take: it gets the alert as JSON on its standard input. `Debug` shows the
/// program and not its arguments.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlertCommand {
    /// The program and its arguments; no shell. It is killed after a minute, with all that it started.
    pub command: Vec<String>,
    /// Variables of this process that it gets although they may hold secrets (`AWS_…`, `BACKUP_…`, Slack's).
    pub pass_env: Vec<String>,
}

impl AlertCommand {
    /// A program with the defaults.
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), pass_env: Vec::new() }
    }
}

impl fmt::Debug for AlertCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertCommand").field("program", &self.command.first()).finish_non_exhaustive()
    }
}

/// A health check that hears of every run, by the protocol of <https://healthchecks.io>. `Debug` does not show its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PingOptions {
    /// The ping URL of the check. It is all that one needs to say that all is well, so it is a secret.
    pub url: Secret,
    /// How long one ping may take with its second attempt; a run waits so long at its end. Default 8 s.
    pub time_limit: Duration,
}

impl PingOptions {
    /// The defaults for a URL.
    pub fn new(url: impl Into<Secret>) -> Self {
        Self { url: url.into(), time_limit: Duration::from_secs(8) }
    }
}

/// Where the files go.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Destination {
    /// Name of the bucket.
    pub bucket: String,
    /// What all keys begin with. `{job}` and `{host}` stand for the names.
    pub prefix: String,
    /// AWS region; found the AWS way when absent.
    pub region: Option<String>,
    /// URL of an S3-compatible server; AWS when absent.
    pub endpoint: Option<String>,
    /// What the catalog knows the server by, where its URL changes: a server that is started for each run. The URL when
    /// absent.
    pub known_as: Option<String>,
    /// Credentials in place of those of the environment.
    pub credentials: Option<StaticCredentials>,
    /// Storage class of the data. Control data is always STANDARD.
    pub storage_class: Option<String>,
    /// Server-side encryption.
    pub sse: Option<Sse>,
    /// Object tags of the data.
    pub tags: BTreeMap<String, String>,
}

impl Destination {
    /// A bucket on AWS, reached with the credentials and the region of the environment.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), ..Self::default() }
    }

    /// What all keys begin with.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Where the control data of all jobs and hosts lies: `PREFIX/.s3backup/`, PREFIX ending before its first segment with a
    /// placeholder.
    pub fn control_folder(&self) -> String {
        crate::plan::control_folder(&self.prefix)
    }

    /// The region of the bucket.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The URL of an S3-compatible server.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// What the catalog knows the server by, where its URL changes.
    #[must_use]
    pub fn known_as(mut self, name: impl Into<String>) -> Self {
        self.known_as = Some(name.into());
        self
    }

    /// An access key and its secret, in place of the environment's.
    #[must_use]
    pub fn credentials(mut self, access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        self.credentials = Some(StaticCredentials::new(access_key, secret_key));
        self
    }
}

/// What may be deleted. Without any rule nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneRules {
    /// Of the last so many days that have one, the best run is kept.
    pub keep_daily: Option<u32>,
    /// Of the last so many months that have one, the best run is kept.
    pub keep_monthly: Option<u32>,
    /// Local files go so long after they were modified, once they are proved to be in the bucket.
    pub local_after: Option<Duration>,
}

impl PruneRules {
    /// Keeps the last run of each of the last so many days that have one.
    #[must_use]
    pub fn keep_daily(mut self, days: u32) -> Self {
        self.keep_daily = Some(days);
        self
    }

    /// Keeps the last run of each of the last so many months that have one.
    #[must_use]
    pub fn keep_monthly(mut self, months: u32) -> Self {
        self.keep_monthly = Some(months);
        self
    }

    /// Lets local files go so long after they were modified.
    #[must_use]
    pub fn local_after(mut self, age: Duration) -> Self {
        self.local_after = Some(age);
        self
    }
}

/// A program that runs before the upload, for example to make the data. `Debug` shows the names of its variables and not
/// their values.
#[derive(Clone)]
#[non_exhaustive]
pub struct Step {
    /// Its name in logs and reports.
    pub name: String,
    /// The program and its arguments; no shell.
    pub command: Vec<String>,
    /// Working directory; the process's own when absent.
    pub cwd: Option<PathBuf>,
    /// Variables that are set for it.
    pub env: BTreeMap<String, String>,
    /// Variables of this process that it gets although they may hold secrets (`AWS_…`, `BACKUP_…`, Slack's).
    pub pass_env: Vec<String>,
    /// How often it runs.
    pub each: Each,
    /// After this long it is killed, with all that it started. Default 30 min.
    pub timeout: Duration,
    /// What its failure means for the run.
    pub on_failure: OnFailure,
}

impl Step {
    /// A program with the defaults.
    pub fn new(name: impl Into<String>, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            name: name.into(),
            command: command.into_iter().map(Into::into).collect(),
            cwd: None,
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            each: Each::Run,
            timeout: Duration::from_mins(30),
            on_failure: OnFailure::Abort,
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("cwd", &self.cwd)
            .field("env", &self.env.keys())
            .field("pass_env", &self.pass_env)
            .field("each", &self.each)
            .field("timeout", &self.timeout)
            .field("on_failure", &self.on_failure)
            .finish()
    }
}

/// How often a step runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Each {
    /// Once in a run.
    #[default]
    Run,
    /// Once for each day that the run stands for: more than one when it makes up for missed due times.
    Day,
}

/// What the failure of a step means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// No later step, no upload; the outcome is `failed`.
    #[default]
    Abort,
    /// The run goes on; the outcome is at best `partial`.
    Continue,
}
