//! Seeing to it that people hear of each trouble once, and once that it is over.
//!
//! Two memories keep a monitor from repeating itself: a file on its machine, and marks in the bucket, which daemons and other
//! monitors see as well. Without either it tells all the same.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset, Utc};
use s3backup_model::{Alert, AlertKind, Name};
use s3backup_transfer::Bucket;
use serde::{Deserialize, Serialize};

use super::marks::Claimed;
use super::{Finding, Monitor, MonitorReport, OWN_JOB};
use crate::memory::on_blocking_thread;
use crate::outbox::{Audience, command};
use crate::{alert, line_of};

/// The most messages of one look; the next tells the rest.
const MAX_MESSAGES: usize = 20;

/// Below the state directory. No job can have this name.
const FILE: &str = ".monitor.json";

/// What was told of one place, by `job/host/kind`.
type Told = BTreeMap<String, Trouble>;

/// A trouble that was told, and is not known to be over.
#[derive(Clone, Serialize, Deserialize)]
struct Trouble {
    job: Name,
    host: Name,
    kind: String,
    due: DateTime<Utc>,
    since: DateTime<FixedOffset>,
    /// Whether it was this monitor that told it: then it also tells that it is over.
    ours: bool,
}

/// A finding, and of whom.
struct Matter<'a> {
    job: &'a Name,
    host: &'a Name,
    finding: &'a Finding,
}

impl Matter<'_> {
    fn id(&self) -> String {
        format!("{}/{}/{}", self.job, self.host, self.finding.kind.as_str())
    }

    fn told(&self, ours: bool) -> Trouble {
        Trouble {
            job: self.job.clone(),
            host: self.host.clone(),
            kind: self.finding.kind.as_str().to_owned(),
            due: self.finding.due,
            since: self.finding.since,
            ours,
        }
    }
}

impl Monitor {
    /// Tells what is wrong and what is over. `bucket` is absent where it could not be read: then only the monitor itself is
    /// spoken of.
    pub(super) async fn tell(&self, report: &mut MonitorReport, bucket: Option<&Bucket>) {
        if !self.audience.is_there() {
            return;
        }
        let mut told = match self.remembered().await {
            Ok(told) => told,
            Err(why) => {
                report
                    .warnings
                    .push(format!("what was told before is not known, and may be told again: {why}"));
                Told::new()
            }
        };
        let own = Name::lossy(OWN_JOB);
        let mut matters: Vec<Matter<'_>> = Vec::new();
        matters.extend(report.findings.iter().map(|finding| Matter { job: &own, host: &self.host, finding }));
        // Of those that are silenced it is told when the silence is over.
        for watched in report.watched.iter().filter(|watched| watched.silent_until.is_none()) {
            let (job, host) = (&watched.job, &watched.host);
            matters.extend(watched.findings.iter().map(|finding| Matter { job, host, finding }));
        }
        let over = self.over(report, &matters, &told, bucket.is_some());
        let mut teller =
            Teller { monitor: self, bucket, at: report.at, messages: 0, untold: 0, failure: None };
        for matter in &matters {
            teller.tell(matter, &mut told).await;
        }
        for (id, is_worth_saying) in over {
            let Some(trouble) = told.get(&id) else { continue };
            if !is_worth_saying || !trouble.ours || teller.tell_over(trouble).await {
                told.remove(&id);
            }
        }
        let Teller { untold, failure, .. } = teller;
        if let Some(why) = failure {
            report
                .warnings
                .push(format!("people were not told of {untold} findings, the next look tries again: {why}"));
        } else if untold > 0 {
            report.warnings.push(format!("{untold} more findings are told by the next look"));
        }
        if let Err(why) = self.remember(told).await {
            report.warnings.push(format!("what was told is not remembered, and may be told again: {why}"));
        }
    }

    /// Which troubles are over, and whether that is worth a message. Of what could not be looked at nobody knows.
    fn over(
        &self,
        report: &MonitorReport,
        matters: &[Matter<'_>],
        told: &Told,
        is_read: bool,
    ) -> Vec<(String, bool)> {
        let is_over = |(id, trouble): (&String, &Trouble)| {
            if matters.iter().any(|matter| matter.id() == *id) {
                return None;
            }
            if trouble.job.as_str() == OWN_JOB && trouble.host == self.host {
                return is_read.then(|| (id.clone(), true));
            }
            let watched = report.watched.iter();
            let watched = watched
                .clone()
                .find(|watched| (&watched.job, &watched.host) == (&trouble.job, &trouble.host));
            match watched {
                Some(watched) if watched.silent_until.is_some() => None,
                Some(watched) if watched.findings.iter().any(|finding| finding.kind.hides_all()) => None,
                Some(watched) => Some((id.clone(), !watched.is_retired)),
                // It is not there any more, and not expected.
                None => is_read.then(|| (id.clone(), false)),
            }
        };
        told.iter().filter_map(is_over).collect()
    }

    async fn remembered(&self) -> Result<Told, String> {
        let (Some(path), place) = (self.file(), self.place.clone()) else { return Ok(Told::new()) };
        let read =
            on_blocking_thread(move || load(&path).map(|mut all| all.remove(&place).unwrap_or_default()));
        read.await.map_err(|error| line_of(&error))?
    }

    /// Replaces what was remembered of this place, at once or not at all.
    async fn remember(&self, told: Told) -> Result<(), String> {
        let (Some(path), place) = (self.file(), self.place.clone()) else { return Ok(()) };
        let written = on_blocking_thread(move || {
            // What cannot be read is replaced: it was said when it was read first.
            let mut all = load(&path).unwrap_or_default();
            all.insert(place, told);
            store(&path, &all).map_err(|error| format!("{}: {error}", path.display()))
        });
        written.await.map_err(|error| line_of(&error))?
    }

    fn file(&self) -> Option<PathBuf> {
        self.state_dir.as_ref().map(|dir| dir.join(FILE))
    }
}

/// Sends the messages of one look, and no more of them once one did not get through.
struct Teller<'a> {
    monitor: &'a Monitor,
    bucket: Option<&'a Bucket>,
    at: DateTime<Utc>,
    messages: usize,
    untold: usize,
    failure: Option<String>,
}

impl Teller<'_> {
    async fn tell(&mut self, matter: &Matter<'_>, told: &mut Told) {
        let (id, kind) = (matter.id(), matter.finding.kind);
        if !self.monitor.audience.wants(kind.alert())
            || told.get(&id).is_some_and(|before| before.due == matter.finding.due)
        {
            return;
        }
        if self.failure.is_some() || self.messages >= MAX_MESSAGES {
            self.untold += 1;
            return;
        }
        let mut mark = None;
        // The bucket knows nothing of the monitor's own troubles.
        if let Some(bucket) = self.bucket.filter(|_| matter.job.as_str() != OWN_JOB) {
            match self.monitor.claim(bucket, matter.job, matter.host, matter.finding).await {
                Claimed::Others => {
                    told.insert(id, matter.told(false));
                    return;
                }
                Claimed::Ours(ours) => mark = Some((bucket, ours)),
                Claimed::Unmarked(why) => {
                    slog::debug!(self.monitor.logger, "a trouble is not marked in the bucket"; "why" => why);
                }
            }
        }
        let alert = alert::of_finding(matter.job, matter.host, matter.finding, &self.monitor.place);
        if self.send(&id, &alert).await {
            if let Some((bucket, mark)) = mark {
                self.monitor.mark_told(bucket, mark).await;
            }
            told.insert(id, matter.told(true));
        } else {
            self.untold += 1;
        }
    }

    /// Gives whether nothing is left to be said.
    async fn tell_over(&mut self, trouble: &Trouble) -> bool {
        if !self.monitor.audience.wants(AlertKind::Recovered) {
            return true;
        }
        if self.failure.is_some() {
            return false;
        }
        let at = self.at.with_timezone(trouble.since.offset());
        let alert = alert::of_recovery(&trouble.job, &trouble.host, &trouble.kind, trouble.since, at);
        let id = format!("{}/{}/{}", trouble.job, trouble.host, trouble.kind);
        self.send(&id, &alert).await
    }

    /// By Slack, and where that does not work by the command: the next look may be an hour away.
    async fn send(&mut self, trouble: &str, alert: &Alert) -> bool {
        self.messages += 1;
        let Audience { slack, command, secrets } = &self.monitor.audience;
        let mut failures = Vec::new();
        if let Some(slack) = slack {
            match slack.send(alert).await {
                Ok(_) => return true,
                Err(error) => failures.push(line_of(&error)),
            }
        }
        if let Some(command) = command {
            match command::run(command, trouble, alert, secrets, &self.monitor.logger).await {
                Ok(()) => return true,
                Err(why) => failures.push(format!("the alert command: {why}")),
            }
        }
        self.failure = Some(failures.join("; "));
        false
    }
}

fn load(path: &Path) -> Result<BTreeMap<String, Told>, String> {
    match std::fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| format!("{} is damaged: {error}", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn store(path: &Path, all: &BTreeMap<String, Told>) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(all)?)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
