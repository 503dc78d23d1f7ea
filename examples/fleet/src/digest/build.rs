//! Trips in, a digest out.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Timelike as _};
use chrono_tz::Tz;

use super::grid::Cells;
use super::top::{Limit, shown};
use super::{Digest, Event, FileFault, Highest, Hour, VehicleScore};
use crate::aside::Rule;
use crate::figures::{self, EventKind, FigureSettings, Motion, VehicleDay, VehicleDays, thousandths};
use crate::limits::LimitSource;
use crate::overspeed::Overspeed;
use crate::rapid::Rapid;
use crate::trip::{Trip, TripFile};

/// Makes the digest of trips that come one by one, those of a vehicle together.
#[derive(Debug)]
pub struct DigestBuilder {
    digest: Digest,
    vehicles: VehicleDays,
    clock: Clock,
}

impl DigestBuilder {
    /// Nothing yet.
    pub fn new(day: NaiveDate, timezone: Tz, settings: &FigureSettings) -> Self {
        Self {
            digest: Digest::new(day, timezone, settings),
            vehicles: VehicleDays::default(),
            clock: Clock { timezone, quarter: None, hour: 0 },
        }
    }

    /// Adds the next trip.
    pub fn add(&mut self, trip: &Trip) {
        if let Some(over) = self.vehicles.add(trip) {
            self.close(over);
        }
        self.digest.total.merge(&trip.figures);
        self.add_points(trip);
        for event in &trip.overspeed {
            self.add_event(EventKind::Overspeed, event.start_ms, of_overspeed(&trip.file, event));
        }
        for event in &trip.rapid {
            self.add_event(event.kind.into(), event.start_ms, of_rapid(&trip.file, event));
        }
        if let Some(fault) = fault(trip) {
            self.digest.faults.add(fault);
        }
    }

    /// The digest of all trips that were added.
    pub fn finish(mut self) -> Digest {
        if let Some(last) = self.vehicles.finish() {
            self.close(last);
        }
        self.digest
    }

    fn close(&mut self, over: VehicleDay) {
        self.digest.vehicles += 1;
        let figures = over.figures;
        let Some(score) = figures.driver_score(&self.digest.settings.score) else { return };
        let score_thousandths = thousandths(score);
        let tenth = (score_thousandths / 10_000).min(9);
        *self.digest.scores.entry(u8::try_from(tenth).unwrap_or(9)).or_default() += 1;
        let vehicle = VehicleScore {
            score_thousandths,
            vehicle: shown(&over.vehicle),
            distance_mm: figures.distance_mm,
            driving_ms: figures.driving_ms,
            over_limit_ms: figures.over_limit_ms,
            max_speed_mmps: figures.max_speed_mmps,
            events: figures.events,
        };
        self.digest.highest.add(Highest(vehicle.clone()));
        self.digest.lowest.add(vehicle);
    }

    fn add_points(&mut self, trip: &Trip) {
        let mut cells = Cells::new(&mut self.digest.grid);
        for pair in trip.points.windows(2) {
            let [from, to] = pair else { continue };
            let time_ms = figures::between_ms(from, to);
            let motion = Motion::between(from, to, &self.digest.settings);
            if motion == Motion::Gap {
                continue;
            }
            let hour = self.digest.hours.entry(self.clock.hour(from.time_ms)).or_default();
            if motion == Motion::Idle {
                hour.idle_ms = hour.idle_ms.saturating_add(time_ms);
            } else {
                hour.driving_ms = hour.driving_ms.saturating_add(time_ms);
                cells.add(from, time_ms);
            }
        }
    }

    fn add_event(&mut self, kind: EventKind, start_ms: i64, event: Event) {
        let hour: &mut Hour = self.digest.hours.entry(self.clock.hour(start_ms)).or_default();
        hour.events.count(kind);
        self.digest.events.entry(kind).or_default().add(event);
    }
}

/// The local hour of moments, most of which are close to the one before.
#[derive(Debug)]
struct Clock {
    timezone: Tz,
    quarter: Option<i64>,
    hour: u8,
}

impl Clock {
    fn hour(&mut self, time_ms: i64) -> u8 {
        // No zone changes its offset within a quarter of an hour.
        let quarter = time_ms.div_euclid(900_000);
        if self.quarter != Some(quarter) {
            self.quarter = Some(quarter);
            let local =
                DateTime::from_timestamp_millis(time_ms).map(|utc| utc.with_timezone(&self.timezone).hour());
            self.hour = local.and_then(|hour| u8::try_from(hour).ok()).unwrap_or(0);
        }
        self.hour
    }
}

fn of_overspeed(file: &TripFile, event: &Overspeed) -> Event {
    let peak_thousandths = thousandths(event.peak_speed_mps);
    let limit_mmps = thousandths(event.limit_mps);
    Event {
        severity_thousandths: Reverse(peak_thousandths.saturating_sub(limit_mmps)),
        start_ms: event.start_ms,
        end_ms: event.end_ms,
        trip: shown(&file.name),
        vehicle: shown(&file.vehicle),
        latitude_e7: e7(event.start_latitude_deg),
        longitude_e7: e7(event.start_longitude_deg),
        peak_thousandths,
        distance_mm: thousandths(event.distance_m),
        limit: Some(Limit {
            speed_mmps: limit_mmps,
            source: match &event.limit_source {
                LimitSource::Default => "default".to_owned(),
                LimitSource::Vehicle => "vehicle".to_owned(),
                LimitSource::Road => "road".to_owned(),
                LimitSource::Zone(name) => shown(&format!("zone {name}")),
            },
        }),
    }
}

fn of_rapid(file: &TripFile, event: &Rapid) -> Event {
    let peak_thousandths = thousandths(event.peak_accel_mps2);
    Event {
        severity_thousandths: Reverse(peak_thousandths),
        start_ms: event.start_ms,
        end_ms: event.end_ms,
        trip: shown(&file.name),
        vehicle: shown(&file.vehicle),
        latitude_e7: e7(event.latitude_deg),
        longitude_e7: e7(event.longitude_deg),
        peak_thousandths,
        distance_mm: 0,
        limit: None,
    }
}

/// What is wrong with a file. That a receiver's position wanders while it stands is not.
fn fault(trip: &Trip) -> Option<FileFault> {
    let mut rules = BTreeMap::<Rule, u64>::new();
    for aside in trip.aside.iter().filter(|aside| aside.rule != Rule::StandstillNoise) {
        let count = rules.entry(aside.rule).or_default();
        *count = count.saturating_add(aside.count);
    }
    let first = trip.aside.iter().find(|aside| aside.rule != Rule::StandstillNoise)?;
    Some(FileFault {
        usable: trip.figures.unusable_files == 0,
        aside: Reverse(rules.values().fold(0, |sum, count| sum.saturating_add(*count))),
        trip: shown(&trip.file.name),
        rules,
        detail: shown(&first.detail),
    })
}

/// Degrees in ten millionths, about a centimetre.
#[expect(clippy::cast_possible_truncation, reason = "`as` keeps to the range")]
fn e7(degrees: f64) -> i32 {
    (degrees * 1e7).round() as i32
}
