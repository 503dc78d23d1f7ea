//! How safely a driver drives, as one number.

use serde::{Deserialize, Serialize};

use super::{EventKind, Figures};

/// What counts how much against a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreSettings {
    /// Below this distance there is no score, in kilometres: 10. One event in 2 km would be 50 per 100 km, which says more
    /// about chance than about the driver.
    pub min_distance_km: f64,
    /// Weighted events per 100 km that halve the score: 10, one every 10 km. Where the scale is put is a convention: set it
    /// so that the scores of your fleet spread.
    pub half_per_100_km: f64,
    /// The weight of each interval above a limit: 1.
    pub overspeed_weight: f64,
    /// The weight of each minute above a limit, on top: 1, so that an hour of speeding is not as good as ten seconds.
    pub overspeed_minute_weight: f64,
    /// The weight of a harsh acceleration: 1. All manoeuvres weigh the same by default, as their sum is what was found to
    /// predict crashes (Simons-Morton et al. 2012, American Journal of Epidemiology 175(10)).
    pub harsh_acceleration_weight: f64,
    /// The weight of a harsh braking: 1.
    pub harsh_braking_weight: f64,
    /// The weight of a sharp turn: 1.
    pub sharp_turn_weight: f64,
}

impl Default for ScoreSettings {
    fn default() -> Self {
        Self {
            min_distance_km: 10.0,
            half_per_100_km: 10.0,
            overspeed_weight: 1.0,
            overspeed_minute_weight: 1.0,
            harsh_acceleration_weight: 1.0,
            harsh_braking_weight: 1.0,
            sharp_turn_weight: 1.0,
        }
    }
}

impl ScoreSettings {
    fn weight(&self, kind: EventKind) -> f64 {
        match kind {
            EventKind::Overspeed => self.overspeed_weight,
            EventKind::HarshAcceleration => self.harsh_acceleration_weight,
            EventKind::HarshBraking => self.harsh_braking_weight,
            EventKind::SharpTurn => self.sharp_turn_weight,
        }
    }
}

impl Figures {
    /// The score of the driver of these trips, from 0 to 100: `100 * 2^(-w / h)`, where `w` is the weighted sum of events per
    /// 100 km and `h` is [`half_per_100_km`](ScoreSettings::half_per_100_km). `None` below
    /// [`min_distance_km`](ScoreSettings::min_distance_km).
    ///
    /// Exponential, because then each further event costs the same share of what is left: the best ones are told apart, the
    /// worst ones still are, and it needs no bounds to be cut off at. The score of several trips is the one of their sums, not
    /// a mean of scores, which a short trip would weigh in as much as a long one.
    pub fn driver_score(&self, settings: &ScoreSettings) -> Option<f64> {
        let distance_km = self.distance_mm as f64 / 1e6;
        if distance_km <= 0.0 || distance_km < settings.min_distance_km {
            return None;
        }
        let events: f64 =
            EventKind::ALL.into_iter().map(|kind| self.events.of(kind) as f64 * settings.weight(kind)).sum();
        let minutes = self.over_limit_ms as f64 / 60_000.0;
        let weighted = events + minutes * settings.overspeed_minute_weight;
        let per_100_km = weighted / distance_km * 100.0;
        Some((100.0 * (-per_100_km / settings.half_per_100_km).exp2()).clamp(0.0, 100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driven(distance_km: u64, harsh_braking: u64) -> Figures {
        let mut figures = Figures { distance_mm: distance_km * 1_000_000, ..Figures::default() };
        figures.events.harsh_braking = harsh_braking;
        figures
    }

    fn score(figures: &Figures) -> Option<f64> {
        figures.driver_score(&ScoreSettings::default())
    }

    #[test]
    fn every_ten_events_per_100_km_halve_it() {
        assert_eq!(score(&driven(100, 0)), Some(100.0));
        assert_eq!(score(&driven(100, 10)), Some(50.0));
        assert_eq!(score(&driven(50, 10)), Some(25.0));
        assert_eq!(score(&driven(100, u64::MAX)), Some(0.0));
    }

    #[test]
    fn a_short_way_has_none() {
        assert_eq!(score(&driven(0, 0)), None);
        assert_eq!(score(&driven(9, 0)), None);
        assert_eq!(score(&driven(10, 0)), Some(100.0));
    }

    #[test]
    fn long_speeding_costs_more_than_short() {
        let mut short = driven(100, 0);
        short.events.overspeed = 1;
        short.over_limit_ms = 10_000;
        let mut long = short.clone();
        long.over_limit_ms = 600_000;
        assert!(score(&long) < score(&short) && score(&short) < Some(100.0));
    }
}
