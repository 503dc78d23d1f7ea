//! Sine and cosine that are the same on every machine.
//!
//! Those of the platform's mathematics library may differ in the last digit from machine to machine, which would end
//! the promise of the same bytes. Sums and products of `f64`, of which these polynomials are made, may not (IEEE 754).

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// The coefficients of Taylor's series of `sin(x) / x` and of `cos(x)`, in powers of `x²`. Up to an eighth of a turn
/// the first one left out is below 1e-13.
const SINE: [f64; 7] = [
    1.0,
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5_040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
];
const COSINE: [f64; 8] = [
    1.0,
    -1.0 / 2.0,
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40_320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
    -1.0 / 87_178_291_200.0,
];

/// Sine and cosine of an angle of a few turns at most, in radians. Right to 1e-12.
pub(crate) fn sin_cos(angle_rad: f64) -> (f64, f64) {
    let quarters = (angle_rad * FRAC_2_PI).round();
    let rest = angle_rad - quarters * FRAC_PI_2;
    let square = rest * rest;
    let sine = rest * polynomial(&SINE, square);
    let cosine = polynomial(&COSINE, square);
    let quarter = quarters.rem_euclid(4.0);
    if quarter < 0.5 {
        (sine, cosine)
    } else if quarter < 1.5 {
        (cosine, -sine)
    } else if quarter < 2.5 {
        (-sine, -cosine)
    } else {
        (-cosine, sine)
    }
}

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_library() {
        for thousandth in -20_000_i32..20_000 {
            let angle = f64::from(thousandth) / 1_000.0;
            let (sine, cosine) = sin_cos(angle);
            assert!((sine - angle.sin()).abs() < 1e-12, "{angle}");
            assert!((cosine - angle.cos()).abs() < 1e-12, "{angle}");
        }
    }
}
