//! What time it is: by the machine's clock, or by one that a test sets.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use s3s::dto::{Timestamp, TimestampFormat};

/// Tells the time of a server.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    pub(crate) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        (self.0)().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
    }

    /// The value of the header field `date`.
    pub(crate) fn date(&self) -> Option<HeaderValue> {
        let mut text = Vec::new();
        Timestamp::from((self.0)()).format(TimestampFormat::HttpDate, &mut text).ok()?;
        HeaderValue::from_bytes(&text).ok()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
