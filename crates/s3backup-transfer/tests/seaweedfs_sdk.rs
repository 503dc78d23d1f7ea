//! The same checks, with all requests made by the SDK.

#[macro_use]
mod common;

use s3backup_transfer::HttpPath;

const HTTP: HttpPath = HttpPath::Sdk;

all_checks_on!(common::weed::store);
checks_on! { common::weed::store: a_key_of_1024_bytes }
