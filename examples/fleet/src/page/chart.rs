//! Bar charts as inline SVG, each with its numbers as a table.

use std::fmt::Write as _;

use s3backup_core::report::human;

use crate::digest::{Digest, Hour};
use crate::figures::{EventKind, Speeds};

use super::words;

/// The size of a drawing in its own units, and of the room that its axes take.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 216.0;
const LEFT: f64 = 38.0;
const RIGHT: f64 = 6.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 24.0;

/// The width of a bar of speeds, in kilometres an hour.
const SPEED_KMH: f64 = 5.0;

/// A bar of one or more pieces, from the bottom to the top.
#[derive(Debug, Default)]
struct Bar {
    /// What stands below it, if anything.
    label: String,
    /// What it is, for who points at it and for the table.
    title: String,
    values: Vec<f64>,
}

/// A chart of bars.
struct Chart<'a> {
    title: &'a str,
    unit: &'a str,
    /// Class and name of each piece of a bar.
    pieces: &'a [(&'a str, &'a str)],
    bars: Vec<Bar>,
    /// Up to three lines, at a place between 0 and the number of bars, with a label.
    lines: Vec<(f64, String)>,
    /// A value in words.
    words: fn(f64) -> String,
}

/// How long was driven, and stood, in each hour.
pub(super) fn driving_by_hour(digest: &Digest) -> String {
    let value = |time_ms: u64| time_ms as f64 / 3_600_000.0;
    Chart {
        title: "Driving by hour",
        unit: "h",
        pieces: &[("drive", "driving"), ("idle", "standing, engine on")],
        bars: by_hour(digest, |hour| vec![value(hour.driving_ms), value(hour.idle_ms)]),
        lines: Vec::new(),
        words: |value| format!("{value:.1} h"),
    }
    .draw()
}

/// How many events of each kind began in each hour.
pub(super) fn events_by_hour(digest: &Digest) -> String {
    let pieces = EventKind::ALL.map(|kind| (words::class(kind), words::kind(kind)));
    Chart {
        title: "Events by hour",
        unit: "",
        pieces: &pieces,
        bars: by_hour(digest, |hour| EventKind::ALL.map(|kind| hour.events.of(kind) as f64).to_vec()),
        lines: Vec::new(),
        words: |value| format!("{value:.0}"),
    }
    .draw()
}

fn by_hour(digest: &Digest, values: impl Fn(&Hour) -> Vec<f64>) -> Vec<Bar> {
    let bar = |hour: u8| Bar {
        label: if hour.is_multiple_of(3) { hour.to_string() } else { String::new() },
        title: format!("{hour}:00 to {}:00", hour + 1),
        values: values(&digest.hours.get(&hour).copied().unwrap_or_default()),
    };
    (0..24).map(bar).collect()
}

/// For which share of the driving time which speed was driven.
pub(super) fn speeds(digest: &Digest) -> String {
    let speeds = &digest.total.speeds;
    let bin_kmh = Speeds::BIN_MMPS as f64 * 0.0036;
    let mut sums = Vec::<f64>::new();
    for (bin, time_ms) in speeds.bins_ms().iter().enumerate() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 360 km/h")]
        let index = ((bin as f64 + 0.5) * bin_kmh / SPEED_KMH) as usize;
        sums.resize(sums.len().max(index + 1), 0.0);
        if let Some(sum) = sums.get_mut(index) {
            *sum += *time_ms as f64;
        }
    }
    let total: f64 = sums.iter().sum();
    let label = |index: usize| {
        if index.is_multiple_of(4) { format!("{:.0}", index as f64 * SPEED_KMH) } else { String::new() }
    };
    let bars = sums.iter().enumerate().map(|(index, sum)| Bar {
        label: label(index),
        title: format!("{:.0} to {:.0} km/h", index as f64 * SPEED_KMH, (index + 1) as f64 * SPEED_KMH),
        values: vec![sum / total * 100.0],
    });
    let percentiles = [(0.5, "50 %"), (0.85, "85 %"), (0.95, "95 %")];
    let lines = percentiles.into_iter().filter_map(|(share, name)| {
        let kmh = speeds.percentile_mps(share)? * 3.6;
        Some((kmh / SPEED_KMH, format!("{name}: {kmh:.0}")))
    });
    Chart {
        title: "Driving time by speed, in km/h, and its percentiles",
        unit: "%",
        pieces: &[("drive", "share of the driving time")],
        lines: lines.collect(),
        bars: bars.collect(),
        words: |value| format!("{value:.1} %"),
    }
    .draw()
}

/// How many vehicles have which score.
pub(super) fn scores(digest: &Digest) -> String {
    let bar = |tenth: u8| Bar {
        label: format!("{}", tenth * 10),
        title: format!("score {} to {}", tenth * 10, tenth * 10 + 10),
        values: vec![digest.scores.get(&tenth).copied().unwrap_or(0) as f64],
    };
    Chart {
        title: "Vehicles by driver score",
        unit: "",
        pieces: &[("drive", "vehicles")],
        bars: (0..10).map(bar).collect(),
        lines: Vec::new(),
        words: |value| format!("{value:.0}"),
    }
    .draw()
}

impl Chart<'_> {
    /// The chart and its table; empty if all of it is 0.
    fn draw(&self) -> String {
        let most = self.bars.iter().map(|bar| bar.values.iter().sum()).fold(0.0, f64::max);
        if most <= 0.0 {
            return String::new();
        }
        // Part of an event or a vehicle there is not.
        let least = if self.unit.is_empty() { 1.0 } else { 0.0 };
        let step = words::round_step(most / 4.0).max(least);
        let steps = (most / step).ceil();
        let (plot_width, plot_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let bottom = HEIGHT - BOTTOM;
        let tall = |value: f64| value / (step * steps) * plot_height;
        let mut out = String::with_capacity(8 << 10);
        let _ = write!(out, "<figure><h3>{}</h3>", self.title);
        self.legend(&mut out);
        let _ = write!(
            out,
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}; the numbers are in the table below\">",
            self.title
        );
        let mut value = 0.0;
        while value <= step * steps * 1.001 {
            let y = bottom - tall(value);
            let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.0}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}{unit}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                shortly(value)
            );
            value += step;
        }
        let slot = plot_width / self.bars.len().max(8) as f64;
        for (index, bar) in self.bars.iter().enumerate() {
            self.bar(&mut out, bar, LEFT + index as f64 * slot, slot, tall);
        }
        self.lines(&mut out, slot);
        out.push_str("</svg>");
        self.table(&mut out);
        out.push_str("</figure>");
        out
    }

    fn legend(&self, out: &mut String) {
        if self.pieces.len() > 1 {
            out.push_str("<ul class=\"legend\">");
            for (class, name) in self.pieces {
                let _ = write!(
                    out,
                    "<li><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"bar {class}\" width=\"10\" height=\"10\" rx=\"2\"/></svg>{name}</li>"
                );
            }
            out.push_str("</ul>");
        }
    }

    /// The lines, and over all of them their labels: of three, the first is to the left, the last above the one before.
    fn lines(&self, out: &mut String, slot: f64) {
        let mut labels = String::new();
        for ((at, label), number) in self.lines.iter().zip(0_u32..) {
            let x = LEFT + at * slot;
            let y = TOP - if number == 2 { 21.0 } else { 10.0 };
            let is_left = number == 0 || x > WIDTH - 60.0;
            let (anchor, x_label) = if is_left { ("end", x - 4.0) } else { ("start", x + 4.0) };
            let _ = write!(out, "<path class=\"line\" d=\"M{x:.1} {:.1}V{:.1}\"/>", y - 8.0, HEIGHT - BOTTOM);
            let _ = write!(
                labels,
                "<text class=\"line\" x=\"{x_label:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>"
            );
        }
        out.push_str(&labels);
    }

    fn bar(&self, out: &mut String, bar: &Bar, x: f64, slot: f64, tall: impl Fn(f64) -> f64) {
        let bottom = HEIGHT - BOTTOM;
        let _ = write!(out, "<g><title>{}: {}</title>", bar.title, self.in_words(bar));
        // The whole column, so that a tooltip is as easy to meet over a low bar.
        let _ = write!(
            out,
            "<rect class=\"hit\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{slot:.1}\" height=\"{:.1}\"/>",
            bottom - TOP
        );
        let mut y = bottom;
        for (value, (class, _)) in bar.values.iter().zip(self.pieces) {
            let tall = tall(*value);
            if tall > 0.0 {
                y -= tall;
                let _ = write!(
                    out,
                    "<rect class=\"bar {class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>",
                    x + slot * 0.1,
                    slot * 0.8
                );
            }
        }
        out.push_str("</g>");
        if !bar.label.is_empty() {
            // The scale of a speed, a score and the clock: a bar begins at its number.
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
                x + slot * 0.1,
                HEIGHT - 7.0,
                bar.label
            );
        }
    }

    /// The values of a bar, those of several pieces with their names.
    fn in_words(&self, bar: &Bar) -> String {
        let words: Vec<String> = match bar.values.as_slice() {
            [value] => vec![(self.words)(*value)],
            values => values
                .iter()
                .zip(self.pieces)
                .map(|(value, (_, name))| format!("{} {name}", (self.words)(*value)))
                .collect(),
        };
        words.join(", ")
    }

    fn table(&self, out: &mut String) {
        let _ = write!(
            out,
            "<details><summary>As a table</summary><table class=\"list\"><thead><tr><th scope=\"col\"></th>"
        );
        for (_, name) in self.pieces {
            let _ = write!(out, "<th scope=\"col\" class=\"num\">{name}</th>");
        }
        out.push_str("</tr></thead><tbody>");
        for bar in self.bars.iter().filter(|bar| bar.values.iter().any(|value| *value > 0.0)) {
            let _ = write!(out, "<tr><th scope=\"row\">{}</th>", bar.title);
            for value in &bar.values {
                let _ = write!(out, "<td class=\"num\">{}</td>", (self.words)(*value));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></details>");
    }
}

/// A number of an axis: `0.5`, `20`, `1,500`.
fn shortly(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of an axis")]
    let whole = value.round() as u64;
    if (value - value.round()).abs() < 1e-6 { human::count(whole) } else { format!("{value:.1}") }
}
