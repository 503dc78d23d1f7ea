//! Programs that are run: each in a process group of its own, so that what it started can be ended with it, and without the
//! secrets of this process.

use std::ffi::OsString;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A program with all that it started. Dropping it kills them.
pub(crate) struct Group {
    pub(crate) child: Child,
    /// The group's number, which is its leader's; none once the group was killed. It stays when the leader ended by itself:
    /// nobody is signalled after that, because the number may then be another's.
    pid: Option<Pid>,
}

impl Group {
    /// Starts a program in a group of its own.
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, pid })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // An error means that nobody of the group is left.
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Leaves the group alone from now on: it was killed.
    pub(crate) fn forget(&mut self) {
        self.pid = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not after a normal end: then the number may be another's, and a program may leave a daemon on purpose.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
        }
    }
}

/// How a program ended, for a person.
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => "it ended abnormally".to_owned(),
    }
}

/// The variables of this process that a program does not get.
pub(crate) fn withheld(
    variables: impl Iterator<Item = (OsString, OsString)>,
    pass_env: &[String],
    secrets: &[String],
) -> Vec<OsString> {
    let is_passed = |name: &OsString| pass_env.iter().any(|passed| name == passed.as_str());
    let is_secret = |value: &OsString| secrets.iter().any(|secret| value == secret.as_str());
    variables
        .filter(|(name, value)| !is_passed(name) && (is_private(&name.to_string_lossy()) || is_secret(value)))
        .map(|(name, _)| name)
        .collect()
}

/// Whether a variable may hold a secret of this process. The region is none, and programs often need it.
fn is_private(name: &str) -> bool {
    let is_region = matches!(name, "AWS_REGION" | "AWS_DEFAULT_REGION");
    ["AWS_", "BACKUP_", "SLACK_"].iter().any(|prefix| name.starts_with(prefix)) && !is_region
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_this_process_are_withheld() {
        let variables = [
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_REGION", "ap-northeast-2"),
            ("AWS_DEFAULT_REGION", "ap-northeast-2"),
            ("BACKUP_SLACK__TOKEN", "s"),
            ("SLACK_BOT_TOKEN", "xoxb-1"),
            ("ALARM_TOKEN", "xoxb-1"),
            ("AWS_PROFILE", "fleet"),
            ("PATH", "/bin"),
        ];
        let withheld_for = |pass_env: &[&str]| {
            let variables =
                variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
            let pass_env: Vec<String> = pass_env.iter().map(|&name| name.to_owned()).collect();
            withheld(variables, &pass_env, &["xoxb-1".to_owned()])
        };
        assert_eq!(
            withheld_for(&[]),
            ["AWS_SECRET_ACCESS_KEY", "BACKUP_SLACK__TOKEN", "SLACK_BOT_TOKEN", "ALARM_TOKEN", "AWS_PROFILE"]
        );
        assert_eq!(
            withheld_for(&["AWS_PROFILE", "ALARM_TOKEN"]),
            ["AWS_SECRET_ACCESS_KEY", "BACKUP_SLACK__TOKEN", "SLACK_BOT_TOKEN"]
        );
    }
}
