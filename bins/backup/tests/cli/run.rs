//! `backup run` as a scheduler sees it: exit code, report, log, alert.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{Ended, World, assert_no_secret, is_root};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use serde_json::json;

#[test]
fn a_good_run_ends_with_zero_one_json_document_a_log_and_a_message() {
    let world = World::new();
    world.file("v1/2026-11-23/a.json", b"{}");
    world.file("v1/2026-11-23/b.json", &vec![7; 100_000]);
    let ended = world.run(&["run", "--json"]);
    let report = ended.expect(0).json();
    assert_eq!(report["outcome"], "success");
    assert_eq!(report["job"], "telemetry");
    assert_eq!(report["destination"], "s3://fleet/trips");
    assert_eq!(report["found"]["files"], 2);
    assert_eq!(report["uploaded"]["bytes"], 100_002);
    assert_eq!(report["failed_total"], 0);
    assert!(world.log("info_log_telemetry_").contains("run finished"));
    assert_eq!(world.log("error_log_telemetry_"), "");
    assert_eq!(world.slack.texts().len(), 1);
    assert!(world.slack.texts()[0].contains("2 files"), "{:?}", world.slack.texts());
    assert_no_secret(
        &world,
        &format!("{}{}{}{}", ended.out, ended.err, world.log("info"), world.slack.all()),
    );

    let again = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!((&again["uploaded"]["files"], &again["unchanged"]["files"]), (&0.into(), &2.into()));
}

#[test]
fn one_unreadable_file_among_a_thousand_is_named_everywhere_and_the_others_arrive() {
    let world = World::new();
    for number in 0..1000 {
        world.file(&format!("v{}/{number}.json", number % 10), format!("{number}").as_bytes());
    }
    let locked = world.path("data/v3/333.json");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    // For root every file is readable, so the binary runs as nobody, in a folder that nobody may write to.
    for dir in ["", "Logs"] {
        std::fs::create_dir_all(world.path(dir)).unwrap();
        std::fs::set_permissions(world.path(dir), std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command =
        if is_root() { Command::new("setpriv") } else { Command::new(env!("CARGO_BIN_EXE_backup")) };
    if is_root() {
        // Whoever runs the tests may keep the build where nobody else can look.
        let program = world.path("backup");
        std::fs::copy(env!("CARGO_BIN_EXE_backup"), &program).unwrap();
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    }
    let config = world.path("backup.toml");
    let ended =
        Ended::of(&world.dress(command.args(["run", "--json", "--config"]).arg(config)).output().unwrap());
    let report = ended.expect(3).json();
    assert_eq!(report["outcome"], "partial");
    assert_eq!(report["uploaded"]["files"], 999);
    assert_eq!(report["failed_total"], 1);
    assert_eq!(report["failed"][0]["kind"], "unreadable");
    let path = report["failed"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("data/v3/333.json"), "{path}");
    assert!(world.log("error_log_").contains("data/v3/333.json"));
    assert!(world.slack.all().contains("333.json"), "{}", world.slack.all());
}

#[test]
fn names_that_are_hostile_arrive() {
    let world = World::new();
    let names: [&[u8]; 6] =
        [b"new\nline", b"not-utf8-\xff\xfe", b"tab\tbell\x07", b"100%41", b"a b+c&?#%", "日本é".as_bytes()];
    for name in names {
        let path = world.path("data").join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(path, name).unwrap();
    }
    world.configure_all(
        &std::fs::read_to_string(world.path("backup.toml"))
            .unwrap()
            .replace("path = \"data\"", "path = \"data\"\nmin_age = \"0s\""),
    );
    let plan = world.run(&["plan"]);
    assert_eq!(plan.expect(0).out.lines().count(), 6, "a name broke a line: {}", plan.out);
    for line in plan.out.lines() {
        assert!(line.starts_with("upload  "), "a name broke the line: {line:?}");
    }
    assert!(plan.out.contains("trips/not-utf8-%FF%FE"), "{}", plan.out);
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(report["uploaded"]["files"], 6);
    assert_eq!(world.run(&["plan"]).expect(0).out, "unchanged 6 files (51 B)\n");
}

#[test]
fn failing_starts_give_one_clear_message_the_right_code_and_one_alert_for_the_trouble() {
    let world = World::new();
    world.file("a", b"1");
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    let cases = [
        (
            "a wrong bucket",
            text.replace("bucket = \"fleet\"", "bucket = \"other\""),
            1,
            "bucket",
            "no such bucket: s3://other",
        ),
        ("a missing source", text.replace("path = \"data\"", "path = \"gone\""), 1, "source_missing", "gone"),
        (
            "a dead endpoint",
            text.replace(&world.server.endpoint(), "http://127.0.0.1:9"),
            1,
            "network",
            "127.0.0.1:9",
        ),
    ];
    for (what, config, code, kind, said) in cases {
        world.configure_all(&config);
        let ended = world.run(&["run", "--json"]);
        let report = ended.expect(code).json();
        assert_eq!(report["outcome"], "failed", "{what}");
        assert_eq!(report["fatal"]["kind"], kind, "{what}: {report}");
        assert!(report["fatal"]["message"].as_str().unwrap().contains(said), "{what}: {report}");
        assert_eq!(world.slack.texts().len(), 1, "{what}: a webhook tells a trouble once a day");
    }
    assert!(world.slack.all().contains("no such bucket: s3://other"), "{}", world.slack.all());
    world.configure_all(&text);
    world.run(&["run"]).expect(0);
    let told = world.slack.texts();
    assert!(told.len() == 2 && told[1].contains("recovered after"), "{told:?}");
}

#[test]
fn wrong_and_missing_credentials_are_told_apart() {
    let world = World::new();
    world.file("a", b"1");
    let mut wrong = world.command(&["run", "--json"]);
    let ended = Ended::of(&wrong.env("AWS_SECRET_ACCESS_KEY", "wrong").output().unwrap());
    let report = ended.expect(1).json();
    assert_eq!(report["fatal"]["kind"], "credentials", "{report}");
    assert!(report["fatal"]["message"].as_str().unwrap().contains("refuses the AWS credentials"), "{report}");

    let mut missing = world.command(&["run", "--json"]);
    missing.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let report = Ended::of(&missing.output().unwrap()).expect(1).json();
    assert_eq!(report["fatal"]["kind"], "credentials", "{report}");
    assert!(report["fatal"]["message"].as_str().unwrap().contains("no AWS credentials"), "{report}");
    assert_eq!(world.slack.texts().len(), 1, "it is the same trouble");
}

#[test]
fn a_broken_configuration_ends_with_two_and_is_alerted_too() {
    let world = World::new();
    world.configure("[transfer]\nconcurency = 4\n");
    let ended = world.run(&["run"]);
    ended.expect(2);
    assert!(ended.err.contains("backup.toml") && ended.err.contains("concurency"), "{}", ended.err);
    assert_eq!(ended.out, "");
    assert_eq!(world.slack.texts().len(), 1);
    assert!(world.slack.all().contains("concurency"), "{}", world.slack.all());
    assert_no_secret(&world, &ended.err);

    let document = world.run(&["run", "--json"]).expect(2).json();
    assert_eq!(document["outcome"], "failed", "a script gets its one document in any case");
    assert!(document["fatal"]["message"].as_str().unwrap().contains("concurency"), "{document}");
    world.run(&["run", "--config", "nowhere.toml"]).expect(2);
}

#[test]
fn a_source_that_holds_the_log_folder_is_warned_of() {
    let world = World::new();
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world.configure_all(&text.replace("path = \"data\"", "path = \".\"\nexclude = [\"s3\"]"));
    let ended = world.run(&["run"]);
    assert!(ended.expect(0).err.contains("Logs lies in the source"), "{}", ended.err);
}

#[test]
fn a_reader_that_went_away_changes_nothing_about_the_exit_code() {
    let world = World::new();
    world.file("a", b"1");
    let mut child = world.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    Ended::of(&child.wait_with_output().unwrap()).expect(0);
}

#[test]
fn the_end_of_the_log_disk_is_not_the_end_of_the_backup() {
    let world = World::new();
    world.file("a", b"1");
    std::fs::write(world.path("Logs"), "a file where the folder should be").unwrap();
    let ended = world.run(&["run", "--json"]);
    assert_eq!(ended.expect(0).json()["uploaded"]["files"], 1);
    assert!(ended.err.contains("log"), "the console says it: {}", ended.err);
}

#[test]
fn sigterm_ends_a_run_within_three_seconds() {
    let world = World::new();
    world.file("quick", b"1");
    world.file("slow", &vec![1; 20 << 20]);
    world.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart));
    let child =
        world.command(&["run", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waiting = Instant::now();
    while world.server.stats().of(Operation::UploadPart) == 0 {
        assert!(waiting.elapsed() < Duration::from_secs(20), "the upload did not begin");
        std::thread::yield_now();
    }
    let told = Instant::now();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // Twice at once, as `timeout` and some supervisors do it: to the process, and to its group.
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = Ended::of(&child.wait_with_output().unwrap());
    assert!(told.elapsed() < Duration::from_secs(3), "it took {:?}", told.elapsed());
    let report = ended.expect(130).json();
    assert_eq!(report["outcome"], "interrupted");
    assert_eq!(report["uploaded"]["files"], 1, "what was finished is recorded: {report}");
    assert_eq!(world.server.stats().of(Operation::AbortMultipartUpload), 0, "the next run goes on with it");

    world.server.faults().clear();
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(report["uploaded"]["files"], 1, "{report}");
    assert_eq!(world.server.stats().of(Operation::CreateMultipartUpload), 1, "it is the same upload");
}

#[test]
fn steps_make_the_data_and_see_no_secrets() {
    let world = World::new();
    world.configure(
        "[[step]]\nname = \"make\"\ncommand = [\"sh\", \"-c\", \"env > data/env.txt; touch -d '1 hour ago' data/env.txt; echo made $BACKUP_DAY\"]\n",
    );
    let ended = world.run(&["run", "--json"]);
    let report = ended.expect(0).json();
    assert_eq!(report["steps"][0]["state"], "ok");
    assert_eq!(report["uploaded"]["files"], 1);
    let seen = std::fs::read_to_string(world.path("data/env.txt")).unwrap();
    assert!(seen.contains(&format!("BACKUP_RUN_ID={}", report["run_id"].as_str().unwrap())), "{seen}");
    assert!(!seen.contains("AWS_SECRET_ACCESS_KEY") && !seen.contains("HOOK="), "{seen}");
    assert!(world.log("info_log_").contains("made 20"), "{}", world.log("info_log_"));

    world.configure("[[step]]\nname = \"broken\"\ncommand = [\"false\"]\n");
    let report = world.run(&["run", "--json"]).expect(1).json();
    assert_eq!((&report["outcome"], &report["fatal"]["kind"]), (&"failed".into(), &"step".into()));
    world.configure("[[step]]\nname = \"broken\"\ncommand = [\"false\"]\non_failure = \"continue\"\n");
    world.run(&["run", "--json"]).expect(3);
}

#[test]
fn steps_that_ran_elsewhere_are_left_out_and_have_their_say() {
    let world = World::new();
    world.file("a", b"1");
    world.configure(
        "[[step]]\nname = \"make\"\ncommand = [\"sh\", \"-c\", \"echo 'Trips: 1' >> $BACKUP_FACTS\"]\n",
    );
    let ended = world.run(&["run"]);
    assert!(ended.expect(0).out.contains("\n  Trips: 1\n"), "{}", ended.out);
    assert!(
        world.log("info_log_").contains("facts of the run facts=\"Trips: 1\""),
        "{}",
        world.log("info_log_")
    );

    let facts = world.path("facts.txt");
    std::fs::write(&facts, "Trips: 2\nDistance: 12,345 km\n").unwrap();
    let report =
        world.run(&["run", "--json", "--no-steps", "--facts", facts.to_str().unwrap()]).expect(0).json();
    assert_eq!(report["steps"].as_array().map(Vec::len), Some(0));
    let expected = json!([
        { "label": "Trips", "value": "2" },
        { "label": "Distance", "value": "12,345 km" },
    ]);
    assert_eq!(report["facts"], expected);
}

#[test]
fn every_file_arrives_although_the_server_is_busy_and_connections_break() {
    let world = World::new();
    for number in 0..300 {
        world.file(&format!("{number}"), format!("content {number}").as_bytes());
    }
    world.server.faults().add(Fault::new(FaultKind::SlowDown).on(Operation::PutObject).percent(10.0, 3));
    world.server.faults().add(Fault::new(FaultKind::ResetInRequest).on(Operation::PutObject).percent(5.0, 4));
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(report["uploaded"]["files"], 300);
    assert_eq!(report["failed_total"], 0);
    assert!(report["retries"].as_u64().unwrap() > 10, "{report}");
}
