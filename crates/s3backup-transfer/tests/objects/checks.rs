//! What must hold on every server.

use s3backup_transfer::aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use s3backup_transfer::{
    ChecksumKind, Compared, DownloadLimits, Downloaded, Error, Expected, ListedObject, Pin, WriteCondition,
    crc64nvme_base64,
};
use tokio_util::sync::CancellationToken;

use crate::common::{MIB, PART, Store, noise};
use crate::{download, key, put, put_in_parts};

/// Longer than two ranges.
const LARGE: u64 = 16 * MIB + 3;

pub(crate) async fn a_listing_tells_contents_apart(store: &Store) {
    let (first, second) = (
        put(&store.client, &store.name, "a/1", b"one").await,
        put(&store.client, &store.name, "a/2", b"other").await,
    );
    let mut listed = store.bucket().list("a/", None).await.unwrap().objects;
    listed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    for (object, (key, size, pin)) in listed.iter().zip([("a/1", 3, first), ("a/2", 5, second)]) {
        let storage_class = object.storage_class.clone();
        let etag = pin.etag.unwrap();
        let modified_at = object.modified_at;
        assert!(modified_at.is_some());
        assert_eq!(*object, ListedObject { key: key.to_owned(), size, etag, storage_class, modified_at });
    }
    assert_eq!(listed.len(), 2);
}

pub(crate) async fn folders_are_listed_without_what_is_in_them(store: &Store) {
    for key in ["m/run-1/1", "m/run-1/2", "m/run 2+é/1", "m/latest", "n/x"] {
        put(&store.client, &store.name, key, b"x").await;
    }
    let (mut folders, mut objects, mut page) = (Vec::new(), Vec::new(), None);
    let bucket = store.bucket();
    loop {
        let listed = bucket.list_folder("m/", page.as_deref()).await.unwrap();
        folders.extend(listed.folders);
        objects.extend(listed.objects.into_iter().map(|object| object.key));
        page = listed.next;
        if page.is_none() {
            break;
        }
    }
    folders.sort_unstable();
    assert_eq!(folders, ["m/run 2+é/", "m/run-1/"]);
    assert_eq!(objects, ["m/latest"]);
    assert!(bucket.server_clock().is_some());
    assert_eq!(store.bucket().list_folder("none/", None).await.unwrap().folders, [""; 0]);
}

pub(crate) async fn a_condition_keeps_others_from_being_overwritten(store: &Store) {
    let (bucket, key) = (store.bucket(), key("control"));
    let write = async |text: &'static str, condition: WriteCondition| {
        bucket.write_if(&key, text.into(), ChecksumKind::default(), None, condition).await
    };
    let first = write("first", WriteCondition::New).await.unwrap();
    let (bytes, etag) = bucket.read_tagged(&key, 10).await.unwrap().unwrap();
    assert_eq!((&bytes[..], &etag), (&b"first"[..], &first.etag));
    for refused in [WriteCondition::New, WriteCondition::Replaces("0".repeat(32))] {
        let error = write("other", refused).await.unwrap_err();
        assert!(error.is_precondition(), "{error:?}");
    }
    let second = write("second", WriteCondition::Replaces(etag.clone())).await.unwrap();
    assert!(write("third", WriteCondition::Replaces(etag)).await.unwrap_err().is_precondition());
    assert_eq!(bucket.read(&key, 10).await.unwrap().unwrap(), "second");
    bucket.delete(&key, None).await.unwrap();
    let error = write("third", WriteCondition::Replaces(second.etag)).await.unwrap_err();
    assert!(error.is_precondition(), "{error:?}");
    assert!(bucket.head(&key).await.unwrap().is_none());
}

pub(crate) async fn what_is_deleted_is_gone(store: &Store) {
    let bucket = store.bucket();
    let names = ["plain", "a b+c&é<>\"'%20", "kept"];
    for name in names {
        put(&store.client, &store.name, name, b"x").await;
    }
    bucket.delete(&key("plain"), None).await.unwrap();
    bucket.delete(&key("plain"), None).await.unwrap();
    assert!(bucket.head(&key("plain")).await.unwrap().is_none());
    let many = [key("never there"), key(names[1]), key("plain")].map(|key| (key, None));
    let failed = bucket.delete_many(&many).await.unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    let left = bucket.list("", None).await.unwrap().objects;
    assert_eq!(left.iter().map(|object| &object.key).collect::<Vec<_>>(), ["kept"]);
    assert!(bucket.delete_many(&[]).await.unwrap().is_empty());

    let gone = s3backup_transfer::Bucket::from_client(&store.client, "no-such-bucket")
        .with_retry(crate::common::quick());
    for error in [gone.delete(&key("x"), None).await, gone.delete_many(&many).await.map(|_| ())] {
        let error = error.unwrap_err();
        assert!(error.is_fatal() && error.to_line().contains("no such bucket"), "{error:?}");
    }
}

pub(crate) async fn only_uploads_of_the_very_key_are_found(store: &Store) {
    let (bucket, name) = (store.bucket(), "dir/a b+é");
    let begin = async |key: &str| {
        let reply = store.client.create_multipart_upload().bucket(&store.name).key(key).send().await.unwrap();
        reply.upload_id().unwrap().to_owned()
    };
    assert_eq!(bucket.open_uploads(&key(name)).await.unwrap(), []);
    let mut ids = vec![begin(name).await, begin(name).await];
    begin(&format!("{name}2")).await;
    begin("dir/a").await;
    let open = bucket.open_uploads(&key(name)).await.unwrap();
    assert!(open.iter().all(|upload| upload.initiated.is_some()), "{open:?}");
    let mut found: Vec<_> = open.into_iter().map(|upload| upload.upload_id).collect();
    found.sort_unstable();
    ids.sort_unstable();
    assert_eq!(found, ids);

    bucket.abort_upload(&key(name), &ids[0]).await.unwrap();
    bucket.abort_upload(&key(name), &ids[0]).await.unwrap();
    let left = bucket.open_uploads(&key(name)).await.unwrap();
    assert_eq!(left.iter().map(|upload| &upload.upload_id).collect::<Vec<_>>(), [&ids[1]]);
}

pub(crate) async fn a_download_in_ranges_is_the_object(store: &Store) {
    let bucket = store.bucket();
    for size in [0, 1, 8 * MIB, 8 * MIB + 1, LARGE] {
        let bytes = noise(1, size);
        let pin = put(&store.client, &store.name, "f", &bytes).await;
        let whole = Downloaded { size, crc64nvme: crc64nvme_base64(&bytes) };
        for pin in [pin, Pin::default()] {
            let (got, file) = download(store, &bucket, "f", &pin, &bytes).await;
            assert_eq!(got.unwrap(), whole);
            assert!(file == bytes, "{size}");
            let limits = DownloadLimits::default();
            assert_eq!(bucket.hash_object(&key("f"), &pin, &limits).await.unwrap(), whole);
        }
    }
}

pub(crate) async fn what_was_overwritten_or_removed_is_never_taken_for_it(store: &Store) {
    let bucket = store.bucket();
    for size in [100, LARGE] {
        let (before, after) = (noise(1, size), noise(2, size));
        let pin = put(&store.client, &store.name, "f", &before).await;
        put(&store.client, &store.name, "f", &after).await;
        for _ in ["overwritten", "removed"] {
            let (got, file) = download(store, &bucket, "f", &pin, &before).await;
            assert!(matches!(got, Err(Error::VersionGone { .. })), "{size}: {got:?}");
            assert_eq!(file, b"", "{size}");
            let hashed = bucket.hash_object(&key("f"), &pin, &DownloadLimits::default()).await;
            assert!(matches!(hashed, Err(Error::VersionGone { .. })), "{size}: {hashed:?}");
            bucket.delete(&key("f"), None).await.unwrap();
        }
    }
}

pub(crate) async fn what_is_not_expected_is_a_mismatch(store: &Store) {
    let bucket = store.bucket();
    for size in [100, LARGE] {
        let bytes = noise(1, size);
        let pin = put(&store.client, &store.name, "f", &bytes).await;
        for other in [noise(2, size), noise(1, size - 1), noise(1, size + 1), noise(1, size + 20 * MIB)] {
            let (got, _) = download(store, &bucket, "f", &pin, &other).await;
            assert!(matches!(got, Err(Error::Mismatch { .. })), "{size}, {}: {got:?}", other.len());
        }
        let file = std::sync::Arc::new(std::fs::File::create(store.path("restored")).unwrap());
        let expected = Expected { size, crc64nvme: None };
        let limits = DownloadLimits::default();
        bucket.download_into(&key("f"), &pin, &expected, file, &limits).await.unwrap();
        assert!(std::fs::read(store.path("restored")).unwrap() == bytes);
    }
}

pub(crate) async fn a_stranger_s_object_is_compared(store: &Store) {
    let (bucket, cancel) = (store.bucket(), CancellationToken::new());
    for (name, size) in [("small", 100), ("empty", 0), ("two-parts", 12 * MIB), ("odd-parts", 11 * MIB)] {
        let bytes = noise(1, size);
        let upload = store.file(name, &bytes);
        match name {
            "two-parts" => put_in_parts(&store.client, &store.name, name, &bytes).await,
            "odd-parts" => put_in_odd_parts(store, name, &bytes).await,
            _ => drop(put(&store.client, &store.name, name, &bytes).await),
        }
        let compare = async || bucket.compare(&upload.entry, false, &upload.key, &cancel).await.unwrap();
        let head = bucket.head(&upload.key).await.unwrap().unwrap();
        match compare().await {
            Compared::Same(stored) => {
                assert!(name != "odd-parts" || head.crc64nvme.is_some(), "nothing shows it: {head:?}");
                assert_eq!(stored.stat, upload.entry.stat, "{name}");
                assert_eq!(stored.crc64nvme, crc64nvme_base64(&bytes), "{name}");
                assert_eq!((stored.etag, stored.sent), (head.etag, false), "{name}");
            }
            Compared::Unprovable => {
                assert!(name == "odd-parts" && head.crc64nvme.is_none(), "{name}: {head:?}");
            }
            other @ Compared::Different => panic!("{name}: {other:?} {head:?}"),
        }
        if size > 0 {
            // Another last byte, then another length.
            let mut other = bytes;
            *other.last_mut().unwrap() ^= 1;
            store.file(name, &other);
            assert!(!matches!(compare().await, Compared::Same(_)), "{name}");
            store.file(name, &other[1..]);
            assert_eq!(compare().await, Compared::Different, "{name}");
        }
    }
    let upload = store.file("none", b"x");
    let error = bucket.compare(&upload.entry, false, &upload.key, &cancel).await.unwrap_err();
    assert!(matches!(error, Error::VersionGone { .. }), "{error:?}");
}

/// Of a size that nobody guesses.
async fn put_in_odd_parts(store: &Store, key: &str, bytes: &[u8]) {
    let client = &store.client;
    let begun = client.create_multipart_upload().bucket(&store.name).key(key).send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let mut completed = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(bytes.chunks(usize::try_from(PART).unwrap() + 77)) {
        let upload = client.upload_part().bucket(&store.name).key(key).upload_id(id).part_number(number);
        let reply = upload.body(part.to_vec().into()).send().await.unwrap();
        let part = CompletedPart::builder().part_number(number).set_e_tag(reply.e_tag().map(Into::into));
        completed = completed.parts(part.set_checksum_crc32(reply.checksum_crc32().map(Into::into)).build());
    }
    let complete = client.complete_multipart_upload().bucket(&store.name).key(key).upload_id(id);
    complete.multipart_upload(completed.build()).send().await.unwrap();
}
