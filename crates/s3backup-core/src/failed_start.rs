//! Telling of a run that could not even start, of which there is no [`Backup`](crate::Backup): its configuration is broken.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, Utc};
use s3backup_model::{Alert, Name};
use s3backup_slack::{Slack, SlackOptions};
use slog::Logger;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::memory::Shared;
use crate::options::AlertCommand;
use crate::outbox::{Audience, Delivery, Outbox};
use crate::telling::Teller;

/// How the alert of what could not start is made: of job, host, time and reason, such as [`alert::of_start`](crate::alert::of_start).
pub type StartAlert = fn(Name, Name, DateTime<FixedOffset>, String) -> Alert;

/// What is known of a job that cannot be run, as far as it takes to tell somebody. `Debug` shows no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedStart {
    /// The job.
    pub job: Name,
    /// The machine.
    pub host: Name,
    /// Where the job keeps its catalog, as for [`BackupBuilder::state_dir`](crate::BackupBuilder::state_dir). With it, the
    /// alert is told once however often the start fails, and goes out later where it cannot now.
    pub state_dir: Option<PathBuf>,
    /// How Slack is told.
    pub slack: Option<SlackOptions>,
    /// The second way.
    pub command: Option<AlertCommand>,
}

impl FailedStart {
    /// A start of which nobody can be told yet.
    pub fn new(job: Name, host: Name) -> Self {
        Self { job, host, state_dir: None, slack: None, command: None }
    }

    /// Tells that the start failed, and why: `message` says it, and what to do. Delivers it now, if that is possible. A
    /// catalog that cannot be opened is done without.
    ///
    /// # Errors
    /// [`Error::Slack`] when the options of Slack cannot work, [`Error::Catalog`]. That nobody could be told is no error:
    /// [`Delivery`] says so.
    pub async fn tell(
        self,
        alert: StartAlert,
        at: DateTime<FixedOffset>,
        message: String,
        logger: Logger,
    ) -> Result<Delivery, Error> {
        let options = self.slack.clone();
        let slack = options.map(|options| Slack::new(options, logger.clone())).transpose();
        let secrets = self.slack.iter().map(crate::backup::secret_of).collect();
        let audience = Audience { slack: slack.map_err(Error::Slack)?, command: self.command, secrets };
        let kept = match self.state_dir {
            Some(dir) => Shared::open(dir.join(self.job.as_str())).await.ok(),
            None => None,
        };
        let catalog = match kept {
            Some(catalog) => catalog,
            None => Shared::temporary().await?,
        };
        let outbox =
            Outbox { catalog, audience: Arc::new(audience), clock: Arc::new(Utc::now), logger, job: None };
        let told = alert(self.job, self.host, at, message);
        let audience = Arc::clone(&outbox.audience);
        outbox
            .catalog
            .with(move |catalog| {
                let mut teller = Teller::look(catalog, &audience, at.to_utc())?;
                teller.notice(at.to_utc(), told);
                catalog.tell(&teller.done(), at.to_utc())
            })
            .await?;
        outbox.deliver(&CancellationToken::new()).await
    }
}
