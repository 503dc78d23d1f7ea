//! What must hold on every S3 server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use s3backup_model::Key;
use s3backup_transfer::aws_sdk_s3::primitives::ByteStream;
use s3backup_transfer::{
    ChecksumKind, Error, ObjectSettings, Sse, Stored, TransferSettings, Upload, crc64nvme_base64,
};

use super::journal::{Journal, interrupt};
use super::{KINDS, MIB, PART, Store, known, noise, objects, of_kind, run, settings, tags};

/// Makes a test of each check, on the store that `$store` gives.
macro_rules! checks_on {
    ($store:path: $($check:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                common::checks::$check(&$store().await).await;
            }
        )*
    };
}

/// Makes a test of every check that holds on every server.
macro_rules! all_checks_on {
    ($store:path) => {
        checks_on! { $store:
            sizes_around_the_part_size
            times_mode_and_tags_are_kept
            a_second_upload_finds_the_first
            a_changed_file_replaces_its_object
            a_known_file_is_not_sent_again
            a_known_object_is_replaced
            a_known_object_that_another_program_changed_is_left_alone
            an_interrupted_upload_is_gone_on_with
            an_upload_of_a_file_that_changed_is_not_gone_on_with
            a_strange_object_is_left_alone
            two_files_of_one_key_conflict
            hostile_keys
            a_part_larger_than_the_memory_is_streamed
            a_small_file_stays_one_object_when_memory_is_short
            downloads_are_proved
            control_objects
            what_is_not_there
        }
    };
}

/// Every kind of checksum, every size at which the way of sending changes.
pub(crate) async fn sizes_around_the_part_size(store: &Store) {
    for kind in KINDS {
        let sizes = [0, 1, PART - 1, PART, PART + 1, 2 * PART + 3];
        let uploads = sizes.map(|size| store.file(&format!("{}/{size}", kind.as_str()), &noise(size, size)));
        let said = run(store.engine(of_kind(kind), objects("run-1")), uploads.to_vec()).await;
        assert_eq!(said.sent_bytes, sizes.iter().sum::<u64>());
        assert_eq!(said.done.len(), sizes.len());
        assert_eq!(said.warnings, [""; 0]);
        for done in said.done {
            let key = done.upload.key.as_str();
            let stored = done.result.unwrap_or_else(|error| panic!("{key}: {error:?}"));
            let bytes = noise(done.upload.entry.stat.size, done.upload.entry.stat.size);
            assert!(stored.sent, "{key}");
            assert_eq!(stored.stat, done.upload.entry.stat, "{key}");
            assert_eq!(stored.crc64nvme, crc64nvme_base64(&bytes), "{key}");
            assert_eq!(stored.checksum.is_some(), kind != ChecksumKind::None, "{key}");
            assert!(!stored.etag.is_empty() && !stored.etag.contains('"'), "{key}");
            assert!(store.get(key).await.unwrap() == bytes, "{key} has other bytes");
        }
    }
    assert_eq!(store.open_uploads().await, 0);
}

/// In both ways of sending.
pub(crate) async fn times_mode_and_tags_are_kept(store: &Store) {
    let uploads = [("small", 10), ("large", PART + 1)].map(|(name, size)| {
        store.file(name, &noise(1, size));
        let file = fs::File::options().write(true).open(store.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
        Upload {
            entry: super::entry(store.folder.path(), name),
            key: Key::new(name).unwrap(),
            file_id: name.to_owned(),
            follow_symlinks: false,
            known: None,
            hold: false,
        }
    });
    let given = ObjectSettings { tags: tags(&[("team", "fleet & co"), ("a", "1")]), ..objects("run-1") };
    let said = run(store.engine(settings(), given), uploads.to_vec()).await;
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    for name in ["small", "large"] {
        let head = store.client.head_object().bucket(&store.name).key(name).send().await.unwrap();
        let metadata = head.metadata().unwrap();
        assert_eq!(metadata["mtime"], "1700000000.123456789");
        assert_eq!(metadata["mode"], "100640");
        assert_eq!(metadata["s3backup-owner"], "job/host");
        assert_eq!(metadata["s3backup-run"], "run-1");
        let tagging = store.client.get_object_tagging().bucket(&store.name).key(name).send().await.unwrap();
        let mut found: Vec<_> = tagging.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
        found.sort_unstable();
        assert_eq!(found, [("a", "1"), ("team", "fleet & co")], "{name}");
    }
}

/// By the same run, and by a later one.
pub(crate) async fn a_second_upload_finds_the_first(store: &Store) {
    for kind in KINDS {
        let name = |size: u64| format!("{}-{size}", kind.as_str());
        let sizes = [0, 100, PART + 1];
        for run_id in ["run-1", "run-2"] {
            let uploads = sizes.map(|size| store.file(&name(size), &noise(2, size)));
            let said = run(store.engine(of_kind(kind), objects(run_id)), uploads.to_vec()).await;
            for done in said.done {
                let key = &done.upload.key;
                let stored = done.result.unwrap_or_else(|error| panic!("{key} {run_id}: {error:?}"));
                assert_eq!(stored.sent, run_id == "run-1", "{key} {run_id}");
                assert_eq!(stored.crc64nvme, crc64nvme_base64(&noise(2, done.upload.entry.stat.size)));
            }
        }
    }
    assert_eq!(store.open_uploads().await, 0);
}

pub(crate) async fn a_changed_file_replaces_its_object(store: &Store) {
    for (run_id, seed) in [("run-1", 1), ("run-2", 2), ("run-3", 3)] {
        let sizes = [("small", 100), ("large", PART + 1), ("grows", 10 + (seed - 1) * PART)];
        let uploads = sizes.map(|(name, size)| store.file(name, &noise(seed, size)));
        let said = run(store.engine(settings(), objects(run_id)), uploads.to_vec()).await;
        for done in &said.done {
            assert!(done.result.as_ref().is_ok_and(|stored| stored.sent), "{done:?}");
        }
        for (name, size) in sizes {
            assert!(store.get(name).await.unwrap() == noise(seed, size), "{name} {run_id}");
        }
    }
}

/// Neither a small nor a large one, when only its times are others.
pub(crate) async fn a_known_file_is_not_sent_again(store: &Store) {
    for kind in KINDS {
        for size in [0, 100, PART + 1] {
            let name = format!("{}-{size}", kind.as_str());
            let upload = store.file(&name, &noise(1, size));
            let first =
                run(store.engine(of_kind(kind), objects("run-1")), vec![upload]).await.only().unwrap();
            let upload = Upload { known: Some(known(&first)), ..store.file(&name, &noise(1, size)) };
            let now = upload.entry.stat;
            let second =
                run(store.engine(of_kind(kind), objects("run-2")), vec![upload]).await.only().unwrap();
            assert_eq!(second, Stored { stat: now, sent: false, ..first }, "{name}");
        }
    }
}

pub(crate) async fn a_known_object_is_replaced(store: &Store) {
    for (name, before, after) in [
        ("small", 100, 100),
        ("grown", 100, 200),
        ("large", PART + 1, PART + 1),
        ("becomes-large", 1, PART + 1),
    ] {
        let first = store.send(vec![store.file(name, &noise(1, before))]).await.only().unwrap();
        let upload = Upload { known: Some(known(&first)), ..store.file(name, &noise(2, after)) };
        let second = run(store.engine(settings(), objects("run-2")), vec![upload]).await.only().unwrap();
        assert!(second.sent, "{name}");
        assert!(store.get(name).await.unwrap() == noise(2, after), "{name}");

        // What was there is gone.
        store.client.delete_object().bucket(&store.name).key(name).send().await.unwrap();
        let upload = Upload { known: Some(known(&second)), ..store.file(name, &noise(3, after)) };
        let third = run(store.engine(settings(), objects("run-3")), vec![upload]).await.only().unwrap();
        assert!(third.sent, "{name}");
        assert!(store.get(name).await.unwrap() == noise(3, after), "{name}");
    }
    assert_eq!(store.open_uploads().await, 0);
}

pub(crate) async fn a_known_object_that_another_program_changed_is_left_alone(store: &Store) {
    for (name, size) in [("small", 100), ("large", PART + 1)] {
        let first = store.send(vec![store.file(name, &noise(1, size))]).await.only().unwrap();
        store.meddle(name, b"another program's").await;
        let upload = Upload { known: Some(known(&first)), ..store.file(name, &noise(2, size)) };
        let error = run(store.engine(settings(), objects("run-2")), vec![upload]).await.only().unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        assert_eq!(store.get(name).await.unwrap(), b"another program's");
    }
    assert_eq!(store.open_uploads().await, 0);
}

/// With every checksum, and where nothing but an MD5 in the ETag proves the parts.
pub(crate) async fn an_interrupted_upload_is_gone_on_with(store: &Store) {
    for kind in KINDS {
        let (name, bytes) = (kind.as_str(), noise(1, 3 * PART + 7));
        let one_by_one = TransferSettings { concurrency: Some(1), ..of_kind(kind) };
        let journal = Journal::new();
        let upload = store.file(name, &bytes);
        let engine = store.engine(one_by_one.clone(), objects("run-1")).with_journal(journal.clone());
        let said = interrupt(engine, upload.clone()).await;
        assert!(said.done.is_empty(), "{kind:?} {:?}", said.done);
        assert_eq!(said.warnings, [""; 0], "{kind:?}");
        assert_eq!((store.open_uploads().await, journal.open().len()), (1, 1), "{kind:?}");
        assert_eq!(store.get(name).await, None);

        let engine = store.engine(one_by_one, objects("run-2")).with_journal(journal.clone());
        let second = run(engine, vec![upload]).await;
        let done = &second.done[0];
        let stored = done.result.as_ref().unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        assert!(stored.sent, "{kind:?}");
        assert_eq!(stored.crc64nvme, crc64nvme_base64(&bytes), "{kind:?}");
        assert!(store.get(name).await.unwrap() == bytes, "{kind:?}");
        let parts = said.sent_bytes / PART;
        assert!(parts >= 1 && done.resumed_parts >= parts, "{kind:?}: {} of {parts}", done.resumed_parts);
        assert_eq!(second.sent_bytes, bytes.len() as u64 - done.resumed_parts * PART, "{kind:?}");
        assert_eq!((store.open_uploads().await, journal.open().len()), (0, 0), "{kind:?}");
    }
}

pub(crate) async fn an_upload_of_a_file_that_changed_is_not_gone_on_with(store: &Store) {
    let settings = TransferSettings { concurrency: Some(1), ..settings() };
    let journal = Journal::new();
    let engine = || store.engine(settings.clone(), objects("run")).with_journal(journal.clone());
    interrupt(engine(), store.file("f", &noise(1, 4 * PART))).await;
    assert_eq!(store.open_uploads().await, 1);
    let said = run(engine(), vec![store.file("f", &noise(2, 4 * PART))]).await;
    assert_eq!(said.done[0].resumed_parts, 0);
    said.only().unwrap();
    assert!(store.get("f").await.unwrap() == noise(2, 4 * PART));
    assert_eq!((store.open_uploads().await, journal.open().len()), (0, 0));
}

pub(crate) async fn a_strange_object_is_left_alone(store: &Store) {
    for (name, size) in [("small", 10), ("large", PART + 1)] {
        let body = ByteStream::from_static(b"somebody else's");
        store.client.put_object().bucket(&store.name).key(name).body(body).send().await.unwrap();
        let error = store.send(vec![store.file(name, &noise(1, size))]).await.only().unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        assert_eq!(store.get(name).await.unwrap(), b"somebody else's");

        // Another job is a stranger too.
        let other = ObjectSettings { owner: "other/host".to_owned(), ..objects("run-1") };
        let key = format!("{name}-of-a-job");
        run(store.engine(settings(), other), vec![store.file(&key, b"of the other job")])
            .await
            .only()
            .unwrap();
        let error = store.send(vec![store.file(&key, &noise(1, size))]).await.only().unwrap_err();
        assert!(error.to_line().contains("other/host"), "{}", error.to_line());
        assert_eq!(store.get(&key).await.unwrap(), b"of the other job");
    }
    assert_eq!(store.open_uploads().await, 0);
}

pub(crate) async fn two_files_of_one_key_conflict(store: &Store) {
    for (key, size) in [("small", 10), ("large", PART + 1)] {
        let (one, two) = (noise(1, size), noise(2, size));
        let uploads = vec![store.file_as("one", key, &one), store.file_as("two", key, &two)];
        let said = store.send(uploads).await;
        let (well, ill): (Vec<_>, Vec<_>) = said.done.into_iter().partition(|done| done.result.is_ok());
        assert_eq!((well.len(), ill.len()), (1, 1), "{well:?} {ill:?}");
        assert!(matches!(ill[0].result, Err(Error::Conflict { .. })), "{ill:?}");
        let expected = if well[0].upload.entry.relative.ends_with("one") { one } else { two };
        assert!(store.get(key).await.unwrap() == expected);
    }
    assert_eq!(store.open_uploads().await, 0);
}

pub(crate) async fn hostile_keys(store: &Store) {
    let keys = [
        "a b  c",
        "plus+plus",
        "per%cent",
        "%0A",
        "%2F",
        "a%252Fb",
        "what?x=1&y=2",
        "hash#tag",
        "semi;colon",
        "quote'\"quote",
        "<xml>&amp;",
        "日本/車両-1/données.json",
        "e\u{301}",
        "🚗",
        "@=:,$!*()[]{}|^~`",
        "dot./.hidden",
        "trips/.../x",
        "+",
        " leading",
        "trailing ",
    ];
    let mut uploads: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| store.file_as(&format!("file-{index}"), key, key.as_bytes()))
        .collect();
    // A large file, because the other operations of a multipart upload must write the key in the same way.
    uploads.push(store.file_as("large", "large/日本 +%?#&%0A", &noise(1, PART + 1)));
    let said = store.send(uploads).await;
    for done in &said.done {
        assert!(done.result.is_ok(), "{:?}: {:?}", done.upload.key, done.result);
    }
    let mut listed: Vec<String> = Vec::new();
    let mut page = None;
    loop {
        let next = store.bucket().list("", page.as_deref()).await.unwrap();
        listed.extend(next.objects.into_iter().map(|object| object.key));
        page = next.next;
        if page.is_none() {
            break;
        }
    }
    for key in keys {
        assert_eq!(store.get(key).await.as_deref(), Some(key.as_bytes()), "{key:?}");
        assert!(listed.iter().any(|found| found == key), "{key:?} is not in {listed:?}");
    }
    assert_eq!(listed.len(), keys.len() + 1);
}

/// Hashed first and read again while it is sent.
pub(crate) async fn a_part_larger_than_the_memory_is_streamed(store: &Store) {
    let settings = TransferSettings { part_size_bytes: 6 * MIB, memory_bytes: 5 * MIB, ..settings() };
    for kind in KINDS {
        let settings = TransferSettings { checksum: kind, ..settings.clone() };
        let size = 12 * MIB + 1;
        let upload = store.file(kind.as_str(), &noise(5, size));
        run(store.engine(settings, objects("run-1")), vec![upload]).await.only().unwrap();
        assert!(store.get(kind.as_str()).await.unwrap() == noise(5, size), "{kind:?}");
    }
}

pub(crate) async fn a_small_file_stays_one_object_when_memory_is_short(store: &Store) {
    let settings = TransferSettings { part_size_bytes: 8 * MIB, memory_bytes: MIB, ..settings() };
    for size in [0, 1, 1000] {
        let name = size.to_string();
        let upload = store.file(&name, &noise(1, size));
        let engine = store.engine(settings.clone(), objects("run-1"));
        let stored = run(engine, vec![upload]).await.only().unwrap();
        assert!(!stored.etag.contains('-'), "{size} bytes were sent in parts: {}", stored.etag);
        assert_eq!(store.get(&name).await.unwrap(), noise(1, size));
    }
}

pub(crate) async fn downloads_are_proved(store: &Store) {
    let bucket = store.bucket();
    for (name, size) in [("empty", 0), ("small", 100), ("large", PART + 1)] {
        let bytes = noise(3, size);
        let stored = store.send(vec![store.file(name, &bytes)]).await.only().unwrap();
        let (key, path) = (Key::new(name).unwrap(), store.path("restored"));
        let got = bucket.download(&key, &path, Some(&stored.crc64nvme)).await.unwrap();
        assert_eq!((got.size, &got.crc64nvme), (size, &stored.crc64nvme));
        assert!(fs::read(&path).unwrap() == bytes, "{name}");

        let error = bucket.download(&key, &path, Some("AAAAAAAAAAE=")).await.unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
        assert!(fs::read(&path).unwrap() == bytes, "what was there before is kept");
        fs::remove_file(&path).unwrap();
        fs::remove_file(store.path(name)).unwrap();
    }
    let left: Vec<_> = fs::read_dir(store.folder.path()).unwrap().collect();
    assert!(left.is_empty(), "no temporary file is left: {left:?}");
}

pub(crate) async fn control_objects(store: &Store) {
    let bucket = store.bucket();
    let key = Key::new("control/latest.json").unwrap();
    assert_eq!(bucket.read(&key, 100).await.unwrap(), None);
    for kind in KINDS {
        for text in ["", "first", "second, which takes its place"] {
            bucket.write(&key, text.into(), kind, None).await.unwrap();
            assert_eq!(bucket.read(&key, 100).await.unwrap().unwrap(), text);
            assert_eq!(bucket.head(&key).await.unwrap().unwrap().size, text.len() as u64);
        }
    }
    let error = bucket.read(&key, 3).await.unwrap_err();
    assert!(matches!(error, Error::BadRequest { .. }), "{error:?}");
    assert_eq!(store.bucket().list("control/", None).await.unwrap().objects.len(), 1);
    assert_eq!(store.bucket().list("none/", None).await.unwrap().objects, []);
}

/// No object and no bucket are two things.
pub(crate) async fn what_is_not_there(store: &Store) {
    let key = Key::new("none").unwrap();
    assert!(store.bucket().head(&key).await.unwrap().is_none());
    assert!(store.bucket().read(&key, 10).await.unwrap().is_none());
    let error = store.bucket().download(&key, &store.path("none"), None).await.unwrap_err();
    assert!(error.service().is_some_and(s3backup_transfer::ServiceError::is_not_found), "{error:?}");

    let gone =
        s3backup_transfer::Bucket::from_client(&store.client, "no-such-bucket").with_retry(super::quick());
    let errors = [
        gone.head(&key).await.unwrap_err(),
        gone.read(&key, 10).await.unwrap_err(),
        gone.list("", None).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_fatal() && error.to_line().contains("no such bucket"), "{error:?}");
    }
}

/// Where the server does not make a bucket for whoever writes to it.
pub(crate) async fn nothing_is_sent_to_a_missing_bucket(store: &Store) {
    let gone =
        s3backup_transfer::Bucket::from_client(&store.client, "no-such-bucket").with_retry(super::quick());
    let key = Key::new("k").unwrap();
    let mut errors = vec![gone.write(&key, "x".into(), ChecksumKind::default(), None).await.unwrap_err()];
    for (name, size) in [("small", 1), ("large", PART + 1)] {
        let engine = s3backup_transfer::Engine::new(gone.clone(), settings(), objects("run-1"));
        errors.push(run(engine, vec![store.file(name, &noise(1, size))]).await.only().unwrap_err());
    }
    for error in errors {
        assert!(error.is_fatal() && error.to_line().contains("no such bucket"), "{error:?}");
    }
}

/// Where the server keeps them apart from slashes.
pub(crate) async fn backslashes(store: &Store) {
    for (name, size) in [("small", 10), ("large", PART + 1)] {
        let key = format!("back\\slash\\{name}");
        store.send(vec![store.file_as(name, &key, &noise(1, size))]).await.only().unwrap();
        assert!(store.get(&key).await.unwrap() == noise(1, size));
        let listed = store.bucket().list(&key, None).await.unwrap().objects;
        assert_eq!(
            listed.iter().map(|object| (&object.key, object.size)).collect::<Vec<_>>(),
            [(&key, size)]
        );
    }
}

/// Where the server has them.
pub(crate) async fn storage_class_and_encryption_are_asked_for(store: &Store) {
    let given = ObjectSettings {
        storage_class: Some("STANDARD_IA".to_owned()),
        sse: Some(Sse::Kms { key_id: Some("alias/backup".to_owned()) }),
        ..objects("run-1")
    };
    let uploads = vec![store.file("small", b"x"), store.file("large", &noise(1, PART + 1))];
    let said = run(store.engine(settings(), given), uploads).await;
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    for key in ["small", "large"] {
        let head = store.client.head_object().bucket(&store.name).key(key).send().await.unwrap();
        assert_eq!(head.storage_class().unwrap().as_str(), "STANDARD_IA", "{key}");
        assert_eq!(head.server_side_encryption().unwrap().as_str(), "aws:kms", "{key}");
        assert_eq!(head.ssekms_key_id(), Some("alias/backup"), "{key}");
    }
}

/// The longest key that S3 takes.
pub(crate) async fn a_key_of_1024_bytes(store: &Store) {
    let key = format!("{}x", "0123456789/abcde".repeat(64)).chars().skip(1).collect::<String>();
    assert_eq!(key.len(), 1024);
    store.send(vec![store.file_as("file", &key, b"far down")]).await.only().unwrap();
    assert_eq!(store.get(&key).await.unwrap(), b"far down");
}
