//! What a configuration comes to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use s3backup_core::options::{
    AlertCommand, Destination, HttpPath, MetricsOptions, PingOptions, ScheduleOptions, SlackOptions, Source,
    Step, TransferSettings,
};
use s3backup_model::Name;
use slog::Level;

/// The settings of one job, checked, with every default in place and every path absolute.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The job's name. Default: `backup`.
    pub job: Name,
    /// The machine's name in the bucket and in alerts. Default: its host name.
    pub host: Name,
    /// The zone of days and of times in texts. Default: UTC.
    pub timezone: Tz,
    /// Where catalog and lock are kept on this machine; not on a network file system. Default: the XDG state directory,
    /// and for root `/var/lib/s3backup` unless `XDG_STATE_HOME` is set.
    pub state_dir: PathBuf,
    /// Programs that run before the upload, in this order.
    pub steps: Vec<Step>,
    /// What is backed up; at least one, unless the configuration was loaded only to watch.
    pub sources: Vec<Source>,
    /// Where it goes. Its `endpoint` is absent if [`embedded_dir`](Self::embedded_dir) is there.
    pub destination: Destination,
    /// The directory of the embedded server (`endpoint = "embedded:DIR"`), which the caller starts.
    pub embedded_dir: Option<PathBuf>,
    /// How it is sent.
    pub transfer: TransferSettings,
    /// By which way requests go. Default: those that carry bytes of files by the program's own HTTP client.
    pub http: HttpPath,
    /// How long the process may take to end after a signal. Default 3 s.
    pub grace: Duration,
    /// More than this share of the known files changed at once, in percent, and nothing is overwritten. Default 50; at 100
    /// nothing is ever held back.
    pub max_changed_percent: u8,
    /// When runs are due, in the zone of [`timezone`](Self::timezone), if the configuration says.
    pub schedule: Option<ScheduleOptions>,
    /// What may be deleted; nothing is where it is absent.
    pub prune: Option<Prune>,
    /// How Slack is told, if it is.
    pub slack: Option<SlackOptions>,
    /// The program that is told what Slack does not take.
    pub alert_command: Option<AlertCommand>,
    /// Where metrics go, if anywhere.
    pub metrics: MetricsOptions,
    /// Which health check hears of runs, if one does.
    pub ping: Option<PingOptions>,
    /// How often the bucket is compared with the manifests by itself. Default never.
    pub verify_every: Option<Duration>,
    /// The log.
    pub logging: Logging,
}

/// Of the steps only the names: their arguments and variables may be secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.iter().map(|step| &step.name).collect();
        f.debug_struct("Settings")
            .field("job", &self.job)
            .field("host", &self.host)
            .field("timezone", &self.timezone)
            .field("state_dir", &self.state_dir)
            .field("steps", &steps)
            .field("sources", &self.sources)
            .field("destination", &self.destination)
            .field("embedded_dir", &self.embedded_dir)
            .field("transfer", &self.transfer)
            .field("http", &self.http)
            .field("grace", &self.grace)
            .field("max_changed_percent", &self.max_changed_percent)
            .field("schedule", &self.schedule)
            .field("prune", &self.prune)
            .field("slack", &self.slack)
            .field("alert_command", &self.alert_command)
            .field("metrics", &self.metrics)
            .field("ping", &self.ping)
            .field("verify_every", &self.verify_every)
            .field("logging", &self.logging)
            .finish()
    }
}

/// What may be deleted. One of them at least is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prune {
    /// Of the newest so many days the last run is kept.
    pub keep_daily: Option<u32>,
    /// Of the newest so many months the last run is kept.
    pub keep_monthly: Option<u32>,
    /// Local files that are proved to be in the bucket go this long after they were modified.
    pub local_after: Option<Duration>,
}

/// What the log is like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logging {
    /// The directory of the log files. Default: `Logs` beside the configuration.
    pub dir: PathBuf,
    /// The least severe level. Default: info.
    pub level: Level,
    /// Whether lines in files are JSON. Default: text.
    pub json: bool,
    /// The size in bytes above which a file is rotated; 0 is no limit. Default 100 MiB.
    pub max_size: u64,
    /// How many rotated files of one date are kept. Default 5.
    pub keep_files: u32,
    /// How many days files are kept; 0 keeps all. Default 30.
    pub keep_days: u32,
}
