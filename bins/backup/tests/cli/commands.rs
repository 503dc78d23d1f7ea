//! The other commands, as a person and a script use them.

use crate::world::{World, assert_no_secret, exists};
use serde_json::Value;

#[test]
fn plan_lists_what_a_run_would_do_and_does_nothing() {
    let world = World::new();
    world.file("a.json", b"12345");
    world.file("b.tmp", b"1");
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world.configure_all(&text.replace("path = \"data\"", "path = \"data\"\nexclude = [\"**/*.tmp\"]"));
    let ended = world.run(&["plan", "--json"]);
    let lines: Vec<Value> =
        ended.expect(0).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], serde_json::json!({ "action": "unchanged", "files": 0, "bytes": 0 }));
    let upload = lines.iter().find(|line| line["action"] == "upload").unwrap();
    assert_eq!((&upload["key"], &upload["bytes"]), (&"trips/a.json".into(), &5.into()));
    assert_eq!(lines.iter().find(|line| line["action"] == "skip").unwrap()["reason"], "excluded");

    let dry = world.run(&["run", "--dry-run", "--json"]).expect(0).json();
    assert_eq!(dry["would_upload"]["files"], 1);
    assert_eq!(world.server.stats().total(), 0, "no request was sent");
    assert!(world.slack.texts().is_empty());
    assert!(!exists(&world.path("Logs")), "not even a log file");
}

#[test]
fn plan_of_a_missing_source_fails() {
    let world = World::new();
    std::fs::remove_dir_all(world.path("data")).unwrap();
    let ended = world.run(&["plan"]);
    assert!(ended.expect(1).out.contains("FAIL"), "{}", ended.out);
}

#[test]
fn init_writes_a_file_once_and_the_file_works() {
    let world = World::new();
    std::fs::remove_file(world.path("backup.toml")).unwrap();
    world.run(&["init"]).expect(0);
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    assert!(world.run(&["init"]).expect(2).err.contains("--force"));
    assert_eq!(std::fs::read_to_string(world.path("backup.toml")).unwrap(), text);
    world.run(&["init", "--force", "other.toml"]).expect(0);
    // What it writes is a configuration: nothing in it is unknown.
    let shown = world.run(&["config"]);
    assert!(shown.code == 0 || shown.err.contains("bucket") || shown.err.contains("path"), "{}", shown.err);
}

#[test]
fn config_shows_where_each_value_comes_from_and_no_secret() {
    let world = World::new();
    let mut command = world.command(&["config", "--json", "--log-level", "debug"]);
    let ended =
        crate::world::Ended::of(&command.env("BACKUP_DESTINATION__PREFIX", "from-env").output().unwrap());
    let shown = ended.expect(0).json();
    let value = |key: &str| {
        let values = shown["values"].as_array().unwrap();
        values
            .iter()
            .find(|value| value["key"] == key)
            .unwrap_or_else(|| panic!("{key} is not in {shown}"))
            .clone()
    };
    assert_eq!(value("destination.prefix")["value"], "from-env");
    assert!(value("destination.prefix")["source"].as_str().unwrap().contains("BACKUP_DESTINATION__PREFIX"));
    assert!(value("logging.level")["source"].as_str().unwrap().contains("--log-level"));
    assert!(value("destination.bucket")["source"].as_str().unwrap().contains("backup.toml"));
    assert_no_secret(&world, &ended.out);
    world.run(&["config"]).expect(0);
}

#[test]
fn config_refuses_what_a_run_would_refuse() {
    let world = World::new();
    for (source, said) in [
        ("path = \"data\"\ninclude = [\"[a\"]", "[a"),
        ("path = \"data\"\nprefix = \"{month}\"", "{month}"),
        ("path = \"data\"\n[[source]]\npath = \"more\"", "prefix"),
    ] {
        world.configure_all(&format!("[[source]]\n{source}\n[destination]\nbucket = \"b\"\n"));
        for command in [&["config"][..], &["run", "--json"]] {
            let ended = world.run(command);
            ended.expect(2);
            assert!(ended.err.contains(said), "{command:?}: {}", ended.err);
        }
    }
}

#[test]
fn wrong_arguments_end_with_two() {
    let world = World::new();
    world.run(&["runn"]).expect(2);
    world.run(&["run", "--trigger", "moon"]).expect(2);
    world.run(&[]).expect(2);
    world.run(&["--help"]).expect(0);
}

#[test]
fn generated_data_is_the_same_every_time_and_can_be_backed_up() {
    let world = World::new();
    let arguments =
        |out| ["generate-data", out, "--vehicles", "2", "--days", "1", "--end-day", "2026-11-20", "--json"];
    let one = world.run(&arguments("one")).expect(0).json();
    let two = world.run(&arguments("two")).expect(0).json();
    assert_eq!(one, two);
    assert!(world.run(&arguments("one")).expect(2).err.contains("--force"));
    let same =
        std::process::Command::new("diff").arg("-r").args([world.path("one"), world.path("two")]).status();
    assert!(same.unwrap().success());
}

#[test]
fn the_truth_of_generated_data_is_written_beside_it() {
    let world = World::new();
    let arguments = |truth| {
        let points = ["generate-data", "trips", "--vehicles", "1", "--points", "3000", "--json"];
        [points.as_slice(), &["--gps-noise", "--format", "csv", "--truth", truth]].concat()
    };
    let refused = world.run(&arguments("trips/truth.jsonl"));
    let refused = refused.expect(2);
    assert!(refused.err.contains("lies in trips") && refused.err.contains("elsewhere"), "{}", refused.err);
    assert!(!exists(&world.path("trips")));

    let told = world.run(&arguments("truth.jsonl")).expect(0).json();
    let truth = std::fs::read_to_string(world.path("truth.jsonl")).unwrap();
    let events: Vec<Value> = truth.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let near = events.iter().filter(|event| event["near_miss"] == true).count() as u64;
    assert!(near > 0);
    assert_eq!(told["total"]["near_misses"], near);
    assert_eq!(told["total"]["events"], events.len() as u64 - near);
    for event in &events {
        let path = world.path("trips").join(event["path"].as_str().unwrap());
        assert!(path.extension().is_some_and(|end| end == "csv") && exists(&path), "{event}");
    }
    assert!(world.run(&arguments("truth.jsonl")).expect(2).err.contains("--force"));
}

#[test]
fn scripts_and_pages_are_printed() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.run(&["completions", shell]).expect(0).out.contains("generate-data"));
    }
    assert!(world.run(&["man"]).expect(0).out.starts_with(".ie"));
    std::fs::create_dir(world.path("man")).unwrap();
    world.run(&["man", "--out", "man"]).expect(0);
    assert!(exists(&world.path("man/backup-run.1")));
}

#[test]
fn an_embedded_endpoint_needs_nothing_else() {
    let world = World::new();
    world.file("a", b"1");
    world.configure_all(
        "[[source]]\npath = \"data\"\n[destination]\nbucket = \"try\"\nendpoint = \"embedded:mine\"\n",
    );
    let mut command = world.command(&["run", "--json"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let report = crate::world::Ended::of(&command.output().unwrap()).expect(0).json();
    assert_eq!(report["uploaded"]["files"], 1);
    assert!(exists(&world.path("mine")));
    // Also what does not start the server knows what is in it.
    assert_eq!(world.run(&["plan"]).expect(0).out, "unchanged 1 file (1 B)\n");
}

#[test]
fn the_demo_shows_the_whole_way() {
    let world = World::new();
    let ended = world.run(&["demo", "--dir", "demo"]);
    ended.expect(0);
    for word in ["Verified", "Restored", "Told to Slack", "success", "run finished"] {
        assert!(ended.out.contains(word), "{word} is missing in {}", ended.out);
    }
    assert!(exists(&world.path("demo/restored/vehicle-001/dashcam.bin")));
    assert!(world.run(&["demo", "--dir", "demo"]).expect(2).err.contains("not empty"));
}

#[test]
fn report_is_one_page_of_all_jobs() {
    let world = World::new();
    world.file("a.json", b"12345");
    world.run(&["run"]).expect(0);
    let ended = world.run(&["report"]);
    assert_eq!(ended.expect(0).out, "wrote s3backup-report.html\n");
    let page = std::fs::read_to_string(world.path("s3backup-report.html")).unwrap();
    assert!(page.contains("All is in the bucket") && page.contains("1 file"), "{page}");
    assert_no_secret(&world, &page);
    let printed = world.run(&["report", "--out", "-"]);
    assert!(printed.expect(0).out.starts_with("<!doctype html>") && printed.out.contains("</html>"));

    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world.configure_all(&format!(
        "{}\n[job.telemetry]\n[job.maps]\n",
        text.replace("job = \"telemetry\"\n", "")
    ));
    world.run(&["report", "--out", "all.html"]).expect(0);
    let page = std::fs::read_to_string(world.path("all.html")).unwrap();
    assert!(page.contains("All is in the bucket") && page.contains("No run has ended yet"), "{page}");
    world.run(&["report", "--job", "maps", "--out", "one.html"]).expect(0);
    assert!(!std::fs::read_to_string(world.path("one.html")).unwrap().contains("telemetry"));
    assert!(
        world.run(&["report", "--out", "no/such/folder.html"]).expect(1).err.contains("no/such/folder.html")
    );
}

#[test]
fn metrics_of_the_configuration_are_written_beside_it() {
    let world = World::new();
    world.file("a.json", b"12345");
    world.configure("[metrics]\ntextfile = \"{job}.prom\"\n");
    world.run(&["run"]).expect(0);
    let text = std::fs::read_to_string(world.path("telemetry.prom")).unwrap();
    assert!(text.contains("backup_files{job=\"telemetry\",host=\"gw-1\"} 1\n"), "{text}");
    world.configure("[metrics]\n");
    assert!(world.run(&["run"]).expect(2).err.contains("metrics: says nothing"));
}
