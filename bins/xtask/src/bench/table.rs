//! What was measured, as a Markdown table.

use super::measure::Cost;
use super::workload::Amount;

/// Files of less than this are counted, others are weighed.
const LARGE_BYTES: u64 = 16 * 1024 * 1024;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// The runs of one tool.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) costs: Vec<Cost>,
}

impl Series {
    /// One figure of all runs, sorted.
    fn sorted(&self, figure: impl Fn(&Cost) -> f64) -> Vec<f64> {
        let mut values: Vec<_> = self.costs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn walls(&self) -> Vec<f64> {
        self.sorted(|cost| cost.wall_seconds)
    }
}

/// A line for each tool. The first tool is ours, the others are its peers.
pub(crate) fn render(amount: &Amount, all: &[Series]) -> String {
    let peers = all.iter().skip(1);
    let best_peer = peers.map(|series| median(&series.walls())).fold(f64::INFINITY, f64::min);
    let (unit, per_unit) = unit(amount);
    let mut lines = vec![
        format!("| tool | wall | to the best peer | CPU | {unit} | peak memory |"),
        "| --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    for series in all {
        let walls = series.walls();
        let wall = median(&walls);
        let (least, most) = (walls.first().unwrap_or(&wall), walls.last().unwrap_or(&wall));
        let cpu = median(&series.sorted(|cost| cost.cpu_seconds));
        let peak = median(&series.sorted(|cost| cost.peak_mib));
        let (name, ratio, each) = (series.name, wall / best_peer, per_unit(cpu));
        lines.push(format!(
            "| {name} | {wall:.2} s ({least:.2} to {most:.2}) | {ratio:.2} | {cpu:.2} s | {each} | {peak:.0} MiB |"
        ));
    }
    lines.join("\n") + "\n"
}

/// How CPU time is told so that it can be compared between scales.
fn unit(amount: &Amount) -> (&'static str, Box<dyn Fn(f64) -> String>) {
    let Amount { files, bytes } = *amount;
    if bytes / files.max(1) < LARGE_BYTES {
        ("CPU a file", Box::new(move |cpu| format!("{:.0} µs", cpu * 1e6 / files as f64)))
    } else {
        ("CPU a GiB", Box::new(move |cpu| format!("{:.2} s", cpu * GIB / bytes as f64)))
    }
}

/// Of sorted values; the mean of the two in the middle if there is no one there.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &'static str, walls: &[f64]) -> Series {
        let cost = |&wall_seconds: &f64| Cost { wall_seconds, cpu_seconds: 2.0, peak_mib: 30.4 };
        Series { name, costs: walls.iter().map(cost).collect() }
    }

    #[test]
    fn ours_stands_beside_the_best_peer() {
        let amount = Amount { files: 20_000, bytes: 20_000 * 4096 };
        let all = [series("ours", &[2.0, 9.0, 1.0]), series("a", &[4.0, 4.0, 4.0]), series("b", &[8.0, 8.0])];
        let text = render(&amount, &all);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("CPU a file"), "{text}");
        assert_eq!(lines[2], "| ours | 2.00 s (1.00 to 9.00) | 0.50 | 2.00 s | 100 µs | 30 MiB |");
        assert_eq!(lines[3], "| a | 4.00 s (4.00 to 4.00) | 1.00 | 2.00 s | 100 µs | 30 MiB |");
        assert!(lines[4].contains("| 2.00 |"), "{text}");
    }

    #[test]
    fn large_files_are_weighed() {
        let amount = Amount { files: 2, bytes: 4 << 30 };
        let text = render(&amount, &[series("ours", &[1.0]), series("a", &[1.0])]);
        assert!(text.contains("CPU a GiB") && text.contains("| 0.50 s |"), "{text}");
    }
}
