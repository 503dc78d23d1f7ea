//! Which due times a run stands for, and what that means for what it does and says.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use s3backup_core::options::{Schedule, SlackOptions, SlackWay};
use s3backup_core::{
    Backup, BackupBuilder, DueState, Each, Event, Outcome, RunReport, ScheduleOptions, Select, Source, Step,
    StepStream,
};
use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};

use crate::bench::{Bench, CONTROL, failed, soon, until, watch};
use crate::fake_slack::FakeSlack;
use crate::memory::{kill, set_mtime, state_dir, success};

/// A job that is due at 20:00 in Seoul, and a clock that the test sets.
pub(crate) struct Evenings {
    pub(crate) bench: Bench,
    now: Arc<Mutex<DateTime<Utc>>>,
}

impl Evenings {
    /// Set up on the morning of the 20th.
    pub(crate) async fn new() -> Self {
        Self::begin(Bench::new().await, Arc::default()).await
    }

    /// The same with a server whose clock is the test's, too.
    pub(crate) async fn of_all() -> Self {
        let now: Arc<Mutex<DateTime<Utc>>> = Arc::default();
        let told = Arc::clone(&now);
        let server = LocalS3::builder().clock(move || (*told.lock().unwrap()).into());
        Self::begin(Bench::with(server).await, now).await
    }

    async fn begin(bench: Bench, now: Arc<Mutex<DateTime<Utc>>>) -> Self {
        let evenings = Self { bench, now };
        evenings.bench.file("any", "x");
        evenings.at("2026-11-20 09:00");
        assert_eq!(
            success(&evenings.backup()).await.due,
            [],
            "what was due before it was set up is not its business"
        );
        evenings
    }

    /// It is now so late in Seoul.
    pub(crate) fn at(&self, time: &str) {
        *self.now.lock().unwrap() = seoul(time);
    }

    pub(crate) fn dress(&self, builder: BackupBuilder) -> BackupBuilder {
        let now = Arc::clone(&self.now);
        let zone = chrono_tz::Asia::Seoul;
        let schedule = ScheduleOptions::new(Schedule::new("0 20 * * *", zone).unwrap());
        builder.timezone(zone).schedule(schedule).clock(Arc::new(move || *now.lock().unwrap()))
    }

    pub(crate) fn builder(&self) -> BackupBuilder {
        self.dress(self.bench.builder())
    }

    pub(crate) fn backup(&self) -> Backup {
        self.builder().build().unwrap()
    }

    /// A source of one file for each day from the 17th to the 25th, modified at noon.
    fn days(&self) -> Source {
        for day in 17..=25 {
            let path = self.bench.file(&format!("of-{day}"), "x");
            stamp(&path, &format!("2026-11-{day} 12:00"));
        }
        Source::new(self.bench.data()).include(["of-*"])
    }
}

fn seoul(time: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&format!("{}:00+09:00", time.replace(' ', "T"))).unwrap().to_utc()
}

fn stamp(path: &Path, time: &str) {
    set_mtime(path, seoul(time).into());
}

fn due(report: &RunReport) -> Vec<(String, &'static str)> {
    report.due.iter().map(|due| (due.at.format("%d %H:%M %:z").to_string(), due.state.as_str())).collect()
}

fn evening(day: u32, state: DueState) -> (String, &'static str) {
    (format!("{day} 20:00 +09:00"), state.as_str())
}

use DueState::{CaughtUp, Met, Missed, Partial};

/// What the catalog says of all due times, newest first.
async fn ledger(backup: &Backup) -> Vec<(u32, &'static str)> {
    use chrono::Datelike;
    let status = backup.status().await.unwrap();
    status.due.iter().map(|due| (due.at.day(), due.state.as_str())).collect()
}

#[tokio::test]
async fn what_was_missed_while_the_machine_was_down_is_made_up_in_one_run_and_said() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    assert_eq!(due(&success(&evenings.backup()).await), [evening(20, Met)], "just in time");
    evenings.at("2026-11-23 23:01");
    let slack = FakeSlack::start([]).await;
    let way = SlackWay::Bot { token: "t".into(), channel: "#c".to_owned(), api_url: slack.api_url() };
    let report = success(&evenings.builder().slack(SlackOptions::new(way)).build().unwrap()).await;
    assert_eq!(due(&report), [evening(21, CaughtUp), evening(22, CaughtUp), evening(23, Met)]);
    assert_eq!(evenings.bench.stored_report(&report).await, report);
    let text = slack.seen()[0].body.to_string();
    let words = "2026-11-21 20:00, 2026-11-22 20:00, 2026-11-23 20:00 (3 h late)";
    for words in ["3 due times that were missed or late", words] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    let latest: serde_json::Value =
        serde_json::from_slice(&evenings.bench.get(&format!("{CONTROL}latest.json")).await).unwrap();
    assert_eq!(latest["runs"][0]["due"][0]["state"], "caught_up");
    assert_eq!(latest["runs"][0]["due"][0]["at"], "2026-11-21T20:00:00+09:00");
    assert_eq!(latest["schedule"]["cron"], "0 20 * * *");

    evenings.at("2026-11-23 23:30");
    let report = success(&evenings.backup()).await;
    assert_eq!(report.due, [], "once");
    let expected = [(23, "met"), (22, "caught_up"), (21, "caught_up"), (20, "met")];
    assert_eq!(ledger(&evenings.backup()).await, expected);
    let next = evenings.backup().status().await.unwrap().next_due.unwrap();
    assert_eq!(next.to_rfc3339(), "2026-11-24T20:00:00+09:00");
}

#[tokio::test]
async fn a_job_that_takes_one_day_takes_all_the_days_that_were_missed() {
    for (select, first) in
        [(Select::Today, ["of-21", "of-22", "of-23"]), (Select::Yesterday, ["of-20", "of-21", "of-22"])]
    {
        let evenings = Evenings::new().await;
        let backup =
            evenings.dress(evenings.bench.job()).source(evenings.days().select(select)).build().unwrap();
        evenings.at("2026-11-20 20:00");
        let own = if select == Select::Today { "of-20" } else { "of-19" };
        assert_eq!(taken(&evenings, &backup).await, [own]);
        evenings.at("2026-11-23 22:00");
        assert_eq!(taken(&evenings, &backup).await, first, "{select:?}");
        // What was made up for is not looked at again.
        evenings.at("2026-11-24 20:00");
        let own = if select == Select::Today { "of-24" } else { "of-23" };
        assert_eq!(taken(&evenings, &backup).await, [own]);
    }
}

/// The files that a run selects, by name.
async fn taken(evenings: &Evenings, backup: &Backup) -> Vec<String> {
    let (events, report) = watch(backup).await;
    let report = report.unwrap();
    assert_eq!(report.outcome, Outcome::Success);
    let data = evenings.bench.data();
    let mut names: Vec<String> = Vec::new();
    for event in events {
        if let Event::Uploaded { path, .. } | Event::Unchanged { path, .. } = event {
            names.push(Path::new(&path).strip_prefix(&data).unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort_unstable();
    assert_eq!(names.len() as u64, report.found.files);
    names
}

#[tokio::test]
async fn a_step_of_each_day_runs_for_each_day_that_was_missed() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    success(&evenings.backup()).await;
    let script = "echo $BACKUP_DAY; echo \"Day: $BACKUP_DAY\" > $BACKUP_FACTS";
    let step = |name: &str| Step::new(name, ["sh", "-c", script]);
    let mut daily = step("statistics");
    daily.each = Each::Day;
    let backup = evenings.builder().step(daily).step(step("once")).build().unwrap();
    evenings.at("2026-11-23 20:00");
    let (events, report) = watch(&backup).await;
    let said: Vec<(String, String)> = events.into_iter().filter_map(output_of).collect();
    let expected = [
        ("statistics 2026-11-21", "2026-11-21"),
        ("statistics 2026-11-22", "2026-11-22"),
        ("statistics 2026-11-23", "2026-11-23"),
        ("once", "2026-11-23"),
    ];
    let expected = expected.map(|(name, day)| (name.to_owned(), day.to_owned()));
    assert_eq!(said, expected);
    let report = report.unwrap();
    assert_eq!(report.steps.len(), 4);
    let facts: Vec<(&str, &str)> =
        report.facts.iter().map(|fact| (fact.label.as_str(), fact.value.as_str())).collect();
    let told = [
        ("Day 2026-11-21", "2026-11-21"),
        ("Day 2026-11-22", "2026-11-22"),
        ("Day 2026-11-23", "2026-11-23"),
        ("Day", "2026-11-23"),
    ];
    assert_eq!(facts, told);
    // By hand, in between: for the day that it is.
    evenings.at("2026-11-24 08:00");
    let (events, _) = watch(&backup).await;
    let said: Vec<(String, String)> = events.into_iter().filter_map(output_of).collect();
    assert_eq!(said[0], ("statistics".to_owned(), "2026-11-24".to_owned()));
}

fn output_of(event: Event) -> Option<(String, String)> {
    match event {
        Event::StepOutput { name, stream: StepStream::Stdout, line } => Some((name, line)),
        _ => None,
    }
}

#[tokio::test]
async fn a_day_of_which_a_step_fails_stays_open() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-22 20:00");
    let mut daily = Step::new("statistics", ["sh", "-c", "echo $BACKUP_DAY; test $BACKUP_DAY != 2026-11-21"]);
    daily.each = Each::Day;
    let (events, report) = watch(&evenings.builder().step(daily).build().unwrap()).await;
    let report = failed(report);
    let days: Vec<String> = events.into_iter().filter_map(output_of).map(|(_, day)| day).collect();
    assert_eq!(days, ["2026-11-20", "2026-11-21"], "the later ones are not begun");
    assert_eq!(due(&report), [evening(20, Missed), evening(21, Missed), evening(22, Missed)]);
    assert!(report.fatal.unwrap().message.contains("statistics 2026-11-21"));
    let report = success(&evenings.backup()).await;
    assert_eq!(due(&report), [evening(20, CaughtUp), evening(21, CaughtUp), evening(22, Met)]);
}

#[tokio::test]
async fn a_due_time_is_open_until_a_run_succeeds() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    let broken = evenings.builder().step(Step::new("broken", ["false"])).build().unwrap();
    assert_eq!(due(&failed(soon(broken.run()).await)), [evening(20, Missed)]);
    assert_eq!(ledger(&evenings.backup()).await, [(20, "missed")]);

    let named = evenings.bench.file(".s3backup/x", "cannot be backed up");
    evenings.at("2026-11-20 21:00");
    let report = soon(evenings.backup().run()).await.unwrap();
    assert_eq!((report.outcome, due(&report)), (Outcome::Partial, vec![evening(20, Partial)]));
    assert_eq!(ledger(&evenings.backup()).await, [(20, "partial")]);

    evenings.at("2026-11-20 22:00");
    let run = evenings.backup().start();
    run.cancel_token().cancel();
    assert_eq!(soon(run.finish()).await.unwrap().outcome, Outcome::Interrupted);
    assert_eq!(ledger(&evenings.backup()).await, [(20, "partial")], "an interrupted run changes nothing");

    std::fs::remove_file(named).unwrap();
    evenings.at("2026-11-20 23:00");
    assert_eq!(due(&success(&evenings.backup()).await), [evening(20, Met)], "before the next was due");
    assert_eq!(ledger(&evenings.backup()).await, [(20, "met")]);

    // A success that comes after the next due time makes up for the one before.
    evenings.at("2026-11-21 20:00");
    assert_eq!(due(&failed(soon(broken.run()).await)), [evening(21, Missed)]);
    evenings.at("2026-11-22 20:00");
    assert_eq!(due(&success(&evenings.backup()).await), [evening(21, CaughtUp), evening(22, Met)]);
}

#[tokio::test]
async fn a_killed_run_leaves_its_due_time_open() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    evenings.bench.file("hangs", "x");
    let bench = &evenings.bench;
    bench
        .server
        .faults()
        .add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs"));
    let before = bench.server.stats().faults;
    let run = evenings.backup().start();
    until(|| bench.server.stats().faults > before).await;
    kill(bench, run).await;
    bench.server.faults().clear();
    assert_eq!(ledger(&evenings.backup()).await, [(20, "missed")]);
    evenings.at("2026-11-20 20:30");
    assert_eq!(due(&success(&evenings.backup()).await), [evening(20, Met)]);
}

#[tokio::test]
async fn without_catching_up_what_was_missed_stays_missed() {
    let evenings = Evenings::new().await;
    let zone = chrono_tz::Asia::Seoul;
    let mut options = ScheduleOptions::new(Schedule::new("0 20 * * *", zone).unwrap());
    options.catch_up = false;
    let source = evenings.days().select(Select::Today);
    let backup = evenings.dress(evenings.bench.job()).source(source).schedule(options).build().unwrap();
    evenings.at("2026-11-22 20:00");
    let report = success(&backup).await;
    assert_eq!(due(&report), [evening(22, Met)]);
    assert_eq!(report.found.files, 1);
    assert_eq!(ledger(&backup).await, [(22, "met"), (21, "missed"), (20, "missed")]);
    evenings.at("2026-11-22 21:00");
    assert_eq!(success(&backup).await.due, []);
}

#[tokio::test]
async fn a_machine_that_lost_its_catalog_or_keeps_none_knows_what_it_missed() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    success(&evenings.backup()).await;
    std::fs::remove_dir_all(state_dir(&evenings.bench)).unwrap();
    evenings.at("2026-11-22 20:00");
    let report = success(&evenings.backup()).await;
    assert_eq!(due(&report), [evening(21, CaughtUp), evening(22, Met)]);
    assert_eq!(ledger(&evenings.backup()).await, [(22, "met"), (21, "caught_up"), (20, "met")]);

    let source = Source::new(evenings.bench.data());
    let forgetful = evenings.dress(evenings.bench.forgetful_job()).source(source).build().unwrap();
    evenings.at("2026-11-24 20:00");
    assert_eq!(due(&success(&forgetful).await), [evening(23, CaughtUp), evening(24, Met)]);
    evenings.at("2026-11-24 21:00");
    assert_eq!(success(&forgetful).await.due, []);
}

#[tokio::test]
async fn a_disk_that_was_rolled_back_makes_up_for_nothing_twice() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    let broken = evenings.builder().step(Step::new("broken", ["false"])).build().unwrap();
    failed(soon(broken.run()).await);
    let copy = evenings.bench.dir("copy");
    for entry in std::fs::read_dir(state_dir(&evenings.bench)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    evenings.at("2026-11-20 21:00");
    assert_eq!(due(&success(&evenings.backup()).await), [evening(20, Met)]);
    std::fs::remove_dir_all(state_dir(&evenings.bench)).unwrap();
    std::fs::rename(copy, state_dir(&evenings.bench)).unwrap();
    evenings.at("2026-11-20 22:00");
    assert_eq!(success(&evenings.backup()).await.due, []);
    assert_eq!(ledger(&evenings.backup()).await, [(20, "met")]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_loses_no_due_time_and_invents_none() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    success(&evenings.backup()).await;
    evenings.at("2026-11-20 19:00");
    assert_eq!(soon(evenings.backup().run()).await.unwrap().due, []);
    evenings.at("2026-11-21 20:00");
    assert_eq!(due(&soon(evenings.backup().run()).await.unwrap()), [evening(21, Met)]);
}

#[tokio::test]
async fn days_are_those_of_the_schedule_whatever_the_day_is_when_it_runs() {
    let evenings = Evenings::new().await;
    let source = evenings.days().select(Select::Today);
    let backup = evenings.dress(evenings.bench.job()).source(source).build().unwrap();
    // Half past midnight: for the evening before.
    evenings.at("2026-11-21 00:30");
    assert_eq!(taken(&evenings, &backup).await, ["of-20"]);
    let day: NaiveDate = "2026-11-20".parse().unwrap();
    assert_eq!(backup.history(1).await.unwrap()[0].summary.as_ref().unwrap().due[0].at.date_naive(), day);
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_interrupted_and_told_also_at_a_terminal() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    evenings.bench.file("hangs", "x");
    let server = &evenings.bench.server;
    server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs"));
    let slack = FakeSlack::start([]).await;
    let way = SlackWay::Bot { token: "t".into(), channel: "#c".to_owned(), api_url: slack.api_url() };
    let zone = chrono_tz::Asia::Seoul;
    let mut options = ScheduleOptions::new(Schedule::new("0 20 * * *", zone).unwrap());
    options.max_runtime = Duration::from_secs(1);
    let job =
        evenings.builder().schedule(options).slack(SlackOptions::new(way)).alert_when_interrupted(false);
    let report = soon(job.build().unwrap().run()).await.unwrap();
    assert_eq!((report.outcome, due(&report)), (Outcome::Interrupted, vec![evening(20, Missed)]));
    let is_said = |warning: &String| warning.contains("max_runtime` = 1s");
    assert!(report.warnings.iter().any(is_said), "{:?}", report.warnings);
    let seen = slack.seen();
    assert_eq!(seen.len(), 1, "nobody sits there who interrupted it");
    assert!(seen[0].body.to_string().contains("max_runtime"), "{}", seen[0].body);
    server.faults().clear();
    assert_eq!(due(&success(&evenings.backup()).await), [evening(20, Met)]);
}
