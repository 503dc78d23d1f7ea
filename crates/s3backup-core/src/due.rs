//! The ledger of due times: which of them a run stands for, and what its outcome makes of them.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use s3backup_catalog::{Catalog, DueRow, Error as CatalogError};
use s3backup_model::{DueRef, DueState, Outcome, RunId};
use s3backup_schedule::Schedule;

use crate::options::ScheduleOptions;

/// The most due times that one run makes up for: more than a year of daily ones.
const MAX_DUE: usize = 400;

/// Names of settings in the catalog: the schedule by which the ledger was kept, and until when.
const SCHEDULE: &str = "due_schedule";
const THROUGH: &str = "due_through";

/// The due times that a run stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Duty {
    /// Oldest first.
    open: Vec<DueRow>,
    /// Whether there are more than one run can make up for.
    pub(crate) is_too_much: bool,
}

/// What the ledger says without being changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Whether a run is owed: a due time has passed for which none has ended, but for failed and interrupted ones.
    pub(crate) is_missed: bool,
    /// Whether it is kept by the schedule that the job has now, and not beyond now, as by a clock that was ahead.
    pub(crate) is_current: bool,
}

impl Duty {
    /// Brings the ledger up to `now` and gives what is open in it.
    ///
    /// Due times until now are those of the schedule that the ledger was kept by: a new one counts from now on.
    pub(crate) fn look(
        catalog: &mut Catalog,
        options: &ScheduleOptions,
        now: DateTime<Utc>,
    ) -> Result<Self, CatalogError> {
        let schedule = &options.schedule;
        let mut is_too_much = false;
        if let Some((kept_by, through)) = Self::kept(catalog)? {
            let due = kept_by.between(through, now, MAX_DUE);
            is_too_much = due.left_out;
            let timezone = kept_by.timezone().name();
            let rows = due.times.iter().map(|time| DueRow {
                at: time.at,
                local_date: time.local_date,
                timezone: timezone.to_owned(),
                state: DueState::Missed,
                run: None,
            });
            catalog.add_due(&rows.collect::<Vec<_>>())?;
        }
        Self::keep(catalog, schedule, now)?;
        let mut open = catalog.open_due(now, MAX_DUE)?;
        if !options.catch_up {
            // What was missed before the newest stays missed.
            let newest = Self::in_ledger(catalog, now)?.map(|due| due.at);
            open.retain(|due| Some(due.at) == newest);
        }
        Ok(Self { open, is_too_much })
    }

    /// The newest due time until then and what has become of it, as far as it was kept by now. Writes nothing.
    pub(crate) fn newest(catalog: &Catalog, until: DateTime<Utc>) -> Result<Option<DueRow>, CatalogError> {
        if let Some((kept_by, through)) = Self::kept(catalog)?
            && let Some(time) = kept_by.previous(until).filter(|time| time.at > through)
        {
            return Ok(Some(DueRow {
                at: time.at,
                local_date: time.local_date,
                timezone: kept_by.timezone().name().to_owned(),
                state: DueState::Missed,
                run: None,
            }));
        }
        Self::in_ledger(catalog, until)
    }

    /// Remembers until when the ledger is kept. A clock that was set back takes nothing from it and adds nothing: what it shows
    /// again is there already.
    pub(crate) fn keep(
        catalog: &Catalog,
        schedule: &Schedule,
        through: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        catalog.set_setting(SCHEDULE, &format!("{}|{}", schedule.cron(), schedule.timezone().name()))?;
        catalog.set_setting(THROUGH, &through.to_rfc3339())
    }

    /// By which schedule the ledger is kept, and until when.
    fn kept(catalog: &Catalog) -> Result<Option<(Schedule, DateTime<Utc>)>, CatalogError> {
        let kept_by = catalog.setting(SCHEDULE)?.and_then(|text| parse(&text));
        let through = catalog.setting(THROUGH)?.and_then(|text| text.parse().ok());
        Ok(kept_by.zip(through))
    }

    /// The newest due time until then that the ledger has. A clock that was once ahead has left later ones.
    fn in_ledger(catalog: &Catalog, until: DateTime<Utc>) -> Result<Option<DueRow>, CatalogError> {
        let behind = until + TimeDelta::microseconds(1);
        Ok(catalog.due_in(DateTime::UNIX_EPOCH, behind, 1)?.pop())
    }

    /// What the ledger says at `now`, without bringing it up to then. `None` when none is kept.
    pub(crate) fn peek(
        catalog: &Catalog,
        options: &ScheduleOptions,
        now: DateTime<Utc>,
    ) -> Result<Option<Ledger>, CatalogError> {
        let Some((kept_by, through)) = Self::kept(catalog)? else { return Ok(None) };
        let is_current = kept_by == options.schedule && through <= now;
        let mut is_missed = !kept_by.between(through, now, 1).times.is_empty();
        if !is_missed {
            // What is partial has had its run.
            let missed =
                catalog.open_due(now, MAX_DUE)?.into_iter().rfind(|due| due.state == DueState::Missed);
            let newest = Self::in_ledger(catalog, now)?.map(|due| due.at);
            is_missed = missed.is_some_and(|due| options.catch_up || Some(due.at) == newest);
        }
        Ok(Some(Ledger { is_missed, is_current }))
    }

    /// Whether the ledger was ever kept in this catalog.
    pub(crate) fn is_kept(catalog: &Catalog) -> Result<bool, CatalogError> {
        Ok(catalog.setting(THROUGH)?.is_some())
    }

    /// The oldest due time that was to be met by `until`.
    pub(crate) fn oldest_until(&self, until: DateTime<Utc>) -> Option<&DueRow> {
        self.open.first().filter(|due| due.at <= until)
    }

    /// The newest due time that the run stands for.
    pub(crate) fn newest_open(&self) -> Option<DateTime<Utc>> {
        self.open.last().map(|due| due.at)
    }

    /// The newest of them that a run which began then stood for.
    pub(crate) fn newest_until(&self, began: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.open.iter().rev().map(|due| due.at).find(|at| *at <= began)
    }

    /// The days that the run stands for, oldest first; today where no due time is open.
    pub(crate) fn days(&self, today: NaiveDate) -> Vec<NaiveDate> {
        let mut days: Vec<NaiveDate> = self.open.iter().map(|due| due.local_date).collect();
        days.sort_unstable();
        days.dedup();
        if days.is_empty() {
            days.push(today);
        }
        days
    }

    /// What the due times become when the run ends like this.
    pub(crate) fn settled(&self, outcome: Outcome) -> Vec<DueRef> {
        let zone = |due: &DueRow| due.timezone.parse().unwrap_or(chrono_tz::Tz::UTC);
        let refs = self
            .open
            .iter()
            .map(|due| DueRef { at: due.at.with_timezone(&zone(due)).fixed_offset(), state: due.state });
        settled(refs.collect(), outcome)
    }

    /// Writes down what the due times have become.
    pub(crate) fn settle(
        &self,
        catalog: &mut Catalog,
        outcome: Outcome,
        run: &RunId,
    ) -> Result<(), CatalogError> {
        settle(catalog, &self.settled(outcome), run)
    }
}

/// What due times, oldest first, become when the run that stands for them ends like this.
pub(crate) fn settled(mut due: Vec<DueRef>, outcome: Outcome) -> Vec<DueRef> {
    let newest = due.last().map(|due| due.at);
    for due in &mut due {
        due.state = match outcome {
            Outcome::Success if Some(due.at) == newest => DueState::Met,
            Outcome::Success => DueState::CaughtUp,
            Outcome::Partial => DueState::Partial,
            Outcome::Failed | Outcome::Interrupted => due.state,
        };
    }
    due
}

/// Writes down what due times have become by a run.
pub(crate) fn settle(catalog: &mut Catalog, due: &[DueRef], run: &RunId) -> Result<(), CatalogError> {
    for due in due.iter().filter(|due| due.state != DueState::Missed) {
        catalog.set_due(&[due.at.to_utc()], due.state, run)?;
    }
    Ok(())
}

fn parse(text: &str) -> Option<Schedule> {
    let (cron, zone) = text.split_once('|')?;
    Schedule::new(cron, zone.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn daily(cron: &str) -> ScheduleOptions {
        ScheduleOptions::new(Schedule::new(cron, chrono_tz::Asia::Seoul).unwrap())
    }

    fn states(duty: &Duty, outcome: Outcome) -> Vec<(String, &'static str)> {
        let settled = duty.settled(outcome).into_iter();
        settled.map(|due| (due.at.to_rfc3339(), due.state.as_str())).collect()
    }

    #[test]
    fn three_days_down_are_caught_up_once() {
        let mut catalog = Catalog::temporary().unwrap();
        let options = daily("0 20 * * *");
        let run = |name| RunId::new(at(name), 1);
        // The job was set up on the 20th: what was due before is not its business.
        let duty = Duty::look(&mut catalog, &options, at("2026-11-20T01:00:00Z")).unwrap();
        assert_eq!(duty.settled(Outcome::Success), []);
        let now = "2026-11-20T11:00:01Z";
        let duty = Duty::look(&mut catalog, &options, at(now)).unwrap();
        assert_eq!(states(&duty, Outcome::Success), [("2026-11-20T20:00:00+09:00".to_owned(), "met")]);
        duty.settle(&mut catalog, Outcome::Success, &run(now)).unwrap();

        let now = "2026-11-23T15:30:00Z"; // half past midnight of the 24th in Seoul
        let duty = Duty::look(&mut catalog, &options, at(now)).unwrap();
        let days: Vec<String> =
            duty.days("2026-11-24".parse().unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(days, ["2026-11-21", "2026-11-22", "2026-11-23"]);
        let words = |outcome| states(&duty, outcome).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words(Outcome::Success), ["caught_up", "caught_up", "met"]);
        assert_eq!(words(Outcome::Partial), ["partial", "partial", "partial"]);
        assert_eq!(words(Outcome::Failed), ["missed", "missed", "missed"]);
        duty.settle(&mut catalog, Outcome::Success, &run(now)).unwrap();

        let duty = Duty::look(&mut catalog, &options, at("2026-11-24T03:00:00Z")).unwrap();
        assert_eq!(duty.settled(Outcome::Success), [], "once");
        assert_eq!(duty.days("2026-11-24".parse().unwrap()).len(), 1, "a run by hand stands for its own day");
    }

    #[test]
    fn without_catching_up_only_the_newest_is_met() {
        let mut catalog = Catalog::temporary().unwrap();
        let options = ScheduleOptions { catch_up: false, ..daily("0 20 * * *") };
        Duty::look(&mut catalog, &options, at("2026-11-20T01:00:00Z")).unwrap();
        let duty = Duty::look(&mut catalog, &options, at("2026-11-22T12:00:00Z")).unwrap();
        assert_eq!(states(&duty, Outcome::Success), [("2026-11-22T20:00:00+09:00".to_owned(), "met")]);
    }

    #[test]
    fn a_new_schedule_counts_from_when_it_is_seen() {
        let mut catalog = Catalog::temporary().unwrap();
        Duty::look(&mut catalog, &daily("0 20 * * *"), at("2026-11-20T01:00:00Z")).unwrap();
        let duty = Duty::look(&mut catalog, &daily("0 9 * * *"), at("2026-11-21T01:00:00Z")).unwrap();
        let due: Vec<String> = states(&duty, Outcome::Success).into_iter().map(|(at, _)| at).collect();
        assert_eq!(due, ["2026-11-20T20:00:00+09:00"], "09:00 of the 21st was not yet known to be due");
        let duty = Duty::look(&mut catalog, &daily("0 9 * * *"), at("2026-11-22T01:00:00Z")).unwrap();
        assert_eq!(states(&duty, Outcome::Success).last().unwrap().0, "2026-11-22T09:00:00+09:00");
    }

    #[test]
    fn a_look_that_changes_nothing_tells_whether_a_run_is_owed() {
        let mut catalog = Catalog::temporary().unwrap();
        let options = daily("0 20 * * *");
        let peek = |catalog: &Catalog, options: &ScheduleOptions, now| {
            Duty::peek(catalog, options, at(now)).unwrap().map(|ledger| (ledger.is_missed, ledger.is_current))
        };
        assert_eq!(peek(&catalog, &options, "2026-11-20T12:00:00Z"), None);
        Duty::look(&mut catalog, &options, at("2026-11-20T01:00:00Z")).unwrap();
        assert_eq!(peek(&catalog, &options, "2026-11-20T10:59:59Z"), Some((false, true)));
        assert_eq!(peek(&catalog, &options, "2026-11-20T11:00:00Z"), Some((true, true)));
        let first = at("2026-11-20T11:00:00Z");
        let run = RunId::new(first, 1);
        let duty = Duty::look(&mut catalog, &options, first).unwrap();
        assert_eq!(peek(&catalog, &options, "2026-11-20T11:00:01Z"), Some((true, true)), "the run goes on");
        duty.settle(&mut catalog, Outcome::Failed, &run).unwrap();
        assert_eq!(peek(&catalog, &options, "2026-11-20T11:00:01Z"), Some((true, true)), "it failed");
        duty.settle(&mut catalog, Outcome::Partial, &run).unwrap();
        assert_eq!(peek(&catalog, &options, "2026-11-20T11:00:01Z"), Some((false, true)), "it had its run");
        assert_eq!(peek(&catalog, &daily("0 9 * * *"), "2026-11-20T12:00:00Z"), Some((false, false)));
        assert_eq!(peek(&catalog, &options, "2026-11-20T10:00:00Z"), Some((false, false)), "set back");
        let only_newest = ScheduleOptions { catch_up: false, ..daily("0 20 * * *") };
        Duty::look(&mut catalog, &options, at("2026-11-21T12:00:00Z")).unwrap();
        assert_eq!(peek(&catalog, &only_newest, "2026-11-21T12:00:01Z"), Some((true, true)));
    }

    #[test]
    fn a_clock_that_was_years_ahead_is_forgotten() {
        let mut catalog = Catalog::temporary().unwrap();
        for options in [daily("0 20 * * *"), ScheduleOptions { catch_up: false, ..daily("0 20 * * *") }] {
            Duty::look(&mut catalog, &options, at("2036-11-20T01:00:00Z")).unwrap();
            Duty::look(&mut catalog, &options, at("2026-11-20T01:00:00Z")).unwrap();
            let duty = Duty::look(&mut catalog, &options, at("2026-11-20T11:00:00Z")).unwrap();
            assert_eq!(states(&duty, Outcome::Success).last().unwrap().0, "2026-11-20T20:00:00+09:00");
        }
    }

    #[test]
    fn a_partial_run_leaves_the_due_time_open() {
        let mut catalog = Catalog::temporary().unwrap();
        let options = daily("0 20 * * *");
        Duty::look(&mut catalog, &options, at("2026-11-20T01:00:00Z")).unwrap();
        let first = at("2026-11-20T11:00:00Z");
        let duty = Duty::look(&mut catalog, &options, first).unwrap();
        duty.settle(&mut catalog, Outcome::Partial, &RunId::new(first, 1)).unwrap();
        let duty = Duty::look(&mut catalog, &options, at("2026-11-20T12:00:00Z")).unwrap();
        assert_eq!(states(&duty, Outcome::Failed)[0].1, "partial");
        assert_eq!(states(&duty, Outcome::Success)[0].1, "met", "before the next is due");
    }
}
