//! Telling people when a backup fails: by Slack, and by whatever else the program has.
//!
//! Without arguments it posts to a stand-in for Slack on this machine. With `SLACK_WEBHOOK_URL` set it posts for real.

use std::error::Error;

use s3backup_core::options::{SlackOptions, SlackWay};
use s3backup_core::{AlertKind, Backup, Error as BackupError, Source};
use s3backup_examples::Playground;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let playground = Playground::new().await?;
    let stand_in = TcpListener::bind("127.0.0.1:0").await?;
    let webhook = match std::env::var("SLACK_WEBHOOK_URL") {
        Ok(url) => url,
        Err(_) => format!("http://{}/services/example", stand_in.local_addr()?),
    };
    tokio::spawn(play_slack(stand_in));

    let mut slack = SlackOptions::new(SlackWay::webhook(webhook));
    slack.on = [AlertKind::Failed, AlertKind::Partial].into();
    slack.mention = vec!["@here".to_owned()];

    let backup = Backup::builder()
        .job("alert-on-failure")
        .source(Source::new(playground.trips()).prefix("trips"))
        // The disk that is not mounted: the backup must not pass for a good one.
        .source(Source::new(playground.trips().join("not-mounted")).prefix("archive"))
        .destination(playground.destination())
        .slack(slack)
        .build()?;

    match backup.run().await {
        Ok(report) => println!("outcome: {}", report.outcome.as_str()),
        Err(BackupError::Failed(report)) => {
            // Slack knows by now. This is the place for a pager, a metric, a row in a table.
            let why = report.fatal.map_or_else(String::new, |fatal| fatal.message);
            println!(
                "the backup failed, and {} files of the other source are safe: {why}",
                report.uploaded.files
            );
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Prints what is posted and answers as Slack does.
async fn play_slack(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut message = vec![0; 64 << 10];
        let length = stream.read(&mut message).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        println!("Slack got a message of {length} bytes: {}", text.lines().last().unwrap_or_default());
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
    }
}
