//! From the configuration to a backup that can run: what the commands share.

use chrono::Utc;
use s3backup_config::{Loaded, Request, Settings};
use s3backup_core::{Backup, FailedStart, ShardUri, StartAlert, Trigger, alert, line_of};
use s3backup_local_s3::LocalS3;
use s3backup_logging::{Console, Format, LoggerManager};

use crate::cli::Common;
use crate::console::Progress;
use crate::exit::Stop;

/// Reads and checks the configuration.
pub(crate) fn load(common: &Common) -> Result<Loaded, Stop> {
    s3backup_config::load(&request(common)).map_err(|error| Stop::usage(line_of(&error)))
}

/// The same for a run that is named by where its plan lies: with the job and the host whose run it is, whatever this machine is
/// called. Where the configuration says another host by itself, or the command line another job, that is a mistake.
pub(crate) fn load_for(common: &Common, uri: &ShardUri) -> Result<Loaded, Stop> {
    let Some((job, host)) = uri.owner() else { return load(common) };
    if let Some(other) = common.job.as_ref().filter(|named| *named != job.as_str()) {
        return Err(Stop::usage(format!("--job {other}: the run is one of {job}; leave --job out")));
    }
    let loaded = load(&Common { job: Some(job.to_string()), ..common.clone() })?;
    if loaded.settings.host == *host {
        return Ok(loaded);
    }
    let said = loaded.explain().iter().find(|row| row.key == "host" && row.source != "default");
    if let Some(said) = said {
        let other = &said.value;
        return Err(Stop::usage(format!(
            "host = {other} ({}): the run is one of {host}; leave `host` out here, or set it to {host}",
            said.source
        )));
    }
    let mut request = request(common);
    request.job = Some(job.to_string());
    request.set("host", host.as_str(), "the URI of the run");
    s3backup_config::load(&request).map_err(|error| Stop::usage(line_of(&error)))
}

/// The same for every job of the file, unless one is chosen.
pub(crate) fn load_all(common: &Common) -> Result<Vec<Loaded>, Stop> {
    match s3backup_config::load(&request(common)) {
        Ok(loaded) => Ok(vec![loaded]),
        Err(s3backup_config::Error::SeveralJobs { names }) => {
            let alone = |name: String| load(&Common { job: Some(name), ..common.clone() });
            names.into_iter().map(alone).collect()
        }
        Err(error) => Err(Stop::usage(line_of(&error))),
    }
}

/// What the configuration is asked for.
pub(crate) fn request(common: &Common) -> Request {
    let mut request = Request::of_process();
    request.file.clone_from(&common.config);
    request.job.clone_from(&common.job);
    if let Some(level) = &common.log_level {
        request.set("logging.level", level, "--log-level");
    }
    request
}

/// Starts the log: the files of the job, and the console beside the progress bar; warnings of libraries as well.
pub(crate) fn start_log(settings: &Settings, common: &Common, progress: &Progress) -> LoggerManager {
    let manager = open_log(settings.job.as_str(), settings, common, progress.log_console());
    take_dependencies(&manager);
    manager
}

/// Starts a log under a name: its files, and the console.
pub(crate) fn open_log(name: &str, settings: &Settings, common: &Common, console: Console) -> LoggerManager {
    let logging = &settings.logging;
    let mut builder = LoggerManager::builder(name)
        .dir(Some(logging.dir.clone()))
        .level(logging.level)
        .format(if logging.json { Format::Json } else { Format::Text })
        .max_size(logging.max_size)
        .keep_files(logging.keep_files)
        .keep_days(logging.keep_days)
        .timezone(settings.timezone)
        .console(console);
    if common.quiet {
        builder = builder.console_level(s3backup_logging::Level::Error);
    }
    builder.build()
}

/// Takes warnings of libraries into this log; only the first of the process can.
pub(crate) fn take_dependencies(log: &LoggerManager) {
    if let Err(error) = log.capture_dependencies() {
        log.warning(format!("warnings of libraries are not logged: {}", line_of(&error)));
    }
}

/// The embedded server, when the configuration asks for it with `endpoint = "embedded:DIR"`.
pub(crate) async fn start_embedded(settings: &mut Settings) -> Result<Option<LocalS3>, Stop> {
    let Some(dir) = &settings.embedded_dir else { return Ok(None) };
    let server = LocalS3::builder().dir(dir).bucket(&settings.destination.bucket).start().await;
    let server =
        server.map_err(|error| Stop::failed(format!("the embedded S3 server: {}", line_of(&error))))?;
    lead_to(settings, &server);
    Ok(Some(server))
}

/// Makes an embedded server the destination.
pub(crate) fn lead_to(settings: &mut Settings, server: &LocalS3) {
    let destination = settings.destination.clone();
    settings.destination = destination
        .endpoint(server.endpoint())
        .region(server.region())
        .credentials(server.access_key(), server.secret_key());
}

/// Says when a source holds what this program writes itself: it would back up its own work, more of it each time.
pub(crate) fn warn_of_own_files(settings: &Settings, log: &LoggerManager) {
    let own = [Some(&settings.logging.dir), Some(&settings.state_dir), settings.embedded_dir.as_ref()];
    for source in &settings.sources {
        for dir in own.into_iter().flatten().filter(|dir| dir.starts_with(&source.path)) {
            log.warning(format!(
                "{} lies in the source {} and is backed up with it: leave it out with `exclude`, or move it",
                dir.display(),
                source.path.display()
            ));
        }
    }
}

/// A backup to ask, and what must live as long.
pub(crate) struct Opened {
    pub(crate) backup: Backup,
    pub(crate) settings: Settings,
    _server: Option<LocalS3>,
}

/// Opens the job to be asked: the result is all that is printed, and its log is the console alone, only where something is
/// wrong.
pub(crate) async fn open_quietly(common: &Common) -> Result<Opened, Stop> {
    open_loaded(load(common)?).await
}

/// The same for a job whose configuration is read already.
pub(crate) async fn open_loaded(loaded: Loaded) -> Result<Opened, Stop> {
    for warning in &loaded.warnings {
        crate::console::say_warning(warning);
    }
    let mut settings = loaded.settings;
    let server = start_embedded(&mut settings).await?;
    let backup = settings.backup(Trigger::Manual).logger(quiet_log(&settings).logger()).build();
    let backup = backup.map_err(|error| Stop::of(&error))?;
    Ok(Opened { backup, settings, _server: server })
}

/// A log that leaves the files alone and says only what is wrong.
pub(crate) fn quiet_log(settings: &Settings) -> LoggerManager {
    LoggerManager::builder(settings.job.as_str())
        .dir(None)
        .console_level(s3backup_logging::Level::Warning)
        .console(Progress::new(true).log_console())
        .build()
}

/// Tells people, if it can still be read whom, that a job could not even start.
///
/// Whatever goes wrong here is printed and changes nothing: the reason that brought us here is the one that counts.
pub(crate) async fn alert_failed_start(common: &Common, stop: &Stop) {
    if let Some(start) = s3backup_config::tolerant_start(&request(common)) {
        tell(start, stop, alert::of_start).await;
    }
}

/// The same of a monitor. It keeps nothing of the jobs, and so tells it each time.
pub(crate) async fn alert_blind_monitor(common: &Common, stop: &Stop) {
    if let Some(mut start) = s3backup_config::tolerant_start(&request(common)) {
        start.state_dir = None;
        tell(start, stop, alert::of_blind_monitor).await;
    }
}

async fn tell(start: FailedStart, stop: &Stop, alert: StartAlert) {
    let log = LoggerManager::builder(start.job.as_str())
        .dir(None)
        .console_level(s3backup_logging::Level::Error)
        .console(Progress::new(true).log_console())
        .build();
    let told = start.tell(alert, Utc::now().fixed_offset(), stop.message.clone(), log.logger()).await;
    log.finish();
    let why = match told {
        Ok(delivery) => delivery.why,
        Err(error) => Some(line_of(&error)),
    };
    if let Some(why) = why {
        crate::console::say_error(&format!("nobody was told: {why}"));
    }
}
