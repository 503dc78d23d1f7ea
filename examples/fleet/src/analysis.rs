//! All that is made of one trip.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::aside::{Aside, Rule};
use crate::clean::clean;
use crate::figures::Figures;
use crate::files::Found;
use crate::limits::Limits;
use crate::ordered::said;
use crate::overspeed::overspeed;
use crate::rapid::rapid;
use crate::read::read;
use crate::settings::Settings;
use crate::trip::{Trip, TripFile};

/// Reads a trip, cleans it, finds its events and sums it up. Depends on nothing but the file and the settings, and never fails: what is wrong
/// is among [`Trip::aside`].
///
/// A fault in this program that shows only with this file costs this file alone: it is set aside as [`Rule::Defect`].
pub fn analyse(found: Found, settings: &Settings, limits: &Limits) -> Trip {
    let Found { file, unreadable } = found;
    if let Some(why) = unreadable {
        return set_aside(file, Rule::Unreadable, why, settings);
    }
    let whole = catch_unwind(AssertUnwindSafe(|| of_file(file.clone(), settings, limits)));
    whole.unwrap_or_else(|panic| {
        let why =
            format!("the program broke on this file ({}), which is a fault in it: report it", said(&*panic));
        set_aside(file, Rule::Defect, why, settings)
    })
}

fn of_file(file: TripFile, settings: &Settings, limits: &Limits) -> Trip {
    let read = read(&file, &settings.read);
    let cleaned = clean(read.points, file.day, settings.timezone, &settings.clean);
    let points = cleaned.points;
    let mut aside = read.aside;
    aside.extend(cleaned.aside);
    aside.sort_by_key(|aside| (aside.line, aside.rule));
    let overspeed = overspeed(&points, &limits.of(&file.vehicle), &settings.overspeed);
    let rapid = rapid(&points, &settings.rapid);
    let figures = Figures::of_trip(&points, &overspeed, &rapid, &aside, cleaned.late, &settings.figures);
    Trip { file, points, aside, overspeed, rapid, figures }
}

/// A file of which nothing can be used.
fn set_aside(file: TripFile, rule: Rule, detail: String, settings: &Settings) -> Trip {
    let aside = vec![Aside::file(rule, detail)];
    let figures = Figures::of_trip(&[], &[], &[], &aside, 0, &settings.figures);
    Trip { file, points: Vec::new(), aside, overspeed: Vec::new(), rapid: Vec::new(), figures }
}
