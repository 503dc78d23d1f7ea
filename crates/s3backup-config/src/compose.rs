//! From settings to a backup that can be built.

use s3backup_core::{Backup, BackupBuilder};
use s3backup_model::Trigger;

use crate::Settings;

impl Settings {
    /// A builder with all settings of the job, to which the caller adds what is not in a file, such as the logger.
    ///
    /// Where the destination is an embedded server, the caller starts it first, and sets
    /// [`destination`](Self::destination) to it.
    pub fn backup(&self, trigger: Trigger) -> BackupBuilder {
        let mut builder = Backup::builder()
            .job(self.job.as_str())
            .host(self.host.as_str())
            .timezone(self.timezone)
            .destination(self.destination.clone())
            .http(self.http)
            .transfer(self.transfer.clone())
            .grace(self.grace)
            .max_changed(self.max_changed_percent)
            .state_dir(&self.state_dir)
            .metrics(self.metrics.clone())
            .trigger(trigger);
        if let Some(schedule) = &self.schedule {
            builder = builder.schedule(schedule.clone());
        }
        for step in &self.steps {
            builder = builder.step(step.clone());
        }
        for source in &self.sources {
            builder = builder.source(source.clone());
        }
        if let Some(slack) = &self.slack {
            builder = builder.slack(slack.clone());
        }
        if let Some(command) = &self.alert_command {
            builder = builder.alert_command(command.clone());
        }
        if let Some(ping) = &self.ping {
            builder = builder.ping(ping.clone());
        }
        if let Some(every) = self.verify_every {
            builder = builder.verify_every(every);
        }
        builder
    }
}
