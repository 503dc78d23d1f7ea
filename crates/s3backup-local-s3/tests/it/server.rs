//! Who is let in, and where.

use s3backup_local_s3::{Error, LocalS3, Operation};

use crate::client::{BUCKET, client, client_with, put, refused, start, status};
use crate::raw::connect;

#[tokio::test]
async fn only_the_right_keys_are_let_in() {
    let server = start().await;
    let list = |access_key: &str, secret_key: &str| {
        client_with(&server, access_key, secret_key).list_objects_v2().bucket(BUCKET).send()
    };
    let wrong_secret = refused(list(server.access_key(), "wrong")).await;
    assert_eq!(wrong_secret, status(403, "SignatureDoesNotMatch"));
    let unknown = refused(list("UNKNOWN", server.secret_key())).await;
    assert_eq!(unknown, status(403, "InvalidAccessKeyId"));
    assert!(list(server.access_key(), server.secret_key()).await.is_ok());
}

#[tokio::test]
async fn settings() {
    let server = LocalS3::builder().credentials("AK", "a-secret").region("ap-northeast-2").bucket(BUCKET);
    assert!(!format!("{server:?}").contains("a-secret"));
    let server = server.start().await.unwrap();
    assert!(!format!("{server:?}").contains("a-secret"));
    assert_eq!((server.access_key(), server.secret_key()), ("AK", "a-secret"));
    let location = client(&server).get_bucket_location().bucket(BUCKET).send().await.unwrap();
    assert_eq!(location.location_constraint().unwrap().as_str(), "ap-northeast-2");

    let port = server.endpoint().rsplit_once(':').unwrap().1.parse().unwrap();
    let taken = LocalS3::builder().port(port).start().await;
    assert!(matches!(taken, Err(Error::Bind { .. })), "{taken:?}");
    server.shutdown().await;
    let server = LocalS3::builder().port(port).start().await.unwrap();
    assert_eq!(server.endpoint(), format!("http://127.0.0.1:{port}"));

    let named = LocalS3::builder().bucket("No Bucket").start().await;
    assert!(matches!(named, Err(Error::BucketName { .. })), "{named:?}");
}

#[tokio::test]
async fn credentials_differ_from_server_to_server() {
    let (one, other) = (start().await, start().await);
    assert_ne!(one.access_key(), other.access_key());
    assert_ne!(one.secret_key(), other.secret_key());
    assert_eq!(one.secret_key().len(), 40);
}

#[tokio::test]
async fn a_stopped_server_closes_its_connections() {
    let server = start().await;
    let mut stream = connect(&server).await;
    // So that the connection is known to be accepted.
    put(&client(&server), "k", b"x").await;
    server.shutdown().await;
    let mut buffer = [0];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await;
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn requests_are_counted() {
    let server = start().await;
    let client = client(&server);
    put(&client, "a", b"x").await;
    put(&client, "b", b"x").await;
    client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    let stats = server.stats();
    assert_eq!(stats.of(Operation::PutObject), 2);
    assert_eq!(stats.of(Operation::HeadObject), 1);
    assert_eq!(stats.total(), 3);
    assert_eq!(stats.faults, 0);
    assert_eq!(stats.peak_requests, 1);
    assert!(stats.connections >= 1);
}

#[tokio::test]
async fn replies_and_objects_are_dated_by_the_clock_that_was_passed_in() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let at = |seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let server = LocalS3::builder().bucket(BUCKET).clock(move || at(1_795_172_400)).start().await.unwrap();
    put(&client(&server), "k", b"x").await;
    let listed = client(&server).list_objects_v2().bucket(BUCKET).send().await.unwrap();
    assert_eq!(listed.contents()[0].last_modified().unwrap().secs(), 1_795_172_400);

    let mut stream = connect(&server).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let dates: Vec<_> = reply.lines().filter(|line| line.to_lowercase().starts_with("date:")).collect();
    assert_eq!(dates, ["date: Fri, 20 Nov 2026 11:00:00 GMT"], "{reply}");
}
