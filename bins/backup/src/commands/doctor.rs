//! `backup doctor`: everything that a run needs, each with its mend.

use std::fmt::Write as _;
use std::io;

use s3backup_config::{Error as ConfigError, Request, Settings};
use s3backup_core::doctor::{Check, CheckState, Diagnosis, DoctorOptions, examine_without_job};
use s3backup_core::{Slack, Trigger, line_of};

use crate::cli::Common;
use crate::exit::{Exit, Stop};
use crate::{console, session};

const CONFIG: &str = "config";

pub(crate) async fn run(common: &Common) -> Result<Exit, Stop> {
    let request = session::request(common);
    let mut checks = Vec::new();
    let settings = match s3backup_config::load(&request) {
        Ok(loaded) => {
            checks.extend(of_file(&loaded.file, &loaded.settings, &loaded.warnings, &request));
            Some(loaded.settings)
        }
        // Which job is meant has to be said, as of every command.
        Err(error @ (ConfigError::SeveralJobs { .. } | ConfigError::UnknownJob { .. })) => {
            return Err(Stop::usage(line_of(&error)));
        }
        Err(error) => {
            checks.push(broken(&error));
            let mut rest = s3backup_config::tolerant_settings(&request);
            if let (Some(rest), Some(start)) = (&mut rest, s3backup_config::tolerant_start(&request)) {
                rest.slack = start.slack;
            }
            rest
        }
    };
    checks.extend(Box::pin(examine(settings, &request)).await);
    let diagnosis = Diagnosis::new(checks);
    let text = if common.json {
        serde_json::to_string(&diagnosis).map_err(|error| Stop::failed(error.to_string()))?
    } else {
        text_of(&diagnosis, console::takes_colour(&io::stdout()))
    };
    let shown = console::show(&text)?;
    Ok(if diagnosis.count(CheckState::Fail) > 0 { Exit::Failed } else { shown })
}

/// All checks that these settings allow.
async fn examine(settings: Option<Settings>, request: &Request) -> Vec<Check> {
    let mut options = DoctorOptions::default();
    let mut checks = Vec::new();
    if let Some(mut settings) = settings {
        options.log_dir = Some(settings.logging.dir.clone());
        let server = session::start_embedded(&mut settings).await;
        let built = settings.backup(Trigger::Manual).build();
        match (server, built) {
            (Ok(_server), Ok(backup)) => return backup.examine(&options).await.checks,
            (Err(stop), _) => {
                checks.push(Check::fail("bucket", stop.message, "wait for what uses it to end"));
            }
            (_, Err(error)) => {
                checks.push(Check::fail(CONFIG, line_of(&error), "correct it, and look at `backup config`"));
            }
        }
    }
    let slack = s3backup_config::tolerant_start(request).and_then(|start| start.slack);
    let slack = slack.and_then(|options| Slack::new(options, None).ok());
    checks.extend(examine_without_job(slack.as_ref(), &options).await);
    checks
}

/// What a configuration that works says of itself.
fn of_file(
    file: &std::path::Path,
    settings: &Settings,
    warnings: &[String],
    request: &Request,
) -> Vec<Check> {
    let read = format!("{}: job {} on {}", file.display(), settings.job, settings.host);
    let mut checks = vec![Check::ok(CONFIG, read)];
    let odd =
        |warning: &String| Check::warn(CONFIG, warning.clone(), "correct it, and look at `backup config`");
    checks.extend(warnings.iter().map(odd));
    checks.push(match s3backup_config::check_writers(file, request.user) {
        Ok(()) => Check::ok("config file", "only root and this user can write it"),
        Err(ConfigError::Untrusted { why, mend, .. }) => {
            Check::warn("config file", format!("{why}, and it can make the backup run programs"), mend)
        }
        Err(error) => Check::warn("config file", line_of(&error), "look at the file"),
    });
    checks
}

fn broken(error: &ConfigError) -> Check {
    let mend = match error {
        ConfigError::NotFound { .. } => "`backup init` writes one; --config names another".to_owned(),
        ConfigError::Untrusted { mend, .. } => mend.clone(),
        _ => "correct it, and look at `backup config`; what else could be checked was checked as far as the rest of it tells"
            .to_owned(),
    };
    Check::fail(CONFIG, line_of(error), mend)
}

fn text_of(diagnosis: &Diagnosis, colour: bool) -> String {
    let width = diagnosis.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut out = String::new();
    for check in &diagnosis.checks {
        let (word, code) = match check.state {
            CheckState::Ok => ("ok", "32"),
            CheckState::Warn => ("warn", "1;33"),
            CheckState::Fail => ("FAIL", "1;31"),
        };
        let padded = format!("{word:<4}");
        let state = if colour { format!("\x1b[{code}m{padded}\x1b[0m") } else { padded };
        let indent = " ".repeat(width + 8);
        let message = check.message.replace('\n', &format!("\n{indent}"));
        let _ = writeln!(out, "{state}  {:<width$}  {message}", check.name);
        if let Some(mend) = &check.mend {
            let _ = writeln!(out, "{indent}mend: {mend}");
        }
    }
    let (fails, warnings) = (diagnosis.count(CheckState::Fail), diagnosis.count(CheckState::Warn));
    let plural = if warnings == 1 { "" } else { "s" };
    let _ = match (fails, warnings) {
        (0, 0) => write!(out, "all is well"),
        (0, _) => write!(out, "{warnings} warning{plural}: runs work"),
        _ => write!(out, "{fails} FAIL, {warnings} warning{plural}: runs fail, or nobody would hear of it"),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_plain_without_a_terminal() {
        let diagnosis = Diagnosis::new(vec![
            Check::ok("clock", "0 s from the server's"),
            Check::warn("credentials", "they end soon", "renew them"),
            Check::fail("list", "no such bucket", "create it"),
        ]);
        let text = text_of(&diagnosis, false);
        assert_eq!(
            text,
            "ok    clock        0 s from the server's\n\
             warn  credentials  they end soon\n                   mend: renew them\n\
             FAIL  list         no such bucket\n                   mend: create it\n\
             1 FAIL, 1 warning: runs fail, or nobody would hear of it"
        );
        assert!(text_of(&diagnosis, true).contains("\x1b[1;31mFAIL\x1b[0m  list"));
        assert_eq!(text_of(&Diagnosis::new(vec![]), false), "all is well");
    }
}
