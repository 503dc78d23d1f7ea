//! Where metrics go when a run has ended.

use std::path::Path;
use std::sync::{Arc, Mutex};

use s3backup_core::{MetricsOptions, Outcome, Step};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::bench::{Bench, failed, soon};
use crate::memory::success;

fn samples(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(&format!("{series}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn every_run_writes_the_file_also_one_that_failed() {
    let bench = Bench::new().await;
    bench.file("a", "abc");
    let options = MetricsOptions::default().textfile(bench.dir("prom").join("{job}-{host}.prom"));
    let path = bench.dir("prom").join("telemetry-gw-1.prom");
    success(&bench.builder().metrics(options.clone()).build().unwrap()).await;
    let text = samples(&path);
    assert!(
        text.contains("backup_last_run_outcome{job=\"telemetry\",host=\"gw-1\",outcome=\"success\"} 1\n")
    );
    assert_eq!((value(&text, "backup_files"), value(&text, "backup_bytes")), (Some(1.0), Some(3.0)));
    let succeeded = value(&text, "backup_last_success_timestamp_seconds");

    let failing = bench.builder().step(Step::new("make", ["false"])).metrics(options.clone());
    failed(soon(failing.build().unwrap().run()).await);
    let text = samples(&path);
    assert!(text.contains("outcome=\"failed\"} 1\n"), "{text}");
    assert_eq!(value(&text, "backup_last_success_timestamp_seconds"), succeeded);
    assert!(value(&text, "backup_last_run_timestamp_seconds") >= succeeded);

    // A machine without a catalog tells of the run alone.
    let forgetful = bench.forgetful_job().source(s3backup_core::Source::new(bench.data())).metrics(options);
    success(&forgetful.build().unwrap()).await;
    let text = samples(&path);
    assert!(value(&text, "backup_last_success_timestamp_seconds") >= succeeded, "{text}");
    assert_eq!(value(&text, "backup_files"), None);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_a_warning() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let nowhere = MetricsOptions::default().textfile("/proc/no-such-folder/s3backup.prom");
    let report = success(&bench.builder().metrics(nowhere).build().unwrap()).await;
    let warning = report.warnings.last().unwrap();
    assert!(warning.contains("/proc/no-such-folder/s3backup.prom was not written"), "{warning}");
}

/// A Pushgateway that answers each request with the next status, and keeps what it was sent.
async fn gateway(statuses: &'static [u16]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        for status in statuses {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let start = head.len();
                stream.read_line(&mut head).await.unwrap();
                if let Some(number) = head[start..].to_lowercase().strip_prefix("content-length:") {
                    length = number.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            kept.lock().unwrap().push(format!("{head}{}", String::from_utf8(body).unwrap()));
            let reply = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    (url, seen)
}

#[tokio::test]
async fn a_pushgateway_gets_the_group_of_the_job_and_never_fails_a_run() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let (url, seen) = gateway(&[202, 500]).await;
    let pushing = || bench.builder().metrics(MetricsOptions::default().pushgateway(&url)).build().unwrap();
    let report = success(&pushing()).await;
    assert!(!report.warnings.iter().any(|warning| warning.contains("Pushgateway")), "{:?}", report.warnings);
    let first = seen.lock().unwrap()[0].clone();
    assert!(first.starts_with("PUT /metrics/job/telemetry/instance/gw-1 HTTP/1.1\r\n"), "{first}");
    assert!(first.contains("text/plain") && first.contains("backup_running{"), "{first}");

    let refused = success(&pushing()).await.warnings;
    assert!(refused.last().unwrap().contains("answered 500"), "{refused:?}");
    // Nobody listens any more.
    let silent = success(&pushing()).await;
    assert!(silent.warnings.last().unwrap().contains("did not take the metrics"), "{:?}", silent.warnings);
    assert_eq!(silent.outcome, Outcome::Success);
}
