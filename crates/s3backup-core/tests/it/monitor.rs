//! What a monitor sees of machines that really back up, at later times; whom it tells, and how often.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::options::{AlertCommand, Schedule, SlackOptions, SlackWay};
use s3backup_core::{
    Backup, BackupBuilder, Clock, Error, FindingKind, Monitor, MonitorBuilder, MonitorReport, Name,
    ScheduleOptions, Source, VerifyOptions,
};
use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};

use crate::bench::{BUCKET, Bench, impatient, soon, until};
use crate::fake_slack::{FakeSlack, Reply};
use crate::memory::success;

/// Machines, the server and the monitor, all by one clock unless a test says otherwise.
struct Fleet {
    bench: Bench,
    now: Arc<Mutex<DateTime<Utc>>>,
}

impl Fleet {
    async fn new() -> Self {
        let now = Arc::new(Mutex::new(seoul("2026-11-22 20:00")));
        let shown = Arc::clone(&now);
        let bench = Bench::with(LocalS3::builder().clock(move || (*shown.lock().unwrap()).into())).await;
        bench.file("a", "a");
        Self { bench, now }
    }

    /// It is now so late in Seoul.
    fn at(&self, time: &str) {
        *self.now.lock().unwrap() = seoul(time);
    }

    fn clock(&self) -> Clock {
        self.clock_off_by(chrono::TimeDelta::zero())
    }

    fn clock_off_by(&self, off: chrono::TimeDelta) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || *now.lock().unwrap() + off)
    }

    /// A machine whose backup is due at 20:00.
    fn machine(&self, host: &str) -> Backup {
        self.machine_by(host, self.clock())
    }

    fn machine_by(&self, host: &str, clock: Clock) -> Backup {
        self.job(host, clock).build().unwrap()
    }

    fn job(&self, host: &str, clock: Clock) -> BackupBuilder {
        let zone = chrono_tz::Asia::Seoul;
        let schedule = ScheduleOptions::new(Schedule::new("0 20 * * *", zone).unwrap());
        let job = self.bench.forgetful_job().host(host).state_dir(self.bench.dir(host));
        let job = job.timezone(zone).schedule(schedule).clock(clock);
        job.source(Source::new(self.bench.data()).prefix(host))
    }

    fn monitor(&self) -> MonitorBuilder {
        let destination = self.bench.destination().prefix("trips/{host}");
        Monitor::builder().destination(destination).host("watcher").retry(impatient()).clock(self.clock())
    }

    async fn look(&self) -> MonitorReport {
        look(&self.monitor().build().unwrap()).await
    }

    async fn put(&self, key: &str, bytes: &'static [u8]) {
        let put = self.bench.client().put_object().bucket(BUCKET).key(key);
        put.body(ByteStream::from_static(bytes)).send().await.unwrap();
    }
}

fn seoul(time: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&format!("{}:00+09:00", time.replace(' ', "T"))).unwrap().to_utc()
}

async fn look(monitor: &Monitor) -> MonitorReport {
    soon(monitor.look()).await.unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// What is wrong with whom.
fn found(report: &MonitorReport) -> Vec<(String, FindingKind)> {
    let of_watched = report.watched.iter().flat_map(|watched| {
        watched.findings.iter().map(|finding| (format!("{}@{}", watched.job, watched.host), finding.kind))
    });
    of_watched.chain(report.findings.iter().map(|finding| ("monitor".to_owned(), finding.kind))).collect()
}

fn of(host: &str, kind: FindingKind) -> (String, FindingKind) {
    (format!("telemetry@{host}"), kind)
}

fn slack(fake: &FakeSlack) -> SlackOptions {
    SlackOptions::new(SlackWay::Bot { token: "t".into(), channel: "#c".to_owned(), api_url: fake.api_url() })
}

fn texts(fake: &FakeSlack) -> Vec<String> {
    fake.seen().iter().map(|seen| seen.body["text"].as_str().unwrap().to_owned()).collect()
}

use FindingKind::{Clock as ClockOff, Damaged, Killed, Late, LongRunning, Newer, Unread, Unseen};

#[tokio::test]
async fn every_machine_is_judged_from_the_bucket_alone() {
    let fleet = Fleet::new().await;
    let (first, second) = (fleet.machine("gw-1"), fleet.machine("gw-2"));
    success(&first).await;
    success(&second).await;
    let by_hand = fleet.bench.forgetful_job().job("by-hand").clock(fleet.clock());
    success(&by_hand.source(Source::new(fleet.bench.data()).prefix("x")).build().unwrap()).await;
    let report = fleet.look().await;
    assert!(report.is_well(), "{report:#?}");
    assert_eq!((report.destination.as_str(), report.watched.len()), ("s3://fleet-backup/trips", 3));
    assert_eq!(report.at, seoul("2026-11-22 20:00"));
    let notes: Vec<_> = report.watched.iter().map(|watched| watched.note.is_some()).collect();
    assert_eq!(notes, [true, false, false], "the job without a schedule says so");
    assert_eq!(report.watched[1].next_due.unwrap().to_rfc3339(), "2026-11-23T20:00:00+09:00");
    assert_eq!(report.warnings, [""; 0]);

    // The machine gw-2 is lost.
    fleet.at("2026-11-23 20:01");
    success(&first).await;
    assert!(fleet.look().await.is_well());
    fleet.at("2026-11-23 21:01");
    let report = fleet.look().await;
    assert_eq!(found(&report), [of("gw-2", Late)]);
    assert!(!report.is_well());
    fleet.at("2026-11-23 22:00");
    success(&second).await;
    assert!(fleet.look().await.is_well());
}

#[tokio::test]
async fn a_trouble_is_told_once_and_its_end_once() {
    let fleet = Fleet::new().await;
    let machine = fleet.machine("gw-1");
    success(&machine).await;
    let fake = FakeSlack::start([]).await;
    let monitor = fleet.monitor().slack(slack(&fake)).state_dir(fleet.bench.dir("watch")).build().unwrap();
    look(&monitor).await;
    assert_eq!(texts(&fake), [""; 0]);
    fleet.at("2026-11-23 21:01");
    look(&monitor).await;
    look(&monitor).await;
    assert_eq!(texts(&fake).len(), 1, "{:?}", texts(&fake));
    assert!(texts(&fake)[0].contains("telemetry on gw-1: late"), "{:?}", texts(&fake));
    let words = fake.seen()[0].body.to_string();
    for word in ["2026-11-23 20:00", "look whether the machine is up", "s3://fleet-backup/trips"] {
        assert!(words.contains(word), "no {word} in {words}");
    }
    // One that remembers nothing, and one on another machine, see in the bucket that it was told.
    look(&fleet.monitor().slack(slack(&fake)).build().unwrap()).await;
    let other = fleet.monitor().host("other").slack(slack(&fake)).state_dir(fleet.bench.dir("other")).build();
    let other = other.unwrap();
    look(&other).await;
    assert_eq!(texts(&fake).len(), 1);
    // The next evening it is the same trouble still.
    fleet.at("2026-11-24 21:01");
    look(&monitor).await;
    look(&other).await;
    assert_eq!(texts(&fake).len(), 1);
    fleet.at("2026-11-24 22:00");
    success(&machine).await;
    for monitor in [&other, &monitor, &monitor] {
        look(monitor).await;
    }
    assert_eq!(texts(&fake).len(), 2, "who told it says that it is over: {:?}", texts(&fake));
    assert!(texts(&fake)[1].contains("no longer late"), "{:?}", texts(&fake));
    fleet.at("2026-11-25 21:01");
    look(&monitor).await;
    assert_eq!(texts(&fake).len(), 3, "and another is another");
}

#[tokio::test]
async fn what_slack_did_not_take_is_told_by_the_next_look() {
    let fleet = Fleet::new().await;
    success(&fleet.machine("gw-1")).await;
    success(&fleet.machine("gw-2")).await;
    fleet.at("2026-11-23 21:01");
    let fake = FakeSlack::start([Reply::refusal("invalid_auth")]).await;
    let monitor = fleet.monitor().slack(slack(&fake)).state_dir(fleet.bench.dir("watch")).build().unwrap();
    let report = look(&monitor).await;
    assert!(report.warnings[0].starts_with("people were not told of 2 findings"), "{:?}", report.warnings);
    assert!(report.warnings[0].contains("invalid_auth"), "{:?}", report.warnings);
    assert_eq!(texts(&fake).len(), 1);
    assert_eq!(look(&monitor).await.warnings, [""; 0]);
    assert_eq!(texts(&fake).len(), 3);
    // Another that was stopped in the middle of telling is not waited for for ever.
    let third = fleet.machine("gw-3");
    fleet.at("2026-11-23 22:00");
    success(&third).await;
    let claim = "trips/.s3backup/telemetry/gw-3/alerts/late/20261124T110000Z.json";
    let claimed = br#"{"schema":1,"trouble":"telemetry/gw-3/late/20261124T110000Z","by":"run 7","at":"2026-11-24T21:00:00+09:00"}"#;
    fleet.put(claim, claimed).await;
    fleet.at("2026-11-24 21:05");
    look(&monitor).await;
    assert_eq!(texts(&fake).len(), 3);
    fleet.at("2026-11-24 21:11");
    look(&fleet.monitor().slack(slack(&fake)).build().unwrap()).await;
    assert_eq!(texts(&fake).len(), 4);
    let mark: serde_json::Value = serde_json::from_slice(&fleet.bench.get(claim).await).unwrap();
    assert!(mark["told_at"].is_string() && mark["by"] == "monitor on watcher", "{mark}");
}

#[tokio::test]
async fn what_slack_does_not_take_goes_out_by_the_command_once() {
    let fleet = Fleet::new().await;
    success(&fleet.machine("gw-1")).await;
    fleet.at("2026-11-23 21:01");
    let fake = FakeSlack::start([]).await;
    fake.always(Reply::refusal("token_revoked"));
    let paged = fleet.bench.dir("paged").join("alerts");
    let command = AlertCommand::new(["sh", "-c", "cat >> $0; echo >> $0", &paged.display().to_string()]);
    let monitor = fleet.monitor().slack(slack(&fake)).alert_command(command);
    let monitor = monitor.state_dir(fleet.bench.dir("watch")).build().unwrap();
    for _ in 0..2 {
        assert_eq!(look(&monitor).await.warnings, [""; 0]);
        let paged = std::fs::read_to_string(&paged).unwrap();
        let [alert] = paged.lines().collect::<Vec<_>>()[..] else { panic!("{paged}") };
        let alert: serde_json::Value = serde_json::from_str(alert).unwrap();
        assert_eq!((&alert["trouble"], &alert["kind"]), (&"telemetry/gw-1/late".into(), &"late".into()));
    }
}

#[tokio::test]
async fn a_machine_that_is_silenced_is_judged_and_not_told() {
    let fleet = Fleet::new().await;
    success(&fleet.machine("gw-1")).await;
    fleet.at("2026-11-23 21:01");
    let fake = FakeSlack::start([]).await;
    let monitor = fleet.monitor().slack(slack(&fake)).state_dir(fleet.bench.dir("watch")).build().unwrap();
    let silence = br#"{"schema":1,"since":"2026-11-23T20:00:00+09:00","until":"2026-11-23T22:00:00+09:00"}"#;
    fleet.put("trips/.s3backup/telemetry/gw-1/silence.json", silence).await;
    let report = look(&monitor).await;
    assert_eq!(found(&report), [of("gw-1", Late)]);
    assert!(report.watched[0].silent_until.is_some() && fake.seen().is_empty());
    fleet.at("2026-11-23 22:00");
    assert_eq!(look(&monitor).await.watched[0].silent_until, None);
    assert_eq!(texts(&fake).len(), 1);
}

#[tokio::test]
async fn who_may_only_read_tells_all_the_same() {
    let fleet = Fleet::new().await;
    success(&fleet.machine("gw-1")).await;
    fleet.at("2026-11-23 21:01");
    fleet.bench.server.faults().add(Fault::new(FaultKind::AccessDenied).on(Operation::PutObject));
    let fake = FakeSlack::start([]).await;
    let monitor = fleet.monitor().slack(slack(&fake)).state_dir(fleet.bench.dir("watch")).build().unwrap();
    for _ in 0..2 {
        let report = look(&monitor).await;
        assert_eq!(found(&report), [of("gw-1", Late)]);
        assert!(report.warnings[0].contains("monitor.json could not be written"), "{:?}", report.warnings);
    }
    assert_eq!(texts(&fake).len(), 1);
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_is_told() {
    let fleet = Fleet::new().await;
    success(&fleet.machine("gw-1")).await;
    fleet.bench.server.faults().add(Fault::new(FaultKind::AccessDenied).on(Operation::ListObjectsV2));
    let fake = FakeSlack::start([]).await;
    let monitor = fleet.monitor().slack(slack(&fake)).state_dir(fleet.bench.dir("watch")).build().unwrap();
    for _ in 0..2 {
        assert!(matches!(soon(monitor.look()).await, Err(Error::Transfer(_))));
    }
    fleet.bench.server.faults().clear();
    assert!(look(&monitor).await.is_well());
    let texts = texts(&fake);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("unread") && texts[1].contains("no longer unread"), "{texts:?}");
}

#[tokio::test]
async fn expected_retired_and_back_again() {
    let fleet = Fleet::new().await;
    let machine = fleet.machine("gw-1");
    success(&machine).await;
    let expecting =
        fleet.monitor().expected(name("telemetry"), name("gw-1")).expected(name("telemetry"), name("gw-9"));
    let monitor = expecting.build().unwrap();
    assert_eq!(found(&look(&monitor).await), [of("gw-9", Unseen)]);
    let unknown = soon(monitor.retire(&name("telemetry"), &name("gw-9"))).await;
    assert!(matches!(unknown, Err(Error::NoState { .. })), "{unknown:?}");

    fleet.at("2026-11-25 12:00");
    assert_eq!(found(&fleet.look().await), [of("gw-1", Late)]);
    soon(monitor.retire(&name("telemetry"), &name("gw-1"))).await.unwrap();
    let report = fleet.look().await;
    assert!(report.is_well() && report.watched[0].is_retired, "{report:#?}");
    success(&machine).await;
    let report = fleet.look().await;
    assert!(report.is_well() && !report.watched[0].is_retired, "{report:#?}");
    fleet.at("2026-11-25 21:01");
    assert_eq!(found(&fleet.look().await), [of("gw-1", Late)]);
}

#[tokio::test]
async fn a_wrong_prefix_does_not_look_well() {
    let fleet = Fleet::new().await;
    success(&fleet.machine("gw-1")).await;
    let elsewhere = fleet.monitor().destination(fleet.bench.destination().prefix("tripz")).build().unwrap();
    assert_eq!(found(&look(&elsewhere).await), [("monitor".to_owned(), Unseen)]);
}

#[tokio::test]
async fn what_strangers_put_there_harms_nobody() {
    let fleet = Fleet::new().await;
    success(&fleet.machine("gw-1")).await;
    let control = "trips/.s3backup";
    let torn = br#"{"schema":1,"min_reader":1,"job":"telemetry""#;
    let newer = br#"{"schema":9,"min_reader":9}"#;
    for (host, bytes) in [("torn", torn.as_slice()), ("newer", newer)] {
        fleet.put(&format!("{control}/telemetry/{host}/latest.json"), bytes).await;
    }
    let copied = fleet.bench.get(&format!("{control}/telemetry/gw-1/latest.json")).await;
    fleet.put(&format!("{control}/telemetry/copied/latest.json"), copied.leak()).await;
    fleet.put(&format!("{control}/telemetry/empty/alerts/late/x.json"), b"{}").await;
    fleet.put(&format!("{control}/telemetry/mute/runs/x.json"), b"{}").await;
    fleet.put(&format!("{control}/.hidden/gw-1/latest.json"), b"{}").await;
    fleet.put(&format!("{control}/{{job}}/gw-1/latest.json"), b"{}").await;
    fleet.put(&format!("{control}/telemetry/a\u{1b}[2J/latest.json"), b"{}").await;
    fleet.put(&format!("{control}/loose.json"), b"{}").await;
    let report = fleet.look().await;
    let expected = [of("copied", Damaged), of("mute", Unseen), of("newer", Newer), of("torn", Damaged)];
    assert_eq!(found(&report), expected);
    assert_eq!(report.watched.len(), 5);
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    assert!(report.warnings[0].contains("passed over") && !report.warnings[0].contains('\u{1b}'));

    fleet
        .bench
        .server
        .faults()
        .add(Fault::new(FaultKind::AccessDenied).on(Operation::GetObject).key_contains("torn"));
    assert!(found(&fleet.look().await).contains(&of("torn", Unread)));
}

#[tokio::test]
async fn a_run_that_was_killed_is_noticed_when_nothing_is_heard_of_it() {
    let fleet = Fleet::new().await;
    let machine = fleet.machine("gw-1");
    success(&machine).await;
    fleet.at("2026-11-23 20:00");
    fleet.bench.file("b", "b");
    fleet
        .bench
        .server
        .faults()
        .add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("gw-1/b"));
    let run = machine.start();
    until(|| fleet.bench.server.stats().faults > 0).await;
    assert!(fleet.look().await.watched[0].is_running);
    drop(run);
    fleet.at("2026-11-23 20:15");
    assert!(fleet.look().await.is_well(), "it was heard of fifteen minutes ago");
    fleet.at("2026-11-23 20:16");
    assert_eq!(found(&fleet.look().await), [of("gw-1", Killed)]);
    fleet.at("2026-11-23 21:01");
    assert_eq!(found(&fleet.look().await), [of("gw-1", Late)]);
    fleet.bench.server.faults().clear();
    success(&machine).await;
    assert!(fleet.look().await.is_well());
}

#[tokio::test]
async fn a_run_that_could_not_say_that_it_ended_is_known_by_its_report() {
    let fleet = Fleet::new().await;
    let machine = fleet.machine("gw-1");
    // The first word is that it runs, the last that it has ended.
    let lost =
        Fault::new(FaultKind::AccessDenied).on(Operation::PutObject).key_contains("latest.json").nth(2);
    fleet.bench.server.faults().add(lost);
    let report = success(&machine).await;
    assert!(report.warnings.iter().any(|warning| warning.contains("latest.json")), "{:?}", report.warnings);
    assert!(fleet.look().await.watched[0].is_running);
    fleet.at("2026-11-22 20:30");
    let report = fleet.look().await;
    assert!(report.is_well() && report.watched[0].last_success.is_some(), "{report:#?}");
}

#[tokio::test]
async fn a_run_that_goes_on_over_its_deadline_is_long() {
    let fleet = Fleet::new().await;
    let machine = fleet.machine("gw-1");
    success(&machine).await;
    fleet.at("2026-11-23 20:50");
    fleet.bench.file("b", "b");
    fleet
        .bench
        .server
        .faults()
        .add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("gw-1/b"));
    let _run = machine.start();
    until(|| fleet.bench.server.stats().faults > 0).await;
    fleet.at("2026-11-23 21:01");
    assert_eq!(found(&fleet.look().await), [of("gw-1", LongRunning)]);
}

#[tokio::test]
async fn clocks_are_judged_by_the_server_s() {
    let fleet = Fleet::new().await;
    let hour = chrono::TimeDelta::hours(1);
    success(&fleet.machine_by("fast", fleet.clock_off_by(hour))).await;
    success(&fleet.machine_by("slow", fleet.clock_off_by(-hour))).await;
    success(&fleet.machine("right")).await;
    let report = fleet.look().await;
    assert_eq!(found(&report), [of("fast", ClockOff), of("slow", ClockOff)]);
    assert!(report.watched[2].findings[0].what.contains("1h behind"), "{report:#?}");

    // Rewriting latest.json later is no sign of a clock that is off.
    fleet.at("2026-11-22 20:30");
    soon(fleet.machine("right").verify(VerifyOptions::default()).finish()).await.unwrap();
    let monitor = fleet.monitor().clock(fleet.clock_off_by(-hour)).build().unwrap();
    let report = look(&monitor).await;
    assert_eq!(report.at, seoul("2026-11-22 20:30"), "by the server's clock");
    let expected = [of("fast", ClockOff), of("slow", ClockOff), ("monitor".to_owned(), ClockOff)];
    assert_eq!(found(&report), expected);
}

#[tokio::test]
async fn the_watcher_is_watched_and_what_it_leaves_disturbs_nothing() {
    let fleet = Fleet::new().await;
    let machine = fleet.machine("gw-1");
    success(&machine).await;
    assert_eq!(soon(machine.last_monitored()).await.unwrap(), None);
    fleet.at("2026-11-23 21:01");
    let fake = FakeSlack::start([]).await;
    let monitor = fleet.monitor().slack(slack(&fake)).build().unwrap();
    look(&monitor).await;
    soon(monitor.retire(&name("telemetry"), &name("gw-1"))).await.unwrap();
    assert_eq!(soon(machine.last_monitored()).await.unwrap(), Some(seoul("2026-11-23 21:01")));

    success(&machine).await;
    let verified = soon(machine.verify(VerifyOptions::default()).finish()).await.unwrap();
    assert_eq!(
        (verified.verified.differ, verified.strangers.files, &*verified.warnings),
        (0, 0, [].as_slice())
    );
    let rebuilt = soon(Box::pin(machine.rebuild())).await.unwrap();
    assert_eq!((rebuilt.runs, rebuilt.files.files), (2, 1));
    success(&machine).await;
}

/// The daemon of a machine looks whether anybody watches it.
#[tokio::test]
async fn a_monitor_that_stops_is_told_once_until_it_looks_again() {
    let fleet = Fleet::new().await;
    let fake = FakeSlack::start([]).await;
    let machine = fleet.job("gw-1", fleet.clock()).slack(slack(&fake)).build().unwrap();
    success(&machine).await;
    let told = async || {
        soon(machine.look_for_monitor()).await.unwrap();
        soon(machine.deliver()).await.unwrap();
        texts(&fake)
    };
    let before = told().await.len();
    fleet.at("2026-11-25 20:00");
    assert_eq!(told().await.len(), before, "nobody ever watched");

    fleet.look().await;
    fleet.at("2026-11-26 19:59");
    assert_eq!(told().await.len(), before);
    for time in ["2026-11-26 20:00", "2026-11-26 21:00", "2026-11-28 20:00"] {
        fleet.at(time);
        let told = told().await;
        assert_eq!(told.len(), before + 1, "{time}: {told:?}");
        assert!(told[before].contains("telemetry on gw-1 is not watched any more"), "{told:?}");
    }
    fleet.look().await;
    told().await;
    let seen = fake.seen();
    let last = seen.last().unwrap();
    assert!(last.path.ends_with("chat.update") && last.body.to_string().contains("over"), "{last:?}");
    fleet.at("2026-11-30 20:00");
    told().await;
    assert_eq!(fake.seen().len(), seen.len() + 1, "it stopped once more");
}
