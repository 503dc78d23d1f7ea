//! What may happen.

use proptest::prelude::*;

use crate::tree::{DIRECTORIES, MODES, NAMES};

/// A series that can still be read when it fails.
const MOST_STEPS: usize = 25;

/// Names, directories, modes and earlier states are given by their place.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write {
        name: usize,
        len: usize,
    },
    /// Other bytes of the same length.
    Rewrite {
        name: usize,
    },
    /// The same, and the old modification time again.
    RewriteInSecret {
        name: usize,
    },
    Append {
        name: usize,
    },
    Truncate {
        name: usize,
    },
    Touch {
        name: usize,
    },
    ChangeMode {
        name: usize,
        mode: usize,
    },
    Delete {
        name: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    RenameDirectory {
        from: usize,
        to: usize,
    },
    /// An earlier version of a file comes back with its modification time, as `cp -p` brings it.
    BringBack {
        name: usize,
        which: usize,
    },
    Run,
    /// A run of this machine that is told to keep no catalog.
    RunWithoutCatalog,
    /// On a server that misbehaves.
    RunAmongFaults {
        seed: u64,
    },
    /// Cancelled after so many events.
    Cancel {
        events: usize,
    },
    /// A run that ends as with a crash while it waits for the reply to this request, which was carried out or not.
    Kill {
        request: u64,
        is_carried_out: bool,
        keeps_catalog: bool,
    },
    LoseCatalog,
    /// `backup status --rebuild`.
    Rebuild,
    DamageCatalog {
        how: Damage,
    },
    /// Keeps a copy of the catalog, as a snapshot of the disk does.
    SaveCatalog,
    RollBackCatalog,
    SaveBucket,
    RollBackBucket,
    EmptyBucket,
    /// The manifests, the reports and all else that is no file.
    LoseControlData,
    /// An object is deleted, which a verification finds and marks.
    LoseObject {
        which: usize,
    },
    SetClockBack {
        minutes: i64,
    },
    Restore {
        which: usize,
        from: Place,
        directory: Option<usize>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    /// The file is no database any more.
    Garbage,
    /// The second half is missing.
    Half,
    /// A page in the midst was overwritten.
    Page,
}

/// Where a restore takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    /// A machine that knows nothing.
    Elsewhere,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..=MOST_STEPS)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![20 => change(), 14 => run(), 8 => accident(), 2 => restore()]
}

fn change() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let directory = || 0..DIRECTORIES.len();
    prop_oneof![
        6 => (name(), 0_usize..3000).prop_map(|(name, len)| Step::Write { name, len }),
        2 => name().prop_map(|name| Step::Rewrite { name }),
        2 => name().prop_map(|name| Step::RewriteInSecret { name }),
        1 => name().prop_map(|name| Step::Append { name }),
        1 => name().prop_map(|name| Step::Truncate { name }),
        1 => name().prop_map(|name| Step::Touch { name }),
        1 => (name(), 0..MODES.len()).prop_map(|(name, mode)| Step::ChangeMode { name, mode }),
        2 => name().prop_map(|name| Step::Delete { name }),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (directory(), directory()).prop_map(|(from, to)| Step::RenameDirectory { from, to }),
        4 => (name(), any::<usize>()).prop_map(|(name, which)| Step::BringBack { name, which }),
    ]
}

fn run() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Run),
        1 => Just(Step::RunWithoutCatalog),
        1 => any::<u64>().prop_map(|seed| Step::RunAmongFaults { seed }),
        1 => (0_usize..14).prop_map(|events| Step::Cancel { events }),
        5 => (1_u64..=16, any::<bool>(), prop::bool::weighted(0.8)).prop_map(
            |(request, is_carried_out, keeps_catalog)| Step::Kill { request, is_carried_out, keeps_catalog }
        ),
    ]
}

fn accident() -> impl Strategy<Value = Step> {
    let damage = prop_oneof![Just(Damage::Garbage), Just(Damage::Half), Just(Damage::Page)];
    prop_oneof![
        4 => Just(Step::LoseCatalog),
        1 => Just(Step::Rebuild),
        2 => damage.prop_map(|how| Step::DamageCatalog { how }),
        2 => Just(Step::SaveCatalog),
        2 => Just(Step::RollBackCatalog),
        1 => Just(Step::SaveBucket),
        1 => Just(Step::RollBackBucket),
        1 => Just(Step::EmptyBucket),
        1 => Just(Step::LoseControlData),
        1 => any::<usize>().prop_map(|which| Step::LoseObject { which }),
        1 => (1_i64..=600).prop_map(|minutes| Step::SetClockBack { minutes }),
    ]
}

fn restore() -> impl Strategy<Value = Step> {
    let place = prop_oneof![Just(Place::Here), Just(Place::Elsewhere)];
    let directory = prop::option::of(0..DIRECTORIES.len());
    (any::<usize>(), place, directory).prop_map(|(which, from, directory)| Step::Restore {
        which,
        from,
        directory,
    })
}
