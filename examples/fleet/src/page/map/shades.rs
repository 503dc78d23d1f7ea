//! How dark a cell of the map is.

use std::fmt::Write as _;

use crate::digest::Grid;
use crate::page::projection::Projection;
use crate::page::words;

/// The shades, from hardly driven to most.
const COUNT: u32 = 7;

/// The share of the cells that are at least as light, or as dark, as the ends of the scale.
const ENDS: f64 = 0.02;

/// Which shade a cell has: the logarithm of its driving time, as a few streets have most of it.
pub(super) struct Shades {
    least_ms: f64,
    most_ms: f64,
}

impl Shades {
    pub(super) fn new(grid: &Grid) -> Option<Self> {
        let mut times_ms: Vec<u64> = grid.cells_ms().map(|(_, time_ms)| time_ms).collect();
        times_ms.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
        let at = |share: f64| times_ms.get((share * (times_ms.len().max(1) - 1) as f64) as usize).copied();
        Some(Self { least_ms: at(ENDS)? as f64, most_ms: at(1.0 - ENDS)? as f64 })
    }

    pub(super) fn of(&self, time_ms: u64) -> u32 {
        let height = (time_ms as f64 / self.least_ms).ln() / (self.most_ms / self.least_ms).ln();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` keeps to the range"
        )]
        let shade = (height * f64::from(COUNT)) as u32;
        shade.min(COUNT - 1)
    }

    pub(super) fn legend(&self, out: &mut String, grid: &Grid) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time span for a person"
        )]
        let (least, most) = (words::hours(self.least_ms as u64), words::hours(self.most_ms as u64));
        let _ = write!(
            out,
            "<span class=\"ramp\">{least}<svg viewBox=\"0 0 {} 12\" aria-hidden=\"true\">",
            COUNT * 18
        );
        for shade in 0..COUNT {
            let _ =
                write!(out, "<path class=\"cell h{shade}\" stroke-width=\"12\" d=\"M{} 6h18\"/>", shade * 18);
        }
        let metres = Projection::metres(grid.side_deg());
        let _ = write!(out, "</svg>{most}</span> of driving in a cell, {metres:.0} m from south to north.");
    }
}
