//! The least that there is: a directory into a bucket, and what became of it.

use std::error::Error;

use s3backup_core::{Backup, Outcome, Source};
use s3backup_examples::Playground;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let playground = Playground::new().await?;

    let backup = Backup::builder()
        .job("upload-directory")
        .source(Source::new(playground.trips()).include(["**/*.json"]))
        .destination(playground.destination().prefix("trips"))
        .build()?;
    let report = backup.run().await?;

    println!(
        "{} files ({} bytes) uploaded to {}",
        report.uploaded.files, report.uploaded.bytes, report.destination
    );
    for failure in &report.failed {
        eprintln!("not backed up: {}: {}", failure.path, failure.message);
    }
    if report.outcome == Outcome::Success { Ok(()) } else { Err("not everything was backed up".into()) }
}
