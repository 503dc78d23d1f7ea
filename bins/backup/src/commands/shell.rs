//! `backup completions` and `backup man`.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{Exit, Stop};

pub(crate) fn completions(shell: Shell) -> Result<Exit, Stop> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "backup", &mut script);
    print(&script)
}

pub(crate) fn man(out: Option<&Path>) -> Result<Exit, Stop> {
    if let Some(folder) = out {
        let made = clap_mangen::generate_to(Cli::command(), folder);
        made.map_err(|error| Stop::failed(format!("cannot write pages into {}: {error}", folder.display())))?;
        return Ok(Exit::Success);
    }
    let mut page = Vec::new();
    let made = clap_mangen::Man::new(Cli::command()).render(&mut page);
    made.map_err(|error| Stop::failed(format!("cannot make the page: {error}")))?;
    print(&page)
}

fn print(bytes: &[u8]) -> Result<Exit, Stop> {
    use io::Write;
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Stop::failed(format!("cannot print: {error}")))
        }
        _ => Ok(Exit::Success),
    }
}
