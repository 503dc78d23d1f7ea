//! Serves a folder until it is interrupted, for a look at it with any S3 client:
//! `cargo run -p s3backup-local-s3 --example serve -- DIR BUCKET`.
//!
//! With `--null` the data is thrown away, to measure clients by. `--latency-ms N` makes every request wait. With
//! `--until-eof` the end of the standard input is the end of the server as well. It says last what it has got.

use std::time::Duration;

use s3backup_local_s3::{Fault, FaultKind, LocalS3};
use tokio::io::AsyncReadExt as _;

const USAGE: &str = "usage: serve [--null] [--latency-ms N] [--until-eof] DIR BUCKET";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = LocalS3::builder();
    let mut until_eof = false;
    let mut places = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--null" => builder = builder.null(),
            "--until-eof" => until_eof = true,
            "--latency-ms" => {
                let latency = Duration::from_millis(arguments.next().ok_or(USAGE)?.parse()?);
                builder = builder.faults([Fault::new(FaultKind::Latency(latency))]);
            }
            _ => places.push(argument),
        }
    }
    let [dir, bucket] = places.try_into().map_err(|_| USAGE)?;
    let server = builder.dir(dir).bucket(&bucket).start().await?;
    println!("export AWS_ENDPOINT_URL={}", server.endpoint());
    println!("export AWS_ACCESS_KEY_ID={}", server.access_key());
    println!("export AWS_SECRET_ACCESS_KEY={}", server.secret_key());
    println!("export AWS_REGION={}", server.region());

    let mut input = tokio::io::stdin();
    let mut ignored = Vec::new();
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        ended = input.read_to_end(&mut ignored), if until_eof => ended.map(drop)?,
    }
    let objects = server.objects(&bucket);
    let data = objects.iter().filter(|(key, _)| !format!("/{key}").contains("/.s3backup/"));
    let (count, bytes) = data.fold((0, 0), |(count, bytes), (_, size)| (count + 1, bytes + size));
    let requests = server.stats().total();
    println!("# objects={count} bytes={bytes} requests={requests}");
    server.shutdown().await;
    Ok(())
}
