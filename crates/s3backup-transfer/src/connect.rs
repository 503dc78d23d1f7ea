//! From options to a client that is ready to use.

use std::path::Path;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, Credentials, ProvideCredentials, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use crate::access::Access;
use crate::wire::{Wire, ca_bundle, read_bundle};
use crate::{Bucket, Error, HttpPath};

/// How long a TCP and TLS connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the search for credentials may take: a wait for the metadata service, a login, or a program that the profile
/// names.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_mins(1);

/// Servers that are not of AWS mostly take any region, and this one if they are particular.
const FOREIGN_REGION: &str = "us-east-1";

/// Where the bucket is and how to get in.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Name of the bucket.
    pub bucket: String,
    /// AWS region; found the AWS way when absent. An endpoint that is not of AWS needs none.
    pub region: Option<String>,
    /// URL of an S3-compatible server; AWS when absent (or what `AWS_ENDPOINT_URL` says).
    pub endpoint: Option<String>,
    /// Credentials that take the place of those of the environment.
    pub credentials: Option<StaticCredentials>,
    /// Who makes the requests that carry the bytes of files. A client that is handed in ([`Bucket::from_client`]) always
    /// makes them itself.
    pub http: HttpPath,
}

/// An access key and its secret. `Debug` does not show the secret.
#[derive(Clone)]
pub struct StaticCredentials {
    access_key: String,
    secret_key: String,
}

impl StaticCredentials {
    /// Takes a pair.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into() }
    }
}

impl std::fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticCredentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Bucket {
    /// Finds credentials and region the AWS way (environment, profile, SSO, web identity, container, IMDS) and makes a
    /// client for the bucket. Credentials that expire are renewed during the run. Sends no request to the bucket.
    ///
    /// The path style of addressing (`endpoint/bucket/key`) is used for every endpoint that is not of AWS.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] and [`Error::NoRegion`].
    pub async fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(credentials) = &options.credentials {
            loader = loader.credentials_provider(Credentials::new(
                &credentials.access_key,
                &credentials.secret_key,
                None,
                None,
                "handed in",
            ));
        }
        let is_named_foreign = options.endpoint.as_deref().is_some_and(|url| !is_of_aws(url));
        loader = match &options.region {
            Some(region) => loader.region(Region::new(region.clone())),
            // The metadata service of a cloud does not know the region of such a server: asking it costs time and warnings.
            None if is_named_foreign => loader.region(
                RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                    .or_else(ProfileFileRegionProvider::new())
                    .or_else(Region::from_static(FOREIGN_REGION)),
            ),
            None => loader,
        };
        if let Some(endpoint) = &options.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;

        let provider = config.credentials_provider().ok_or_else(|| Error::NoCredentials {
            cause: "no provider of credentials is configured".into(),
        })?;
        let access = Access::of(&ask_for_credentials(&provider).await?);

        // The order of the SDK: what is said here, then what the environment says of S3, then of all services.
        let endpoint = options
            .endpoint
            .clone()
            .or_else(|| std::env::var("AWS_ENDPOINT_URL_S3").ok())
            .or_else(|| config.endpoint_url().map(ToOwned::to_owned));
        let is_foreign = endpoint.as_deref().is_some_and(|url| !is_of_aws(url));
        let mut builder = Builder::from(&config).force_path_style(is_foreign);
        if config.region().is_none() {
            if !is_foreign {
                return Err(Error::NoRegion);
            }
            builder = builder.region(Region::from_static(FOREIGN_REGION));
        }
        if let Some(path) = ca_bundle() {
            builder = builder.http_client(trusting(&path)?);
        }
        let client = finish(builder);
        let wire = match options.http {
            HttpPath::Fast => Wire::open(&client, &options.bucket, provider).await?,
            HttpPath::Sdk => None,
        };
        Ok(Self::new(client, options.bucket.clone(), endpoint).with_access(access).with_wire(wire))
    }

    /// Uses a client that exists: its credentials, region, endpoint and HTTP client.
    ///
    /// Its own retries, stalled-stream protection and automatic checksums are switched off in the copy that this
    /// bucket uses, because the engine does these itself.
    pub fn from_client(client: &Client, bucket: impl Into<String>) -> Self {
        Self::new(finish(client.config().to_builder()), bucket.into(), None)
    }
}

/// Asks for credentials, within a minute. At first, so that a run without any ends before it has begun.
pub(crate) async fn ask_for_credentials(provider: &impl ProvideCredentials) -> Result<Credentials, Error> {
    let asked = tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await;
    match asked {
        Ok(found) => found.map_err(|cause| Error::NoCredentials { cause: Box::new(cause) }),
        Err(_) => Err(Error::NoCredentials {
            cause: Box::new(CredentialsError::provider_timed_out(CREDENTIALS_TIMEOUT)),
        }),
    }
}

/// The SDK's own HTTP client, trusting the certificates of a file instead of the system's.
fn trusting(bundle: &Path) -> Result<SharedHttpClient, Error> {
    // It takes a file that it cannot read for one without certificates.
    read_bundle(bundle)?;
    let broken = |cause: String| Error::CaBundle { path: bundle.to_owned(), cause };
    let pem = std::fs::read(bundle).map_err(|error| broken(error.to_string()))?;
    let trusted = TrustStore::empty().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| broken(error.to_string()))?;
    let client =
        aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = Connector::builder();
            connector.set_connector_settings(settings.cloned());
            if let Some(components) = components {
                connector.set_sleep_impl(components.sleep_impl());
            }
            let connector = connector.proxy_config(ProxyConfig::from_env());
            connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context.clone()).build()
        });
    Ok(client)
}

fn finish(builder: Builder) -> Client {
    let config = builder
        // Retries are the engine's: it counts them, tells of them, and knows which replies were lost.
        .retry_config(RetryConfig::disabled())
        // It ends healthy uploads on slow links (aws-sdk-rust issues 1146 and 1202); the engine has its own timeout.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

fn is_of_aws(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

#[cfg(test)]
mod tests {
    use super::*;

    use aws_credential_types::provider::future;

    /// A program that the profile names, and that waits for a person.
    #[derive(Debug)]
    struct Silent;

    impl ProvideCredentials for Silent {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_search_for_credentials_ends() {
        let error = ask_for_credentials(&Silent).await.unwrap_err();
        assert!(matches!(error, Error::NoCredentials { .. }) && error.is_fatal(), "{error:?}");
        assert!(error.to_line().contains("60 seconds"), "{}", error.to_line());
    }

    #[test]
    fn only_endpoints_of_aws_use_the_bucket_as_host_name() {
        assert!(is_of_aws("https://s3.ap-northeast-2.amazonaws.com"));
        assert!(is_of_aws("https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com:443/"));
        for foreign in [
            "http://127.0.0.1:9000",
            "http://localhost:8333/",
            "https://amazonaws.com.evil.example",
            "http://[::1]:9000",
        ] {
            assert!(!is_of_aws(foreign), "{foreign}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let shown = format!("{:?}", StaticCredentials::new("AK", "very secret"));
        assert!(shown.contains("AK") && !shown.contains("very secret"), "{shown}");
    }
}
