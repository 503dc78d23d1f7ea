//! What the tests share.

use std::future::Future;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use md5::{Digest as _, Md5};
use s3backup_local_s3::LocalS3;

pub(crate) const BUCKET: &str = "test-bucket";

pub(crate) async fn start() -> LocalS3 {
    LocalS3::builder().bucket(BUCKET).start().await.unwrap()
}

/// A client that tries once, and so shows what the server does.
pub(crate) fn client(server: &LocalS3) -> Client {
    client_with(server, server.access_key(), server.secret_key())
}

/// A client that sends no checksum.
pub(crate) fn plain_client(server: &LocalS3) -> Client {
    let calculation = RequestChecksumCalculation::WhenRequired;
    let config = client(server).config().to_builder().request_checksum_calculation(calculation).build();
    Client::from_conf(config)
}

pub(crate) fn client_with(server: &LocalS3, access_key: &str, secret_key: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(server.endpoint())
        .region(Region::new(server.region().to_owned()))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

/// Puts an object and gives its `ETag`, quotes and all.
pub(crate) async fn put(client: &Client, key: &str, body: &[u8]) -> String {
    let request = client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.to_vec()));
    request.send().await.unwrap().e_tag.unwrap()
}

pub(crate) async fn get(client: &Client, key: &str) -> Option<Vec<u8>> {
    match client.get_object().bucket(BUCKET).key(key).send().await {
        Ok(reply) => Some(reply.body.collect().await.unwrap().to_vec()),
        Err(error) if error.code() == Some("NoSuchKey") => None,
        Err(error) => panic!("{error:?}"),
    }
}

pub(crate) async fn keys(client: &Client) -> Vec<String> {
    let reply = client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    reply.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

/// The status and the code of the error that a request must end with.
pub(crate) async fn refused<T, E>(
    request: impl Future<Output = Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>>,
) -> (u16, String)
where
    T: std::fmt::Debug,
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let error = request.await.expect_err("must be refused");
    let status = error.raw_response().unwrap_or_else(|| panic!("no reply: {error:?}")).status().as_u16();
    (status, error.code().unwrap_or_default().to_owned())
}

/// A request must end without any reply, because the connection was lost.
pub(crate) async fn cut_off<T, E>(
    request: impl Future<Output = Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>>,
) where
    T: std::fmt::Debug,
    E: std::error::Error + Send + Sync + 'static,
{
    let error = request.await.expect_err("must be cut off");
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
}

pub(crate) fn status(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub(crate) fn md5_hex(data: &[u8]) -> String {
    crate::raw::hex(&Md5::digest(data))
}

/// Bytes that differ from place to place.
pub(crate) fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(step).take(length).collect()
}
