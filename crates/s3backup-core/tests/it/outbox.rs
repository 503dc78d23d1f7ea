//! How alerts get to people when the way there is not as it should be.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use s3backup_core::options::AlertCommand;
use s3backup_core::{Alert, AlertKind, Backup, FailedStart, Name, Source, alert};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use serde_json::Value;

use crate::audience::{Audience, broken};
use crate::bench::{CONTROL, failed, soon, until};
use crate::fake_slack::{FakeSlack, Reply};
use crate::memory::{kill, success};

/// An alert that no run gives.
fn differs(at: &str, headline: &str) -> Alert {
    let (job, host) = (Name::new("telemetry").unwrap(), Name::new("gw-1").unwrap());
    let alert = alert::of_start(job, host, at.parse().unwrap(), "two objects vanished".to_owned());
    Alert { kind: AlertKind::Differs, headline: headline.to_owned(), ..alert }
}

#[tokio::test]
async fn a_slack_that_is_down_for_an_hour_is_told_later_and_once() {
    let world = Audience::new().await;
    world.slack_is(Reply::new(503, ""));
    world.at("2026-11-20 20:00");
    let report = failed(soon(world.broken().run()).await);
    assert!(report.warnings.last().unwrap().starts_with("Slack was not told of this run"), "{report:#?}");
    let alerts = report.alerts.unwrap();
    assert_eq!((alerts.waiting, alerts.refused), (1, 0));

    let tried = world.requests();
    let delivery = world.backup().deliver().await.unwrap();
    assert_eq!((delivery.sent, delivery.waiting), (0, 1));
    assert_eq!(world.requests(), tried, "not before its time");
    for minute in [1, 3, 7, 15, 31] {
        world.at(&format!("2026-11-20 20:{minute:02}"));
        assert_eq!(world.backup().deliver().await.unwrap().waiting, 1);
    }
    assert_eq!(world.requests(), tried * 6, "once a time, with waits that double");

    world.slack_is(None);
    world.at("2026-11-20 21:04");
    let delivery = world.backup().deliver().await.unwrap();
    assert_eq!((delivery.sent, delivery.waiting, delivery.why), (1, 0, None));
    let told = world.told_since(tried * 6);
    assert_eq!(told, ["post (again?) :x: Backup telemetry on gw-1 failed: step"]);
    world.at("2026-11-20 23:00");
    assert_eq!(world.backup().deliver().await.unwrap().sent, 0, "once");
}

#[tokio::test]
async fn retry_after_is_kept_over_a_restart() {
    let world = Audience::new().await;
    world.slack_is(Reply::too_many("1800"));
    world.at("2026-11-20 20:00");
    failed(soon(world.broken().run()).await);
    world.slack_is(None);
    let tried = world.requests();
    world.at("2026-11-20 20:29");
    let delivery = world.backup().deliver().await.unwrap();
    assert_eq!((delivery.sent, world.requests()), (0, tried), "not while Slack asked for peace");
    assert_eq!(delivery.next_try.unwrap().to_rfc3339(), "2026-11-20T11:30:00+00:00");
    world.at("2026-11-20 20:30");
    assert_eq!(world.backup().deliver().await.unwrap().sent, 1);
    assert_eq!(world.told_since(tried), ["post :x: Backup telemetry on gw-1 failed: step"]);
}

/// A command that notes what it gets, and its environment.
fn note(world: &Audience) -> AlertCommand {
    let dir = world.evenings.bench.dir("paged").display().to_string();
    AlertCommand::new(["sh", "-c", "cat >> $0/alerts; echo >> $0/alerts; env > $0/env; echo paged", &dir])
}

fn noted(world: &Audience) -> Vec<Value> {
    let path = world.evenings.bench.dir("paged").join("alerts");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_slack_refuses_for_good_goes_out_by_the_command_once() {
    for (reply, is_bot) in [
        (Reply::refusal("token_revoked"), true),
        (Reply::refusal("invalid_auth"), true),
        (Reply::refusal("channel_not_found"), true),
        (Reply::new(404, "no_service"), false),
        (Reply::new(410, ""), false),
    ] {
        let world = Audience::new().await;
        world.slack_is(reply);
        let slack = if is_bot { world.bot() } else { world.webhook() };
        let job = world.evenings.builder().slack(slack).alert_command(note(&world));
        world.at("2026-11-20 20:00");
        let report = failed(soon(broken(job).run()).await);
        assert_eq!(report.alerts, None, "somebody was told");
        let noted = noted(&world);
        assert_eq!(noted.len(), 1, "{noted:?}");
        assert_eq!((&noted[0]["kind"], &noted[0]["schema"]), (&"failed".into(), &1.into()));
        assert_eq!(noted[0]["trouble"], "telemetry/gw-1/failed/20261120T110000Z");
        assert_eq!(noted[0]["run_id"], report.run_id.as_str());
        let env = std::fs::read_to_string(world.evenings.bench.dir("paged").join("env")).unwrap();
        assert!(!env.contains("hush") && !env.contains("HUSH"), "{env}");
        world.at("2026-11-21 02:00");
        assert_eq!(world.backup().deliver().await.unwrap().sent, 0);
    }
}

#[tokio::test]
async fn what_reaches_nobody_is_said_wherever_somebody_may_look_until_it_is_mended() {
    let world = Audience::new().await;
    let silent = AlertCommand::new(["sh", "-c", "echo the pager is broken; exit 3"]);
    let job = || world.builder().alert_command(silent.clone());
    world.slack_is(Reply::refusal("account_inactive"));
    world.at("2026-11-20 20:00");
    let report = success(&job().build().unwrap()).await;
    let alerts = report.alerts.unwrap();
    assert_eq!((alerts.waiting, alerts.refused), (1, 1));
    let why = alerts.why.unwrap();
    assert!(why.contains("account_inactive") && why.contains("exit status 3"), "{why}");
    let latest: Value =
        serde_json::from_slice(&world.evenings.bench.get(&format!("{CONTROL}latest.json")).await).unwrap();
    assert_eq!((&latest["alerts"]["refused"], &latest["state"]), (&1.into(), &"idle".into()));
    assert_eq!(latest["alerts"]["broken_since"], "2026-11-20T20:00:00+09:00");
    let status = job().build().unwrap().status().await.unwrap();
    assert_eq!((status.alerts.delivery.refused, status.alerts.open.len()), (1, 0));

    assert!(job().build().unwrap().test_slack().await.is_err());
    world.slack_is(None);
    let before = world.requests();
    assert_eq!(job().build().unwrap().test_slack().await.unwrap().sent, 1, "what waited goes out at once");
    let told = world.told_since(before);
    assert!(
        told.len() == 2 && told[0].contains("Test: ") && told[1].contains("all is in the bucket"),
        "{told:?}"
    );
    world.at("2026-11-20 21:00");
    success(&world.backup()).await;
    let latest: Value =
        serde_json::from_slice(&world.evenings.bench.get(&format!("{CONTROL}latest.json")).await).unwrap();
    assert_eq!(latest.get("alerts"), None, "{latest}");
}

#[tokio::test]
async fn an_hour_without_slack_is_enough_for_the_command() {
    let world = Audience::new().await;
    world.slack_is(Reply::HangUp);
    let job = || world.builder().alert_command(note(&world));
    world.at("2026-11-20 20:00");
    failed(soon(broken(job()).run()).await);
    world.at("2026-11-20 20:59");
    assert_eq!(job().build().unwrap().deliver().await.unwrap().sent, 0);
    assert!(noted(&world).is_empty());
    world.at("2026-11-20 21:02");
    assert_eq!(job().build().unwrap().deliver().await.unwrap().sent, 1);
    assert_eq!(noted(&world).len(), 1);
}

#[tokio::test]
async fn without_slack_the_command_gets_all_but_successes() {
    let world = Audience::new().await;
    let job = || world.evenings.builder().alert_command(note(&world));
    world.at("2026-11-20 20:00");
    success(&job().build().unwrap()).await;
    world.at("2026-11-21 20:00");
    failed(soon(broken(job()).run()).await);
    world.at("2026-11-21 20:30");
    success(&job().build().unwrap()).await;
    let kinds: Vec<_> =
        noted(&world).iter().map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["failed", "recovered"]);
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_tells_leaves_it_to_the_next_one() {
    let world = Audience::new().await;
    world.slack_is(Reply::Silence);
    let mut patient = world.bot();
    patient.time_limit = std::time::Duration::from_secs(30);
    world.at("2026-11-20 20:00");
    let run = broken(world.evenings.builder().slack(patient)).start();
    until(|| world.requests() == 1).await;
    drop(run);
    world.slack_is(None);
    assert_eq!(world.backup().deliver().await.unwrap().sent, 0, "it may still be about to");
    world.at("2026-11-20 20:04");
    assert_eq!(world.backup().deliver().await.unwrap().sent, 1);
    assert_eq!(world.told_since(1), ["post (again?) :x: Backup telemetry on gw-1 failed: step"]);
}

/// Lets a future go on for so many steps, and drops it.
pub(crate) struct Cut<F> {
    pub(crate) future: Pin<Box<F>>,
    pub(crate) steps: usize,
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.steps == 0 {
            return Poll::Ready(None);
        }
        self.steps -= 1;
        self.future.as_mut().poll(context).map(Some)
    }
}

#[tokio::test]
async fn a_delivery_that_is_cut_short_anywhere_loses_nothing_and_repeats_only_what_says_so() {
    let world = Audience::new().await;
    let mut repeats = 0;
    for steps in 0..60 {
        let (day, hour) = (21 + steps / 20, steps % 20);
        world.at(&format!("2026-11-{day} {hour:02}:00"));
        let headline = format!("objects vanished, {steps}");
        let at = format!("2026-11-{day}T{hour:02}:00:00+09:00");
        world.backup().tell(differs(&at, &headline)).await.unwrap();
        let before = world.requests();
        let backup = world.backup();
        let cut = Cut { future: Box::pin(backup.deliver()), steps };
        soon(cut).await;
        world.at(&format!("2026-11-{day} {hour:02}:30"));
        soon(world.backup().deliver()).await.unwrap();
        let told = world.told_since(before);
        assert!(!told.is_empty() && told.len() <= 2, "{steps}: {told:?}");
        assert!(told.iter().all(|line| line.contains(&headline)), "{told:?}");
        assert!(!told[0].contains("again?") || told.len() == 1, "{told:?}");
        if let Some(second) = told.get(1) {
            assert!(second.contains("again?"), "{told:?}");
            repeats += 1;
        }
        world.backup().over(AlertKind::Differs).await.unwrap();
        soon(world.backup().deliver()).await.unwrap();
    }
    assert!(repeats < 60, "what was not cut short is told once");
}

#[tokio::test]
async fn two_processes_never_send_the_same() {
    let world = Audience::new().await;
    for hour in 10..20 {
        world.at(&format!("2026-11-21 {hour}:00"));
        world.backup().tell(differs(&format!("2026-11-21T{hour}:00:00+09:00"), "vanished")).await.unwrap();
        let (one, other): (Backup, Backup) = (world.backup(), world.backup());
        let (one, other) = tokio::join!(one.deliver(), other.deliver());
        assert_eq!(one.unwrap().sent + other.unwrap().sent, if hour == 10 { 1 } else { 2 });
    }
    assert_eq!(world.requests(), 1 + 9 * 2, "{:?}", world.told());
}

#[tokio::test]
async fn what_cannot_be_delivered_for_a_week_is_given_up_and_said() {
    let world = Audience::new().await;
    world.slack_is(Reply::refusal("invalid_auth"));
    world.at("2026-11-20 20:00");
    failed(soon(world.broken().run()).await);
    world.at("2026-11-27 21:00");
    let delivery = world.backup().deliver().await.unwrap();
    assert_eq!((delivery.waiting, delivery.refused), (0, 1));
    assert!(delivery.why.unwrap().contains("invalid_auth"));
    // Until somebody is told something.
    world.slack_is(None);
    success(&world.backup()).await;
    assert_eq!(world.backup().deliver().await.unwrap().refused, 0);
}

#[tokio::test]
async fn a_message_that_was_deleted_is_posted_anew() {
    let world = Audience::new().await;
    world.at("2026-11-20 20:00");
    failed(soon(world.broken().run()).await);
    world.at("2026-11-20 20:30");
    world.slack.once(Reply::refusal("thread_not_found"));
    failed(soon(world.broken().run()).await);
    let failure = ":x: Backup telemetry on gw-1 failed: step";
    let expected = [format!("thread 1 {failure}"), format!("post {failure}"), format!("update 3 {failure}")];
    assert_eq!(world.told_since(1), expected);
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_holds_no_alert_back() {
    let world = Audience::new().await;
    let server = &world.evenings.bench.server;
    server
        .faults()
        .add(Fault::new(FaultKind::InternalError).on(Operation::PutObject).key_contains("/alerts/"));
    world.at("2026-11-20 20:00");
    failed(soon(world.broken().run()).await);
    assert_eq!(world.told(), ["post :x: Backup telemetry on gw-1 failed: step"]);
}

#[tokio::test]
async fn a_start_that_fails_again_and_again_is_one_trouble() {
    let world = Audience::new().await;
    let start = |slack: &FakeSlack| {
        let mut start = FailedStart::new(Name::new("telemetry").unwrap(), Name::new("gw-1").unwrap());
        start.state_dir = Some(world.evenings.bench.dir("state"));
        let mut options = world.bot();
        if let s3backup_core::options::SlackWay::Bot { api_url, .. } = &mut options.way {
            *api_url = slack.api_url();
        }
        start.slack = Some(options);
        start
    };
    let logger = || slog::Logger::root(slog::Discard, slog::o!());
    let now = || chrono::Utc::now().fixed_offset();
    for _ in 0..2 {
        let told = start(&world.slack)
            .tell(alert::of_start, now(), "backup.toml, line 3: odd".to_owned(), logger())
            .await;
        assert_eq!(told.unwrap().waiting, 0);
    }
    let told = world.told();
    assert_eq!(told[0], "post :x: Backup telemetry on gw-1 could not start");
    assert!(told[1].starts_with("thread 1") && told[2].starts_with("update 1"), "{told:?}");
    // The first success ends it, whoever noticed it.
    let mut later = now().to_utc();
    later += chrono::TimeDelta::hours(2);
    let job = world.evenings.builder().slack(world.bot()).clock(std::sync::Arc::new(move || later));
    success(&job.build().unwrap()).await;
    let told = world.told();
    assert!(told.last().unwrap().contains("recovered after 2h"), "{told:?}");
}

#[tokio::test]
async fn a_run_that_is_killed_is_told_by_the_next_one() {
    let world = Audience::new().await;
    world.at("2026-11-20 20:00");
    world.evenings.bench.file("hangs", "x");
    let server = &world.evenings.bench.server;
    server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs"));
    let before = server.stats().faults;
    let run = world.backup().start();
    until(|| server.stats().faults > before).await;
    kill(&world.evenings.bench, run).await;
    server.faults().clear();
    assert!(world.told().is_empty());
    world.at("2026-11-20 20:30");
    success(&world.backup()).await;
    let told = world.told();
    assert_eq!(told[0], "post :x: Backup telemetry on gw-1: the last run was killed");
    assert!(told.iter().any(|line| line.starts_with("post :large_green_circle:") && line.contains("recovered after 30m")), "{told:?}");
    world.at("2026-11-20 21:00");
    let before = world.requests();
    success(&world.backup()).await;
    let told = world.told_since(before);
    assert!(told.len() == 1 && told[0].contains(":white_check_mark:"), "once: {told:?}");
}

#[tokio::test]
async fn a_job_that_keeps_no_catalog_tells_at_once() {
    let world = Audience::new().await;
    let source = || Source::new(world.evenings.bench.data());
    let job = || {
        let forgetful = world.evenings.dress(world.evenings.bench.forgetful_job());
        forgetful.source(source()).slack(world.bot())
    };
    world.at("2026-11-20 20:00");
    let backup = job().build().unwrap();
    backup.tell(differs("2026-11-20T20:00:00+09:00", "objects vanished")).await.unwrap();
    failed(soon(broken(job()).run()).await);
    let failure = ":x: Backup telemetry on gw-1 failed: step";
    assert_eq!(world.told(), ["post :mag: objects vanished".to_owned(), format!("post {failure}")]);
    // The bucket remembers that the trouble of this due time was told, and where.
    world.at("2026-11-20 20:30");
    failed(soon(broken(job()).run()).await);
    assert_eq!(world.told_since(2), [format!("thread 2 {failure}")]);
    assert_eq!(backup.deliver().await.unwrap().sent, 0);
}
