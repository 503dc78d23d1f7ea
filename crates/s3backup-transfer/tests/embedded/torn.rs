//! Files that change while they are sent.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use s3backup_local_s3::{Fault, FaultKind, Operation};
use s3backup_model::FailureKind;
use s3backup_transfer::{Error, MAX_READS, Stored, TransferSettings};

use crate::common::{PART, Store, noise, objects, run, settings, until};

/// Long enough for a test to change a file while the server holds a part back.
const HELD: Duration = Duration::from_millis(400);

/// One request at a time, each part held back by the server.
async fn slow_store() -> Store {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::Latency(HELD)).on(Operation::UploadPart));
    store
}

fn one_at_a_time() -> TransferSettings {
    TransferSettings { concurrency: Some(1), ..settings() }
}

/// Sends a file of three parts and calls `meddle` whenever the server has the first part of a new upload, with the
/// number of that upload.
async fn send_while(
    store: &Store,
    settings: TransferSettings,
    meddle: impl Fn(u64),
) -> Result<Stored, Error> {
    let upload = store.file("f", &noise(0, 2 * PART + 1));
    let sending = run(store.engine(settings, objects("run-1")), vec![upload]);
    tokio::pin!(sending);
    let mut uploads = 0;
    let mut parts_before = 0;
    loop {
        tokio::select! {
            said = &mut sending => return said.only(),
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                let stats = store.server().stats();
                let (begun, parts) =
                    (stats.of(Operation::CreateMultipartUpload), stats.of(Operation::UploadPart));
                if begun > uploads && parts > parts_before {
                    uploads = begun;
                    meddle(uploads);
                }
                if begun == uploads {
                    parts_before = parts;
                }
            }
        }
    }
}

async fn assert_nothing_is_left(store: &Store) {
    assert_eq!(store.get("f").await, None);
    assert_eq!(store.open_uploads().await, 0);
    until("all files are closed", || !store.has_open_files()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_once_is_sent_as_it_is_afterwards() {
    let store = slow_store().await;
    let path = store.path("f");
    let stored = send_while(&store, one_at_a_time(), |upload| {
        if upload == 1 {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(b"changed", 0).unwrap();
        }
    });
    let stored = stored.await.unwrap();
    let now = fs::read(&path).unwrap();
    assert!(now.starts_with(b"changed"));
    assert!(store.get("f").await.unwrap() == now);
    assert_eq!(stored.crc64nvme, s3backup_transfer::crc64nvme_base64(&now));
    assert_eq!(store.server().stats().of(Operation::CompleteMultipartUpload), 1);
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_each_time_is_given_up() {
    let store = slow_store().await;
    let path = store.path("f");
    let error = send_while(&store, one_at_a_time(), |upload| {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&upload.to_le_bytes(), 0).unwrap();
    });
    let error = error.await.unwrap_err();
    assert!(matches!(error, Error::Changed { reads: MAX_READS, .. }), "{error:?}");
    assert_eq!(error.kind(), FailureKind::Changed);
    let stats = store.server().stats();
    assert_eq!(stats.of(Operation::CreateMultipartUpload), u64::from(MAX_READS));
    assert_eq!(stats.of(Operation::CompleteMultipartUpload), 0);
    assert_eq!(
        stats.of(Operation::UploadPart),
        u64::from(MAX_READS),
        "no part is sent after the change is seen"
    );
    assert_nothing_is_left(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_grows_is_sent_whole() {
    let store = slow_store().await;
    let path = store.path("f");
    let stored = send_while(&store, one_at_a_time(), |upload| {
        if upload == 1 {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(b"more", 2 * PART + 1).unwrap();
        }
    });
    assert_eq!(stored.await.unwrap().stat.size, 2 * PART + 5);
    assert!(store.get("f").await.unwrap() == fs::read(&path).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_short_is_sent_as_it_is_afterwards() {
    let store = slow_store().await;
    let path = store.path("f");
    let stored = send_while(&store, one_at_a_time(), |upload| {
        if upload == 1 {
            fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        }
    });
    assert_eq!(stored.await.unwrap().stat.size, 10);
    assert_eq!(store.get("f").await.unwrap(), noise(0, 2 * PART + 1)[..10]);
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_replaced_by_rename_is_sent_as_the_new_one() {
    let store = slow_store().await;
    let path = store.path("f");
    fs::write(store.path("new"), noise(9, PART + 7)).unwrap();
    let stored = send_while(&store, one_at_a_time(), |upload| {
        if upload == 1 {
            fs::rename(store.path("new"), &path).unwrap();
        }
    });
    assert_eq!(stored.await.unwrap().stat.size, PART + 7);
    assert!(store.get("f").await.unwrap() == noise(9, PART + 7));
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_removed_has_vanished() {
    let store = slow_store().await;
    let path = store.path("f");
    let error = send_while(&store, one_at_a_time(), |_| {
        let _ = fs::remove_file(&path);
    });
    let error = error.await.unwrap_err();
    assert!(matches!(error, Error::Vanished { .. }), "{error:?}");
    assert_nothing_is_left(&store).await;

    // Before it was looked at, too.
    let upload = store.file("g", b"x");
    fs::remove_file(store.path("g")).unwrap();
    let error = store.send(vec![upload]).await.only().unwrap_err();
    assert!(matches!(error, Error::Vanished { .. }), "{error:?}");
    assert_eq!(store.get("g").await, None);
}

/// What is streamed is read a second time while it is sent, so a change shows in the middle of a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_file_that_is_cut_short_is_torn_at_once() {
    let store = Store::embedded().await;
    // The first attempt fails, and the file is cut before the second reads it again.
    store.server().faults().add(Fault::new(FaultKind::Latency(HELD)).on(Operation::UploadPart));
    store.server().faults().add(Fault::new(FaultKind::SlowDown).on(Operation::UploadPart).first(1));
    let settings = TransferSettings { part_size_bytes: 6 << 20, memory_bytes: 5 << 20, ..one_at_a_time() };
    let path = store.path("f");
    let stored = send_while(&store, settings, |upload| {
        if upload == 1 {
            fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
        }
    });
    assert_eq!(stored.await.unwrap().stat.size, 100);
    assert_eq!(store.server().stats().of(Operation::UploadPart), 1, "a torn part is not sent again");
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_grew_since_the_walk_is_sent_as_it_is() {
    let store = Store::embedded().await;
    for (before, now) in [(10, 20), (20, 10), (10, PART + 1), (PART + 1, 10), (PART + 1, 2 * PART)] {
        let name = format!("{before}-{now}");
        let upload = store.file(&name, &noise(1, before));
        fs::write(store.path(&name), noise(2, now)).unwrap();
        let stored = store.send(vec![upload]).await.only().unwrap();
        assert_eq!(stored.stat.size, now);
        assert!(store.get(&name).await.unwrap() == noise(2, now), "{name}");
    }
    assert_eq!(store.open_uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_regular_files_are_opened() {
    let store = Store::embedded().await;
    let upload = store.file("f", b"x");
    fs::remove_file(store.path("f")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", store.path("f")).unwrap();
    let error = store.send(vec![upload]).await.only().unwrap_err();
    assert!(matches!(error, Error::NotRegular { .. }), "{error:?}");
    assert_eq!(store.get("f").await, None);
}

/// One source that follows links does not make those of another open theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_followed_only_where_they_may_be() {
    let store = Store::embedded().await;
    fs::write(store.path("target"), b"behind the link").unwrap();
    let uploads = ["followed", "refused"].map(|name| {
        let mut upload = store.file(name, b"x");
        fs::remove_file(store.path(name)).unwrap();
        std::os::unix::fs::symlink(store.path("target"), store.path(name)).unwrap();
        upload.entry.stat.size = 15;
        upload.follow_symlinks = name == "followed";
        upload
    });
    let said = store.send(uploads.to_vec()).await;
    for done in said.done {
        if done.upload.follow_symlinks {
            done.result.unwrap();
        } else {
            assert!(matches!(done.result, Err(Error::NotRegular { .. })), "{:?}", done.result);
        }
    }
    assert_eq!(store.get("followed").await.unwrap(), b"behind the link");
    assert_eq!(store.get("refused").await, None);
}
