//! `backup init`: a first configuration.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;

use crate::cli::Init;
use crate::console;
use crate::exit::{Exit, Stop};

pub(crate) fn run(arguments: &Init) -> Result<Exit, Stop> {
    let path = &arguments.path;
    let mut options = OpenOptions::new();
    // Not writable by others: the file can run programs.
    options.write(true).mode(0o644);
    if arguments.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Stop::usage(format!("{} exists: it is left as it is; --force replaces it", path.display()))
        }
        _ => Stop::failed(format!("cannot write {}: {error}", path.display())),
    })?;
    let written = file.write_all(s3backup_config::template().as_bytes());
    written.map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))?;
    let next = format!(
        "wrote {}: fill in [[source]] path and [destination] bucket, then look at `backup plan`",
        path.display()
    );
    console::print(&next).map_err(|error| Stop::failed(error.to_string()))?;
    Ok(Exit::Success)
}
