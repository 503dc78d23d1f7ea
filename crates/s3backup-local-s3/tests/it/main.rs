//! The server as its clients see it: through the AWS SDK, and over a bare connection where the SDK is too polite.

// The exceptions for tests do not reach the functions that tests share, and the SDK's futures are as large as they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::large_futures)]

mod checksums;
mod client;
mod faults;
mod listings;
mod multipart;
mod null;
mod objects;
mod persistence;
mod raw;
mod rot;
mod server;
mod versions;
