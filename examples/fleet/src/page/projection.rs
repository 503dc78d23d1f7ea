//! From degrees to places on the drawing.

use crate::digest::{Cell, Grid};

/// A degree of latitude, in metres: the mean of the meridian.
const METRES_PER_DEGREE: f64 = 111_133.0;

/// The width of the map, and the least and the greatest height, in units of the drawing.
pub(super) const WIDTH: f64 = 960.0;
const HEIGHTS: (f64, f64) = (380.0, 620.0);

/// Room around what is shown, as a share of it.
const MARGIN: f64 = 0.06;

/// The smallest extent that is shown, in degrees of latitude: about 2 km.
const LEAST_DEG: f64 = 0.02;

/// The share of the driving time at each side that may be left out if the rest is then shown larger.
const OUTLIERS: f64 = 0.01;

/// By how much larger it must be.
const WORTH: f64 = 3.0;

/// The equidistant cylindrical projection, true to scale at the latitude in the middle of the map and along all meridians (J. P.
/// Snyder, "Map Projections: A Working Manual", USGS Professional Paper 1395, 1987, pages 90 and 91). Cells of degrees are
/// rectangles in it, and over a country the scale differs by a few per cent at most.
///
/// Longitudes count from the middle of the map the short way round, so that a fleet on both sides of the date line is one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Projection {
    middle_deg: (f64, f64),
    /// Units of the drawing for a degree of latitude, and of longitude.
    scale: (f64, f64),
    /// The height of the drawing.
    pub(super) height: f64,
}

impl Projection {
    /// The one that shows where the fleet drove; `None` if it did not.
    pub(super) fn of(grid: &Grid) -> Option<Self> {
        let start = start(grid)?;
        let columns = grid.columns();
        let eastwards = |cell: Cell| f64::from(cell.0.wrapping_sub(start) & (columns - 1));
        let east = Extent::of(grid.cells_ms().map(|(cell, time_ms)| (eastwards(cell), time_ms)).collect())?;
        let north =
            Extent::of(grid.cells_ms().map(|(cell, time_ms)| (f64::from(cell.1), time_ms)).collect())?;
        let side = grid.side_deg();
        let is_worth = east.is_worth() || north.is_worth();
        let (west, width) = east.shown(is_worth);
        let (south, height) = north.shown(is_worth);
        let middle_latitude = (south + height / 2.0) * side - 90.0;
        let middle_longitude = (f64::from(start) + west + width / 2.0) * side - 180.0;
        // So near a pole nothing is to be seen anyway.
        let narrowing = middle_latitude.clamp(-85.0, 85.0).to_radians().cos();
        let margin = 1.0 + 2.0 * MARGIN;
        let (wide, tall) = (width * side * narrowing * margin, (height * side * margin).max(LEAST_DEG));
        let scale = (WIDTH / wide.max(LEAST_DEG)).min(HEIGHTS.1 / tall);
        Some(Self {
            middle_deg: (middle_latitude, middle_longitude),
            scale: (scale, scale * narrowing),
            height: (tall * scale).clamp(HEIGHTS.0, HEIGHTS.1),
        })
    }

    /// Where a point is on the drawing, from the left and from the top.
    pub(super) fn place(&self, latitude_deg: f64, longitude_deg: f64) -> (f64, f64) {
        let east = (longitude_deg - self.middle_deg.1 + 180.0).rem_euclid(360.0) - 180.0;
        (
            WIDTH / 2.0 + east * self.scale.1,
            self.height / 2.0 - (latitude_deg - self.middle_deg.0) * self.scale.0,
        )
    }

    /// Where the middle of the western edge of a cell is.
    pub(super) fn place_of(&self, column: u32, row: u32, side_deg: f64) -> (f64, f64) {
        self.place((f64::from(row) + 0.5) * side_deg - 90.0, f64::from(column) * side_deg - 180.0)
    }

    /// Whether a place, with some room around it, is on the drawing.
    pub(super) fn shows(&self, (x, y): (f64, f64), room: f64) -> bool {
        (-room..=WIDTH + room).contains(&x) && (-room..=self.height + room).contains(&y)
    }

    /// The latitudes, or longitudes, of the edges of the drawing; the second is above the first.
    pub(super) fn latitudes(&self) -> (f64, f64) {
        let half = self.height / 2.0 / self.scale.0;
        ((self.middle_deg.0 - half).max(-90.0), (self.middle_deg.0 + half).min(90.0))
    }

    /// The same of the longitudes, which may go beyond 180 degrees.
    pub(super) fn longitudes(&self) -> (f64, f64) {
        let half = (WIDTH / 2.0 / self.scale.1).min(180.0);
        (self.middle_deg.1 - half, self.middle_deg.1 + half)
    }

    /// The size of a cell, across and down.
    pub(super) fn cell(&self, side_deg: f64) -> (f64, f64) {
        (side_deg * self.scale.1, side_deg * self.scale.0)
    }

    /// How many units of the drawing are a metre.
    pub(super) fn units_per_metre(&self) -> f64 {
        self.scale.0 / METRES_PER_DEGREE
    }

    /// How wide a cell is on the ground, in metres from south to north.
    pub(super) fn metres(side_deg: f64) -> f64 {
        side_deg * METRES_PER_DEGREE
    }
}

/// The column after the widest strip of the earth without driving: there the map begins in the west.
fn start(grid: &Grid) -> Option<u32> {
    // The cells come by column.
    let mut columns: Vec<u32> = grid.cells_ms().map(|(cell, _)| cell.0).collect();
    columns.dedup();
    let mut before = *columns.last()?;
    let gaps = columns.into_iter().map(|column| {
        let gap = column.wrapping_sub(before).wrapping_sub(1) & (grid.columns() - 1);
        before = column;
        (gap, column)
    });
    // Of two of one width the first, so that it is always the same.
    gaps.reduce(|widest, gap| if gap.0 > widest.0 { gap } else { widest }).map(|(_, column)| column)
}

/// How far the cells reach in one direction.
#[derive(Debug)]
struct Extent {
    all: (f64, f64),
    most: (f64, f64),
}

impl Extent {
    fn of(mut weights: Vec<(f64, u64)>) -> Option<Self> {
        weights.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = weights.iter().map(|(_, time_ms)| *time_ms as f64).sum();
        let mut below = 0.0;
        let mut most: Option<(f64, f64)> = None;
        for (at, time_ms) in &weights {
            below += *time_ms as f64;
            if below > total * OUTLIERS && below - *time_ms as f64 <= total * (1.0 - OUTLIERS) {
                most = Some((most.map_or(*at, |most| most.0), at + 1.0));
            }
        }
        let all = (weights.first()?.0, weights.last()?.0 + 1.0);
        Some(Self { all, most: most.unwrap_or(all) })
    }

    fn is_worth(&self) -> bool {
        self.all.1 - self.all.0 > WORTH * (self.most.1 - self.most.0)
    }

    /// Where it begins, and how wide it is.
    fn shown(&self, without_outliers: bool) -> (f64, f64) {
        let (from, to) = if without_outliers { self.most } else { self.all };
        (from, to - from)
    }
}
