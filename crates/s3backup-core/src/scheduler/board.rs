//! What is known of each job: written by the loops, read by whoever shows it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use s3backup_model::{Event, Name, RunId, Trigger};

use super::{Jobs, Planned};
use crate::options::ScheduleOptions;
use crate::progress::Progress;

/// A loop that has not looked at the clock for so long hangs. They do it every 30 s.
const STUCK_AFTER: Duration = Duration::from_mins(2);

/// How a job stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobState {
    /// The job.
    pub job: Name,
    /// The machine.
    pub host: Name,
    /// `s3://bucket/prefix`.
    pub destination: String,
    /// When the next run starts, in the zone of the schedule; the next attempt, if the last run failed.
    pub next: Option<DateTime<FixedOffset>>,
    /// The run that goes on.
    pub running: Option<Running>,
    /// When the last successful run started, whoever started it.
    pub last_success: Option<DateTime<FixedOffset>>,
    /// The newest due time that had no successful run within the deadline. None while a run goes on.
    pub late: Option<DateTime<FixedOffset>>,
    /// Whether the loop of the job hangs.
    pub is_stuck: bool,
}

/// A run that goes on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Running {
    /// The run; known soon after its start.
    pub run_id: Option<RunId>,
    /// When it started, in the zone of the schedule.
    pub started_at: DateTime<FixedOffset>,
    /// Why.
    pub trigger: Trigger,
    /// How far it is.
    pub progress: Progress,
}

impl Running {
    /// As a status page shows it; not before the run has its id.
    pub(super) fn shown(self, now: DateTime<Utc>) -> Option<s3backup_report::Running> {
        let Progress { found, is_found_whole, done, failed, .. } = self.progress;
        let seconds =
            u64::try_from((now - self.started_at.to_utc()).num_seconds()).unwrap_or_default().max(1);
        let bytes_per_s = self.progress.bytes() / seconds;
        Some(s3backup_report::Running {
            run_id: self.run_id?,
            started_at: self.started_at,
            progress: Some(s3backup_report::Progress { found, is_found_whole, done, bytes_per_s, failed }),
        })
    }
}

/// All that is known.
pub(super) struct Board {
    begun: DateTime<Utc>,
    notes: Mutex<Notes>,
}

struct Notes {
    jobs: BTreeMap<Name, Note>,
    /// When the supervisor last looked at the clock.
    turned: Instant,
}

/// What is known of one job.
struct Note {
    planned: Planned,
    next: Option<DateTime<Utc>>,
    running: Option<Running>,
    last_success: Option<DateTime<Utc>>,
    /// Only later due times can be late: before, nobody knew of them.
    counts_from: DateTime<Utc>,
    turned: Instant,
}

impl Note {
    fn state(&self, now: DateTime<Utc>) -> JobState {
        let Planned { backup, options } = &self.planned;
        let local = |at: DateTime<Utc>| at.with_timezone(&options.schedule.timezone()).fixed_offset();
        let late = late(options, self.counts_from, self.last_success, now);
        JobState {
            job: backup.job.name.clone(),
            host: backup.job.host.clone(),
            destination: backup.destination(),
            next: self.next.map(local),
            running: self.running.clone(),
            last_success: self.last_success.map(local),
            late: late.filter(|_| self.running.is_none()).map(local),
            is_stuck: self.turned.elapsed() > STUCK_AFTER,
        }
    }
}

/// The newest due time that has had its deadline and no success.
fn late(
    options: &ScheduleOptions,
    counts_from: DateTime<Utc>,
    last_success: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let deadline = TimeDelta::from_std(options.deadline).ok()?;
    let due = options.schedule.previous(now.checked_sub_signed(deadline)?)?.at;
    let is_met = last_success.is_some_and(|success| success >= due);
    (due > counts_from && !is_met).then_some(due)
}

impl Board {
    pub(super) fn new(begun: DateTime<Utc>) -> Self {
        Self { begun, notes: Mutex::new(Notes { jobs: BTreeMap::new(), turned: Instant::now() }) }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Each change is whole, whatever panicked after it.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, name: &Name, change: impl FnOnce(&mut Note)) {
        if let Some(note) = self.notes().jobs.get_mut(name) {
            change(note);
        }
    }

    /// Takes these jobs in place of those that it has.
    pub(super) fn post(&self, jobs: &Jobs) {
        let mut notes = self.notes();
        let mut before = std::mem::take(&mut notes.jobs);
        notes.jobs = jobs
            .iter()
            .map(|(name, planned)| {
                let planned = planned.clone();
                let note = match before.remove(name) {
                    Some(note) => Note { planned, ..note },
                    None => Note {
                        planned,
                        next: None,
                        running: None,
                        last_success: None,
                        counts_from: self.begun,
                        turned: Instant::now(),
                    },
                };
                (name.clone(), note)
            })
            .collect();
    }

    /// The loop of a job, or the supervisor, has looked at the clock.
    pub(super) fn turned(&self, name: Option<&Name>) {
        match name {
            Some(name) => self.with(name, |note| note.turned = Instant::now()),
            None => self.notes().turned = Instant::now(),
        }
    }

    pub(super) fn counts_from(&self, name: &Name, at: DateTime<Utc>) {
        self.with(name, |note| note.counts_from = at);
    }

    pub(super) fn next(&self, name: &Name, next: Option<DateTime<Utc>>) {
        self.with(name, |note| note.next = next);
    }

    pub(super) fn last_success(&self, name: &Name, at: Option<DateTime<Utc>>) {
        self.with(name, |note| note.last_success = at);
    }

    pub(super) fn run_began(&self, name: &Name, trigger: Trigger, at: DateTime<Utc>) {
        self.with(name, |note| {
            let zone = note.planned.options.schedule.timezone();
            note.running = Some(Running {
                run_id: None,
                started_at: at.with_timezone(&zone).fixed_offset(),
                trigger,
                progress: Progress::default(),
            });
        });
    }

    pub(super) fn see(&self, name: &Name, event: &Event) {
        self.with(name, |note| {
            let Some(running) = &mut note.running else { return };
            if let Event::RunStarted { run_id, .. } = event {
                running.run_id = Some(run_id.clone());
            }
            running.progress.see(event);
        });
    }

    pub(super) fn run_ended(&self, name: &Name) {
        self.with(name, |note| note.running = None);
    }

    pub(super) fn jobs(&self, now: DateTime<Utc>) -> Vec<JobState> {
        self.notes().jobs.values().map(|note| note.state(now)).collect()
    }

    pub(super) fn is_turning(&self) -> bool {
        let notes = self.notes();
        let is_turning = |turned: Instant| turned.elapsed() <= STUCK_AFTER;
        is_turning(notes.turned) && notes.jobs.values().all(|note| is_turning(note.turned))
    }
}

#[cfg(test)]
mod tests {
    use s3backup_schedule::Schedule;

    use super::*;

    #[test]
    fn a_job_is_late_after_its_deadline_until_it_succeeds() {
        let at =
            |text: &str| format!("2026-11-{}:00Z", text.replace(' ', "T")).parse::<DateTime<Utc>>().unwrap();
        let options = ScheduleOptions::new(Schedule::new("0 20 * * *", chrono_tz::UTC).unwrap());
        let is_late = |success: Option<&str>, now| {
            late(&options, at("20 12:00"), success.map(at), at(now)).map(|due| due.format("%d").to_string())
        };
        assert_eq!(is_late(None, "20 12:30"), None, "what was due before it was known");
        assert_eq!(is_late(None, "20 20:59"), None);
        assert_eq!(is_late(None, "20 21:00"), Some("20".to_owned()));
        assert_eq!(is_late(Some("20 20:10"), "20 21:00"), None);
        assert_eq!(
            is_late(Some("20 19:10"), "20 21:00"),
            Some("20".to_owned()),
            "it began before it was due"
        );
        assert_eq!(is_late(Some("20 20:10"), "21 20:59"), None);
        assert_eq!(is_late(Some("20 20:10"), "23 09:00"), Some("22".to_owned()));
    }
}
