//! What the examples share: a folder with some trip files, and an S3 server to send them to.
//!
//! A real service has both already; then only what is in the examples' `main` is needed.
//!
//! ```text
//! cargo run -p s3backup-examples --example upload_directory
//! cargo run -p s3backup-examples --example custom_progress
//! cargo run -p s3backup-examples --example alert_on_failure
//! ```

use std::error::Error;
use std::path::PathBuf;

use s3backup_core::Destination;
use s3backup_fleet_data::FleetData;
use s3backup_local_s3::LocalS3;
use tempfile::TempDir;

/// Everything that an example needs to run without arguments. Dropping it removes the files and stops the server.
pub struct Playground {
    folder: TempDir,
    server: LocalS3,
}

impl Playground {
    /// Generates trips of four vehicles and starts an embedded server with the bucket `examples`.
    pub async fn new() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        FleetData::new().vehicles(4).write_to(folder.path().join("trips"))?;
        let server = LocalS3::builder().dir(folder.path().join("s3")).bucket("examples").start().await?;
        Ok(Self { folder, server })
    }

    /// The directory with the trips.
    pub fn trips(&self) -> PathBuf {
        self.folder.path().join("trips")
    }

    /// The bucket. On AWS this would be `Destination::new("my-bucket")` and nothing else.
    pub fn destination(&self) -> Destination {
        Destination::new("examples")
            .endpoint(self.server.endpoint())
            .region(self.server.region())
            .credentials(self.server.access_key(), self.server.secret_key())
    }
}
