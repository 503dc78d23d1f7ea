//! `cargo xtask test`: all tests of the workspace, with what they need.

use std::path::Path;
use std::process::Command;
use std::{env, mem};

use anyhow::{Context, Result, bail};

use crate::tools::Tools;
use crate::{airflow, process};

/// Which tests to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Only these packages; none means the whole workspace.
    packages: Vec<String>,
    /// For the test programs: filters and flags.
    arguments: Vec<String>,
}

impl Request {
    /// Reads `[-p PACKAGE]... [-- ARGS...]`.
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut request = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-p" | "--package" => {
                    let name =
                        words.next().with_context(|| format!("`{word}` needs the name of a package"))?;
                    request.packages.push(name.clone());
                }
                "--" => request.arguments = words.by_ref().cloned().collect(),
                other => bail!("unknown argument `{other}`; a filter for tests comes after `--`"),
            }
        }
        Ok(request)
    }

    /// The cargo commands that run these tests, as arguments.
    ///
    /// With `--all-targets` cargo leaves the doc tests out, so these are a command of their own. For named
    /// packages plain `cargo test` does both (and, unlike `--doc`, accepts one that has no library).
    fn cargo_arguments(&self) -> Vec<Vec<String>> {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let packages: Vec<&String> = self.packages.iter().filter(|name| *name != airflow::PACKAGE).collect();
        let mut commands = if self.packages.is_empty() {
            vec![owned(&["test", "--workspace", "--all-targets"]), owned(&["test", "--workspace", "--doc"])]
        } else if packages.is_empty() {
            Vec::new()
        } else {
            let mut command = owned(&["test"]);
            for package in packages {
                command.extend(owned(&["--package", package]));
            }
            vec![command]
        };
        for command in &mut commands {
            command.push("--no-fail-fast".to_owned());
            if !self.arguments.is_empty() {
                command.push("--".to_owned());
                command.extend(self.arguments.iter().cloned());
            }
        }
        commands
    }

    /// What pytest is told, if the Airflow package is to be tested. A filter for all tests is one of Rust's.
    fn pytest_arguments(&self) -> Option<&[String]> {
        if self.packages.iter().any(|name| name == airflow::PACKAGE) {
            return Some(&self.arguments);
        }
        (self.packages.is_empty() && self.arguments.is_empty()).then_some(&[])
    }
}

/// Fetches what the tests need and runs them. All of them run, also after one failed.
pub(crate) fn run(request: &Request) -> Result<()> {
    let root = process::workspace_root()?;
    let tools = Tools::ready()?;
    let mut failure = None;
    for arguments in request.cargo_arguments() {
        let mut command = process::cargo(&root);
        prepare_environment(&mut command, &tools);
        if let Err(error) = process::run(command.args(arguments)) {
            failure = Some(error);
        }
    }
    if let Some(arguments) = request.pytest_arguments()
        && let Err(error) = airflow::test(&root, |command| prepare_environment(command, &tools), arguments)
    {
        failure = Some(error);
    }
    failure.map_or(Ok(()), Err)
}

/// Gives the tests their tools, and hides from them what would make them depend on who runs them.
fn prepare_environment(command: &mut Command, tools: &Tools) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(would_leak_into_tests) {
            command.env_remove(name);
        }
    }
    for name in ["NO_PROXY", "no_proxy"] {
        command.env(name, without_proxy_on_loopback(env::var(name).unwrap_or_default()));
    }
    for (name, path) in tools.variables() {
        command.env(name, path as &Path);
    }
}

/// Credentials and settings of the person at the keyboard: with them a test could reach a real bucket.
fn would_leak_into_tests(name: &str) -> bool {
    ["AWS_", "BACKUP_", "SLACK_", "HEALTHCHECK_"].iter().any(|prefix| name.starts_with(prefix))
}

/// The servers of the tests are on loopback, which no proxy can reach.
fn without_proxy_on_loopback(mut list: String) -> String {
    for host in ["localhost", "127.0.0.1", "::1"] {
        if !list.split(',').any(|known| known.trim() == host) {
            let before = mem::take(&mut list);
            list = if before.is_empty() { host.to_owned() } else { format!("{before},{host}") };
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request> {
        Request::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn commands(line: &str) -> Vec<String> {
        parsed(line).unwrap().cargo_arguments().iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn without_arguments_everything_is_tested() {
        assert_eq!(
            commands(""),
            ["test --workspace --all-targets --no-fail-fast", "test --workspace --doc --no-fail-fast"]
        );
    }

    #[test]
    fn filters_reach_the_doc_tests_as_well() {
        assert_eq!(
            commands("-- resume --nocapture"),
            [
                "test --workspace --all-targets --no-fail-fast -- resume --nocapture",
                "test --workspace --doc --no-fail-fast -- resume --nocapture"
            ]
        );
    }

    #[test]
    fn named_packages_are_tested_alone() {
        assert_eq!(
            commands("-p a --package b -- one"),
            ["test --package a --package b --no-fail-fast -- one"]
        );
    }

    #[test]
    fn the_airflow_package_is_tested_with_all_or_alone() {
        let pytest = |line| parsed(line).unwrap().pytest_arguments().map(<[String]>::to_vec);
        assert_eq!(pytest(""), Some(vec![]));
        assert_eq!(pytest("-- resume"), None);
        assert_eq!(pytest("-p s3backup-core"), None);
        assert_eq!(pytest("-p airflow -- -k dags"), Some(vec!["-k".to_owned(), "dags".to_owned()]));
        assert_eq!(commands("-p airflow"), Vec::<String>::new());
    }

    #[test]
    fn a_stray_word_is_refused() {
        assert!(parsed("resume").unwrap_err().to_string().contains("after `--`"));
        assert!(parsed("-p").unwrap_err().to_string().contains("needs the name"));
    }

    #[test]
    fn secrets_stay_out_of_tests() {
        assert!(would_leak_into_tests("AWS_PROFILE"));
        assert!(would_leak_into_tests("SLACK_BOT_TOKEN"));
        assert!(!would_leak_into_tests("S3BACKUP_TEST_WEED"));
        assert!(!would_leak_into_tests("PATH"));
    }

    #[test]
    fn loopback_is_added_to_the_proxy_exceptions_once() {
        assert_eq!(without_proxy_on_loopback(String::new()), "localhost,127.0.0.1,::1");
        assert_eq!(
            without_proxy_on_loopback("example.org, 127.0.0.1".into()),
            "example.org, 127.0.0.1,localhost,::1"
        );
    }
}
