//! From a day of raw vehicle trips to what a fleet operator needs, and both into the bucket.

pub mod analysis;
pub mod aside;
mod atomic;
pub mod clean;
mod crossings;
pub mod day;
pub mod digest;
pub mod error;
pub mod facts;
pub mod figures;
pub mod files;
pub mod geo;
pub mod limits;
mod ordered;
pub mod overspeed;
pub mod page;
pub mod part;
pub mod point;
pub mod rapid;
pub mod read;
pub mod score;
pub mod settings;
pub mod summary;
pub mod tables;
pub mod trip;
pub mod upload;
pub mod zones;
