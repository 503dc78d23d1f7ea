//! Pages to look at: three jobs of a fleet after a year, and one whose every text is hostile.

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, TimeDelta, TimeZone};
use s3backup_model::{
    AlertKind, DueRef, DueState, Failure, FailureKind, Fatal, Name, Outcome, RunId, RunSummary, ScheduleRef,
    Tally, Trigger, Verified,
};
use s3backup_report::{Failures, JobPage, Page, Progress, Running, Trouble};

/// Half an hour after a run of the evening should have ended.
const NOW: &str = "2026-11-28T21:30:00+09:00";

const DAYS: u64 = 300;

fn now() -> DateTime<FixedOffset> {
    NOW.parse().expect("a time")
}

/// 20:00 in Seoul, so many days ago.
fn due(days_ago: u64) -> DateTime<FixedOffset> {
    let date: NaiveDate = now().date_naive() - Days::new(days_ago);
    let time = NaiveTime::from_hms_opt(20, 0, 0).expect("a time");
    now().timezone().from_local_datetime(&date.and_time(time)).single().expect("an offset has no gaps")
}

/// A number that looks random and is always the same.
fn noise(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn job(text: &str, host: &str) -> JobPage {
    let mut job = JobPage::new(name(text), name(host), "s3://fleet-backup/trips");
    job.schedule = Some(ScheduleRef {
        cron: "0 20 * * *".to_owned(),
        timezone: "Asia/Seoul".to_owned(),
        deadline_s: 3600,
        max_runtime_s: 36_000,
    });
    job.next_due = Some(due(0) + TimeDelta::days(1));
    job
}

fn run(at: DateTime<FixedOffset>, outcome: Outcome, seed: u64) -> RunSummary {
    let files = match (outcome, seed % 7) {
        (Outcome::Failed, _) => 0,
        // Fewer vehicles drive on the weekend.
        (_, 0 | 6) => 420 + noise(seed) % 120,
        _ => 1180 + noise(seed) % 260,
    };
    let bytes = files * (290_000 + noise(seed + 1000) % 90_000);
    let took = 21 + files / 9 + noise(seed + 2000) % 40;
    RunSummary {
        run_id: RunId::new(at.to_utc(), 0x7f3a_91c2),
        trigger: Trigger::Schedule,
        outcome,
        started_at: at,
        finished_at: at + TimeDelta::seconds(i64::try_from(took).expect("seconds")),
        found: Tally { files: files + 410_000, bytes: bytes + (120 << 30) },
        uploaded: Tally { files, bytes },
        failed_total: if outcome == Outcome::Partial { 3 } else { 0 },
        fatal: (outcome == Outcome::Failed).then_some(FailureKind::Credentials),
        due: Vec::new(),
    }
}

/// What became of the due time so many days ago.
fn fate(days_ago: u64) -> (DueState, Option<Outcome>) {
    match days_ago {
        12 | 131 => (DueState::Partial, Some(Outcome::Partial)),
        33..=34 | 200..=202 => (DueState::CaughtUp, None),
        47 => (DueState::Missed, Some(Outcome::Failed)),
        91..=92 => (DueState::Missed, None),
        _ => (DueState::Met, Some(Outcome::Success)),
    }
}

fn with_history(mut job: JobPage, newest: u64) -> JobPage {
    for days_ago in newest..DAYS {
        let (state, outcome) = fate(days_ago);
        job.due.push(DueRef { at: due(days_ago), state });
        if let Some(outcome) = outcome {
            job.runs.push(run(due(days_ago) + TimeDelta::seconds(4), outcome, days_ago));
        }
    }
    job.last_success = job.runs.iter().find(|run| run.outcome == Outcome::Success).cloned();
    job.held = Some(Tally { files: 412_207, bytes: 129_383_030_784 });
    job.verified = Some(Verified {
        at: due(3) + TimeDelta::hours(3),
        objects: Tally { files: 411_988, bytes: 129_300_000_000 },
        downloaded: Tally::default(),
        differ: 0,
    });
    let partial = job.runs.iter().find(|run| run.outcome == Outcome::Partial).cloned().expect("there is one");
    job.failures = Some(Failures {
        run_id: partial.run_id,
        started_at: partial.started_at,
        outcome: partial.outcome,
        fatal: None,
        failed: vec![
            failure(
                "/data/trips/vehicle-017/2026-11-16/trip_080112.json",
                FailureKind::Unreadable,
                "the file cannot be read: Permission denied (os error 13). Give its owner back the right to read it",
            ),
            failure(
                "/data/trips/vehicle-017/2026-11-16/trip_093307.json",
                FailureKind::Unreadable,
                "the file cannot be read: Permission denied (os error 13). Give its owner back the right to read it",
            ),
            failure(
                "/data/trips/vehicle-042/2026-11-16/trip_194455.json",
                FailureKind::Changed,
                "the file changed each time while it was read: it is still being written",
            ),
        ],
        failed_total: 3,
    });
    job
}

fn failure(path: &str, kind: FailureKind, message: &str) -> Failure {
    Failure { path: path.to_owned(), kind, message: message.to_owned(), attempts: 3 }
}

/// A job that is well.
pub(crate) fn well() -> JobPage {
    with_history(job("telemetry", "gateway-1"), 0)
}

fn running() -> JobPage {
    let mut job = with_history(job("camera", "gateway-1"), 1);
    job.due.insert(0, DueRef { at: due(0), state: DueState::Missed });
    let started_at = due(0) + TimeDelta::seconds(3);
    job.running = Some(Running {
        run_id: RunId::new(started_at.to_utc(), 0x0a1b_2c3d),
        started_at,
        progress: Some(Progress {
            found: Tally { files: 1312, bytes: 401 << 20 },
            is_found_whole: true,
            done: Tally { files: 804, bytes: 246 << 20 },
            bytes_per_s: 24 << 20,
            failed: 1,
        }),
    });
    job
}

fn late() -> JobPage {
    let mut job = with_history(job("maps", "gateway-1"), 2);
    job.due.insert(0, DueRef { at: due(1), state: DueState::Missed });
    job.due.insert(0, DueRef { at: due(0), state: DueState::Missed });
    job.runs.insert(0, run(due(1) + TimeDelta::seconds(4), Outcome::Failed, 1));
    job.late_since = Some(due(1) + TimeDelta::hours(1));
    let failed = job.runs[0].clone();
    job.failures = Some(Failures {
        run_id: failed.run_id,
        started_at: failed.started_at,
        outcome: failed.outcome,
        fatal: Some(Fatal {
            kind: FailureKind::Credentials,
            message: "the bucket fleet-backup: the server does not know the access key (InvalidAccessKeyId): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role that is valid".to_owned(),
        }),
        failed: Vec::new(),
        failed_total: 0,
    });
    job.troubles = vec![
        Trouble {
            kind: AlertKind::Late,
            since: due(1) + TimeDelta::hours(1),
            headline: "Backup maps on gateway-1 is late: no success since 2026-11-26 20:02".to_owned(),
            is_undelivered: false,
        },
        Trouble {
            kind: AlertKind::Failed,
            since: due(1),
            headline: "Backup maps on gateway-1 failed: credentials".to_owned(),
            is_undelivered: true,
        },
    ];
    job.alerts_waiting = 1;
    job
}

/// The jobs of a fleet, one of them well, one running, one late.
pub(crate) fn fleet() -> Page {
    Page { made_at: now(), jobs: vec![well(), running(), late()], live: true }
}

/// One job in whose every text somebody tries something.
pub(crate) fn hostile() -> Page {
    let nasty = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)> </style></td></table>\u{202e}gpj.exe\0\x1b[2J";
    let mut job = with_history(job("telemetry", "gateway-1"), 0);
    job.destination = format!("s3://{}/{nasty}", "b".repeat(63));
    job.schedule = Some(ScheduleRef {
        cron: nasty.to_owned(),
        timezone: nasty.to_owned(),
        deadline_s: u64::MAX,
        max_runtime_s: u64::MAX,
    });
    let newest = &mut job.runs[0];
    newest.outcome = Outcome::Failed;
    (newest.uploaded, newest.found) = (Tally { files: u64::MAX, bytes: u64::MAX }, Tally::default());
    newest.failed_total = u64::MAX;
    let long = "x".repeat(4096);
    job.failures = Some(Failures {
        run_id: newest.run_id.clone(),
        started_at: newest.started_at,
        outcome: newest.outcome,
        fatal: Some(Fatal { kind: FailureKind::Server, message: nasty.repeat(20) }),
        failed: vec![
            failure(&long, FailureKind::Unreadable, nasty),
            failure(nasty, FailureKind::KeyTooLong, &long),
            failure("שלום/차량.json", FailureKind::Other, "مرحبا"),
        ],
        failed_total: u64::MAX,
    });
    job.troubles = vec![Trouble {
        kind: AlertKind::Failed,
        since: now(),
        headline: nasty.to_owned(),
        is_undelivered: true,
    }];
    Page { made_at: now(), jobs: vec![job], live: false }
}

/// One job of which nothing is known.
pub(crate) fn unknown() -> Page {
    Page {
        made_at: now(),
        jobs: vec![JobPage::new(name("new"), name("gateway-1"), "s3://fleet-backup")],
        live: false,
    }
}
