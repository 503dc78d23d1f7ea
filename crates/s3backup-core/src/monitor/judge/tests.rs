//! Every verdict, at the times at which it changes.

use s3backup_model::{CatalogRef, Name, RunId, ScheduleRef, Tally, Trigger};

use super::super::BrokenAlerts;
use super::*;

fn at(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(text).unwrap()
}

fn ended(began: &str, outcome: Outcome) -> RunSummary {
    let started_at = at(began);
    RunSummary {
        run_id: RunId::new(started_at.to_utc(), 1),
        trigger: Trigger::Cron,
        outcome,
        started_at,
        finished_at: started_at + TimeDelta::minutes(3),
        found: Tally::default(),
        uploaded: Tally::default(),
        failed_total: u64::from(outcome == Outcome::Partial),
        fatal: (outcome == Outcome::Failed).then_some(s3backup_model::FailureKind::Network),
        due: Vec::new(),
    }
}

/// A job of which these runs ended, newest first; due as `schedule` says, with a deadline of an hour.
fn said(runs: &[(&str, Outcome)], schedule: Option<(&str, &str)>) -> Evidence {
    let runs: Vec<_> = runs.iter().map(|(began, outcome)| ended(began, *outcome)).collect();
    let name = |text| Name::new(text).unwrap();
    let latest = Latest {
        schema: 1,
        min_reader: 1,
        version: "1".to_owned(),
        job: name("telemetry"),
        host: name("gw-1"),
        destination: "s3://b/p".to_owned(),
        state: RunState::Idle,
        run_id: runs[0].run_id.clone(),
        started_at: runs[0].started_at,
        heartbeat: runs[0].finished_at,
        lease: None,
        schedule: schedule.map(|(cron, zone)| ScheduleRef {
            cron: cron.to_owned(),
            timezone: zone.to_owned(),
            deadline_s: 3600,
            max_runtime_s: 36_000,
        }),
        catalog: CatalogRef { id: "1".to_owned(), machine: None },
        alerts: None,
        verified: None,
        runs,
    };
    Evidence {
        job: latest.job.clone(),
        host: latest.host.clone(),
        written_at: Some(latest.heartbeat.to_utc()),
        word: Word::Said(Box::new(latest)),
        report_written_at: None,
        alerts: None,
        silent_until: None,
        is_retired: false,
    }
}

/// The same while a run goes on that began then, and was last heard of then.
fn running(mut evidence: Evidence, began: &str, heard: &str) -> Evidence {
    if let Word::Said(latest) = &mut evidence.word {
        latest.state = RunState::Running;
        latest.started_at = at(began);
        latest.heartbeat = at(heard);
        latest.run_id = RunId::new(at(began).to_utc(), 2);
    }
    evidence.written_at = Some(at(heard).to_utc());
    evidence
}

#[track_caller]
fn assert_found(evidence: &Evidence, now: &str, expected: &[FindingKind]) -> Watched {
    let watched = judge(evidence, at(now).to_utc());
    let kinds: Vec<_> = watched.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, expected, "at {now}: {:#?}", watched.findings);
    watched
}

use FindingKind::{
    AlertsBroken, Clock, Damaged, Failed, Killed, Late, LongRunning, Newer, Partial, Unread, Unseen,
};

const EVENING: Option<(&str, &str)> = Some(("0 20 * * *", "Asia/Seoul"));

#[test]
fn a_success_is_late_an_hour_after_it_was_due() {
    let yesterday = said(&[("2026-11-22T20:00:01+09:00", Outcome::Success)], EVENING);
    assert_found(&yesterday, "2026-11-23T19:59:59+09:00", &[]);
    let watched = assert_found(&yesterday, "2026-11-23T20:59:59+09:00", &[]);
    assert_eq!(watched.next_due.unwrap(), at("2026-11-24T20:00:00+09:00"));
    let watched = assert_found(&yesterday, "2026-11-23T21:00:00+09:00", &[Late]);
    let late = &watched.findings[0];
    assert_eq!(
        (late.since, late.due),
        (at("2026-11-23T20:00:00+09:00"), at("2026-11-23T11:00:00Z").to_utc())
    );
    assert_eq!(
        late.what,
        "the backup due 2026-11-23 20:00 +09:00 is late by 1h: no run has begun since, the machine was last heard of \
         2026-11-22 20:03 +09:00; the last complete backup is of 2026-11-22 20:03 +09:00"
    );
    // It stays the same trouble until a success ends it.
    let later = assert_found(&yesterday, "2026-11-25T21:30:00+09:00", &[Late]);
    assert_eq!(later.findings[0].due, late.due);
    assert!(later.findings[0].what.contains("late by 2days 1h 30m"), "{}", later.findings[0].what);

    let made_up = said(&[("2026-11-23T22:00:00+09:00", Outcome::Success)], EVENING);
    assert_found(&made_up, "2026-11-23T22:10:00+09:00", &[]);
    let early = said(
        &[("2026-11-23T19:00:00+09:00", Outcome::Success), ("2026-11-22T20:00:00+09:00", Outcome::Success)],
        EVENING,
    );
    assert_found(&early, "2026-11-23T21:00:00+09:00", &[Late]);
}

#[test]
fn what_was_due_before_the_first_run_is_not_missed() {
    let new = said(&[("2026-11-23T22:00:00+09:00", Outcome::Failed)], EVENING);
    assert_found(&new, "2026-11-24T09:00:00+09:00", &[Failed]);
    assert_found(&new, "2026-11-24T21:00:00+09:00", &[Late]);
}

#[test]
fn a_late_backup_says_why() {
    for (outcome, word) in [
        (Outcome::Partial, "ended as partial, 1 file not backed up"),
        (Outcome::Failed, "ended as failed (network)"),
        (Outcome::Interrupted, "ended as interrupted"),
    ] {
        let tried = said(
            &[("2026-11-23T20:00:01+09:00", outcome), ("2026-11-22T20:00:01+09:00", Outcome::Success)],
            EVENING,
        );
        let watched = assert_found(&tried, "2026-11-23T21:10:00+09:00", &[Late]);
        assert!(watched.findings[0].what.contains(word), "{}", watched.findings[0].what);
    }
}

#[test]
fn a_trouble_is_known_by_the_due_time_that_it_began_with() {
    let runs = [
        ("2026-11-24T20:00:01+09:00", Outcome::Failed),
        ("2026-11-23T20:00:01+09:00", Outcome::Failed),
        ("2026-11-22T20:00:01+09:00", Outcome::Success),
    ];
    let due = at("2026-11-23T20:00:00+09:00").to_utc();
    let early = assert_found(&said(&runs[1..], EVENING), "2026-11-23T20:10:00+09:00", &[Failed]);
    let later = assert_found(&said(&runs, EVENING), "2026-11-24T20:10:00+09:00", &[Late]);
    assert_eq!((early.findings[0].due, later.findings[0].due), (due, due));
    // By hand, between two due times.
    let by_hand =
        [("2026-11-23T09:00:00+09:00", Outcome::Failed), ("2026-11-22T20:00:01+09:00", Outcome::Success)];
    let watched = assert_found(&said(&by_hand, EVENING), "2026-11-23T09:10:00+09:00", &[Failed]);
    assert_eq!(watched.findings[0].due, at("2026-11-23T09:00:00+09:00").to_utc());
}

#[test]
fn without_a_schedule_failures_are_all_that_counts() {
    let watched =
        assert_found(&said(&[("2026-01-01T00:00:00Z", Outcome::Success)], None), "2026-11-23T00:00:00Z", &[]);
    assert!(watched.note.unwrap().contains("[schedule]"));
    for (outcome, expected) in [
        (Outcome::Failed, [Failed].as_slice()),
        (Outcome::Partial, &[Partial]),
        (Outcome::Interrupted, &[]),
        (Outcome::Success, &[]),
    ] {
        let runs = [("2026-11-22T20:00:00Z", outcome), ("2026-11-21T20:00:00Z", Outcome::Success)];
        assert_found(&said(&runs, None), "2026-11-22T20:05:00Z", expected);
    }
    // A failure before a success is over.
    let runs = [("2026-11-22T20:00:00Z", Outcome::Success), ("2026-11-21T20:00:00Z", Outcome::Failed)];
    assert_found(&said(&runs, None), "2026-11-22T20:05:00Z", &[]);
}

#[test]
fn a_run_that_is_heard_of_is_not_late_but_long() {
    let yesterday = || said(&[("2026-11-22T20:00:01+09:00", Outcome::Success)], EVENING);
    let goes_on = |heard| running(yesterday(), "2026-11-23T20:00:01+09:00", heard);
    let watched = assert_found(&goes_on("2026-11-23T20:50:00+09:00"), "2026-11-23T20:54:00+09:00", &[]);
    assert!(watched.is_running);
    let heard = goes_on("2026-11-23T21:00:00+09:00");
    let watched = assert_found(&heard, "2026-11-23T21:04:00+09:00", &[LongRunning]);
    assert_eq!(watched.findings[0].since, at("2026-11-23T20:00:01+09:00"));
    // Then nothing is heard of it any more.
    assert_found(&heard, "2026-11-23T21:15:00+09:00", &[LongRunning]);
    let watched = assert_found(&heard, "2026-11-23T21:15:01+09:00", &[Late]);
    assert!(
        !watched.is_running && watched.findings[0].what.contains("it was killed, or its machine is gone")
    );
    // Before the deadline a killed run is a trouble of its own.
    let watched = assert_found(&goes_on("2026-11-23T20:10:00+09:00"), "2026-11-23T20:30:00+09:00", &[Killed]);
    assert_eq!(
        watched.findings[0].due,
        at("2026-11-23T20:00:00+09:00").to_utc(),
        "the due time that it was for"
    );

    let unscheduled = || said(&[("2026-11-22T20:00:00Z", Outcome::Success)], None);
    let years = running(unscheduled(), "2026-11-23T00:00:00Z", "2026-11-24T23:59:00Z");
    assert_found(&years, "2026-11-25T00:00:00Z", &[]);
    assert_found(&years, "2026-11-25T01:00:00Z", &[Killed]);
}

/// The same run, shared by workers until then.
fn shared(mut evidence: Evidence, until: &str) -> Evidence {
    if let Word::Said(latest) = &mut evidence.word {
        latest.lease = Some(Lease { run_id: latest.run_id.clone(), shards: 8, expires_at: at(until) });
    }
    evidence
}

#[test]
fn a_run_that_many_workers_share_goes_on_as_long_as_its_lease() {
    let yesterday = said(&[("2026-11-22T20:00:01+09:00", Outcome::Success)], EVENING);
    let planned = running(yesterday, "2026-11-23T20:00:01+09:00", "2026-11-23T20:02:00+09:00");
    let goes_on = shared(planned, "2026-11-24T06:00:00+09:00");
    // Nobody says from time to time that it goes on.
    assert!(assert_found(&goes_on, "2026-11-23T20:59:00+09:00", &[]).is_running);
    assert!(assert_found(&goes_on, "2026-11-24T05:59:59+09:00", &[LongRunning]).is_running);
    let watched = assert_found(&goes_on, "2026-11-24T06:00:00+09:00", &[Late]);
    assert!(!watched.is_running);
    let run = "20261123T110001.000Z-00000002";
    let late = &watched.findings[0];
    assert!(
        late.what.contains(&format!("the run {run} that began 2026-11-23 20:00 +09:00")),
        "{}",
        late.what
    );
    assert!(late.what.contains("8 shards") && late.what.contains("2026-11-24 06:00 +09:00"), "{}", late.what);
    assert!(late.mend.contains(&format!("backup commit {run} --abandon")), "{}", late.mend);

    let unscheduled = said(&[("2026-11-22T20:00:00Z", Outcome::Success)], None);
    let brief =
        shared(running(unscheduled, "2026-11-23T00:00:00Z", "2026-11-23T00:01:00Z"), "2026-11-23T00:05:00Z");
    assert_found(&brief, "2026-11-23T00:04:59Z", &[]);
    assert_found(&brief, "2026-11-23T00:05:00Z", &[Killed]);
}

#[test]
fn what_the_bucket_says_of_a_lease_is_harmless() {
    let odd = said(&[("2026-11-22T20:00:00Z", Outcome::Success)], None);
    let mut odd =
        shared(running(odd, "2026-11-23T00:00:00Z", "2026-11-23T00:01:00Z"), "2026-11-23T01:00:00Z");
    if let Word::Said(latest) = &mut odd.word {
        let run_id = serde_json::from_str("\"\\u001b[2J\"").unwrap();
        latest.lease = latest.lease.take().map(|lease| Lease { run_id, ..lease });
    }
    let watched = assert_found(&odd, "2026-11-23T02:00:00Z", &[Killed]);
    let Finding { what, mend, .. } = &watched.findings[0];
    assert!(!what.contains('\u{1b}') && !mend.contains('\u{1b}'), "{what} {mend}");
}

#[test]
fn a_run_that_outlives_its_longest_time_is_long() {
    let daily = || said(&[("2026-11-23T07:00:00Z", Outcome::Success)], Some(("0 7 * * *", "UTC")));
    let goes_on = |heard| running(daily(), "2026-11-23T07:30:00Z", heard);
    assert_found(&daily(), "2026-11-23T12:00:00Z", &[]);
    assert_found(&goes_on("2026-11-23T17:40:00Z"), "2026-11-23T17:45:00Z", &[]);
    assert_found(&goes_on("2026-11-23T17:45:00Z"), "2026-11-23T17:45:01Z", &[LongRunning]);
}

#[test]
fn the_clocks_of_summer_and_winter_are_followed() {
    // Zone, expression, the last success before, and the instant that is due.
    for (zone, cron, before, due) in [
        ("America/New_York", "30 2 * * *", "2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z"), // skipped: at 03:00 EDT
        ("America/New_York", "30 1 * * *", "2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z"), // twice: the first
        ("Europe/London", "30 1 * * *", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"),
        ("Europe/London", "30 1 * * *", "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"),
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z"),
        ("Asia/Seoul", "0 20 * * *", "2026-11-22T11:00:00Z", "2026-11-23T11:00:00Z"),
    ] {
        let due = at(due);
        let deadline = due + TimeDelta::hours(1);
        let missed = said(&[(before, Outcome::Success)], Some((cron, zone)));
        let text = |at: DateTime<FixedOffset>| at.to_rfc3339();
        assert_found(&missed, &text(deadline - TimeDelta::seconds(1)), &[]);
        let watched = assert_found(&missed, &text(deadline), &[Late]);
        assert_eq!(watched.findings[0].since, due, "{zone}");
        let met = said(&[(&text(due), Outcome::Success), (before, Outcome::Success)], Some((cron, zone)));
        assert_found(&met, &text(deadline), &[]);
        // The hour that comes twice is due once.
        assert_found(&met, &text(deadline + TimeDelta::hours(2)), &[]);
    }
}

#[test]
fn a_schedule_that_cannot_be_read_is_a_trouble() {
    for (cron, zone, word) in
        [("0 20 * *", "Asia/Seoul", "4 of 5 fields"), ("0 20 * * *", "Mars/Olympus", "no time zone")]
    {
        let evidence = said(&[("2026-11-22T20:00:00+09:00", Outcome::Success)], Some((cron, zone)));
        let watched = assert_found(&evidence, "2026-11-22T20:10:00+09:00", &[Damaged]);
        assert!(watched.findings[0].what.contains(word), "{}", watched.findings[0].what);
    }
    let mut endless = said(&[("2026-11-22T20:00:00+09:00", Outcome::Success)], EVENING);
    if let Word::Said(latest) = &mut endless.word {
        let schedule = latest.schedule.as_mut().unwrap();
        (schedule.deadline_s, schedule.max_runtime_s) = (u64::MAX, u64::MAX);
    }
    assert_found(&endless, "2026-11-25T20:10:00+09:00", &[]);
}

#[test]
fn a_clock_that_is_off_is_told() {
    let mut ahead = said(&[("2026-11-22T20:00:00Z", Outcome::Success)], None);
    ahead.written_at = Some(at("2026-11-22T19:03:00Z").to_utc());
    let watched = assert_found(&ahead, "2026-11-22T19:05:00Z", &[Clock]);
    assert!(watched.findings[0].what.contains("1h ahead of the server's"), "{}", watched.findings[0].what);

    // Written long after it was said: a verification may have done that, but not to the report.
    let mut rewritten = said(&[("2026-11-22T20:00:00Z", Outcome::Success)], None);
    rewritten.written_at = Some(at("2026-11-22T22:00:00Z").to_utc());
    rewritten.report_written_at = Some(at("2026-11-22T20:03:01Z").to_utc());
    assert_found(&rewritten, "2026-11-22T23:00:00Z", &[]);
    rewritten.report_written_at = Some(at("2026-11-22T22:00:00Z").to_utc());
    let watched = assert_found(&rewritten, "2026-11-22T23:00:00Z", &[Clock]);
    assert!(watched.findings[0].what.contains("1h 57m behind"), "{}", watched.findings[0].what);
}

#[test]
fn alerts_that_reach_nobody_are_told() {
    let mut evidence = said(&[("2026-11-22T20:00:00Z", Outcome::Success)], None);
    let since = at("2026-11-20T20:00:00Z");
    let why = format!("invalid_auth\u{1b}[2J{}", "!".repeat(5000));
    evidence.alerts = Some(BrokenAlerts { waiting: 3, since, why });
    let watched = assert_found(&evidence, "2026-11-22T20:05:00Z", &[AlertsBroken]);
    let said = &watched.findings[0].what;
    assert!(!said.contains('\u{1b}') && said.len() <= 1000, "{said}");
    assert!(watched.findings[0].what.contains("invalid_auth") && watched.findings[0].what.contains("3 wait"));
}

#[test]
fn what_says_nothing_is_a_trouble_unless_it_is_retired() {
    for (word, kind) in [
        (Word::Absent, Unseen),
        (Word::Damaged("torn".to_owned()), Damaged),
        (Word::Newer(2), Newer),
        (Word::Unread("403".to_owned()), Unread),
    ] {
        let mut evidence = said(&[("2026-11-22T20:00:00Z", Outcome::Success)], EVENING);
        evidence.word = word;
        assert_found(&evidence, "2026-11-25T20:05:00Z", &[kind]);
        evidence.is_retired = true;
        assert!(assert_found(&evidence, "2026-11-25T20:05:00Z", &[]).is_retired);
    }
}
