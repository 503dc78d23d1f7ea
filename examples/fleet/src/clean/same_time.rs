//! Of several points of one time, one stays.

use super::{in_order, sift as sift_points};
use crate::aside::{Aside, Rule};
use crate::geo::distance_m;
use crate::point::Point;

/// Of points, in order, that say the same, the one of the first line stays.
pub(super) fn sift_duplicates(points: &mut Vec<Point>, aside: &mut Vec<Aside>) {
    let mut last: Option<Point> = None;
    sift_points(points, aside, Rule::Duplicate, |point| {
        if let Some(last) = last.filter(|last| in_order(last, point).is_eq()) {
            return Some(format!("the same as line {}", last.line));
        }
        last = Some(*point);
        None
    });
}

/// Of the points of one time that one stays that lies best on the way from the point before to the one after.
pub(super) fn sift(points: &mut Vec<Point>, aside: &mut Vec<Aside>) {
    if points.is_sorted_by(|a, b| a.time_ms < b.time_ms) {
        return;
    }
    let mut kept: Vec<Point> = Vec::with_capacity(points.len());
    let mut rest = points.as_slice();
    for group in points.chunk_by(|a, b| a.time_ms == b.time_ms) {
        rest = rest.get(group.len()..).unwrap_or_default();
        let before = kept.last().copied();
        let way_m = |point: &Point| {
            let to_m = before.map_or(0.0, |before| distance_m(&before, point));
            to_m + rest.first().map_or(0.0, |after| distance_m(point, after))
        };
        let best = group.iter().enumerate().min_by(|(_, a), (_, b)| way_m(a).total_cmp(&way_m(b)));
        let Some((best_at, best)) = best else { continue };
        for (_, point) in group.iter().enumerate().filter(|(at, _)| *at != best_at) {
            let detail = format!("line {} has the same time, and lies better on the way", best.line);
            aside.push(Aside::point(Rule::SameTime, *point, detail));
        }
        kept.push(*best);
    }
    *points = kept;
}
