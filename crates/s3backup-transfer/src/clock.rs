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
pub(crate) struct ServerClock(Arc<Mutex<Option<(DateTime<Utc>, Instant)>>>);

impl ServerClock {
    /// The time of the newest reply, and what has passed since.
    fn now(&self) -> Option<DateTime<Utc>> {
        // A poisoned lock only means that another task panicked beside it.
        let (at, heard) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        at.checked_add_signed(TimeDelta::from_std(heard.elapsed()).ok()?)
    }

    fn learn(&self, date: Option<&str>) {
        if let Some(at) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((at.to_utc(), Instant::now()));
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
    pub fn server_time(&self) -> Option<DateTime<Utc>> {
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
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!(clock.now().unwrap().to_rfc3339(), "2026-11-20T11:02:00+00:00");
    }
}
