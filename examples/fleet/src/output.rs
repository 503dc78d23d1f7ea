//! Results go to stdout, all else to stderr.

use std::io::{self, Write};

use crate::exit::Stop;

/// Prints a part of the result as it stands. A reader that went away (`fleet errors | head`) ends the output quietly.
pub(crate) fn print(text: &str) -> Result<(), Stop> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Stop::failed(format!("cannot print the result: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line of the result.
pub(crate) fn print_line(line: &str) -> Result<(), Stop> {
    print(&format!("{line}\n"))
}

/// Says something on stderr. If that is closed there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
