//! Shows how backups stand: [`render`] makes one self-contained HTML page of it, and [`metrics`] what Prometheus reads.
//!
//! Values in, text out: the crate has no clock, reads nothing and decides nothing that a run depends on. What it is given is
//! hostile, because names of files and messages of servers are in it: all of it is escaped, and what makes one text look
//! like another (control characters, marks of direction) is shown by its number.
//!
//! The page needs no script and loads nothing, so it works as a file, and a server sends it with [`CSP`].
//!
//! ```
//! use s3backup_report::{JobPage, Page};
//! use s3backup_model::Name;
//!
//! let job = JobPage::new(Name::new("telemetry")?, Name::new("gateway-1")?, "s3://fleet-backup/trips");
//! let made_at = "2026-11-28T21:00:00+09:00".parse()?;
//! let html = s3backup_report::render(&Page { made_at, jobs: vec![job.clone()], live: false });
//! assert!(html.starts_with("<!doctype html>") && html.contains("telemetry"));
//! assert!(s3backup_report::metrics(&[job]).contains("backup_late{job=\"telemetry\",host=\"gateway-1\"} 0\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calendar;
mod chart;
mod escape;
pub mod human;
mod metrics;
mod page;
mod render;
mod tables;
mod verdict;

pub use escape::Text;
pub use metrics::metrics;
pub use page::{Failures, JobPage, Page, Progress, Running, Trouble};
pub use render::{CSP, render};
