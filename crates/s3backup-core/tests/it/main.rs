//! Whole runs against an S3 server and a Slack inside the process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end with what they find")]

mod adopt;
mod alerts;
mod bench;
mod cancel;
mod doctor;
mod due;
mod events;
#[path = "../../../s3backup-slack/tests/slack/fake_slack.rs"]
mod fake_slack;
mod format;
mod guard;
mod journal;
mod memory;
mod model;
#[path = "../../../s3backup-transfer/tests/common/moto.rs"]
mod moto;
mod outcomes;
mod plan;
mod prune;
mod recognise;
mod restore;
mod steps;
mod unsettled;
mod verify;
mod whole_run;
