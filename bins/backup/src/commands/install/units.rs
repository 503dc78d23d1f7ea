//! The units: those in `docs/deploy/systemd`, filled in with what the configuration says.

use std::path::{Path, PathBuf};

use s3backup_config::Loaded;

use super::calendar::on_calendar;
use crate::cli::UnitsName;

/// The user of the machine's units.
pub(super) const USER: &str = "s3backup";

const DAEMON: &str = include_str!("../../../../../docs/deploy/systemd/s3backup.service");
const RUN: &str = include_str!("../../../../../docs/deploy/systemd/s3backup-run@.service");
const RUN_TIMER: &str = include_str!("../../../../../docs/deploy/systemd/s3backup-run@.timer");
const MONITOR: &str = include_str!("../../../../../docs/deploy/systemd/s3backup-monitor.service");
const MONITOR_TIMER: &str = include_str!("../../../../../docs/deploy/systemd/s3backup-monitor.timer");

/// What stands in them for the program and the configuration.
const PROGRAM: &str = "/usr/local/bin/backup";
const CONFIG: &str = "/etc/s3backup/backup.toml";

/// What the program may take beside `[transfer] memory` before the kernel ends it: some 40 MiB, and room.
const BESIDE_MIB: u64 = 256;

/// What only the machine's own systemd can do; a user's has no right to.
const OF_MACHINE: [&str; 25] = [
    "Wants=",
    "After=",
    "User=",
    "Group=",
    "StateDirectory=",
    "StateDirectoryMode=",
    "LogsDirectory=",
    "LogsDirectoryMode=",
    "Environment=",
    "CapabilityBoundingSet=",
    "ProtectSystem=",
    "ProtectHome=",
    "PrivateTmp=",
    "PrivateDevices=",
    "ProtectClock=",
    "ProtectControlGroups=",
    "ProtectHostname=",
    "ProtectKernelLogs=",
    "ProtectKernelModules=",
    "ProtectKernelTunables=",
    "ProtectProc=",
    "RemoveIPC=",
    "KeyringMode=",
    "RestrictSUIDSGID=",
    "RestrictNamespaces=",
];

/// One unit's file.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) text: String,
    /// Whether it is enabled and started, rather than started by another.
    pub(super) is_started: bool,
}

/// Where units are to run.
pub(super) struct Place {
    pub(super) program: PathBuf,
    /// By a user's own systemd.
    pub(super) is_user: bool,
}

/// The units for these jobs of one configuration.
///
/// # Errors
/// What the configuration would have to say.
pub(super) fn make(which: UnitsName, jobs: &[Loaded], place: &Place) -> Result<Vec<Unit>, String> {
    let filling = Filling::of(jobs, place);
    let unit = |name: String, template: &str, is_started: bool| Unit {
        name,
        text: filling.fill(template),
        is_started,
    };
    Ok(match which {
        UnitsName::Daemon => vec![unit("s3backup.service".to_owned(), DAEMON, true)],
        UnitsName::Monitor => vec![
            unit("s3backup-monitor.service".to_owned(), MONITOR, false),
            unit("s3backup-monitor.timer".to_owned(), MONITOR_TIMER, true),
        ],
        UnitsName::Timer => {
            let mut units = vec![unit("s3backup-run@.service".to_owned(), RUN, false)];
            for job in jobs {
                let template = replaced(RUN_TIMER, "OnCalendar=", &calendar_of(job)?);
                units.push(unit(format!("s3backup-run@{}.timer", job.settings.job), &template, true));
            }
            units
        }
    })
}

/// When a job is due, as its timer says it.
fn calendar_of(job: &Loaded) -> Result<String, String> {
    let name = &job.settings.job;
    let Some(options) = &job.settings.schedule else {
        return Err(format!(
            "the job {name} has no `[schedule] cron`: say when it is due, such as \"0 20 * * *\""
        ));
    };
    let (cron, zone) = (options.schedule.cron(), options.schedule.timezone().name());
    on_calendar(cron, zone).ok_or_else(|| {
        format!(
            "the times of the job {name}, {cron:?}, cannot be said to a systemd timer: let the daemon keep them (`backup install systemd`)"
        )
    })
}

/// The value of a line that begins so.
fn replaced(template: &str, begin: &str, value: &str) -> String {
    let line =
        |line: &str| if line.starts_with(begin) { format!("{begin}{value}\n") } else { format!("{line}\n") };
    template.lines().map(line).collect()
}

/// What is put into the templates.
struct Filling {
    program: String,
    config: String,
    /// Directories that are written to, beside the unit's own.
    writable: Vec<String>,
    /// How lines begin that are left out.
    left_out: Vec<&'static str>,
    /// How lines begin in whose place others stand.
    instead: Vec<(&'static str, String)>,
}

impl Filling {
    fn of(jobs: &[Loaded], place: &Place) -> Self {
        let config = jobs.first().map_or_else(|| PathBuf::from(CONFIG), |job| job.file.clone());
        let is_default = |key: &str| {
            jobs.iter().all(|job| {
                job.explain().iter().any(|value| value.key == key && value.source.starts_with("default"))
            })
        };
        let (is_own_state, is_own_log) = (is_default("state_dir"), is_default("logging.dir"));
        let (mut writable, mut read) = (Vec::new(), vec![config.clone(), place.program.clone()]);
        for settings in jobs.iter().map(|job| &job.settings) {
            writable.extend((!is_own_state).then(|| settings.state_dir.clone()));
            writable.extend((!is_own_log).then(|| settings.logging.dir.clone()));
            writable.extend(settings.embedded_dir.clone());
            let sources = settings.sources.iter().map(|source| source.path.clone());
            // Steps make what is backed up, and pruning removes it.
            if settings.steps.is_empty() && settings.prune.is_none_or(|prune| prune.local_after.is_none()) {
                read.extend(sources);
            } else {
                writable.extend(sources);
                writable.extend(settings.steps.iter().filter_map(|step| step.cwd.clone()));
            }
        }
        writable.sort_unstable();
        writable.dedup();

        let (mut left_out, mut instead) = (Vec::new(), Vec::new());
        left_out.extend((!is_own_state).then_some("Environment=BACKUP_STATE_DIR="));
        left_out.extend((!is_own_log).then_some("Environment=BACKUP_LOGGING__DIR="));
        if jobs.iter().any(|job| !job.settings.steps.is_empty()) {
            // What steps need is not known here; interpreters compile as they go.
            left_out.extend(["MemoryMax=", "MemoryDenyWriteExecute="]);
        }
        let memory = jobs.iter().map(|job| job.settings.transfer.memory_bytes).max().unwrap_or_default();
        instead.push(("MemoryMax=", format!("MemoryMax={}M", (memory >> 20) + BESIDE_MIB)));
        let reaches = |places: &[&str]| {
            writable.iter().chain(&read).any(|path| places.iter().any(|place| path.starts_with(place)))
        };
        if reaches(&["/home", "/root", "/run/user"]) {
            instead.push(("ProtectHome=", "ProtectHome=read-only".to_owned()));
        }
        if reaches(&["/tmp", "/var/tmp"]) {
            instead.push(("PrivateTmp=", "PrivateTmp=no".to_owned()));
        }
        if place.is_user {
            left_out.extend(OF_MACHINE);
            instead.push(("EnvironmentFile=", "EnvironmentFile=-%E/s3backup/environment".to_owned()));
            instead.push(("WantedBy=multi-user.target", "WantedBy=default.target".to_owned()));
        }
        Self {
            program: quoted(&place.program),
            config: quoted(&config),
            writable: writable.iter().map(|path| quoted(path)).collect(),
            left_out,
            instead,
        }
    }

    fn fill(&self, template: &str) -> String {
        let mut out = String::new();
        let mut comments = String::new();
        for line in template.lines() {
            if line.starts_with('#') {
                comments.push_str(line);
                comments.push('\n');
                continue;
            }
            // What is said of a line goes with it.
            let said = std::mem::take(&mut comments);
            if self.left_out.iter().any(|begin| line.starts_with(begin)) {
                continue;
            }
            out.push_str(&said);
            out.push_str(&self.line(line));
            out.push('\n');
            if line == "ProtectSystem=strict" {
                // One that is not there yet is no reason not to start.
                out.extend(self.writable.iter().map(|path| format!("ReadWritePaths=-{path}\n")));
            }
        }
        // Lines that went leave gaps behind.
        while out.contains("\n\n\n") {
            out = out.replace("\n\n\n", "\n\n");
        }
        out
    }

    fn line(&self, line: &str) -> String {
        match self.instead.iter().find(|(begin, _)| line.starts_with(begin)) {
            Some((_, other)) => other.clone(),
            None if line.starts_with("ExecStart=") => {
                line.replace(PROGRAM, &self.program).replace(CONFIG, &self.config)
            }
            None => line.to_owned(),
        }
    }
}

/// A path as one word of a unit, whatever is in it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@:,".contains(c);
    if text.chars().all(is_plain) {
        return text;
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(format!("\\x{:02x}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_and_one_line() {
        let word = |path: &str| quoted(Path::new(path));
        assert_eq!(word("/srv/trips-1"), "/srv/trips-1");
        assert_eq!(word("/srv/my trips"), "\"/srv/my trips\"");
        assert_eq!(
            word("/srv/100%\"x\"\nExecStart=/bin/sh"),
            "\"/srv/100%%\\\"x\\\"\\x0aExecStart=/bin/sh\""
        );
    }

    #[test]
    fn the_walls_are_the_same_around_each_service() {
        let walls = |unit: &'static str| -> Vec<&'static str> {
            let inside = unit.lines().skip_while(|line| !line.starts_with("# What it may touch"));
            inside.take_while(|line| !line.is_empty()).collect()
        };
        assert!(walls(DAEMON).len() > 20);
        assert_eq!(walls(DAEMON), walls(RUN));
        assert_eq!(walls(DAEMON), walls(MONITOR));
    }
}
