//! An S3 server inside the process, on loopback, for demos and tests. It can inject faults.
//!
//! It keeps buckets, objects and multipart uploads in a folder, checks signatures (version 4), MD5s and checksums,
//! honours conditions on writes, and lists in byte order, so that what works with it works with S3. It has no
//! versioning, object lock, access lists or policies, and encrypts nothing: storage class, encryption and tags are
//! kept and told, no more.
//!
//! A [null](Builder::null) server throws the data away and makes up what it gives out, to measure clients by.
//!
//! It is no store for data that matters. Nothing is synced to the disk: a crash of the process loses nothing that
//! was acknowledged, but a power failure may take the last seconds with it.
//!
//! ```
//! use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};
//!
//! # async fn run() -> Result<(), s3backup_local_s3::Error> {
//! let server = LocalS3::builder().bucket("fleet-backup").start().await?;
//!
//! // Point any S3 client, with path-style addresses, at
//! // server.endpoint(), server.access_key(), server.secret_key(), server.region().
//!
//! // From now on the reply to the first PUT is lost on the way, and every second LIST or so must be sent again.
//! server.faults().add(Fault::new(FaultKind::LostReply).on(Operation::PutObject).first(1));
//! server.faults().add(Fault::new(FaultKind::SlowDown).on(Operation::ListObjectsV2).percent(50.0, 1));
//!
//! assert_eq!(server.stats().of(Operation::PutObject), 0);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```

mod blob;
mod body;
mod checksum;
mod clock;
mod conditions;
mod connection;
mod error;
mod faults;
mod index;
mod inject;
mod journal;
mod listing;
mod made;
mod multipart;
mod object;
mod operation;
mod random;
mod read;
mod receive;
mod server;
mod service;
mod stats;
mod store;
mod text;

pub use crate::error::Error;
pub use crate::faults::{Fault, FaultHandle, FaultKind, Hits};
pub use crate::operation::Operation;
pub use crate::server::{Builder, LocalS3};
pub use crate::stats::Stats;
