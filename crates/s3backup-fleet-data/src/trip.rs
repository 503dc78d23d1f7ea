//! One trip: its points, and the faults among them.

use std::{path::PathBuf, time::SystemTime};

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::{
    event::Event,
    faults::{self, Fault, FaultCounts, FaultRates, MAX_DELAY_LINES},
    motion::{Motion, Sample},
    plan::{Length, Plan, Purpose, TripPlan},
    random::Random,
    receiver::Receiver,
    text::{Format, LineFormat},
    truth::TripTruth,
};

/// How much of a trip is made at a time: large enough for few system calls, small against any memory.
const CHUNK_BYTES: usize = 64 * 1_024;

/// One trip in memory.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Trip {
    /// Where the file belongs, relative to the folder of the set.
    pub path: PathBuf,
    /// The whole file. Not UTF-8 where a line is garbled.
    pub bytes: Vec<u8>,
    /// The modification time that the file is to have: the time of its last point.
    pub modified: SystemTime,
    /// What is in it.
    pub truth: TripTruth,
}

/// Makes a trip in chunks, so that a trip of any length needs little memory.
///
/// The faults obey three rules, by which a reader can tell them apart and count them. A point after a fault is sound,
/// and after a late point so are the points until it is written. The first point is sound, and so are the last ones, so
/// that nothing late is left at the end and the last line has the last time. A gap is longer than any two broken lines
/// leave missing.
#[derive(Debug)]
pub(crate) struct TripLines {
    trip: TripPlan,
    length: Length,
    rates: FaultRates,
    interval_ms: u64,
    format: Format,
    line_format: LineFormat,
    motion: Motion,
    receiver: Option<Receiver>,
    random: Random,
    /// Of the next point, counted in intervals from the start of the trip.
    tick: u64,
    last_tick: u64,
    points: u64,
    lines: u64,
    bytes: u64,
    faults: FaultCounts,
    /// A point that is written late, and after how many more lines.
    late: Option<(Vec<u8>, u64)>,
    /// How many points must be sound from here on.
    sound_points: u64,
    /// Since when the file says nothing that can be relied on, if the last point is such or a gap is after it.
    dark_since_s: Option<f64>,
    line: Vec<u8>,
}

impl TripLines {
    pub(crate) fn new(plan: &Plan, trip: TripPlan) -> Self {
        Self {
            length: plan.length,
            rates: plan.rates,
            interval_ms: plan.interval_ms,
            format: plan.format,
            line_format: LineFormat::new(plan.format, trip.started_at, trip.start_s_of_day),
            motion: plan.motion(&trip),
            receiver: plan.receiver(&trip),
            random: plan.random_for(&trip, Purpose::Faults),
            tick: 0,
            last_tick: 0,
            points: 0,
            lines: 0,
            bytes: 0,
            faults: FaultCounts { empty_files: u64::from(trip.empty), ..FaultCounts::default() },
            late: None,
            sound_points: 0,
            dark_since_s: None,
            line: Vec::new(),
            trip,
        }
    }

    /// Where the file belongs, relative to the folder of the set, with `/` between the parts.
    pub(crate) fn path(&self) -> String {
        let name = self.trip.started_at.format("%Y-%m-%d/trip_%H%M%S");
        format!("{}/{name}.{}", self.trip.vehicle, self.format.extension())
    }

    /// Appends the next chunk of the file. False, and nothing appended, at its end.
    pub(crate) fn fill(&mut self, buffer: &mut Vec<u8>) -> bool {
        let start = buffer.len();
        while buffer.len() - start < CHUNK_BYTES && !self.is_done() {
            self.point(buffer);
        }
        buffer.len() > start
    }

    /// The truth of what was made so far, which is the trip's after the last chunk.
    pub(crate) fn finish(&self) -> TripTruth {
        TripTruth {
            path: self.path(),
            vehicle: self.trip.vehicle.clone(),
            day: self.trip.day,
            started_at: self.trip.started_at,
            ended_at: self.instant(self.last_s()),
            points: self.points,
            lines: self.lines,
            bytes: self.bytes,
            distance_mm: whole(self.motion.way_m(self.last_s()) * 1_000.0),
            faults: self.faults,
            events: self.events(),
        }
    }

    /// The events that began before the last point.
    fn events(&self) -> Vec<Event> {
        let last_s = self.last_s();
        let begun = self.motion.driven().iter().take_while(|driven| driven.start_s < last_s);
        begun
            .map(|driven| Event {
                kind: driven.kind,
                start: self.instant(driven.start_s),
                end: self.instant(driven.end_s),
                peak: (driven.peak * 1_000.0).round() / 1_000.0,
                threshold: (driven.threshold * 1_000.0).round() / 1_000.0,
                near_miss: driven.near_miss,
                hidden: driven.hidden || driven.end_s > last_s,
            })
            .collect()
    }

    fn instant(&self, elapsed_s: f64) -> DateTime<FixedOffset> {
        self.trip.started_at + TimeDelta::milliseconds(whole(elapsed_s * 1_000.0).cast_signed())
    }

    /// When the last point was recorded, counted from the start.
    fn last_s(&self) -> f64 {
        (self.last_tick * self.interval_ms) as f64 / 1_000.0
    }

    /// The whole trip in memory.
    pub(crate) fn collect(mut self) -> Trip {
        let mut bytes = Vec::new();
        while self.fill(&mut bytes) {}
        let truth = self.finish();
        Trip { path: PathBuf::from(&truth.path), bytes, modified: truth.ended_at.into(), truth }
    }

    fn is_done(&self) -> bool {
        if self.trip.empty {
            return true;
        }
        match self.length {
            Length::Points(points) => self.points >= u64::from(points),
            // No late point is left here: the last points before the size is reached are sound.
            Length::Bytes(bytes) => {
                self.points > 0 && self.bytes + self.format.typical_line_bytes() / 2 >= bytes
            }
        }
    }

    /// Whether enough points follow this one for it not to be among the last.
    fn may_be_hit(&self) -> bool {
        self.points > 1
            && self.sound_points == 0
            && match self.length {
                Length::Points(points) => u64::from(points) - self.points > MAX_DELAY_LINES,
                Length::Bytes(bytes) => {
                    self.bytes + (MAX_DELAY_LINES + 4) * self.format.typical_line_bytes() < bytes
                }
            }
    }

    /// Makes the next point and appends its line, unless that comes late, and a late one that is due.
    fn point(&mut self, buffer: &mut Vec<u8>) {
        if self.points == 0 {
            self.write_header(buffer);
        }
        let mut sample = self.drive_on();
        self.points += 1;
        let fault = if self.may_be_hit() { self.rates.draw(&mut self.random) } else { None };
        self.sound_points = match fault {
            Some(Fault::OutOfOrder { delay_lines }) => delay_lines,
            Some(_) => 1,
            None => self.sound_points.saturating_sub(1),
        };
        self.count(fault);
        self.hide(fault);
        match fault {
            Some(Fault::Teleport) => {
                faults::teleport(&mut sample, self.interval_s(), &mut self.random);
            }
            Some(Fault::ImpossibleSpeed) => faults::impossible_speed(&mut sample, &mut self.random),
            _ => {}
        }
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        self.line_format.push(&mut line, self.last_tick * self.interval_ms, &sample);
        match fault {
            Some(Fault::Truncated) => faults::truncate(&mut line, &mut self.random),
            Some(Fault::Garbled) => faults::garble(&mut line, &mut self.random),
            _ => {}
        }
        if let Some(Fault::OutOfOrder { delay_lines }) = fault {
            self.late = Some((line.clone(), delay_lines));
        } else {
            self.write(buffer, &line);
        }
        match fault {
            Some(Fault::Duplicate) => self.write(buffer, &line),
            Some(Fault::Gap { missing_points }) => self.leave_out(missing_points),
            Some(_) => {}
            None => self.write_late_line(buffer),
        }
        self.line = line;
    }

    fn count(&mut self, fault: Option<Fault>) {
        match fault {
            Some(Fault::Duplicate) => self.faults.duplicates += 1,
            Some(Fault::OutOfOrder { .. }) => self.faults.out_of_order += 1,
            Some(Fault::Truncated) => self.faults.truncated += 1,
            Some(Fault::Garbled) => self.faults.garbled += 1,
            Some(Fault::Teleport) => self.faults.teleports += 1,
            Some(Fault::ImpossibleSpeed) => self.faults.impossible_speeds += 1,
            Some(Fault::Gap { .. }) | None => {}
        }
    }

    /// Marks the events that nobody can be sure to see. The points before and after one that is hit are sound.
    fn hide(&mut self, fault: Option<Fault>) {
        let now_s = self.last_s();
        if let Some(since_s) = self.dark_since_s.take() {
            self.motion.hide(since_s, now_s);
        }
        self.dark_since_s = match fault {
            Some(Fault::Truncated | Fault::Garbled | Fault::Teleport | Fault::ImpossibleSpeed) => {
                Some(now_s - self.interval_s())
            }
            Some(Fault::Gap { .. } | Fault::Duplicate | Fault::OutOfOrder { .. }) | None => None,
        };
    }

    fn interval_s(&self) -> f64 {
        self.interval_ms as f64 / 1_000.0
    }

    /// Moves the vehicle to where the next point is recorded.
    fn drive_on(&mut self) -> Sample {
        self.last_tick = self.tick;
        self.tick += 1;
        let time_s = self.last_s();
        let sample = self.motion.at(time_s);
        match &mut self.receiver {
            Some(receiver) => receiver.record(time_s, sample),
            None => sample,
        }
    }

    /// Leaves a gap, unless the gaps would become longer than the time that was reserved for them.
    fn leave_out(&mut self, points: u64) {
        if self.faults.missing_points + points <= self.length.max_points() {
            self.tick += points;
            self.dark_since_s = Some(self.last_s());
            self.faults.gaps += 1;
            self.faults.missing_points += points;
        }
    }

    fn write_late_line(&mut self, buffer: &mut Vec<u8>) {
        match self.late.take() {
            Some((line, 1)) => self.write(buffer, &line),
            Some((line, lines)) => self.late = Some((line, lines - 1)),
            None => {}
        }
    }

    fn write_header(&mut self, buffer: &mut Vec<u8>) {
        if let Some(header) = self.format.header() {
            self.write(buffer, header.as_bytes());
            self.lines = 0;
        }
    }

    fn write(&mut self, buffer: &mut Vec<u8>, line: &[u8]) {
        buffer.extend_from_slice(line);
        buffer.push(b'\n');
        self.lines += 1;
        self.bytes += line.len() as u64 + 1;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what a day has of milliseconds and millimetres"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}
