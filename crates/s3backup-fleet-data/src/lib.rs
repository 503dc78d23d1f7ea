//! Trips of a fleet of vehicles, made up, with a known truth.
//!
//! A backup can only be shown to be right on data of which everything is known beforehand: how many files, of
//! which day, with how many bytes, and which of them are damaged in the ways real data is. [`FleetData`]
//! describes such a set, writes it below a folder or hands it out in memory, and says in a [`Truth`] what it
//! made. It feeds the demo, the tests and the examples.
//!
//! ```
//! use chrono::NaiveDate;
//! use s3backup_fleet_data::FleetData;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let out = folder.path().join("trips");
//! let end_day = NaiveDate::from_ymd_opt(2026, 11, 23).ok_or("no such date")?;
//! let truth = FleetData::new()
//!     .vehicles(2)
//!     .days(3)
//!     .end_day(end_day)
//!     .trips_per_day(4)
//!     .points_per_trip(120)
//!     .seed(42)
//!     .write_to(&out)?;
//!
//! assert_eq!(truth.total.files, 2 * 3 * 4);
//! assert_eq!(truth.by_day[&end_day].files, 2 * 4);
//! # Ok(())
//! # }
//! ```
//!
//! # What the files look like
//!
//! `vehicle-001/2026-11-23/trip_081502.json`: a folder per vehicle and day, a file a trip, named after the local
//! time of its start. Each line is one GPS point:
//!
//! ```json
//! {"t":"2026-11-23T08:15:02.000+09:00","lat":37.566535,"lon":126.977969,"speed_kmh":42.1,"heading_deg":183.0,"road":"primary"}
//! ```
//!
//! or the same as CSV ([`Format`]). All trips of a day lie between 05:00 and 23:00 local time, and a file's modification
//! time is that of its last point, so the day in the path, the day in the lines and the day of the modification time agree.
//!
//! # How vehicles move
//!
//! A vehicle drives around Seoul, between 37.30 and 37.80 degrees north and 126.70 and 127.25 degrees east: it speeds up,
//! brakes, stands at lights, turns, and goes from one class of road to another. The drive is continuous in time, and only
//! then sampled: it is the same however often one looks. Speed and heading of a point are those of its instant. Ordinary
//! driving keeps to 80 % of the limit and of every acceleration that is looked for.
//!
//! # Events
//!
//! Now and then, and some drivers more often than others, something is done on purpose of being found: an overspeed, a
//! harsh acceleration or braking, a sharp turn, from 5 % above the threshold to twice it; and about as often something that
//! must not be found, as it is 5 % below ([`Event::near_miss`]). When each began and ended is in [`TripTruth::events`], so a
//! detector can be held against it. With [`FleetData::gps_noise`] the points have the errors of a common receiver.
//!
//! # Faults
//!
//! Real data has gaps, repeated points, points out of order, broken lines, points and speeds that cannot be, and empty
//! files. [`FaultRates`] says how often each occurs, [`FaultCounts`] how often it did. Two faults never touch, and the end of a trip is always
//! sound, so that a reader can count each fault and come to the very numbers of the truth.
//!
//! # The same everywhere
//!
//! The same options give the same bytes, names and times on every machine: the random numbers come from a generator
//! of this crate, and so do sine and cosine; sums, products and roots are the same everywhere (IEEE 754). A trip depends on the seed, its vehicle, its day and its
//! number in that day, not on the other trips: more vehicles or another last day leave the files that both sets
//! have in common as they are (unless [`FleetData::of_size`] gives them another length). What a *new version* of
//! this crate generates may differ.
//!
//! # What it does not do
//!
//! It reads nothing back, removes nothing, and takes no part in a backup.

mod angle;
mod driver;
mod earth;
mod error;
mod event;
mod faults;
mod fleet;
mod motion;
mod piece;
mod plan;
mod random;
mod receiver;
mod road;
mod text;
mod trip;
mod truth;
mod write;

pub use error::Error;
pub use event::{Event, EventKind, EventLine};
pub use faults::{FaultCounts, FaultRates};
pub use fleet::{FleetData, Trips};
pub use text::Format;
pub use trip::Trip;
pub use truth::{Totals, TripTruth, Truth};
pub use write::Progress;
