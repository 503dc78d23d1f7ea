//! From raw values to settings: paths become absolute, secrets are read, and what no single value shows is checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use s3backup_core::options::{
    AlertCommand, ChecksumKind, Compare, Destination, Each, HttpPath, MetricsOptions, OnFailure, PingOptions,
    Schedule, ScheduleOptions, Source, Sse, Step, Symlinks, TransferSettings,
};
use s3backup_model::Name;
use slog::Level;

use crate::raw::{
    Raw, RawAlert, RawDestination, RawLogging, RawMetrics, RawPing, RawPrune, RawSchedule, RawSource,
    RawStep, RawTransfer, RawVerify,
};
use crate::search::plain;
use crate::secret::secret;
use crate::settings::{Logging, Prune, Settings};
use crate::{Request, slack, values};

/// The most tags that an object can have.
const MAX_TAGS: usize = 10;

/// Collects what is wrong, by key.
pub(crate) struct Resolver<'r> {
    pub(crate) request: &'r Request,
    /// The folder of the file, from which relative paths count.
    pub(crate) folder: &'r Path,
    pub(crate) problems: Vec<(String, String)>,
    pub(crate) warnings: Vec<String>,
}

impl<'r> Resolver<'r> {
    pub(crate) fn new(request: &'r Request, folder: &'r Path) -> Self {
        Self { request, folder, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn problem(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push((key.into(), message.into()));
    }

    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        plain(&self.folder.join(path))
    }

    /// The settings; `None` if a problem was found.
    pub(crate) fn settings(&mut self, raw: Raw) -> Option<Settings> {
        let job = self.name("job", &raw.job);
        let host = match &raw.host {
            Some(host) => self.name("host", host),
            None => Some(Name::lossy(&self.request.host_name)),
        };
        let timezone = values::zone(&raw.timezone);
        let state_dir = self.state_dir(raw.state_dir.as_deref());
        let steps = raw.step.into_iter().enumerate().filter_map(|(i, step)| self.step(i, step)).collect();
        if raw.source.is_empty() && !self.request.only_watches {
            self.problem("source", "missing; say with [[source]] and its `path` what is to be backed up");
        }
        let sources =
            raw.source.into_iter().enumerate().filter_map(|(i, source)| self.source(i, source)).collect();
        let (destination, embedded_dir) = self.destination(raw.destination);
        let grace = raw.transfer.grace;
        let transfer = transfer(&raw.transfer, timezone.unwrap_or_default());
        let http = if raw.transfer.http == "sdk" { HttpPath::Sdk } else { HttpPath::Fast };
        let schedule = raw.schedule.and_then(|raw| self.schedule(&raw, timezone.unwrap_or_default()));
        let prune = raw.prune.map(|raw| self.prune(&raw));
        let slack = raw.slack.and_then(|raw| slack::resolve(self, raw));
        let alert_command = raw.alert.and_then(|raw| self.alert(raw));
        let metrics = raw.metrics.map(|raw| self.metrics(raw)).unwrap_or_default();
        let ping = raw.ping.and_then(|raw| self.ping(&raw));
        let verify_every = raw.verify.and_then(|raw| self.verify_every(&raw));
        let logging = self.logging(&raw.logging);
        if !self.problems.is_empty() {
            return None;
        }
        Some(Settings {
            job: job?,
            host: host?,
            timezone: timezone?,
            state_dir: state_dir?,
            steps,
            sources,
            destination,
            embedded_dir,
            transfer: transfer?,
            http,
            grace,
            max_changed_percent: raw.guard.max_changed,
            schedule,
            prune,
            slack,
            alert_command,
            metrics,
            ping,
            verify_every,
            logging,
        })
    }

    fn name(&mut self, key: &str, text: &str) -> Option<Name> {
        Name::new(text).map_err(|error| self.problem(key, error.to_string())).ok()
    }

    /// The default is in the merged values already, if this machine has one.
    fn state_dir(&mut self, given: Option<&Path>) -> Option<PathBuf> {
        if given.is_none() {
            self.problem(
                "state_dir",
                "missing, as neither XDG_STATE_HOME nor HOME is set; name the directory for the catalog and the lock",
            );
        }
        Some(self.absolute(given?))
    }

    fn schedule(&mut self, raw: &RawSchedule, timezone: Tz) -> Option<ScheduleOptions> {
        let Some(cron) = &raw.cron else {
            self.problem(
                "schedule.cron",
                "missing; say when a run is due, such as \"0 20 * * *\" for every day at 20:00",
            );
            return None;
        };
        let schedule =
            Schedule::new(cron, timezone).map_err(|error| self.problem("schedule.cron", error.to_string()));
        let mut options = ScheduleOptions::new(schedule.ok()?);
        options.catch_up = raw.catch_up;
        options.deadline = raw.deadline;
        options.max_runtime = raw.max_runtime;
        options.warn_after = raw.warn_after;
        options.jitter = raw.jitter;
        if raw.jitter >= raw.deadline {
            let message =
                "must be shorter than schedule.deadline: a run that starts after it is late before it begins";
            self.problem("schedule.jitter", message);
        }
        Some(options)
    }

    /// The program of `[alert]`.
    pub(crate) fn alert(&mut self, raw: RawAlert) -> Option<AlertCommand> {
        let Some(command) = raw.command else {
            self.problem("alert.command", "missing; say which program to run, as a list");
            return None;
        };
        let mut alert = AlertCommand::new(program(command, self.folder));
        alert.pass_env = raw.pass_env;
        Some(alert)
    }

    fn prune(&mut self, raw: &RawPrune) -> Prune {
        let prune = Prune {
            keep_daily: raw.keep_daily,
            keep_monthly: raw.keep_monthly,
            local_after: raw.local_after,
        };
        if prune == Prune::default() {
            self.problem(
                "prune",
                "says nothing; set keep_daily, keep_monthly or local_after, or leave the table out to delete nothing",
            );
        }
        prune
    }

    fn metrics(&mut self, raw: RawMetrics) -> MetricsOptions {
        if raw.textfile.is_none() && raw.pushgateway.is_none() {
            self.problem(
                "metrics",
                "says nothing; set textfile or pushgateway, or leave the table out to send no metrics",
            );
        }
        let mut options = MetricsOptions::default();
        options.textfile = raw.textfile.map(|path| self.absolute(&path));
        options.pushgateway = raw.pushgateway;
        options
    }

    fn ping(&mut self, raw: &RawPing) -> Option<PingOptions> {
        if raw.url_env.is_none() && raw.url_file.is_none() {
            self.problem(
                "ping",
                "says no URL; name with url_env or url_file the variable or the file that holds it",
            );
            return None;
        }
        secret(self, "ping", "url", raw.url_env.as_deref(), raw.url_file.as_deref()).map(PingOptions::new)
    }

    fn verify_every(&mut self, raw: &RawVerify) -> Option<Duration> {
        if raw.every.is_none() {
            self.problem("verify", "says nothing; set every, such as \"7d\", or leave the table out");
        }
        raw.every
    }

    fn step(&mut self, i: usize, raw: RawStep) -> Option<Step> {
        if raw.name.is_none() {
            self.problem(format!("step[{i}].name"), "missing; give the step a name for logs and reports");
        }
        if raw.command.is_none() {
            self.problem(format!("step[{i}].command"), "missing; say which program to run, as a list");
        }
        let cwd = raw.cwd.map_or_else(|| plain(self.folder), |cwd| self.absolute(&cwd));
        let mut step = Step::new(raw.name?, program(raw.command?, &cwd));
        step.cwd = Some(cwd);
        step.env = raw.env;
        step.pass_env = raw.pass_env;
        step.each = if raw.each == "day" { Each::Day } else { Each::Run };
        step.timeout = raw.timeout;
        step.on_failure = if raw.on_failure == "continue" { OnFailure::Continue } else { OnFailure::Abort };
        Some(step)
    }

    fn source(&mut self, i: usize, raw: RawSource) -> Option<Source> {
        let Some(path) = raw.path else {
            self.problem(format!("source[{i}].path"), "missing; name the directory that is to be backed up");
            return None;
        };
        let symlinks = if raw.symlinks == "follow" { Symlinks::Follow } else { Symlinks::Skip };
        let source = Source::new(self.absolute(&path))
            .include(raw.include)
            .exclude(raw.exclude)
            .select(values::select(&raw.select)?)
            .compare(if raw.compare == "checksum" { Compare::Checksum } else { Compare::Times })
            .min_age(raw.min_age)
            .symlinks(symlinks)
            .prefix(raw.prefix);
        Some(source)
    }

    /// The destination, and the directory of the embedded server if that is the endpoint.
    fn destination(&mut self, raw: RawDestination) -> (Destination, Option<PathBuf>) {
        if raw.bucket.is_none() {
            self.problem("destination.bucket", "missing; set the name of the bucket");
        }
        if raw.tags.len() > MAX_TAGS {
            let message = format!("found {} tags, but an object can have at most {MAX_TAGS}", raw.tags.len());
            self.problem("destination.tags", message);
        }
        if raw.kms_key_id.is_some() && raw.sse.as_deref() != Some("aws:kms") {
            self.problem("destination.kms_key_id", "has no meaning without sse = \"aws:kms\"");
        }
        let embedded = raw.endpoint.as_deref().and_then(|url| url.strip_prefix("embedded:"));
        let embedded = embedded.map(|dir| self.absolute(Path::new(dir.trim())));

        let mut destination = Destination::new(raw.bucket.unwrap_or_default()).prefix(raw.prefix);
        destination.region = raw.region;
        destination.endpoint = raw.endpoint.filter(|_| embedded.is_none());
        // Its port is another each time.
        destination.known_as = embedded.as_ref().map(|dir| format!("embedded:{}", dir.display()));
        destination.storage_class = raw.storage_class;
        destination.sse = match raw.sse.as_deref() {
            Some("aws:kms") => Some(Sse::Kms { key_id: raw.kms_key_id }),
            Some(_) => Some(Sse::S3),
            None => None,
        };
        destination.tags = raw.tags;
        (destination, embedded)
    }

    fn logging(&self, raw: &RawLogging) -> Logging {
        Logging {
            dir: self.absolute(&raw.dir),
            level: match raw.level.as_str() {
                "error" => Level::Error,
                "warning" | "warn" => Level::Warning,
                "debug" => Level::Debug,
                "trace" => Level::Trace,
                _ => Level::Info,
            },
            json: raw.format == "json",
            max_size: raw.max_size,
            keep_files: raw.keep_files,
            keep_days: raw.keep_days,
        }
    }
}

/// A program with a relative path is one below the working directory; the system would take it from where this process
/// is, or from there, as it likes.
fn program(mut command: Vec<String>, cwd: &Path) -> Vec<String> {
    if let Some(first) = command.first_mut().filter(|first| first.contains('/')) {
        // A text joined to a path that is UTF-8 stays UTF-8; where the folder is not, the system decides after all.
        if let Some(path) = plain(&cwd.join(&*first)).to_str() {
            path.clone_into(first);
        }
    }
    command
}

/// Root has a home, too, but what a machine backs up is the machine's and not root's.
pub(crate) fn default_state_dir(request: &Request) -> Option<PathBuf> {
    let fallback = || match request.user {
        0 => Some(PathBuf::from("/var/lib")),
        _ => request.folder("HOME").map(|home| home.join(".local/state")),
    };
    request.folder("XDG_STATE_HOME").or_else(fallback).map(|folder| folder.join("s3backup"))
}

fn transfer(raw: &RawTransfer, timezone: Tz) -> Option<TransferSettings> {
    let auto = TransferSettings::default();
    Some(TransferSettings {
        concurrency: raw.concurrency.and_then(|n| usize::try_from(n).ok()).or(auto.concurrency),
        part_size_bytes: raw.part_size.unwrap_or(auto.part_size_bytes),
        memory_bytes: raw.memory,
        checksum: match raw.checksum.as_str() {
            "crc32c" => ChecksumKind::Crc32c,
            "sha256" => ChecksumKind::Sha256,
            "none" => ChecksumKind::None,
            _ => ChecksumKind::Crc64Nvme,
        },
        bandwidth: values::bandwidth(&raw.bandwidth, timezone)?,
        ..auto
    })
}
