//! Which share of a day one worker does.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use chrono::NaiveDate;

/// More parts than vehicles help nobody.
const MOST_PARTS: u32 = 10_000;

/// One of several shares of a day's trips: `2/8`. Written by anyone, on any machine, the shares with the same number of parts have no
/// trip in common and together all of them.
///
/// A vehicle and its day are never parted, so that a part's tables have whole vehicles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    index: u32,
    of: NonZeroU32,
}

impl Part {
    /// All of it: part 1 of 1.
    pub const WHOLE: Self = Self { index: 1, of: NonZeroU32::MIN };

    /// Part `index`, counted from 1, of `of`. `None` unless 1 <= `index` <= `of` <= 10,000.
    pub fn new(index: u32, of: u32) -> Option<Self> {
        let of = NonZeroU32::new(of).filter(|of| of.get() <= MOST_PARTS)?;
        (1..=of.get()).contains(&index).then_some(Self { index, of })
    }

    /// All parts of a day that is parted into `of`. None for 0 and for more than 10,000.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (1..=of).map_while(move |index| Self::new(index, of))
    }

    /// Which one it is, counted from 1.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    pub fn of(self) -> u32 {
        self.of.get()
    }

    /// Whether the trips of this vehicle on this day are in this part.
    ///
    /// The part is the remainder of a hash of `VEHICLE/2026-11-23`: FNV-1a with 64 bits
    /// (<https://datatracker.ietf.org/doc/html/rfc9923>), its upper half folded into the lower one. It depends on nothing else,
    /// so it is the same on every machine and in every version.
    pub fn has(self, vehicle: &str, day: NaiveDate) -> bool {
        let hash = fnv1a(format!("{vehicle}/{day}").as_bytes());
        // The low bits of FNV-1a alone are not spread evenly enough.
        let folded = (hash >> 32) ^ hash;
        (folded & u64::from(u32::MAX)) % u64::from(self.of.get()) == u64::from(self.index - 1)
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// As it is typed: `2/8`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        numbers.and_then(|(index, of)| Self::new(index, of)).ok_or_else(|| {
            format!("a part is its number and how many there are, from 1/1 to {MOST_PARTS}/{MOST_PARTS}: the second of eight is 2/8")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn part_of(vehicle: &str, date: &str, of: u32) -> u32 {
        let having: Vec<_> = Part::all(of).filter(|part| part.has(vehicle, day(date))).collect();
        assert_eq!(having.len(), 1, "{vehicle} {date} of {of}");
        having[0].index()
    }

    #[test]
    fn the_hash_is_that_of_the_specification() {
        // Test vectors of the specification.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_part_is_the_same_on_every_machine() {
        let parts =
            |of| ["vehicle-001", "vehicle-002", "트럭"].map(|vehicle| part_of(vehicle, "2026-11-23", of));
        assert_eq!(parts(1), [1, 1, 1]);
        // Others than these would leave trips out where machines of two versions work together.
        assert_eq!(parts(3), [2, 1, 1]);
        assert_eq!(parts(8), [4, 8, 2]);
    }

    #[test]
    fn parts_are_of_about_the_same_size() {
        for of in [2_u32, 3, 7, 8, 16] {
            let mut sizes = vec![0_u32; of as usize];
            for vehicle in 1..=2_000 {
                for date in ["2026-11-21", "2026-11-22"] {
                    sizes[part_of(&format!("vehicle-{vehicle:03}"), date, of) as usize - 1] += 1;
                }
            }
            let fair = 4_000 / of;
            // Four standard deviations of a fair throw.
            let slack = 4.0 * f64::from(fair).sqrt();
            for size in &sizes {
                assert!((f64::from(*size) - f64::from(fair)).abs() < slack, "{of}: {sizes:?}");
            }
        }
    }

    #[test]
    fn what_is_typed_is_read_and_what_cannot_be_is_explained() {
        assert_eq!("2/8".parse(), Ok(Part::new(2, 8).unwrap()));
        assert_eq!(Part::new(2, 8).unwrap().to_string(), "2/8");
        for bad in ["", "2", "0/8", "9/8", "2/0", "-1/2", "2/8/1", "1/10001", "99999999999/2", "a/b"] {
            let why = bad.parse::<Part>().unwrap_err();
            assert!(why.contains("2/8"), "{bad}: {why}");
        }
    }
}
