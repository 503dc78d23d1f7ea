//! What a map has around its subject: the degrees, the bar of the scale, the arrow to the north.

use std::fmt::Write as _;

use crate::page::projection::{Projection, WIDTH};
use crate::page::words;

/// Lines of latitude and longitude at round numbers, with their degrees.
pub(super) fn graticule(out: &mut String, projection: &Projection) {
    out.push_str("<g class=\"graticule\">");
    for (line, label) in lines(projection.latitudes(), "N", "S", |latitude| latitude) {
        let (_, y) = projection.place(line, projection.longitudes().0);
        let _ = write!(out, "<path d=\"M0 {y:.1}H{WIDTH}\"/>");
        // Not where the bar of the scale is, nor over the top.
        if (40.0..projection.height - 60.0).contains(&y) {
            let _ = write!(out, "<text x=\"6\" y=\"{:.1}\">{label}</text>", y - 4.0);
        }
    }
    let around = |longitude: f64| (longitude + 180.0).rem_euclid(360.0) - 180.0;
    for (line, label) in lines(projection.longitudes(), "E", "W", around) {
        let (x, _) = projection.place(0.0, line);
        let _ = write!(out, "<path d=\"M{x:.1} 0V{:.0}\"/>", projection.height);
        if x < WIDTH - 100.0 {
            let _ = write!(out, "<text class=\"hanging\" x=\"{:.1}\" y=\"6\">{label}</text>", x + 4.0);
        }
    }
    out.push_str("</g>");
}

/// Round degrees between two, and their labels.
fn lines(
    (from, to): (f64, f64),
    positive: &str,
    negative: &str,
    shown: impl Fn(f64) -> f64,
) -> Vec<(f64, String)> {
    let step = words::round_step((to - from) / 5.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 3")]
    let digits = (-step.log10().floor()).clamp(0.0, 3.0) as usize;
    let first = (from / step).ceil();
    (0..12_u32)
        .map(|index| (first + f64::from(index)) * step)
        .take_while(|line| *line < to)
        .map(|line| {
            let degrees = shown(line);
            let side = if degrees < 0.0 { negative } else { positive };
            (line, format!("{:.digits$}° {side}", degrees.abs()))
        })
        .collect()
}

/// The bar of the scale and the arrow to the north.
pub(super) fn furniture(out: &mut String, projection: &Projection) {
    let unit = projection.units_per_metre();
    let metres = words::round_step(110.0 / unit);
    let wide = metres * unit;
    let label =
        if metres >= 1000.0 { format!("{:.0} km", metres / 1000.0) } else { format!("{metres:.0} m") };
    let (left, bottom) = (16.0, projection.height - 16.0);
    let _ = write!(
        out,
        "<g class=\"furniture\"><rect class=\"plate\" x=\"{:.0}\" y=\"{:.0}\" width=\"{:.0}\" height=\"32\" rx=\"6\"/><path d=\"M{left} {:.0}v6h{wide:.1}v-6\"/><text x=\"{left}\" y=\"{:.0}\">{label}</text>",
        left - 8.0,
        bottom - 24.0,
        wide + 16.0,
        bottom - 4.0,
        bottom - 8.0
    );
    let x = WIDTH - 28.0;
    let _ = write!(
        out,
        "<rect class=\"plate\" x=\"{:.0}\" y=\"{:.0}\" width=\"32\" height=\"44\" rx=\"6\"/><path class=\"north\" d=\"M{x} {:.0}l7 18l-7-4l-7 4z\"/><text x=\"{x}\" y=\"{:.0}\" text-anchor=\"middle\">N</text></g>",
        x - 16.0,
        bottom - 36.0,
        bottom - 32.0,
        bottom + 3.0
    );
}
