//! Both paths say the same to the server.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use s3backup_transfer::{
    Bucket, ChecksumKind, ConnectOptions, Engine, HttpPath, ObjectSettings, Sse, StaticCredentials,
};

use crate::by_hand::{ByHand, Request};
use crate::common::{PART, Store, noise, objects, of_kind, quick, run, tags};

/// What differs from one request to the next, or tells of the client alone.
fn is_particular(name: &str) -> bool {
    name.starts_with("amz-sdk-")
        || ["authorization", "connection", "host", "user-agent", "x-amz-user-agent", "x-amz-date", "accept"]
            .contains(&name)
}

/// The fields of a request that say something of the object.
fn of_object(request: &Request) -> BTreeMap<String, String> {
    let fields = request.fields.iter().filter(|(name, _)| !is_particular(name));
    fields.cloned().collect()
}

/// The small object and one part, as a server sees them that is asked by one path.
async fn sent_by(http: HttpPath, kind: ChecksumKind, settings: &ObjectSettings) -> [Request; 2] {
    let store = Store::embedded().await;
    let server = store.server();
    let behind = server.endpoint().trim_start_matches("http://").parse().unwrap();
    let tap = ByHand::tap(behind);
    let options = ConnectOptions {
        bucket: "bucket".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint: Some(tap.url()),
        credentials: Some(StaticCredentials::new(server.access_key(), server.secret_key())),
        http,
    };
    let bucket = Bucket::connect(&options).await.unwrap().with_retry(quick());
    let uploads = [("small é", noise(1, 100)), ("large", noise(2, PART + 1))];
    let uploads = uploads.map(|(name, bytes)| {
        let upload = store.file(name, &bytes);
        let old = SystemTime::UNIX_EPOCH + Duration::from_hours(498_731);
        std::fs::File::options().write(true).open(store.path(name)).unwrap().set_modified(old).unwrap();
        let entry = crate::common::entry(store.folder.path(), name);
        s3backup_transfer::Upload { entry, ..upload }
    });
    let said = run(Engine::new(bucket, of_kind(kind), settings.clone()), uploads.to_vec()).await;
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    ["/small", "partNumber=2"].map(|part| {
        let seen = tap.seen();
        seen.iter().find(|request| request.is("PUT") && request.line.contains(part)).unwrap().clone()
    })
}

#[tokio::test]
async fn both_paths_say_the_same_of_an_object() {
    let kms = Sse::Kms { key_id: Some("arn:aws:kms:us-east-1:1:key/k".to_owned()) };
    for (kind, sse) in [
        (ChecksumKind::Crc64Nvme, kms),
        (ChecksumKind::Crc32c, Sse::S3),
        (ChecksumKind::Sha256, Sse::Kms { key_id: None }),
        (ChecksumKind::None, Sse::S3),
    ] {
        let settings = ObjectSettings {
            storage_class: Some("STANDARD_IA".to_owned()),
            sse: Some(sse),
            tags: tags(&[("team", "fleet & co"), ("x", "")]),
            ..objects("run-1")
        };
        let fast = sent_by(HttpPath::Fast, kind, &settings).await;
        let sdk = sent_by(HttpPath::Sdk, kind, &settings).await;
        for (fast, sdk) in fast.iter().zip(&sdk) {
            let (mut of_fast, mut of_sdk) = (of_object(fast), of_object(sdk));
            // On loopback the fast path leaves the payload out of the signature.
            let hashes = ["x-amz-content-sha256"].map(|name| (of_fast.remove(name), of_sdk.remove(name)));
            assert_eq!(hashes[0].0.as_deref(), Some("UNSIGNED-PAYLOAD"));
            assert_eq!(of_fast, of_sdk, "{kind:?} {}", fast.line);
            assert!(fast.body == sdk.body);
            let path = |request: &Request| request.line.split(['?', ' ']).nth(1).unwrap().to_owned();
            assert_eq!(path(fast), path(sdk));
        }
        assert_eq!(fast[0].said("x-amz-storage-class"), "STANDARD_IA");
        assert_eq!(fast[0].said("x-amz-tagging"), "team=fleet%20%26%20co&x=");
    }
}
