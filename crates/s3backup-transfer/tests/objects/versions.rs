//! Buckets that keep what is overwritten.

use std::sync::LazyLock;

use s3backup_transfer::aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus,
    LifecycleRule, LifecycleRuleFilter, VersioningConfiguration,
};
use s3backup_transfer::{ChecksumKind, DownloadLimits, Error, Lifecycle, Pin, crc64nvme_base64};

use crate::common::{MIB, Store, noise};
use crate::moto::{ACCESS_KEY, Moto, SECRET_KEY};
use crate::{download, key, put};

static SERVER: LazyLock<Moto> = LazyLock::new(Moto::start);

async fn versioned_store() -> Store {
    let endpoint = tokio::task::spawn_blocking(|| SERVER.endpoint()).await.unwrap();
    let name = format!("b-{:016x}", fastrand::u64(..));
    let store = Store::on(&endpoint, ACCESS_KEY, SECRET_KEY, name.clone()).await;
    let client = &store.client;
    client.create_bucket().bucket(&name).send().await.unwrap();
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let versioning = client.put_bucket_versioning().bucket(&name).versioning_configuration(enabled);
    versioning.send().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overwritten_version_is_still_there_until_it_is_removed() {
    let store = versioned_store().await;
    let bucket = store.bucket();
    for size in [100, 16 * MIB + 3] {
        let (before, after) = (noise(1, size), noise(2, size));
        let first = put(&store.client, &store.name, "f", &before).await;
        let second = put(&store.client, &store.name, "f", &after).await;
        for (pin, bytes) in [(&first, &before), (&second, &after)] {
            let (got, file) = download(&store, &bucket, "f", pin, bytes).await;
            assert_eq!(got.unwrap().crc64nvme, crc64nvme_base64(bytes));
            assert!(file == *bytes, "{size}");
            let hashed = bucket.hash_object(&key("f"), pin, &DownloadLimits::default()).await.unwrap();
            assert_eq!(hashed.crc64nvme, crc64nvme_base64(bytes));
            let head = bucket.head_version(&key("f"), pin.version_id.as_deref()).await.unwrap().unwrap();
            assert_eq!((head.version_id, Some(head.etag)), (pin.version_id.clone(), pin.etag.clone()));
        }
        // Without its version, only the current content can be had.
        let unversioned = Pin { version_id: None, ..first.clone() };
        let (got, _) = download(&store, &bucket, "f", &unversioned, &before).await;
        assert!(matches!(got, Err(Error::VersionGone { .. })), "{got:?}");

        bucket.delete(&key("f"), None).await.unwrap();
        assert!(bucket.head(&key("f")).await.unwrap().is_none());
        let (got, file) = download(&store, &bucket, "f", &first, &before).await;
        assert!(got.is_ok() && file == before, "a delete marker hides and removes nothing: {got:?}");
        bucket.delete(&key("f"), first.version_id.as_deref()).await.unwrap();
        let (got, _) = download(&store, &bucket, "f", &first, &before).await;
        assert!(matches!(got, Err(Error::VersionGone { .. })), "{got:?}");
        let failed = bucket.delete_many(&[(key("f"), second.version_id.clone())]).await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(bucket.head_version(&key("f"), second.version_id.as_deref()).await.unwrap().is_none());
    }
}

/// The version is that of the bytes that were written, not of those that came behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_names_its_version() {
    let store = versioned_store().await;
    let (bucket, key) = (store.bucket(), key("control"));
    let written = bucket.write(&key, "one".into(), ChecksumKind::None, None).await.unwrap();
    bucket.write(&key, "two".into(), ChecksumKind::None, None).await.unwrap();
    let pin = Pin { version_id: written.version_id, etag: Some(written.etag) };
    let (got, file) = download(&store, &bucket, "control", &pin, b"one").await;
    assert_eq!((got.unwrap().size, &file[..]), (3, &b"one"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bucket_does_with_open_uploads_is_read() {
    let store = versioned_store().await;
    let bucket = store.bucket();
    assert_eq!(bucket.lifecycle("trips/").await, Lifecycle::Keeps);
    assert!(bucket.server_time().await.is_some());

    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(7).build();
    let rule = LifecycleRule::builder()
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("trips/").build())
        .abort_incomplete_multipart_upload(abort);
    let rules = BucketLifecycleConfiguration::builder().rules(rule.build().unwrap()).build().unwrap();
    let put = store.client.put_bucket_lifecycle_configuration().bucket(&store.name);
    put.lifecycle_configuration(rules).send().await.unwrap();
    assert_eq!(bucket.lifecycle("trips/").await, Lifecycle::Aborts { days: 7 });
    assert_eq!(bucket.lifecycle("logs/").await, Lifecycle::Keeps);
}
