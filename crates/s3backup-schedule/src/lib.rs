#![doc = include_str!("../README.md")]

mod error;
mod expression;
mod schedule;
mod timer;

pub use error::Error;
pub use schedule::{Due, DueTime, Schedule};
pub use timer::{Cause, NAP, Timer, Turn, jitter};
