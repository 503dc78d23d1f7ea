//! One trip: its points, and the faults among them.

use std::{path::PathBuf, time::SystemTime};

use chrono::TimeDelta;

use crate::{
    faults::{self, FaultCounts, FaultRates, MAX_DELAY_LINES},
    motion::Motion,
    plan::{Length, Plan, Purpose, TripPlan},
    random::Random,
    text::{LineFormat, TYPICAL_LINE_BYTES},
    truth::TripTruth,
};

/// How much of a trip is made at a time: large enough for few system calls, small against any memory.
const CHUNK_BYTES: usize = 64 * 1_024;

/// One trip in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
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
/// and after a late point so are the points until it is written. The last points are sound, so that nothing late is
/// left at the end and the last line has the last time. A gap is longer than any two broken lines leave missing.
#[derive(Debug)]
pub(crate) struct TripLines {
    trip: TripPlan,
    length: Length,
    rates: FaultRates,
    interval_ms: u64,
    format: LineFormat,
    motion: Motion,
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
    line: Vec<u8>,
}

impl TripLines {
    pub(crate) fn new(plan: &Plan, trip: TripPlan) -> Self {
        Self {
            length: plan.length,
            rates: plan.rates,
            interval_ms: plan.interval_ms,
            format: LineFormat::new(trip.started_at, trip.start_s_of_day),
            motion: Motion::new(plan.random_for(&trip, Purpose::Way)),
            random: plan.random_for(&trip, Purpose::Faults),
            tick: 0,
            last_tick: 0,
            points: 0,
            lines: 0,
            bytes: 0,
            faults: FaultCounts { empty_files: u64::from(trip.empty), ..FaultCounts::default() },
            late: None,
            sound_points: 0,
            line: Vec::new(),
            trip,
        }
    }

    /// Where the file belongs, relative to the folder of the set, with `/` between the parts.
    pub(crate) fn path(&self) -> String {
        let name = self.trip.started_at.format("%Y-%m-%d/trip_%H%M%S.json");
        format!("{}/{name}", self.trip.vehicle)
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
        let elapsed_ms = self.last_tick * self.interval_ms;
        TripTruth {
            path: self.path(),
            vehicle: self.trip.vehicle.clone(),
            day: self.trip.day,
            started_at: self.trip.started_at,
            ended_at: self.trip.started_at + TimeDelta::milliseconds(elapsed_ms.cast_signed()),
            points: self.points,
            lines: self.lines,
            bytes: self.bytes,
            distance_mm: self.motion.distance_um / 1_000,
            faults: self.faults,
        }
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
            Length::Bytes(bytes) => self.points > 0 && self.bytes + TYPICAL_LINE_BYTES / 2 >= bytes,
        }
    }

    /// Whether enough points follow this one for it not to be among the last.
    fn may_be_hit(&self) -> bool {
        self.sound_points == 0
            && match self.length {
                Length::Points(points) => u64::from(points) - self.points > MAX_DELAY_LINES,
                Length::Bytes(bytes) => self.bytes + (MAX_DELAY_LINES + 4) * TYPICAL_LINE_BYTES < bytes,
            }
    }

    /// Makes the next point and appends its line, unless that comes late, and a late one that is due.
    fn point(&mut self, buffer: &mut Vec<u8>) {
        self.drive_on();
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        self.format.push(&mut line, self.last_tick * self.interval_ms, &self.motion);
        self.points += 1;

        let fault = if self.may_be_hit() { self.rates.draw(&mut self.random) } else { None };
        self.sound_points = match fault {
            Some(faults::Fault::OutOfOrder { delay_lines }) => delay_lines,
            Some(_) => 1,
            None => self.sound_points.saturating_sub(1),
        };
        match fault {
            None => self.write(buffer, &line),
            Some(faults::Fault::Gap { missing_points }) => {
                self.write(buffer, &line);
                self.leave_out(missing_points);
            }
            Some(faults::Fault::Duplicate) => {
                self.write(buffer, &line);
                self.write(buffer, &line);
                self.faults.duplicates += 1;
            }
            Some(faults::Fault::OutOfOrder { delay_lines }) => {
                self.faults.out_of_order += 1;
                self.late = Some((line.clone(), delay_lines));
            }
            Some(faults::Fault::Truncated) => {
                faults::truncate(&mut line, &mut self.random);
                self.write(buffer, &line);
                self.faults.truncated += 1;
            }
            Some(faults::Fault::Garbled) => {
                faults::garble(&mut line, &mut self.random);
                self.write(buffer, &line);
                self.faults.garbled += 1;
            }
        }
        self.line = line;
        if fault.is_none() {
            self.write_late_line(buffer);
        }
    }

    /// Moves the vehicle to where the next point is recorded.
    fn drive_on(&mut self) {
        while self.last_tick < self.tick {
            self.motion.step(self.interval_ms.cast_signed());
            self.last_tick += 1;
        }
        self.tick += 1;
    }

    /// Leaves a gap, unless the gaps would become longer than the time that was reserved for them.
    fn leave_out(&mut self, points: u64) {
        if self.faults.missing_points + points <= self.length.max_points() {
            self.tick += points;
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

    fn write(&mut self, buffer: &mut Vec<u8>, line: &[u8]) {
        buffer.extend_from_slice(line);
        buffer.push(b'\n');
        self.lines += 1;
        self.bytes += line.len() as u64 + 1;
    }
}
