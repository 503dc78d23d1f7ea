//! The checks that hold on every server, on SeaweedFS: a server whose authors never saw this crate.

mod common;

all_checks_on!(common::weed::store);
checks_on! { common::weed::store: a_key_of_1024_bytes }
