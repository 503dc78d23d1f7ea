//! What a program takes: time by the monotonic clock, the rest by GNU `time`.
//!
//! The standard library does not tell what a child used. GNU `time` does, for the child and for what it waited for, and
//! its own part is too small to see.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

const TIME: &str = "time";

/// What one run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) wall_seconds: f64,
    /// In user mode and in the kernel, of all processors.
    pub(crate) cpu_seconds: f64,
    /// The most memory in use at once.
    pub(crate) peak_mib: f64,
}

/// Fails if there is no GNU `time`.
pub(crate) fn check() -> Result<()> {
    let answer = process::output(Command::new(TIME).args(["-f", "%M", "true"]));
    answer.map(drop).context("GNU `time` is needed; on Debian it is in the package `time`")
}

/// Runs a command to its end. What it prints goes to `log`, and into the error if it fails.
pub(crate) fn run(command: &Command, log: &Path) -> Result<Cost> {
    let figures = log.with_extension("figures");
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut timed = Command::new(TIME);
    timed.args([OsStr::new("-f"), OsStr::new("%U %S %M"), OsStr::new("-o"), figures.as_os_str()]);
    timed.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    timed.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let start = Instant::now();
    let status = timed.status().with_context(|| format!("cannot start {TIME}"))?;
    let wall_seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        let said = fs::read_to_string(log).unwrap_or_default();
        bail!("`{}` failed ({status}): {}", process::shown(command), said.trim());
    }
    parse(wall_seconds, &fs::read_to_string(&figures)?)
}

fn parse(wall_seconds: f64, figures: &str) -> Result<Cost> {
    let numbers: Vec<f64> = figures.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    ensure!(numbers.len() == 3, "{TIME} printed `{figures}`");
    Ok(Cost { wall_seconds, cpu_seconds: numbers[0] + numbers[1], peak_mib: numbers[2] / 1024.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_gnu_time_are_read() {
        let cost = parse(1.0, "0.25 0.50 2048\n").unwrap();
        assert_eq!(cost, Cost { wall_seconds: 1.0, cpu_seconds: 0.75, peak_mib: 2.0 });
        assert!(parse(1.0, "Command exited with non-zero status 1\n0.25 0.50 2048").is_err());
    }
}
