//! The checks that hold on every server, on the embedded one, and what only a server that misbehaves can show.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use s3backup_transfer::HttpPath;

/// What the suite is run on here; `sdk.rs` has the other.
const HTTP: HttpPath = HttpPath::Fast;

mod alike;

include!("suite.rs");
