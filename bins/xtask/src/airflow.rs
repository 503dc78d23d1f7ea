//! The tests of the Airflow package: its style and types, and what it does in an Airflow of pinned versions with our binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, tools};

/// What `cargo xtask test -p` calls it.
pub(crate) const PACKAGE: &str = "airflow";

/// Runs them; `arguments` go to pytest.
pub(crate) fn test(root: &Path, prepare: impl Fn(&mut Command), arguments: &[String]) -> Result<()> {
    let python = tools::python_with_airflow()?;
    let target = target_directory(root)?;
    // The binary as the tests of the command line have it: built by itself it would have other features of the same
    // dependencies, which take minutes to compile once more.
    process::run(process::cargo(root).args(["test", "--workspace", "--test", "cli", "--no-run"]))?;
    let package = root.join(PACKAGE);
    let installed = target.join("airflow-package");
    tools::install_airflow_package(&package, &python, &installed)?;
    let module = |words: &[&str]| {
        let mut command = Command::new(&python);
        prepare(&mut command);
        command.current_dir(&package).arg("-m").args(words).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    process::run(&mut module(&["ruff", "check", "--no-cache", "."]))?;
    process::run(&mut module(&["ruff", "format", "--no-cache", "--check", "."]))?;
    process::run(module(&["mypy", "--cache-dir"]).arg(target.join("mypy-cache")).arg("src"))?;
    let mut pytest = module(&["pytest", "-q", "-p", "no:cacheprovider"]);
    pytest
        .args(arguments)
        .env("PYTHONPATH", installed)
        .env("S3BACKUP_TEST_BINARY", target.join("debug/backup"));
    process::run(&mut pytest)
}

fn target_directory(root: &Path) -> Result<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let metadata = process::output(process::cargo(root).args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    Ok(metadata.target_directory)
}
