//! The checks of `cargo xtask ci`. Each is a pure function over what was read, behind a few lines that read it.

mod direction;
mod graph;
mod hygiene;
mod licences;
mod links;
mod msrv;

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use self::graph::Graph;
use crate::process;

/// One check.
#[derive(Debug)]
pub(crate) struct Check {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What holds when nothing is found.
    pub(crate) says: &'static str,
    /// What to do when something is.
    pub(crate) mend: &'static str,
    /// Returns what is wrong, a line each.
    pub(crate) run: fn(&Context) -> Result<Vec<String>>,
}

/// All checks, the quick ones first.
pub(crate) const ALL: &[Check] = &[
    Check {
        name: "fmt",
        says: "the code is formatted",
        mend: "cargo fmt --all",
        run: |context| context.cargo(&["fmt", "--all", "--check"], &[]),
    },
    Check {
        name: "hygiene",
        says: "no left-over notes, debug prints or ignored tests",
        mend: "finish the work or take it out; a note for later belongs in the issue tracker",
        run: |context| context.each_file("rs", |_, text| hygiene::findings(text)),
    },
    Check {
        name: "links",
        says: "relative links in Markdown files lead somewhere",
        mend: "correct the link, counted from the folder of the file that holds it",
        run: |context| context.each_file("md", |path, text| links::broken(&context.root, path, text)),
    },
    Check {
        name: "deps",
        says: "dependencies point one way",
        mend: "CONTRIBUTING.md says which crate may use what; pass a trait or a plain type instead",
        run: |context| Ok(direction::violations(context.graph()?)),
    },
    Check {
        name: "msrv",
        says: "the workspace's rust-version suffices",
        mend: "raise rust-version in Cargo.toml, or take an older release of the dependency",
        run: |context| {
            let compiler = process::output(std::process::Command::new("rustc").arg("--version"))?;
            Ok(msrv::violations(context.graph()?, &compiler))
        },
    },
    Check {
        name: "licences",
        says: "every dependency may be shipped",
        mend: "replace the dependency, or discuss its licence before it is allowed",
        run: |context| Ok(licences::violations(context.graph()?)),
    },
    Check {
        name: "clippy",
        says: "no lint fires",
        mend: "do what clippy says above; an exception is an `#[expect]` with its reason",
        run: |context| {
            context.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
        },
    },
    Check {
        name: "docs",
        says: "the API docs build without a warning",
        mend: "do what rustdoc says above",
        run: |context| {
            context.cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
        },
    },
];

/// Folders that hold nothing of ours.
const FOREIGN_FOLDERS: &[&str] = &[".git", "target", ".cache", ".venv", "node_modules", "Logs"];

/// What checks look at.
pub(crate) struct Context {
    root: PathBuf,
    graph: OnceCell<Graph>,
}

impl Context {
    /// Checks the workspace in `root`.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, graph: OnceCell::new() }
    }

    /// Runs cargo, whose own output names the findings.
    fn cargo(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<String>> {
        process::run(process::cargo(&self.root).args(arguments).envs(variables.iter().copied()))?;
        Ok(Vec::new())
    }

    /// The dependency graph, read once.
    fn graph(&self) -> Result<&Graph> {
        if let Some(graph) = self.graph.get() {
            return Ok(graph);
        }
        let graph = Graph::read(&self.root)?;
        Ok(self.graph.get_or_init(|| graph))
    }

    /// What `check` finds in each file with this extension, each finding with its file in front.
    fn each_file(&self, extension: &str, check: impl Fn(&Path, &str) -> Vec<String>) -> Result<Vec<String>> {
        let mut findings = Vec::new();
        for path in files(&self.root, extension)? {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let shown = path.strip_prefix(&self.root).unwrap_or(&path).display().to_string();
            findings.extend(check(&path, &text).into_iter().map(|finding| format!("{shown}:{finding}")));
        }
        Ok(findings)
    }
}

/// All files below `folder` with this extension, sorted.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let unreadable = || format!("cannot read the folder {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let path = entry.path();
            let kind = entry.file_type().with_context(unreadable)?;
            if kind.is_dir() && !FOREIGN_FOLDERS.iter().any(|&name| entry.file_name() == name) {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_below_all_folders_but_foreign_ones() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a.rs", "b/c.rs", "b/d.md", "target/e.rs", "b/.git/f.rs"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text\n").unwrap();
        }
        let found = files(root.path(), "rs").unwrap();
        assert_eq!(found, [root.path().join("a.rs"), root.path().join("b/c.rs")]);
        let context = Context::new(root.path().to_path_buf());
        assert_eq!(context.each_file("md", |_, _| vec!["1: bad".into()]).unwrap(), ["b/d.md:1: bad"]);
    }
}
