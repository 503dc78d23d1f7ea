//! The one report of a run that many workers shared: what the plan says, and what became of each shard. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, FixedOffset};
use s3backup_model::{
    Failure, Fatal, ManifestRef, Outcome, PlannedShard, RunId, RunReport, ShardResult, Tally,
};

use crate::due;
use crate::record::{MAX_WARNINGS, left_out};

/// What is known of a run so far. It grows with the number of shards, not with that of their files.
#[derive(Clone, Debug)]
pub(crate) struct Merge {
    report: RunReport,
    /// Of the shards, in their order: what the plan lists comes first.
    manifests: BTreeMap<u32, Vec<ManifestRef>>,
    /// Of the shards, each once.
    warnings: BTreeSet<String>,
}

impl Merge {
    /// Begins with what the plan knows.
    pub(crate) fn new(plan: RunReport) -> Self {
        Self { report: plan, manifests: BTreeMap::new(), warnings: BTreeSet::new() }
    }

    /// Adds what became of a shard. In which order shards are added makes no difference.
    pub(crate) fn add(&mut self, shard: u32, part: RunReport) {
        let report = &mut self.report;
        let (mine, theirs) = (&mut report.uploaded, part.uploaded);
        mine.files = mine.files.saturating_add(theirs.files);
        mine.bytes = mine.bytes.saturating_add(theirs.bytes);
        mine.wire_bytes = mine.wire_bytes.saturating_add(theirs.wire_bytes);
        let (mine, theirs) = (&mut report.unchanged, part.unchanged);
        mine.files = mine.files.saturating_add(theirs.files);
        mine.bytes = mine.bytes.saturating_add(theirs.bytes);
        report.retries = report.retries.saturating_add(part.retries);
        report.resumed_parts = report.resumed_parts.saturating_add(part.resumed_parts);
        report.failed_total = report.failed_total.saturating_add(part.failed_total);
        report.failed.extend(part.failed);
        report.failed.sort_by(|one, other| order(one).cmp(&order(other)));
        report.failed.truncate(RunReport::MAX_FAILED);
        self.warnings.extend(part.warnings);
        self.manifests.insert(shard, part.manifests);
    }

    /// Ends the run now. `fatal` is why it fails as a whole, where the plan has not failed already.
    pub(crate) fn end(self, now: DateTime<FixedOffset>, fatal: Option<Fatal>) -> RunReport {
        let Self { mut report, manifests, warnings } = self;
        report.manifests.extend(manifests.into_values().flatten());
        let new = warnings.into_iter().filter(|warning| !report.warnings.contains(warning));
        let new: Vec<String> = new.collect();
        report.warnings.extend(new);
        let more = report.warnings.len().saturating_sub(MAX_WARNINGS);
        report.warnings.truncate(MAX_WARNINGS);
        report.warnings.extend(left_out(more as u64));
        report.fatal = report.fatal.or(fatal);
        report.outcome = outcome(&report);
        report.due = due::settled(report.due, report.outcome);
        report.finished_at = now;
        let millis = u64::try_from((now - report.started_at).num_milliseconds()).unwrap_or_default();
        report.duration_s = millis as f64 / 1000.0;
        let rate = u128::from(report.uploaded.bytes) * 1000 / u128::from(millis.max(1));
        report.bytes_per_s = u64::try_from(rate).unwrap_or(u64::MAX);
        report
    }
}

/// Failures by path: with each of them, the first of all shards are always the same.
fn order(failure: &Failure) -> (&str, &str, &str, u32) {
    (&failure.path, failure.kind.as_str(), &failure.message, failure.attempts)
}

fn outcome(report: &RunReport) -> Outcome {
    if report.fatal.is_some() {
        Outcome::Failed
    } else if report.failed_total > 0 || report.steps.iter().any(|step| step.state.is_lost()) {
        Outcome::Partial
    } else {
        Outcome::Success
    }
}

/// Whether a result is what it says: of this shard of this run.
///
/// # Errors
/// What it is instead, for a person.
pub(crate) fn check_origin(run: &RunId, shard: u32, result: &ShardResult) -> Result<(), String> {
    for named in [&result.run_id, &result.report.run_id] {
        if named != run {
            return Err(format!("its result is of another run, {named}"));
        }
    }
    if result.shard != shard {
        return Err(format!("its result is of shard {}", result.shard));
    }
    Ok(())
}

/// Whether a shard is done: something is said of each of its files.
///
/// # Errors
/// What is the matter with it, for a person.
pub(crate) fn check_end(planned: &PlannedShard, report: &RunReport) -> Result<(), String> {
    match report.outcome {
        Outcome::Success | Outcome::Partial => {}
        Outcome::Interrupted => return Err("it was interrupted".to_owned()),
        Outcome::Failed => {
            let why = report.fatal.as_ref().map_or("it does not say why", |fatal| &fatal.message);
            return Err(format!("it failed: {why}"));
        }
    }
    let Tally { files, .. } = planned.files;
    let ended = [report.uploaded.files, report.unchanged.files, report.failed_total]
        .into_iter()
        .try_fold(0_u64, u64::checked_add);
    if ended != Some(files) {
        return Err(format!(
            "it has {files} files, and its result tells of {} uploaded, {} already there and {} failed",
            report.uploaded.files, report.unchanged.files, report.failed_total
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, Utc};
    use proptest::prelude::*;
    use s3backup_model::{DueRef, DueState, FailureKind, Key, Name, StepReport, StepState, Uploaded};

    fn at(second: i64) -> DateTime<FixedOffset> {
        DateTime::<Utc>::from_timestamp(1_795_431_600 + second, 0).unwrap().fixed_offset()
    }

    fn run() -> RunId {
        RunId::new(at(0).to_utc(), 1)
    }

    fn blank() -> RunReport {
        serde_json::from_value(serde_json::json!({
            "schema": 1, "version": "1", "run_id": run(), "job": Name::new("j").unwrap(), "host": Name::new("h").unwrap(),
            "destination": "s3://b", "trigger": "manual", "outcome": "success", "started_at": at(0), "finished_at": at(0),
            "found": Tally::default(), "uploaded": Uploaded::default(), "unchanged": Tally::default(),
            "skipped": s3backup_model::Skipped::default(), "failed": [], "failed_total": 0, "retries": 0, "resumed_parts": 0,
            "duration_s": 0.0, "bytes_per_s": 0, "warnings": [],
        }))
        .unwrap()
    }

    fn failure(path: &str) -> Failure {
        let message = "it cannot be read".to_owned();
        Failure { path: path.to_owned(), kind: FailureKind::Unreadable, message, attempts: 1 }
    }

    fn segment(name: &str) -> ManifestRef {
        ManifestRef { key: Key::new(name).unwrap(), lines: 1, crc64nvme: String::new() }
    }

    /// A shard of so many files of ten bytes: uploaded, already there, failed.
    fn part(shard: u32, uploaded: u64, unchanged: u64, failed: u64, warnings: &[u8]) -> RunReport {
        RunReport {
            uploaded: Uploaded { files: uploaded, bytes: uploaded * 10, wire_bytes: uploaded * 11 },
            unchanged: Tally { files: unchanged, bytes: unchanged * 10 },
            failed: (0..failed).map(|number| failure(&format!("/{shard}/{number}"))).collect(),
            failed_total: failed,
            retries: uploaded,
            resumed_parts: unchanged,
            warnings: warnings.iter().map(|number| format!("warning {number}")).collect(),
            manifests: vec![segment(&format!("m/{shard}-a-0")), segment(&format!("m/{shard}-a-1"))],
            outcome: if failed > 0 { Outcome::Partial } else { Outcome::Success },
            ..blank()
        }
    }

    fn any_parts() -> impl Strategy<Value = Vec<(u32, RunReport)>> {
        let one = (0..50_u64, 0..50_u64, 0..600_u64, proptest::collection::vec(0..90_u8, 0..8));
        proptest::collection::vec(one, 0..6).prop_map(|parts| {
            (0..)
                .zip(parts)
                .map(|(shard, (uploaded, unchanged, failed, warnings))| {
                    (shard, part(shard, uploaded, unchanged, failed, &warnings))
                })
                .collect()
        })
    }

    fn merged(plan: &RunReport, parts: impl Iterator<Item = (u32, RunReport)>) -> RunReport {
        let mut merge = Merge::new(plan.clone());
        parts.for_each(|(shard, part)| merge.add(shard, part));
        merge.end(at(20), None)
    }

    proptest! {
        #[test]
        fn the_order_of_shards_makes_no_difference_and_sums_balance(
            parts in any_parts(), known in 0..100_u64, refused in 0..100_u64, turn in 0..6_usize,
        ) {
            let of_parts: u64 = parts.iter()
                .map(|(_, part)| part.uploaded.files + part.unchanged.files + part.failed_total).sum();
            let plan = RunReport {
                found: Tally { files: of_parts + known + refused, bytes: 1 },
                unchanged: Tally { files: known, bytes: known * 10 },
                failed: (0..refused).map(|number| failure(&format!("/x/{number}"))).collect(),
                failed_total: refused,
                manifests: vec![segment("m/0")],
                ..blank()
            };
            let report = merged(&plan, parts.iter().cloned());
            prop_assert_eq!(
                report.found.files, report.uploaded.files + report.unchanged.files + report.failed_total
            );
            prop_assert_eq!(report.failed.len() as u64, report.failed_total.min(1000));
            prop_assert_eq!(report.outcome == Outcome::Success, report.failed_total == 0);
            prop_assert_eq!(report.manifests.len(), 1 + 2 * parts.len());
            prop_assert_eq!(&report.manifests[0], &segment("m/0"));
            prop_assert_eq!(report.bytes_per_s, report.uploaded.bytes / 20);
            for (shard, part) in &parts {
                prop_assert_eq!(check_end(&PlannedShard {
                    files: Tally { files: part.uploaded.files + part.unchanged.files + part.failed_total, bytes: 0 },
                    lists: Vec::new(),
                }, part), Ok(()), "{}", shard);
            }
            prop_assert_eq!(&merged(&plan, parts.iter().rev().cloned()), &report);
            let turn = turn % parts.len().max(1);
            let turned = parts[turn..].iter().chain(&parts[..turn]).cloned();
            prop_assert_eq!(merged(&plan, turned), report);
        }
    }

    #[test]
    fn the_worst_of_what_happened_is_the_outcome_and_settles_the_due_times() {
        let due = |state| DueRef { at: at(-3600), state };
        let step = |state| StepReport { name: "s".to_owned(), state, duration_s: 0.0, message: None };
        let plan = RunReport { due: vec![due(DueState::Missed)], ..blank() };
        let ended = |plan: &RunReport, failed, fatal| {
            let mut merge = Merge::new(plan.clone());
            merge.add(0, part(0, 1, 0, failed, &[]));
            let report = merge.end(at(1), fatal);
            (report.outcome, report.due[0].state)
        };
        assert_eq!(ended(&plan, 0, None), (Outcome::Success, DueState::Met));
        assert_eq!(ended(&plan, 1, None), (Outcome::Partial, DueState::Partial));
        let lost = RunReport { steps: vec![step(StepState::Ok), step(StepState::TimedOut)], ..plan.clone() };
        assert_eq!(ended(&lost, 0, None), (Outcome::Partial, DueState::Partial));
        let fatal = Fatal { kind: FailureKind::Incomplete, message: "given up".to_owned() };
        assert_eq!(ended(&plan, 0, Some(fatal.clone())), (Outcome::Failed, DueState::Missed));
        let missing = Fatal { kind: FailureKind::SourceMissing, message: "no disk".to_owned() };
        let failed = RunReport { fatal: Some(missing.clone()), ..plan };
        assert_eq!(ended(&failed, 0, None), (Outcome::Failed, DueState::Missed));
        assert_eq!(Merge::new(failed).end(at(1), Some(fatal)).fatal, Some(missing), "the first reason stays");
    }

    #[test]
    fn what_the_plan_was_told_is_said_and_workers_have_no_say() {
        let facts = |value: &str| vec![s3backup_model::Fact::new("Distance", value).unwrap()];
        let mut merge = Merge::new(RunReport { facts: facts("12,345 km"), ..blank() });
        merge.add(0, RunReport { facts: facts("1 km"), ..part(0, 1, 0, 0, &[]) });
        assert_eq!(merge.end(at(1), None).facts, facts("12,345 km"));
    }

    #[test]
    fn a_clock_that_was_set_back_and_numbers_beyond_all_measure_are_no_defect() {
        let mut merge = Merge::new(blank());
        let huge = Uploaded { files: u64::MAX, bytes: u64::MAX, wire_bytes: u64::MAX };
        for shard in 0..2 {
            merge.add(shard, RunReport { uploaded: huge, failed_total: u64::MAX, ..blank() });
        }
        let report = merge.end(at(0) - TimeDelta::hours(1), None);
        assert_eq!((report.duration_s, report.uploaded), (0.0, huge));
        let planned = PlannedShard { files: Tally { files: u64::MAX, bytes: 0 }, lists: Vec::new() };
        assert!(check_end(&planned, &RunReport { failed_total: 1, uploaded: huge, ..blank() }).is_err());
    }

    #[test]
    fn warnings_are_kept_once_and_are_bounded() {
        let numbers: Vec<u8> = (0..120).collect();
        let mut merge = Merge::new(RunReport { warnings: vec!["warning 7".to_owned()], ..blank() });
        merge.add(0, part(0, 0, 0, 0, &numbers));
        merge.add(1, part(1, 0, 0, 0, &numbers));
        let warnings = merge.end(at(1), None).warnings;
        assert_eq!(warnings.len(), MAX_WARNINGS + 1);
        assert_eq!(warnings[0], "warning 7");
        assert_eq!(warnings[MAX_WARNINGS], "and 20 more warnings, which are in the log");
    }

    #[test]
    fn a_shard_that_is_not_done_or_not_itself_says_what_is_the_matter() {
        let planned = PlannedShard { files: Tally { files: 3, bytes: 30 }, lists: Vec::new() };
        let done = part(0, 1, 1, 1, &[]);
        assert_eq!(check_end(&planned, &done), Ok(()));
        let interrupted = RunReport { outcome: Outcome::Interrupted, ..done.clone() };
        assert_eq!(check_end(&planned, &interrupted), Err("it was interrupted".to_owned()));
        let fatal = Fatal { kind: FailureKind::Bucket, message: "no such bucket".to_owned() };
        let failed = RunReport { outcome: Outcome::Failed, fatal: Some(fatal), ..done.clone() };
        assert_eq!(check_end(&planned, &failed), Err("it failed: no such bucket".to_owned()));
        let short = check_end(&planned, &part(0, 1, 1, 0, &[])).unwrap_err();
        assert_eq!(short, "it has 3 files, and its result tells of 1 uploaded, 1 already there and 0 failed");

        let result = ShardResult { schema: 1, min_reader: 1, run_id: run(), shard: 4, report: done };
        assert_eq!(check_origin(&run(), 4, &result), Ok(()));
        assert_eq!(check_origin(&run(), 3, &result), Err("its result is of shard 4".to_owned()));
        let other = RunId::new(at(9).to_utc(), 1);
        assert!(check_origin(&other, 4, &result).unwrap_err().contains("of another run"));
        let foreign = ShardResult { report: RunReport { run_id: other, ..result.report.clone() }, ..result };
        assert!(check_origin(&run(), 4, &foreign).unwrap_err().contains("of another run"));
    }
}
