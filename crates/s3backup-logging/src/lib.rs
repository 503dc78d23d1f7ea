//! Console and date-stamped log files for `s3backup`, on [`slog`].
//!
//! [`LoggerManager`] owns the outputs: the console and, below one directory,
//! `info_log_<job>_<YYYYMMDD>.log` (everything at the chosen level) and
//! `error_log_<job>_<YYYYMMDD>.log` (errors only). Dates are those of the job's time zone. A file
//! is rolled at midnight and at a maximal size, and removed after a number of days.
//!
//! ```
//! use s3backup_logging::{Console, LoggerManager};
//!
//! # let folder = tempfile::tempdir()?;
//! # let logs = folder.path().join("Logs");
//! let logging = LoggerManager::builder("telemetry")
//!     .dir(logs)
//!     .timezone(chrono_tz::Asia::Seoul)
//!     .console(Console::Off)
//!     .build();
//!
//! logging.info("run started");
//! let uploads = logging.logger().new(slog::o!("bucket" => "trips"));
//! slog::info!(uploads, "object uploaded"; "key" => "a/b.json", "size" => 4711);
//!
//! logging.flush();
//! let text = std::fs::read_to_string(logging.info_log_path().expect("a directory was given"))?;
//! assert!(text.contains("object uploaded key=a/b.json size=4711 bucket=trips"));
//! logging.finish();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - **Logging never blocks the caller.** Lines pass through one bounded queue to each of console
//!   and files, so that a stopped terminal does not keep lines from the files. When a queue is
//!   full the line is dropped, counted, and the count is said in the log as soon as there is room.
//!   A quarter of each queue is reserved for warnings and errors, which a flood of lower lines
//!   therefore cannot push out. Blocking on them instead was rejected: a terminal that somebody
//!   paused would stop the backup at its first few warnings.
//! - **Nothing is lost at exit** if the manager is dropped or [finished](LoggerManager::finish).
//!   [`std::process::exit`] runs no destructors: finish the manager first.
//! - **A broken disk never ends a backup.** A directory or file that cannot be written is a warning
//!   on the console; lines meanwhile are counted, and the first line that can be written again is
//!   preceded by one that says how many were lost.
//! - **One record is one line.** Line breaks, escape sequences and characters that reorder text
//!   are escaped in messages and values, in files and on the console, so that a hostile file name
//!   can neither forge a line nor drive a terminal.
//! - **Several processes may write the same files.** Each line is one appending write, and only one
//!   process at a time rotates. This needs a local file system: NFS has no atomic append.
//!
//! The crate knows nothing of configuration files, of what a backup is, or of where its alerts go.

mod bridge;
mod builder;
mod complaint;
mod console;
mod entry;
mod error;
mod escape;
mod file;
mod format;
mod lane;
mod manager;
mod names;
mod retention;
mod rolling;
mod router;

pub use builder::{Builder, Clock, DEFAULT_KEEP_DAYS, DEFAULT_KEEP_FILES, DEFAULT_MAX_SIZE_BYTES};
pub use console::Console;
pub use error::Error;
pub use format::Format;
pub use manager::LoggerManager;
pub use slog::Level;
