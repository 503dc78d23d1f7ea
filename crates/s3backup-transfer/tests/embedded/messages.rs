//! What a person reads when nothing works.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_model::{FailureKind, Key};
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use s3backup_transfer::{Bucket, ConnectOptions, Error, RetrySettings, StaticCredentials};

use crate::common::{Store, client, quick};

fn key() -> Key {
    Key::new("k").unwrap()
}

fn once() -> RetrySettings {
    RetrySettings { attempts: 1, ..quick() }
}

async fn said_by(client: &Client) -> Error {
    Bucket::from_client(client, "bucket").with_retry(once()).read(&key(), 10).await.unwrap_err()
}

async fn connected_to(endpoint: &str) -> Error {
    let options = ConnectOptions {
        bucket: "bucket".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        credentials: Some(StaticCredentials::new("a", "s")),
        ..ConnectOptions::default()
    };
    let bucket = Bucket::connect(&options).await.unwrap().with_retry(once());
    bucket.read(&key(), 10).await.unwrap_err()
}

#[tokio::test]
async fn nobody_listens() {
    let error = connected_to("http://127.0.0.1:9").await;
    assert_eq!(error.to_line(), "no answer to GetObject for s3://bucket/k: connection refused (127.0.0.1:9)");
    assert_eq!(error.kind(), FailureKind::Network);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn no_such_host() {
    let error = connected_to("http://no-such-host.invalid:9").await;
    let line = error.to_line();
    assert!(line.starts_with("no answer to GetObject for s3://bucket/k: "), "{line}");
    assert!(line.contains("no-such-host.invalid") && line.len() < 200, "{line}");
}

#[tokio::test]
async fn the_server_hangs_up() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::ResetBeforeReply));
    let line = said_by(&store.client).await.to_line();
    assert_eq!(
        line,
        "no answer to GetObject for s3://bucket/k: the connection was closed before the reply was whole"
    );
}

#[tokio::test]
async fn the_server_is_silent() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::Hang));
    let retry = RetrySettings { request_timeout: Duration::from_millis(200), ..once() };
    let error = store.bucket().with_retry(retry).read(&key(), 10).await.unwrap_err();
    assert_eq!(error.to_line(), "no answer to GetObject for s3://bucket/k: nothing moved for 0.2 s");
}

#[tokio::test]
async fn no_credentials() {
    let profile = ProfileFileCredentialsProvider::builder().profile_name("no-such-profile").build();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(profile)
        .endpoint_url("http://127.0.0.1:9")
        .force_path_style(true)
        .build();
    let error = said_by(&Client::from_conf(config)).await;
    assert!(matches!(error, Error::NoCredentials { .. }) && error.is_fatal(), "{error:?}");
    assert!(error.to_line().starts_with("no AWS credentials: set AWS_ACCESS_KEY_ID"), "{}", error.to_line());
}

/// Credentials that run out during a run, from a place that does not answer the first time.
#[derive(Debug, Default)]
struct Busy {
    asked: AtomicU32,
    fails: u32,
}

impl ProvideCredentials for Busy {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        future::ProvideCredentials::ready(if asked < self.fails {
            Err(CredentialsError::provider_error("the metadata service is busy"))
        } else {
            Ok(Credentials::new("nobody", "s", None, None, "test"))
        })
    }
}

#[tokio::test]
async fn a_failed_renewal_of_credentials_is_tried_again() {
    let store = Store::embedded().await;
    for (fails, attempts) in [(2, 3), (2, 2)] {
        let provider = SharedCredentialsProvider::new(Busy { fails, ..Busy::default() });
        let config = store.client.config().to_builder().credentials_provider(provider).build();
        let retry = RetrySettings { attempts, ..quick() };
        let bucket = Bucket::from_client(&Client::from_conf(config), "bucket").with_retry(retry);
        let error = bucket.read(&key(), 10).await.unwrap_err();
        if attempts > fails {
            assert_eq!(
                error.service().map(|refusal| &*refusal.code),
                Some("InvalidAccessKeyId"),
                "{error:?}"
            );
        } else {
            assert!(matches!(error, Error::NoCredentials { .. }) && error.is_fatal(), "{error:?}");
            assert!(error.to_line().contains("the metadata service is busy"), "{}", error.to_line());
        }
    }
}

/// A name with a telling word in it tells nothing.
#[tokio::test]
async fn a_host_that_is_called_credentials() {
    for host in ["credentials.invalid", "identity.invalid"] {
        let error = connected_to(&format!("http://{host}:9")).await;
        assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn wrong_credentials() {
    let store = Store::embedded().await;
    for (access, secret) in [("nobody", "very-secret"), (store.server().access_key(), "very-secret")] {
        let error = said_by(&client(&store.server().endpoint(), access, secret)).await;
        assert_eq!(error.kind(), FailureKind::Credentials, "{error:?}");
        assert!(error.is_fatal() && !error.is_retryable());
        let line = error.to_line();
        assert!(line.contains("check the access key and its secret"), "{line}");
        assert!(!line.contains("very-secret") && !format!("{error:?}").contains("very-secret"), "{line}");
    }
}

#[tokio::test]
async fn another_region() {
    let store = Store::embedded().await;
    for (status, code) in [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")] {
        let kind = FaultKind::Error { status, code: code.to_owned() };
        store.server().faults().set([Fault::new(kind)]);
        let error = said_by(&store.client).await;
        assert_eq!(error.kind(), FailureKind::Bucket, "{error:?}");
        assert!(error.to_line().contains("is in another region"), "{}", error.to_line());
        assert!(error.is_fatal());
    }
    let kind = FaultKind::Error { status: 301, code: "PermanentRedirect".to_owned() };
    store.server().faults().set([Fault::new(kind).on(Operation::HeadObject)]);
    let error = store.bucket().head(&key()).await.unwrap_err();
    assert!(error.to_line().contains("is in another region"), "{}", error.to_line());
}

/// A refusal that this crate has no words for is told in the server's.
#[tokio::test]
async fn an_unknown_refusal() {
    let store = Store::embedded().await;
    let kind = FaultKind::Error { status: 400, code: "InvalidStorageClass".to_owned() };
    store.server().faults().set([Fault::new(kind).on(Operation::GetObject)]);
    let error = said_by(&store.client).await;
    assert!(!error.is_retryable() && !error.is_fatal());
    let line = error.to_line();
    assert!(
        line.starts_with("the server refuses GetObject for s3://bucket/k (HTTP 400 InvalidStorageClass"),
        "{line}"
    );
}

/// Replies to HEAD have no body and so no code.
#[tokio::test]
async fn head_has_no_code() {
    let store = Store::embedded().await;
    store.server().faults().set([Fault::new(FaultKind::AccessDenied).on(Operation::HeadObject)]);
    let error = store.bucket().head(&key()).await.unwrap_err();
    assert!(error.service().is_some_and(s3backup_transfer::ServiceError::is_denied), "{error:?}");
    assert!(error.to_line().contains("s3:GetObject"), "{}", error.to_line());

    store.server().faults().set([Fault::new(FaultKind::ExpiredToken)]);
    let error = store.bucket().head(&key()).await.unwrap_err();
    assert!(error.to_line().contains("expired"), "{}", error.to_line());
}
