//! Whether anything starts runs: the best proof is a run that something started; else what is installed is looked for.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_model::{RunSummary, Trigger};

use super::{Check, blocking};
use crate::backup::{Backup, Job};

const NAME: &str = "trigger";

/// Runs back among which one is looked for that no person started.
const RUNS: usize = 100;

/// How long ago such a run proves nothing any more, where no schedule says how often they are due.
const OLD: TimeDelta = TimeDelta::days(8);

/// Where systemd keeps links to what is started by itself.
const WANTED: [&str; 4] = [
    "etc/systemd/system/timers.target.wants",
    "etc/systemd/system/multi-user.target.wants",
    "etc/systemd/user/timers.target.wants",
    "etc/systemd/user/default.target.wants",
];

/// Files and folders of crontabs.
const CRONTABS: [&str; 5] =
    ["etc/crontab", "etc/cron.d", "etc/cron.daily", "var/spool/cron", "var/spool/cron/crontabs"];

/// A crontab is a few lines; what is larger is none.
const MAX_BYTES: u64 = 1 << 20;

pub(super) async fn check(job: &Arc<Job>, root: std::path::PathBuf) -> Vec<Check> {
    let mut checks = Vec::new();
    if job.schedule.is_none() {
        checks.push(Check::warn(
            "schedule",
            "there is no `[schedule]`: nobody knows when a run is due, so nobody notices one that is missing",
            "say when runs are due, whoever starts them: `[schedule] cron = \"0 20 * * *\"`",
        ));
    }
    let now = (job.clock)();
    let since = expected_since(job, now);
    let backup = Backup { job: Arc::clone(job) };
    // Without a catalog no run is known here, and the bucket is asked by other checks.
    let runs = match job.state_dir() {
        Some(dir) if dir.join(crate::memory::DATABASE).exists() => {
            backup.history(RUNS).await.unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let summaries: Vec<RunSummary> = runs.into_iter().filter_map(|run| run.summary).collect();
    if let Some(check) = by_runs(&summaries, since) {
        checks.push(check);
        return checks;
    }
    let is_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    checks.extend(blocking(NAME, move || vec![judge(&Installed::look(&root), is_cluster)]).await);
    checks
}

/// Since when something should have started a run: the due time before the last one.
fn expected_since(job: &Job, now: DateTime<Utc>) -> DateTime<Utc> {
    let options = job.schedule.as_ref();
    let last_two = options.map(|options| options.schedule.between(now - TimeDelta::days(400), now, 2).times);
    last_two.filter(|times| times.len() == 2).map_or(now - OLD, |times| times[0].at)
}

fn by_runs(runs: &[RunSummary], since: DateTime<Utc>) -> Option<Check> {
    let started = |run: &&RunSummary| run.trigger != Trigger::Manual && run.started_at >= since;
    let run = runs.iter().find(started)?;
    let (what, at) = (run.trigger.as_str(), run.started_at.format("%Y-%m-%d %H:%M %:z"));
    Some(Check::ok(NAME, format!("{what} started a run at {at}")))
}

/// What is there that would start runs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Installed {
    /// Whether the daemon runs.
    daemon: bool,
    /// Enabled units of systemd.
    units: Vec<String>,
    /// Files with a cron line.
    crontabs: Vec<String>,
}

impl Installed {
    fn look(root: &Path) -> Self {
        let mut found = Self { daemon: has_daemon(&root.join("proc")), ..Self::default() };
        for dir in WANTED.iter().map(|dir| root.join(dir)) {
            found.units.extend(
                names(&dir).filter(|name| name.starts_with("s3backup") || name.starts_with("backup.")),
            );
        }
        for place in CRONTABS.iter().map(|place| root.join(place)) {
            let inside = names(&place).map(|name| place.join(name));
            for file in inside.chain([place.clone()]).filter(|file| runs_backup(file)) {
                found.crontabs.push(file.display().to_string());
            }
        }
        found
    }
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Whether a process is `backup … schedule`.
fn has_daemon(proc: &Path) -> bool {
    names(proc).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).any(|pid| {
        let line = fs::read(proc.join(pid).join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        program.ends_with(b"backup") && words.any(|word| word == b"schedule")
    })
}

fn runs_backup(file: &Path) -> bool {
    let is_small = fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() < MAX_BYTES);
    let text = if is_small { fs::read_to_string(file).unwrap_or_default() } else { String::new() };
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let program = words.iter().position(|word| word.rsplit('/').next() == Some("backup"));
        program.is_some_and(|at| words.iter().skip(at).any(|word| *word == "run"))
    })
}

fn judge(installed: &Installed, is_cluster: bool) -> Check {
    let Installed { daemon, units, crontabs } = installed;
    let is_timer = |unit: &str| unit.rsplit('.').next() == Some("timer");
    let is_service = |unit: &&String| unit.as_str() == "s3backup.service";
    if *daemon {
        return Check::ok(NAME, "`backup schedule` runs");
    }
    if units.iter().any(|unit| is_timer(unit) && !unit.contains("monitor")) {
        return Check::ok(NAME, format!("systemd starts runs: {}", units.join(", ")));
    }
    if !crontabs.is_empty() {
        return Check::ok(NAME, format!("cron starts runs: {}", crontabs.join(", ")));
    }
    if let Some(unit) = units.iter().find(is_service) {
        return Check::warn(
            NAME,
            format!("{unit} is enabled, but no `backup schedule` runs: nothing starts runs"),
            "systemctl start s3backup.service; journalctl -u s3backup.service says why it ended",
        );
    }
    if is_cluster {
        return Check::ok(
            NAME,
            "in a cluster of Kubernetes, which cannot be looked into from here: kubectl get cronjobs",
        );
    }
    Check::warn(
        NAME,
        "nothing was found that starts runs (no daemon, no systemd timer, no cron line, no such run yet), unless another scheduler does",
        "`backup install systemd`, or a line in a crontab",
    )
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    use s3backup_model::{Outcome, RunId};

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn state_of(root: &Path) -> CheckState {
        judge(&Installed::look(root), false).state
    }

    #[test]
    fn what_is_installed_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(state_of(root), CheckState::Warn);
        assert_eq!(judge(&Installed::default(), true).state, CheckState::Ok);

        write(root, "etc/crontab", "# 0 20 * * * root backup run\n0 3 * * * root backup prune\n");
        assert_eq!(state_of(root), CheckState::Warn);
        write(
            root,
            "etc/cron.d/s3backup",
            "0 20 * * * s3backup /usr/local/bin/backup --quiet run --trigger cron\n",
        );
        assert!(judge(&Installed::look(root), false).message.contains("etc/cron.d/s3backup"));
        fs::remove_file(root.join("etc/cron.d/s3backup")).unwrap();

        write(root, "etc/systemd/system/multi-user.target.wants/s3backup.service", "");
        let enabled = judge(&Installed::look(root), false);
        assert!(enabled.state == CheckState::Warn && enabled.mend.unwrap().contains("systemctl start"));
        write(root, "etc/systemd/system/timers.target.wants/s3backup-monitor.timer", "");
        assert_eq!(state_of(root), CheckState::Warn, "a monitor starts no runs");
        write(root, "etc/systemd/system/timers.target.wants/s3backup-run@trips.timer", "");
        assert_eq!(state_of(root), CheckState::Ok);

        fs::remove_dir_all(root.join("etc")).unwrap();
        write(root, "proc/4711/cmdline", "/usr/local/bin/backup\0--quiet\0schedule\0");
        assert_eq!(judge(&Installed::look(root), false).message, "`backup schedule` runs");
    }

    #[test]
    fn a_run_that_something_started_proves_it() {
        let at = DateTime::from_timestamp(1_764_000_000, 0).unwrap();
        let run = |trigger: Trigger| -> RunSummary {
            let (none, time) = (serde_json::json!({"files": 0, "bytes": 0}), at.fixed_offset());
            let summary = serde_json::json!({
                "run_id": RunId::new(at, 1), "trigger": trigger, "outcome": Outcome::Success, "started_at": time,
                "finished_at": time, "found": none, "uploaded": none, "failed_total": 0,
            });
            serde_json::from_value(summary).unwrap()
        };
        let day = TimeDelta::days(1);
        assert!(by_runs(&[run(Trigger::Manual)], at - day).is_none());
        assert!(
            by_runs(&[run(Trigger::Manual), run(Trigger::Cron)], at - day)
                .unwrap()
                .message
                .starts_with("cron")
        );
        assert!(by_runs(&[run(Trigger::Cron)], at + day).is_none(), "it is too long ago");
    }
}
