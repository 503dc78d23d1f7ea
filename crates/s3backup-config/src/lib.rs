//! `backup.toml` and the environment, read into the options of [`s3backup_core`].
//!
//! Four layers, each of which replaces what the one before says: defaults, the file, environment variables
//! (`BACKUP_DESTINATION__BUCKET`) and flags. Tables merge, lists are replaced.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("backup.toml");
//! std::fs::write(&file, r#"
//!     job = "telemetry"
//!     source = [{ path = "/data/trips" }]
//!     destination = { bucket = "fleet-backup" }
//! "#)?;
//! let mut request = s3backup_config::Request { file: Some(file), ..Default::default() };
//! request.environment = vec![
//!     ("HOME".into(), "/home/fleet".into()),
//!     ("BACKUP_DESTINATION__BUCKET".into(), "fleet-test".into()),
//! ];
//! let loaded = s3backup_config::load(&request)?;
//! assert_eq!(loaded.settings.destination.bucket, "fleet-test");
//! let bucket = loaded.explain().iter().find(|row| row.key == "destination.bucket").expect("it is set");
//! assert_eq!(bucket.source, "environment BACKUP_DESTINATION__BUCKET");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An unknown key, a value of the wrong type and a value that cannot be are errors that name the file and the line (or
//! the variable), the key, what was found and what was expected; all of them are told at once.
//!
//! Secrets are never in the file: it names environment variables or files that hold them. Neither
//! [`explain`](Loaded::explain) nor an [`Error`] nor a `Debug` shows one.
//!
//! The crate has no state of its own and looks at nothing but a [`Request`] and the files that it leads to. It starts
//! nothing, and it does not connect.

mod check;
mod compose;
mod environment;
mod error;
mod explain;
mod kind;
mod layers;
mod load;
mod nearest;
mod parse;
mod raw;
mod request;
mod resolve;
mod say;
mod schema;
mod search;
mod secret;
mod settings;
mod slack;
mod template;
mod tolerant;
mod values;

pub use error::{Error, Problem};
pub use explain::Explained;
pub use load::{Loaded, load, load_all};
pub use request::{Override, Request};
pub use search::check_writers;
pub use settings::{Logging, Prune, Settings};
pub use template::template;
pub use tolerant::{tolerant_settings, tolerant_start};
