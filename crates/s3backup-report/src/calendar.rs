//! The calendar: one cell a day, weeks side by side, the newest on the right.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveDate, TimeDelta};
use s3backup_model::{DueState, Outcome};

use crate::{JobPage, human};

/// A year and what is left of its first week. The stylesheet hides the oldest of them on narrow screens.
const WEEKS: u64 = 53;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// What became of a day, from the best to the worst: a day is shown as the worst of what was due on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Day {
    Complete,
    CaughtUp,
    Waiting,
    Partial,
    Failed,
    Missed,
}

impl Day {
    /// In the order of the legend.
    const ALL: [Self; 6] =
        [Self::Complete, Self::CaughtUp, Self::Partial, Self::Failed, Self::Missed, Self::Waiting];

    fn class(self) -> &'static str {
        match self {
            Self::Complete => "ok",
            Self::CaughtUp => "late",
            Self::Waiting => "wait",
            Self::Partial => "part",
            Self::Failed => "fail",
            Self::Missed => "miss",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CaughtUp => "caught up later",
            Self::Waiting => "due, none yet",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Missed => "missed",
        }
    }
}

/// What is known of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) day: Day,
    /// Files that the runs of that day sent.
    pub(crate) files: u64,
}

/// What became of each day of which something is known.
///
/// A day on which something was due is what became of that. Of another, its best run counts: what a later run mended is
/// mended.
pub(crate) fn days(job: &JobPage, made_at: DateTime<FixedOffset>) -> BTreeMap<NaiveDate, Cell> {
    let mut days: BTreeMap<NaiveDate, Cell> = BTreeMap::new();
    for run in &job.runs {
        let day = match run.outcome {
            Outcome::Success => Day::Complete,
            Outcome::Partial | Outcome::Interrupted => Day::Partial,
            Outcome::Failed => Day::Failed,
        };
        let cell = days.entry(run.started_at.date_naive()).or_insert(Cell { day, files: 0 });
        cell.day = cell.day.min(day);
        cell.files += run.uploaded.files;
    }
    let patience = job.schedule.as_ref().map_or(0, |schedule| schedule.deadline_s);
    let patience =
        TimeDelta::try_seconds(i64::try_from(patience).unwrap_or(i64::MAX)).unwrap_or(TimeDelta::MAX);
    let mut is_due: BTreeMap<NaiveDate, Day> = BTreeMap::new();
    for (index, due) in job.due.iter().enumerate() {
        let date = due.at.date_naive();
        let is_in_work = index == 0 && job.goes_on();
        let is_early = is_in_work || made_at.signed_duration_since(due.at) < patience;
        let day = match due.state {
            DueState::Met => Day::Complete,
            DueState::CaughtUp => Day::CaughtUp,
            DueState::Partial => Day::Partial,
            // That a run failed on it says more than that it was missed.
            DueState::Missed if days.get(&date).is_some_and(|cell| cell.day == Day::Failed) => Day::Failed,
            DueState::Missed if is_early => Day::Waiting,
            DueState::Missed => Day::Missed,
        };
        let worst = is_due.entry(date).or_insert(day);
        *worst = (*worst).max(day);
    }
    for (date, day) in is_due {
        days.entry(date).or_insert(Cell { day, files: 0 }).day = day;
    }
    days
}

/// The day that it is now for the job.
fn today(job: &JobPage, made_at: DateTime<FixedOffset>) -> NaiveDate {
    let own = job.next_due.or_else(|| job.runs.first().map(|run| run.started_at));
    own.map_or(made_at, |own| made_at.with_timezone(own.offset())).date_naive()
}

/// The table with its legend. A cell has its state as text, as a colour and as a sign.
pub(crate) fn table(job: &JobPage, made_at: DateTime<FixedOffset>) -> String {
    let days = days(job, made_at);
    let today = today(job, made_at);
    let monday = today - Days::new(today.weekday().num_days_from_monday().into());
    let first = monday - Days::new(7 * (WEEKS - 1));
    let weeks = || (0..WEEKS).map(|week| first + Days::new(7 * week));
    let mut out = String::with_capacity(48 << 10);
    let _ = write!(out, "<p>{}</p>", summary(&days, first));
    out.push_str(
        "<table class=\"cal\"><caption class=\"vh\">What became of each day</caption><thead><tr><td></td>",
    );
    for (index, week) in weeks().enumerate() {
        out.push_str(&week_header(week, index));
    }
    out.push_str("</tr></thead><tbody>");
    for (offset, name) in (0..).zip(WEEKDAYS) {
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th>");
        for date in weeks().map(|week| week + Days::new(offset)) {
            if date > today {
                out.push_str("<td></td>");
            } else {
                out.push_str(&cell(date, days.get(&date)));
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table><ul class=\"legend\">");
    for day in Day::ALL {
        let _ = write!(out, "<li><span class=\"d {}\"></span>{}</li>", day.class(), day.words());
    }
    out.push_str("<li><span class=\"d none\"></span>nothing due, no run</li></ul>");
    out
}

/// The month is named above its first whole week, unless there is no room to the right of it.
fn week_header(week: NaiveDate, index: usize) -> String {
    let is_first_of_month = week.day() <= 7;
    let month = if is_first_of_month && index + 2 < usize::try_from(WEEKS).unwrap_or_default() {
        format!("<span class=\"m\" aria-hidden=\"true\">{}</span>", week.format("%b"))
    } else {
        String::new()
    };
    format!("<th scope=\"col\"><span class=\"vh\">Week of {}</span>{month}</th>", week.format("%-d %b"))
}

fn cell(date: NaiveDate, cell: Option<&Cell>) -> String {
    let on = date.format("%a %-d %b %Y");
    let Some(Cell { day, files }) = cell else {
        return format!("<td class=\"d none\" title=\"{on}\"><span class=\"vh\">none</span></td>");
    };
    let (class, words) = (day.class(), day.words());
    let sent = if *files > 0 { format!(", {} sent", human::files(*files)) } else { String::new() };
    format!("<td class=\"d {class}\" title=\"{on}: {words}{sent}\"><span class=\"vh\">{words}</span></td>")
}

/// The days in words, with those that are not as they should be by their dates.
fn summary(days: &BTreeMap<NaiveDate, Cell>, first: NaiveDate) -> String {
    const NAMED: usize = 5;
    let shown = || days.range(first..).map(|(date, cell)| (*date, cell.day));
    let count = |wanted: Day| shown().filter(|(_, day)| *day == wanted).count();
    let mut parts: Vec<String> = Day::ALL
        .iter()
        .filter(|day| count(**day) > 0)
        .map(|day| format!("{} {}", count(*day), day.words()))
        .collect();
    if parts.is_empty() {
        return "Nothing was due yet, and no run has ended.".to_owned();
    }
    if parts.len() > 1
        && let Some(last) = parts.pop()
    {
        parts = vec![format!("{} and {last}", parts.join(", "))];
    }
    let total = shown().count();
    let mut text = format!("Of {total} {}: {}.", if total == 1 { "day" } else { "days" }, parts.concat());
    let bad: Vec<String> = shown()
        .filter(|(_, day)| *day >= Day::Partial)
        .map(|(date, _)| date.format("%-d %b").to_string())
        .rev()
        .take(NAMED)
        .collect();
    if !bad.is_empty() {
        let _ = write!(text, " The last that are not whole: {}.", bad.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use s3backup_model::{DueRef, Name, RunId, RunSummary, ScheduleRef, Tally, Trigger};

    use super::*;

    fn at(text: &str) -> DateTime<FixedOffset> {
        text.parse().unwrap()
    }

    fn job() -> JobPage {
        let name = |text| Name::new(text).unwrap();
        let mut job = JobPage::new(name("telemetry"), name("gw-1"), "s3://fleet");
        job.schedule = Some(ScheduleRef {
            cron: "0 20 * * *".to_owned(),
            timezone: "Asia/Seoul".to_owned(),
            deadline_s: 3600,
            max_runtime_s: 36_000,
        });
        job
    }

    fn due(text: &str, state: DueState) -> DueRef {
        DueRef { at: at(text), state }
    }

    fn run(text: &str, outcome: Outcome) -> RunSummary {
        let found = Tally { files: 3, bytes: 30 };
        RunSummary {
            run_id: RunId::new(at(text).to_utc(), 1),
            trigger: Trigger::Cron,
            outcome,
            started_at: at(text),
            finished_at: at(text),
            found,
            uploaded: found,
            failed_total: 0,
            fatal: None,
            due: Vec::new(),
        }
    }

    fn told(job: &JobPage, now: &str) -> Vec<(String, Day, u64)> {
        days(job, at(now)).into_iter().map(|(date, cell)| (date.to_string(), cell.day, cell.files)).collect()
    }

    #[test]
    fn a_day_is_what_became_of_its_due_times() {
        let mut job = job();
        job.due = vec![
            due("2026-11-24T20:00:00+09:00", DueState::Missed),
            due("2026-11-23T20:00:00+09:00", DueState::Missed),
            due("2026-11-22T20:00:00+09:00", DueState::CaughtUp),
            due("2026-11-21T20:00:00+09:00", DueState::Met),
            due("2026-11-21T08:00:00+09:00", DueState::Partial),
            due("2026-11-20T20:00:00+09:00", DueState::Missed),
        ];
        job.runs = vec![
            run("2026-11-23T09:00:00+09:00", Outcome::Success),
            run("2026-11-21T20:00:00+09:00", Outcome::Success),
            run("2026-11-20T20:00:00+09:00", Outcome::Failed),
        ];
        let day = |date: &str, day, files| (date.to_owned(), day, files);
        assert_eq!(
            told(&job, "2026-11-24T20:30:00+09:00"),
            [
                day("2026-11-20", Day::Failed, 3),
                day("2026-11-21", Day::Partial, 3),
                day("2026-11-22", Day::CaughtUp, 0),
                day("2026-11-23", Day::Missed, 3),
                day("2026-11-24", Day::Waiting, 0),
            ]
        );
        assert_eq!(told(&job, "2026-11-24T21:00:00+09:00")[4].1, Day::Missed, "the deadline has passed");
    }

    #[test]
    fn without_due_times_the_best_run_of_a_day_counts() {
        let mut job = job();
        job.runs = vec![
            run("2026-11-23T20:10:00+09:00", Outcome::Success),
            run("2026-11-23T20:00:00+09:00", Outcome::Failed),
            run("2026-11-22T20:00:00+09:00", Outcome::Interrupted),
        ];
        let told = told(&job, "2026-11-24T20:30:00+09:00");
        assert_eq!(told.iter().map(|(_, day, _)| *day).collect::<Vec<_>>(), [Day::Partial, Day::Complete]);
        assert_eq!(told[1].2, 6);
    }

    #[test]
    fn a_year_of_days_has_a_cell_each() {
        let mut job = job();
        job.next_due = Some(at("2026-11-25T20:00:00+09:00"));
        job.due = vec![due("2026-11-24T20:00:00+09:00", DueState::Met)];
        // It is the 25th in the zone of the job.
        let html = table(&job, at("2026-11-24T20:00:00+00:00"));
        assert_eq!(html.matches("<td class=\"d ").count(), 52 * 7 + 3, "up to this Wednesday");
        assert!(html.contains("title=\"Tue 24 Nov 2026: complete\""), "{html}");
        assert!(html.contains("title=\"Wed 25 Nov 2026\""), "{html}");
        assert_eq!(html.matches("class=\"m\"").count(), 12, "{html}");
        assert!(html.starts_with("<p>Of 1 day: 1 complete.</p>"), "{html}");
    }
}
