//! LIST.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{EncodingType, ObjectStorageClass, StorageClass};

use crate::client::{BUCKET, client, put, refused, start, status};

const KEYS: [&str; 8] = ["A", "a", "a b/1", "a+c", "a.b", "a/b", "a/c/d", "é"];

async fn fill(client: &Client) {
    for key in KEYS.iter().rev() {
        put(client, key, key.as_bytes()).await;
    }
}

#[tokio::test]
async fn pages_of_version_2() {
    let server = start().await;
    let client = client(&server);
    fill(&client).await;
    for size in 1..=9 {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let request = client.list_objects_v2().bucket(BUCKET).max_keys(size);
            let page = request.set_continuation_token(token).send().await.unwrap();
            assert_eq!(page.key_count().map(|count| count <= size), Some(true));
            found.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
            token = page.next_continuation_token.clone();
            assert_eq!(page.is_truncated(), Some(token.is_some()));
            if token.is_none() {
                break;
            }
        }
        assert_eq!(found, KEYS);
    }
    let wrong = client.list_objects_v2().bucket(BUCKET).continuation_token("a").send();
    assert_eq!(refused(wrong).await, status(400, "InvalidArgument"));
}

#[tokio::test]
async fn pages_of_version_1() {
    let server = start().await;
    let client = client(&server);
    fill(&client).await;
    let (mut keys, mut prefixes, mut marker) = (Vec::new(), Vec::new(), None);
    loop {
        let request = client.list_objects().bucket(BUCKET).delimiter("/").max_keys(1);
        let page = request.set_marker(marker).send().await.unwrap();
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        prefixes.extend(page.common_prefixes().iter().map(|common| common.prefix().unwrap().to_owned()));
        marker = page.next_marker;
        if page.is_truncated == Some(false) {
            break;
        }
    }
    assert_eq!(keys, ["A", "a", "a+c", "a.b", "é"]);
    assert_eq!(prefixes, ["a b/", "a/"]);
}

#[tokio::test]
async fn prefix_delimiter_and_start_after() {
    let server = start().await;
    let client = client(&server);
    fill(&client).await;
    let page = client.list_objects_v2().bucket(BUCKET).prefix("a/").delimiter("/").send().await.unwrap();
    assert_eq!(page.contents().iter().map(|object| object.key().unwrap()).collect::<Vec<_>>(), ["a/b"]);
    assert_eq!(page.common_prefixes()[0].prefix(), Some("a/c/"));
    assert_eq!(page.key_count(), Some(2));
    let page = client.list_objects_v2().bucket(BUCKET).start_after("a.b").send().await.unwrap();
    let found: Vec<_> = page.contents().iter().map(|object| object.key().unwrap()).collect();
    assert_eq!(found, ["a/b", "a/c/d", "é"]);
    assert_eq!(page.start_after(), Some("a.b"));
}

#[tokio::test]
async fn common_prefixes_are_listed_once_whatever_the_page() {
    let server = start().await;
    let client = client(&server);
    fill(&client).await;
    for size in 1..=6 {
        let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), None);
        loop {
            let request = client.list_objects_v2().bucket(BUCKET).delimiter("/").max_keys(size);
            let page = request.set_continuation_token(token).send().await.unwrap();
            keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
            prefixes.extend(page.common_prefixes().iter().map(|common| common.prefix().unwrap().to_owned()));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(keys, ["A", "a", "a+c", "a.b", "é"], "{size} a page");
        assert_eq!(prefixes, ["a b/", "a/"], "{size} a page");
    }
}

#[tokio::test]
async fn keys_are_encoded_on_request() {
    let server = start().await;
    let client = client(&server);
    fill(&client).await;
    put(&client, "line\nbreak", b"").await;
    let request = client.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url);
    let page = request.prefix("a ").send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("a%20b/1"));
    assert_eq!(page.prefix(), Some("a%20"));
    let request = client.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url);
    let page = request.prefix("line").send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("line%0Abreak"));
}

#[tokio::test]
async fn entries_say_what_there_is_to_say() {
    let server = start().await;
    let client = client(&server);
    let request = client.put_object().bucket(BUCKET).key("k").checksum_crc32("AAAAAA==");
    let etag = request.storage_class(StorageClass::StandardIa).send().await.unwrap().e_tag;
    let page = client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let object = &page.contents()[0];
    assert_eq!(object.e_tag, etag);
    assert_eq!(object.size(), Some(0));
    assert_eq!(object.storage_class(), Some(&ObjectStorageClass::StandardIa));
    assert_eq!(object.checksum_algorithm()[0].as_str(), "CRC32");
    assert_eq!(object.checksum_type().unwrap().as_str(), "FULL_OBJECT");
    let head = client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(object.last_modified, head.last_modified);
    let versions = client.list_object_versions().bucket(BUCKET).send().await.unwrap();
    assert_eq!(versions.versions()[0].version_id(), Some("null"));
}

#[tokio::test]
async fn buckets() {
    let server = start().await;
    let client = client(&server);
    client.create_bucket().bucket("another").send().await.unwrap();
    let again = refused(client.create_bucket().bucket("another").send()).await;
    assert_eq!(again, status(409, "BucketAlreadyOwnedByYou"));
    let listed = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().map(|bucket| bucket.name().unwrap()).collect();
    assert_eq!(names, ["another", BUCKET]);
    let head = client.head_bucket().bucket("another").send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("us-east-1"));
    let versioning = client.get_bucket_versioning().bucket("another").send().await.unwrap();
    assert_eq!(versioning.status(), None);
    client.get_bucket_location().bucket("another").send().await.unwrap();

    client.put_object().bucket("another").key("k").send().await.unwrap();
    let full = refused(client.delete_bucket().bucket("another").send()).await;
    assert_eq!(full, status(409, "BucketNotEmpty"));
    client.delete_object().bucket("another").key("k").send().await.unwrap();
    client.delete_bucket().bucket("another").send().await.unwrap();
    assert_eq!(refused(client.head_bucket().bucket("another").send()).await.0, 404);
}
