//! The catalog on a real file system, with processes that are killed and files that are damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod alerts;
mod common;
mod crash;
mod damage;
mod files;
mod lock;
mod model;
mod notes;
mod order;
mod records;
mod versions;
