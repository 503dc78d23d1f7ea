#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod by_hand;
mod cancel;
mod elsewhere;
mod faults;
mod known;
mod limits;
mod messages;
mod odd;
mod refusals;
mod resume;
mod slow;
mod torn;
mod unproved;

all_checks_on!(common::Store::embedded);
checks_on! { common::Store::embedded:
    storage_class_and_encryption_are_asked_for
    a_key_of_1024_bytes
    nothing_is_sent_to_a_missing_bucket
    backslashes
}
