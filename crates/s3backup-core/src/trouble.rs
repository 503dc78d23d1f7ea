//! Looking for trouble that no run tells of, and telling of it.

pub(crate) mod run;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_catalog::{Catalog, DestinationId, DueRow, Error as CatalogError, RunRow};
use s3backup_model::{Alert, AlertKind, DueState, Outcome, RunId, RunSummary};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::alert::{self, news};
use crate::backup::{Backup, Job};
use crate::due::Duty;
use crate::memory::Shared;
use crate::options::ScheduleOptions;
use crate::outbox::{Delivery, Outbox};
use crate::telling::Teller;
use crate::{Error, ending, silence};

/// The setting with the time at which the run that goes on last said so.
const ALIVE: &str = "run_alive";

/// The setting with the run that many workers share, and until when: nobody says from time to time that it goes on.
const SHARED: &str = "run_shared";

/// A run that has not said for so long that it goes on was killed: it says so every five minutes.
const ALIVE_FOR: TimeDelta = TimeDelta::minutes(15);

/// A monitor that did not look for so long has stopped.
const UNWATCHED_AFTER: TimeDelta = TimeDelta::days(1);

/// Runs back among which the last success is looked for.
const RUNS: usize = 400;

/// Troubles that are shown.
const SHOWN: usize = 20;

/// What is wrong with a job now, and whether people know.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Alerts {
    /// What has not ended yet, oldest first; at most 20.
    pub open: Vec<OpenTrouble>,
    /// How the delivery of alerts stands.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Until when nobody is told anything.
    pub silent_until: Option<DateTime<Utc>>,
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct OpenTrouble {
    /// Its name: `<job>/<host>/<kind>/<due>`.
    pub trouble: String,
    /// What kind of trouble.
    pub kind: AlertKind,
    /// When it was first noticed.
    pub since: DateTime<Utc>,
    /// How often it was noticed.
    pub times: u32,
    /// What was said of it last.
    pub headline: String,
    /// When somebody was last told.
    pub told_at: Option<DateTime<Utc>>,
}

impl Alerts {
    pub(crate) fn look(catalog: &Catalog, now: DateTime<Utc>) -> Result<Self, CatalogError> {
        let open = catalog.open_troubles(SHOWN)?.into_iter().map(|row| OpenTrouble {
            trouble: row.trouble.to_string(),
            kind: row.trouble.kind,
            since: row.since,
            times: row.times,
            headline: row.alert.headline,
            told_at: row.told_at,
        });
        Ok(Self {
            open: open.collect(),
            delivery: Delivery::look(catalog)?,
            silent_until: silence::noted(catalog, now)?.map(|silence| silence.until.to_utc()),
        })
    }
}

impl Backup {
    /// Delivers the alerts that are due: those that could not be delivered when they were given. Cheap when there are none.
    ///
    /// Whoever keeps a job running calls it every minute. A run calls it at its start and its end. When the future is
    /// dropped, an alert that was being sent is sent again later and says that it may be a repeat.
    ///
    /// # Errors
    /// [`Error::Catalog`]. That nobody could be told is no error: [`Delivery`] says so.
    pub async fn deliver(&self) -> Result<Delivery, Error> {
        match Shared::beside(&self.job).await? {
            Some(catalog) => Outbox::of(&self.job, catalog).deliver(&CancellationToken::new()).await,
            None => Ok(Delivery::default()),
        }
    }

    /// Notices what no run can: that none succeeded by the deadline of a due time. Stores the alert; [`Backup::deliver`]
    /// delivers it. Cheap, for whoever keeps a job running calls it every minute.
    ///
    /// A due time is late when the schedule's `deadline` has passed and no run succeeded since, unless one goes on, which has
    /// [`long_running`](AlertKind::LongRunning) to tell, or people were already told that a run of it failed.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub async fn look_for_trouble(&self) -> Result<(), Error> {
        let job = Arc::clone(&self.job);
        let (Some(catalog), Some(options)) = (Shared::beside(&job).await?, job.schedule.clone()) else {
            return Ok(());
        };
        catalog
            .with(move |catalog| {
                let now = (job.clock)();
                let destination = catalog.destination(job.server(), &job.bucket, job.naming.destination())?;
                let Some(due) = overdue(catalog, &options, now)? else { return Ok(()) };
                if is_going_on(catalog, destination, now)? {
                    return Ok(());
                }
                let mut teller = Teller::look(catalog, &job.audience, now)?;
                let is_known = |kind, since: DateTime<Utc>| {
                    teller.open(kind).is_some_and(|row| row.times > 0 && row.last_at >= since)
                };
                let deadline = due.at.checked_add_signed(delta(options.deadline)).unwrap_or(now);
                let is_told = is_known(AlertKind::Failed, due.at)
                    || is_known(AlertKind::Partial, due.at)
                    || is_known(AlertKind::Late, deadline);
                if !is_told {
                    teller.notice(due.at, late(catalog, &job, destination, &options, &due, now)?);
                    catalog.tell(&teller.done(), now)?;
                }
                Ok(())
            })
            .await
    }

    /// Stores an alert about the job, to be delivered by [`Backup::deliver`]: the first of its trouble, or one more of one
    /// that is open. Without a state directory, which keeps nothing, it is delivered now or never. The trouble ends with [`Backup::over`], and those that are about runs with the first success.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub async fn tell(&self, alert: Alert) -> Result<(), Error> {
        self.with_teller(move |teller| teller.notice(alert.at.to_utc(), alert)).await
    }

    /// Tells that no run can be started as it should, and delivers it as far as that is possible now. For whoever starts runs:
    /// `what` is said of the job, as in "could not start", and `message` why and what to do. The trouble ends with the first
    /// success.
    ///
    /// # Errors
    /// [`Error::Catalog`]. That nobody could be told is no error: [`Delivery`] says so.
    pub async fn tell_no_run(&self, what: &str, message: String) -> Result<Delivery, Error> {
        let job = &self.job;
        let at = ending::local(job, (job.clock)());
        let headline = format!("Backup {} on {} {what}", job.name, job.host);
        let alert = alert::of_start(job.name.clone(), job.host.clone(), at, message);
        self.tell(Alert { headline, ..alert }).await?;
        self.deliver().await
    }

    /// Notices when no monitor has looked at the bucket for a day although one did before, or when one does again. Asks the
    /// bucket. Stores the alert; [`Backup::deliver`] delivers it.
    ///
    /// # Errors
    /// As [`Backup::last_monitored`], and [`Error::Catalog`].
    pub async fn look_for_monitor(&self) -> Result<(), Error> {
        let Some(last) = self.last_monitored().await? else { return Ok(()) };
        let job = Arc::clone(&self.job);
        self.with_teller(move |teller| {
            let now = (job.clock)();
            let (at, last_at) = (ending::local(&job, now), ending::local(&job, last));
            if now - last < UNWATCHED_AFTER {
                teller.end(&[AlertKind::Unwatched], at);
            } else if teller.open(AlertKind::Unwatched).is_none() {
                let alert = alert::of_unwatched(job.name.clone(), job.host.clone(), at, last_at);
                teller.notice(last, alert);
            }
        })
        .await
    }

    /// Ends the open trouble of a kind, if there is one, as when a verification finds nothing wrong any more.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub async fn over(&self, kind: AlertKind) -> Result<(), Error> {
        let at = ending::local(&self.job, (self.job.clock)());
        self.with_teller(move |teller| {
            teller.end(&[kind], at);
        })
        .await
    }

    /// Sends a test message to Slack as it is set up, and to nobody else. When it arrives, alerts that wait are tried again
    /// at once.
    ///
    /// # Errors
    /// [`Error::Slack`] says why it did not arrive and what to do; [`Error::Invalid`] when no Slack is set up.
    pub async fn test_slack(&self) -> Result<Delivery, Error> {
        let job = &self.job;
        let slack = job.audience.slack.as_ref();
        let slack =
            slack.ok_or_else(|| Error::invalid("[slack]", "it is missing: say how Slack is reached"))?;
        let at = ending::local(job, (job.clock)());
        let test = alert::of_test(job.name.clone(), job.host.clone(), at);
        slack.send(&test).await.map_err(Error::Slack)?;
        if let Some(catalog) = Shared::beside(job).await? {
            let now = (job.clock)();
            catalog.with(move |catalog| catalog.hurry_alerts(false, now)).await?;
        }
        self.deliver().await
    }

    async fn with_teller(&self, work: impl FnOnce(&mut Teller<'_>) + Send + 'static) -> Result<(), Error> {
        let kept = Shared::beside(&self.job).await?;
        let is_kept = kept.is_some();
        let catalog = match kept {
            Some(catalog) => catalog,
            None => Shared::temporary().await?,
        };
        let job = Arc::clone(&self.job);
        let stored = catalog.with(move |catalog| {
            let now = (job.clock)();
            let mut teller = Teller::look(catalog, &job.audience, now)?;
            work(&mut teller);
            catalog.tell(&teller.done(), now)
        });
        stored.await?;
        if !is_kept {
            Outbox::of(&self.job, catalog).deliver(&CancellationToken::new()).await?;
        }
        Ok(())
    }
}

/// The newest due time whose deadline has passed, if no run has fully met it.
fn overdue(
    catalog: &Catalog,
    options: &ScheduleOptions,
    now: DateTime<Utc>,
) -> Result<Option<DueRow>, CatalogError> {
    let newest = Duty::newest(catalog, by_deadline(options, now))?;
    Ok(newest.filter(|due| matches!(due.state, DueState::Missed | DueState::Partial)))
}

/// What was due until then should have been met by now.
fn by_deadline(options: &ScheduleOptions, now: DateTime<Utc>) -> DateTime<Utc> {
    now.checked_sub_signed(delta(options.deadline)).unwrap_or(DateTime::UNIX_EPOCH)
}

fn late(
    catalog: &Catalog,
    job: &Job,
    destination: DestinationId,
    options: &ScheduleOptions,
    due: &DueRow,
    now: DateTime<Utc>,
) -> Result<Alert, CatalogError> {
    let runs = catalog.runs(destination, RUNS)?.into_iter().filter_map(|row| row.summary);
    let last: Option<RunSummary> = runs.into_iter().find(|run| run.outcome == Outcome::Success);
    let zone = due.timezone.parse().unwrap_or(job.timezone);
    let at = due.at.with_timezone(&zone).fixed_offset();
    Ok(news::late(&subject(job, now), at, options.deadline, last.as_ref()))
}

fn subject(job: &Job, now: DateTime<Utc>) -> news::Subject {
    news::Subject { job: job.name.clone(), host: job.host.clone(), at: ending::local(job, now) }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// A run says from time to time that it goes on.
pub(crate) fn note_alive(catalog: &Catalog, now: DateTime<Utc>) -> Result<(), CatalogError> {
    catalog.set_setting(ALIVE, &now.to_rfc3339())
}

/// A run goes on elsewhere until then at most.
pub(crate) fn note_shared(catalog: &Catalog, run: &RunId, until: DateTime<Utc>) -> Result<(), CatalogError> {
    catalog.set_setting(SHARED, &format!("{run}|{}", until.to_rfc3339()))
}

/// Until when this run goes on elsewhere, if it does.
fn shared_until(catalog: &Catalog, run: &RunId) -> Result<Option<DateTime<Utc>>, CatalogError> {
    let noted = catalog.setting(SHARED)?;
    let noted = noted.as_deref().and_then(|text| text.split_once('|'));
    Ok(noted.filter(|(shared, _)| *shared == run.as_str()).and_then(|(_, until)| until.parse().ok()))
}

/// Whether a run has begun that has neither ended nor stopped saying that it goes on.
fn is_going_on(
    catalog: &Catalog,
    destination: DestinationId,
    now: DateTime<Utc>,
) -> Result<bool, CatalogError> {
    let Some(run) = unfinished(catalog, destination)? else { return Ok(false) };
    if let Some(until) = shared_until(catalog, &run.run)? {
        return Ok(now < until);
    }
    let alive = catalog.setting(ALIVE)?.and_then(|text| text.parse::<DateTime<Utc>>().ok());
    let alive = alive.unwrap_or(run.started_at).max(run.started_at);
    Ok(now - alive < ALIVE_FOR)
}

/// The newest run, if it did not say how it ended.
fn unfinished(catalog: &Catalog, destination: DestinationId) -> Result<Option<RunRow>, CatalogError> {
    Ok(catalog.runs(destination, 1)?.into_iter().find(|run| run.summary.is_none()))
}
