//! What is told of a trouble from its beginning to its end.

use std::time::Duration;

use s3backup_core::options::{Schedule, SlackOptions};
use s3backup_core::{AlertKind, Error, Outcome, ScheduleOptions, Silence, TroubleTold};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use serde_json::json;

use crate::audience::{Audience, broken};
use crate::bench::{BUCKET, CONTROL, failed, soon, until};
use crate::memory::success;

#[tokio::test]
async fn one_message_a_trouble_repeats_in_its_thread_and_the_end_says_how_long_it_took() {
    let world = Audience::new().await;
    world.at("2026-11-20 20:00");
    failed(soon(world.broken().run()).await);
    world.at("2026-11-21 20:00");
    failed(soon(world.broken().run()).await);
    let failure = ":x: Backup telemetry on gw-1 failed: step";
    let expected = [format!("post {failure}"), format!("thread 1 {failure}"), format!("update 1 {failure}")];
    assert_eq!(world.told(), expected);
    assert!(world.newest().contains("2 times since 2026-11-20 20:00"), "{}", world.newest());

    world.at("2026-11-21 21:05");
    success(&world.backup()).await;
    let told = world.told_since(3);
    assert_eq!(
        told,
        [
            "update 1 :large_green_circle: Over after 1day 1h 5m: Backup telemetry on gw-1 failed: step",
            "post :large_green_circle: Backup telemetry on gw-1 recovered after 1day 1h 5m: all is in the bucket",
        ]
    );
    let newest = world.newest();
    for words in [
        "from 2026-11-20 20:00 to 2026-11-21 21:05",
        "Next due*\\n2026-11-22 20:00",
        "failed since 2026-11-20 20:00, 2 times",
        "Uploaded",
    ] {
        assert!(newest.contains(words), "no {words} in {newest}");
    }
    assert!(!newest.contains("@here"));

    world.at("2026-11-22 20:00");
    success(&world.backup()).await;
    assert!(world.told_since(5)[0].contains(":white_check_mark:"), "{:?}", world.told_since(5));
    assert_eq!(world.requests(), 6);
}

#[tokio::test]
async fn a_webhook_repeats_once_a_day() {
    let world = Audience::new().await;
    let fails = || broken(world.evenings.builder().slack(world.webhook()));
    for (time, told) in [
        ("2026-11-20 20:00", 1),
        ("2026-11-20 20:30", 1),
        ("2026-11-21 19:59", 1),
        ("2026-11-21 20:00", 2),
        ("2026-11-22 10:00", 2),
    ] {
        world.at(time);
        failed(soon(fails().run()).await);
        assert_eq!(world.requests(), told, "{time}");
    }
    success(&world.evenings.builder().slack(world.webhook()).build().unwrap()).await;
    assert!(world.told()[2].contains("recovered"), "{:?}", world.told());
}

#[tokio::test]
async fn no_success_by_the_deadline_is_late_once_for_each_due_time() {
    let world = Audience::new().await;
    let look = async || {
        world.backup().look_for_trouble().await.unwrap();
        world.backup().deliver().await.unwrap();
    };
    for (time, told) in [
        ("2026-11-20 19:59", 0),
        ("2026-11-20 20:59", 0),
        ("2026-11-20 21:00", 1),
        ("2026-11-20 21:01", 1),
        ("2026-11-21 20:59", 1),
        ("2026-11-21 21:00", 3),
        ("2026-11-21 21:01", 3),
    ] {
        world.at(time);
        look().await;
        assert_eq!(world.requests(), told, "{time}: {:?}", world.told());
    }
    let told = world.told();
    assert_eq!(told[0], "post :alarm_clock: Backup telemetry on gw-1 is late: due 2026-11-20 20:00");
    assert_eq!(told[1], "thread 1 :alarm_clock: Backup telemetry on gw-1 is late: due 2026-11-21 20:00");
    assert!(told[2].starts_with("update 1"), "{told:?}");
    world.at("2026-11-21 23:00");
    success(&world.backup()).await;
    let told = world.told_since(3);
    assert!(told[0].starts_with("update 1 :large_green_circle: Over after 1day 3h"), "{told:?}");
    assert!(told[1].contains("recovered after 1day 3h"), "since it was due: {told:?}");
    look().await;
    assert_eq!(world.requests(), 5);
}

#[tokio::test]
async fn a_job_whose_failure_was_told_is_not_late_as_well() {
    let world = Audience::new().await;
    world.at("2026-11-20 20:00");
    failed(soon(world.broken().run()).await);
    world.at("2026-11-20 22:00");
    world.backup().look_for_trouble().await.unwrap();
    assert_eq!(world.backup().deliver().await.unwrap().sent, 0);
    // The next day nothing ran at all, which is news.
    world.at("2026-11-21 21:00");
    world.backup().look_for_trouble().await.unwrap();
    assert_eq!(world.backup().deliver().await.unwrap().sent, 1);
}

#[tokio::test]
async fn a_machine_that_was_off_tells_what_it_missed_when_it_has_made_up_for_it() {
    let world = Audience::new().await;
    world.at("2026-11-23 23:00");
    success(&world.backup()).await;
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("recovered after 3days 3h"), "{told:?}");
    assert!(world.newest().contains("late since"), "{}", world.newest());
}

#[tokio::test]
async fn a_run_that_goes_on_is_not_late_but_takes_long() {
    let world = Audience::new().await;
    world.at("2026-11-20 20:00");
    world.evenings.bench.file("hangs", "x");
    let server = &world.evenings.bench.server;
    server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs"));
    let mut options = ScheduleOptions::new(Schedule::new("0 20 * * *", chrono_tz::Asia::Seoul).unwrap());
    options.warn_after = Some(Duration::from_millis(500));
    options.deadline = Duration::from_mins(5);
    let backup = world.builder().schedule(options).build().unwrap();
    let run = backup.start();
    let cancel = run.cancel_token();
    let ending = tokio::spawn(run.finish());
    until(|| world.requests() == 1).await;
    assert_eq!(
        world.told(),
        ["post :hourglass_flowing_sand: Backup telemetry on gw-1 runs for more than 500ms"]
    );
    // Until it is noted that it was told, the clock must not go on.
    let waits = async || Box::pin(backup.status()).await.unwrap().alerts.delivery.waiting > 0;
    soon(async { while waits().await {} }).await;
    world.at("2026-11-20 20:10");
    backup.look_for_trouble().await.unwrap();
    assert_eq!(backup.deliver().await.unwrap().sent, 0, "it goes on");
    cancel.cancel();
    let report = soon(ending).await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Interrupted);
    let told = world.told_since(1);
    assert!(told[0].starts_with("update 1") && told[1].contains("was interrupted"), "{told:?}");
}

#[tokio::test]
async fn a_job_that_is_held_for_ever_is_told() {
    let world = Audience::new().await;
    world.at("2026-11-20 20:00");
    world.evenings.bench.file("hangs", "x");
    let server = &world.evenings.bench.server;
    server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/hangs"));
    let before = server.stats().faults;
    let _run = world.backup().start();
    until(|| server.stats().faults > before).await;
    for (time, told) in [("2026-11-21 05:59", 0), ("2026-11-21 06:01", 1)] {
        world.at(time);
        assert!(matches!(soon(world.backup().run()).await, Err(Error::Locked { .. })));
        assert_eq!(world.requests(), told, "{time}: {:?}", world.told());
    }
    assert!(world.told()[0].contains("cannot start: another run does not end"), "{:?}", world.told());
}

#[tokio::test]
async fn far_fewer_files_than_usual_are_told_until_there_are_as_many_as_usual() {
    let world = Audience::new().await;
    let file = |number: u32| format!("trip-{number}");
    (0..20).for_each(|number| drop(world.evenings.bench.file(&file(number), "x")));
    let mut quiet = world.bot();
    quiet.on = [AlertKind::Shrunk, AlertKind::Recovered].into();
    let job = |options: &SlackOptions| world.evenings.builder().slack(options.clone()).build().unwrap();
    let run = async |day: u32| {
        world.at(&format!("2026-11-{day} 20:00"));
        success(&job(&quiet)).await;
    };
    for day in 20..27 {
        run(day).await;
    }
    assert!(world.told().is_empty(), "{:?}", world.told());
    (0..18).for_each(|number| std::fs::remove_file(world.evenings.bench.data().join(file(number))).unwrap());
    run(27).await;
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("far less than usual: 3 files (3 B) instead of about 21 files"), "{told:?}");
    run(28).await;
    assert_eq!(world.requests(), 1, "once");
    (0..18).for_each(|number| drop(world.evenings.bench.file(&file(number), "x")));
    run(29).await;
    assert!(world.told_since(1)[0].starts_with("update 1 :large_green_circle: Over"), "{:?}", world.told());
}

#[tokio::test]
async fn nothing_is_told_during_a_silence_and_what_is_trouble_still_after_it() {
    for recovers in [false, true] {
        let world = Audience::new().await;
        world.at("2026-11-20 19:00");
        let until = world_time("2026-11-20T22:00:00+09:00");
        world.backup().silence(until).await.unwrap();
        let stored: Silence =
            serde_json::from_slice(&world.evenings.bench.get(&format!("{CONTROL}silence.json")).await)
                .unwrap();
        assert_eq!(stored.until.to_rfc3339(), "2026-11-20T22:00:00+09:00");
        world.at("2026-11-20 20:00");
        failed(soon(world.broken().run()).await);
        world.at("2026-11-20 20:30");
        failed(soon(world.broken().run()).await);
        let status = world.backup().status().await.unwrap();
        assert_eq!((status.alerts.open.len(), status.alerts.silent_until), (1, Some(until)));
        if recovers {
            world.at("2026-11-20 21:00");
            success(&world.backup()).await;
        }
        assert_eq!(world.requests(), 0, "{:?}", world.told());
        world.at("2026-11-20 22:01");
        world.backup().deliver().await.unwrap();
        let told = world.told();
        if recovers {
            assert!(told.is_empty(), "{told:?}");
        } else {
            assert_eq!(told, ["post :x: Backup telemetry on gw-1 failed: step"]);
        }
    }
}

#[tokio::test]
async fn a_silence_is_ended_by_hand_and_never_lasts_for_ever() {
    let world = Audience::new().await;
    world.at("2026-11-20 19:00");
    let later = world_time("2026-12-05T20:00:00+09:00");
    assert!(matches!(world.backup().silence(later).await, Err(Error::Invalid { .. })));
    world.backup().silence(world_time("2026-12-03T20:00:00+09:00")).await.unwrap();
    world.at("2026-11-20 20:00");
    failed(soon(world.broken().run()).await);
    world.at("2026-11-20 20:10");
    world.backup().silence(world_time("2026-11-20T20:10:00+09:00")).await.unwrap();
    assert_eq!(world.backup().deliver().await.unwrap().sent, 1);
}

fn world_time(text: &str) -> chrono::DateTime<chrono::Utc> {
    text.parse().unwrap()
}

/// Where it is said that the job was late on the 20th.
const LATE: &str = "alerts/late/20261120T110000Z.json";

async fn put_note(world: &Audience, note: serde_json::Value) {
    let body = s3backup_core::aws_sdk_s3::primitives::ByteStream::from(note.to_string().into_bytes());
    let key = format!("{CONTROL}{LATE}");
    world.evenings.bench.client().put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
}

#[tokio::test]
async fn what_somebody_else_has_told_is_not_told_again_but_ended() {
    let world = Audience::new().await;
    let told_at = "2026-11-20T21:00:10+09:00";
    put_note(
        &world,
        json!({"schema": 1, "trouble": "telemetry/gw-1/late/20261120T110000Z", "by": "monitor", "at": told_at,
            "told_at": told_at, "channel": "C0123456789", "ts": crate::fake_slack::ts_of(7)}),
    )
    .await;
    world.at("2026-11-20 21:01");
    world.backup().look_for_trouble().await.unwrap();
    world.backup().deliver().await.unwrap();
    assert_eq!(world.requests(), 0);
    world.at("2026-11-20 22:00");
    success(&world.backup()).await;
    let told = world.told();
    assert!(told[0].starts_with("update 7 :large_green_circle: Over"), "{told:?}");
    assert!(told[1].contains("recovered"), "{told:?}");
}

#[tokio::test]
async fn somebody_else_who_does_not_come_to_tell_it_is_not_waited_for_for_long() {
    let world = Audience::new().await;
    let at = "2026-11-20T21:00:10+09:00";
    put_note(&world, json!({"schema": 1, "trouble": "x", "by": "monitor", "at": at})).await;
    for (time, told) in [("2026-11-20 21:01", 0), ("2026-11-20 21:05", 0), ("2026-11-20 21:11", 1)] {
        world.at(time);
        world.backup().look_for_trouble().await.unwrap();
        world.backup().deliver().await.unwrap();
        assert_eq!(world.requests(), told, "{time}");
    }
    let note = world.evenings.bench.get(&format!("{CONTROL}{LATE}")).await;
    let note: TroubleTold = serde_json::from_slice(&note).unwrap();
    assert_eq!((note.ts, note.told_at.is_some()), (Some(crate::fake_slack::ts_of(1)), true));
}

#[tokio::test]
async fn kinds_that_nobody_wants_are_not_told_and_neither_is_their_end() {
    let world = Audience::new().await;
    let mut options = world.bot();
    options.on = [AlertKind::Recovered, AlertKind::Success].into();
    let job = || world.evenings.builder().slack(options.clone());
    world.at("2026-11-20 20:00");
    failed(soon(broken(job()).run()).await);
    world.at("2026-11-20 20:30");
    success(&job().build().unwrap()).await;
    let told = world.told();
    assert!(told.len() == 1 && told[0].contains(":white_check_mark:"), "{told:?}");
}
