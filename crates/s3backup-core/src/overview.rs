//! All that the status page and the metrics show of a job.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use s3backup_catalog::{Catalog, Error as CatalogError};
use s3backup_model::{DueRef, DueState, Fatal, Latest, Outcome, RunReport, RunSummary};
use s3backup_report::{Failures, JobPage, Running, Trouble};

use crate::backup::{Backup, Job};
use crate::ending::local;
use crate::options::ScheduleOptions;
use crate::state::report_of;
use crate::status::Standing;
use crate::trouble::OpenTrouble;
use crate::{Error, latest};

/// The most due times that are shown: more than a year of daily ones.
const DUE_SHOWN: usize = 400;

/// The most failures of a run that the catalog notes.
const NOTED: usize = 50;

/// How long the bucket is asked for the report of a run. What it adds is not worth a page that does not come.
const REPORT_LIMIT: Duration = Duration::from_secs(5);

impl Backup {
    /// All that a status page and metrics show of the job. Read as by [`Backup::status`], but that a job that never ran is a
    /// page without runs. What went wrong in the last run that was not a success comes from the catalog or, within 5 s, from
    /// its report in the bucket, and is left out where neither has it. The progress of a run is left out: whoever runs it
    /// knows it.
    ///
    /// # Errors
    /// [`Error::Catalog`], or [`Error::Transfer`] where the bucket is asked because there is no catalog.
    pub async fn overview(&self) -> Result<JobPage, Error> {
        let mut standing = match self.stand(DUE_SHOWN).await {
            Err(Error::NoState { .. }) => return Ok(self.blank_page()),
            standing => standing?,
        };
        let noted = standing.failures.take();
        let mut page = page_of(self, standing);
        if let Some(run) = page.runs.iter().find(|run| run.outcome != Outcome::Success) {
            page.failures = Some(match noted {
                Some(noted) if noted.run_id == run.run_id => noted,
                _ => Box::pin(self.reported_failures(run)).await,
            });
        }
        Ok(page)
    }

    /// What is known of a job without its runs.
    pub(crate) fn blank_page(&self) -> JobPage {
        let job = &self.job;
        let mut page = JobPage::new(job.name.clone(), job.host.clone(), job.destination_url());
        page.schedule = job.schedule.as_ref().map(latest::schedule_of);
        page.next_due = self.next_due();
        page
    }

    /// From the report of the run, or as much as is known without it.
    async fn reported_failures(&self, run: &RunSummary) -> Failures {
        let reading = async {
            let bucket = self.job.connect().await.ok()?;
            report_of(&self.job, &bucket, &run.run_id).await.ok().flatten()
        };
        match tokio::time::timeout(REPORT_LIMIT, reading).await {
            Ok(Some(report)) => failures_of(&report),
            _ => Failures {
                run_id: run.run_id.clone(),
                started_at: run.started_at,
                outcome: run.outcome,
                fatal: run
                    .fatal
                    .map(|kind| Fatal { kind, message: "the log of the run says why".to_owned() }),
                failed: Vec::new(),
                failed_total: run.failed_total,
            },
        }
    }
}

/// What is known when a run has just ended: from the catalog, and where there is none from the run alone.
pub(crate) async fn after_run(job: &Arc<Job>, report: &RunReport) -> JobPage {
    let backup = Backup { job: Arc::clone(job) };
    let standing = backup.stand_in_catalog(DUE_SHOWN).await.ok().flatten();
    let summary = RunSummary::from(report);
    match standing {
        // A catalog that could not be written does not know this run.
        Some(standing) if standing.runs.first().is_some_and(|run| run.run_id == summary.run_id) => {
            page_of(&backup, standing)
        }
        _ => {
            let mut page = backup.blank_page();
            page.due = summary.due.iter().rev().cloned().collect();
            page.last_success = (summary.outcome == Outcome::Success).then(|| summary.clone());
            page.verified.clone_from(&report.verified);
            page.runs = vec![summary];
            page
        }
    }
}

fn page_of(backup: &Backup, standing: Standing) -> JobPage {
    let Standing { status, newest_start, runs, failures } = standing;
    let mut page = backup.blank_page();
    let now = (backup.job.clock)();
    page.due = status.due;
    if let Some(options) = &backup.job.schedule {
        add_passed(&mut page.due, options, newest_start.to_utc(), now);
        page.late_since = late_since(&page.due, options, now);
    }
    page.running =
        status.unfinished.map(|run_id| Running { run_id, started_at: newest_start, progress: None });
    page.last_success = status.last_success;
    page.held = status.files;
    page.runs = runs;
    page.runs.truncate(Latest::MAX_RUNS);
    page.failures = failures;
    page.verified = status.verified;
    let waiting = status.alerts.delivery.waiting + status.alerts.delivery.refused;
    page.alerts_waiting = waiting;
    let shown = |trouble: OpenTrouble| Trouble {
        kind: trouble.kind,
        since: local(&backup.job, trouble.since),
        headline: trouble.headline,
        is_undelivered: trouble.told_at.is_none() && waiting > 0,
    };
    page.troubles = status.alerts.open.into_iter().map(shown).collect();
    page
}

/// Adds the due times that passed since the newest run: no run has brought the ledger up to them yet.
fn add_passed(
    due: &mut Vec<DueRef>,
    options: &ScheduleOptions,
    newest_start: DateTime<Utc>,
    now: DateTime<Utc>,
) {
    let known = due.first().map_or(newest_start, |due| due.at.to_utc().max(newest_start));
    let zone = options.schedule.timezone();
    let passed = options.schedule.between(known, now, DUE_SHOWN).times.into_iter();
    let passed = passed
        .map(|time| DueRef { at: time.at.with_timezone(&zone).fixed_offset(), state: DueState::Missed });
    due.splice(..0, passed.rev());
    due.truncate(DUE_SHOWN);
}

/// The deadline since which a success is overdue: that of the first due time of those at the end that were not met.
fn late_since(
    due: &[DueRef],
    options: &ScheduleOptions,
    now: DateTime<Utc>,
) -> Option<DateTime<FixedOffset>> {
    let deadline = TimeDelta::from_std(options.deadline).unwrap_or(TimeDelta::MAX);
    let ends = |due: &DueRef| due.at.checked_add_signed(deadline);
    due.iter()
        .filter_map(|due| Some((ends(due).filter(|end| *end <= now)?, due.state)))
        .take_while(|(_, state)| matches!(state, DueState::Missed | DueState::Partial))
        .last()
        .map(|(end, _)| end)
}

/// What went wrong in a run, as much as is shown of it.
pub(crate) fn failures_of(report: &RunReport) -> Failures {
    Failures {
        run_id: report.run_id.clone(),
        started_at: report.started_at,
        outcome: report.outcome,
        fatal: report.fatal.clone(),
        failed: report.failed.iter().take(NOTED).cloned().collect(),
        failed_total: report.failed_total,
    }
}

/// The setting of the catalog that has the newest [`Failures`] of a destination, as JSON: a run that could not reach the
/// bucket has no report there.
fn setting(label: &str) -> String {
    format!("failures:{label}")
}

/// Notes what went wrong in a run that was not a success.
pub(crate) fn note_failures(catalog: &Catalog, label: &str, failures: &Failures) -> Result<(), CatalogError> {
    // Plain values always make JSON; a note less would be no harm.
    let Ok(text) = serde_json::to_string(failures) else { return Ok(()) };
    catalog.set_setting(&setting(label), &text)
}

/// What the last run that was not a success noted.
pub(crate) fn noted_failures(catalog: &Catalog, label: &str) -> Result<Option<Failures>, CatalogError> {
    let noted = catalog.setting(&setting(label))?;
    // What is not understood was written by another version, and is written anew by the next such run.
    Ok(noted.and_then(|text| serde_json::from_str(&text).ok()))
}

#[cfg(test)]
mod tests {
    use s3backup_schedule::Schedule;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn daily() -> ScheduleOptions {
        ScheduleOptions::new(Schedule::new("0 20 * * *", chrono_tz::Asia::Seoul).unwrap())
    }

    fn due(day: u32, state: DueState) -> DueRef {
        DueRef { at: format!("2026-11-{day}T20:00:00+09:00").parse().unwrap(), state }
    }

    #[test]
    fn what_passed_since_the_newest_run_is_missed() {
        let mut known = vec![due(22, DueState::Met)];
        add_passed(&mut known, &daily(), at("2026-11-22T11:00:03Z"), at("2026-11-24T11:00:00Z"));
        assert_eq!(known, [due(24, DueState::Missed), due(23, DueState::Missed), due(22, DueState::Met)]);
        let mut none = Vec::new();
        add_passed(&mut none, &daily(), at("2026-11-24T11:00:00Z"), at("2026-11-25T10:59:59Z"));
        assert_eq!(none, [], "what was due before the first run is not its business");
    }

    #[test]
    fn late_is_what_was_not_met_by_its_deadline() {
        let late = |due: &[DueRef], now: &str| {
            late_since(due, &daily(), at(now)).map(|since| since.format("%d %H:%M").to_string())
        };
        let open = [due(24, DueState::Missed), due(23, DueState::Partial), due(22, DueState::Met)];
        assert_eq!(late(&open, "2026-11-24T12:00:00Z").as_deref(), Some("23 21:00"));
        assert_eq!(late(&open[1..], "2026-11-24T12:00:00Z").as_deref(), Some("23 21:00"));
        assert_eq!(late(&open[2..], "2026-11-24T12:00:00Z"), None);
        let fresh = [due(24, DueState::Missed), due(23, DueState::Met)];
        assert_eq!(late(&fresh, "2026-11-24T11:59:59Z"), None, "there is still time");
        assert_eq!(late(&fresh, "2026-11-24T12:00:00Z").as_deref(), Some("24 21:00"));
        let left = [due(24, DueState::CaughtUp), due(23, DueState::Missed)];
        assert_eq!(late(&left, "2026-11-24T12:00:00Z"), None, "what was left behind stays missed");
    }
}
