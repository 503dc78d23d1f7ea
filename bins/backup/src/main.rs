//! The command line of s3backup: parses, composes the crates, prints, and ends with a documented exit code.
//!
//! Nothing that an embedding program could use lives here.

mod cli;
mod commands;
mod console;
mod exit;
mod serve;
mod session;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use s3backup_core::report::human;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Stop};

/// Threads that walk, read and hash. Work that finds none free waits.
const BLOCKING_THREADS: usize = 64;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Stop::failed(format!("cannot start the program's threads: {error}"))),
    };
    let result = runtime.block_on(dispatch(cli));
    // A thread that hangs in a dead network file system must not keep the process from ending.
    runtime.shutdown_timeout(Duration::from_millis(50));
    match result {
        Ok(exit) => exit.into(),
        Err(stop) => fail(&stop),
    }
}

async fn dispatch(cli: Cli) -> Result<Exit, Stop> {
    let Cli { common, command } = cli;
    match command {
        Command::Init(arguments) => commands::init::run(&arguments),
        Command::Config => commands::config::run(&common),
        Command::Run(arguments) if arguments.dry_run => commands::plan::dry_run(&common).await,
        Command::Run(arguments) => commands::run::run(&common, &arguments).await,
        Command::Commit(arguments) => commands::commit::run(&common, &arguments).await,
        Command::Schedule(arguments) => commands::schedule::run(&common, &arguments).await,
        Command::Plan(arguments) => commands::plan::run(&common, &arguments).await,
        Command::Steps(arguments) => commands::run::steps(&common, &arguments).await,
        Command::Prune(arguments) => commands::prune::run(&common, &arguments).await,
        Command::Ls(arguments) => commands::ls::run(&common, &arguments).await,
        Command::Restore(arguments) => commands::restore::run(&common, &arguments).await,
        Command::Verify(arguments) => commands::verify::run(&common, &arguments).await,
        Command::Adopt(arguments) => commands::adopt::run(&common, &arguments).await,
        Command::Monitor(arguments) => commands::monitor::run(&common, &arguments).await,
        Command::Status(arguments) => commands::status::run(&common, &arguments).await,
        Command::History(arguments) => commands::history::run(&common, &arguments).await,
        Command::Report(arguments) => commands::report::run(&common, &arguments).await,
        Command::Slack(cli::Slack { test: _ }) => commands::slack::test(&common).await,
        Command::Silence(arguments) => commands::silence::run(&common, &arguments).await,
        Command::Doctor => Box::pin(commands::doctor::run(&common)).await,
        Command::Install(cli::Install::Systemd(arguments)) => {
            commands::install::systemd(&common, &arguments).await
        }
        Command::Demo(arguments) => commands::demo::run(&common, &arguments).await,
        Command::GenerateData(arguments) => commands::generate_data::run(&common, &arguments),
        Command::Completions { shell } => commands::shell::completions(shell),
        Command::Man { out } => commands::shell::man(out.as_deref()),
    }
}

fn fail(stop: &Stop) -> ExitCode {
    console::say_error(&stop.message);
    stop.exit.into()
}
