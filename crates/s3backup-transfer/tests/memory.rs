//! The ceiling of memory, as the operating system counts it. Alone in its process, with the server in another, so that
//! nothing else counts.

#![allow(clippy::unwrap_used, reason = "a helper of a test")]

mod common;

use common::{MIB, noise, objects, run};
use s3backup_transfer::{HttpPath, TransferSettings};

const HTTP: HttpPath = HttpPath::Fast;

/// The most memory that this process ever had in use.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// SDK and engine together stay far below what is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_by_the_setting_and_not_by_the_files() {
    let store = common::weed::store().await;
    let settings = TransferSettings {
        concurrency: Some(16),
        memory_bytes: 16 * MIB,
        part_size_bytes: 5 * MIB,
        ..Default::default()
    };
    // Whatever is made once is made before it is measured.
    let first = store.file("first", &noise(1, 6 * MIB));
    run(store.engine(settings.clone(), objects("run-1")), vec![first]).await.only().unwrap();
    let before = peak_bytes();

    let mut uploads = Vec::new();
    for index in 0..3 {
        // A file with a hole costs no disk, and is read and sent like any other.
        store.file(&format!("large-{index}"), b"x");
        let file = std::fs::File::options().write(true).open(store.path(&format!("large-{index}"))).unwrap();
        file.set_len(64 * MIB + index).unwrap();
        uploads.push(s3backup_transfer::Upload {
            entry: common::entry(store.folder.path(), &format!("large-{index}")),
            key: s3backup_model::Key::new(format!("large-{index}")).unwrap(),
            file_id: format!("large-{index}"),
            follow_symlinks: false,
            known: None,
            hold: false,
        });
    }
    uploads.extend((0..40).map(|index| store.file(&format!("small-{index}"), &noise(index, 2 * MIB))));
    let said = run(store.engine(settings, objects("run-1")), uploads).await;
    assert!(said.done.iter().all(|done| done.result.is_ok()), "{:?}", said.done);
    let grown = (peak_bytes() - before) / MIB;
    assert!(grown < 64, "{grown} MiB more than before, for 272 MiB of files and a limit of 16 MiB");
}
