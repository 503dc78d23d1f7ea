//! Who is told, as a person at the command line sees it.

use crate::world::{Ended, World, assert_no_secret};

#[test]
fn slack_is_tested_with_the_settings_as_they_are() {
    let world = World::new();
    world.file("a", b"1");
    let ended = world.run(&["slack", "--test"]);
    ended.expect(0);
    assert_eq!(ended.out.trim(), "the test message is in Slack");
    assert!(world.slack.texts()[0].contains("Test: alerts of backup telemetry"), "{:?}", world.slack.texts());
    world.run(&["slack"]).expect(2);

    let ended = nobody_listens(&world, &["slack", "--test"]);
    ended.expect(1);
    assert!(ended.err.contains("slack refused the message"), "{}", ended.err);
    assert_no_secret(&world, &ended.err);
}

/// With a webhook that leads to something that is no Slack.
fn nobody_listens(world: &World, arguments: &[&str]) -> Ended {
    let mut command = world.command(arguments);
    Ended::of(&command.env("HOOK", format!("{}/no/slack", world.server.endpoint())).output().unwrap())
}

#[test]
fn a_success_that_nobody_can_be_told_of_shows_until_it_is_mended() {
    let world = World::new();
    world.file("a", b"1");
    let ended = nobody_listens(&world, &["run", "--json"]);
    let report = ended.expect(3).json();
    assert_eq!(
        (&report["outcome"], &report["alerts"]["refused"]),
        (&"success".into(), &1.into()),
        "{report}"
    );
    let ended = world.run(&["status"]);
    ended.expect(0);
    assert!(ended.out.contains("alerts        1 could not be delivered since"), "{}", ended.out);
    let ended = world.run(&["slack", "--test"]);
    ended.expect(0);
    assert_eq!(ended.out.trim(), "the test message is in Slack, and an alert that had waited");
    world.run(&["run"]).expect(0);
    let ended = world.run(&["status"]);
    assert!(!ended.out.contains("could not be delivered"), "{}", ended.out);
}

#[test]
fn during_a_silence_nobody_is_told_and_status_says_so() {
    let world = World::new();
    world.file("a", b"1");
    let ended = world.run(&["silence", "--until", "2h"]);
    ended.expect(0);
    assert!(ended.out.starts_with("no alerts until 20"), "{}", ended.out);
    std::fs::rename(world.path("data"), world.path("away")).unwrap();
    world.run(&["run"]).expect(1);
    assert!(world.slack.texts().is_empty(), "{:?}", world.slack.texts());
    let ended = world.run(&["status"]);
    assert!(
        ended.out.contains("silence") && ended.out.contains("not told: Backup telemetry"),
        "{}",
        ended.out
    );

    world.run(&["silence", "--off"]).expect(0);
    world.run(&["run"]).expect(1);
    assert_eq!(world.slack.texts().len(), 1);
    world.run(&["silence", "--until", "yesterday"]).expect(2);
    world.run(&["silence", "--until", "15d"]).expect(2);
    world.run(&["silence"]).expect(2);
}
