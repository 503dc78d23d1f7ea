//! Does the catalog keep up? The rows of a run are written by one thread while many send, and read by the planner while
//! the walk goes on. Both should be far faster than files can be sent or walked.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use chrono::DateTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use s3backup_catalog::{Catalog, FileRow, FileState, Hints, SourceId};
use s3backup_model::{Key, RunId};

const ROWS: u32 = 10_000;

/// How many rows are written in one transaction, and read as one page.
const PAGE: usize = 1_000;

fn rows(source: SourceId) -> Vec<FileRow> {
    let row = |number: u32| {
        let path = format!("vehicle-{:03}/trip-{:03}.json", number / 100, number % 100).into_bytes();
        FileRow {
            source,
            size: u64::from(number),
            mtime_ns: 1_795_431_600_000_000_000,
            mode: 0o100_644,
            hints: Some(Hints { ctime_ns: 1_795_431_600_000_000_000, inode: u64::from(number) }),
            state: FileState::Present,
            key: Key::for_path("trips", &path).unwrap(),
            path,
            crc64nvme: "AAECAwQFBgc=".to_owned(),
            stored_size: u64::from(number),
            stored_checksum: None,
            etag: "99914b932bd37a50b983c5e7c90ae93b".to_owned(),
            version_id: None,
            encoding: "none".to_owned(),
            run: RunId::new(DateTime::UNIX_EPOCH, 7),
        }
    };
    (0..ROWS).map(row).collect()
}

/// Writing rows over older ones, as a run does to whose files everything happened.
fn put(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let destination = catalog.destination("", "bench", "trips").unwrap();
    let rows = rows(catalog.source(destination, "", "/data/trips").unwrap());
    let mut group = criterion.benchmark_group("rows");
    group.sample_size(20);
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    group.bench_function("put", |bencher| {
        bencher.iter(|| {
            for page in rows.chunks(PAGE) {
                catalog.put_files(page).unwrap();
            }
        });
    });
    group.finish();
}

/// Reading all of them in order, as every run does.
fn read(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let destination = catalog.destination("", "bench", "trips").unwrap();
    let source = catalog.source(destination, "", "/data/trips").unwrap();
    catalog.put_files(&rows(source)).unwrap();
    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let (mut page, mut after, mut found) = (Vec::new(), None, 0);
            loop {
                catalog.known(source, after.as_deref(), PAGE, &mut page).unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.path.clone());
                found += page.len();
            }
            assert_eq!(found, ROWS as usize);
        });
    });
    group.finish();
}

criterion_group!(benches, put, read);
criterion_main!(benches);
