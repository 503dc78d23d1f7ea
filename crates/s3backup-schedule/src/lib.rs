#![doc = include_str!("../README.md")]

mod error;
mod expression;
mod schedule;

pub use error::Error;
pub use schedule::{Due, DueTime, Schedule};
