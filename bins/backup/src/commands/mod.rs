//! One module a command.

pub(crate) mod adopt;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod generate_data;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod install;
pub(crate) mod ls;
pub(crate) mod monitor;
pub(crate) mod plan;
pub(crate) mod prune;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod shell;
pub(crate) mod silence;
pub(crate) mod slack;
pub(crate) mod status;
pub(crate) mod verify;
