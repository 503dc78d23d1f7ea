//! The position of a vehicle that stands wanders by the errors of the receiver, which adds up to a way that nobody drove.

use super::{CleanSettings, sift as sift_points};
use crate::aside::{Aside, Rule};
use crate::geo::distance_m;
use crate::point::Point;

/// A standstill goes on as long as points say that the vehicle stands, and lie within the error of a position from the first of them.
/// Its first and its last point stay, and of those between the ones that have exactly the position of the first: a vehicle whose position
/// does not wander loses nothing. A point further away begins another standstill, so that a vehicle that moves while its
/// recorded speed is stuck at nothing keeps its way.
pub(super) fn sift(points: &mut Vec<Point>, aside: &mut Vec<Aside>, settings: &CleanSettings) {
    let highest_mps = settings.standstill_speed_kmh / 3.6;
    let stands = |point: &Point| point.speed_mps <= highest_mps;
    let mut wanders = vec![false; points.len()];
    let mut rest = points.as_slice();
    let mut flags = wanders.as_mut_slice();
    while let Some(first) = rest.first() {
        let is_of_it =
            |point: &&Point| stands(point) && distance_m(first, point) <= settings.position_error_m;
        let length = rest.iter().take_while(is_of_it).count().max(1);
        let (standstill, after) = rest.split_at(length);
        let (these, flags_after) = std::mem::take(&mut flags).split_at_mut(length);
        if let ([_, between @ .., _], [_, flags @ .., _]) = (standstill, these) {
            for (point, wanders) in between.iter().zip(flags) {
                *wanders =
                    (point.latitude_deg, point.longitude_deg) != (first.latitude_deg, first.longitude_deg);
            }
        }
        (rest, flags) = (after, flags_after);
    }
    let mut wanders = wanders.into_iter();
    sift_points(points, aside, Rule::StandstillNoise, |_| {
        wanders.next().unwrap_or_default().then(|| "the position wanders while the vehicle stands".to_owned())
    });
}
