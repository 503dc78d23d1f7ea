//! Collecting what a monitor is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use s3backup_model::Name;
use s3backup_slack::{Slack, SlackOptions};
use s3backup_transfer::{ChecksumKind, ConnectOptions, HttpPath, RetrySettings};
use slog::Logger;

use super::Monitor;
use crate::Error;
use crate::backup::{Clock, secret_of};
use crate::options::{AlertCommand, Destination};
use crate::outbox::Audience;
use crate::plan::control_folder;
use crate::run::silent;

/// Collects what a [`Monitor`] is.
#[must_use = "a builder does nothing until `build` is called"]
pub struct MonitorBuilder {
    destination: Option<Destination>,
    host: Option<String>,
    expected: Vec<(Name, Name)>,
    http: HttpPath,
    retry: RetrySettings,
    checksum: ChecksumKind,
    slack: Option<SlackOptions>,
    alert_command: Option<AlertCommand>,
    state_dir: Option<PathBuf>,
    clock: Clock,
    logger: Option<Logger>,
}

impl Default for MonitorBuilder {
    fn default() -> Self {
        Self {
            destination: None,
            host: None,
            expected: Vec::new(),
            http: HttpPath::default(),
            retry: RetrySettings::default(),
            checksum: ChecksumKind::default(),
            slack: None,
            alert_command: None,
            state_dir: None,
            clock: Arc::new(Utc::now),
            logger: None,
        }
    }
}

impl fmt::Debug for MonitorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MonitorBuilder");
        shown
            .field("destination", &self.destination)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl MonitorBuilder {
    /// The bucket and the prefix of the machines that are watched. Of the prefix counts what comes before the first
    /// placeholder.
    pub fn destination(mut self, destination: Destination) -> Self {
        self.destination = Some(destination);
        self
    }

    /// The name of the machine that watches, for what it leaves in the bucket. Default: its host name.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.host = Some(name.into());
        self
    }

    /// A job on a machine that must be there: also when it has never run.
    pub fn expected(mut self, job: Name, host: Name) -> Self {
        self.expected.push((job, host));
        self
    }

    /// By which way requests go. Default as for a backup.
    pub fn http(mut self, path: HttpPath) -> Self {
        self.http = path;
        self
    }

    /// When and how often a request is sent again.
    pub fn retry(mut self, settings: RetrySettings) -> Self {
        self.retry = settings;
        self
    }

    /// The checksum of the small objects that it writes. Default CRC64NVME.
    pub fn checksum(mut self, kind: ChecksumKind) -> Self {
        self.checksum = kind;
        self
    }

    /// Tells Slack of each trouble, once.
    pub fn slack(mut self, options: SlackOptions) -> Self {
        self.slack = Some(options);
        self
    }

    /// Runs a program with each trouble that Slack does not take; without Slack, with every one.
    pub fn alert_command(mut self, command: AlertCommand) -> Self {
        self.alert_command = Some(command);
        self
    }

    /// Where it remembers what it has told; made when it is not there. Default none: then only what is noted in the bucket
    /// keeps it from repeating itself, and nobody hears that a trouble is over.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Another clock than the machine's, for tests. It judges by the server's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Where to log. Default: nowhere.
    pub fn logger(mut self, logger: Logger) -> Self {
        self.logger = Some(logger);
        self
    }

    /// Checks everything that can be checked without a disk or a network.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Name`] and [`Error::Slack`], each naming the setting.
    pub fn build(self) -> Result<Monitor, Error> {
        let logger = self.logger.unwrap_or_else(silent);
        let host = match self.host {
            Some(host) => Name::new(host).map_err(|cause| Error::Name { what: "host", cause })?,
            None => Name::lossy(&gethostname::gethostname().to_string_lossy()),
        };
        let missing = || Error::invalid("[destination] bucket", "it is missing: name the bucket");
        let destination = self.destination.filter(|there| !there.bucket.is_empty()).ok_or_else(missing)?;
        let folder = control_folder(&destination.prefix);
        let prefix = folder.trim_end_matches('/').rsplit_once('/').map_or("", |(prefix, _)| prefix);
        let place = format!("s3://{}/{prefix}", destination.bucket);
        let secrets = self.slack.iter().map(secret_of).collect();
        let slack = self.slack.map(|options| Slack::new(options, logger.clone())).transpose();
        Ok(Monitor {
            place: place.trim_end_matches('/').to_owned(),
            folder,
            host,
            expected: self.expected,
            connect: ConnectOptions {
                bucket: destination.bucket,
                region: destination.region,
                endpoint: destination.endpoint,
                credentials: destination.credentials,
                http: self.http,
            },
            retry: self.retry,
            checksum: self.checksum,
            sse: destination.sse,
            audience: Audience { slack: slack.map_err(Error::Slack)?, command: self.alert_command, secrets },
            state_dir: self.state_dir,
            clock: self.clock,
            logger,
        })
    }
}
