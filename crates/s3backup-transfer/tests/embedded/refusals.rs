//! What the server refuses because of when and where we ask.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use s3backup_model::{FailureKind, Key};
use s3backup_transfer::{ChecksumKind, Error};

use crate::by_hand::{ByHand, Request, refusal};
use crate::common::{Store, noise};

/// A server whose clock is ahead of ours.
fn clock_of_server() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn too_skewed() -> String {
    let date = clock_of_server().format("date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
    refusal(403, "RequestTimeTooSkewed", &date)
}

/// As S3: a quarter of an hour is not too much.
fn is_in_time(request: &Request) -> bool {
    let at = NaiveDateTime::parse_from_str(request.said("x-amz-date"), "%Y%m%dT%H%M%SZ").unwrap();
    (at.and_utc() - clock_of_server()).abs() < TimeDelta::minutes(15)
}

async fn write_to(server: &ByHand, count: u64) -> Result<(), Error> {
    let bucket = Store::on(&server.url(), "a", "s", "bucket".to_owned()).await.bucket();
    for seed in 0..count {
        let bytes = noise(seed, 100).into();
        bucket.write(&Key::new("k").unwrap(), bytes, ChecksumKind::Crc64Nvme, None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_clock_is_set_by_that_of_the_server() {
    let answer = |_, request: &Request| if is_in_time(request) { request.ok() } else { too_skewed() };
    let server = ByHand::answering(answer);
    write_to(&server, 3).await.unwrap();
    assert_eq!(server.seen().len(), 4, "one repeat, at the first");
}

#[tokio::test]
async fn a_server_that_refuses_its_own_time() {
    let server = ByHand::answering(|_, _| too_skewed());
    let error = write_to(&server, 1).await.unwrap_err();
    assert!(error.is_fatal() && error.to_line().contains("set the clock"), "{error:?}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_bucket_in_another_region() {
    let redirect = refusal(301, "PermanentRedirect", "x-amz-bucket-region: eu-west-1\r\n");
    let server = ByHand::answering(move |_, _| redirect.clone());
    let error = write_to(&server, 1).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Bucket, "{error:?}");
    assert!(error.is_fatal() && error.to_line().contains("eu-west-1"), "{}", error.to_line());
    assert_eq!(server.seen().len(), 1);
}
