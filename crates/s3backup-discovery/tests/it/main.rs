//! Walks over real directories.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold in the shortest way")]

mod background;
mod links;
mod order;
mod shadows;
mod special;
mod support;
mod trees;
mod troubles;
