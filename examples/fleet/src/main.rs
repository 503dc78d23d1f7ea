//! The command line of the fleet: parses, calls the library, prints, and ends with a documented exit code.

mod cli;
mod commands;
mod days;
mod exit;
mod output;
mod progress;
mod session;
mod signals;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Stop};
use crate::session::Session;

fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let session = match Session::new(common) {
        Ok(session) => session,
        Err(stop) => return fail(&stop),
    };
    let result = dispatch(&session, &command);
    // A thread that hangs in a dead network file system must not keep the process from ending.
    session.runtime.shutdown_timeout(Duration::from_millis(50));
    match result {
        Ok(exit) => exit.into(),
        Err(stop) => fail(&stop),
    }
}

fn dispatch(session: &Session, command: &Command) -> Result<Exit, Stop> {
    match command {
        Command::Clean(work) => commands::clean::run(session, work),
        Command::Overspeed(listing) => commands::overspeed::run(session, listing),
        Command::Rapid(listing) => commands::rapid::run(session, listing),
        Command::Statistics(work) => commands::statistics::run(session, work),
        Command::Errors(listing) => commands::errors::run(session, listing),
        Command::Run(arguments) => commands::run::run(session, arguments),
        Command::Score(arguments) => commands::score::run(session, arguments),
        Command::Demo(arguments) => commands::demo::run(session, arguments),
    }
}

fn fail(stop: &Stop) -> ExitCode {
    output::say(&format!("error: {}", stop.message));
    stop.exit.into()
}
