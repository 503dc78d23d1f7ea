//! Whether a run found far less than is usual for its job. Pure: history in, verdict out.

use chrono::{Datelike, NaiveDate, TimeDelta};
use s3backup_model::{Outcome, RunSummary, Tally};

/// How far back the usual is looked for. What a job grew out of, or into, is not held against it for longer.
const HISTORY: TimeDelta = TimeDelta::weeks(5);

/// With fewer days than this nothing is usual yet.
const MIN_DAYS: usize = 7;

/// With as many of the same day of the week, they alone say what is usual: many jobs are quiet on Sundays.
const MIN_WEEKDAYS: usize = 4;

/// A drop is an alarm below this share of the usual, in halves of it, and beyond so many times the usual spread.
const HALF: u64 = 2;
const SPREADS: u64 = 5;

/// What a successful run of some day found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    date: NaiveDate,
    found: Tally,
}

/// Far less than is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shrunk {
    /// The middle of what was found before, of files and of bytes by themselves.
    pub(crate) usual: Tally,
    /// How many days that is made of.
    pub(crate) days: usize,
}

/// What is thought of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: too little is known, or the day is not like the others.
    Unknown,
    /// It is as usual.
    Usual,
    /// It is far less than usual.
    Shrunk(Shrunk),
}

impl Day {
    /// The day that a run stands for.
    fn of(run: &RunSummary) -> Self {
        let at = run.due.last().map_or(run.started_at, |due| due.at);
        Self { date: at.date_naive(), found: run.found }
    }
}

/// Compares a run with those before it, as far as they are successes. Where runs are due at some times, one that stands for
/// none of them may well find little.
pub(crate) fn judge_run<'a>(
    run: &RunSummary,
    past: impl Iterator<Item = &'a RunSummary>,
    is_scheduled: bool,
) -> Verdict {
    let counts = |run: &RunSummary| run.outcome == Outcome::Success && !(is_scheduled && run.due.is_empty());
    if !counts(run) {
        return Verdict::Unknown;
    }
    let past: Vec<Day> = past.filter(|run| counts(run)).map(Day::of).collect();
    judge(&past, Day::of(run))
}

/// Compares a day with those before it. `past` is in any order and may name a day several times: the most that was found on
/// it counts.
fn judge(past: &[Day], today: Day) -> Verdict {
    let mut days: Vec<Day> = past
        .iter()
        .filter(|day| day.date < today.date && today.date - day.date <= HISTORY)
        .copied()
        .collect();
    days.sort_unstable_by_key(|day| (day.date, day.found.files, day.found.bytes));
    days.dedup_by(|later, kept| {
        let is_same = later.date == kept.date;
        if is_same {
            *kept = *later;
        }
        is_same
    });
    if days.len() < MIN_DAYS {
        return Verdict::Unknown;
    }
    let weekday = today.date.weekday();
    let same: Vec<Day> = days.iter().filter(|day| day.date.weekday() == weekday).copied().collect();
    let days = if same.len() >= MIN_WEEKDAYS { same } else { days };

    let files: Vec<u64> = days.iter().map(|day| day.found.files).collect();
    let bytes: Vec<u64> = days.iter().map(|day| day.found.bytes).collect();
    let usual = Tally { files: median(files.clone()), bytes: median(bytes.clone()) };
    let is_less = is_far_less(today.found.files, usual.files, &files)
        || is_far_less(today.found.bytes, usual.bytes, &bytes);
    if is_less { Verdict::Shrunk(Shrunk { usual, days: days.len() }) } else { Verdict::Usual }
}

/// The spread is the middle of the distances from the middle, which a few odd days do not move.
fn is_far_less(now: u64, usual: u64, past: &[u64]) -> bool {
    let spread = median(past.iter().map(|value| value.abs_diff(usual)).collect());
    now < usual / HALF && usual - now > spread.saturating_mul(SPREADS)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A Friday.
    const TODAY: &str = "2026-11-20";

    fn day(back: i64, files: u64) -> Day {
        let today: NaiveDate = TODAY.parse().unwrap();
        Day { date: today - TimeDelta::days(back), found: Tally { files, bytes: files * 1000 } }
    }

    fn past(days: i64, files: impl Fn(i64) -> u64) -> Vec<Day> {
        (1..=days).map(|back| day(back, files(back))).collect()
    }

    fn is_shrunk(past: &[Day], today: Day) -> bool {
        matches!(judge(past, today), Verdict::Shrunk(_))
    }

    #[test]
    fn a_big_drop_is_noticed_and_a_usual_day_is_not() {
        let past = past(30, |back| 1000 + u64::try_from(back % 5).unwrap());
        assert_eq!(judge(&past, day(0, 990)), Verdict::Usual);
        assert_eq!(judge(&past, day(0, 600)), Verdict::Usual, "above half");
        let Verdict::Shrunk(shrunk) = judge(&past, day(0, 100)) else { panic!("it shrank") };
        assert_eq!((shrunk.usual.files, shrunk.days), (1003, 4), "of four Fridays");
        assert!(is_shrunk(&past, day(0, 0)));
        let light = Day { found: Tally { files: 1000, bytes: 10 }, ..day(0, 0) };
        assert!(is_shrunk(&past, light), "as many files, and nothing in them");
    }

    #[test]
    fn nothing_is_usual_in_the_first_week() {
        assert_eq!(judge(&past(6, |_| 1000), day(0, 1)), Verdict::Unknown);
        assert!(is_shrunk(&past(7, |_| 1000), day(0, 1)));
        let often: Vec<Day> = std::iter::repeat_n(day(1, 1000), 50).collect();
        assert_eq!(judge(&often, day(0, 1)), Verdict::Unknown, "many runs of one day are one day");
        assert_eq!(judge(&past(3, |_| 1000), day(0, 1)), Verdict::Unknown);
        let long_ago: Vec<Day> = (100..150).map(|back| day(back, 1000)).collect();
        assert_eq!(judge(&long_ago, day(0, 1)), Verdict::Unknown, "what was usual then is not any more");
    }

    #[test]
    fn quiet_days_of_the_week_are_usual() {
        // Two days and three days before a Friday are a Wednesday and a Tuesday: here, Fridays are quiet.
        let weekly = |back: i64| if back % 7 == 0 { 50 } else { 5000 };
        assert_eq!(judge(&past(35, weekly), day(0, 48)), Verdict::Usual);
        assert!(is_shrunk(&past(35, weekly), day(0, 10)), "also on a quiet day");
        // With too few Fridays to tell, all days together.
        assert!(is_shrunk(&past(20, weekly), day(0, 48)));
    }

    #[test]
    fn what_varies_much_is_given_room() {
        let wild = |back: i64| [100, 2000, 40, 900, 3000, 10, 1500][usize::try_from(back % 7).unwrap()];
        let irregular = |back: i64| wild(back * back + 3 * back);
        assert_eq!(judge(&past(20, irregular), day(0, 20)), Verdict::Usual);
    }

    #[test]
    fn growth_is_no_trouble_and_neither_is_an_odd_day() {
        let growing = past(56, |back| 10_000 - u64::try_from(back * 150).unwrap());
        assert_eq!(judge(&growing, day(0, 10_000)), Verdict::Usual);
        assert!(is_shrunk(&growing, day(0, 800)));
        let odd = past(30, |back| if back == 14 { 100_000 } else { 1000 });
        assert_eq!(judge(&odd, day(0, 950)), Verdict::Usual);
    }

    #[test]
    fn the_most_of_a_day_counts() {
        let mut past = past(10, |_| 1000);
        past.extend((1..=10).map(|back| day(back, 3)));
        assert!(is_shrunk(&past, day(0, 3)));
    }

    proptest! {
        #[test]
        fn whatever_is_above_half_of_the_least_is_no_drop(
            counts in prop::collection::vec(0_u64..1_000_000, 0..80), share in 0_u64..100,
        ) {
            let past: Vec<Day> = counts.iter().zip(1..).map(|(files, back)| day(back, *files)).collect();
            let most = counts.iter().max().copied().unwrap_or_default();
            prop_assert!(!is_shrunk(&past, day(0, most / 2 + share + 1)));
        }
    }
}
