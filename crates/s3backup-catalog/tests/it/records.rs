//! Runs, due times and uploads.

use chrono::NaiveDate;
use s3backup_catalog::{BegunUpload, DueRow, Error, RunRow, Telling, UploadRow};
use s3backup_model::{DueRef, DueState, FailureKind, FileStat, Outcome, RunSummary, Tally, Trigger};

use crate::common::{at, key, run, scratch};

fn summary(seconds: i64) -> RunSummary {
    RunSummary {
        run_id: run(seconds),
        trigger: Trigger::CatchUp,
        outcome: Outcome::Partial,
        started_at: at(seconds).fixed_offset(),
        finished_at: at(seconds + 5).fixed_offset(),
        found: Tally { files: 3, bytes: 30 },
        uploaded: Tally { files: 2, bytes: 20 },
        failed_total: 1,
        fatal: Some(FailureKind::Guard),
        due: vec![DueRef { at: at(0).fixed_offset(), state: DueState::Partial }],
    }
}

#[test]
fn runs_come_newest_first_and_a_killed_one_has_no_summary() {
    let (mut catalog, destination, _) = scratch();
    let other = catalog.destination("", "other", "").unwrap();
    catalog.begin_run(destination, &run(1), at(1), &Telling::default()).unwrap();
    catalog.begin_run(destination, &run(2), at(2), &Telling::default()).unwrap();
    catalog.end_run(destination, &summary(1), &Telling::default()).unwrap();
    catalog.begin_run(destination, &run(1), at(9), &Telling::default()).unwrap();
    catalog.end_run(destination, &summary(0), &Telling::default()).unwrap();
    let row = |seconds, summary| RunRow { run: run(seconds), started_at: at(seconds), summary };
    let all = [row(2, None), row(1, Some(summary(1))), row(0, Some(summary(0)))];
    assert_eq!(catalog.runs(destination, 9).unwrap(), all);
    assert_eq!(catalog.runs(destination, 1).unwrap(), all[..1]);
    assert_eq!(catalog.runs(other, 9).unwrap(), []);
}

#[test]
fn only_the_newest_runs_are_remembered() {
    let (mut catalog, destination, _) = scratch();
    for seconds in 0..4003 {
        catalog.end_run(destination, &summary(seconds), &Telling::default()).unwrap();
    }
    let runs = catalog.runs(destination, 9999).unwrap();
    assert_eq!((runs.len(), &runs[0].run, &runs[3999].run), (4000, &run(4002), &run(3)));
}

fn due(seconds: i64, state: DueState) -> DueRow {
    DueRow {
        at: at(seconds),
        local_date: NaiveDate::from_ymd_opt(2026, 11, 24).unwrap(),
        timezone: "Asia/Seoul".to_owned(),
        state,
        run: None,
    }
}

#[test]
fn due_times_keep_what_they_were_made_with() {
    let (mut catalog, ..) = scratch();
    assert_eq!(catalog.last_due().unwrap(), None);
    let rows = [
        due(0, DueState::Met),
        due(10, DueState::Missed),
        due(20, DueState::Partial),
        due(30, DueState::CaughtUp),
        due(40, DueState::Missed),
    ];
    catalog.add_due(&rows).unwrap();
    let mut moved = due(10, DueState::Met);
    moved.timezone = "Europe/Paris".to_owned();
    catalog.add_due(&[moved]).unwrap();
    assert_eq!(catalog.last_due().unwrap().as_ref(), Some(&rows[4]));
    assert_eq!(catalog.due_in(at(10), at(30), 9).unwrap(), [rows[2].clone(), rows[1].clone()]);
    assert_eq!(catalog.due_in(at(0), at(99), 1).unwrap(), rows[4..]);
    assert_eq!(catalog.open_due(at(40), 9).unwrap(), [rows[1].clone(), rows[2].clone(), rows[4].clone()]);
    assert_eq!(catalog.open_due(at(40), 2).unwrap(), [rows[2].clone(), rows[4].clone()]);
    assert_eq!(catalog.open_due(at(39), 9).unwrap(), rows[1..3]);

    catalog.set_due(&[at(10), at(20), at(77)], DueState::CaughtUp, &run(50)).unwrap();
    assert_eq!(catalog.open_due(at(99), 9).unwrap(), rows[4..]);
    let set = catalog.due_in(at(10), at(11), 9).unwrap().remove(0);
    assert_eq!(set, DueRow { state: DueState::CaughtUp, run: Some(run(50)), ..rows[1].clone() });
}

#[test]
fn an_upload_is_noted_before_it_begins_and_until_it_ends() {
    let (mut catalog, destination, _) = scratch();
    let begun = BegunUpload {
        upload_id: "u-1".to_owned(),
        part_size: 8 << 20,
        stat: FileStat { size: 99, mtime_ns: 1, ctime_ns: 2, mode: 0o100_644, inode: u64::MAX, device: 1 },
        checksum: "crc64nvme".to_owned(),
    };
    let (a, b) = (key("p/a"), key("p/b"));
    assert!(matches!(catalog.upload_began(destination, &a, &begun), Err(Error::NoUpload { .. })));
    assert!(matches!(catalog.touch_upload(destination, &a, &run(0)), Err(Error::NoUpload { .. })));
    catalog.intend_upload(destination, &b, &run(0), at(0)).unwrap();
    catalog.intend_upload(destination, &a, &run(0), at(1)).unwrap();
    catalog.upload_began(destination, &a, &begun).unwrap();
    catalog.touch_upload(destination, &a, &run(5)).unwrap();
    let row_a = UploadRow { key: a.clone(), run: run(5), intended_at: at(1), begun: Some(begun.clone()) };
    let row_b = UploadRow { key: b.clone(), run: run(0), intended_at: at(0), begun: None };
    assert_eq!(catalog.open_upload(destination, &a).unwrap().as_ref(), Some(&row_a));
    assert_eq!(catalog.open_uploads(destination, None, 9).unwrap(), [row_a.clone(), row_b.clone()]);
    assert_eq!(catalog.open_uploads(destination, None, 1).unwrap(), [row_a]);
    assert_eq!(catalog.open_uploads(destination, Some(&a), 9).unwrap(), [row_b]);

    // A new intent stands for an upload of which nothing is known yet.
    catalog.intend_upload(destination, &a, &run(6), at(2)).unwrap();
    assert_eq!(catalog.open_upload(destination, &a).unwrap().unwrap().begun, None);
    let too_large = BegunUpload { part_size: u64::MAX, ..begun };
    assert!(matches!(catalog.upload_began(destination, &a, &too_large), Err(Error::Refused { .. })));
    catalog.upload_ended(destination, &a).unwrap();
    catalog.upload_ended(destination, &a).unwrap();
    assert_eq!(catalog.open_upload(destination, &a).unwrap(), None);
    let other = catalog.destination("", "other", "").unwrap();
    assert_eq!(catalog.open_uploads(other, None, 9).unwrap(), []);
}
