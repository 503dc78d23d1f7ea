//! The map: driving time as a grid, zones as outlines, events as marks. It is drawn from the data alone, without a ground from the net.

mod frame;
mod outlines;
mod shades;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use s3backup_core::report::human;

use crate::digest::{Cell, Digest, Top};
use crate::figures::EventKind;
use crate::zones::Zones;

use super::projection::{Projection, WIDTH};
use super::words;
use shades::Shades;

/// The map with its legend; empty if nothing was driven.
pub(super) fn figure(digest: &Digest, zones: &Zones) -> String {
    let Some(projection) = Projection::of(&digest.grid) else { return String::new() };
    let Some(shades) = Shades::new(&digest.grid) else { return String::new() };
    let mut out = String::with_capacity(128 << 10);
    out.push_str("<figure class=\"map\">");
    legend(&mut out, digest, zones);
    let _ = write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"Map of where the fleet drove. The most severe events are in the table below.\"><rect class=\"ground\" width=\"100%\" height=\"100%\"/>",
        projection.height
    );
    let outside_ms = cells(&mut out, digest, &projection, &shades);
    frame::graticule(&mut out, &projection);
    let zones_left_out = outlines::draw(&mut out, &projection, zones);
    marks(&mut out, digest, &projection);
    frame::furniture(&mut out, &projection);
    out.push_str("</svg><figcaption>");
    shades.legend(&mut out, &digest.grid);
    if outside_ms > 0 {
        let share = words::percent(outside_ms, digest.total.driving_ms);
        let _ = write!(out, " {share} of the driving time is outside of this map.");
    }
    if zones_left_out {
        out.push_str(" Not all zones are drawn, as they are too many.");
    }
    out.push_str("</figcaption></figure>");
    out
}

/// The kinds of events, each with a switch that shows or hides its marks.
fn legend(out: &mut String, digest: &Digest, zones: &Zones) {
    out.push_str("<div class=\"legend\">");
    for kind in EventKind::ALL {
        let (class, title) = (words::class(kind), words::kind(kind));
        let shown = digest.events.get(&kind).map_or(0, Top::len);
        let all = digest.total.events.of(kind);
        let count = match all {
            all if all > shown as u64 => {
                format!("the worst {shown} of {}", human::count(all))
            }
            all => all.to_string(),
        };
        let _ = write!(
            out,
            "<label><input type=\"checkbox\" class=\"show-{class}\" checked><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\"><path class=\"mark {class}\" d=\"{}\"/></svg>{title} <small>{count}</small></label>",
            words::sign(kind)
        );
    }
    let outlines = zones.outlines().count();
    if outlines > 0 {
        let _ = write!(
            out,
            "<span><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\"><path class=\"zone\" d=\"M-6-5H6V5H-6z\"/></svg>Zone with a limit <small>{}</small></span>",
            human::count(outlines as u64)
        );
    }
    out.push_str("</div>");
}

/// Draws the cells, and says how much driving is outside of the drawing.
///
/// A row of cells of one shade is one line as thick as a cell is tall, which takes the fewest bytes.
fn cells(out: &mut String, digest: &Digest, projection: &Projection, shades: &Shades) -> u64 {
    let side = digest.grid.side_deg();
    let (wide, tall) = projection.cell(side);
    let mut outside_ms: u64 = 0;
    // By shade and row, where each line begins and how many cells it is long.
    let mut drawn = BTreeMap::<u32, BTreeMap<u32, Vec<(u32, u32)>>>::new();
    for (Cell(column, row), time_ms) in digest.grid.cells_ms() {
        if !projection.shows(projection.place_of(column, row, side), wide.max(tall)) {
            outside_ms = outside_ms.saturating_add(time_ms);
            continue;
        }
        let lines = drawn.entry(shades.of(time_ms)).or_default().entry(row).or_default();
        match lines.last_mut() {
            Some((first, cells)) if *first + *cells == column => *cells += 1,
            _ => lines.push((column, 1)),
        }
    }
    // A cell that is too small to be seen is drawn larger, and each one a little, so that no ground shows between two.
    let thick = (tall + 0.4).max(1.5);
    for (shade, rows) in drawn {
        let _ = write!(out, "<path class=\"cell h{shade}\" stroke-width=\"{thick:.2}\" d=\"");
        for (row, lines) in rows {
            for (column, cells) in lines {
                let (x, y) = projection.place_of(column, row, side);
                let _ = write!(out, "M{x:.1} {y:.1}h{:.1}", (f64::from(cells) * wide + 0.4).max(1.5));
            }
        }
        out.push_str("\"/>");
    }
    outside_ms
}

/// Draws the events, the most severe ones above the others.
fn marks(out: &mut String, digest: &Digest, projection: &Projection) {
    for kind in EventKind::ALL {
        let class = words::class(kind);
        let _ = write!(out, "<g class=\"marks-{class}\">");
        let events: Vec<_> = digest.events.get(&kind).into_iter().flat_map(Top::iter).collect();
        for event in events.into_iter().rev() {
            let degrees = |e7: i32| f64::from(e7) / 1e7;
            let (x, y) = projection.place(degrees(event.latitude_e7), degrees(event.longitude_e7));
            if projection.shows((x, y), 0.0) {
                let _ = write!(
                    out,
                    "<g transform=\"translate({x:.1} {y:.1})\"><path class=\"mark {class}\" d=\"{}\"/><title>{}: {}, {}, {}</title></g>",
                    words::sign(kind),
                    words::kind(kind),
                    words::strength(event),
                    words::name(&event.vehicle),
                    words::clock(event.start_ms, digest.timezone)
                );
            }
        }
        out.push_str("</g>");
    }
}
