//! Remembers what a backup job knows.

mod catalog;
mod error;
mod lock;
mod rows;
mod sql;

pub use catalog::Catalog;
pub use error::Error;
pub use lock::JobLock;
pub use rows::{
    BegunUpload, Deferred, DestinationId, DueRow, FileRow, FileState, Hints, Known, RunRow, SourceId,
    SourceRow, UploadRow,
};
