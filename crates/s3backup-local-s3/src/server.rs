//! Starting and stopping a server.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::path::check_bucket_name;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Error, S3ErrorCode};
use slog::{Logger, info, o, warn};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Error;
use crate::clock::Clock;
use crate::connection;
use crate::faults::{Fault, FaultHandle};
use crate::inject::Handler;
use crate::journal::Record;
use crate::random;
use crate::read;
use crate::service::Service;
use crate::stats::{Counters, Stats};
use crate::store::Store;

const DEFAULT_REGION: &str = "us-east-1";

/// Settings of a server that is not yet running; see [`LocalS3::builder`].
#[derive(Clone)]
#[must_use = "a server runs once it is started"]
pub struct Builder {
    dir: Option<PathBuf>,
    buckets: Vec<String>,
    credentials: Option<(String, String)>,
    port: u16,
    region: String,
    faults: Vec<Fault>,
    is_null: bool,
    clock: Option<Clock>,
    log: Logger,
}

impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builder")
            .field("dir", &self.dir)
            .field("buckets", &self.buckets)
            .field("access_key", &self.credentials.as_ref().map(|(access_key, _)| access_key))
            .field("port", &self.port)
            .field("region", &self.region)
            .field("faults", &self.faults)
            .field("is_null", &self.is_null)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// The folder of the data, made if it is not there. Default: a temporary one, removed with the server.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// A bucket to make at the start, if it is not there. May be called several times. Default: none.
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.buckets.push(name.into());
        self
    }

    /// The one pair of keys that is let in. Default: a random pair, new at every start.
    pub fn credentials(mut self, access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        self.credentials = Some((access_key.into(), secret_key.into()));
        self
    }

    /// The TCP port on 127.0.0.1. Default: 0, any that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The region that the buckets are said to be in. Default: `us-east-1`. Clients may sign for any.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Faults to inject from the start, after those given before. Default: none.
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.extend(faults);
        self
    }

    /// Throws the data away, so that a client's own speed can be measured. Default: it is kept.
    ///
    /// Bodies are checked against what their client declared, and lengths, checksums and attributes are remembered. The
    /// `ETag` is an MD5 only if the client sent an MD5 or no checksum at all. GET gives made-up bytes of the same
    /// length and CRC64NVME, always the same ones for a key until it is written again; other checksums do not
    /// fit them. Objects below a folder `.s3backup`, from which a backup reads its own state, are kept.
    pub fn null(mut self) -> Self {
        self.is_null = true;
        self
    }

    /// Another clock than the machine's: for the `Date` of replies, and for when things were made and modified. Signatures of
    /// any age are then taken, as clients differ in whose time they sign by.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Some(Clock::new(now));
        self
    }

    /// Where to log. Default: nowhere. Start and stop are `info`, faults `debug`, requests `trace`.
    pub fn logger(mut self, log: Logger) -> Self {
        self.log = log;
        self
    }

    /// Starts the server. Must be called on a Tokio runtime with I/O and time enabled; its tasks run there.
    ///
    /// Fails if the folder is in use by another server or cannot be read, if the port is taken, or if a bucket's name
    /// is not one. If the future is dropped, nothing runs, but the folder may have been made.
    pub async fn start(self) -> Result<LocalS3, Error> {
        if let Some(name) = self.buckets.iter().find(|name| !check_bucket_name(name)) {
            return Err(Error::BucketName { name: name.clone() });
        }
        let (access_key, secret_key) = match self.credentials {
            Some(credentials) => credentials,
            None => (format!("LOCAL{}", random::secret(15)?), random::secret(40)?),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let bind = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;

        let folder = Folder::new(self.dir)?;
        let dir = folder.path().to_owned();
        let buckets = self.buckets;
        let has_own_time = self.clock.is_some();
        let clock = self.clock.unwrap_or_default();
        let told = clock.clone();
        let opened = tokio::task::spawn_blocking(move || open(&dir, self.is_null, clock, &buckets)).await;
        let store = Arc::new(opened.map_err(|join| Error::Io {
            path: folder.path().to_owned(),
            source: std::io::Error::other(join),
        })??);

        let faults = FaultHandle::default();
        faults.set(self.faults);
        let mut service = S3ServiceBuilder::new(Service::new(Arc::clone(&store), self.region.clone()));
        service.set_auth(OnePair { access_key: access_key.clone(), secret_key: secret_key.clone().into() });
        if has_own_time {
            let mut config = S3Config::default();
            config.presigned_url_max_skew_time_secs = u32::MAX;
            service.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        }
        let log = self.log.new(o!("address" => address.to_string()));
        let handler = Arc::new(Handler {
            service: service.build(),
            faults,
            counters: Counters::default(),
            clock: told,
            log: log.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&handler)));
        info!(log, "embedded S3 server started"; "dir" => folder.path().display().to_string());
        Ok(LocalS3 { address, access_key, secret_key, region: self.region, handler, store, tasks, folder })
    }
}

fn open(dir: &Path, is_null: bool, clock: Clock, buckets: &[String]) -> Result<Store, Error> {
    let store = Store::open(dir, is_null, clock)?;
    for bucket in buckets {
        store
            .change(|index| {
                let is_new = !index.buckets.contains_key(bucket);
                Ok(is_new.then(|| Record::CreateBucket { bucket: bucket.clone(), created: store.now() }))
            })
            .map_err(|error| Error::Io { path: dir.to_owned(), source: std::io::Error::other(error) })?;
    }
    Ok(store)
}

/// Accepts connections for ever. Those accepted belong to this future and end with it.
async fn accept(listener: TcpListener, handler: Arc<Handler>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    handler.counters.connection();
                    connections.spawn(connection::serve(stream, Arc::clone(&handler)));
                }
                Err(error) => {
                    // Mostly too many open files: wait for some connection to end.
                    warn!(handler.log, "cannot accept a connection"; "error" => %error);
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Lets one pair of keys in.
struct OnePair {
    access_key: String,
    secret_key: SecretKey,
}

#[async_trait::async_trait]
impl S3Auth for OnePair {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            return Ok(self.secret_key.clone());
        }
        Err(S3Error::with_message(
            S3ErrorCode::InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records.",
        ))
    }
}

/// The folder of the data, removed at the end if it is ours.
#[derive(Debug)]
enum Folder {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn new(dir: Option<PathBuf>) -> Result<Self, Error> {
        match dir {
            Some(dir) => Ok(Self::Given(dir)),
            None => Ok(Self::Temporary(TempDir::new().map_err(Error::io(std::env::temp_dir()))?)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// A running server. Dropping it stops it: nothing is accepted or written afterwards, though a request that is being
/// carried out at that moment may still be reported as failed to its client. [`shutdown`](Self::shutdown) also waits.
#[must_use = "the server stops when this is dropped"]
pub struct LocalS3 {
    address: SocketAddr,
    access_key: String,
    secret_key: String,
    region: String,
    handler: Arc<Handler>,
    store: Arc<Store>,
    tasks: JoinSet<()>,
    folder: Folder,
}

impl fmt::Debug for LocalS3 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalS3")
            .field("endpoint", &self.endpoint())
            .field("access_key", &self.access_key)
            .field("region", &self.region)
            .field("dir", &self.folder.path())
            .finish_non_exhaustive()
    }
}

impl LocalS3 {
    /// Settings with their defaults: a temporary folder, no bucket, random credentials, any free port, no faults.
    pub fn builder() -> Builder {
        Builder {
            dir: None,
            buckets: Vec::new(),
            credentials: None,
            port: 0,
            region: DEFAULT_REGION.to_owned(),
            faults: Vec::new(),
            is_null: false,
            clock: None,
            log: Logger::root(slog::Discard, o!()),
        }
    }

    /// The URL for clients, such as `http://127.0.0.1:41234`. They must use path-style addresses
    /// (`force_path_style`).
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The access key id that is let in.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret key that goes with it.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The region that the buckets are said to be in.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The folder of the data.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The keys of a bucket with the sizes of their objects in bytes, sorted. None if there is no such bucket.
    pub fn objects(&self, bucket: &str) -> Vec<(String, u64)> {
        self.store.read(|index| {
            let objects = index.buckets.get(bucket).into_iter().flat_map(|bucket| &bucket.objects);
            objects.map(|(key, object)| (key.as_str().to_owned(), object.size)).collect()
        })
    }

    /// Flips one bit of a stored byte, `offset_bytes` into the object, as a failing disk would. Blocks.
    ///
    /// GET answers 200 with the changed byte from then on; HEAD and LIST still tell the `ETag` and checksum of what was
    /// sent. The second call for a byte mends it. Copies that were made of the object rot with it, and it with them:
    /// their bytes may be in one file.
    ///
    /// Fails if there is no such object, or none of its bytes is there, also because a null server threw them away.
    pub fn corrupt(&self, bucket: &str, key: &str, offset_bytes: u64) -> Result<(), Error> {
        let flip = || {
            let object = self.store.object(bucket, key, None).map_err(std::io::Error::other)?;
            read::flip_bit(self.store.blobs(), &object, offset_bytes)
        };
        flip().map_err(Error::io(Path::new(bucket).join(key)))
    }

    /// The faults being injected, to be changed while the server runs.
    pub fn faults(&self) -> &FaultHandle {
        &self.handler.faults
    }

    /// What the server has done since it was started.
    pub fn stats(&self) -> Stats {
        self.handler.counters.snapshot()
    }

    /// Stops the server, and waits until its port is free and all connections are closed.
    ///
    /// Requests under way are cut off. If the future is dropped, the server stops all the same.
    pub async fn shutdown(mut self) {
        self.store.close();
        self.tasks.shutdown().await;
    }
}

impl Drop for LocalS3 {
    fn drop(&mut self) {
        // The tasks are aborted with their set, but end a little later. A write must not happen by then: another
        // server may have the folder.
        self.store.close();
        info!(self.handler.log, "embedded S3 server stopped");
    }
}
