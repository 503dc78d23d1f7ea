//! How long does a run take in which nothing changed? Nearly all of it is the walk: 20,000 files in 200 directories, whose
//! names and attributes the kernel has in memory. It bounds how often a backup can run.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::fs;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use s3backup_discovery::{Rules, Source, walk};

const DIRECTORIES: usize = 200;
const FILES_EACH: usize = 100;

fn walk_files(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    for directory in 0..DIRECTORIES {
        let directory = dir.path().join(format!("vehicle-{directory:03}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..FILES_EACH {
            fs::write(directory.join(format!("trip-{file:03}.json")), "{}").unwrap();
        }
    }
    let rules = Rules::builder().min_age(Duration::ZERO).build().unwrap();
    let source = Source { index: 0, path: dir.path().to_owned(), rules, settled: None };
    let mut group = criterion.benchmark_group("walk");
    group.sample_size(20);
    group.throughput(Throughput::Elements((DIRECTORIES * FILES_EACH) as u64));
    group.bench_function("20000 files", |bencher| {
        bencher.iter(|| {
            let mut found = 0;
            walk(&source, &SystemTime::now, &mut |batch| {
                found += batch.entries.len();
                ControlFlow::Continue(())
            });
            assert_eq!(found, DIRECTORIES * FILES_EACH);
        });
    });
    group.finish();
}

criterion_group!(benches, walk_files);
criterion_main!(benches);
