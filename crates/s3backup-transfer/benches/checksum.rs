//! What does it cost to prove a file? Every byte that is sent goes through CRC64NVME once: 4 KiB is a small file, 8 MiB
//! more than a processor's nearest caches hold. It should be far above what a network carries.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use s3backup_transfer::crc64nvme_base64;

fn crc64nvme(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc64nvme");
    for kib in [4, 8 * 1024] {
        let mut bytes = vec![0; kib * 1024];
        fastrand::Rng::with_seed(1).fill(&mut bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{kib} KiB")), |bencher| {
            bencher.iter(|| crc64nvme_base64(black_box(&bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, crc64nvme);
criterion_main!(benches);
