//! What the tests share: a directory, a bucket, and eyes for what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use s3backup_core::aws_sdk_s3::Client;
use s3backup_core::aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use s3backup_core::manifest::{Header, Line};
use s3backup_core::options::RetrySettings;
use s3backup_core::{Backup, BackupBuilder, Destination, Error, Event, RunReport, Source};
use s3backup_local_s3::LocalS3;
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "fleet-backup";

/// Where the control data of these tests lies.
pub(crate) const CONTROL: &str = "trips/.s3backup/telemetry/gw-1/";

/// How long a test waits for what must happen at once before it says that it did not.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Bench {
    pub(crate) server: LocalS3,
    dir: TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(LocalS3::builder()).await
    }

    /// With a server of another kind.
    pub(crate) async fn with(server: s3backup_local_s3::Builder) -> Self {
        let server = server.bucket(BUCKET).start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        Self { server, dir }
    }

    /// A directory beside the source.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// The source's directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir("data")
    }

    /// A file in the source.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        write(&self.data().join(name), bytes)
    }

    pub(crate) fn destination(&self) -> Destination {
        Destination::new(BUCKET)
            .prefix("trips")
            .endpoint(self.server.endpoint())
            .region("us-east-1")
            .credentials(self.server.access_key(), self.server.secret_key())
    }

    /// All but the sources; requests are repeated quickly and only once.
    pub(crate) fn job(&self) -> BackupBuilder {
        self.forgetful_job().state_dir(self.dir("state"))
    }

    /// The same of a machine that keeps no catalog.
    pub(crate) fn forgetful_job(&self) -> BackupBuilder {
        Backup::builder().job("telemetry").host("gw-1").destination(self.destination()).retry(impatient())
    }

    /// The usual job: one source.
    pub(crate) fn builder(&self) -> BackupBuilder {
        self.job().source(Source::new(self.data()))
    }

    pub(crate) fn backup(&self) -> Backup {
        self.builder().build().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        let config = s3backup_core::aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(self.server.endpoint())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(
                self.server.access_key(),
                self.server.secret_key(),
                None,
                None,
                "test",
            ))
            .force_path_style(true)
            .build();
        Client::from_conf(config)
    }

    /// Keys and storage classes of all objects.
    pub(crate) async fn objects(&self) -> BTreeMap<String, String> {
        let reply = self.client().list_objects_v2().bucket(BUCKET).send().await.unwrap();
        assert_ne!(reply.is_truncated(), Some(true), "the tests look at one page");
        let class = |object: &s3backup_core::aws_sdk_s3::types::Object| {
            object.storage_class().map_or("STANDARD", |class| class.as_str()).to_owned()
        };
        reply.contents().iter().map(|object| (object.key().unwrap().to_owned(), class(object))).collect()
    }

    /// Keys of the data.
    pub(crate) async fn data_keys(&self) -> BTreeSet<String> {
        self.objects().await.into_keys().filter(|key| !key.contains(".s3backup/")).collect()
    }

    pub(crate) async fn get(&self, key: &str) -> Vec<u8> {
        let reply = self.client().get_object().bucket(BUCKET).key(key).send().await.unwrap();
        reply.body.collect().await.unwrap().to_vec()
    }

    pub(crate) async fn open_uploads(&self) -> usize {
        let reply = self.client().list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
        reply.uploads().len()
    }

    pub(crate) async fn stored_report(&self, report: &RunReport) -> RunReport {
        let bytes = self.get(&format!("{CONTROL}runs/{}.json", report.run_id)).await;
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The lines of a run's manifest.
    pub(crate) async fn manifest(&self, report: &RunReport) -> Vec<Line> {
        let mut lines = Vec::new();
        for segment in &report.manifests {
            lines.extend(read_segment(&self.get(segment.key.as_str()).await).1);
        }
        lines
    }
}

pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
    path.to_owned()
}

pub(crate) fn read_segment(bytes: &[u8]) -> (Header, Vec<Line>) {
    let text = String::from_utf8(zstd::decode_all(bytes).unwrap()).unwrap();
    assert!(text.ends_with('\n'));
    let (header, lines) = text.split_once('\n').unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (serde_json::from_str(header).unwrap(), lines)
}

/// Two attempts, at once.
pub(crate) fn impatient() -> RetrySettings {
    RetrySettings {
        attempts: 2,
        base: Duration::from_millis(1),
        cap: Duration::from_millis(1),
        seed: Some(1),
        ..RetrySettings::default()
    }
}

/// The report of a run that failed.
pub(crate) fn failed(result: Result<RunReport, Error>) -> RunReport {
    match result {
        Err(Error::Failed(report)) => *report,
        other => panic!("it should have failed: {other:?}"),
    }
}

/// Waits for what must come soon.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes for ever")
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    soon(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A run to its end, with all that it told.
pub(crate) async fn watch(backup: &Backup) -> (Vec<Event>, Result<RunReport, Error>) {
    soon(async {
        let mut run = backup.start();
        let mut events = Vec::new();
        while let Some(event) = run.next().await {
            events.push(event);
        }
        (events, run.finish().await)
    })
    .await
}
