//! The time and the chance that attempts depend on, so that a test can decide both.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

/// The time and the chance that attempts depend on.
///
/// [`TokioPace`] is the real one. A test gives its own, with which waits end at once and delays are known.
pub trait Pace: Debug + Send + Sync {
    /// The time now. Must not run backwards.
    fn now(&self) -> Instant;

    /// Ends after `wait`. Dropping the future leaves nothing behind.
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// A time from zero to `ceiling`, by chance, so that machines that failed together do not come back together.
    fn jitter(&self, ceiling: Duration) -> Duration;
}

/// Time by tokio, which a test can pause, and chance by a generator that is seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioPace;

impl Pace for TokioPace {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(wait))
    }

    fn jitter(&self, ceiling: Duration) -> Duration {
        ceiling.mul_f64(fastrand::f64())
    }
}
