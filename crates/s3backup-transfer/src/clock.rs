//! What time it is by the server's clock, which is that of whoever watches from another machine.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::DateTime as SdkTime;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::Bucket;

/// Learns from replies what time it is there. Cheap to clone; all clones learn together.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerClock(Arc<Mutex<Option<Heard>>>);

/// What a reply said, and when it came.
#[derive(Clone, Copy, Debug)]
struct Heard {
    date: DateTime<Utc>,
    at: Instant,
}

impl ServerClock {
    /// The time of the newest reply, and the whole seconds that have passed since: replies tell no fractions either.
    pub(crate) fn now(&self) -> Option<DateTime<Utc>> {
        // A poisoned lock only means that another task panicked beside it.
        let heard = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = i64::try_from(heard.at.elapsed().as_secs()).ok().and_then(TimeDelta::try_seconds)?;
        heard.date.checked_add_signed(since)
    }

    fn learn(&self, date: Option<&str>) {
        if let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
            let heard = Heard { date: date.to_utc(), at: Instant::now() };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
        }
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.learn(context.response().headers().get("date"));
        Ok(())
    }
}

impl Bucket {
    /// What time it is by the server's clock, to the second: the `Date` of its newest reply to a listing or to the read of
    /// a small object, and what has passed since. Sends no request; `None` before the first such reply, and where the
    /// server does not say.
    pub fn server_clock(&self) -> Option<DateTime<Utc>> {
        self.clock.now()
    }
}

/// A moment as the SDK gives it.
pub(crate) fn moment(time: Option<&SdkTime>) -> Option<DateTime<Utc>> {
    time.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_from_what_the_server_said() {
        let clock = ServerClock::default();
        clock.learn(None);
        clock.learn(Some("soon"));
        assert_eq!(clock.now(), None);
        clock.clone().learn(Some("Fri, 20 Nov 2026 11:00:00 GMT"));
        tokio::time::advance(Duration::from_millis(120_900)).await;
        assert_eq!(clock.now().unwrap().to_rfc3339(), "2026-11-20T11:02:00+00:00");
    }
}
