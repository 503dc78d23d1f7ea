//! `fleet overspeed`: intervals above a limit.

use chrono_tz::Tz;
use s3backup_fleet::digest::Digest;
use s3backup_fleet::figures::EventKind;
use s3backup_fleet::tables::Table;
use serde_json::Value;

use super::told::KMH;
use super::worst::{self, tenths, time_of_day};
use super::{Say, one_table};
use crate::cli::Listing;
use crate::exit::{Exit, Stop};
use crate::session::Session;
use crate::text::{self, Side};

const KINDS: [EventKind; 1] = [EventKind::Overspeed];

struct Overspeed {
    limit: usize,
    timezone: Tz,
}

impl Say for Overspeed {
    fn text(&self, digest: &Digest) -> String {
        let rows: Vec<_> = worst::worst(digest, &KINDS, self.limit)
            .map(|(_, event)| {
                let limit = event.limit.as_ref();
                [
                    format!("+{}", tenths(event.severity_thousandths.0, KMH)),
                    tenths(event.peak_thousandths, KMH),
                    limit.map_or_else(String::new, |limit| tenths(limit.speed_mmps, KMH)),
                    limit.map_or_else(String::new, |limit| limit.source.clone()),
                    tenths(u64::try_from(event.end_ms - event.start_ms).unwrap_or(0), 1.0),
                    time_of_day(event.start_ms, self.timezone),
                    event.trip.clone(),
                ]
            })
            .collect();
        let head = [
            ("km/h", Side::Right),
            ("peak", Side::Right),
            ("limit", Side::Right),
            ("of", Side::Left),
            ("seconds", Side::Right),
            ("from", Side::Left),
            ("trip", Side::Left),
        ];
        text::table(head, &rows) + &worst::rest(digest, &KINDS, rows.len())
    }

    fn json(&self, digest: &Digest) -> Option<(&'static str, Value)> {
        let worst = worst::worst(digest, &KINDS, self.limit);
        Some(("worst", worst.map(|(kind, event)| worst::json(kind, event, self.timezone)).collect()))
    }
}

pub(crate) fn run(session: &Session, listing: &Listing) -> Result<Exit, Stop> {
    let limit = listing.limit.into();
    one_table(session, &listing.work, Table::Overspeed, |job| Overspeed {
        limit,
        timezone: job.settings.timezone,
    })
}
