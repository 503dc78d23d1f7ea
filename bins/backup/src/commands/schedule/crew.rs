//! The jobs of the daemon: from the configuration to backups, with what must live as long.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use chrono_tz::Tz;
use s3backup_config::{Loaded, Logging, Settings};
use s3backup_core::options::Secret;
use s3backup_core::{Backup, Name, Trigger, line_of};
use s3backup_local_s3::LocalS3;
use s3backup_logging::{Console, LoggerManager};

use crate::cli::Common;
use crate::console;
use crate::exit::Stop;
use crate::session;

/// Logs and embedded servers of the jobs, which outlive a change of the configuration where it leaves them as they are.
pub(super) struct Crew {
    common: Common,
    /// What opens the status page.
    token: Option<Secret>,
    logs: Vec<Log>,
    servers: HashMap<(PathBuf, String), LocalS3>,
    /// The first job that can tell people anything: it tells what concerns all.
    teller: Option<Backup>,
}

/// The log of a job.
struct Log {
    job: Name,
    logging: Logging,
    timezone: Tz,
    manager: LoggerManager,
}

impl Log {
    fn is_of(&self, settings: &Settings) -> bool {
        self.job == settings.job && self.logging == settings.logging && self.timezone == settings.timezone
    }
}

impl Crew {
    pub(super) fn new(common: &Common, token: Option<Secret>) -> Self {
        Self { common: common.clone(), token, logs: Vec::new(), servers: HashMap::new(), teller: None }
    }

    /// Makes the backups of a configuration.
    pub(super) async fn backups(&mut self, jobs: Vec<Loaded>) -> Result<Vec<Backup>, Stop> {
        let teller = jobs.iter().position(|job| job.settings.slack.is_some());
        let mut backups = Vec::new();
        for Loaded { mut settings, warnings, .. } in jobs {
            self.embed(&mut settings).await?;
            let log = self.log(&settings);
            for warning in &warnings {
                log.warning(warning);
            }
            session::warn_of_own_files(&settings, log);
            let builder = settings
                .backup(Trigger::Schedule)
                .logger(log.logger())
                // The file of the day is another each day.
                .log_location(settings.logging.dir.display().to_string())
                // Whoever pressed Ctrl-C knows.
                .alert_when_interrupted(!std::io::stderr().is_terminal());
            let builder = match &self.token {
                Some(token) => builder.withhold(token.clone()),
                None => builder,
            };
            let backup = builder.build().map_err(|error| Stop::of(&error))?;
            backups.push(backup);
        }
        self.teller = teller.and_then(|place| backups.get(place).cloned());
        Ok(backups)
    }

    /// Tells people what concerns all jobs.
    pub(super) async fn tell(&self, what: &str, message: String) {
        if let Some(teller) = &self.teller
            && let Err(error) = teller.tell_no_run(what, message).await
        {
            console::say_error(&format!("nobody was told: {}", line_of(&error)));
        }
    }

    /// Ends the logs that neither these jobs nor those with a run that goes on need any more.
    pub(super) fn keep(&mut self, wanted: &[Settings], running: &[Name]) {
        self.logs
            .retain(|log| wanted.iter().any(|settings| log.is_of(settings)) || running.contains(&log.job));
    }

    /// Writes what was logged and ends the logs.
    pub(super) fn finish(self) {
        for log in self.logs {
            log.manager.finish();
        }
    }

    fn log(&mut self, settings: &Settings) -> &LoggerManager {
        let known = self.logs.iter().position(|log| log.is_of(settings));
        let place = known.unwrap_or_else(|| {
            self.logs.push(Log {
                job: settings.job.clone(),
                logging: settings.logging.clone(),
                timezone: settings.timezone,
                manager: session::open_log(settings.job.as_str(), settings, &self.common, Console::Stderr),
            });
            self.logs.len() - 1
        });
        &self.logs[place].manager
    }

    /// Starts the embedded server of a job, unless it runs already.
    async fn embed(&mut self, settings: &mut Settings) -> Result<(), Stop> {
        let Some(dir) = settings.embedded_dir.clone() else { return Ok(()) };
        let key = (dir, settings.destination.bucket.clone());
        if let Some(server) = self.servers.get(&key) {
            session::lead_to(settings, server);
        } else if let Some(server) = session::start_embedded(settings).await? {
            self.servers.insert(key, server);
        }
        Ok(())
    }
}
