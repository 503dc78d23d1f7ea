//! Keeps points and lines set aside within their bounds.

use std::collections::BTreeMap;

use super::lines::Line;
use super::record::Fault;
use super::{Read, ReadSettings};
use crate::aside::{Aside, Rule};
use crate::point::Point;

/// Less than the shortest line of a point has, so that the memory is seldom taken twice.
const LEAST_LINE_BYTES: u64 = 64;

pub(super) struct Collected<'a> {
    settings: &'a ReadSettings,
    points: Vec<Point>,
    aside: Vec<Aside>,
    aside_bytes: usize,
    /// Lines that are only counted, and the first of them.
    uncounted: BTreeMap<Rule, (u64, u64)>,
    lines: u64,
}

impl<'a> Collected<'a> {
    pub(super) fn new(settings: &'a ReadSettings, size_bytes: u64) -> Self {
        let expected = usize::try_from(size_bytes / LEAST_LINE_BYTES).unwrap_or(usize::MAX);
        Self {
            settings,
            points: Vec::with_capacity(expected.min(settings.max_points)),
            aside: Vec::new(),
            aside_bytes: 0,
            uncounted: BTreeMap::new(),
            lines: 0,
        }
    }

    /// Fails if that is one too many for a trip.
    pub(super) fn point(&mut self, point: Point) -> Result<(), Fault> {
        let most = self.settings.max_points;
        if self.points.len() >= most {
            return Err(Fault {
                rule: Rule::TooLong,
                detail: format!(
                    "has more than {most} points: cut it into trips, or raise `max_points` in `[read]`"
                ),
            });
        }
        self.lines += 1;
        self.points.push(point);
        Ok(())
    }

    /// A line that is no point.
    pub(super) fn line(&mut self, line: &Line<'_>, Fault { rule, detail }: Fault) {
        self.lines += 1;
        let bytes = self.aside_bytes.saturating_add(line.bytes.len());
        if self.aside.len() >= self.settings.max_aside_lines || bytes > self.settings.max_aside_bytes {
            self.uncounted.entry(rule).or_insert((0, line.number)).0 += 1;
            return;
        }
        self.aside_bytes = bytes;
        let raw = Some(line.bytes.to_vec());
        self.aside.push(Aside { line: line.number, count: 1, rule, detail, point: None, raw });
    }

    /// Something that concerns the file as a whole, of which the lines so far are used all the same.
    pub(super) fn file(&mut self, Fault { rule, detail }: Fault) {
        self.aside.insert(0, Aside::file(rule, detail));
    }

    /// Fails if there was nothing.
    pub(super) fn finish(mut self, has_begun: bool) -> Result<Read, Fault> {
        if self.lines == 0 && self.aside.is_empty() {
            let detail = if has_begun { "has a header and no row" } else { "has blank lines alone" };
            return Err(Fault { rule: Rule::Empty, detail: detail.to_owned() });
        }
        for (rule, (count, line)) in self.uncounted {
            let detail =
                format!("{count} more lines, from this one on, are only counted, as there are so many");
            self.aside.push(Aside { line, count, rule, detail, point: None, raw: None });
        }
        Ok(Read { points: self.points, aside: self.aside, lines: self.lines })
    }
}
