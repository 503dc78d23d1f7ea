//! The dead-man's switch: what the bucket alone says of every job and machine below a prefix, looked at from anywhere.
//!
//! [`survey`] reads, [`judge`] decides and is pure, [`tell`] sees to it that people hear of each trouble once, [`marks`] are
//! the small objects that a monitor leaves behind.

mod builder;
mod judge;
mod marks;
mod report;
mod survey;
mod tell;

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use s3backup_model::{Latest, Name};
use s3backup_transfer::{Bucket, ChecksumKind, ConnectOptions, Error as TransferError, RetrySettings, Sse};
use slog::Logger;

use crate::Error;
use crate::backup::Clock;
use crate::outbox::Audience;

pub use builder::MonitorBuilder;
pub(crate) use judge::{time, words};
pub use report::{Finding, FindingKind, MonitorReport, Watched};

/// The job under which a monitor speaks of itself.
pub(crate) const OWN_JOB: &str = "monitor";

/// Watches what backs up below one prefix of a bucket. Needs nothing of the machines that it watches: only the right to list
/// the bucket and to read control data.
///
/// ```no_run
/// # use s3backup_core::{Destination, Monitor};
/// # async fn example() -> Result<(), s3backup_core::Error> {
/// let monitor = Monitor::builder().destination(Destination::new("fleet-backup").prefix("trips")).build()?;
/// let report = monitor.look().await?;
/// for watched in report.watched.iter().filter(|watched| !watched.is_well()) {
///     println!("{} on {}: {}", watched.job, watched.host, watched.findings[0].what);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Monitor {
    /// `s3://bucket/PREFIX`, the prefix up to its first placeholder.
    place: String,
    /// `PREFIX/.s3backup/`.
    folder: String,
    host: Name,
    expected: Vec<(Name, Name)>,
    connect: ConnectOptions,
    retry: RetrySettings,
    checksum: ChecksumKind,
    sse: Option<Sse>,
    audience: Audience,
    state_dir: Option<PathBuf>,
    clock: Clock,
    logger: Logger,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("place", &self.place)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// What the bucket says of one job on one machine.
struct Evidence {
    job: Name,
    host: Name,
    word: Word,
    /// When `latest.json` was written, by the server's clock.
    written_at: Option<DateTime<Utc>>,
    /// When the report of the last run that it tells of was, where its clock may be behind.
    report_written_at: Option<DateTime<Utc>>,
    alerts: Option<BrokenAlerts>,
    silent_until: Option<DateTime<FixedOffset>>,
    is_retired: bool,
}

/// `latest.json`, or why there is none.
enum Word {
    Said(Box<Latest>),
    /// It is not there, though a run has written other things.
    Absent,
    Damaged(String),
    Newer(u32),
    Unread(String),
}

/// What a machine says of alerts that do not get through.
struct BrokenAlerts {
    waiting: u64,
    since: DateTime<FixedOffset>,
    why: String,
}

impl Monitor {
    /// Starts from the defaults; a destination is needed.
    pub fn builder() -> MonitorBuilder {
        MonitorBuilder::default()
    }

    /// What it looks at: `s3://bucket/prefix`, the prefix up to its first placeholder.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Looks once: reads, judges by the server's clock, tells Slack what was not told before, and leaves word in the bucket
    /// that it has looked. What it may not write there is a warning.
    ///
    /// # Errors
    /// [`Error::Transfer`] when the bucket cannot be listed, which Slack is told as well. Dropping the future may leave a
    /// trouble claimed and not told; another look tells it.
    pub async fn look(&self) -> Result<MonitorReport, Error> {
        let mut report = MonitorReport {
            destination: self.place.clone(),
            at: (self.clock)(),
            by: self.host.clone(),
            watched: Vec::new(),
            findings: Vec::new(),
            warnings: Vec::new(),
        };
        let reached = Box::pin(self.reach(&mut report)).await;
        match reached {
            Ok(bucket) => {
                Box::pin(self.tell(&mut report, Some(&bucket))).await;
                Box::pin(self.leave_word(&mut report, &bucket)).await;
                Ok(report)
            }
            Err(error) => {
                let what = format!(
                    "the bucket cannot be read, so nobody watches what backs up there: {}",
                    error.to_line()
                );
                let mend = "mend what the message says; whatever fails meanwhile is not noticed";
                let day = judge::day(report.at);
                report.findings.push(Finding::new(
                    FindingKind::Unread,
                    report.at.fixed_offset(),
                    day,
                    what,
                    mend,
                ));
                Box::pin(self.tell(&mut report, None)).await;
                for warning in &report.warnings {
                    slog::warn!(self.logger, "{}", warning);
                }
                Err(Error::Transfer(error))
            }
        }
    }

    /// Lists, reads and judges.
    async fn reach(&self, report: &mut MonitorReport) -> Result<Bucket, TransferError> {
        let bucket = self.bucket().await?;
        let survey = survey::survey(&bucket, &self.folder, self.clock.as_ref()).await?;
        report.at = survey.at;
        report.warnings = survey.warnings;
        report.watched = survey.evidence.iter().map(|evidence| judge::judge(evidence, survey.at)).collect();
        for (job, host) in &self.expected {
            if !report.watched.iter().any(|watched| (&watched.job, &watched.host) == (job, host)) {
                let mut watched = Watched::new(job, host);
                judge::never_seen(&mut watched, survey.at);
                report.watched.push(watched);
            }
        }
        report.watched.sort_by(|one, other| (&one.job, &one.host).cmp(&(&other.job, &other.host)));
        let findings = [self.own_clock(report.at), nothing_there(report), left_out(survey.is_cut, report.at)];
        report.findings.extend(findings.into_iter().flatten());
        Ok(bucket)
    }

    async fn bucket(&self) -> Result<Bucket, TransferError> {
        Ok(Bucket::connect(&self.connect).await?.with_retry(self.retry.clone()))
    }

    /// Judging is by the server's clock, but whoever runs the monitor should know.
    fn own_clock(&self, now: DateTime<Utc>) -> Option<Finding> {
        let off: TimeDelta = (self.clock)() - now;
        (off.abs() > judge::CLOCK_LIMIT).then(|| {
            let word = if off > TimeDelta::zero() { "ahead of" } else { "behind" };
            let what = format!(
                "the clock of {}, which watches, is {} {word} the server's",
                self.host,
                words(off.abs())
            );
            let mend = "set its clock (NTP): at 15 minutes the server refuses all requests";
            Finding::new(FindingKind::Clock, now.fixed_offset(), judge::day(now), what, mend)
        })
    }
}

/// A wrong prefix looks as if all were well.
fn nothing_there(report: &MonitorReport) -> Option<Finding> {
    report.watched.is_empty().then(|| {
        let what = format!("nothing in {} tells of a backup", report.destination);
        let mend = "look whether bucket and prefix are those of the machines that back up";
        Finding::new(FindingKind::Unseen, report.at.fixed_offset(), judge::day(report.at), what, mend)
    })
}

fn left_out(is_cut: bool, now: DateTime<Utc>) -> Option<Finding> {
    is_cut.then(|| {
        let what = format!(
            "there are more than {} jobs and machines, and not all were looked at",
            survey::MAX_PLACES
        );
        let mend = "give them prefixes of their own, each with a monitor";
        Finding::new(FindingKind::Unread, now.fixed_offset(), judge::day(now), what, mend)
    })
}
