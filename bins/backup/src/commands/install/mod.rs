//! `backup install`: what starts the backup by itself.

mod calendar;
mod units;

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use s3backup_config::{Error as ConfigError, Loaded};
use s3backup_core::line_of;
use serde_json::json;

use self::units::{Place, Unit};
use crate::cli::{Common, InstallSystemd, UnitsName};
use crate::exit::{Exit, Stop};
use crate::{console, session};

/// How long one call of systemctl may take: starting the daemon waits until it is ready.
const SYSTEMCTL_LIMIT: Duration = Duration::from_mins(2);

/// What is to be done about a unit's file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    New,
    Same,
    Differs,
}

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same => "same",
            Self::Differs => "differs",
        }
    }
}

pub(crate) async fn systemd(common: &Common, arguments: &InstallSystemd) -> Result<Exit, Stop> {
    let jobs = load_all(common, arguments.units)?;
    let place = Place {
        program: std::env::current_exe()
            .map_err(|error| Stop::failed(format!("cannot tell where this program is: {error}")))?,
        is_user: arguments.user,
    };
    let units = units::make(arguments.units, &jobs, &place).map_err(Stop::usage)?;
    let dir = folder(arguments)?;
    let standings = units.iter().map(|unit| standing(&dir.join(&unit.name), &unit.text));
    let standings: Vec<Standing> = standings.collect::<Result<_, _>>()?;
    let commands = commands(&units, arguments.user);

    if !arguments.dry_run {
        let edited = units.iter().zip(&standings).find(|(_, standing)| **standing == Standing::Differs);
        if let Some((unit, _)) = edited.filter(|_| !arguments.force) {
            let path = dir.join(&unit.name);
            return Err(Stop::failed(format!(
                "{} is there and differs, and nothing was written: look at what would be with --dry-run; --force replaces it, and changes of your own belong into a drop-in (systemctl edit {})",
                path.display(),
                unit.name
            )));
        }
        for (unit, _) in units.iter().zip(&standings).filter(|(_, standing)| **standing != Standing::Same) {
            let path = dir.join(&unit.name);
            write(&path, &unit.text)
                .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))?;
        }
    }
    console::show(&shown(common, arguments, &dir, &units, &standings, &commands))?;
    if arguments.enable {
        for command in
            commands.iter().filter(|command| command.first().is_some_and(|word| word == "systemctl"))
        {
            systemctl(command).await?;
        }
    }
    Ok(Exit::Success)
}

/// The job that is meant, or all of the file.
fn load_all(common: &Common, units: UnitsName) -> Result<Vec<Loaded>, Stop> {
    let mut request = session::request(common);
    let error = match s3backup_config::load(&request) {
        Ok(loaded) => return Ok(vec![loaded]),
        Err(error) => error,
    };
    let ConfigError::SeveralJobs { names } = &error else { return Err(Stop::usage(line_of(&error))) };
    // Who watches needs no more than the way to the bucket.
    let names = if units == UnitsName::Monitor { names.get(..1).unwrap_or_default() } else { names };
    names
        .iter()
        .map(|name| {
            request.job = Some(name.clone());
            s3backup_config::load(&request).map_err(|error| Stop::usage(line_of(&error)))
        })
        .collect()
}

fn folder(arguments: &InstallSystemd) -> Result<PathBuf, Stop> {
    if let Some(dir) = &arguments.to {
        return Ok(dir.clone());
    }
    if !arguments.user {
        return Ok(PathBuf::from("/etc/systemd/system"));
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    let config = config
        .ok_or_else(|| Stop::usage("neither XDG_CONFIG_HOME nor HOME is set: name a folder with --to"))?;
    Ok(config.join("systemd/user"))
}

fn standing(path: &Path, text: &str) -> Result<Standing, Stop> {
    match std::fs::read(path) {
        Ok(there) if there == text.as_bytes() => Ok(Standing::Same),
        Ok(_) => Ok(Standing::Differs),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Standing::New),
        Err(error) => Err(Stop::failed(format!("cannot read {}: {error}", path.display()))),
    }
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// What puts the units to use, in this order.
fn commands(units: &[Unit], is_user: bool) -> Vec<Vec<String>> {
    let scope: &[&str] = if is_user { &["--user"] } else { &[] };
    let systemctl = |words: &[&str]| {
        [&["systemctl"], scope, words].concat().into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let mut commands = Vec::new();
    if !is_user && !has_user() {
        let words = [
            "useradd",
            "--system",
            "--home-dir",
            "/var/lib/s3backup",
            "--shell",
            "/usr/sbin/nologin",
            units::USER,
        ];
        commands.push(words.map(ToOwned::to_owned).to_vec());
    }
    commands.push(systemctl(&["daemon-reload"]));
    let started: Vec<&str> =
        units.iter().filter(|unit| unit.is_started).map(|unit| unit.name.as_str()).collect();
    commands.push(systemctl(&[&["enable", "--now"], started.as_slice()].concat()));
    commands
}

/// Whether the user of the units is there already.
fn has_user() -> bool {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().any(|line| line.split(':').next() == Some(units::USER))
}

fn shown(
    common: &Common,
    arguments: &InstallSystemd,
    dir: &Path,
    units: &[Unit],
    standings: &[Standing],
    commands: &[Vec<String>],
) -> String {
    let commands: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
    let all = units.iter().zip(standings);
    if common.json {
        let files: Vec<_> = all
            .map(|(unit, standing)| {
                json!({ "path": dir.join(&unit.name), "was": standing.as_str(), "text": unit.text })
            })
            .collect();
        return json!({ "schema": 1, "dry_run": arguments.dry_run, "files": files, "commands": commands })
            .to_string();
    }
    let mut out = String::new();
    for (unit, standing) in all {
        let path = dir.join(&unit.name);
        if arguments.dry_run {
            let _ = writeln!(out, "# {} ({})\n{}", path.display(), standing.as_str(), unit.text);
            continue;
        }
        let did = if *standing == Standing::Same { "unchanged" } else { "wrote" };
        let _ = writeln!(out, "{did} {}", path.display());
    }
    let lead = if arguments.enable { "now running:" } else { "then run:" };
    let _ = write!(out, "{lead}\n  {}", commands.join("\n  "));
    out
}

async fn systemctl(command: &[String]) -> Result<(), Stop> {
    let said = command.join(" ");
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let running = tokio::process::Command::new(program).args(arguments).kill_on_drop(true).status();
    match tokio::time::timeout(SYSTEMCTL_LIMIT, running).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Stop::failed(format!("the units are written, but `{said}` failed ({status})"))),
        Ok(Err(error)) => {
            Err(Stop::failed(format!("the units are written, but `{said}` cannot be run: {error}")))
        }
        Err(_) => Err(Stop::failed(format!("the units are written, but `{said}` does not end"))),
    }
}
