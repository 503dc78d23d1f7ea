//! Which objects and which control data go: pure functions.

use std::collections::BTreeSet;

use s3backup_catalog::VersionRow;
use s3backup_model::RunId;
use serde::{Deserialize, Serialize};

/// What the last prune that went through its objects left behind: what no run in `kept` referred to, and had ended by
/// `until`, is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Swept {
    pub(crate) kept: BTreeSet<RunId>,
    pub(crate) until: RunId,
}

/// What becomes of an object, or of one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is the object of a file that is in its source, or was when it was last looked.
    IsCurrent,
    /// This run is kept and refers to it.
    IsNeededBy(RunId),
    /// An earlier prune removed it.
    WasSwept,
    /// Nothing that is kept refers to it since this run.
    Goes { since: RunId },
}

/// Decides about one version. `is_in_state` says whether the state as it is now may refer to it, which counts whatever the
/// manifests say: the last run may have been killed before it wrote any.
pub(crate) fn fate(
    kept: &BTreeSet<RunId>,
    swept: Option<&Swept>,
    version: &VersionRow,
    is_in_state: bool,
) -> Fate {
    let Some(ended) = version.ended_run.as_ref().filter(|_| !is_in_state) else { return Fate::IsCurrent };
    if let Some(run) = needed_by(kept, &version.put_run, ended) {
        return Fate::IsNeededBy(run.clone());
    }
    match swept {
        Some(swept) if *ended <= swept.until && needed_by(&swept.kept, &version.put_run, ended).is_none() => {
            Fate::WasSwept
        }
        _ => Fate::Goes { since: ended.clone() },
    }
}

/// The first of the runs that refers to what was put by one run and had ended by another.
fn needed_by<'a>(kept: &'a BTreeSet<RunId>, put: &RunId, ended: &RunId) -> Option<&'a RunId> {
    // A range whose end is before its start is a panic.
    if put >= ended { None } else { kept.range(put..ended).next() }
}

/// Control data of one run that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldRun {
    pub(crate) id: RunId,
    /// Its snapshot.
    pub(crate) snapshot: bool,
    /// Its report and its manifest.
    pub(crate) record: bool,
}

/// Which control data goes, in the order in which it must: newest first, so that at each moment what is left is a history
/// without a gap from its beginning, or from a snapshot.
///
/// `base` is the newest snapshot that is not newer than the oldest run that is kept. The state after every run from there
/// on is made of it and of the manifests behind it; without one, everything is needed.
pub(crate) fn old_runs(
    records: &BTreeSet<RunId>,
    snapshots: &BTreeSet<RunId>,
    kept: &BTreeSet<RunId>,
    base: Option<&RunId>,
) -> Vec<OldRun> {
    let Some(base) = base.filter(|base| kept.first().is_some_and(|oldest| *base <= oldest)) else {
        return Vec::new();
    };
    let all: BTreeSet<&RunId> = records.range(..=base).chain(snapshots.range(..=base)).collect();
    all.into_iter()
        .rev()
        .filter(|id| !kept.contains(id))
        .map(|id| OldRun {
            id: id.clone(),
            snapshot: id != base && snapshots.contains(id),
            record: records.contains(id),
        })
        .filter(|old| old.snapshot || old.record)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;
    use s3backup_catalog::Catalog;
    use s3backup_model::Key;
    use s3backup_model::manifest::{Line, Op};

    fn run(number: usize) -> RunId {
        RunId::new(DateTime::from_timestamp(1_795_431_600 + i64::try_from(number).unwrap(), 0).unwrap(), 1)
    }

    fn runs(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<RunId> {
        numbers.into_iter().map(run).collect()
    }

    fn version(put: usize, ended: Option<usize>) -> VersionRow {
        VersionRow {
            key: Key::new("k").unwrap(),
            version_id: Some("v".to_owned()),
            etag: "e".to_owned(),
            size: 1,
            put_run: run(put),
            ended_run: ended.map(run),
        }
    }

    #[test]
    fn a_version_is_needed_from_the_run_that_put_it_to_the_one_before_it_ended() {
        let goes = |since| Fate::Goes { since: run(since) };
        for (put, ended, is_in_state, expected) in [
            (1, None, false, Fate::IsCurrent),
            (1, Some(2), true, Fate::IsCurrent),
            (1, Some(5), false, goes(5)),
            (1, Some(6), false, Fate::IsNeededBy(run(5))),
            (5, Some(6), false, Fate::IsNeededBy(run(5))),
            (6, Some(9), false, goes(9)),
            (6, Some(10), false, Fate::IsNeededBy(run(9))),
            (10, Some(11), false, goes(11)),
            (7, Some(7), false, goes(7)),
        ] {
            assert_eq!(
                fate(&runs([5, 9]), None, &version(put, ended), is_in_state),
                expected,
                "{put} {ended:?}"
            );
        }
    }

    #[test]
    fn what_an_earlier_prune_removed_is_not_removed_again() {
        let swept = Swept { kept: runs([5, 9]), until: run(9) };
        let again = |put, ended| fate(&runs([9]), Some(&swept), &version(put, Some(ended)), false);
        assert_eq!(again(1, 5), Fate::WasSwept);
        assert_eq!(again(1, 6), Fate::Goes { since: run(6) }, "the run 5 was kept then");
        assert_eq!(again(7, 8), Fate::WasSwept);
        let later = fate(&runs([12]), Some(&swept), &version(10, Some(11)), false);
        assert_eq!(later, Fate::Goes { since: run(11) }, "it had not ended then");
    }

    #[test]
    fn control_data_goes_up_to_a_snapshot_that_the_oldest_kept_run_begins_at_or_behind() {
        let records = runs(0..10);
        let old = |snapshots: &[usize], kept: &[usize], base: Option<usize>| {
            let snapshots = runs(snapshots.iter().copied());
            let base = base.map(run);
            let old = old_runs(&records, &snapshots, &runs(kept.iter().copied()), base.as_ref());
            let number = |id: &RunId| (0..10).find(|number| run(*number) == *id).unwrap();
            old.iter().map(|old| (number(&old.id), old.snapshot, old.record)).collect::<Vec<_>>()
        };
        assert_eq!(old(&[], &[5], None), []);
        assert_eq!(old(&[7], &[5], Some(7)), [], "a snapshot that is too new covers nothing");
        assert_eq!(
            old(&[1, 3], &[5, 9], Some(3)),
            [(3, false, true), (2, false, true), (1, true, true), (0, false, true)],
        );
        assert_eq!(old(&[1], &[1], Some(1)), [(0, false, true)], "a kept run keeps its report");
    }

    /// What a bucket did: at each run, files are put, replaced, removed and brought back.
    #[derive(Clone, Debug)]
    enum Change {
        Put(usize),
        Gone(usize),
        Back(usize),
    }

    fn any_history() -> impl Strategy<Value = Vec<Vec<Change>>> {
        let change = (0..4_usize).prop_flat_map(|file| {
            prop_oneof![3 => Just(Change::Put(file)), 2 => Just(Change::Gone(file)), 1 => Just(Change::Back(file))]
        });
        proptest::collection::vec(proptest::collection::vec(change, 0..4), 1..12)
    }

    /// A version of a file: its key, and its id where the bucket has versions.
    type Object = (String, Option<String>, String);

    /// Plays the changes; gives the lines of each run, and the state after each run.
    fn play(history: &[Vec<Change>], versioned: bool) -> (Vec<Vec<Line>>, Vec<BTreeSet<Object>>) {
        let (mut present, mut last) = (BTreeMap::<usize, Object>::new(), BTreeMap::<usize, Object>::new());
        let (mut lines, mut states, mut count) = (Vec::new(), Vec::new(), 0);
        for changes in history {
            let mut of_run = Vec::new();
            let mut touched = BTreeSet::new();
            for change in changes {
                let (Change::Put(file) | Change::Gone(file) | Change::Back(file)) = change;
                // A run looks at each file once.
                if !touched.insert(*file) {
                    continue;
                }
                let (op, object) = match change {
                    Change::Put(_) => {
                        count += 1;
                        let id = versioned.then(|| format!("v{count}"));
                        (Op::Put, (format!("k{file}"), id, format!("e{count}")))
                    }
                    Change::Gone(_) => match present.remove(file) {
                        Some(object) => (Op::Gone, object),
                        None => continue,
                    },
                    Change::Back(_) => match last.get(file).filter(|_| !present.contains_key(file)) {
                        Some(object) => (Op::Meta, object.clone()),
                        None => continue,
                    },
                };
                if op != Op::Gone {
                    present.insert(*file, object.clone());
                    last.insert(*file, object.clone());
                }
                of_run.push(line(op, &object));
            }
            lines.push(of_run);
            states.push(present.values().cloned().collect());
        }
        (lines, states)
    }

    fn line(op: Op, (key, version_id, etag): &Object) -> Line {
        Line {
            op,
            path: format!("/data/{key}"),
            key: Key::new(key).unwrap(),
            size: 1,
            mtime_ns: 0,
            mode: 0o100_644,
            crc64nvme: String::new(),
            stored_size: 1,
            stored_checksum: None,
            etag: etag.clone(),
            version_id: version_id.clone(),
            encoding: "none".to_owned(),
            run: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Against a slow reference that writes the state after each run down in full: nothing goes that the state after a
        /// kept run or the newest state has, and where no file came back, everything else does.
        #[test]
        fn what_kept_runs_refer_to_survives(history in any_history(), chosen in any::<u16>(), versioned: bool) {
            let (lines, states) = play(&history, versioned);
            let newest = states.len() - 1;
            let kept: Vec<usize> =
                (0..=newest).filter(|number| *number == newest || chosen >> number & 1 == 1).collect();
            let mut catalog = Catalog::temporary().unwrap();
            let destination = catalog.destination("", "b", "p").unwrap();
            for (number, lines) in lines.iter().enumerate() {
                catalog.note_versions(&run(number), lines).unwrap();
            }
            let needed: BTreeSet<&Object> = kept.iter().flat_map(|number| &states[*number]).collect();
            let ever: BTreeSet<Object> = lines
                .iter()
                .flatten()
                .map(|line| (line.key.to_string(), line.version_id.clone(), line.etag.clone()))
                .collect();
            let kept = runs(kept);
            let mut gone = BTreeSet::new();
            for (version, is_in_state) in catalog.ended_versions(destination, None, 1000).unwrap() {
                let object = (version.key.to_string(), version.version_id.clone(), version.etag.clone());
                match fate(&kept, None, &version, is_in_state) {
                    Fate::Goes { .. } => {
                        prop_assert!(!needed.contains(&object), "{object:?} is needed");
                        gone.insert(object);
                    }
                    other => prop_assert!(matches!(other, Fate::IsNeededBy(_)), "{other:?}"),
                }
            }
            let has_returns = lines.iter().flatten().any(|line| line.op == Op::Meta);
            if !has_returns && versioned {
                let rest: BTreeSet<Object> = ever.into_iter().filter(|object| !needed.contains(object)).collect();
                prop_assert_eq!(gone, rest);
            }
        }

        /// After each deletion of control data, in its order, the state after every kept run is still what it was.
        #[test]
        fn control_data_that_is_left_still_tells_of_every_kept_run(
            history in any_history(), chosen in any::<u16>(), snapshots in any::<u16>(),
        ) {
            let (lines, states) = play(&history, true);
            let newest = states.len() - 1;
            let pick = |bits: u16| (0..=newest).filter(move |number| bits >> number & 1 == 1);
            let kept = runs(pick(chosen).chain([newest]));
            let mut snapshots = runs(pick(snapshots));
            let mut records = runs(0..=newest);
            let base = snapshots.range(..=kept.first().unwrap().clone()).next_back().cloned();
            for old in old_runs(&records.clone(), &snapshots.clone(), &kept, base.as_ref()) {
                if old.snapshot {
                    snapshots.remove(&old.id);
                }
                if old.record {
                    records.remove(&old.id);
                }
                for (number, state) in states.iter().enumerate().filter(|(number, _)| kept.contains(&run(*number))) {
                    // As a reader does it: the newest snapshot that is not newer, and the manifests behind it.
                    let from = (0..=number).rev().find(|number| snapshots.contains(&run(*number)));
                    let mut read = from.map_or_else(BTreeSet::new, |from| states[from].clone());
                    for number in (from.map_or(0, |from| from + 1)..=number).filter(|number| records.contains(&run(*number))) {
                        for line in &lines[number] {
                            read.retain(|(key, ..)| key != line.key.as_str());
                            if line.op != Op::Gone {
                                read.insert((line.key.to_string(), line.version_id.clone(), line.etag.clone()));
                            }
                        }
                    }
                    prop_assert_eq!(&read, state);
                }
            }
        }
    }
}
