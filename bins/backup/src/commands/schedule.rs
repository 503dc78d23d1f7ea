//! `backup schedule`: the daemon.

mod crew;
mod systemd;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use s3backup_config::{Loaded, Settings, load_all};
use s3backup_core::{CancellationToken, JobState, Scheduler, line_of};
use s3backup_logging::{Console, LoggerManager};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli::{self, Common};
use crate::commands::schedule::crew::Crew;
use crate::commands::schedule::systemd::Systemd;
use crate::exit::{Exit, Stop};
use crate::serve::{self, Access, Site};
use crate::session;
use crate::signals::Interrupts;

/// The name of the daemon's own log, beside those of the jobs.
const LOG: &str = "schedule";

pub(crate) async fn run(common: &Common, arguments: &cli::Schedule) -> Result<Exit, Stop> {
    match keep_watch(common, arguments).await {
        Ok(()) => Ok(Exit::Success),
        Err(stop) => {
            session::alert_failed_start(common, &stop).await;
            Err(stop)
        }
    }
}

async fn keep_watch(common: &Common, arguments: &cli::Schedule) -> Result<(), Stop> {
    let access = Access::of(arguments)?;
    let jobs = load(common)?;
    // A grace that is changed later counts for the runs from then on, and for the process from its next start on.
    let grace = jobs.iter().map(|job| job.settings.grace).max().unwrap_or(Duration::from_secs(3));
    let interrupts = Interrupts::listen(grace)?;
    let hangup = signal(SignalKind::hangup())
        .map_err(|error| Stop::failed(format!("cannot listen for signals: {error}")))?;
    let systemd = Systemd::of_process()
        .map_err(|error| Stop::failed(format!("cannot reach systemd at $NOTIFY_SOCKET: {error}")))?;
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        Stop::failed(format!(
            "cannot listen on {}: {error}. If another daemon runs on this machine, give this one another --listen",
            arguments.listen
        ))
    })?;
    let log = match jobs.first() {
        Some(first) => session::open_log(LOG, &first.settings, common, Console::Stderr),
        None => return Err(Stop::usage("the configuration holds no job")),
    };
    session::take_dependencies(&log);
    let mut crew = Crew::new(common, access.token().cloned());
    let backups = crew.backups(jobs).await?;
    let scheduler = Scheduler::new(backups).map_err(|error| Stop::of(&error))?;
    let site = Arc::new(Site::new(access, scheduler.clone()));
    let mut daemon = Daemon { common, log, crew, scheduler, site, systemd };
    let result = daemon.watch(listener, hangup, &interrupts).await;
    if let Err(stop) = &result {
        daemon.log.error(&stop.message);
    }
    daemon.crew.finish();
    daemon.log.finish();
    result
}

struct Daemon<'a> {
    common: &'a Common,
    log: LoggerManager,
    crew: Crew,
    scheduler: Scheduler,
    site: Arc<Site>,
    systemd: Systemd,
}

impl Daemon<'_> {
    /// Runs until it is told to stop.
    async fn watch(
        &mut self,
        listener: TcpListener,
        mut hangup: Signal,
        interrupts: &Interrupts,
    ) -> Result<(), Stop> {
        if let Ok(address) = listener.local_addr() {
            self.log.info(format!("listening on http://{address}"));
        }
        let stop = CancellationToken::new();
        let mut work = JoinSet::new();
        let (scheduler, stopped) = (self.scheduler.clone(), stop.clone());
        work.spawn(async move { scheduler.run(stopped).await });
        work.spawn(serve::serve(listener, Arc::clone(&self.site)));
        self.systemd.ready();
        let mut beat = tokio::time::interval(self.systemd.pace());
        loop {
            tokio::select! {
                () = interrupts.first() => break,
                _ = beat.tick() => self.systemd.beat(&self.status(), self.scheduler.is_turning()),
                _ = hangup.recv() => tokio::select! {
                    () = self.reload() => {}
                    () = interrupts.first() => break,
                },
                // Neither ends by itself: without one of them the daemon is none, and whoever started it is to start it anew.
                Some(ended) = work.join_next() => {
                    let why = ended.map_or_else(|error| line_of(&error), |()| "it ended".to_owned());
                    return Err(Stop::failed(format!("a task of the daemon ended abnormally: {why}; this is a defect, please report it")));
                }
            }
        }
        self.systemd.stopping();
        self.log.info("stopping: runs that go on are ended, and the next start makes up for them");
        stop.cancel();
        // The scheduler ends; the server is ended with the set.
        if let Some(Err(error)) = work.join_next().await {
            return Err(Stop::failed(format!("the scheduler ended abnormally: {}", line_of(&error))));
        }
        Ok(())
    }

    /// Reads the configuration again. One that is broken changes nothing, and is told.
    async fn reload(&mut self) {
        self.systemd.reloading();
        match self.take_configuration().await {
            Ok(()) => {
                self.site.configuration_is_broken(None);
                self.log.info("the configuration was read again");
            }
            Err(stop) => {
                self.site.configuration_is_broken(Some(Utc::now()));
                let message = format!("{}. The configuration from before holds", stop.message);
                self.log.error(&message);
                self.crew.tell("has a broken configuration", message).await;
            }
        }
        self.systemd.ready();
    }

    async fn take_configuration(&mut self) -> Result<(), Stop> {
        let jobs = load(self.common)?;
        let settings: Vec<Settings> = jobs.iter().map(|job| job.settings.clone()).collect();
        let backups = self.crew.backups(jobs).await?;
        let running = self.scheduler.jobs().into_iter().filter(|job| job.running.is_some());
        let running: Vec<_> = running.map(|job| job.job).collect();
        self.scheduler.replace(backups).map_err(|error| Stop::of(&error))?;
        self.crew.keep(&settings, &running);
        Ok(())
    }

    /// One line for whoever asks systemd.
    fn status(&self) -> String {
        let of_job = |job: JobState| match (job.late, job.running, job.next) {
            (_, Some(running), _) => format!("{} runs since {}", job.job, running.started_at.format("%H:%M")),
            (Some(_), None, _) => format!("{} is late", job.job),
            (None, None, Some(next)) => {
                format!("{} runs next {}", job.job, next.format("%Y-%m-%d %H:%M %:z"))
            }
            (None, None, None) => format!("{} waits", job.job),
        };
        self.scheduler.jobs().into_iter().map(of_job).collect::<Vec<_>>().join("; ")
    }
}

fn load(common: &Common) -> Result<Vec<Loaded>, Stop> {
    load_all(&session::request(common)).map_err(|error| Stop::usage(line_of(&error)))
}
