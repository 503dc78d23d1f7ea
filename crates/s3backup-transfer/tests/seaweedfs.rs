//! The checks that hold on every server, on SeaweedFS: a server whose authors never saw this crate.

#[macro_use]
mod common;

use s3backup_transfer::HttpPath;

/// What the checks are run on here; `seaweedfs_sdk.rs` has the other.
const HTTP: HttpPath = HttpPath::Fast;

all_checks_on!(common::weed::store);
checks_on! { common::weed::store: a_key_of_1024_bytes }
