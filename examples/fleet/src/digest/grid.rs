//! Where the fleet drove: time by cells of the earth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::point::Point;

/// The finest level: cells of about 38 m from south to north.
const FINEST: u8 = 20;

/// The most cells. If there are more, the level is coarser.
const MOST: usize = 12_288;

/// One cell of a grid: column and row, counted eastwards from 180 degrees west and northwards from the south pole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell(pub u32, pub u32);

/// Driving time by cell.
///
/// Both coordinates are cut into `2^level` pieces of 360 degrees. The level is the finest one, up to 20, at which the cells with
/// driving are at most 12,288. As a coarser level never has more cells, it depends only on where was driven, not on the order in
/// which it is added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct Grid {
    level: u8,
    cells_ms: BTreeMap<Cell, u64>,
}

impl Default for Grid {
    fn default() -> Self {
        Self { level: FINEST, cells_ms: BTreeMap::new() }
    }
}

impl Grid {
    /// The side of a cell, in degrees.
    pub fn side_deg(&self) -> f64 {
        360.0 / f64::from(1_u32 << self.level)
    }

    /// How many columns there are around the earth.
    pub fn columns(&self) -> u32 {
        1 << self.level
    }

    /// The cells with driving, and for how many milliseconds.
    pub fn cells_ms(&self) -> impl ExactSizeIterator<Item = (Cell, u64)> {
        self.cells_ms.iter().map(|(cell, time_ms)| (*cell, *time_ms))
    }

    /// Adds the driving time of another.
    pub fn merge(&mut self, other: &Self) {
        for (cell, time_ms) in &other.cells_ms {
            self.add(other.level, *cell, *time_ms);
        }
    }

    fn add(&mut self, level: u8, cell: Cell, time_ms: u64) {
        if time_ms == 0 {
            return;
        }
        if level < self.level {
            self.coarsen(self.level - level);
        }
        let sum = self.cells_ms.entry(cell.coarser(level - self.level)).or_default();
        *sum = sum.saturating_add(time_ms);
        while self.cells_ms.len() > MOST {
            self.coarsen(1);
        }
    }

    /// Makes cells of `2^levels` cells each way.
    fn coarsen(&mut self, levels: u8) {
        self.level -= levels;
        for (cell, time_ms) in std::mem::take(&mut self.cells_ms) {
            let sum = self.cells_ms.entry(cell.coarser(levels)).or_default();
            *sum = sum.saturating_add(time_ms);
        }
    }
}

impl Cell {
    fn of(point: &Point) -> Self {
        let finest = f64::from(1_u32 << FINEST);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` keeps to the range"
        )]
        let index = |deg: f64| ((deg / 360.0 * finest) as u32).min((1 << FINEST) - 1);
        Self(index(point.longitude_deg + 180.0), index(point.latitude_deg + 90.0))
    }

    fn coarser(self, levels: u8) -> Self {
        Self(self.0 >> levels, self.1 >> levels)
    }
}

/// Adds points that follow each other to a grid. Most are in the cell of the one before, which is cheap.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    grid: &'a mut Grid,
    cell: Cell,
    time_ms: u64,
}

impl<'a> Cells<'a> {
    pub(super) fn new(grid: &'a mut Grid) -> Self {
        Self { grid, cell: Cell(0, 0), time_ms: 0 }
    }

    pub(super) fn add(&mut self, point: &Point, time_ms: u64) {
        let cell = Cell::of(point);
        if cell != self.cell {
            self.grid.add(FINEST, self.cell, self.time_ms);
            self.cell = cell;
            self.time_ms = 0;
        }
        self.time_ms = self.time_ms.saturating_add(time_ms);
    }
}

impl Drop for Cells<'_> {
    fn drop(&mut self) {
        self.grid.add(FINEST, self.cell, self.time_ms);
    }
}

/// A grid in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    level: u8,
    cells_ms: Vec<(Cell, u64)>,
}

impl From<Grid> for File {
    fn from(grid: Grid) -> Self {
        Self { level: grid.level, cells_ms: grid.cells_ms.into_iter().collect() }
    }
}

impl TryFrom<File> for Grid {
    type Error = &'static str;

    fn try_from(file: File) -> Result<Self, Self::Error> {
        let columns = 1_u32.checked_shl(file.level.into()).filter(|_| file.level <= FINEST);
        let columns = columns.ok_or("a grid that is finer than any")?;
        if file.cells_ms.len() > MOST {
            return Err("a grid of more cells than one has");
        }
        if file.cells_ms.iter().any(|(cell, _)| cell.0 >= columns || cell.1 >= columns) {
            return Err("a cell outside of its grid");
        }
        Ok(Self { level: file.level, cells_ms: file.cells_ms.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(latitude_deg: f64, longitude_deg: f64) -> Point {
        Point {
            time_ms: 0,
            latitude_deg,
            longitude_deg,
            speed_mps: 10.0,
            heading_deg: None,
            road: None,
            line: 1,
        }
    }

    fn grid<'a>(points: impl IntoIterator<Item = &'a (f64, f64)>) -> Grid {
        let mut grid = Grid::default();
        let mut cells = Cells::new(&mut grid);
        for (latitude_deg, longitude_deg) in points {
            cells.add(&point(*latitude_deg, *longitude_deg), 1000);
        }
        drop(cells);
        grid
    }

    fn total(grid: &Grid) -> u64 {
        grid.cells_ms().map(|(_, time_ms)| time_ms).sum()
    }

    #[test]
    fn the_poles_and_the_date_line_are_in_it() {
        let grid = grid(&[(90.0, 180.0), (-90.0, -180.0), (0.0, 0.0), (90.0, -180.0)]);
        assert_eq!(total(&grid), 4000);
        assert!(grid.cells_ms().all(|(cell, _)| cell.0 < grid.columns() && cell.1 <= grid.columns() / 2));
        assert_eq!(Grid::try_from(File::from(grid.clone())), Ok(grid));
    }

    #[test]
    fn a_file_of_others_is_bounded() {
        for file in [
            File { level: 21, cells_ms: vec![] },
            File { level: 255, cells_ms: vec![] },
            File { level: 1, cells_ms: vec![(Cell(2, 0), 1)] },
            File { level: 20, cells_ms: vec![(Cell(1, 1), 1); MOST + 1] },
        ] {
            assert!(Grid::try_from(file).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn order_and_parts_do_not_matter(
            near in prop::collection::vec((37.0..37.6, 126.8..127.4), 5_000..20_000),
            far in prop::collection::vec((-90.0..90.0, -180.0..180.0), 0..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let points: Vec<(f64, f64)> = near.into_iter().chain(far).collect();
            let whole = grid(&points);
            prop_assert!(whole.cells_ms().len() <= MOST);
            prop_assert_eq!(total(&whole), points.len() as u64 * 1000);
            prop_assert_eq!(&grid(points.iter().rev()), &whole);
            let (first, second) = points.split_at(cut.index(points.len()));
            let (first, second) = (grid(first), grid(second));
            let mut merged = first.clone();
            merged.merge(&second);
            prop_assert_eq!(&merged, &whole);
            let mut merged = second;
            merged.merge(&first);
            prop_assert_eq!(&merged, &whole);
        }
    }
}
