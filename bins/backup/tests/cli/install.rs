//! `backup install systemd`: what it writes, and that systemd understands it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, Utc};
use s3backup_core::options::Schedule;

use crate::world::{Ended, World};

/// A world whose job is due on weekdays.
fn world() -> World {
    let world = World::new();
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world
        .configure_all(&format!("timezone = \"Asia/Seoul\"\n{text}\n[schedule]\ncron = \"30 20 * * 1-5\"\n"));
    world
}

/// `backup install systemd ARGUMENTS`, into the folder `units`.
fn install(world: &World, arguments: &[&str]) -> Ended {
    world.run(&[&["install", "systemd", "--to", "units"], arguments].concat())
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.path("units").join(name)).unwrap()
}

#[test]
fn a_dry_run_shows_and_writes_nothing() {
    let world = world();
    let ended = install(&world, &["--dry-run"]);
    ended.expect(0);
    assert!(ended.out.contains("units/s3backup.service (new)"), "{}", ended.out);
    for line in ["Type=notify", "WatchdogSec=", "NoNewPrivileges=yes", "systemctl daemon-reload"] {
        assert!(ended.out.contains(line), "{line} in {}", ended.out);
    }
    let exec = format!(
        "ExecStart={} --config {} --quiet schedule",
        env!("CARGO_BIN_EXE_backup"),
        world.path("backup.toml").display()
    );
    assert!(ended.out.contains(&exec), "{exec} in {}", ended.out);
    assert!(!world.path("units").exists());
    let document = install(&world, &["--dry-run", "--json"]).expect(0).json();
    assert_eq!((&document["files"][0]["was"], &document["dry_run"]), (&"new".into(), &true.into()));
}

#[test]
fn units_are_written_once_and_edited_ones_are_left_alone() {
    let world = world();
    assert!(
        install(&world, &["--units", "timer"])
            .expect(0)
            .out
            .contains("wrote units/s3backup-run@telemetry.timer")
    );
    let timer = read(&world, "s3backup-run@telemetry.timer");
    assert!(timer.contains("OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 20:30:00 Asia/Seoul"), "{timer}");
    assert!(timer.contains("Persistent=true"));
    assert!(read(&world, "s3backup-run@.service").contains("--job %i --quiet run --trigger systemd"));
    let mode = std::fs::metadata(world.path("units/s3backup-run@.service")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert!(install(&world, &["--units", "timer"]).expect(0).out.contains("unchanged"));

    let edited = format!("{timer}# mine\n");
    std::fs::write(world.path("units/s3backup-run@telemetry.timer"), &edited).unwrap();
    std::fs::remove_file(world.path("units/s3backup-run@.service")).unwrap();
    let refused = install(&world, &["--units", "timer"]);
    assert!(refused.expect(1).err.contains("nothing was written"), "{}", refused.err);
    assert_eq!(read(&world, "s3backup-run@telemetry.timer"), edited);
    assert!(!world.path("units/s3backup-run@.service").exists(), "all or nothing");
    install(&world, &["--units", "timer", "--force"]).expect(0);
    assert_eq!(read(&world, "s3backup-run@telemetry.timer"), timer);
}

#[test]
fn what_a_timer_cannot_say_is_left_to_the_daemon() {
    let world = World::new();
    assert!(install(&world, &["--units", "timer"]).expect(2).err.contains("[schedule] cron"));
    world.configure("[schedule]\ncron = \"0 20 L * *\"\n");
    assert!(install(&world, &["--units", "timer"]).expect(2).err.contains("let the daemon keep them"));
    install(&world, &[]).expect(0);
}

#[test]
fn units_may_write_what_the_configuration_names_and_nothing_else() {
    let world = world();
    install(&world, &[]).expect(0);
    let plain = read(&world, "s3backup.service");
    assert!(
        plain.contains("Environment=BACKUP_STATE_DIR=/var/lib/s3backup") && !plain.contains("ReadWritePaths")
    );
    assert!(
        plain.contains("MemoryMax=320M") && plain.contains("PrivateTmp=no"),
        "the data is below /tmp: {plain}"
    );

    world.configure(
        "[logging]\ndir = \"/srv/my logs\"\n[[step]]\nname = \"make\"\ncommand = [\"true\"]\n[transfer]\nmemory = \"128 MiB\"\n",
    );
    install(&world, &["--force"]).expect(0);
    let unit = read(&world, "s3backup.service");
    assert!(unit.contains("ReadWritePaths=-\"/srv/my logs\"\n"), "{unit}");
    assert!(
        unit.contains(&format!("ReadWritePaths=-{}\n", world.path("data").display())),
        "steps make data: {unit}"
    );
    assert!(
        !unit.contains("BACKUP_LOGGING__DIR") && !unit.contains("MemoryMax") && !unit.contains("MemoryDeny")
    );
}

#[test]
fn each_job_has_a_timer_of_its_own() {
    let world = world();
    let text =
        std::fs::read_to_string(world.path("backup.toml")).unwrap().replace("job = \"telemetry\"\n", "");
    world.configure_all(&format!("{text}\n[job.one]\nhost = \"gw-1\"\n[job.two]\nhost = \"gw-2\"\nschedule = {{ cron = \"@hourly\" }}\n"));
    install(&world, &["--units", "timer"]).expect(0);
    assert!(read(&world, "s3backup-run@one.timer").contains("20:30:00"));
    assert!(read(&world, "s3backup-run@two.timer").contains("OnCalendar=*-*-* *:00:00 Asia/Seoul"));
    let one = install(&world, &["--units", "timer", "--job", "one", "--dry-run", "--json"]).expect(0).json();
    assert_eq!(one["files"].as_array().unwrap().len(), 2);
    install(&world, &["--units", "monitor"]).expect(0);
    assert!(read(&world, "s3backup-monitor.service").contains("--quiet monitor"));
}

#[test]
fn enabling_runs_what_was_said() {
    let world = world();
    let bin = world.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let fake = bin.join("systemctl");
    std::fs::write(&fake, "#!/bin/sh\necho \"$@\" >> \"$HOME/said\"\n").unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let arguments = ["install", "systemd", "--user", "--units", "timer", "--enable"];
    let ended = Ended::of(&world.command(&arguments).env("PATH", path).output().unwrap());
    ended.expect(0);
    let said = std::fs::read_to_string(world.path("said")).unwrap();
    assert_eq!(said, "--user daemon-reload\n--user enable --now s3backup-run@telemetry.timer\n");
    let unit = std::fs::read_to_string(world.path(".config/systemd/user/s3backup-run@.service")).unwrap();
    assert!(
        !unit.contains("User=") && !unit.contains("ProtectSystem") && unit.contains("NoNewPrivileges=yes"),
        "{unit}"
    );
    assert!(!unit.contains("Its own user"), "what is said of a line goes with it: {unit}");
}

/// systemd's own judge of units and times.
fn systemd_analyze(arguments: &[&str]) -> Ended {
    let program = std::env::var_os("S3BACKUP_TEST_SYSTEMD_ANALYZE").unwrap_or_default();
    assert!(
        !program.is_empty(),
        "S3BACKUP_TEST_SYSTEMD_ANALYZE must name systemd-analyze; run the tests by `cargo xtask test`, which finds or installs it"
    );
    Ended::of(&Command::new(program).args(arguments).env("LC_ALL", "C").output().unwrap())
}

#[test]
fn systemd_understands_the_units() {
    let world = world();
    for units in ["daemon", "timer", "monitor"] {
        install(&world, &["--units", units]).expect(0);
    }
    let path = |name: &str| world.path("units").join(name).display().to_string();
    let names = [
        "s3backup.service",
        "s3backup-run@.service",
        "s3backup-run@telemetry.timer",
        "s3backup-monitor.service",
        "s3backup-monitor.timer",
    ];
    let paths = names.map(path);
    let arguments: Vec<&str> =
        ["verify", "--man=no"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let verified = systemd_analyze(&arguments);
    verified.expect(0);
    let ours: Vec<&str> = verified.err.lines().filter(|line| line.contains("s3backup")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    // Below 2 of 10 is what systemd calls OK at worst.
    for service in &paths[..2] {
        systemd_analyze(&["security", "--offline=true", "--threshold=20", service]).expect(0);
    }
}

#[test]
fn timers_elapse_when_the_job_is_due() {
    let from: DateTime<Utc> = "2026-11-28T00:00:00Z".parse().unwrap();
    let world = World::new();
    for cron in [
        "0 20 * * *",
        "*/20 6-8 * * *",
        "30 8-18/3 1,15 * *",
        "0 4 * JAN-MAR 7",
        "5 0 * * MON,WED",
        "@monthly",
    ] {
        world.configure(&format!("[schedule]\ncron = \"{cron}\"\n"));
        install(&world, &["--units", "timer", "--force"]).expect(0);
        let unit = read(&world, "s3backup-run@telemetry.timer");
        let calendar = unit.lines().find_map(|line| line.strip_prefix("OnCalendar=")).unwrap();
        let arguments = ["calendar", "--iterations=12", "--base-time=2026-11-28 00:00:00 UTC", calendar];
        let said = systemd_analyze(&arguments);
        // Iter. #2: Sun 2026-11-29 20:00:00 UTC
        let elapses = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [.., date, time, "UTC"] = words.as_slice() else { return None };
            format!("{date}T{time}Z").parse::<DateTime<Utc>>().ok()
        };
        let timer: Vec<DateTime<Utc>> = said.expect(0).out.lines().filter_map(elapses).collect();
        let schedule = Schedule::new(cron, chrono_tz::Tz::UTC).unwrap();
        let mut due = Vec::new();
        let mut at = from;
        while due.len() < 12 {
            at = schedule.next(at).unwrap().at;
            due.push(at);
        }
        assert_eq!(timer, due, "{cron} as {calendar}: {}", said.out);
    }
}

#[test]
fn the_units_of_the_documentation_are_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy/systemd");
    let count = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(count, 5, "each is written by some `--units`");
}
