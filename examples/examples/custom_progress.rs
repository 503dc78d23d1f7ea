//! Watching a run, and ending it after a time limit of one's own.

use std::error::Error;
use std::time::Duration;

use s3backup_core::{Backup, Event, Source};
use s3backup_examples::Playground;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let playground = Playground::new().await?;
    let backup = Backup::builder()
        .job("custom-progress")
        .source(Source::new(playground.trips()))
        .destination(playground.destination())
        .build()?;

    let mut run = backup.start();
    let cancel = run.cancel_token();
    let time_limit = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        cancel.cancel();
    });

    let (mut done, mut total) = (0, 0);
    while let Some(event) = run.next().await {
        match event {
            Event::Found { found } => total = found.files,
            Event::Uploaded { path, bytes, .. } => {
                done += 1;
                println!("{done:>3} of {total:>3}  {bytes:>7} bytes  {path}");
            }
            Event::Retrying { key, attempt, cause, .. } => {
                println!("attempt {attempt} of {key} failed: {cause}");
            }
            Event::Failed { failure } => println!("not backed up: {}: {}", failure.path, failure.message),
            Event::Warning { message } => println!("warning: {message}"),
            // There will be more kinds of events; what is not of interest is left alone.
            _ => {}
        }
    }
    time_limit.abort();

    let report = run.finish().await?;
    println!("{}: {} files in {:.1} s", report.outcome.as_str(), report.uploaded.files, report.duration_s);
    Ok(())
}
