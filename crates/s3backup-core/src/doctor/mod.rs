//! A check-up: everything that a run needs, looked at before a run needs it.
//!
//! Each check is by itself and bounded in time, so that the first trouble hides no other. What decides is a value first:
//! a module asks, and a pure function beside it judges what was answered.

mod alerts;
mod bucket;
mod disk;
mod identity;
mod limits;
mod slack;
mod sources;
mod state;
mod trigger;
mod zone;

use std::path::PathBuf;
use std::time::Duration;

use s3backup_slack::Slack;
use s3backup_transfer::{Bucket, ConnectOptions, HttpPath};
use serde::Serialize;

use crate::backup::Backup;
use crate::memory::on_blocking_thread;

/// How long one check may take. What does not answer by then is trouble of its own.
const LIMIT: Duration = Duration::from_secs(20);

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The version of this form: 1.
    pub schema: u32,
    /// In the order in which they are to be read.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Puts checks together.
    pub fn new(checks: Vec<Check>) -> Self {
        Self { schema: 1, checks }
    }

    /// How many checks ended in this way.
    pub fn count(&self, state: CheckState) -> usize {
        self.checks.iter().filter(|check| check.state == state).count()
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// A word for what it is about; several sources and steps share one.
    pub name: &'static str,
    /// How it stands.
    pub state: CheckState,
    /// What is so, and why it matters where that is not plain.
    pub message: String,
    /// What to do, a command where there is one. Absent when all is well.
    pub mend: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: CheckState::Ok, message: message.into(), mend: None }
    }

    /// Runs work, and something is worse than it could be.
    pub fn warn(name: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, state: CheckState::Warn, message: message.into(), mend: Some(mend.into()) }
    }

    /// Runs fail, or nobody hears that they do.
    pub fn fail(name: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, state: CheckState::Fail, message: message.into(), mend: Some(mend.into()) }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// All is well.
    Ok,
    /// Runs work, and something is worse than it could be.
    Warn,
    /// Runs fail, or nobody hears that they do.
    Fail,
}

/// What a check-up should know beside the job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DoctorOptions {
    /// The directory of the log files, if there are any. Default: none.
    pub log_dir: Option<PathBuf>,
    /// Below which directory the machine's own files are looked for (`etc`, `proc`, `sys`, `var`). Default `/`.
    pub root: PathBuf,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self { log_dir: None, root: PathBuf::from("/") }
    }
}

impl Backup {
    /// Checks everything that a run of this backup needs: the bucket with every right that a run uses, by really using it,
    /// credentials, clock, Slack without posting, sources, steps, disks, catalog, limits, and what triggers runs.
    ///
    /// Writes one small object below the control prefix and removes it where that is allowed; takes no lock, and changes
    /// nothing else. Nothing is waited for longer than half a minute, and the bucket is given up at the first request that
    /// is not answered. Dropping the future may leave the object, and a multipart upload of it, in the bucket; a thread that
    /// hangs in a dead file system is left to itself.
    pub async fn examine(&self, options: &DoctorOptions) -> Diagnosis {
        let job = &self.job;
        let root = options.root.clone();
        let disks = {
            let (state, logs) = (job.state_dir(), options.log_dir.clone());
            blocking("disk", move || disk::check(state.as_deref(), logs.as_deref()))
        };
        let machine = {
            let (root, transfer, zone) = (root.clone(), job.transfer.clone(), job.timezone);
            blocking("machine", move || {
                [zone::check(&root, zone), limits::check(&root, Some(&transfer))].concat()
            })
        };
        let (bucket, slack, alerts, sources, steps, disks, state, trigger, machine) = tokio::join!(
            Box::pin(bucket::check(job)),
            slack::check(job.audience.slack.as_ref()),
            alerts::check(job),
            sources::check(&job.sources),
            sources::check_steps(&job.steps),
            disks,
            state::check(job),
            trigger::check(job, root),
            machine,
        );
        let all = [bucket, slack, alerts, sources, steps, disks, state, trigger, machine].concat();
        Diagnosis::new(all)
    }
}

/// The checks that can be made of a job whose configuration cannot be used: of what the environment alone says, and of Slack
/// where it is still known. Bounded as [`Backup::examine`].
pub async fn examine_without_job(slack: Option<&Slack>, options: &DoctorOptions) -> Vec<Check> {
    let root = options.root.clone();
    let machine = blocking("machine", move || limits::check(&root, None));
    let connect = async {
        // No request is sent: only the credentials are looked for.
        let options = ConnectOptions {
            bucket: "unknown".to_owned(),
            region: Some("us-east-1".to_owned()),
            http: HttpPath::Sdk,
            ..ConnectOptions::default()
        };
        let connected = tokio::time::timeout(LIMIT, Bucket::connect(&options)).await;
        match connected {
            Ok(Ok(bucket)) => vec![identity::judge_access(bucket.access(), chrono::Utc::now())],
            Ok(Err(error)) => vec![identity::not_connected(&error)],
            Err(_) => vec![no_answer("credentials")],
        }
    };
    let (credentials, slack, machine) = tokio::join!(Box::pin(connect), slack::check(slack), machine);
    [credentials, slack, machine].concat()
}

/// Looks on a thread that may block, for as long as one check may take.
async fn blocking(name: &'static str, look: impl FnOnce() -> Vec<Check> + Send + 'static) -> Vec<Check> {
    match tokio::time::timeout(LIMIT, on_blocking_thread(look)).await {
        Ok(Ok(checks)) => checks,
        Ok(Err(error)) => vec![Check::fail(name, crate::line_of(&error), "report this defect")],
        Err(_) => vec![no_answer(name)],
    }
}

fn no_answer(name: &'static str) -> Check {
    Check::fail(
        name,
        format!("no answer within {} s", LIMIT.as_secs()),
        "look whether the network, or the file system that is asked, is there at all",
    )
}
