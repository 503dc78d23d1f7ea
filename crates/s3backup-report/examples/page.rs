//! Prints the page of a fleet's job, or with an argument that of several, as the documentation shows them:
//! `cargo run -p s3backup-report --example page > page.html`.

#![allow(clippy::expect_used, clippy::indexing_slicing, dead_code, reason = "data of the tests")]

#[path = "../tests/sample/mod.rs"]
mod sample;

use s3backup_report::{Page, render};

fn main() {
    let fleet = sample::fleet();
    let is_whole = std::env::args().count() > 1;
    let page = if is_whole { fleet } else { Page { jobs: vec![sample::well()], live: false, ..fleet } };
    println!("{}", render(&page));
}
