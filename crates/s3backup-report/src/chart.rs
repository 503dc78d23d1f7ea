//! Bar charts of the last runs, as inline SVG.

use std::fmt::Write as _;

use s3backup_model::{Outcome, RunSummary};

use crate::human;

/// The most runs that are drawn: more than two months of daily ones.
pub(crate) const RUNS: usize = 60;

/// The size of a drawing in its own units, and of the room that its axes take.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 176.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 6.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 24.0;

/// What is drawn of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measure {
    Files,
    Bytes,
    Duration,
}

impl Measure {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Files => "Files sent",
            Self::Bytes => "Data sent",
            Self::Duration => "Duration",
        }
    }

    fn of(self, run: &RunSummary) -> f64 {
        match self {
            Self::Files => run.uploaded.files as f64,
            Self::Bytes => run.uploaded.bytes as f64,
            Self::Duration => (run.finished_at - run.started_at).as_seconds_f64().max(0.0),
        }
    }

    /// A value of a run in words.
    fn words(self, value: f64) -> String {
        match self {
            Self::Files => human::files(whole(value)),
            Self::Bytes => human::size(whole(value)),
            Self::Duration => human::duration(value),
        }
    }

    /// Units that an axis can be labelled in, the largest first.
    fn units(self) -> &'static [(f64, &'static str)] {
        const MI: f64 = (1 << 20) as f64;
        match self {
            Self::Files => &[(1e6, " M"), (1e3, " k"), (1.0, "")],
            Self::Bytes => {
                &[(MI * MI, " TiB"), (MI * 1024.0, " GiB"), (MI, " MiB"), (1024.0, " KiB"), (1.0, " B")]
            }
            Self::Duration => &[(3600.0, " h"), (60.0, " min"), (1.0, " s")],
        }
    }
}

/// A scale from zero to a round number that is not below `most`, in four steps or fewer.
#[derive(Debug, PartialEq)]
struct Axis {
    step: f64,
    steps: u32,
    unit: f64,
    suffix: &'static str,
}

impl Axis {
    fn new(measure: Measure, most: f64) -> Self {
        let units = measure.units();
        let smallest = units.last().copied().unwrap_or((1.0, ""));
        let (unit, suffix) = units.iter().copied().find(|(unit, _)| *unit <= most).unwrap_or(smallest);
        let wanted = (most / unit / 4.0).max(0.25);
        let power = 10f64.powf(wanted.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= wanted);
        let step = step.unwrap_or(10.0 * power);
        // Part of a file or a byte there is not.
        let step = if unit <= 1.0 { step.ceil() } else { step };
        let steps = (most / unit / step).ceil().clamp(1.0, 4.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 4")]
        Self { step, steps: steps as u32, unit, suffix }
    }

    fn top(&self) -> f64 {
        self.step * f64::from(self.steps) * self.unit
    }

    fn label(&self, step: u32) -> String {
        if step == 0 { "0".to_owned() } else { format!("{}{}", self.step * f64::from(step), self.suffix) }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a whole number before")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// Draws the runs, which are given newest first; the newest is drawn on the right.
pub(crate) fn bars(runs: &[RunSummary], measure: Measure) -> String {
    let runs = runs.get(..RUNS).unwrap_or(runs);
    let most = runs.iter().map(|run| measure.of(run)).fold(0.0, f64::max);
    let axis = Axis::new(measure, most);
    let (plot_width, plot_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let bottom = HEIGHT - BOTTOM;
    let height = |value: f64| value / axis.top() * plot_height;
    let mut out = String::with_capacity(16 << 10);
    let _ = write!(
        out,
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        in_words(runs, measure, most)
    );
    for step in 0..=axis.steps {
        let y = bottom - height(axis.step * f64::from(step) * axis.unit);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 3.5,
            axis.label(step)
        );
    }
    // A few runs are not drawn as slabs.
    let slot = plot_width / runs.len().max(20) as f64;
    for (run, place) in runs.iter().zip(1_u32..) {
        let value = measure.of(run);
        let x = WIDTH - RIGHT - f64::from(place) * slot + slot * 0.12;
        let tall = height(value).max(if value > 0.0 { 1.5 } else { 0.0 });
        let class = match run.outcome {
            Outcome::Success => "ok",
            Outcome::Partial | Outcome::Interrupted => "part",
            Outcome::Failed => "fail",
        };
        // The whole column, so that a tooltip is as easy to meet over a low bar.
        let _ = write!(
            out,
            "<g><title>{}: {}, {}</title><rect class=\"hit\" x=\"{:.1}\" y=\"{TOP}\" width=\"{slot:.1}\" height=\"{plot_height}\"/><rect class=\"bar {class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>",
            run.started_at.format("%Y-%m-%d %H:%M"),
            measure.words(value),
            run.outcome.as_str(),
            x - slot * 0.12,
            bottom - tall,
            slot * 0.76,
        );
        if run.outcome != Outcome::Success {
            let middle = x + slot * 0.38;
            let _ = write!(
                out,
                "<path class=\"mark {class}\" d=\"M{middle:.1} {:.1}l3 -5h-6z\"/>",
                bottom - tall - 2.0
            );
        }
        out.push_str("</g>");
    }
    if let (Some(newest), Some(oldest)) = (runs.first(), runs.last()) {
        let y = HEIGHT - 7.0;
        let from = WIDTH - RIGHT - runs.len() as f64 * slot;
        // Side by side they need so much room.
        if WIDTH - RIGHT - from > 90.0 {
            let _ =
                write!(out, "<text x=\"{from:.1}\" y=\"{y}\">{}</text>", oldest.started_at.format("%-d %b"));
        }
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            newest.started_at.format("%-d %b")
        );
    }
    out.push_str("</svg>");
    out
}

/// The chart for who does not see it.
fn in_words(runs: &[RunSummary], measure: Measure, most: f64) -> String {
    let mut values: Vec<f64> = runs.iter().map(|run| measure.of(run)).collect();
    let newest = values.first().copied().unwrap_or_default();
    values.sort_by(f64::total_cmp);
    let usual = values.get(values.len() / 2).copied().unwrap_or_default();
    format!(
        "{} in the last {} runs: usually {}, at most {}, in the newest {}",
        measure.title(),
        runs.len(),
        measure.words(usual),
        measure.words(most),
        measure.words(newest)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(measure: Measure, most: f64) -> Vec<String> {
        let axis = Axis::new(measure, most);
        assert!(axis.top() >= most, "{axis:?}");
        (0..=axis.steps).map(|step| axis.label(step)).collect()
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(labels(Measure::Files, 0.0), ["0", "1"]);
        assert_eq!(labels(Measure::Files, 3.0), ["0", "1", "2", "3"]);
        assert_eq!(labels(Measure::Files, 1240.0), ["0", "0.5 k", "1 k", "1.5 k"]);
        assert_eq!(labels(Measure::Files, 87.0), ["0", "25", "50", "75", "100"]);
        assert_eq!(labels(Measure::Bytes, 1.2e9), ["0", "0.5 GiB", "1 GiB", "1.5 GiB"]);
        assert_eq!(labels(Measure::Duration, 250.0), ["0", "2 min", "4 min", "6 min"]);
        assert_eq!(labels(Measure::Duration, 0.4), ["0", "1 s"]);
        for most in [1.0, 7.0, 99.0, 1e3, 1_048_575.0, 5e13, u64::MAX as f64] {
            for measure in [Measure::Files, Measure::Bytes, Measure::Duration] {
                assert!(labels(measure, most).len() <= 5);
            }
        }
    }
}
