//! The built binary, as a person, a script and a scheduler use it, against a real server on loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold in the shortest way")]

mod alerts;
mod commands;
mod commit;
mod deploy;
mod doctor;
mod install;
mod memory;
mod monitor;
mod policy;
mod prune;
mod restore;
mod run;
mod schedule;
mod shard;
mod sharded;
mod verify;
mod world;
