//! `fleet errors`: what is wrong with which line of which file.

use std::fmt::Write as _;

use s3backup_core::report::human;
use s3backup_fleet::digest::Digest;
use s3backup_fleet::tables::Table;
use s3backup_fleet::trip::Trip;
use serde_json::{Value, json};

use super::told::by_rule;
use super::{Say, one_table};
use crate::cli::Listing;
use crate::exit::{Exit, Stop};
use crate::session::Session;
use crate::text::{self, Side};

/// The longest description that is printed, in characters; the table has all of it.
const MOST_CHARS: usize = 120;

/// The first lines that are wrong, in the order of the files.
struct Errors {
    limit: usize,
    /// File, line, rule, what.
    first: Vec<[String; 4]>,
}

impl Say for Errors {
    fn see(&mut self, trip: &Trip) {
        let room = self.limit.saturating_sub(self.first.len());
        self.first.extend(trip.aside.iter().take(room).map(|aside| {
            let mut what: String = aside.detail.chars().take(MOST_CHARS).collect();
            if what.len() < aside.detail.len() {
                what.push('…');
            }
            [trip.file.name.clone(), aside.line.to_string(), aside.rule.as_str().to_owned(), what]
        }));
    }

    fn text(&self, digest: &Digest) -> String {
        let head = [("file", Side::Left), ("line", Side::Right), ("rule", Side::Left), ("what", Side::Left)];
        let mut text = text::table(head, &self.first);
        let more = digest.total.aside_total().saturating_sub(self.first.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "  … and {} more, in the table", human::count(more));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text + &by_rule(&digest.total)
    }

    fn json(&self, _digest: &Digest) -> Option<(&'static str, Value)> {
        let first = self.first.iter().map(|[file, line, rule, what]| {
            json!({ "file": file, "line": line.parse::<u64>().unwrap_or(0), "rule": rule, "what": what })
        });
        Some(("first", first.collect()))
    }
}

pub(crate) fn run(session: &Session, listing: &Listing) -> Result<Exit, Stop> {
    let limit = listing.limit.into();
    one_table(session, &listing.work, Table::Errors, |_| Errors { limit, first: Vec::new() })
}
