//! The same suite, with all requests made by the SDK.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use s3backup_transfer::HttpPath;

const HTTP: HttpPath = HttpPath::Sdk;

include!("suite.rs");
