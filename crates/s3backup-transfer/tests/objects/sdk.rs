//! The same suite, with all requests made by the SDK.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

const HTTP: HttpPath = HttpPath::Sdk;

include!("suite.rs");
