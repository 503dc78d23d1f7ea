//! Ways in which a daily backup dies: of each people hear when the run ends, once, and again when it is over.

use std::time::Duration;

use s3backup_core::options::Schedule;
use s3backup_core::{Backup, Outcome, ScheduleOptions};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::audience::Audience;
use crate::bench::soon;
use crate::memory::success;

struct Drill {
    what: &'static str,
    /// How it is broken.
    breaks: fn(&Audience) -> Backup,
    /// What the first line that is told says.
    told: &'static str,
}

const DRILLS: &[Drill] = &[
    Drill {
        what: "wrong credentials",
        breaks: |world| {
            let destination = world.evenings.bench.destination().credentials("nobody", "wrong");
            world.builder().destination(destination).build().unwrap()
        },
        told: "post :x: Backup telemetry on gw-1 failed: credentials",
    },
    Drill {
        what: "a token that expires in the middle of the run",
        breaks: |world| {
            let expired =
                Fault::new(FaultKind::ExpiredToken).on(Operation::PutObject).key_contains("trips/new");
            world.evenings.bench.server.faults().add(expired);
            world.backup()
        },
        told: "post :x: Backup telemetry on gw-1 failed: credentials",
    },
    Drill {
        what: "no such bucket",
        breaks: |world| {
            let mut gone = world.evenings.bench.destination();
            "no-such-bucket".clone_into(&mut gone.bucket);
            world.builder().destination(gone).build().unwrap()
        },
        told: "post :x: Backup telemetry on gw-1 failed: bucket",
    },
    Drill {
        what: "one prefix is denied",
        breaks: |world| {
            let denied =
                Fault::new(FaultKind::AccessDenied).on(Operation::PutObject).key_contains("trips/new");
            world.evenings.bench.server.faults().add(denied);
            world.backup()
        },
        told: "post :warning: Backup telemetry on gw-1: 1 file not backed up",
    },
    Drill {
        what: "the source is missing",
        breaks: |world| {
            let backup = world.backup();
            std::fs::remove_dir_all(world.evenings.bench.data()).unwrap();
            backup
        },
        told: "post :x: Backup telemetry on gw-1 failed: source missing",
    },
    Drill {
        what: "the source is empty",
        breaks: |world| {
            let data = world.evenings.bench.data();
            std::fs::remove_dir_all(&data).unwrap();
            std::fs::create_dir(data).unwrap();
            world.backup()
        },
        told: "post :x: Backup telemetry on gw-1 failed: source empty",
    },
    Drill {
        what: "the network is gone",
        breaks: |world| {
            let nowhere = world.evenings.bench.destination().endpoint("http://127.0.0.1:9");
            world.builder().destination(nowhere).build().unwrap()
        },
        told: "post :x: Backup telemetry on gw-1 failed: network",
    },
    Drill {
        what: "the server hangs",
        breaks: |world| {
            let hangs = Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/new");
            world.evenings.bench.server.faults().add(hangs);
            let schedule = Schedule::new("0 20 * * *", chrono_tz::Asia::Seoul).unwrap();
            let mut options = ScheduleOptions::new(schedule);
            options.max_runtime = Duration::from_secs(1);
            world.builder().schedule(options).build().unwrap()
        },
        told: "post :x: Backup telemetry on gw-1 was interrupted",
    },
    Drill {
        what: "the state directory cannot be used",
        breaks: |world| {
            let file = world.evenings.bench.dir("elsewhere").join("a-file");
            std::fs::write(&file, "").unwrap();
            world.builder().state_dir(file).build().unwrap()
        },
        told: "post :x: Backup telemetry on gw-1 failed: catalog",
    },
];

#[tokio::test]
async fn whatever_makes_a_run_fail_is_told_when_it_ends_and_so_is_its_end() {
    for Drill { what, breaks, told } in DRILLS {
        let world = Audience::new().await;
        world.evenings.bench.file("new", "x");
        world.at("2026-11-20 20:00");
        let report = soon(breaks(&world).run()).await;
        assert!(report.is_err() || report.is_ok_and(|report| report.outcome != Outcome::Success), "{what}");
        let said = world.told();
        assert_eq!(said.iter().map(String::as_str).collect::<Vec<_>>(), [*told], "{what}");
        assert!(!world.newest().contains("xoxb-hush"));

        world.evenings.bench.server.faults().clear();
        world.evenings.bench.file("new", "x");
        world.at("2026-11-20 21:30");
        success(&world.backup()).await;
        let said = world.told_since(1);
        let last = said.last().unwrap();
        if *what == "the state directory cannot be used" {
            // What could not be remembered is not over either, but late.
            assert!(last.contains("recovered"), "{what}: {said:?}");
            continue;
        }
        assert!(said[0].starts_with("update 1 :large_green_circle: Over after 1h 30m"), "{what}: {said:?}");
        assert!(
            last.contains("post :large_green_circle: Backup telemetry on gw-1 recovered after 1h 30m"),
            "{what}: {said:?}"
        );
        assert_eq!(said.len(), 2, "{what}: {said:?}");
    }
}
