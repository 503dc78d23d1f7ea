//! The built binary and the library, end to end, on generated data and against the embedded server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold in the shortest way")]

mod ending;
mod odd_files;
mod parts;
mod property;
mod upload;
mod world;
