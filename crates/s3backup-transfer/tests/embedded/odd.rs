//! HTTP as servers and what is between really speak it.

use std::sync::Arc;
use std::time::Duration;

use s3backup_local_s3::Operation;
use s3backup_model::Key;
use s3backup_transfer::{
    Bucket, ChecksumKind, Error, HttpPath, ObjectInfo, ObjectSettings, RetrySettings, TransferSettings, Update,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::by_hand::{ByHand, Request, refusal};
use crate::common::{MIB, PART, Store, noise, objects, quick, run, settings};

async fn bucket_on(server: &ByHand) -> Bucket {
    Store::on(&server.url(), "a", "s", "bucket".to_owned()).await.bucket()
}

/// Without repeats, so that what one request came to shows.
async fn one_try_on(server: &ByHand) -> Bucket {
    bucket_on(server).await.with_retry(RetrySettings { attempts: 1, ..quick() })
}

async fn write(bucket: &Bucket, bytes: Vec<u8>) -> Result<ObjectInfo, Error> {
    let key = Key::new("k").unwrap();
    bucket.write(&key, bytes.into(), ChecksumKind::Crc64Nvme, None).await
}

/// Sends two objects, and gives how many connections that took.
async fn connections_for_two(server: &ByHand) -> usize {
    let bucket = one_try_on(server).await;
    for bytes in [noise(1, 100), noise(2, 100)] {
        write(&bucket, bytes).await.unwrap();
    }
    assert_eq!(server.seen().len(), 2);
    server.connections()
}

#[tokio::test]
async fn one_connection_takes_one_request_after_the_other() {
    let server = ByHand::answering(|_, request| request.ok());
    assert_eq!(connections_for_two(&server).await, 1);
}

/// The words of the server count, not the pipe that breaks because it reads no further.
#[tokio::test]
async fn a_refusal_before_the_body_was_read() {
    let server = ByHand::listen(|mut line, log| async move {
        let request = line.head().await.unwrap();
        log.note(&request);
        line.say(refusal(503, "SlowDown", "connection: close\r\n")).await;
    });
    let error = write(&one_try_on(&server).await, noise(1, 8 * MIB)).await.unwrap_err();
    if crate::HTTP == HttpPath::Fast {
        let refusal = error.service().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!((refusal.status, &*refusal.code), (503, "SlowDown"));
    }
    assert!(error.is_retryable(), "{error:?}");
}

/// A server that answers and reads on all the same: the rest of the body must not be taken for the next request.
#[tokio::test]
async fn a_refusal_while_the_body_is_sent() {
    let server = ByHand::listen(|mut line, log| async move {
        while let Some(head) = line.head().await {
            let is_first = log.note(&head) == 1;
            if is_first {
                line.say(refusal(503, "SlowDown", "")).await;
            }
            let Some(request) = line.rest_of(head).await else { return };
            if !is_first {
                line.say(request.ok()).await;
            }
        }
    });
    let bucket = bucket_on(&server).await;
    write(&bucket, noise(1, 8 * MIB)).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    if crate::HTTP == HttpPath::Fast {
        assert_eq!(server.connections(), 2, "the rest of the body is not sent");
    }
}

/// The body must go on after them.
#[tokio::test]
async fn interim_replies() {
    for len in [100, 8 * MIB] {
        let server = ByHand::listen(|mut line, log| async move {
            while let Some(head) = line.head().await {
                line.say("HTTP/1.1 100 Continue\r\n\r\n").await;
                let request = line.rest_of(head).await.unwrap();
                log.note(&request);
                line.say("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
                line.say(request.ok()).await;
            }
        });
        let bucket = one_try_on(&server).await;
        for seed in 0..2 {
            write(&bucket, noise(seed, len)).await.unwrap();
        }
        let seen = server.seen();
        assert!(seen.len() == 2 && seen[1].body == noise(1, len));
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_server_that_closes_after_each_reply() {
    let closing = |head: &'static str| {
        ByHand::listen(move |mut line, log| async move {
            let Some(request) = line.request().await else { return };
            log.note(&request);
            line.say(format!("{head}\r\n{}\r\n", request.echo())).await;
        })
    };
    for head in ["HTTP/1.1 200 OK\r\nConnection: close", "HTTP/1.0 200 OK"] {
        assert_eq!(connections_for_two(&closing(head)).await, 2, "{head}");
    }
}

/// HTTP/1.0 knows no other end of a body.
#[tokio::test]
async fn a_body_that_ends_with_the_connection() {
    let server = ByHand::listen(|mut line, log| async move {
        let Some(request) = line.request().await else { return };
        log.note(&request);
        line.say("HTTP/1.0 403 Forbidden\r\n\r\n<Error><Code>AccessDenied</Code></Error>").await;
    });
    let error = write(&one_try_on(&server).await, noise(1, 100)).await.unwrap_err();
    assert_eq!(error.service().map(|refusal| &*refusal.code), Some("AccessDenied"), "{error:?}");
}

/// A good reply is not waited for when it says neither how long it is nor closes.
#[tokio::test]
async fn a_good_reply_without_a_length() {
    if crate::HTTP == HttpPath::Sdk {
        // It reads to the end of what has none.
        return;
    }
    let server = ByHand::listen(|mut line, log| async move {
        while let Some(request) = line.request().await {
            log.note(&request);
            line.say(request.ok().replace("content-length: 0\r\n", "")).await;
        }
    });
    assert_eq!(connections_for_two(&server).await, 2);
}

#[tokio::test]
async fn a_refusal_in_chunks() {
    let server = ByHand::answering(|number, request| {
        if number > 1 {
            return request.ok();
        }
        let pieces = ["<Error><Co", "de>SlowDown</Code><Message>no</Message></Er", "ror>"];
        let chunks = pieces.map(|text| format!("{:X};a=b\r\n{text}\r\n", text.len())).concat();
        format!("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\nx-t: 1\r\n\r\n")
    });
    let bucket = one_try_on(&server).await;
    let error = write(&bucket, noise(1, 100)).await.unwrap_err();
    assert_eq!(error.service().map(|refusal| &*refusal.code), Some("SlowDown"), "{error:?}");
    write(&bucket, noise(1, 100)).await.unwrap();
    assert_eq!(server.connections(), 1, "what was read to its end can be used again");
}

#[tokio::test]
async fn a_reply_that_comes_byte_by_byte() {
    let server = ByHand::listen(|mut line, log| async move {
        while let Some(request) = line.request().await {
            log.note(&request);
            for byte in request.ok().bytes() {
                line.say([byte]).await;
                tokio::task::yield_now().await;
            }
        }
    });
    assert_eq!(connections_for_two(&server).await, 1);
}

/// Seen before the next request is sent, so that none is lost.
#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle() {
    let closed = Arc::new(Notify::new());
    let server = {
        let closed = Arc::clone(&closed);
        ByHand::listen(move |mut line, log| {
            let closed = Arc::clone(&closed);
            async move {
                let Some(request) = line.request().await else { return };
                log.note(&request);
                line.say(request.ok()).await;
                drop(line);
                closed.notify_one();
            }
        })
    };
    let bucket = one_try_on(&server).await;
    for seed in 0..3 {
        write(&bucket, noise(seed, 100)).await.unwrap();
        closed.notified().await;
        // The runtime looks at its sockets before it comes back.
        tokio::task::yield_now().await;
    }
    assert_eq!((server.seen().len(), server.connections()), (3, 3));
}

/// One that cannot be seen costs a repeat.
#[tokio::test]
async fn a_connection_that_is_closed_under_the_next_request() {
    let server = ByHand::listen(|mut line, log| async move {
        let Some(request) = line.request().await else { return };
        log.note(&request);
        line.say(request.ok()).await;
        if let Some(request) = line.request().await {
            log.note(&request);
        }
    });
    let bucket = bucket_on(&server).await;
    write(&bucket, noise(1, 100)).await.unwrap();
    write(&bucket, noise(2, 100)).await.unwrap();
    assert_eq!((server.seen().len(), server.connections()), (3, 2));
}

#[tokio::test]
async fn what_follows_a_reply_is_no_reply() {
    for garbage in ["HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "x"] {
        let server = ByHand::answering(move |_, request| format!("{}{garbage}", request.ok()));
        assert_eq!(connections_for_two(&server).await, 2, "{garbage}");
    }
}

#[tokio::test]
async fn replies_that_are_no_proper_http() {
    let two_lengths: fn(&Request) -> String = |request| request.ok().replace("etag", "content-length: 1\r\netag");
    let endless: fn(&Request) -> String = |_| format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(1 << 20));
    let none: fn(&Request) -> String = |_| "SSH-2.0-OpenSSH_9.2\r\n".to_owned();
    let replies = [("two lengths", two_lengths), ("no end", endless), ("no proper HTTP", none)];
    for (says, reply) in replies {
        let server = ByHand::answering(move |_, request| reply(request));
        let error = write(&one_try_on(&server).await, noise(1, 100)).await.unwrap_err();
        assert!(matches!(error, Error::NoAnswer { .. }) && error.is_retryable(), "{says}: {error:?}");
        if crate::HTTP == HttpPath::Fast {
            assert!(error.to_line().contains(says), "{}", error.to_line());
        }
    }
}

/// A server that stores only the first half of the small files before it was asked for something large: the large file is
/// begun although all the small ones were planned before it, and these go on when it has failed.
#[tokio::test]
async fn a_large_file_does_not_wait_behind_small_ones() {
    const SMALL_FILES: usize = 1000;
    let asked = Arc::new(Notify::new());
    let server = ByHand::listen(move |mut line, log| {
        let asked = Arc::clone(&asked);
        async move {
            while let Some(request) = line.request().await {
                let number = log.note(&request);
                if !request.is("PUT") {
                    // Each lets go one that waits, which lets go the next.
                    asked.notify_one();
                    line.say(refusal(403, "AccessDenied", "")).await;
                    continue;
                }
                if number > SMALL_FILES / 2 {
                    asked.notified().await;
                    asked.notify_one();
                }
                line.say(request.ok()).await;
            }
        }
    });
    let store = Store::on(&server.url(), "a", "s", "bucket".to_owned()).await;
    let (to_engine, planned) = mpsc::channel(SMALL_FILES + 1);
    for number in 0..SMALL_FILES {
        to_engine.send(store.file(&format!("small-{number}"), b"x")).await.unwrap();
    }
    to_engine.send(store.file("large", &noise(1, PART + 1))).await.unwrap();
    drop(to_engine);
    let (said, mut updates) = mpsc::channel(4 * SMALL_FILES);
    let engine = store.engine(TransferSettings { concurrency: None, ..settings() }, objects("run-1"));
    let running = engine.run(planned, said, CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it does not wait for small ones");
    let mut failed = Vec::new();
    while let Some(update) = updates.recv().await {
        if let Update::Done(done) = update
            && done.result.is_err()
        {
            failed.push(done.upload.key.as_str().to_owned());
        }
    }
    assert_eq!(failed, ["large"]);
}

/// A line end in a setting would begin another header field.
#[tokio::test]
async fn a_value_that_no_header_field_can_have() {
    let store = Store::embedded().await;
    let class = "A\r\nx-amz-acl: public-read".to_owned();
    let objects = ObjectSettings { storage_class: Some(class), ..objects("run-1") };
    let said = run(store.engine(settings(), objects), vec![store.file("f", b"x")]).await;
    let error = said.only().unwrap_err();
    assert!(matches!(error, Error::BadRequest { .. }) && !error.is_retryable(), "{error:?}");
    assert!(error.to_line().starts_with("cannot make the PutObject request for s3://bucket/f: "));
    assert_eq!(store.server().stats().of(Operation::PutObject), 0);
}
