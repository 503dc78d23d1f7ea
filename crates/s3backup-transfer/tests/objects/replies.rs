//! Replies that no server here gives: what S3's documents say of archives and of objects that it will not remove.

use std::sync::Mutex;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::aws_sdk_s3::primitives::SdkBody;
use s3backup_transfer::{Bucket, Error, Pin};

use crate::common::{Store, client, quick};
use crate::{download, key};

/// Gives these replies, status and body, one after the other.
#[derive(Debug)]
struct Replies(Mutex<Vec<(u16, &'static str)>>);

impl HttpConnector for Replies {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = self.0.lock().unwrap().remove(0);
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            StatusCode::try_from(status).unwrap(),
            SdkBody::from(body),
        )))
    }
}

fn bucket(replies: &[(u16, &'static str)]) -> Bucket {
    let connector = SharedHttpConnector::new(Replies(Mutex::new(replies.to_vec())));
    let http = http_client_fn(move |_, _| connector.clone());
    let config = client("http://s3.invalid", "a", "s").config().to_builder().http_client(http);
    Bucket::from_client(&Client::from_conf(config.build()), "bucket").with_retry(quick())
}

#[tokio::test]
async fn an_archived_object_must_be_thawed() {
    let refusal = "<Error><Code>InvalidObjectState</Code><Message>The operation is not valid for the object's \
                   storage class</Message><StorageClass>DEEP_ARCHIVE</StorageClass></Error>";
    let store = Store::embedded().await;
    let pin = Pin { version_id: Some("v1".to_owned()), etag: None };
    let (got, _) = download(&store, &bucket(&[(403, refusal)]), "f", &pin, b"x").await;
    let error = got.unwrap_err();
    assert!(matches!(&error, Error::NeedsThaw { storage_class, .. } if storage_class == "DEEP_ARCHIVE"));
    assert!(error.to_line().contains("restore-object"), "{}", error.to_line());
}

#[tokio::test]
async fn a_version_takes_a_right_of_its_own() {
    let refusal = "<Error><Code>AccessDenied</Code></Error>";
    let store = Store::embedded().await;
    let pin = Pin { version_id: Some("v1".to_owned()), etag: None };
    let (got, _) = download(&store, &bucket(&[(403, refusal)]), "f", &pin, b"x").await;
    let line = got.unwrap_err().to_line();
    assert!(line.contains("s3:GetObjectVersion"), "{line}");
}

/// What may go well later is asked for again, and only that.
#[tokio::test]
async fn each_object_that_is_not_removed_is_named() {
    let first = "<DeleteResult>\
                 <Error><Key>locked</Key><VersionId>v1</VersionId><Code>AccessDenied</Code></Error>\
                 <Error><Key>busy</Key><Code>InternalError</Code></Error>\
                 <Error><Key>odd</Key><Code>Strange</Code><Message>so it is</Message></Error>\
                 <Error><Key>gone</Key><Code>NoSuchKey</Code></Error>\
                 </DeleteResult>";
    let second = "<DeleteResult></DeleteResult>";
    let objects = [
        (key("fine"), None),
        (key("busy"), None),
        (key("locked"), Some("v0".to_owned())),
        (key("locked"), Some("v1".to_owned())),
        (key("odd"), Some("v1".to_owned())),
        (key("gone"), None),
    ];
    let failed = bucket(&[(200, first), (200, second)]).delete_many(&objects).await.unwrap();
    let said: Vec<_> = failed.iter().map(|(place, error)| (*place, error.to_line())).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!((said[0].0, said[1].0), (3, 4));
    assert!(said[0].1.contains("s3:DeleteObjectVersion") && said[0].1.contains("/locked"), "{said:?}");
    assert!(said[1].1.contains("/odd") && said[1].1.contains("so it is"), "{said:?}");
}

/// A listing without an end would be a listing without the rest.
#[tokio::test]
async fn a_listing_that_breaks_off_is_an_error() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>";
    let error = bucket(&[(200, page)]).list("", None).await.unwrap_err();
    assert!(error.to_line().contains("next page"), "{}", error.to_line());
    let page = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>";
    let error = bucket(&[(200, page)]).open_uploads(&key("k")).await.unwrap_err();
    assert!(error.to_line().contains("next page"), "{}", error.to_line());
}
