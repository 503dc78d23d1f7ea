//! The one version that an object has, and the many that it has not.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use crate::client::{BUCKET, client, get, keys, put, refused, start, status};

#[tokio::test]
async fn the_version_null_is_the_object() {
    let server = start().await;
    let client = client(&server);
    put(&client, "k", b"x").await;
    let reply = client.get_object().bucket(BUCKET).key("k").version_id("null").send().await.unwrap();
    assert_eq!(reply.body.collect().await.unwrap().to_vec(), b"x");
    client.head_object().bucket(BUCKET).key("k").version_id("null").send().await.unwrap();
    let copy = client.copy_object().bucket(BUCKET).key("copy");
    copy.copy_source(format!("{BUCKET}/k?versionId=null")).send().await.unwrap();
    client.delete_object().bucket(BUCKET).key("k").version_id("null").send().await.unwrap();
    assert_eq!(keys(&client).await, ["copy"]);
}

#[tokio::test]
async fn another_version_is_neither_given_nor_removed() {
    let server = start().await;
    let client = client(&server);
    put(&client, "k", b"x").await;
    let missing = status(404, "NoSuchVersion");
    let get_it = client.get_object().bucket(BUCKET).key("k").version_id("v1").send();
    assert_eq!(refused(get_it).await, missing);
    let head = client.head_object().bucket(BUCKET).key("k").version_id("v1").send();
    assert_eq!(refused(head).await.0, 404);
    let copy =
        client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/k?versionId=v1"));
    assert_eq!(refused(copy.send()).await, missing);
    let delete = client.delete_object().bucket(BUCKET).key("k").version_id("v1").send();
    assert_eq!(refused(delete).await, missing);
    let object = |version: &str| ObjectIdentifier::builder().key("k").version_id(version).build().unwrap();
    let delete = Delete::builder().objects(object("v1")).build().unwrap();
    let reply = client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    let error = &reply.errors()[0];
    assert_eq!((error.code(), error.version_id()), (Some("NoSuchVersion"), Some("v1")));
    assert_eq!(get(&client, "k").await.unwrap(), b"x");
}
