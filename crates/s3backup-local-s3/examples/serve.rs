//! Serves a folder until it is interrupted, for a look at it with any S3 client:
//! `cargo run -p s3backup-local-s3 --example serve -- DIR BUCKET`.

use s3backup_local_s3::LocalS3;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(bucket)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve DIR BUCKET".into());
    };
    let server = LocalS3::builder().dir(dir).bucket(bucket).start().await?;
    println!("export AWS_ENDPOINT_URL={}", server.endpoint());
    println!("export AWS_ACCESS_KEY_ID={}", server.access_key());
    println!("export AWS_SECRET_ACCESS_KEY={}", server.secret_key());
    println!("export AWS_REGION={}", server.region());
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
