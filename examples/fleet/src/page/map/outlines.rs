//! The zones on the map.

use std::fmt::Write as _;

use crate::page::projection::Projection;
use crate::page::words;
use crate::zones::Zones;

/// The most bytes of all outlines.
const MOST_BYTES: usize = 60 << 10;

/// Draws the zones as far as there is room; whether some were left out.
pub(super) fn draw(out: &mut String, projection: &Projection, zones: &Zones) -> bool {
    let mut left_out = false;
    let end = out.len() + MOST_BYTES;
    for (name, limit_mps, rings) in zones.outlines() {
        let mut path = String::new();
        let mut is_seen = false;
        for ring in rings {
            let mut before = None;
            for [longitude, latitude] in ring {
                let (x, y) = projection.place(*latitude, *longitude);
                is_seen |= projection.shows((x, y), 0.0);
                // Corners that are one on the drawing are drawn once.
                let place = (x.round(), y.round());
                if before.replace(place) == Some(place) {
                    continue;
                }
                let begin = if path.is_empty() || path.ends_with('Z') { "M" } else { "L" };
                let _ = write!(path, "{begin}{:.0} {:.0}", place.0, place.1);
                if path.len() > MOST_BYTES {
                    break;
                }
            }
            if !path.is_empty() {
                path.push('Z');
            }
        }
        if !is_seen {
            continue;
        }
        if out.len() + path.len() > end {
            left_out = true;
            continue;
        }
        let _ = write!(
            out,
            "<path class=\"zone\" d=\"{path}\"><title>Zone {}: {}</title></path>",
            words::name(name),
            words::kmh(limit_mps)
        );
    }
    left_out
}
