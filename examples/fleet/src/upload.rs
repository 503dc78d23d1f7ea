//! The backup of raw data and results, and who is told: all that it takes to embed `s3backup-core`.
//!
//! The settings are those of a `backup.toml`, which `s3backup-config` reads and makes a builder of. What is added here is
//! what only this program knows: the figures of the day, where the log goes, and an embedded server where the file asks for
//! one. A program without such a file starts from [`Backup::builder`] instead.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use s3backup_config::{Loaded, Request};
use s3backup_core::{
    Backup, CancellationToken, Error as BackupError, Event, RunReport, Source, Trigger, alert, line_of,
};
use s3backup_local_s3::LocalS3;
use s3backup_logging::{Format, Level, LoggerManager};

use crate::error::Error;

/// A job of a `backup.toml`, ready to run and to be asked.
pub struct Upload {
    backup: Backup,
    server: Option<LocalS3>,
    log: LoggerManager,
}

impl Upload {
    /// Reads the settings, without connecting anywhere. Their sources must hold the folders of the data and of the results.
    ///
    /// Results are taken however young they are: they appear only when they are whole.
    ///
    /// # Errors
    /// [`Error::BackupSettings`] and [`Error::NoSource`].
    pub fn settings(request: &Request, data: &Path, results: &Path) -> Result<Loaded, Error> {
        let mut loaded = s3backup_config::load(request).map_err(Error::BackupSettings)?;
        let holds = |source: &Source, folder: &Path| real(folder).starts_with(real(&source.path));
        let sources = &mut loaded.settings.sources;
        let missing =
            [data, results].into_iter().find(|folder| !sources.iter().any(|source| holds(source, folder)));
        if let Some(folder) = missing {
            return Err(Error::NoSource { settings: loaded.file, folder: real(folder) });
        }
        for source in sources.iter_mut().filter(|source| holds(source, results)) {
            source.min_age = Duration::ZERO;
        }
        Ok(loaded)
    }

    /// Opens the job: its log, its embedded server if it has one, and the backup with the `facts`, each a label and a value. The
    /// job's steps are left out, because what they would do is done.
    ///
    /// # Errors
    /// [`Error::Server`], and [`Error::Backup`] when the settings cannot be.
    pub async fn open(loaded: Loaded, facts: Vec<(String, String)>, quiet: bool) -> Result<Self, Error> {
        let Loaded { mut settings, warnings, .. } = loaded;
        settings.steps.clear();
        let logging = &settings.logging;
        let log = LoggerManager::builder(settings.job.as_str())
            .dir(Some(logging.dir.clone()))
            .level(logging.level)
            .format(if logging.json { Format::Json } else { Format::Text })
            .max_size(logging.max_size)
            .keep_files(logging.keep_files)
            .keep_days(logging.keep_days)
            .timezone(settings.timezone)
            .console_level(if quiet { Level::Error } else { Level::Warning })
            .build();
        for warning in warnings {
            log.warning(warning);
        }
        let mut server = None;
        if let Some(dir) = &settings.embedded_dir {
            let bucket = &settings.destination.bucket;
            let started = LocalS3::builder().dir(dir).bucket(bucket).start().await.map_err(Error::Server)?;
            settings.destination = settings
                .destination
                .endpoint(started.endpoint())
                .region(started.region())
                .credentials(started.access_key(), started.secret_key());
            server = Some(started);
        }
        let mut builder = settings.backup(Trigger::Manual).logger(log.logger());
        for (label, value) in facts {
            builder = builder.fact(label, value);
        }
        if let Some(path) = log.info_log_path() {
            builder = builder.log_location(path.display().to_string());
        }
        let backup = builder.build().map_err(Error::Backup)?;
        Ok(Self { backup, server, log })
    }

    /// Runs once, shows `watch` what happens, and gives the report, also of a run that failed or that `cancel` ended.
    ///
    /// # Errors
    /// [`Error::Backup`] when the run could not begin, such as when another one of the job goes on.
    pub async fn run(
        &self,
        cancel: &CancellationToken,
        mut watch: impl FnMut(&Event),
    ) -> Result<RunReport, Error> {
        let mut run = self.backup.start();
        let end = run.cancel_token();
        loop {
            let event = tokio::select! {
                event = run.next() => event,
                () = cancel.cancelled(), if !end.is_cancelled() => {
                    end.cancel();
                    continue;
                }
            };
            match event {
                Some(event) => watch(&event),
                None => break,
            }
        }
        match run.finish().await {
            Err(BackupError::Failed(report)) => Ok(*report),
            ended => ended.map_err(Error::Backup),
        }
    }

    /// The backup, to ask it for more: what is in the bucket, whether it is as it was.
    pub fn backup(&self) -> &Backup {
        &self.backup
    }

    /// Ends the log and the embedded server.
    pub async fn close(self) {
        self.log.finish();
        if let Some(server) = self.server {
            server.shutdown().await;
        }
    }
}

/// Tells people, if it can be read whom, that there is nothing to back up because of `message`. Gives why nobody was told.
pub async fn tell_failed(request: &Request, message: String) -> Option<String> {
    let start = s3backup_config::tolerant_start(request)?;
    let log = LoggerManager::builder(start.job.as_str()).dir(None).console_level(Level::Error).build();
    let told = start.tell(alert::of_start, Utc::now().fixed_offset(), message, log.logger()).await;
    log.finish();
    match told {
        Ok(delivery) => delivery.why,
        Err(error) => Some(line_of(&error)),
    }
}

/// A path without links and dots, as far as it is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}
