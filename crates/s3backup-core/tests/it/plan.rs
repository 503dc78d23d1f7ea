//! What a run would do.

use futures::FutureExt;
use s3backup_core::{Backup, Destination, FailureKind, Planned, SkipReason, Source};

use crate::bench::{Bench, write};

#[tokio::test]
async fn a_plan_lists_every_kind_of_line_and_asks_no_server() {
    let bench = Bench::new().await;
    bench.file("a.json", "{}");
    bench.file("b.tmp", "");
    bench.file(&vec!["d".repeat(200); 6].join("/"), "12345");
    let backup = bench
        .builder()
        .source(Source::new("/nowhere/at/all").prefix("x"))
        .source(Source::new(bench.data()).exclude(["**"]).prefix("y"))
        .step(s3backup_core::Step::new("never", ["/nowhere/program"]))
        .build()
        .unwrap();
    let mut plan = backup.plan().await.unwrap();
    let (mut uploads, mut skips, mut failures, mut missing) = (vec![], vec![], vec![], vec![]);
    let (mut refused, mut seen, mut whole) = (0, 0, vec![]);
    while let Some(batch) = plan.next().await {
        let batch = batch.unwrap();
        refused += batch.refused.files;
        assert!(batch.refused.bytes == batch.refused.files * 5);
        seen += batch.seen;
        if batch.is_whole {
            whole.push(batch.source);
        }
        for line in batch.lines {
            match line {
                Planned::Upload { key, reason, .. } => uploads.push(format!("{key} {}", reason.as_str())),
                Planned::Skip { reason, .. } => skips.push(reason),
                Planned::Fail(failure) => failures.push(failure.kind),
                Planned::MissingSource { source, message } => missing.push((source, message)),
                other => panic!("{other:?}"),
            }
        }
    }
    uploads.sort();
    assert_eq!(uploads, ["trips/a.json new", "trips/b.tmp new"]);
    assert!(!skips.is_empty() && skips.iter().all(|&reason| reason == SkipReason::Excluded));
    assert_eq!(failures, [FailureKind::KeyTooLong]);
    assert!(
        missing.len() == 1 && missing[0].0 == 1 && missing[0].1.contains("does not exist"),
        "{missing:?}"
    );
    assert_eq!((refused, seen, whole), (1, 3, vec![0, 2]));
    assert_eq!(bench.server.stats().total(), 0);
}

#[tokio::test]
async fn sources_that_would_overwrite_each_other_are_refused() {
    let bench = Bench::new().await;
    write(&bench.dir("other").join("a"), "a");
    let two = |prefix: &str, other: &str| {
        bench
            .job()
            .source(Source::new(bench.data()).prefix(prefix))
            .source(Source::new(bench.dir("other")).prefix(other))
            .build()
    };
    for (prefix, other) in [("", ""), ("a", "/a/"), ("{host}", "gw-1")] {
        let message = two(prefix, other).map(|_| ()).unwrap_err().to_string();
        assert!(message.starts_with("[[source]] prefix: ") && message.contains("overwrite"), "{message}");
    }
    assert!(two("a", "b").is_ok());
}

#[test]
fn what_cannot_work_is_refused_before_anything_runs() {
    let error = |builder: s3backup_core::BackupBuilder| builder.build().map(|_| ()).unwrap_err().to_string();
    let good = || Backup::builder().source(Source::new("/data")).destination(Destination::new("b"));
    assert!(good().build().is_ok());
    assert!(error(Backup::builder().source(Source::new("/data"))).contains("[destination]"));
    assert!(error(Backup::builder().destination(Destination::new("b"))).contains("[[source]]"));
    assert!(error(good().destination(Destination::new(""))).contains("bucket"));
    assert!(error(good().source(Source::new("/x").prefix("x").include(["["]))).contains("/x"));
    assert!(error(good().step(s3backup_core::Step::new("s", Vec::<String>::new()))).contains("[[step]] s"));
    assert!(error(good().destination(Destination::new("b").prefix("p".repeat(1000)))).contains("prefix"));
    assert_eq!(error(good().job("a/b")), "`job`");
}

#[tokio::test]
async fn a_plan_whose_next_lines_were_not_waited_for_is_whole() {
    let bench = Bench::new().await;
    for number in 0..600 {
        bench.file(&format!("{number}.json"), "{}");
    }
    let backup = bench.backup();
    let mut plan = backup.plan().await.unwrap();
    let (mut uploads, mut is_whole) = (0, false);
    loop {
        // Asked once and dropped, as by a `select!` in which something else is ready each time.
        match plan.next().now_or_never() {
            Some(Some(batch)) => {
                let batch = batch.unwrap();
                uploads += batch.lines.len();
                is_whole |= batch.is_whole;
            }
            Some(None) => break,
            None => tokio::task::yield_now().await,
        }
    }
    assert_eq!((uploads, is_whole), (600, true));
}
