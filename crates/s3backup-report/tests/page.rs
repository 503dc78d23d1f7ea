//! What the page says, and that what it is given stays text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests end with what they find"
)]

mod sample;

use s3backup_model::{FailureKind, Outcome};
use s3backup_report::{JobPage, Page, Running, render};

/// The headline of the verdict on one job.
fn verdict(job: JobPage) -> String {
    let html = render(&Page { jobs: vec![job], ..sample::unknown() });
    let (_, rest) = html.split_once("<div class=\"verdict ").unwrap();
    let (_, rest) = rest.split_once("<strong>").unwrap();
    rest.split_once("</strong>").unwrap().0.to_owned()
}

fn well(change: impl FnOnce(&mut JobPage)) -> JobPage {
    let mut job = sample::well();
    change(&mut job);
    job
}

#[test]
fn the_worst_that_is_true_is_the_verdict() {
    let [telemetry, camera, maps] = sample::fleet().jobs.try_into().unwrap();
    assert_eq!(verdict(telemetry), "All is in the bucket");
    assert_eq!(verdict(maps.clone()), "Late since 2026-11-27 21:00");
    assert_eq!(verdict(camera.clone()), "Running");
    let mut overdue = JobPage { late_since: maps.late_since, ..camera };
    assert!(!overdue.is_late());
    assert_eq!(verdict(overdue.clone()), "Running", "it may still bring the success");
    overdue.running = overdue.running.map(|running| Running { progress: None, ..running });
    assert_eq!(verdict(overdue), "Late since 2026-11-27 21:00", "nobody knows whether it goes on");

    let partial = well(|job| (job.runs[0].outcome, job.runs[0].failed_total) = (Outcome::Partial, 12));
    assert_eq!(verdict(partial), "12 files not in the bucket");
    assert_eq!(verdict(well(|job| job.runs[0].outcome = Outcome::Partial)), "A step did not succeed");
    assert_eq!(
        verdict(well(|job| job.runs[0].outcome = Outcome::Interrupted)),
        "The last run was interrupted"
    );
    let failed = well(|job| {
        (job.runs[0].outcome, job.runs[0].fatal) = (Outcome::Failed, Some(FailureKind::SourceMissing));
    });
    assert_eq!(verdict(failed), "The last run failed: source missing");
    let differs = well(|job| job.verified.as_mut().unwrap().differ = 1);
    assert_eq!(verdict(differs), "1 object is not as expected");
    let trouble = well(|job| job.troubles = maps.troubles);
    assert!(verdict(trouble).starts_with("Backup maps on gateway-1 is late"));
    assert_eq!(verdict(sample::unknown().jobs.remove(0)), "No run has ended yet");
}

#[test]
fn a_page_of_any_job_is_whole_and_what_is_hostile_is_text() {
    for page in [
        sample::fleet(),
        sample::hostile(),
        sample::unknown(),
        Page { jobs: Vec::new(), ..sample::unknown() },
    ] {
        let html = render(&page);
        assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>"));
        assert_eq!(html.contains("http-equiv=\"refresh\""), page.live);
        for forbidden in ["<script", "<img", "onerror=alert(1)> ", "\0", "\u{1b}", "\u{202e}", " style="] {
            assert!(!html.contains(forbidden), "{forbidden:?}");
        }
        assert_eq!(html.matches("<section").count(), html.matches("</section>").count());
        assert_eq!(html.matches("</style>").count(), 1);
    }
    assert!(render(&sample::hostile()).contains("\\u{202e}gpj.exe\\u{0}\\u{1b}[2J"));
}
