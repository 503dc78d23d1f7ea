//! The walk as a task.

use std::path::PathBuf;
use std::sync::Arc;

use s3backup_discovery::{Discovery, Rules, Source, SourceEnd, discover};
use tokio_util::sync::CancellationToken;

use crate::support::{add, now, tree};

fn start(paths: &[PathBuf], cancel: &CancellationToken) -> Discovery {
    let source = |(index, path): (usize, &PathBuf)| Source {
        index,
        path: path.clone(),
        rules: Rules::default(),
        settled: None,
    };
    let sources = paths.iter().enumerate().map(source).collect();
    discover(sources, Arc::new(now), cancel.clone(), slog::Logger::root(slog::Discard, slog::o!()))
}

#[tokio::test]
async fn a_missing_source_does_not_keep_the_others_from_being_walked() {
    let dir = tree(&["a/file", "c/x/file", "c/file"]);
    let paths: Vec<_> = ["a", "b", "c"].iter().map(|name| dir.path().join(name)).collect();
    let mut discovery = start(&paths, &CancellationToken::new());
    let mut entries = vec![0; 3];
    let mut ends = Vec::new();
    while let Some(batch) = discovery.next().await {
        entries[batch.source] += batch.entries.len();
        ends.extend(batch.end.map(|end| (batch.source, end)));
    }
    assert_eq!(entries, [1, 0, 2]);
    assert!(
        matches!(&ends[..], [(0, SourceEnd::Walked), (1, SourceEnd::Missing(_)), (2, SourceEnd::Walked)]),
        "{ends:?}"
    );
}

#[tokio::test]
async fn no_sources_end_at_once() {
    assert_eq!(start(&[], &CancellationToken::new()).next().await, None);
}

#[tokio::test]
async fn a_cancelled_walk_ends_as_interrupted() {
    let dir = tree(&[]);
    // More than fit into the batches that a walk may be ahead: it cannot have ended when it is cancelled.
    for file in 0..8_000 {
        add(dir.path().join(file.to_string()));
    }
    let cancel = CancellationToken::new();
    let mut discovery = start(&[dir.path().to_owned()], &cancel);
    assert!(!discovery.next().await.unwrap().entries.is_empty());
    cancel.cancel();
    let mut end = None;
    while let Some(batch) = discovery.next().await {
        assert_eq!(end, None);
        end = batch.end;
    }
    assert_eq!(end, Some(SourceEnd::Interrupted));
}

#[tokio::test]
async fn cancelled_before_it_began_it_finds_nothing() {
    let dir = tree(&["file"]);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let mut discovery = start(&[dir.path().to_owned()], &cancel);
    let end = discovery.next().await.unwrap();
    assert_eq!((end.len(), end.end), (0, Some(SourceEnd::Interrupted)));
    assert_eq!(discovery.next().await, None);
}
