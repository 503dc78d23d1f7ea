//! `cargo xtask bench`: our binary beside other tools, with the same files and against the same server.
//!
//! The server is our own, started anew in a process of its own for each upload, and throws the data away: what is
//! measured is the client, not a disk. The tools take turns within a round, so that whatever else the machine does meets
//! all of them; the first round fills caches and does not count.

mod contestant;
mod measure;
mod server;
mod table;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use self::contestant::Contestant;
use self::measure::Cost;
use self::server::Server;
use self::table::Series;
use self::workload::{Amount, Workload};
use crate::process;
use crate::tools::Peers;

/// What to measure.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    workloads: Vec<Workload>,
    /// Downloads instead of uploads.
    restore: bool,
    /// Rounds that count.
    rounds: usize,
    /// How large the workloads are; 1 is as documented.
    scale: f64,
    /// By how much the server delays each reply.
    latency_ms: u64,
    /// Where files are made; the system's temporary folder if `None`.
    scratch: Option<PathBuf>,
    /// Our binary; built if `None`.
    backup: Option<PathBuf>,
}

impl Request {
    /// Reads the options that the help names.
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut request = Self {
            workloads: Vec::new(),
            restore: false,
            rounds: 3,
            scale: 1.0,
            latency_ms: 0,
            scratch: None,
            backup: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--workload" => request.workloads.push(Workload::named(value()?)?),
                "--restore" => request.restore = true,
                "--rounds" => request.rounds = number(word, value()?)?,
                "--scale" => request.scale = number(word, value()?)?,
                "--latency-ms" => request.latency_ms = number(word, value()?)?,
                "--scratch" => request.scratch = Some(value()?.into()),
                "--backup" => request.backup = Some(value()?.into()),
                other => bail!("unknown argument `{other}`; `cargo xtask help` lists them"),
            }
        }
        ensure!(request.rounds > 0, "`--rounds` must be at least 1");
        ensure!(request.scale > 0.0 && request.scale <= 100.0, "`--scale` must be above 0 and at most 100");
        if request.workloads.is_empty() {
            request.workloads = Workload::ALL.to_vec();
        }
        Ok(request)
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T> {
    text.parse().ok().with_context(|| format!("`{option}` needs a number, not `{text}`"))
}

/// Fetches and builds what is needed, measures, and prints a table for each workload.
pub(crate) fn run(request: &Request) -> Result<()> {
    measure::check()?;
    let (backup, serve) = build(request.backup.as_deref())?;
    let peers = Peers::ready()?;
    let contestants = [
        Contestant::Backup { program: backup },
        Contestant::S5cmd { program: peers.s5cmd },
        Contestant::Rclone { program: peers.rclone },
    ];
    let place = request.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = TempDir::with_prefix_in("s3backup-bench-", &place)
        .with_context(|| format!("cannot make a folder in {}", place.display()))?;
    print_surroundings(&contestants, request)?;
    for &workload in &request.workloads {
        let folder = scratch.path().join(workload.name());
        let bench = Bench {
            contestants: &contestants,
            serve: &serve,
            latency_ms: request.latency_ms,
            source: folder.join("source"),
            folder,
            workload,
            amount: Amount::default(),
        };
        let (amount, series) = bench.run(request)?;
        let direction = if request.restore { "download" } else { "upload" };
        println!("\n## {direction}: {}\n", workload.name());
        println!("{}; at scale {}: {amount}\n", workload.says(), request.scale);
        print!("{}", table::render(&amount, &series));
    }
    Ok(())
}

/// Builds our binary, unless one is given, and the server. Gives where they are.
fn build(backup: Option<&Path>) -> Result<(PathBuf, PathBuf)> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let root = process::workspace_root()?;
    let mut server = process::cargo(&root);
    server.args(["build", "--release", "--package", "s3backup-local-s3", "--example", "serve"]);
    process::run(&mut server)?;
    let mut metadata = process::cargo(&root);
    metadata.args(["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Metadata = serde_json::from_str(&process::output(&mut metadata)?)
        .context("cannot read what cargo metadata says")?;
    let release = metadata.target_directory.join("release");
    let backup = if let Some(given) = backup {
        std::path::absolute(given)?
    } else {
        process::run(process::cargo(&root).args(["build", "--release", "--package", "backup"]))?;
        release.join("backup")
    };
    ensure!(backup.is_file(), "{} is no file", backup.display());
    Ok((backup, release.join("examples/serve")))
}

/// What a table means nothing without.
fn print_surroundings(contestants: &[Contestant], request: &Request) -> Result<()> {
    let versions = contestants.iter().map(Contestant::version).collect::<Result<Vec<_>>>()?;
    let processors = std::thread::available_parallelism()?;
    println!(
        "{}; {processors} processors for client and server; rounds: {}; latency: {} ms",
        versions.join(", "),
        request.rounds,
        request.latency_ms
    );
    Ok(())
}

/// One workload, ready to be measured.
struct Bench<'a> {
    contestants: &'a [Contestant],
    serve: &'a Path,
    latency_ms: u64,
    workload: Workload,
    /// All that the workload needs is in here, and gone afterwards.
    folder: PathBuf,
    /// The files.
    source: PathBuf,
    amount: Amount,
}

impl Bench<'_> {
    /// What each tool took, in the order of the tools.
    fn run(mut self, request: &Request) -> Result<(Amount, Vec<Series>)> {
        self.amount = self.workload.make(&self.source, request.scale)?;
        // Else the files are written to the disk while the first tools run.
        process::run(Command::new("sync").arg("-f").arg(&self.source))?;
        let filled = if request.restore { Some(self.filled_server()?) } else { None };
        let series = |contestant: &Contestant| Series { name: contestant.name(), costs: Vec::new() };
        let mut all: Vec<Series> = self.contestants.iter().map(series).collect();
        for round in 0..=request.rounds {
            for (contestant, series) in self.contestants.iter().zip(&mut all) {
                let cost = match &filled {
                    Some((server, config)) => self.download(contestant, server, config)?,
                    None => self.upload(contestant)?,
                };
                let what = if round == 0 { "warm-up".to_owned() } else { format!("round {round}") };
                let (workload, tool) = (self.workload.name(), series.name);
                eprintln!("{workload}, {what}: {tool} {:.2} s", cost.wall_seconds);
                if round > 0 {
                    series.costs.push(cost);
                }
            }
        }
        if let Some((server, _)) = filled {
            server.stop()?;
        }
        fs::remove_dir_all(&self.folder)?;
        Ok((self.amount, all))
    }

    fn start_server(&self) -> Result<Server> {
        let folder = self.folder.join("server");
        remove(&folder)?;
        Server::start(self.serve, &folder, self.latency_ms)
    }

    fn upload(&self, contestant: &Contestant) -> Result<Cost> {
        let server = self.start_server()?;
        let state = self.folder.join("state");
        remove(&state)?;
        let cost = self.measure(contestant.upload(&self.source, &state, server.endpoint())?, &server)?;
        let stored = server.stop()?;
        ensure!(
            stored == self.amount,
            "{} says that it is done, and the server has {stored} of {}",
            contestant.name(),
            self.amount
        );
        Ok(cost)
    }

    /// A server that has the files from an upload of ours, and the configuration of that upload.
    fn filled_server(&self) -> Result<(Server, PathBuf)> {
        let ours = self.contestants.iter().find(|it| matches!(it, Contestant::Backup { .. }));
        let ours = ours.context("nobody can fill the server")?;
        let server = self.start_server()?;
        let state = self.folder.join("state");
        self.measure(ours.upload(&self.source, &state, server.endpoint())?, &server)?;
        Ok((server, state))
    }

    fn download(&self, contestant: &Contestant, server: &Server, state: &Path) -> Result<Cost> {
        let target = self.folder.join("target");
        remove(&target)?;
        fs::create_dir(&target)?;
        let cost = self.measure(contestant.download(&target, state, server.endpoint()), server)?;
        let arrived = Amount::of(&target)?;
        ensure!(
            arrived == self.amount,
            "{} says that it is done, and there are {arrived} of {}",
            contestant.name(),
            self.amount
        );
        Ok(cost)
    }

    fn measure(&self, mut command: Command, server: &Server) -> Result<Cost> {
        let home = self.folder.join("home");
        fs::create_dir_all(&home)?;
        contestant::isolate(&mut command, &home);
        command.envs(server.variables().iter().cloned());
        measure::run(&command, &home.join("log"))
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request> {
        Request::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn without_arguments_all_is_measured_in_full() {
        let request = parsed("").unwrap();
        assert_eq!(request.workloads, Workload::ALL);
        assert_eq!((request.rounds, request.scale, request.restore), (3, 1.0, false));
    }

    #[test]
    fn workloads_are_measured_in_the_order_given() {
        let request = parsed("--workload mixed --workload small --restore --scale 0.1 --rounds 5").unwrap();
        assert_eq!(request.workloads, [Workload::Mixed, Workload::Small]);
        assert_eq!((request.rounds, request.scale, request.restore), (5, 0.1, true));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for (line, why) in [
            ("--workload tiny", "small, large"),
            ("--rounds", "needs a value"),
            ("--rounds 0", "at least 1"),
            ("--rounds some", "needs a number"),
            ("--scale -1", "above 0"),
            ("--scale NaN", "above 0"),
            ("small", "unknown argument"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
