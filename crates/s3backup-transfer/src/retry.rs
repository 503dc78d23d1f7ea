//! When a request is sent again: full-jitter exponential back-off (AWS Architecture Blog, "Exponential Backoff And
//! Jitter"), with randomness handed in.

use std::sync::Mutex;
use std::time::Duration;

use crate::tempo::Tempo;

/// What the transport has taken of a request may still wait in its buffers, where nothing shows how it goes on: those
/// of the HTTP client hold up to 400 KiB, those of the kernel some more.
const UNSEEN_BYTES: u64 = 512 << 10;

/// The slowest that one request may be in getting out of the buffers: 64 at once then share 2 Mbit/s.
const SLOWEST_BYTES_PER_S: u64 = 4 << 10;

/// How often and how fast a failed request is repeated.
#[derive(Clone, Debug)]
pub struct RetrySettings {
    /// Attempts in all, the first included. Default 10: of requests that fail with a chance of 15 % each, one in
    /// 170 million then still fails.
    pub attempts: u32,
    /// Upper bound of the first wait. Default 100 ms.
    pub base: Duration,
    /// Upper bound of any wait. Default 20 s.
    pub cap: Duration,
    /// How long a request may stand still before it counts as lost: the time begins anew whenever some of its bytes
    /// are taken. What is taken but may not have left this machine yet, at most 512 KiB, is given a second for each
    /// 4 KiB more. Once uploads have shown how long they usually take, one that takes many times as long, and at least
    /// 3 s, is sent again sooner. Default 30 s.
    pub request_timeout: Duration,
    /// Seed of the jitter; from the operating system when absent.
    pub seed: Option<u64>,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 10,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(20),
            request_timeout: Duration::from_secs(30),
            seed: None,
        }
    }
}

/// Hands out waits.
#[derive(Debug)]
pub(crate) struct Backoff {
    settings: RetrySettings,
    random: Mutex<fastrand::Rng>,
}

impl Backoff {
    pub(crate) fn new(settings: RetrySettings) -> Self {
        let random = settings.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self { settings, random: Mutex::new(random) }
    }

    /// How long a request may stand still of which the transport has taken `bytes`.
    pub(crate) fn idle_limit(&self, bytes: u64) -> Duration {
        self.settings.request_timeout + time_for(bytes, SLOWEST_BYTES_PER_S)
    }

    /// The same for an upload at attempt number `attempt` (from 1), by what others have shown.
    pub(crate) fn upload_limit(&self, tempo: &Tempo, attempt: u32, bytes: u64) -> Duration {
        tempo.patience(attempt, self.settings.request_timeout)
            + time_for(bytes, tempo.slowest(SLOWEST_BYTES_PER_S))
    }

    /// How long to wait after attempt number `attempt` (from 1) failed; `None` when it was the last.
    pub(crate) fn wait_after(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.settings.attempts {
            return None;
        }
        let bound = self.settings.base.saturating_mul(1 << (attempt - 1).min(20)).min(self.settings.cap);
        // A poisoned lock only means that another task panicked while it drew a number.
        let mut random = self.random.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Some(bound.mul_f64(random.f64()))
    }
}

/// How long what may still wait in buffers of `bytes` that were taken takes to get out.
fn time_for(bytes: u64, bytes_per_s: u64) -> Duration {
    Duration::from_millis(bytes.min(UNSEEN_BYTES) * 1000 / bytes_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_end() {
        let settings = RetrySettings {
            attempts: 12,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(5),
            seed: Some(7),
            ..RetrySettings::default()
        };
        let backoff = Backoff::new(settings);
        for attempt in 1..12 {
            let bound = Duration::from_millis(100 << (attempt - 1)).min(Duration::from_secs(5));
            assert!(backoff.wait_after(attempt).is_some_and(|wait| wait <= bound), "attempt {attempt}");
        }
        assert_eq!(backoff.wait_after(12), None);
    }

    #[test]
    fn one_seed_gives_one_series() {
        let series = |seed| {
            let backoff = Backoff::new(RetrySettings { seed: Some(seed), ..RetrySettings::default() });
            (1..10).map(|attempt| backoff.wait_after(attempt)).collect::<Vec<_>>()
        };
        assert_eq!(series(1), series(1));
        assert_ne!(series(1), series(2));
    }
}
