//! `backup doctor` as a person and a monitor use it.

use std::os::unix::fs::PermissionsExt;

use s3backup_local_s3::{Fault, FaultKind, Operation};
use serde_json::Value;

use crate::world::{Ended, World, assert_no_secret};

fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let found = document["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name} in {document}"))
}

#[track_caller]
fn assert_secretless(world: &World, ended: &Ended) {
    assert_no_secret(world, &ended.out);
    assert_no_secret(world, &ended.err);
}

#[test]
fn warnings_are_no_failure_and_json_is_one_document() {
    let world = World::new();
    world.file("a", b"1");
    let text = world.run(&["doctor"]);
    text.expect(0);
    assert!(text.out.contains("\nok    write        objects can be put\n"), "{}", text.out);
    assert!(text.out.contains("mend: aws s3api put-bucket-versioning --bucket fleet"), "{}", text.out);
    assert!(text.out.trim_end().ends_with("runs work"), "{}", text.out);
    assert!(!text.out.contains('\x1b'), "no colour without a terminal");
    assert_secretless(&world, &text);

    let ended = world.run(&["doctor", "--json"]);
    let document = ended.expect(0).json();
    assert_eq!(document["schema"], 1);
    for field in ["name", "state", "message", "mend"] {
        assert!(document["checks"][0].get(field).is_some(), "{document}");
    }
    assert!(check(&document, "credentials")["message"].as_str().unwrap().contains("from the environment"));
    assert_eq!(check(&document, "config file")["state"], "ok");
    assert_secretless(&world, &ended);
    assert!(world.slack.texts().is_empty(), "nothing is posted");
    assert!(world.server.objects("fleet").is_empty(), "nothing is left");
}

#[test]
fn a_failure_is_the_exit_code() {
    let world = World::new();
    world.server.faults().add(Fault::new(FaultKind::AccessDenied).on(Operation::PutObject));
    let ended = world.run(&["doctor"]);
    ended.expect(1);
    assert!(ended.out.contains("FAIL  write") && ended.out.contains("allow s3:PutObject"), "{}", ended.out);
    assert!(ended.out.contains("1 FAIL"), "{}", ended.out);
}

#[test]
fn a_broken_configuration_hides_nothing_else() {
    let world = World::new();
    world.file("a", b"1");
    world.configure("[schedule]\ncron = \"every day\"\n");
    let document = world.run(&["doctor", "--json"]).expect(1).json();
    let config = check(&document, "config");
    assert!(
        config["state"] == "fail" && config["message"].as_str().unwrap().contains("schedule.cron"),
        "{config}"
    );
    for name in ["write", "source", "slack", "credentials"] {
        assert_eq!(check(&document, name)["state"], "ok", "{document}");
    }
    // Where nothing leads to a bucket, the machine and Slack are left to look at.
    world.configure_all("bogus = 1\n[slack]\nwebhook_env = \"HOOK\"\n");
    let ended = world.run(&["doctor", "--json"]);
    let document = ended.expect(1).json();
    assert_eq!(check(&document, "slack")["state"], "ok", "{document}");
    assert!(check(&document, "credentials")["message"].as_str().unwrap().contains("from the environment"));
    assert_secretless(&world, &ended);
    // None at all.
    std::fs::remove_file(world.path("backup.toml")).unwrap();
    let document = world.run(&["doctor", "--json"]).expect(1).json();
    assert!(check(&document, "config")["mend"].as_str().unwrap().contains("backup init"), "{document}");
}

#[test]
fn credentials_that_nobody_renews_are_told() {
    let world = World::new();
    let session =
        Ended::of(&world.command(&["doctor", "--json"]).env("AWS_SESSION_TOKEN", "hush").output().unwrap());
    let credentials = check(&session.json(), "credentials").clone();
    assert!(
        credentials["state"] == "warn" && credentials["message"].as_str().unwrap().contains("session token")
    );
    assert!(!session.out.contains("hush"));
    let none =
        Ended::of(&world.command(&["doctor", "--json"]).env_remove("AWS_ACCESS_KEY_ID").output().unwrap());
    let document = none.expect(1).json();
    assert_eq!(check(&document, "credentials")["state"], "fail", "{document}");
    assert_eq!(check(&document, "lock")["state"], "ok", "the rest is checked: {document}");
}

#[test]
fn who_else_can_write_the_file_is_told() {
    let world = World::new();
    let file = world.path("backup.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let named = world.run(&["--config", "backup.toml", "doctor", "--json"]);
    let document = named.expect(0).json();
    let writers = check(&document, "config file");
    assert!(
        writers["state"] == "warn" && writers["mend"].as_str().unwrap().contains("chmod go-w"),
        "{writers}"
    );
    // One that was only found is not used at all.
    let found = world.run(&["doctor", "--json"]);
    assert_eq!(check(&found.expect(1).json(), "config")["state"], "fail");
}

#[test]
fn of_several_jobs_one_has_to_be_named() {
    let world = World::new();
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    let text = text.replace("job = \"telemetry\"\n", "");
    world.configure_all(&format!("{text}\n[job.one]\nhost = \"gw-1\"\n[job.two]\nhost = \"gw-2\"\n"));
    assert!(world.run(&["doctor"]).expect(2).err.contains("one, two"));
    world.run(&["--job", "one", "doctor"]).expect(0);
}
