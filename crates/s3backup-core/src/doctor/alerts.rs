//! The second way to tell people, and whether alerts wait.

use std::sync::Arc;

use super::{Check, sources};
use crate::backup::Job;
use crate::line_of;
use crate::memory::Memory;
use crate::options::AlertCommand;
use crate::outbox::Delivery;

pub(super) async fn check(job: &Arc<Job>) -> Vec<Check> {
    let path = std::env::var("PATH").unwrap_or_default();
    let command = job.audience.command.as_ref().map(|command| judge_command(command, &path));
    command.into_iter().chain(waiting(job).await).collect()
}

fn judge_command(command: &AlertCommand, path: &str) -> Check {
    const NAME: &str = "alert command";
    let program = command.command.first().map_or("", |program| program);
    match sources::find(program, None, path) {
        Some(file) => Check::ok(NAME, format!("{} is there", file.display())),
        None => Check::fail(
            NAME,
            format!("there is no program {program}: nobody is told when Slack refuses"),
            "install it, make it executable, or correct `[alert] command`",
        ),
    }
}

/// Alerts of earlier runs that did not arrive.
async fn waiting(job: &Arc<Job>) -> Option<Check> {
    const NAME: &str = "alerts";
    let look = async {
        let memory = Memory::look(job).await?;
        if !memory.is_lasting {
            return Ok(None);
        }
        memory.with(|catalog| Delivery::look(catalog)).await.map(Some)
    };
    match look.await {
        Ok(None) => None,
        Ok(Some(delivery)) => Some(judge_delivery(&delivery)),
        Err(error) => Some(Check::warn(
            NAME,
            format!("it is not known whether alerts wait: {}", line_of(&error)),
            "mend what is said of the catalog",
        )),
    }
}

fn judge_delivery(delivery: &Delivery) -> Check {
    const NAME: &str = "alerts";
    let count = delivery.waiting + delivery.refused;
    let why = delivery.why.as_deref().unwrap_or("they are tried again soon");
    match delivery.failing_since {
        None => Check::ok(NAME, "none waits to be delivered"),
        Some(since) => {
            let message =
                format!("{count} could not be delivered since {}: {why}", since.format("%Y-%m-%d %H:%M UTC"));
            let mend = "mend that, then `backup slack --test` sends what waits";
            if delivery.refused > 0 {
                Check::fail(NAME, message, mend)
            } else {
                Check::warn(NAME, message, mend)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    #[test]
    fn a_command_must_be_there() {
        let state = |program: &str| judge_command(&AlertCommand::new([program]), "/bin:/usr/bin").state;
        assert_eq!(state("sh"), CheckState::Ok);
        assert_eq!(state("/bin/sh"), CheckState::Ok);
        assert_eq!(state("no-such-program"), CheckState::Fail);
        assert_eq!(state("/etc/passwd"), CheckState::Fail, "it is no program");
    }

    #[test]
    fn what_waits_is_said_and_what_is_refused_is_a_failure() {
        let mut delivery = Delivery::default();
        assert_eq!(judge_delivery(&delivery).state, CheckState::Ok);
        delivery.waiting = 2;
        delivery.failing_since = Some(chrono::DateTime::UNIX_EPOCH);
        delivery.why = Some("Slack cannot be reached".to_owned());
        let check = judge_delivery(&delivery);
        assert_eq!(check.state, CheckState::Warn);
        assert_eq!(
            check.message,
            "2 could not be delivered since 1970-01-01 00:00 UTC: Slack cannot be reached"
        );
        delivery.refused = 1;
        assert_eq!(judge_delivery(&delivery).state, CheckState::Fail);
    }
}
