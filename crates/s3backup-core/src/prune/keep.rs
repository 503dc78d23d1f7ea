//! Which runs are kept: a pure function.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use chrono_tz::Tz;
use s3backup_model::{Outcome, RunId};

use crate::options::PruneRules;

/// What is known of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunFact {
    pub(crate) id: RunId,
    pub(crate) at: DateTime<Utc>,
    /// `None` for a run that was killed or goes on.
    pub(crate) outcome: Option<Outcome>,
}

/// Why a run is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// No rule says which runs go.
    NoRule,
    /// It is the newest.
    Newest,
    /// It is the newest that backed something up.
    NewestBackup,
    /// It began later than now: the clock is wrong, or was.
    Future,
    /// It is the best of this day.
    Day(NaiveDate),
    /// It is the best of this month, of which this is the first day.
    Month(NaiveDate),
}

/// What becomes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) id: RunId,
    /// Why it stays; it goes when there is no reason.
    pub(crate) keep: Vec<Keep>,
}

/// Gives each run its reasons to stay, newest first.
///
/// Only a run that ended `success` or `partial` stands for its day or month, and the last `success` before any `partial`.
/// Days are those of `zone` on which runs began. Days and months count only when they have such a run, so that a machine
/// which was off for a year keeps what it has.
pub(crate) fn keep(runs: &[RunFact], rules: &PruneRules, now: DateTime<Utc>, zone: Tz) -> Vec<Judged> {
    let mut runs: Vec<&RunFact> = runs.iter().collect();
    runs.sort_by(|one, other| other.id.cmp(&one.id));
    let has_rule = rules.keep_daily.is_some() || rules.keep_monthly.is_some();
    let is_backup = |run: &&RunFact| matches!(run.outcome, Some(Outcome::Success | Outcome::Partial));
    let newest_backup = runs.iter().find(|run| is_backup(run)).map(|run| run.id.clone());
    let past: Vec<&RunFact> = runs.iter().copied().filter(|run| run.at <= now && is_backup(run)).collect();
    let day = |run: &RunFact| run.at.with_timezone(&zone).date_naive();
    let month = |run: &RunFact| day(run).with_day(1).unwrap_or_else(|| day(run));
    let days = best(&past, rules.keep_daily, day);
    let months = best(&past, rules.keep_monthly, month);
    runs.iter()
        .enumerate()
        .map(|(place, run)| {
            let is = |of: &BTreeSet<&RunId>| of.contains(&run.id);
            let reasons = [
                (!has_rule).then_some(Keep::NoRule),
                (place == 0).then_some(Keep::Newest),
                (newest_backup.as_ref() == Some(&run.id)).then_some(Keep::NewestBackup),
                (run.at > now).then_some(Keep::Future),
                is(&days).then(|| Keep::Day(day(run))),
                is(&months).then(|| Keep::Month(month(run))),
            ];
            Judged { id: run.id.clone(), keep: reasons.into_iter().flatten().collect() }
        })
        .collect()
}

/// The best run of each of the last `count` periods; `runs` are newest first.
fn best<'a>(
    runs: &[&'a RunFact],
    count: Option<u32>,
    period: impl Fn(&RunFact) -> NaiveDate,
) -> BTreeSet<&'a RunId> {
    let periods: BTreeSet<NaiveDate> = runs.iter().map(|run| period(run)).collect();
    let count = usize::try_from(count.unwrap_or_default()).unwrap_or(usize::MAX);
    let best_of = |wanted: &NaiveDate| {
        let mut of_it = runs.iter().filter(|run| period(run) == *wanted);
        let newest = of_it.clone().next();
        of_it.find(|run| run.outcome == Some(Outcome::Success)).or(newest).map(|run| &run.id)
    };
    periods.iter().rev().take(count).filter_map(best_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Asia::Seoul;
    use proptest::prelude::*;

    fn run(at: &str, outcome: Option<Outcome>) -> RunFact {
        let at = DateTime::parse_from_rfc3339(at).unwrap().to_utc();
        RunFact { id: RunId::new(at, 1), at, outcome }
    }

    const SUCCESS: Option<Outcome> = Some(Outcome::Success);
    const PARTIAL: Option<Outcome> = Some(Outcome::Partial);
    const FAILED: Option<Outcome> = Some(Outcome::Failed);

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-11-23T20:00:00+09:00").unwrap().to_utc()
    }

    /// The starts of the runs that stay, each with its reasons.
    fn kept(runs: &[RunFact], daily: Option<u32>, monthly: Option<u32>) -> Vec<(String, Vec<Keep>)> {
        let rules = PruneRules { keep_daily: daily, keep_monthly: monthly, local_after: None };
        let judged = keep(runs, &rules, now(), Seoul).into_iter().filter(|run| !run.keep.is_empty());
        judged.map(|run| (run.id.as_str()[..13].to_owned(), run.keep)).collect()
    }

    fn starts(kept: &[(String, Vec<Keep>)]) -> Vec<&str> {
        kept.iter().map(|(start, _)| start.as_str()).collect()
    }

    #[test]
    fn without_a_rule_every_run_stays() {
        let runs = [run("2020-01-01T00:00:00Z", FAILED), run("2026-11-01T00:00:00Z", SUCCESS)];
        assert_eq!(starts(&kept(&runs, None, None)), ["20261101T0000", "20200101T0000"]);
    }

    #[test]
    fn days_are_those_of_the_jobs_zone() {
        // 15:30Z is half past midnight of the next day in Seoul.
        let runs = [
            run("2026-11-20T14:30:00Z", SUCCESS),
            run("2026-11-20T15:30:00Z", SUCCESS),
            run("2026-11-21T14:30:00Z", SUCCESS),
        ];
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
        let kept = kept(&runs, Some(2), None);
        assert_eq!(starts(&kept), ["20261121T1430", "20261120T1430"]);
        assert_eq!(kept[0].1, [Keep::Newest, Keep::NewestBackup, Keep::Day(day(21))]);
        assert_eq!(kept[1].1, [Keep::Day(day(20))]);
    }

    #[test]
    fn a_day_without_a_run_does_not_count() {
        let runs = [
            run("2025-01-01T01:00:00Z", SUCCESS),
            run("2025-06-01T01:00:00Z", SUCCESS),
            run("2026-11-20T01:00:00Z", SUCCESS),
        ];
        assert_eq!(starts(&kept(&runs, Some(2), None)), ["20261120T0100", "20250601T0100"]);
    }

    #[test]
    fn a_success_stands_for_its_day_before_a_later_partial_run() {
        let runs = [
            run("2026-11-20T01:00:00Z", SUCCESS),
            run("2026-11-20T02:00:00Z", SUCCESS),
            run("2026-11-20T03:00:00Z", PARTIAL),
            run("2026-11-20T04:00:00Z", FAILED),
            run("2026-11-21T01:00:00Z", PARTIAL),
            run("2026-11-21T02:00:00Z", PARTIAL),
            run("2026-11-22T01:00:00Z", FAILED),
        ];
        // The 22nd has nothing that could be restored, and no day of its own.
        assert_eq!(starts(&kept(&runs, Some(2), None)), ["20261122T0100", "20261121T0200", "20261120T0200"]);
    }

    #[test]
    fn the_newest_backup_stays_however_many_runs_failed_since() {
        let runs = [run("2026-10-01T01:00:00Z", SUCCESS), run("2026-11-01T01:00:00Z", None)];
        let kept = kept(&runs, None, Some(1));
        assert_eq!(starts(&kept), ["20261101T0100", "20261001T0100"]);
        assert_eq!(kept[0].1, [Keep::Newest]);
    }

    #[test]
    fn what_began_later_than_now_stays_and_takes_nobodys_place() {
        let runs = [run("2026-11-22T01:00:00Z", SUCCESS), run("2031-01-01T01:00:00Z", SUCCESS)];
        let kept = kept(&runs, Some(1), Some(1));
        assert_eq!(starts(&kept), ["20310101T0100", "20261122T0100"]);
        assert_eq!(kept[0].1, [Keep::Newest, Keep::NewestBackup, Keep::Future]);
    }

    fn any_runs() -> impl Strategy<Value = Vec<RunFact>> {
        let outcome = prop_oneof![
            4 => Just(SUCCESS),
            2 => Just(PARTIAL),
            1 => Just(FAILED),
            1 => Just(Some(Outcome::Interrupted)),
            1 => Just(None),
        ];
        let one = (0..200_u32, 0..24_u32, outcome);
        proptest::collection::vec(one, 0..40).prop_map(|runs| {
            let start = now() - chrono::TimeDelta::days(190);
            let numbered = runs.into_iter().enumerate().map(|(number, (day, hour, outcome))| {
                let at = start + chrono::TimeDelta::hours(i64::from(day * 24 + hour));
                RunFact { id: RunId::new(at, u32::try_from(number).unwrap()), at, outcome }
            });
            numbered.collect()
        })
    }

    proptest! {
        /// The same in the words of the documentation: walk back through the days, and of each take the best.
        #[test]
        fn it_is_what_the_documentation_says(runs in any_runs(), daily in 0..6_u32, monthly in 0..6_u32) {
            let rules =
                PruneRules { keep_daily: Some(daily), keep_monthly: Some(monthly), local_after: None };
            let judged = keep(&runs, &rules, now(), Seoul);
            prop_assert_eq!(judged.len(), runs.len());
            let mut expected = BTreeSet::new();
            for (count, length) in [(daily, "2026-11-23".len()), (monthly, "2026-11".len())] {
                let period = |run: &RunFact| run.at.with_timezone(&Seoul).to_rfc3339()[..length].to_owned();
                let able: Vec<_> = runs
                    .iter()
                    .filter(|run| run.at <= now() && [SUCCESS, PARTIAL].contains(&run.outcome))
                    .collect();
                let mut periods: Vec<_> = able.iter().map(|run| period(run)).collect();
                periods.sort();
                periods.dedup();
                for wanted in periods.iter().rev().take(count as usize) {
                    let of_it = able.iter().filter(|run| period(run) == *wanted);
                    let best = of_it.max_by_key(|run| (run.outcome == SUCCESS, run.id.clone())).unwrap();
                    expected.insert(best.id.clone());
                }
            }
            expected.extend(runs.iter().map(|run| run.id.clone()).max());
            let able = runs.iter().filter(|run| [SUCCESS, PARTIAL].contains(&run.outcome));
            expected.extend(able.map(|run| run.id.clone()).max());
            expected.extend(runs.iter().filter(|run| run.at > now()).map(|run| run.id.clone()));
            let kept: BTreeSet<_> =
                judged.into_iter().filter(|run| !run.keep.is_empty()).map(|run| run.id).collect();
            prop_assert_eq!(kept, expected);
        }
    }
}
