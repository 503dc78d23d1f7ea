//! The tools that are compared, each with the flags that make it fastest here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::server::BUCKET;
use crate::process;

/// What all keys begin with.
const PREFIX: &str = "data";

/// A tool.
pub(crate) enum Contestant {
    /// Ours.
    Backup {
        program: PathBuf,
    },
    S5cmd {
        program: PathBuf,
    },
    Rclone {
        program: PathBuf,
    },
}

impl Contestant {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Backup { .. } => "s3backup",
            Self::S5cmd { .. } => "s5cmd",
            Self::Rclone { .. } => "rclone",
        }
    }

    /// Name and version, as the tool itself tells it.
    pub(crate) fn version(&self) -> Result<String> {
        let (program, argument) = match self {
            Self::Backup { program } => (program, "--version"),
            Self::S5cmd { program } | Self::Rclone { program } => (program, "version"),
        };
        let said = process::output(Command::new(program).arg(argument))?;
        let version = said.lines().next().and_then(|line| line.split_whitespace().last()).unwrap_or_default();
        Ok(format!("{} {}", self.name(), version.trim_start_matches('v')))
    }

    /// Sends all of `source`. What the tool remembers goes to `state`, which is not there yet.
    pub(crate) fn upload(&self, source: &Path, state: &Path, endpoint: &str) -> Result<Command> {
        Ok(match self {
            Self::Backup { program } => {
                write_config(source, state, endpoint)?;
                backup(program, state, &["run"])
            }
            Self::S5cmd { program } => {
                let mut command = s5cmd(program, endpoint);
                command.arg(format!("{}/*", source.display())).arg(format!("s3://{BUCKET}/{PREFIX}/"));
                command
            }
            Self::Rclone { program } => {
                let mut command = Command::new(program);
                command.arg("copy").arg(source).arg(format!(":s3:{BUCKET}/{PREFIX}"));
                command.args(rclone_flags(endpoint)).args(["--s3-no-head", "--no-check-dest"]);
                command.args(rclone_upload_flags(source));
                command
            }
        })
    }

    /// Gets all that an upload of ours sent, of which the configuration is in `state`.
    pub(crate) fn download(&self, target: &Path, state: &Path, endpoint: &str) -> Command {
        match self {
            Self::Backup { program } => {
                let mut command = backup(program, state, &["restore", "--to"]);
                command.arg(target);
                command
            }
            Self::S5cmd { program } => {
                let mut command = s5cmd(program, endpoint);
                command.args(["--exclude", ".s3backup/*"]);
                command.arg(format!("s3://{BUCKET}/{PREFIX}/*")).arg(format!("{}/", target.display()));
                command
            }
            Self::Rclone { program } => {
                let mut command = Command::new(program);
                command.arg("copy").arg(format!(":s3:{BUCKET}/{PREFIX}")).arg(target);
                command.args(rclone_flags(endpoint)).args(["--no-check-dest", "--use-server-modtime"]);
                command.args(["--transfers", "16", "--buffer-size", "0", "--exclude", ".s3backup/**"]);
                command
            }
        }
    }
}

fn write_config(source: &Path, state: &Path, endpoint: &str) -> Result<()> {
    let text = format!(
        "job = \"bench\"\nhost = \"bench\"\nstate_dir = '{}'\n\n[[source]]\npath = '{}'\nmin_age = \"0s\"\n\n\
         [destination]\nbucket = \"{BUCKET}\"\nprefix = \"{PREFIX}\"\nendpoint = \"{endpoint}\"\n",
        state.join("catalog").display(),
        source.display(),
    );
    fs::create_dir(state)
        .and_then(|()| fs::write(config(state), text))
        .with_context(|| format!("cannot write into {}", state.display()))
}

fn config(state: &Path) -> PathBuf {
    state.join("backup.toml")
}

fn backup(program: &Path, state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("--config").arg(config(state)).arg("--quiet").args(arguments);
    command
}

fn s5cmd(program: &Path, endpoint: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--endpoint-url", endpoint, "--log", "error", "cp"]);
    command
}

/// Without the first ones it does not reach the server; the others spare it requests and waiting.
fn rclone_flags(endpoint: &str) -> Vec<&str> {
    let mut flags = vec!["--s3-provider", "Other", "--s3-list-version", "2", "--s3-env-auth"];
    flags.extend(["--s3-endpoint", endpoint, "--s3-region", "us-east-1", "--s3-force-path-style"]);
    flags.extend(["--checkers", "32", "--fast-list", "--s3-no-check-bucket"]);
    flags
}

/// Many files at once, unless the few there are can be sent in many parts.
fn rclone_upload_flags(source: &Path) -> &'static [&'static str] {
    let is_large = source.join("large-0.bin").is_file();
    if is_large {
        &[
            "--transfers",
            "4",
            "--s3-upload-concurrency",
            "4",
            "--s3-chunk-size",
            "64M",
            "--s3-disable-checksum",
        ]
    } else {
        &["--transfers", "16", "--buffer-size", "0"]
    }
}

/// Hides from a tool the settings of whoever runs it, and whatever proxy stands between it and loopback.
pub(crate) fn isolate(command: &mut Command, home: &Path) {
    for (name, _) in env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        let is_setting =
            ["AWS_", "BACKUP_", "RCLONE_", "S3_", "SLACK_"].iter().any(|prefix| upper.starts_with(prefix));
        if is_setting || upper.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("RCLONE_CONFIG", home.join("none.conf")).env("NO_PROXY", "*");
}
