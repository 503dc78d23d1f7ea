//! The times in which a value that is known at some moments is above a level.
//!
//! Between two moments the value is a straight line. Noise at the level must not make many events of one, so a value that
//! falls below the level ends nothing as long as it stays close to it and comes back soon (a Schmitt trigger: O. H.
//! Schmitt, "A thermionic trigger", Journal of Scientific Instruments 15, 1938, pages 24 to 26).

/// A moment, and how far the value is above the level then; below it, it is negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// In milliseconds since 1970-01-01 UTC.
    pub(crate) time_ms: f64,
    pub(crate) excess: f64,
}

/// From the moment the value rose above the level to the moment it fell below it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) start_ms: f64,
    pub(crate) end_ms: f64,
}

/// What is known of the span that is not over yet. It is fed one stretch after the other.
#[derive(Debug, Clone)]
pub(crate) struct Crossings {
    /// How far below the level the value may dip within a span.
    dip: f64,
    /// For how long it may.
    dip_ms: f64,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    start_ms: f64,
    /// When the value fell below the level, while it is there.
    fell_ms: Option<f64>,
}

impl Crossings {
    pub(crate) fn new(dip: f64, dip_ms: f64) -> Self {
        Self { dip, dip_ms, open: None }
    }

    /// Takes the stretch between two moments, and returns the span that is over with it.
    ///
    /// The level may be another one than that of the stretch before.
    pub(crate) fn stretch(&mut self, from: Sample, to: Sample) -> Option<Span> {
        let over = self.reach(from, from.time_ms);
        let zero_ms = if (from.excess > 0.0) == (to.excess > 0.0) {
            to.time_ms
        } else {
            from.time_ms + (to.time_ms - from.time_ms) * from.excess / (from.excess - to.excess)
        };
        // A stretch is a line, so at most one of its ends is where a span is over.
        over.or(self.reach(to, zero_ms))
    }

    /// Ends what is open, because nothing is known after this moment.
    pub(crate) fn stop(&mut self, time_ms: f64) -> Option<Span> {
        let open = self.open.take()?;
        Some(open.until(open.fell_ms.unwrap_or(time_ms)))
    }

    /// The value is that of the sample, and if it has changed sides, it did so at `crossed_ms`.
    fn reach(&mut self, sample: Sample, crossed_ms: f64) -> Option<Span> {
        let Some(open) = &mut self.open else {
            if sample.excess > 0.0 {
                self.open = Some(Open { start_ms: crossed_ms, fell_ms: None });
            }
            return None;
        };
        if sample.excess > 0.0 {
            let fell_ms = open.fell_ms.take()?;
            if crossed_ms - fell_ms <= self.dip_ms {
                return None;
            }
            let over = open.until(fell_ms);
            self.open = Some(Open { start_ms: crossed_ms, fell_ms: None });
            return Some(over);
        }
        let fell_ms = *open.fell_ms.get_or_insert(crossed_ms);
        let stays = sample.excess >= -self.dip && sample.time_ms - fell_ms <= self.dip_ms;
        if stays { None } else { self.stop(fell_ms) }
    }
}

impl Open {
    fn until(self, end_ms: f64) -> Span {
        Span { start_ms: self.start_ms, end_ms }
    }
}

/// A moment as the tables have it.
#[expect(clippy::cast_possible_truncation, reason = "`as` keeps to the range")]
pub(crate) fn whole_ms(time_ms: f64) -> i64 {
    time_ms.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spans of a value, a second apart, above 0; dips of 2 for 3 seconds are allowed.
    fn spans(values: &[f64]) -> Vec<(f64, f64)> {
        let mut crossings = Crossings::new(2.0, 3000.0);
        let samples: Vec<Sample> = values
            .iter()
            .zip(0..)
            .map(|(&excess, s)| Sample { time_ms: f64::from(s) * 1000.0, excess })
            .collect();
        let mut spans: Vec<Span> =
            samples.windows(2).filter_map(|pair| crossings.stretch(pair[0], pair[1])).collect();
        spans.extend(crossings.stop(samples.last().unwrap().time_ms));
        spans.iter().map(|span| (span.start_ms / 1000.0, span.end_ms / 1000.0)).collect()
    }

    #[test]
    fn a_span_begins_and_ends_where_the_line_crosses_the_level() {
        assert_eq!(spans(&[-1.0, 1.0, 3.0, -1.0, -3.0]), [(0.5, 2.75)]);
    }

    #[test]
    fn what_is_above_from_the_first_to_the_last_moment_is_a_span() {
        assert_eq!(spans(&[1.0, 1.0]), [(0.0, 1.0)]);
    }

    #[test]
    fn what_is_at_the_level_is_not_above_it() {
        assert_eq!(spans(&[0.0, 0.0, -1.0, 0.0]), []);
    }

    #[test]
    fn a_shallow_dip_splits_nothing_and_a_deep_one_does() {
        assert_eq!(spans(&[1.0, -1.0, 1.0]), [(0.0, 2.0)]);
        assert_eq!(spans(&[1.0, -3.0, 1.0]), [(0.0, 0.25), (1.75, 2.0)]);
    }

    #[test]
    fn a_shallow_dip_that_lasts_splits() {
        assert_eq!(spans(&[1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 1.0]), [(0.0, 0.5), (5.5, 6.0)]);
        // The value comes back between two moments, but too late.
        assert_eq!(spans(&[1.0, -1.0, -1.0, -1.0, -1.0, 9.0]), [(0.0, 0.5), (4.1, 5.0)]);
    }

    #[test]
    fn a_dip_at_the_end_is_not_part_of_the_span() {
        assert_eq!(spans(&[1.0, -1.0, -1.0]), [(0.0, 0.5)]);
    }

    #[test]
    fn the_level_may_step_between_two_stretches() {
        let sample = |time_ms, excess| Sample { time_ms, excess };
        let mut crossings = Crossings::new(2.0, 3000.0);
        // It falls below the value, and rises far above it again.
        assert_eq!(crossings.stretch(sample(0.0, -5.0), sample(1000.0, -5.0)), None);
        assert_eq!(crossings.stretch(sample(1000.0, 1.0), sample(2000.0, 1.0)), None);
        let over = crossings.stretch(sample(2000.0, -5.0), sample(3000.0, -5.0));
        assert_eq!(over, Some(Span { start_ms: 1000.0, end_ms: 2000.0 }));
        assert_eq!(crossings.stop(3000.0), None);
    }
}
