//! Which detection is of which event.

use crate::score::Tally;
use crate::score::truth::TrueEvent;

/// From when to when, in milliseconds since 1970-01-01 UTC.
pub(super) type Interval = (i64, i64);

/// Holds the detections of one kind in one trip against the truth.
///
/// Both are in the order of time, and no two of a side overlap, so that taking the first event that is left for each
/// detection in turn makes as many pairs as there can be.
pub(super) fn tally(found: &[Interval], truth: &[&TrueEvent]) -> Tally {
    let is_event = |event: &TrueEvent| !event.near_miss && !event.hidden;
    let mut tally = Tally {
        near_misses: count(truth, |event| event.near_miss && !event.hidden),
        missed: count(truth, is_event),
        ..Tally::default()
    };
    let mut left: Vec<&TrueEvent> = truth.iter().copied().filter(|event| is_event(event)).collect();
    for &interval in found {
        if let Some(first) = left.iter().position(|event| overlaps(interval, event)) {
            left.remove(first);
            tally.found += 1;
            tally.missed -= 1;
            continue;
        }
        if truth.iter().any(|event| event.hidden && overlaps(interval, event)) {
            continue;
        }
        tally.false_alarms += 1;
        let is_near_miss = truth.iter().any(|event| event.near_miss && overlaps(interval, event));
        tally.near_misses_found += u64::from(is_near_miss);
    }
    tally
}

fn count(truth: &[&TrueEvent], which: impl Fn(&TrueEvent) -> bool) -> u64 {
    truth.iter().map(|event| u64::from(which(event))).sum()
}

fn overlaps((start_ms, end_ms): Interval, event: &TrueEvent) -> bool {
    start_ms <= event.end.timestamp_millis() && event.start.timestamp_millis() <= end_ms
}
