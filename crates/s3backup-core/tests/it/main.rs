//! Whole runs against an S3 server and a Slack inside the process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end with what they find")]

mod adopt;
mod alerts;
mod audience;
mod bench;
mod by_hand;
mod cancel;
mod doctor;
mod drills;
mod due;
mod events;
mod facts;
#[path = "../../../s3backup-slack/tests/slack/fake_slack.rs"]
mod fake_slack;
mod format;
mod guard;
mod journal;
mod memory;
mod metrics;
mod model;
mod monitor;
#[path = "../../../s3backup-transfer/tests/common/moto.rs"]
mod moto;
mod outbox;
mod outcomes;
mod overview;
mod ping;
mod plan;
mod prune;
mod recognise;
mod restore;
mod scheduler;
mod shards_commit;
mod shards_plan;
mod shards_worker;
mod steps;
mod troubles;
mod unsettled;
mod verify;
mod verify_by_itself;
mod whole_run;
