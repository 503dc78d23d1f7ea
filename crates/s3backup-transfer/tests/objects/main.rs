//! What is done with single objects beside sending files: control data, listings, removal, downloads, comparisons. On the
//! embedded server, on SeaweedFS, and, for versions, on moto.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

/// What the suite is run on here; `sdk.rs` has the other.
const HTTP: HttpPath = HttpPath::Fast;

include!("suite.rs");
