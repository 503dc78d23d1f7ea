//! Lines on which a request takes longer than a server may be silent.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use http_body_util::BodyExt;
use s3backup_model::Key;
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use s3backup_transfer::aws_sdk_s3::primitives::SdkBody;
use s3backup_transfer::{Bucket, ChecksumKind, Error, RetrySettings};

use crate::common::{noise, quick};

/// A transport that takes a piece of the body every ten seconds, and no more once it has `stops_at` bytes.
#[derive(Clone)]
struct SlowLine {
    stops_at: usize,
    /// The signed checksums, and the length of the largest piece.
    seen: Arc<Mutex<(Vec<String>, usize)>>,
}

impl SlowLine {
    fn saw_piece(&self, len: usize) {
        let largest = &mut self.seen.lock().unwrap().1;
        *largest = len.max(*largest);
    }
}

impl fmt::Debug for SlowLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowLine")
    }
}

impl HttpConnector for SlowLine {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let line = self.clone();
        HttpConnectorFuture::new(async move {
            let signed = request.headers().get("x-amz-content-sha256").unwrap_or_default().to_owned();
            line.seen.lock().unwrap().0.push(signed);
            let mut body = request.take_body();
            let mut taken = 0;
            while let Some(frame) = body.frame().await {
                let len = frame.unwrap().into_data().unwrap().len();
                line.saw_piece(len);
                taken += len;
                if taken >= line.stops_at {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            Ok(HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::empty()))
        })
    }
}

fn bucket_on(line: &SlowLine) -> Bucket {
    let connector = SharedHttpConnector::new(line.clone());
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("a", "s", None, None, "test"))
        .endpoint_url("http://slow.invalid")
        .force_path_style(true)
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    let retry = RetrySettings { attempts: 1, request_timeout: Duration::from_secs(30), ..quick() };
    Bucket::from_client(&Client::from_conf(config), "bucket").with_retry(retry)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_moves_is_not_lost() {
    let line = SlowLine { stops_at: usize::MAX, seen: Arc::default() };
    let bytes = noise(1, 4 << 20);
    let begun = tokio::time::Instant::now();
    let key = Key::new("k").unwrap();
    bucket_on(&line).write(&key, bytes.into(), ChecksumKind::Crc64Nvme, None).await.unwrap();
    assert!(begun.elapsed() > Duration::from_mins(10), "{:?}", begun.elapsed());
    let (signed, largest) = line.seen.lock().unwrap().clone();
    assert!(largest <= 64 << 10, "{largest}");
    // Plain HTTP has nothing else that protects the bytes on their way.
    assert!(signed.len() == 1 && signed[0].len() == 64, "{signed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_stands_still_is_lost() {
    let line = SlowLine { stops_at: 1 << 20, seen: Arc::default() };
    let begun = tokio::time::Instant::now();
    let key = Key::new("k").unwrap();
    let sent = bucket_on(&line).write(&key, noise(1, 4 << 20).into(), ChecksumKind::Crc64Nvme, None).await;
    let error = sent.unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
    // 64 pieces, 10 s each, then the limit with 512 KiB in the buffers.
    assert_eq!(error.to_line(), "no answer to PutObject for s3://bucket/k: nothing moved for 158 s");
    assert!(begun.elapsed() < Duration::from_mins(15), "{:?}", begun.elapsed());
}
