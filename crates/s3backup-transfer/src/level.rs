//! How many requests of one kind may be in flight: a number that finds its own level.
//!
//! What a level brings is judged by Little's law: throughput is what is in flight times the pace of one request, which is
//! weight over time taken. That needs no clock of its own, so pauses in which nobody has anything to send do not count.
//!
//! The level is put to trial: twice as much in flight, kept if it brings at least a tenth more, else taken back. From the
//! start one trial follows another, so the level doubles about every round trip until that is of no more use. From then on a
//! trial comes every few seconds, because conditions change; and a smaller level is tried when requests have become slow.
//! What the server refuses cuts the level at once, and it climbs back slowly.

use std::time::{Duration, Instant};

/// What a level that is tried must bring to be kept, compared with the one before. Less is not worth the latency.
const GAIN: f64 = 1.1;

/// What it must bring to be kept after the first half of a round trip already. A level of no use then seems to bring 1.33,
/// because its first requests find the queue of half the level.
const CLEAR_GAIN: f64 = 1.5;

/// The share of throughput that a smaller level must keep. Nearer to 1 than [`GAIN`], so that the two do not
/// take turns.
const KEPT: f64 = 0.95;

/// Requests are slow when one takes this many times as long as it did at best. With 1.5 noise passes for that, and costs up
/// to 5 % of the throughput in the simulation.
const SLOW: f64 = 2.0;

/// The factor of trials from the start, and after each that was worth it.
const DOUBLE: f64 = 2.0;

/// The factor of later trials: enough for [`GAIN`] to stand out from noise, and for a server not to be run over.
const PROBE: f64 = 1.5;

/// The factor of trials downwards: two of them undo a doubling.
const DOWN: f64 = 0.7;

/// How long a level that was found is left alone. Where the way to the server becomes three times as long after 5 s, the
/// simulation still makes 92 % of what is possible in 20 s; it would be 85 % if this were 5 s.
const REST: Duration = Duration::from_secs(2);

/// What a refusal leaves of the level. (TCP CUBIC, RFC 9438 section 4.6, has the same.)
const AFTER_BUSY: f64 = 0.7;

/// What a lost request leaves of the level. Connections also break for reasons that have nothing to do with load.
const AFTER_LOST: f64 = 0.9;

/// After a refusal the level grows by this share every round trip, so it is back after half a second at 60 ms, and is at
/// most this much too high when the next refusal comes.
const CLIMB: f64 = 1.0 / 16.0;

/// How long the level is left alone after it has climbed back. Doubles with every refusal up to [`MOST_CALM`]: the first may be
/// due to a burst, while S3 takes minutes to make room for more requests to a prefix.
const LEAST_CALM: Duration = Duration::from_millis(250);
const MOST_CALM: Duration = Duration::from_secs(8);

/// After this long without a refusal the level is put to trial again instead of climbing.
const FORGET: Duration = Duration::from_mins(1);

/// A sample is sure after this many round trips, and either this many requests or this long. Requests that vary by 30 % make
/// the mean of 256 vary by 2 %; parts are too slow for so many.
const SURE_ROUNDS: usize = 4;
const SURE_REQUESTS: usize = 256;
const SURE_AFTER: Duration = Duration::from_secs(1);

/// No sample is shorter than this, and a sure one four times as long, so that it spans some time slices of the scheduler.
const LEAST_SAMPLE: Duration = Duration::from_millis(10);

/// The share of the level that must be in use for a sample to tell what the level brings.
const USED: f64 = 0.9;

/// Where a level begins, and between what it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// At first. Only refusals and losses bring the level below this: that a smaller one would do as well is not to be told
    /// from noise.
    pub(crate) start: usize,
    /// At least 1.
    pub(crate) least: usize,
    /// At most.
    pub(crate) most: usize,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The server did its work, whatever it answered.
    Done,
    /// The server asks for less (503 `SlowDown`, 429).
    Busy,
    /// No answer in time, or the connection broke.
    Lost,
}

/// The requests that were begun since the level is what it is, and have ended.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    requests: usize,
    weight: f64,
    seconds: f64,
    in_flight: f64,
}

impl Sample {
    fn add(&mut self, took: Duration, weight: u64, in_flight: usize) {
        self.requests += 1;
        self.weight += weight as f64;
        self.seconds += took.as_secs_f64();
        self.in_flight += in_flight as f64;
    }

    /// Weight a second of one request. Never infinite: a clock may be too coarse to see a request at all.
    fn pace(&self) -> f64 {
        self.weight / self.seconds.max(1e-9)
    }

    fn mean_in_flight(&self) -> f64 {
        self.in_flight / self.requests.max(1) as f64
    }

    /// Weight a second of all requests together.
    fn throughput(&self) -> f64 {
        self.pace() * self.mean_in_flight()
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The level is left alone until then.
    Rest { until: Instant },
    /// The level is tried in place of `from`, which brought `throughput` at `pace`.
    Trial { from: usize, throughput: f64, pace: f64 },
    /// The level grows slowly up to this.
    Climb { to: usize },
}

/// How many requests may be in flight.
#[derive(Debug)]
pub(crate) struct Level {
    bounds: Bounds,
    limit: usize,
    phase: Phase,
    sample: Sample,
    /// When the sample was begun.
    since: Instant,
    /// The greatest level that was last seen to be taken by the server.
    good: usize,
    /// The best pace of all, or since it last turned out that the server has another.
    best_pace: f64,
    /// When the level was last cut. One that is refused tells nothing new if it was begun before.
    cut: Option<Instant>,
    /// When the server last refused a request.
    refused: Option<Instant>,
    /// How long the level is left alone once it has climbed back.
    calm: Duration,
}

impl Level {
    pub(crate) fn new(bounds: Bounds, now: Instant) -> Self {
        let least = bounds.least.max(1);
        let most = bounds.most.max(least);
        let start = bounds.start.clamp(least, most);
        Self {
            bounds: Bounds { start, least, most },
            limit: start,
            phase: Phase::Rest { until: now },
            sample: Sample::default(),
            since: now,
            good: start,
            best_pace: 0.0,
            cut: None,
            refused: None,
            calm: LEAST_CALM,
        }
    }

    /// How many may be in flight now.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A request has ended at `now` after `took`. `weight` is what it is worth: 1, or its bytes. `in_flight` is how many
    /// there were, with this one.
    pub(crate) fn ended(&mut self, now: Instant, took: Duration, weight: u64, sign: Sign, in_flight: usize) {
        let begun = now.checked_sub(took).unwrap_or(self.since);
        match sign {
            Sign::Done if begun >= self.since => {
                self.sample.add(took, weight, in_flight);
                self.judge(now);
            }
            Sign::Busy | Sign::Lost if self.cut.is_none_or(|cut| begun >= cut) => self.back_off(now, sign),
            _ => {}
        }
    }

    /// Decides what the sample says of the level, if it says anything yet.
    fn judge(&mut self, now: Instant) {
        let age = now - self.since;
        let requests = self.sample.requests;
        if 2 * requests < self.limit || age < LEAST_SAMPLE {
            return;
        }
        let sure = requests >= SURE_ROUNDS * self.limit
            && (requests >= SURE_REQUESTS || age >= SURE_AFTER)
            && age >= 4 * LEAST_SAMPLE;
        let used = self.sample.mean_in_flight() >= USED * self.limit as f64;
        let (throughput, pace) = (self.sample.throughput(), self.sample.pace());
        match self.phase {
            Phase::Climb { .. } if requests < self.limit => {}
            Phase::Climb { to } if used && self.limit < to => {
                let step = scaled(self.limit, CLIMB).max(1);
                self.set(now, (self.limit + step).min(to), self.phase);
            }
            Phase::Climb { .. } if !used => self.set(now, self.limit, self.phase),
            Phase::Climb { .. } => self.rest(now, self.limit, self.calm),
            Phase::Trial { from, .. } if sure && !used => self.rest(now, from, Duration::ZERO),
            Phase::Trial { from, throughput: before, .. } if self.limit > from => {
                if throughput >= before * if sure { GAIN } else { CLEAR_GAIN } {
                    self.good = self.limit;
                    self.try_level(now, DOUBLE);
                } else if sure {
                    self.rest(now, from, REST);
                }
            }
            Phase::Trial { from, throughput: before, pace: slow } => {
                if sure && throughput >= KEPT * before {
                    self.rest(now, self.limit, REST);
                } else if sure {
                    // It is not the queue that makes requests slow.
                    self.best_pace = slow;
                    self.rest(now, from, REST);
                }
            }
            // The first sample of all is taken as it comes: it decides how fast the run gets going.
            Phase::Rest { .. } if !sure && self.best_pace > 0.0 => {}
            Phase::Rest { until } => {
                self.good = self.limit;
                self.leave_rest(now, used && now >= until, pace);
                self.best_pace = self.best_pace.max(pace);
            }
        }
    }

    /// Goes on from a level that was left alone, upwards only if `may_grow`.
    fn leave_rest(&mut self, now: Instant, may_grow: bool, pace: f64) {
        if self.refused.is_some_and(|refused| now - refused > FORGET) {
            (self.refused, self.calm) = (None, LEAST_CALM);
        }
        if pace * SLOW <= self.best_pace && self.limit > self.bounds.start {
            self.try_level(now, DOWN);
        } else if !may_grow {
            self.set(now, self.limit, self.phase);
        } else if self.refused.is_some() {
            let to = scaled(self.limit, PROBE).clamp(self.limit, self.bounds.most);
            self.set(now, self.limit, Phase::Climb { to });
        } else {
            self.try_level(now, if self.best_pace == 0.0 { DOUBLE } else { PROBE });
        }
    }

    /// Tries another level in place of the one that the sample tells of.
    fn try_level(&mut self, now: Instant, factor: f64) {
        let bound = if factor < 1.0 { self.bounds.start } else { self.bounds.least };
        let limit = scaled(self.limit, factor).clamp(bound, self.bounds.most);
        if limit == self.limit {
            return self.rest(now, limit, REST);
        }
        let (throughput, pace) = (self.sample.throughput(), self.sample.pace());
        self.set(now, limit, Phase::Trial { from: self.limit, throughput, pace });
    }

    fn rest(&mut self, now: Instant, limit: usize, rest: Duration) {
        self.set(now, limit, Phase::Rest { until: now + rest });
    }

    fn back_off(&mut self, now: Instant, sign: Sign) {
        let before = self.limit;
        self.cut = Some(now);
        if sign == Sign::Lost {
            return self.rest(now, scaled(before, AFTER_LOST).max(self.bounds.least), REST);
        }
        if self.refused.replace(now).is_some() {
            self.calm = (self.calm * 2).min(MOST_CALM);
        }
        // Half way between what was taken and what was not; if nothing is known to be taken, a little less.
        let to =
            if before > self.good { usize::midpoint(self.good, before) } else { scaled(before, AFTER_LOST) };
        self.good = self.good.min(to);
        let limit = scaled(before, AFTER_BUSY).max(self.bounds.least);
        self.set(now, limit, Phase::Climb { to: to.max(limit) });
    }

    fn set(&mut self, now: Instant, limit: usize, phase: Phase) {
        self.limit = limit;
        self.phase = phase;
        self.sample = Sample::default();
        self.since = now;
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a level times a small factor")]
fn scaled(level: usize, factor: f64) -> usize {
    (level as f64 * factor).round() as usize
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "simulated times are small and positive"
)]
mod tests;
