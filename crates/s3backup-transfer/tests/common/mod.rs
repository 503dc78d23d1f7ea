//! What the tests share, in programs that say by `HTTP` which path they test: a bucket on some server, a folder of files, and short ways to send and to look.

#![allow(
    dead_code,
    unused_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; not every binary uses all of them"
)]

#[macro_use]
pub(crate) mod checks;
pub(crate) mod journal;
pub(crate) mod weed;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use s3backup_local_s3::LocalS3;
use s3backup_model::{Entry, FileStat, Key};
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use s3backup_transfer::{
    Bucket, ChecksumKind, ConnectOptions, Done, Engine, Error, HttpPath, Known, ObjectSettings,
    RetrySettings, StaticCredentials, Stored, TransferSettings, Update, Upload, crc64nvme_base64,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) const MIB: u64 = 1 << 20;

/// The least part size of S3, and so the cheapest for tests.
pub(crate) const PART: u64 = 5 * MIB;

pub(crate) const KINDS: [ChecksumKind; 4] =
    [ChecksumKind::Crc64Nvme, ChecksumKind::Crc32c, ChecksumKind::Sha256, ChecksumKind::None];

/// How long a test waits for a condition before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bucket of a test's own, and a folder for its files.
pub(crate) struct Store {
    /// For what tests do as another program; it is the SDK, whatever the bucket under test is made of.
    pub(crate) client: Client,
    bucket: Bucket,
    pub(crate) name: String,
    pub(crate) local: Option<LocalS3>,
    pub(crate) folder: tempfile::TempDir,
}

/// What an engine said.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) done: Vec<Done>,
    pub(crate) warnings: Vec<String>,
    pub(crate) sent_bytes: u64,
}

impl Said {
    /// The only upload's result.
    pub(crate) fn only(mut self) -> Result<Stored, Error> {
        assert_eq!(self.done.len(), 1, "{:?}", self.done);
        self.done.remove(0).result
    }

    pub(crate) fn note(&mut self, update: Update) {
        match update {
            Update::Sent { bytes } => self.sent_bytes += bytes,
            Update::Warning { message } => self.warnings.push(message),
            Update::Done(done) => self.done.push(*done),
            _ => {}
        }
    }
}

impl Store {
    /// A bucket on an embedded server of the test's own.
    pub(crate) async fn embedded() -> Self {
        let server = LocalS3::builder().bucket("bucket").start().await.unwrap();
        let (endpoint, access_key, secret_key) =
            (server.endpoint(), server.access_key().to_owned(), server.secret_key().to_owned());
        Self {
            local: Some(server),
            ..Self::on(&endpoint, &access_key, &secret_key, "bucket".to_owned()).await
        }
    }

    /// A bucket on a server.
    pub(crate) async fn on(endpoint: &str, access_key: &str, secret_key: &str, name: String) -> Self {
        let client = client(endpoint, access_key, secret_key);
        let bucket = match crate::HTTP {
            HttpPath::Sdk => Bucket::from_client(&client, &name),
            http @ HttpPath::Fast => {
                let options = ConnectOptions {
                    bucket: name.clone(),
                    region: Some("us-east-1".to_owned()),
                    endpoint: Some(endpoint.to_owned()),
                    credentials: Some(StaticCredentials::new(access_key, secret_key)),
                    http,
                };
                Bucket::connect(&options).await.unwrap()
            }
        };
        Self {
            client,
            bucket: bucket.with_retry(quick()),
            name,
            local: None,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn server(&self) -> &LocalS3 {
        self.local.as_ref().expect("this test is for the embedded server")
    }

    /// The bucket with quick retries and fixed jitter.
    pub(crate) fn bucket(&self) -> Bucket {
        self.bucket.clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the folder and plans to send it under its own name.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> Upload {
        self.file_as(name, name, bytes)
    }

    pub(crate) fn file_as(&self, name: &str, key: &str, bytes: &[u8]) -> Upload {
        upload(self.folder.path(), name, key, bytes)
    }

    pub(crate) fn engine(&self, settings: TransferSettings, objects: ObjectSettings) -> Engine {
        Engine::new(self.bucket(), settings, objects)
    }

    /// Sends with the defaults of tests and waits for the end.
    pub(crate) async fn send(&self, uploads: Vec<Upload>) -> Said {
        run(self.engine(settings(), objects("run-1")), uploads).await
    }

    /// The bytes of an object as another program sees them; `None` when there is none.
    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(reply) => Some(reply.body.collect().await.unwrap().to_vec()),
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 404) => None,
            Err(error) => panic!("{key}: {error:?}"),
        }
    }

    /// Another program writes an object.
    pub(crate) async fn meddle(&self, key: &str, bytes: &[u8]) -> String {
        let put = self.client.put_object().bucket(&self.name).key(key).body(bytes.to_vec().into());
        let reply = put.checksum_crc64_nvme(crc64nvme_base64(bytes)).send().await.unwrap();
        reply.e_tag().unwrap().trim_matches('"').to_owned()
    }

    /// How many multipart uploads are neither completed nor aborted.
    pub(crate) async fn open_uploads(&self) -> usize {
        let reply = self.client.list_multipart_uploads().bucket(&self.name).send().await.unwrap();
        reply.uploads().len()
    }

    /// Whether this process holds a file of the folder open.
    pub(crate) fn has_open_files(&self) -> bool {
        let folder = self.folder.path();
        let opened = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
        opened.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|target| target.starts_with(folder))
    }
}

/// Writes a file of `folder` and plans to send it.
pub(crate) fn upload(folder: &Path, name: &str, key: &str, bytes: &[u8]) -> Upload {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    Upload {
        entry: entry(folder, name),
        key: Key::new(key).unwrap(),
        file_id: name.to_owned(),
        follow_symlinks: false,
        known: None,
        hold: false,
    }
}

pub(crate) fn client(endpoint: &str, access_key: &str, secret_key: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

pub(crate) fn quick() -> RetrySettings {
    RetrySettings {
        attempts: 8,
        base: Duration::from_millis(2),
        cap: Duration::from_millis(50),
        request_timeout: Duration::from_secs(20),
        seed: Some(1),
    }
}

pub(crate) fn settings() -> TransferSettings {
    TransferSettings { concurrency: Some(8), part_size_bytes: PART, ..TransferSettings::default() }
}

pub(crate) fn of_kind(checksum: ChecksumKind) -> TransferSettings {
    TransferSettings { checksum, ..settings() }
}

/// What a run of the test's job gives its objects.
pub(crate) fn objects(run: &str) -> ObjectSettings {
    ObjectSettings { owner: "job/host".to_owned(), run: run.to_owned(), ..ObjectSettings::default() }
}

pub(crate) fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn entry(root: &Path, relative: &str) -> Entry {
    let metadata = fs::symlink_metadata(root.join(relative)).unwrap();
    Entry {
        source: 0,
        root: Arc::from(root),
        relative: PathBuf::from(relative),
        stat: FileStat {
            size: metadata.size(),
            mtime_ns: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            ctime_ns: metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec(),
            mode: metadata.mode(),
            inode: metadata.ino(),
            device: metadata.dev(),
        },
    }
}

/// What a caller knows of a file that was stored.
pub(crate) fn known(stored: &Stored) -> Known {
    Known {
        size: stored.stat.size,
        crc64nvme: stored.crc64nvme.clone(),
        checksum: stored.checksum.clone(),
        etag: stored.etag.clone(),
        version_id: stored.version_id.clone(),
        is_doubtful: false,
        is_unsettled: false,
    }
}

/// Bytes that differ everywhere and are the same in every run.
pub(crate) fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Sends `uploads`, and gives all that the engine said.
pub(crate) async fn run(engine: Engine, uploads: Vec<Upload>) -> Said {
    run_until(engine, uploads, CancellationToken::new()).await
}

/// The same, each only when the one before it has ended.
pub(crate) async fn run_one_by_one(engine: Engine, uploads: Vec<Upload>) -> Said {
    let (to_engine, planned) = mpsc::channel(1);
    let (said, mut updates) = mpsc::channel(4);
    let mut heard = Said::default();
    let feeding = async {
        for upload in uploads {
            to_engine.send(upload).await.expect("the engine takes it");
            let ended = heard.done.len() + 1;
            while heard.done.len() < ended {
                heard.note(updates.recv().await.expect("the engine says how it ended"));
            }
        }
        drop(to_engine);
        while let Some(update) = updates.recv().await {
            heard.note(update);
        }
    };
    let both = futures::future::join(engine.run(planned, said, CancellationToken::new()), feeding);
    tokio::time::timeout(2 * PATIENCE, both).await.expect("the engine ends");
    heard
}

pub(crate) async fn run_until(engine: Engine, uploads: Vec<Upload>, cancel: CancellationToken) -> Said {
    let (to_engine, planned) = mpsc::channel(4);
    let (said, mut updates) = mpsc::channel(4);
    let feeding = async move {
        for upload in uploads {
            if to_engine.send(upload).await.is_err() {
                return;
            }
        }
    };
    let mut heard = Said::default();
    let listening = async {
        while let Some(update) = updates.recv().await {
            heard.note(update);
        }
    };
    let all = futures::future::join3(engine.run(planned, said, cancel), feeding, listening);
    tokio::time::timeout(2 * PATIENCE, all).await.expect("the engine ends");
    heard
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
