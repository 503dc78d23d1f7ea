//! Taking over a bucket that another tool filled.

#[path = "../../../s3backup-transfer/tests/common/weed.rs"]
mod weed;

use std::path::Path;
use std::time::Duration;

use s3backup_core::aws_sdk_s3::Client;
use s3backup_core::aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use s3backup_core::aws_sdk_s3::primitives::ByteStream;
use s3backup_core::aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use s3backup_core::{
    AdoptOptions, AdoptReport, Backup, CancellationToken, Destination, Outcome, RunReport, Source,
    VerifyOptions,
};
use s3backup_local_s3::LocalS3;

use crate::bench::{BUCKET, impatient, soon, write};

/// How long SeaweedFS may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the AWS CLI and boto3 send in one part, and from which size on they send parts.
const PART: usize = 8 << 20;

/// A bucket on some server, as the module of SeaweedFS makes it.
struct Store {
    client: Client,
    name: String,
}

impl Store {
    #[expect(
        clippy::unused_async,
        reason = "another suite, with the same module, looks for credentials here"
    )]
    async fn on(endpoint: &str, access_key: &str, secret_key: &str, name: String) -> Self {
        Self { client: client(endpoint, access_key, secret_key), name }
    }
}

fn client(endpoint: &str, access_key: &str, secret_key: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

/// Another tool: it knows nothing of ours, and writes no metadata.
struct Tool {
    client: Client,
    bucket: String,
}

impl Tool {
    /// As `aws s3 cp` does it: large files in parts of 8 MiB.
    async fn copy(&self, key: &str, bytes: &[u8]) {
        if bytes.len() < PART {
            let body = ByteStream::from(bytes.to_vec());
            self.client.put_object().bucket(&self.bucket).key(key).body(body).send().await.unwrap();
            return;
        }
        let (client, bucket) = (&self.client, &self.bucket);
        let begun = client.create_multipart_upload().bucket(bucket).key(key).send().await.unwrap();
        let upload = begun.upload_id().unwrap();
        let mut parts = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(bytes.chunks(PART)) {
            let body = ByteStream::from(part.to_vec());
            let sent = client.upload_part().bucket(bucket).key(key).upload_id(upload).part_number(number);
            let sent = sent.body(body).send().await.unwrap();
            let part = CompletedPart::builder().part_number(number);
            parts = parts.parts(part.set_e_tag(sent.e_tag).set_checksum_crc32(sent.checksum_crc32).build());
        }
        let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        complete.multipart_upload(parts.build()).send().await.unwrap();
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let reply = self.client.get_object().bucket(&self.bucket).key(key).send().await.unwrap();
        reply.body.collect().await.unwrap().to_vec()
    }
}

fn job(dir: &Path, tool: &Tool) -> Backup {
    Backup::builder()
        .job("telemetry")
        .host("gw-1")
        .client(tool.client.clone())
        .destination(Destination::new(&tool.bucket).prefix("trips"))
        .retry(impatient())
        .state_dir(dir.join("state"))
        .source(Source::new(dir.join("data")))
        .build()
        .unwrap()
}

async fn adopt(backup: &Backup, options: AdoptOptions) -> AdoptReport {
    soon(backup.adopt(options, CancellationToken::new())).await.unwrap()
}

async fn run(backup: &Backup) -> RunReport {
    let report = soon(backup.run()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    report
}

/// Files of which one was sent in parts, one is different with the same length, one with another, one is only here, and one
/// only there.
async fn filled(dir: &Path, tool: &Tool) {
    let large: Vec<u8> = (0..(9_u32 << 18)).flat_map(u32::to_le_bytes).collect();
    let files: [(&str, &[u8]); 6] = [
        ("small", b"small"),
        ("sub/empty", b""),
        ("large", &large),
        ("different", b"here"),
        ("longer", b"here"),
        ("only here", b"x"),
    ];
    for (name, bytes) in files {
        write(&dir.join("data").join(name), bytes);
    }
    for (name, bytes) in &files[..3] {
        tool.copy(&format!("trips/{name}"), bytes).await;
    }
    tool.copy("trips/different", b"ther").await;
    tool.copy("trips/longer", b"there").await;
    tool.copy("trips/only there", b"123").await;
}

async fn is_taken_over(tool: &Tool) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    filled(dir, tool).await;
    let backup = job(dir, tool);

    let dry = adopt(&backup, AdoptOptions::default().dry_run(true)).await;
    let report = adopt(&backup, AdoptOptions::default()).await;

    for report in [&dry, &report] {
        assert_eq!(
            (report.adopted.files, report.different.files, report.unprovable.files),
            (3, 2, 0),
            "{report:?}"
        );
        assert_eq!(report.adopted.bytes, 5 + (9 << 20));
        assert_eq!((report.only_local.files, report.known.files), (1, 0));
        assert_eq!((report.only_in_bucket.files, report.only_in_bucket.bytes), (1, 3));
        let mut named: Vec<&str> = report.not_adopted.iter().map(s3backup_core::Key::as_str).collect();
        named.sort_unstable();
        assert_eq!(named, ["trips/different", "trips/longer"]);
        assert!(report.failed.is_empty() && !report.interrupted, "{report:?}");
    }

    // What somebody else wrote is not overwritten unasked.
    let refused = soon(backup.run()).await.unwrap();
    assert_eq!((refused.outcome, refused.failed_total), (Outcome::Partial, 2), "{refused:#?}");
    assert_eq!((refused.uploaded.files, refused.unchanged.files), (1, 3));
    assert!(
        !refused.warnings.iter().any(|warning| warning.contains("latest.json")),
        "nothing is wrong with the bucket: {:?}",
        refused.warnings
    );
    assert_eq!(tool.get("trips/longer").await, b"there");

    let again = adopt(&backup, AdoptOptions::default().replace_different(true)).await;
    assert_eq!((again.adopted.files, again.known.files, again.different.files), (0, 4, 2));
    assert_eq!(run(&backup).await.uploaded.files, 2);
    assert_eq!(tool.get("trips/different").await, b"here");
    let last = run(&backup).await;
    assert_eq!((last.uploaded.files, last.unchanged.files), (0, 6));
    assert_eq!(tool.get("trips/only there").await, b"123");

    // The bucket alone tells of what was adopted, too.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::create_dir(elsewhere.path().join("data")).unwrap();
    let verified = soon(job(elsewhere.path(), tool).verify(VerifyOptions::default().deep(true)).finish());
    let verified = verified.await.unwrap();
    assert_eq!((verified.verified.objects.files, verified.verified.differ, verified.unchecked), (6, 0, 0));
}

#[tokio::test]
async fn what_is_proved_is_not_sent_again() {
    let server = LocalS3::builder().bucket(BUCKET).start().await.unwrap();
    let client = client(&server.endpoint(), server.access_key(), server.secret_key());
    is_taken_over(&Tool { client, bucket: BUCKET.to_owned() }).await;
}

#[tokio::test]
async fn what_is_proved_is_not_sent_again_on_seaweedfs() {
    let Store { client, name } = weed::store().await;
    is_taken_over(&Tool { client, bucket: name }).await;
}

#[tokio::test]
async fn a_first_run_after_it_sends_nothing() {
    let server = LocalS3::builder().bucket(BUCKET).start().await.unwrap();
    let client = client(&server.endpoint(), server.access_key(), server.secret_key());
    let tool = Tool { client, bucket: BUCKET.to_owned() };
    let dir = tempfile::tempdir().unwrap();
    for number in 0..600 {
        let bytes = format!("content {number}");
        write(&dir.path().join(format!("data/{number}")), &bytes);
        tool.copy(&format!("trips/{number}"), bytes.as_bytes()).await;
    }
    let backup = job(dir.path(), &tool);
    assert_eq!(adopt(&backup, AdoptOptions::default()).await.adopted.files, 600);
    let before = server.stats();
    let report = run(&backup).await;
    assert_eq!((report.uploaded.files, report.unchanged.files), (0, 600));
    let asked = server.stats().total() - before.total();
    assert!(asked < 20, "no object was asked for: {asked}");
    assert_eq!(report.manifests.iter().map(|segment| segment.lines).sum::<u64>(), 600, "they are listed");
}

#[tokio::test]
async fn it_can_be_cancelled_and_done_again() {
    let server = LocalS3::builder().bucket(BUCKET).start().await.unwrap();
    let client = client(&server.endpoint(), server.access_key(), server.secret_key());
    let tool = Tool { client, bucket: BUCKET.to_owned() };
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &tool).await;
    let backup = job(dir.path(), &tool);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let cut = soon(backup.adopt(AdoptOptions::default(), cancel)).await.unwrap();
    assert!(cut.interrupted);
    let whole = adopt(&backup, AdoptOptions::default()).await;
    assert_eq!(cut.adopted.files + whole.adopted.files, 3);
}
