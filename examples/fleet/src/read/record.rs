//! What a line says, and whether it can be.

use crate::aside::Rule;
use crate::point::{Point, Road};

/// Why a line, or a file, is no use.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) rule: Rule,
    pub(super) detail: String,
}

impl Fault {
    pub(super) fn syntax(detail: String) -> Self {
        Self { rule: Rule::Syntax, detail }
    }

    pub(super) fn value(detail: String) -> Self {
        Self { rule: Rule::Value, detail }
    }
}

/// The values of a line, as they are written.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Record {
    pub(super) time_ms: Option<i64>,
    pub(super) latitude_deg: Option<f64>,
    pub(super) longitude_deg: Option<f64>,
    pub(super) speed_mps: Option<f64>,
    pub(super) speed_kmh: Option<f64>,
    pub(super) heading_deg: Option<f64>,
    pub(super) road: Option<Road>,
}

impl Record {
    /// The point, if all that it needs is there and within its range. Of two speeds that in metres a second counts.
    pub(super) fn point(self, line: u64) -> Result<Point, Fault> {
        let speed_mps = self.speed_mps.or(self.speed_kmh.map(|speed_kmh| speed_kmh / 3.6));
        let heading_deg =
            self.heading_deg.map(|heading| within("heading_deg", heading, 0.0, 360.0)).transpose()?;
        Ok(Point {
            time_ms: present("t", self.time_ms)?,
            latitude_deg: within("lat", present("lat", self.latitude_deg)?, -90.0, 90.0)?,
            longitude_deg: within("lon", present("lon", self.longitude_deg)?, -180.0, 180.0)?,
            speed_mps: within("speed", present("speed_kmh", speed_mps)?, 0.0, f64::MAX)?,
            heading_deg: heading_deg.map(|heading| if heading < 360.0 { heading } else { 0.0 }),
            road: self.road,
            line,
        })
    }
}

fn present<T>(name: &str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::value(format!("`{name}` is missing")))
}

fn within(name: &str, value: f64, least: f64, most: f64) -> Result<f64, Fault> {
    if (least..=most).contains(&value) {
        // Of the two zeros only one is left, so that points can be compared.
        return Ok(value + 0.0);
    }
    let range = if most < f64::MAX { format!("from {least} to {most}") } else { "0 or more".to_owned() };
    Err(Fault::value(format!("`{name}` is {value}, and not {range}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            time_ms: Some(0),
            latitude_deg: Some(37.5),
            longitude_deg: Some(127.0),
            speed_kmh: Some(36.0),
            ..Record::default()
        }
    }

    #[track_caller]
    fn refused(record: Record, detail: &str) {
        assert_eq!(record.point(1), Err(Fault::value(detail.to_owned())));
    }

    #[test]
    fn values_become_a_point_in_si_units() {
        let point =
            Record { heading_deg: Some(360.0), longitude_deg: Some(-0.0), ..record() }.point(7).unwrap();
        assert_eq!((point.line, point.speed_mps, point.heading_deg), (7, 10.0, Some(0.0)));
        assert!(point.longitude_deg.is_sign_positive());
        let point = Record { speed_mps: Some(11.0), ..record() }.point(1).unwrap();
        assert_eq!(point.speed_mps.to_bits(), 11.0_f64.to_bits());
        for end in [90.0, -90.0] {
            assert!(
                Record { latitude_deg: Some(end), longitude_deg: Some(2.0 * end), ..record() }
                    .point(1)
                    .is_ok()
            );
        }
    }

    #[test]
    fn what_cannot_be_is_said_with_its_value() {
        refused(Record { time_ms: None, ..record() }, "`t` is missing");
        refused(Record { speed_kmh: None, ..record() }, "`speed_kmh` is missing");
        refused(Record { latitude_deg: Some(91.0), ..record() }, "`lat` is 91, and not from -90 to 90");
        refused(
            Record { longitude_deg: Some(-180.5), ..record() },
            "`lon` is -180.5, and not from -180 to 180",
        );
        refused(
            Record { longitude_deg: Some(f64::NAN), ..record() },
            "`lon` is NaN, and not from -180 to 180",
        );
        refused(Record { speed_mps: Some(-0.1), ..record() }, "`speed` is -0.1, and not 0 or more");
        refused(Record { speed_mps: Some(f64::INFINITY), ..record() }, "`speed` is inf, and not 0 or more");
        refused(
            Record { heading_deg: Some(361.0), ..record() },
            "`heading_deg` is 361, and not from 0 to 360",
        );
    }
}
