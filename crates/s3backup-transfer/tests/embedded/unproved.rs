//! A server that shows nothing of what it stored.

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::aws_sdk_s3::primitives::SdkBody;
use s3backup_transfer::{Bucket, ChecksumKind, Engine};

use crate::common::{Store, objects, of_kind, quick, run};

/// Takes every object, gives it an ETag of its own, and lets nobody read.
#[derive(Debug)]
struct WriteOnly;

impl HttpConnector for WriteOnly {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let status = if request.method() == "PUT" { 200 } else { 403 };
        let mut reply = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        reply.headers_mut().insert("etag", "\"of-its-own\"");
        HttpConnectorFuture::ready(Ok(reply))
    }
}

#[tokio::test]
async fn what_nothing_proves_is_warned_of_once() {
    let store = Store::embedded().await;
    let connector = SharedHttpConnector::new(WriteOnly);
    let http = http_client_fn(move |_, _| connector.clone());
    let client = Client::from_conf(store.client.config().to_builder().http_client(http).build());
    let bucket = Bucket::from_client(&client, &store.name).with_retry(quick());
    let engine = Engine::new(bucket, of_kind(ChecksumKind::None), objects("run-1"));
    let uploads = ["a", "b", "c"].map(|name| store.file(name, b"x"));
    let said = run(engine, uploads.to_vec()).await;
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    assert_eq!(said.warnings.len(), 1, "{:?}", said.warnings);
    assert!(said.warnings[0].contains("s3:GetObject"), "{:?}", said.warnings);
}
