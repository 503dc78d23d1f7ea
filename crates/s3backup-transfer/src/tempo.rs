//! How long uploads usually take, so that one that hangs is sent again after seconds and not after the longest time that
//! any server may need.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A reply may take so many times as long as the slowest usual one (mean and four times the deviation, as TCP reckons the
/// time of its repeats, RFC 6298).
const PATIENCE: u32 = 8;

/// Nothing counts as lost before this: servers pause for a second or two to tidy up.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// Bodies from this size on tell how fast the line is; smaller ones only fill buffers.
const TELLING_BYTES: u64 = 1 << 20;

/// What is in buffers may get out so many times slower than all went so far.
const SLOWER: u64 = 8;

/// What uploads have shown so far.
#[derive(Debug, Default)]
pub(crate) struct Tempo(Mutex<Option<Usual>>);

#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    /// From the last byte taken to the reply.
    wait: Duration,
    /// How much that varies.
    spread: Duration,
    /// Bytes a second of one request, while its body was taken; 0 while it is not known.
    rate: u64,
}

impl Tempo {
    fn usual(&self) -> MutexGuard<'_, Option<Usual>> {
        // A poisoned lock only means that another task panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was answered `wait` after the last of its `bytes` was taken, which took `moving`. One that was given up
    /// tells nothing: it may have been lost, and a server that became slow shows it at the next, longer attempt.
    pub(crate) fn note(&self, wait: Duration, bytes: u64, moving: Duration) {
        let mut usual = self.usual();
        let Usual { wait: mean, spread, rate } =
            usual.get_or_insert(Usual { wait, spread: wait / 2, rate: 0 });
        *spread = (*spread * 3 + mean.abs_diff(wait)) / 4;
        *mean = (*mean * 7 + wait) / 8;
        if bytes >= TELLING_BYTES {
            let millis = u64::try_from(moving.as_millis()).unwrap_or(u64::MAX).max(1);
            let now = bytes.saturating_mul(1000) / millis;
            *rate = if *rate == 0 { now } else { (*rate / 8).saturating_mul(7).saturating_add(now / 8) };
        }
    }

    /// How long to wait for a reply at attempt number `attempt`, at most `most`: longer with each attempt, so that a server
    /// that became slow is waited for in the end.
    pub(crate) fn patience(&self, attempt: u32, most: Duration) -> Duration {
        let Some(usual) = *self.usual() else { return most };
        let patience = ((usual.wait + usual.spread * 4) * PATIENCE).max(LEAST_PATIENCE);
        patience.saturating_mul(1 << (attempt - 1).min(10)).min(most)
    }

    /// The slowest that bytes in buffers may get out of them, in bytes a second, at least `least`.
    pub(crate) fn slowest(&self, least: u64) -> u64 {
        self.usual().map_or(0, |usual| usual.rate / SLOWER).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    fn after(waits_ms: impl IntoIterator<Item = u64>) -> Tempo {
        let tempo = Tempo::default();
        for wait in waits_ms {
            tempo.note(Duration::from_millis(wait), 8 << 20, Duration::from_millis(100));
        }
        tempo
    }

    #[test]
    fn nothing_is_known_at_first() {
        let tempo = Tempo::default();
        assert_eq!(tempo.patience(1, MOST), MOST);
        assert_eq!(tempo.slowest(4096), 4096);
    }

    #[test]
    fn a_quick_server_is_waited_for_for_seconds_and_longer_each_time() {
        let tempo = after((0..100).map(|n| 20 + n % 40));
        let waits = [1, 2, 3, 4, 5].map(|attempt| tempo.patience(attempt, MOST).as_secs());
        assert_eq!(waits, [3, 6, 12, 24, 30]);
        // 80 MiB/s, by eight.
        assert!((9 << 20..11 << 20).contains(&tempo.slowest(4096)));
    }

    #[test]
    fn a_slow_server_is_given_its_time() {
        assert_eq!(after([5000; 20]).patience(1, MOST), MOST);
        // One that became slow is taken for dead until it has answered once.
        let tempo = after((0..100).map(|_| 30).chain([9000]));
        assert_eq!(tempo.patience(1, MOST), MOST);
    }
}
