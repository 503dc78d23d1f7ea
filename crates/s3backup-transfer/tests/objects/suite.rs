#[path = "../common/mod.rs"]
mod common;
#[path = "../common/moto.rs"]
mod moto;

mod checks;
mod faults;
mod replies;
mod versions;

use std::fs::File;
use std::sync::Arc;

use s3backup_model::Key;
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::aws_sdk_s3::config::RequestChecksumCalculation;
use s3backup_transfer::aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use s3backup_transfer::{
    Bucket, DownloadLimits, Downloaded, Error, Expected, HttpPath, Pin, crc64nvme_base64,
};

use common::{MIB, Store};

/// Makes a test of each check on each server.
macro_rules! on_every_server {
    ($($check:ident)*) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::checks::$check(&super::common::Store::embedded().await).await;
                }
            )*
        }
        mod seaweedfs {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::checks::$check(&super::common::weed::store().await).await;
                }
            )*
        }
    };
}

on_every_server! {
    a_listing_tells_contents_apart
    folders_are_listed_without_what_is_in_them
    a_condition_keeps_others_from_being_overwritten
    what_is_deleted_is_gone
    only_uploads_of_the_very_key_are_found
    a_download_in_ranges_is_the_object
    what_was_overwritten_or_removed_is_never_taken_for_it
    what_is_not_expected_is_a_mismatch
    a_stranger_s_object_is_compared
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Puts an object as another program does that knows nothing of checksums.
pub(crate) async fn put(client: &Client, bucket: &str, key: &str, bytes: &[u8]) -> Pin {
    let put = plain(client).put_object().bucket(bucket).key(key).body(bytes.to_vec().into());
    let reply = put.send().await.unwrap();
    let etag = reply.e_tag().unwrap().trim_matches('"').to_owned();
    Pin { version_id: reply.version_id().map(ToOwned::to_owned), etag: Some(etag) }
}

/// Puts an object in parts of 8 MiB, as the AWS CLI does.
pub(crate) async fn put_in_parts(client: &Client, bucket: &str, key: &str, bytes: &[u8]) {
    let client = plain(client);
    let begun = client.create_multipart_upload().bucket(bucket).key(key).send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let mut completed = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(bytes.chunks(usize::try_from(8 * MIB).unwrap())) {
        let upload = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
        let reply = upload.body(part.to_vec().into()).send().await.unwrap();
        let part = CompletedPart::builder().part_number(number).set_e_tag(reply.e_tag().map(Into::into));
        completed = completed.parts(part.build());
    }
    let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
    complete.multipart_upload(completed.build()).send().await.unwrap();
}

/// A client that sends no checksums of its own accord.
fn plain(client: &Client) -> Client {
    let config = client.config().to_builder();
    Client::from_conf(config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired).build())
}

/// Downloads into a new file of the store's folder, and gives what is in it then.
pub(crate) async fn download(
    store: &Store,
    bucket: &Bucket,
    name: &str,
    pin: &Pin,
    expected: &[u8],
) -> (Result<Downloaded, Error>, Vec<u8>) {
    let path = store.path("restored");
    let file = Arc::new(File::create(&path).unwrap());
    let expected = Expected { size: expected.len() as u64, crc64nvme: Some(crc64nvme_base64(expected)) };
    let limits = DownloadLimits::new(4);
    let got = bucket.download_into(&key(name), pin, &expected, file, &limits).await;
    (got, std::fs::read(path).unwrap())
}
