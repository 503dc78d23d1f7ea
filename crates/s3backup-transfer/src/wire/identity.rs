//! Who signs: credentials that are asked for once, and again before they expire.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::Credentials;
use chrono::{DateTime, Utc};

use super::sign::SigningKey;
use crate::Error;
use crate::connect::ask_for_credentials;

/// Credentials are renewed this long before they expire, so that none expires on the way to the server. They are the same
/// minutes that the AWS CLI takes for a refresh that must succeed.
const RENEW_BEFORE: Duration = Duration::from_mins(10);

/// Credentials, and the key that was derived from them.
pub(crate) struct Identity {
    pub(crate) credentials: Credentials,
    pub(crate) key: SigningKey,
}

impl Identity {
    fn expires_within(&self, time: Duration, at: DateTime<Utc>) -> bool {
        self.credentials.expiry().is_some_and(|expiry| DateTime::<Utc>::from(expiry) <= at + time)
    }
}

/// Hands out the identity of the moment.
pub(crate) struct Identities {
    provider: SharedCredentialsProvider,
    region: String,
    current: Mutex<Option<Arc<Identity>>>,
    /// Held by the one who asks the provider, so that the others wait instead of asking as well.
    asking: tokio::sync::Mutex<()>,
}

impl Identities {
    pub(crate) fn new(provider: SharedCredentialsProvider, region: String) -> Self {
        Self { provider, region, current: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    fn current(&self) -> Option<Arc<Identity>> {
        // A poisoned lock only means that another task panicked beside it.
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn good(&self, now: DateTime<Utc>) -> Option<Arc<Identity>> {
        self.current()
            .filter(|identity| identity.key.is_of(now) && !identity.expires_within(RENEW_BEFORE, now))
    }

    /// The identity to sign with at `now`. While a renewal fails, the old one serves until it expires.
    pub(crate) async fn at(&self, now: DateTime<Utc>) -> Result<Arc<Identity>, Error> {
        if let Some(identity) = self.good(now) {
            return Ok(identity);
        }
        let _asking = self.asking.lock().await;
        if let Some(identity) = self.good(now) {
            return Ok(identity);
        }
        let credentials = match ask_for_credentials(&self.provider).await {
            Ok(credentials) => credentials,
            Err(error) => match self.current() {
                Some(old) if !old.expires_within(Duration::ZERO, now) => old.credentials.clone(),
                _ => return Err(error),
            },
        };
        let key = SigningKey::derive(credentials.secret_access_key(), now, &self.region);
        let identity = Arc::new(Identity { credentials, key });
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&identity));
        Ok(identity)
    }

    /// The server says that this one has expired: the next request asks for another.
    pub(crate) fn refuse(&self, refused: &Arc<Identity>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|identity| Arc::ptr_eq(identity, refused)) {
            *current = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::SystemTime;

    use aws_credential_types::provider::{error::CredentialsError, future};
    use aws_sdk_s3::config::ProvideCredentials;

    /// Hands out credentials that expire an hour after they were asked for, the first time and every second time; else
    /// it fails.
    #[derive(Debug, Default)]
    struct Hourly {
        asked: AtomicU32,
    }

    impl ProvideCredentials for Hourly {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.asked.fetch_add(1, Ordering::Relaxed);
            if asked % 2 == 1 {
                return future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("busy")));
            }
            let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * u64::from(asked / 2 + 1));
            let credentials = Credentials::new(format!("AK{asked}"), "s", None, Some(expiry), "test");
            future::ProvideCredentials::ready(Ok(credentials))
        }
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minutes * 60, 0).unwrap()
    }

    async fn key_at(identities: &Identities, minutes: i64) -> Option<String> {
        let identity = identities.at(at(minutes)).await.ok()?;
        Some(identity.credentials.access_key_id().to_owned())
    }

    #[tokio::test]
    async fn credentials_are_kept_renewed_before_they_expire_and_used_while_renewal_fails() {
        let identities = Identities::new(SharedCredentialsProvider::new(Hourly::default()), "r".to_owned());
        assert_eq!(key_at(&identities, 0).await.as_deref(), Some("AK0"));
        assert_eq!(key_at(&identities, 49).await.as_deref(), Some("AK0"));
        // The renewal fails, and there are minutes left.
        assert_eq!(key_at(&identities, 51).await.as_deref(), Some("AK0"));
        assert_eq!(key_at(&identities, 52).await.as_deref(), Some("AK2"));
        // The renewal fails, and there is nothing left.
        assert_eq!(key_at(&identities, 120).await, None);
        assert_eq!(key_at(&identities, 120).await.as_deref(), Some("AK4"));
    }

    #[tokio::test]
    async fn what_the_server_refuses_is_asked_for_again_once() {
        let identities = Identities::new(SharedCredentialsProvider::new(Hourly::default()), "r".to_owned());
        let first = identities.at(at(0)).await.unwrap();
        identities.refuse(&first);
        assert!(identities.at(at(1)).await.is_err());
        let second = identities.at(at(1)).await.unwrap();
        assert_eq!(second.credentials.access_key_id(), "AK2");
        // Another request that was signed with the first hears of it late.
        identities.refuse(&first);
        assert!(Arc::ptr_eq(&identities.at(at(1)).await.unwrap(), &second));
    }

    #[tokio::test]
    async fn the_key_is_derived_anew_each_day() {
        let provider = SharedCredentialsProvider::new(Credentials::new("AK", "s", None, None, "test"));
        let identities = Identities::new(provider, "r".to_owned());
        let first = identities.at(at(0)).await.unwrap();
        assert!(Arc::ptr_eq(&first, &identities.at(at(23 * 60)).await.unwrap()));
        assert!(!Arc::ptr_eq(&first, &identities.at(at(24 * 60)).await.unwrap()));
    }
}
