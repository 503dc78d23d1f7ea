//! Points that no vehicle could have come to.

use super::{CleanSettings, sift as sift_points};
use crate::aside::{Aside, Rule};
use crate::geo::distance_m;
use crate::point::Point;

/// How many points back a way over a wrong point is looked for.
const RECENT: usize = 16;
/// How many points after which the positions jump are kept in mind, those with the longest way behind them: so many wrong places one after the
/// other can a trip have before it comes back.
const MAX_ENDS: usize = 64;

/// Keeps the longest way on which no vehicle would have to be faster than it can from one point to the next, and sets the points beside it
/// aside. So one wrong point or several in a row are recognised, at the beginning and at the end of a trip too, and what was driven during
/// a pause is none: then there was time for it.
pub(super) fn sift(points: &mut Vec<Point>, aside: &mut Vec<Aside>, settings: &CleanSettings) {
    let reach = Reach {
        max_speed_mps: settings.max_speed_kmh / 3.6,
        // Both positions may be off, to opposite sides.
        error_m: 2.0 * settings.position_error_m,
    };
    if points.array_windows().all(|[from, to]| reach.connects(from, to)) {
        return;
    }
    let mut on_way = longest_way(points, &reach).into_iter();
    let mut last: Option<Point> = None;
    sift_points(points, aside, Rule::Teleport, |point| {
        if on_way.next().unwrap_or(true) {
            last = Some(*point);
            return None;
        }
        Some(match &last {
            None => "no vehicle comes from here to the points after it in that time".to_owned(),
            Some(from) => format!(
                "{:.0} m from line {} after {} ms, and no vehicle comes from there to here, and on to the points after it, in that time",
                distance_m(from, point),
                from.line,
                point.time_ms.saturating_sub(from.time_ms)
            ),
        })
    });
}

/// How far a vehicle may come.
struct Reach {
    max_speed_mps: f64,
    error_m: f64,
}

impl Reach {
    /// Whether a vehicle may have been at the one point and then at the other: at the highest speed of a vehicle or, if the points say
    /// that it was faster, at that one.
    fn connects(&self, from: &Point, to: &Point) -> bool {
        let speed_mps = self.max_speed_mps.max(from.speed_mps).max(to.speed_mps);
        let time_s = to.time_ms.saturating_sub(from.time_ms) as f64 / 1_000.0;
        distance_m(from, to) <= speed_mps * time_s + self.error_m
    }
}

/// The best way that ends at a point.
#[derive(Clone, Copy)]
struct Way {
    points: usize,
    before: Option<usize>,
}

/// Which points are on the longest way. Takes at most `RECENT + MAX_ENDS` steps for each point.
fn longest_way(points: &[Point], reach: &Reach) -> Vec<bool> {
    let mut ways: Vec<Way> = Vec::with_capacity(points.len());
    let mut ends: Vec<usize> = Vec::new();
    for (at, point) in points.iter().enumerate() {
        let mut way = Way { points: 1, before: None };
        let recent = (at.saturating_sub(RECENT)..at).rev();
        for before in recent.chain(ends.iter().copied()) {
            let (Some(from), Some(so_far)) = (points.get(before), ways.get(before)) else { continue };
            if so_far.points >= way.points && reach.connects(from, point) {
                way = Way { points: so_far.points + 1, before: Some(before) };
            }
        }
        ways.push(way);
        let jumps = at
            .checked_sub(1)
            .and_then(|before| points.get(before))
            .is_some_and(|from| !reach.connects(from, point));
        if jumps {
            ends.push(at - 1);
            if ends.len() > MAX_ENDS {
                let shortest = (0..ends.len())
                    .min_by_key(|end| ends.get(*end).and_then(|at| ways.get(*at)).map(|way| way.points));
                ends.swap_remove(shortest.unwrap_or_default());
            }
        }
    }
    let mut on_way = vec![false; points.len()];
    // Of ways of the same length the one that ends first.
    let mut at = (0..ways.len()).rev().max_by_key(|at| ways.get(*at).map(|way| way.points));
    while let Some(on) = at {
        if let Some(is_on) = on_way.get_mut(on) {
            *is_on = true;
        }
        at = ways.get(on).and_then(|way| way.before);
    }
    on_way
}
