//! Objects put at once.

use std::collections::BTreeSet;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    Delete, MetadataDirective, ObjectIdentifier, ServerSideEncryption, StorageClass, Tag, Tagging,
};
use s3backup_local_s3::LocalS3;
use tokio::io::AsyncWriteExt as _;

use crate::client::{BUCKET, bytes, client, get, keys, md5_hex, put, refused, start, status};
use crate::raw::{Raw, connect, signed};

#[tokio::test]
async fn what_is_put_comes_back() {
    let server = start().await;
    let client = client(&server);
    for length in [0, 1, 1_000, 256 * 1024, 256 * 1024 + 1, 3_000_000] {
        let body = bytes(length, 1);
        assert_eq!(put(&client, "key", &body).await, format!("\"{}\"", md5_hex(&body)), "{length} bytes");
        assert_eq!(get(&client, "key").await.unwrap(), body, "{length} bytes");
    }
}

#[tokio::test]
async fn what_is_said_about_an_object_is_kept() {
    let server = start().await;
    let client = client(&server);
    let reply = client
        .put_object()
        .bucket(BUCKET)
        .key("k")
        .body(ByteStream::from_static(b"hello"))
        .content_type("application/json")
        .content_encoding("gzip")
        .cache_control("no-cache")
        .metadata("trip", "T-1")
        .metadata("driver", "김")
        .tagging("team=fleet&note=a%20b%2Bc")
        .storage_class(StorageClass::StandardIa)
        .server_side_encryption(ServerSideEncryption::AwsKms)
        .ssekms_key_id("key-1")
        .bucket_key_enabled(true)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.server_side_encryption, Some(ServerSideEncryption::AwsKms));
    assert_eq!(reply.ssekms_key_id.as_deref(), Some("key-1"));

    let head = client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(head.content_length, Some(5));
    assert_eq!(head.content_type.as_deref(), Some("application/json"));
    assert_eq!(head.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(head.cache_control.as_deref(), Some("no-cache"));
    assert_eq!(head.storage_class, Some(StorageClass::StandardIa));
    assert_eq!(head.server_side_encryption, Some(ServerSideEncryption::AwsKms));
    assert_eq!(head.ssekms_key_id.as_deref(), Some("key-1"));
    assert_eq!(head.bucket_key_enabled, Some(true));
    let metadata = head.metadata.unwrap();
    assert_eq!(metadata["trip"], "T-1");
    assert_eq!(metadata.len(), 2);

    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let tags = client.get_object_tagging().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(tags.tag_set, [tag("team", "fleet"), tag("note", "a b+c")]);
    let tagging = Tagging::builder().tag_set(tag("a", "b")).build().unwrap();
    client.put_object_tagging().bucket(BUCKET).key("k").tagging(tagging).send().await.unwrap();
    let tags = client.get_object_tagging().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(tags.tag_set, [tag("a", "b")]);
    assert_eq!(get(&client, "k").await.unwrap(), b"hello");
}

#[tokio::test]
async fn what_s3_refuses_is_refused() {
    let server = start().await;
    let client = client(&server);
    let put = || client.put_object().bucket(BUCKET).key("k");
    let result = refused(put().storage_class("CHEAP".into()).send()).await;
    assert_eq!(result, status(400, "InvalidStorageClass"));
    let result = refused(put().metadata("m", "x".repeat(2_048)).send()).await;
    assert_eq!(result, status(400, "MetadataTooLarge"));
    let result = refused(put().tagging("a=1&a=2").send()).await;
    assert_eq!(result, status(400, "InvalidTag"));
    let result = refused(put().key("k".repeat(1_025)).send()).await;
    assert_eq!(result, status(400, "KeyTooLongError"));
    let result = refused(client.put_object().bucket("no-such-bucket").key("k").send()).await;
    assert_eq!(result, status(404, "NoSuchBucket"));
    let result = refused(client.get_object().bucket(BUCKET).key("k").send()).await;
    assert_eq!(result, status(404, "NoSuchKey"));
    assert!(keys(&client).await.is_empty());
}

#[tokio::test]
async fn any_text_is_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = LocalS3::builder().dir(&data).bucket(BUCKET).start().await.unwrap();
    let client = client(&server);
    let long = "é".repeat(512);
    let odd = [
        "a",
        "a/b",
        "a/b/c",
        "a/",
        "a//b",
        "/a",
        "//",
        "..",
        ".",
        "../..",
        "a/../b",
        "../../../etc/x",
        "./a",
        "a b",
        "a+b",
        "a%20b",
        "a%2Fb",
        "a?b",
        "a#b",
        "a&b=c;d,e",
        "a:b@c!$'()*[]{}|^~`\"<>",
        "a\\b",
        "키/값",
        "e\u{301}",
        "\u{1F697}",
        "a\tb",
        "a\nb",
        long.as_str(),
    ];
    for key in odd {
        put(&client, key, key.as_bytes()).await;
    }
    let sorted: BTreeSet<&str> = odd.into_iter().collect();
    assert_eq!(keys(&client).await, Vec::from_iter(sorted));
    for key in odd {
        assert_eq!(get(&client, key).await.unwrap(), key.as_bytes(), "{key:?}");
    }
    for key in odd {
        client.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!(get(&client, key).await, None, "{key:?}");
    }
    let outside: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside, ["data"]);
}

#[tokio::test]
async fn ranges() {
    let server = start().await;
    let client = client(&server);
    let body = bytes(700_000, 2);
    put(&client, "k", &body).await;
    let read = async |range: &str| {
        let reply = client.get_object().bucket(BUCKET).key("k").range(range).send().await.unwrap();
        (reply.content_range.clone().unwrap(), reply.body.collect().await.unwrap().to_vec())
    };
    for (range, told, expected) in [
        ("bytes=0-0", "bytes 0-0/700000", &body[..1]),
        ("bytes=1000-600000", "bytes 1000-600000/700000", &body[1_000..=600_000]),
        ("bytes=699999-", "bytes 699999-699999/700000", &body[699_999..]),
        ("bytes=-10", "bytes 699990-699999/700000", &body[699_990..]),
        ("bytes=5-9999999", "bytes 5-699999/700000", &body[5..]),
    ] {
        let (content_range, got) = read(range).await;
        assert_eq!(content_range, told);
        assert!(got == expected, "{range}");
    }
    let beyond = client.get_object().bucket(BUCKET).key("k").range("bytes=700000-").send();
    assert_eq!(refused(beyond).await, status(416, "InvalidRange"));
}

#[tokio::test]
async fn conditions_on_reads() {
    let server = start().await;
    let client = client(&server);
    let etag = put(&client, "k", b"x").await;
    let get = || client.get_object().bucket(BUCKET).key("k");
    assert!(get().if_match(&etag).send().await.is_ok());
    assert_eq!(refused(get().if_match("\"0\"").send()).await, status(412, "PreconditionFailed"));
    assert_eq!(refused(get().if_none_match(&etag).send()).await.0, 304);
    assert!(get().if_none_match("\"0\"").send().await.is_ok());
}

#[tokio::test]
async fn conditions_on_ranges() {
    let server = start().await;
    let client = client(&server);
    let etag = put(&client, "k", b"0123456789").await;
    let get = || client.get_object().bucket(BUCKET).key("k").range("bytes=3-5");
    let reply = get().if_match(&etag).send().await.unwrap();
    assert_eq!(reply.content_range(), Some("bytes 3-5/10"));
    assert_eq!(reply.e_tag(), Some(&*etag));
    assert_eq!(reply.body.collect().await.unwrap().to_vec(), b"345");
    put(&client, "k", b"abcdefghij").await;
    assert_eq!(refused(get().if_match(&etag).send()).await, status(412, "PreconditionFailed"));
}

#[tokio::test]
async fn conditions_on_deletes() {
    let server = start().await;
    let client = client(&server);
    let etag = put(&client, "k", b"x").await;
    let delete = || client.delete_object().bucket(BUCKET).key("k");
    assert_eq!(refused(delete().if_match("\"0\"").send()).await, status(412, "PreconditionFailed"));
    assert_eq!(get(&client, "k").await.unwrap(), b"x");
    delete().if_match(&etag).send().await.unwrap();
    assert_eq!(get(&client, "k").await, None);
    assert_eq!(refused(delete().if_match(&etag).send()).await, status(404, "NoSuchKey"));
    delete().send().await.unwrap();
}

#[tokio::test]
async fn conditions_on_writes() {
    let server = start().await;
    let client = client(&server);
    let write =
        |body: &'static [u8]| client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(body));
    assert_eq!(refused(write(b"0").if_match("\"x\"").send()).await, status(404, "NoSuchKey"));
    let first = write(b"1").if_none_match("*").send().await.unwrap().e_tag.unwrap();
    assert_eq!(refused(write(b"2").if_none_match("*").send()).await, status(412, "PreconditionFailed"));
    assert_eq!(get(&client, "k").await.unwrap(), b"1");
    write(b"3").if_match(&first).send().await.unwrap();
    assert_eq!(refused(write(b"4").if_match(&first).send()).await, status(412, "PreconditionFailed"));
    assert_eq!(get(&client, "k").await.unwrap(), b"3");
}

#[tokio::test]
async fn of_many_that_create_a_key_at_once_one_wins() {
    let server = start().await;
    let client = client(&server);
    let create = |number: u8| {
        let body = ByteStream::from(vec![number; 300_000]);
        client.put_object().bucket(BUCKET).key("k").body(body).if_none_match("*").send()
    };
    let results = futures::future::join_all((0..8).map(create)).await;
    let winners: Vec<_> = (0..8).filter(|number| results[usize::from(*number)].is_ok()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(get(&client, "k").await.unwrap(), vec![winners[0]; 300_000]);
}

#[tokio::test]
async fn a_reader_is_not_disturbed_by_a_writer() {
    let server = start().await;
    let client = client(&server);
    let old = bytes(8_000_000, 3);
    put(&client, "k", &old).await;
    let reply = client.get_object().bucket(BUCKET).key("k").send().await.unwrap();
    put(&client, "k", b"new").await;
    client.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert!(reply.body.collect().await.unwrap().to_vec() == old);
    assert_eq!(get(&client, "k").await, None);
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let server = start().await;
    let client = client(&server);
    put(&client, "k", b"old").await;
    let path = format!("/{BUCKET}/k");
    let payload = "UNSIGNED-PAYLOAD";
    let request = signed(
        &server,
        &Raw { method: "PUT", path: &path, headers: &[], payload, body: &bytes(1_000_000, 4) },
    );
    let mut stream = connect(&server).await;
    stream.write_all(&request[..request.len() - 1]).await.unwrap();
    drop(stream);
    assert_eq!(get(&client, "k").await.unwrap(), b"old");
}

#[tokio::test]
async fn many_are_deleted_by_one_request() {
    let server = start().await;
    let client = client(&server);
    for key in ["a", "b", "c"] {
        put(&client, key, b"x").await;
    }
    let objects = ["a", "c", "never-there"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(objects.to_vec())).build().unwrap();
    let reply = client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!(reply.deleted().len(), 3);
    assert!(reply.errors().is_empty());
    assert_eq!(keys(&client).await, ["b"]);
}

fn identifier(key: &str) -> ObjectIdentifier {
    ObjectIdentifier::builder().key(key).build().unwrap()
}

#[tokio::test]
async fn a_thousand_are_deleted_by_one_request_and_no_more() {
    let server = start().await;
    let client = client(&server);
    put(&client, "k0000", b"x").await;
    put(&client, "k0999", b"x").await;
    put(&client, "k1000", b"x").await;
    let identifiers = |count: u32| (0..count).map(|number| identifier(&format!("k{number:04}"))).collect();
    let delete = |count| Delete::builder().set_objects(Some(identifiers(count))).build().unwrap();
    let too_many = client.delete_objects().bucket(BUCKET).delete(delete(1_001)).send();
    assert_eq!(refused(too_many).await, status(400, "MalformedXML"));
    let reply = client.delete_objects().bucket(BUCKET).delete(delete(1_000)).send().await.unwrap();
    assert_eq!(reply.deleted().len(), 1_000);
    assert_eq!(keys(&client).await, ["k1000"]);
}

#[tokio::test]
async fn each_of_many_deletes_has_its_own_result() {
    let server = start().await;
    let client = client(&server);
    for quiet in [false, true] {
        let etag = put(&client, "same", b"x").await;
        put(&client, "changed", b"x").await;
        let conditional = |key| ObjectIdentifier::builder().key(key).e_tag(&etag).build().unwrap();
        put(&client, "changed", b"y").await;
        let objects =
            [conditional("changed"), conditional("same"), conditional("missing"), identifier("gone")];
        let delete = Delete::builder().set_objects(Some(objects.to_vec())).quiet(quiet).build().unwrap();
        let reply = client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
        let deleted: Vec<_> = reply.deleted().iter().map(|object| object.key().unwrap()).collect();
        assert_eq!(deleted, if quiet { vec![] } else { vec!["same", "gone"] });
        let errors: Vec<_> =
            reply.errors().iter().map(|error| (error.key().unwrap(), error.code().unwrap())).collect();
        assert_eq!(errors, [("changed", "PreconditionFailed"), ("missing", "NoSuchKey")]);
        assert_eq!(keys(&client).await, ["changed"]);
    }
}

#[tokio::test]
async fn copies_are_objects_of_their_own() {
    let server = start().await;
    let client = client(&server);
    let body = bytes(400_000, 5);
    let source = client.put_object().bucket(BUCKET).key("from here").body(ByteStream::from(body.clone()));
    source.metadata("a", "1").content_type("text/x").tagging("t=1").send().await.unwrap();
    let copy =
        |to: &str| client.copy_object().bucket(BUCKET).key(to).copy_source(format!("{BUCKET}/from%20here"));

    let reply = copy("kept").send().await.unwrap();
    assert_eq!(reply.copy_object_result.unwrap().e_tag.unwrap(), format!("\"{}\"", md5_hex(&body)));
    let replaced = copy("replaced").metadata_directive(MetadataDirective::Replace).metadata("b", "2");
    replaced.storage_class(StorageClass::Glacier).send().await.unwrap();
    assert_eq!(
        refused(copy("failed").copy_source_if_match("\"0\"").send()).await,
        status(412, "PreconditionFailed")
    );
    assert_eq!(refused(copy("from here").send()).await, status(400, "InvalidRequest"));
    client.delete_object().bucket(BUCKET).key("from here").send().await.unwrap();

    let head = client.head_object().bucket(BUCKET).key("kept").send().await.unwrap();
    assert_eq!(head.metadata.unwrap()["a"], "1");
    assert_eq!(head.content_type.as_deref(), Some("text/x"));
    let head = client.head_object().bucket(BUCKET).key("replaced").send().await.unwrap();
    assert_eq!(head.metadata.unwrap().into_iter().collect::<Vec<_>>(), [("b".to_owned(), "2".to_owned())]);
    assert_eq!(head.storage_class, Some(StorageClass::Glacier));
    assert_eq!(keys(&client).await, ["kept", "replaced"]);
    for key in ["kept", "replaced"] {
        assert!(get(&client, key).await.unwrap() == body);
        let tags = client.get_object_tagging().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!(tags.tag_set.len(), 1);
    }
}
