//! How fast does the engine send? Small files show what one file costs (open, read, request, proof), a large one what a
//! byte costs. The server throws the data away. It is in the same process and on the same processors, so compare these
//! numbers with earlier ones of the same machine, not with those of a network.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use s3backup_local_s3::LocalS3;
use s3backup_model::{Entry, FileStat, Key};
use s3backup_transfer::{
    Bucket, ConnectOptions, Engine, ObjectSettings, StaticCredentials, TransferSettings, Update, Upload,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "bench";

/// How many updates may wait, as in a backup.
const UPDATES: usize = 512;

/// A null server and a bucket on it.
struct Bench {
    runtime: Runtime,
    bucket: Bucket,
    _server: LocalS3,
    /// Objects that are there already are not sent again, so every round has keys of its own.
    round: u64,
}

impl Bench {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(LocalS3::builder().bucket(BUCKET).null().start()).unwrap();
        let options = ConnectOptions {
            bucket: BUCKET.to_owned(),
            region: Some(server.region().to_owned()),
            endpoint: Some(server.endpoint()),
            credentials: Some(StaticCredentials::new(server.access_key(), server.secret_key())),
            ..ConnectOptions::default()
        };
        let bucket = runtime.block_on(Bucket::connect(&options)).unwrap();
        Self { runtime, bucket, _server: server, round: 0 }
    }

    /// Sends the files, all of which must be stored.
    fn send(&mut self, files: &[Entry]) {
        self.round += 1;
        let uploads: Vec<Upload> = files.iter().map(|entry| upload(entry, self.round)).collect();
        let engine = Engine::new(self.bucket.clone(), TransferSettings::default(), ObjectSettings::default());
        let stored = self.runtime.block_on(async move {
            let (to_engine, planned) = mpsc::channel(UPDATES);
            let (said, mut updates) = mpsc::channel(UPDATES);
            let running = tokio::spawn(engine.run(planned, said, CancellationToken::new()));
            let feeding = tokio::spawn(async move {
                for upload in uploads {
                    to_engine.send(upload).await.unwrap();
                }
            });
            let mut stored = 0;
            while let Some(update) = updates.recv().await {
                if let Update::Done(done) = update {
                    done.result.unwrap();
                    stored += 1;
                }
            }
            running.await.unwrap();
            feeding.await.unwrap();
            stored
        });
        assert_eq!(stored, files.len());
    }
}

fn upload(entry: &Entry, round: u64) -> Upload {
    let name = entry.relative.to_string_lossy();
    Upload {
        entry: entry.clone(),
        key: Key::new(format!("round-{round}/{name}")).unwrap(),
        file_id: format!("{round}-{name}"),
        follow_symlinks: false,
        known: None,
        hold: false,
    }
}

/// Files of the same size with bytes that do not repeat.
fn files(dir: &TempDir, count: usize, size: usize) -> Vec<Entry> {
    let root: Arc<Path> = Arc::from(dir.path());
    let mut random = fastrand::Rng::with_seed(1);
    let mut bytes = vec![0; size];
    let make = |number: usize| {
        random.fill(&mut bytes);
        let relative = format!("{number}.bin").into();
        let path = root.join(&relative);
        fs::write(&path, &bytes).unwrap();
        let stat = FileStat::from(&fs::metadata(path).unwrap());
        Entry { source: 0, root: Arc::clone(&root), relative, stat }
    };
    (0..count).map(make).collect()
}

fn small_files(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let files = files(&dir, 1_000, 4 * 1024);
    let mut bench = Bench::new();
    let mut group = criterion.benchmark_group("send");
    group.sample_size(10);
    group.throughput(Throughput::Elements(files.len() as u64));
    group.bench_function("1000 files of 4 KiB", |bencher| bencher.iter(|| bench.send(&files)));
    group.finish();
}

fn large_file(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let files = files(&dir, 1, 256 * 1024 * 1024);
    let mut bench = Bench::new();
    let mut group = criterion.benchmark_group("send");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(files.iter().map(|file| file.stat.size).sum()));
    group.bench_function("a file of 256 MiB", |bencher| bencher.iter(|| bench.send(&files)));
    group.finish();
}

criterion_group!(benches, small_files, large_file);
criterion_main!(benches);
