//! `fleet rapid`: harsh acceleration, harsh braking, sharp turns.

use chrono_tz::Tz;
use s3backup_core::report::human;
use s3backup_fleet::digest::Digest;
use s3backup_fleet::figures::EventKind;
use s3backup_fleet::tables::Table;
use serde_json::Value;

use super::worst::{self, tenths, time_of_day};
use super::{Say, one_table};
use crate::cli::Listing;
use crate::exit::{Exit, Stop};
use crate::session::Session;
use crate::text::{self, Side};

const KINDS: [EventKind; 3] = [EventKind::HarshAcceleration, EventKind::HarshBraking, EventKind::SharpTurn];

struct Rapid {
    limit: usize,
    timezone: Tz,
}

impl Say for Rapid {
    fn text(&self, digest: &Digest) -> String {
        let total = &digest.total;
        let rate = |count| total.per_100_km(count).map_or_else(String::new, |rate| format!("{rate:.2}"));
        let counts = KINDS.map(|kind| {
            let count = total.events.of(kind);
            [kind.as_str().to_owned(), human::count(count), rate(count)]
        });
        let head = [("kind", Side::Left), ("events", Side::Right), ("per 100 km", Side::Right)];
        let rows: Vec<_> = worst::worst(digest, &KINDS, self.limit)
            .map(|(kind, event)| {
                [
                    kind.as_str().to_owned(),
                    tenths(event.peak_thousandths, 1.0),
                    tenths(u64::try_from(event.end_ms - event.start_ms).unwrap_or(0), 1.0),
                    time_of_day(event.start_ms, self.timezone),
                    event.trip.clone(),
                ]
            })
            .collect();
        let worst_head = [
            ("worst", Side::Left),
            ("m/s²", Side::Right),
            ("seconds", Side::Right),
            ("from", Side::Left),
            ("trip", Side::Left),
        ];
        let rest = worst::rest(digest, &KINDS, rows.len());
        format!("{}\n{}{rest}", text::table(head, &counts), text::table(worst_head, &rows))
    }

    fn json(&self, digest: &Digest) -> Option<(&'static str, Value)> {
        let worst = worst::worst(digest, &KINDS, self.limit);
        Some(("worst", worst.map(|(kind, event)| worst::json(kind, event, self.timezone)).collect()))
    }
}

pub(crate) fn run(session: &Session, listing: &Listing) -> Result<Exit, Stop> {
    let limit = listing.limit.into();
    one_table(session, &listing.work, Table::Rapid, |job| Rapid { limit, timezone: job.settings.timezone })
}
