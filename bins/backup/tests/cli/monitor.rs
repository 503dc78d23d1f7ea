//! `backup monitor` as a timer on another machine uses it: exit codes, the one document, what Slack hears.

use crate::world::{BUCKET, Ended, World, assert_no_secret, exists};

/// Runs it as a machine that has nothing but a destination and a way to Slack.
fn elsewhere(world: &World, arguments: &[&str]) -> Ended {
    let text = format!(
        "host = \"watcher\"\n[destination]\nbucket = \"{BUCKET}\"\nprefix = \"trips\"\nregion = \"us-east-1\"\n\
         endpoint = \"{}\"\n[slack]\nwebhook_env = \"HOOK\"\n",
        world.server.endpoint()
    );
    std::fs::write(world.path("watch.toml"), text).unwrap();
    let mut all = vec!["--config", "watch.toml", "monitor"];
    all.extend(arguments);
    let mut command = world.command(&all);
    Ended::of(&command.env("XDG_STATE_HOME", world.path("watcher")).output().unwrap())
}

#[test]
fn all_is_well() {
    let world = World::new();
    world.file("a", b"1");
    world.run(&["run"]).expect(0);
    let ended = elsewhere(&world, &[]);
    for word in ["s3://fleet/trips at ", "ok ", "telemetry on gw-1: last success "] {
        assert!(ended.expect(0).out.contains(word), "{}", ended.out);
    }
    let document = elsewhere(&world, &["--json"]).expect(0).json();
    assert_eq!((&document["schema"], &document["well"]), (&1.into(), &true.into()));
    let watched = &document["destinations"][0]["watched"][0];
    assert_eq!((&watched["job"], &watched["host"]), (&"telemetry".into(), &"gw-1".into()));
    assert_eq!(watched["findings"], serde_json::json!([]));
    assert_eq!(document["destinations"][0]["by"], "watcher");
    // The machine that backs up can watch as well.
    world.run(&["monitor"]).expect(0);
}

#[test]
fn what_is_wrong_ends_with_four_and_is_told_once() {
    let world = World::new();
    world.file("a", b"1");
    world.run(&["run"]).expect(0);
    let told = world.slack.texts().len();
    let ended = elsewhere(&world, &["--expect", "telemetry@gw-1", "--expect", "telemetry@gw-2"]);
    for word in ["ok ", "UNSEEN", "telemetry on gw-2: it is expected", "-> run `backup run` there"] {
        assert!(ended.expect(4).out.contains(word), "{}", ended.out);
    }
    let again = elsewhere(&world, &["--json", "--expect", "telemetry@gw-2"]);
    let document = again.expect(4).json();
    assert_eq!(document["well"], false);
    let watched = document["destinations"][0]["watched"].as_array().unwrap();
    assert_eq!(watched[1]["findings"][0]["kind"], "unseen");
    assert_eq!(world.slack.texts().len(), told + 1, "{:?}", world.slack.texts());

    world.file(".s3backup/x", b"1");
    world.run(&["run"]).expect(3);
    let ended = elsewhere(&world, &[]);
    assert!(ended.expect(4).out.contains("PARTIAL"), "{}", ended.out);
    assert_no_secret(&world, &format!("{}{}", ended.out, ended.err));
    elsewhere(&world, &["--retire", "telemetry/gw-1"]).expect(0);
    let ended = elsewhere(&world, &[]);
    assert!(ended.expect(0).out.contains("retired"), "{}", ended.out);
}

#[test]
fn a_bucket_that_cannot_be_read_ends_with_one() {
    let world = World::new();
    world.file("a", b"1");
    world.run(&["run"]).expect(0);
    let told = world.slack.texts().len();
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world.configure_all(&text.replace(&format!("\"{BUCKET}\""), "\"gone\""));
    let ended = world.run(&["monitor", "--json"]);
    let document = ended.expect(1).json();
    assert!(document["destinations"][0]["error"].as_str().unwrap().contains("no such bucket"), "{document}");
    assert!(ended.err.contains("no such bucket"), "{}", ended.err);
    let texts = world.slack.texts();
    assert!(texts.len() == told + 1 && texts[told].contains("unread"), "{texts:?}");
}

#[test]
fn several_jobs_are_looked_at_once_a_place() {
    let world = World::new();
    world.file("a", b"1");
    world.run(&["run"]).expect(0);
    let server = world.server.endpoint();
    let text = format!(
        "host = \"gw-1\"\nsource = [{{ path = \"data\" }}]\n[destination]\nbucket = \"{BUCKET}\"\nregion = \"us-east-1\"\n\
         endpoint = \"{server}\"\n[job.telemetry]\ndestination = {{ prefix = \"trips\" }}\n\
         [job.more]\ndestination = {{ prefix = \"trips/{{host}}\" }}\n[job.logs]\ndestination = {{ prefix = \"logs\" }}\n"
    );
    world.configure_all(&text);
    world.run(&["--job", "logs", "run"]).expect(0);
    let document = world.run(&["monitor", "--json"]).expect(0).json();
    let places = document["destinations"].as_array().unwrap().iter().map(|one| one["destination"].clone());
    let places: Vec<_> = places.collect();
    assert_eq!(places, ["s3://fleet/trips", "s3://fleet/logs"], "in the order of the file");
    world.run(&["monitor", "--expect", "logs@gw-1"]).expect(2);
    world.run(&["--job", "logs", "monitor", "--expect", "logs@gw-1"]).expect(0);
}

#[test]
fn a_monitor_that_cannot_start_is_told() {
    let world = World::new();
    world.run(&["monitor", "--expect", "gw-1"]).expect(2);
    world.run(&["monitor", "--retire", "telemetry@gw-1"]).expect(2);
    assert!(world.slack.texts().is_empty());
    world.configure("[schedule]\ncron = \"sometimes\"\n");
    world.run(&["monitor"]).expect(2);
    let texts = world.slack.texts();
    assert!(texts.len() == 1 && texts[0].contains("nobody watches"), "{texts:?}");
    assert!(!exists(&world.path("state/s3backup/telemetry")), "it makes no catalog");
}
