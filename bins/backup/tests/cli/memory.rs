//! What one run of the binary leaves for the next: its catalog, its lock, what it could not look at.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use s3backup_local_s3::{Fault, FaultKind, Operation};
use serde_json::Value;

use crate::world::{Ended, World, exists, is_root};

/// How long a test waits for what must happen at once before it says that it did not.
const PATIENCE: Duration = Duration::from_mins(1);

#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = Instant::now();
    while !is_so() {
        assert!(waiting.elapsed() < PATIENCE, "it takes for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The binary as somebody for whom not every file is readable, in a folder that anybody may write to.
struct Nobody {
    program: PathBuf,
}

impl Nobody {
    fn new(world: &World) -> Self {
        for dir in ["", "Logs", "state"] {
            std::fs::create_dir_all(world.path(dir)).unwrap();
            set_mode(&world.path(dir), 0o777);
        }
        // Whoever runs the tests may keep the build where nobody else can look.
        let program = world.path("backup");
        std::fs::copy(env!("CARGO_BIN_EXE_backup"), &program).unwrap();
        Self { program }
    }

    fn run(&self, world: &World, arguments: &[&str]) -> Ended {
        let mut command = if is_root() { Command::new("setpriv") } else { Command::new(&self.program) };
        if is_root() {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&self.program);
        }
        let config = world.path("backup.toml");
        Ended::of(&world.dress(command.args(arguments).arg("--config").arg(config)).output().unwrap())
    }
}

fn puts(world: &World) -> u64 {
    world.server.stats().of(Operation::PutObject)
}

fn start(world: &World) -> Child {
    world.command(&["run", "--json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_next_process_knows_what_the_last_one_sent() {
    let world = World::new();
    for number in 0..50 {
        world.file(&format!("v1/{number}.json"), number.to_string().as_bytes());
    }
    world.run(&["run"]).expect(0);
    let catalog = world.path("state/s3backup/telemetry/catalog.db");
    assert!(exists(&catalog), "{}", catalog.display());
    let mode = std::fs::metadata(catalog.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "names of files are nobody else's business");
    let before = world.server.stats();
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!((&report["unchanged"]["files"], &report["uploaded"]["wire_bytes"]), (&50.into(), &0.into()));
    let after = world.server.stats();
    assert_eq!(after.total() - before.total(), 5, "{before:?} {after:?}");

    world.file("v1/7.json", b"changed");
    let plan = world.run(&["plan"]);
    assert!(plan.expect(0).out.contains("changed") && plan.out.contains("v1/7.json"), "{}", plan.out);
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(report["uploaded"]["files"], 1);
}

#[test]
fn what_is_in_a_folder_that_cannot_be_read_is_not_gone() {
    let world = World::new();
    for name in ["open/a", "shut/b", "shut/deep/c", "shut-too/d", "z"] {
        world.file(name, name.as_bytes());
    }
    let nobody = Nobody::new(&world);
    nobody.run(&world, &["run"]).expect(0);
    set_mode(&world.path("data/shut"), 0o000);
    std::fs::remove_file(world.path("data/open/a")).unwrap();
    std::fs::remove_file(world.path("data/shut-too/d")).unwrap();
    let report = nobody.run(&world, &["run", "--json"]).expect(3).json();
    assert_eq!(report["outcome"], "partial");
    assert_eq!((&report["failed_total"], &report["failed"][0]["kind"]), (&1.into(), &"unreadable".into()));
    let path = report["failed"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("data/shut"), "{path}");
    let gone = &report["gone"]["files"];
    assert!(*gone == 0 || *gone == 2, "never what is in the folder: {report}");

    set_mode(&world.path("data/shut"), 0o755);
    let before = puts(&world);
    let report = nobody.run(&world, &["run", "--json"]).expect(0).json();
    assert_eq!((&report["unchanged"]["files"], &report["uploaded"]["files"]), (&3.into(), &0.into()));
    assert_eq!(report["gone"]["files"].as_u64().unwrap() + gone.as_u64().unwrap(), 2);
    assert!(puts(&world) - before <= 4, "nothing was forgotten, so nothing is asked for");
}

#[test]
fn a_file_that_cannot_be_read_any_more_is_named_and_not_gone() {
    let world = World::new();
    let file = world.file("a", b"1");
    world.file("b", b"1");
    let nobody = Nobody::new(&world);
    nobody.run(&world, &["run"]).expect(0);
    set_mode(&file, 0o000);
    let report = nobody.run(&world, &["run", "--json"]).expect(3).json();
    assert_eq!((&report["gone"]["files"], &report["failed"][0]["kind"]), (&0.into(), &"unreadable".into()));
    set_mode(&file, 0o644);
    let report = nobody.run(&world, &["run", "--json"]).expect(0).json();
    assert_eq!((&report["unchanged"]["files"], &report["uploaded"]["files"]), (&2.into(), &0.into()));
}

#[test]
fn a_second_run_is_turned_away_and_a_killed_one_is_nobodys_burden() {
    let world = World::new();
    world.file("quick", b"1");
    world.file("slow", b"22");
    world
        .server
        .faults()
        .add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/slow"));
    let mut first = start(&world);
    // `latest.json` and both files have been asked for, and nothing more is until the one that hangs has an answer.
    until(|| world.server.stats().of(Operation::PutObject) == 3);
    let before = world.server.stats().total();
    let second = world.run(&["run"]);
    second.expect(11);
    for word in ["telemetry", "locked", &first.id().to_string()] {
        assert!(second.err.contains(word), "no {word} in {}", second.err);
    }
    let document: Value = world.run(&["run", "--json"]).expect(11).json();
    assert!(document.to_string().contains("locked"), "{document}");
    assert_eq!(world.server.stats().total(), before, "it asked nothing");
    assert_eq!(world.slack.texts(), Vec::<String>::new(), "it is no trouble");
    world.run(&["plan"]).expect(0);

    first.kill().unwrap();
    first.wait().unwrap();
    world.server.faults().clear();
    let report = world.run(&["run", "--json"]).expect(0).json();
    let sent = report["uploaded"]["files"].as_u64().unwrap();
    assert_eq!(sent + report["unchanged"]["files"].as_u64().unwrap(), 2, "{report}");
    let told = world.slack.texts();
    assert!(told.len() == 2 && told[0].contains("was killed") && told[1].contains("recovered"), "{told:?}");
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(report["unchanged"]["files"], 2);
}

#[test]
fn a_large_file_of_a_process_that_was_killed_is_gone_on_with() {
    let world = World::new();
    let bytes: Vec<u8> = (0..40_000_000_u32).map(|at| (at / 1021).to_le_bytes()[0]).collect();
    world.file("large", &bytes);
    world.configure("[transfer]\nconcurrency = 1\npart_size = \"5 MiB\"\n");
    world.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart).nth(5));
    let mut first = start(&world);
    until(|| world.server.stats().of(Operation::UploadPart) == 5);
    first.kill().unwrap();
    first.wait().unwrap();
    world.server.faults().clear();
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!((&report["resumed_parts"], &report["uploaded"]["files"]), (&4.into(), &1.into()));
    assert_eq!(
        world.server.stats().of(Operation::UploadPart),
        5 + 4,
        "eight parts, of which one was on its way"
    );
    assert_eq!(world.server.stats().of(Operation::CreateMultipartUpload), 1);
}

#[test]
fn a_bucket_of_another_machine_is_a_failed_start_with_its_mend() {
    let world = World::new();
    world.file("a", b"1");
    world.run(&["run"]).expect(0);
    // The same job and host on another disk: a machine that was made from the same image.
    let clone = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        Ended::of(&command.env("XDG_STATE_HOME", world.path("clone")).output().unwrap())
    };
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    // It has a catalog of its own, because it backed up something else before.
    world.configure_all(&text.replace("prefix = \"trips\"", "prefix = \"others\""));
    clone(&["run"]).expect(0);
    world.configure_all(&text);
    let (before, told) = (puts(&world), world.slack.texts().len());
    let ended = clone(&["run", "--json"]);
    let report = ended.expect(1).json();
    assert_eq!(report["fatal"]["kind"], "catalog", "{report}");
    assert!(report["fatal"]["message"].as_str().unwrap().contains("backup status --rebuild"), "{report}");
    assert_eq!((puts(&world), world.slack.texts().len()), (before, told + 1));
    clone(&["status", "--rebuild"]).expect(0);
    let report = clone(&["run", "--json"]).expect(0).json();
    assert_eq!((&report["unchanged"]["files"], &report["uploaded"]["files"]), (&1.into(), &0.into()));
    // Now it is the first that is turned away.
    world.run(&["run"]).expect(1);
}
