//! The dependency graph of the workspace, as `cargo metadata` tells it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

/// One package, ours or foreign.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) is_member: bool,
    /// Positions in [`Graph::packages`].
    pub(crate) dependencies: Vec<(usize, Kind)>,
}

/// The packages of the workspace and all that they depend on, on the platform of this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) packages: Vec<Package>,
}

impl Graph {
    /// Asks cargo. The platform is that of this machine, because for the others cargo would download packages
    /// that nothing here compiles.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let compiler = process::output(Command::new("rustc").arg("-vV"))?;
        let host = compiler
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("`rustc -vV` names no host")?;
        let mut command = process::cargo(root);
        command.args(["metadata", "--format-version", "1", "--filter-platform", host]);
        Self::parse(&process::output(&mut command)?)
    }

    fn parse(json: &str) -> Result<Self> {
        let metadata: Metadata =
            serde_json::from_str(json).context("cannot read what cargo metadata says")?;
        let used: HashSet<&str> = metadata.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
        let listed: Vec<_> =
            metadata.packages.into_iter().filter(|package| used.contains(package.id.as_str())).collect();
        let positions: HashMap<&str, usize> =
            listed.iter().enumerate().map(|(at, package)| (package.id.as_str(), at)).collect();
        let members: HashSet<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
        let position = |id: &str| {
            positions.get(id).copied().with_context(|| format!("cargo metadata has no package {id}"))
        };

        let mut packages: Vec<Package> = listed
            .iter()
            .map(|package| Package {
                name: package.name.clone(),
                version: package.version.clone(),
                rust_version: package.rust_version.clone(),
                license: package.license.clone(),
                is_member: members.contains(package.id.as_str()),
                dependencies: Vec::new(),
            })
            .collect();
        for node in &metadata.resolve.nodes {
            let from = position(&node.id)?;
            for dependency in &node.deps {
                let to = position(&dependency.pkg)?;
                let kinds = dependency.dep_kinds.iter().map(|found| match found.kind.as_deref() {
                    Some("dev") => Kind::Dev,
                    Some("build") => Kind::Build,
                    _ => Kind::Normal,
                });
                packages[from].dependencies.extend(kinds.map(|kind| (to, kind)));
            }
        }
        Ok(Self { packages })
    }

    /// The packages of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = (usize, &Package)> {
        self.packages.iter().enumerate().filter(|(_, package)| package.is_member)
    }

    /// The packages that `from` names as dependencies of one of these kinds.
    pub(crate) fn direct(&self, from: usize, kinds: &[Kind]) -> impl Iterator<Item = usize> {
        self.packages[from].dependencies.iter().filter(|(_, kind)| kinds.contains(kind)).map(|&(to, _)| to)
    }

    /// The names along a shortest way from `from` to a package for which `wanted` holds, `from` included.
    pub(crate) fn way(
        &self,
        from: usize,
        kinds: &[Kind],
        wanted: impl Fn(&Package) -> bool,
    ) -> Option<Vec<&str>> {
        let mut came_from = HashMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at != from && wanted(&self.packages[at]) {
                return Some(self.walk_back(&came_from, at));
            }
            for next in self.direct(at, kinds) {
                if let Entry::Vacant(unseen) = came_from.entry(next) {
                    unseen.insert(at);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn walk_back(&self, came_from: &HashMap<usize, usize>, mut at: usize) -> Vec<&str> {
        let mut names = vec![self.packages[at].name.as_str()];
        while let Some(&before) = came_from.get(&at).filter(|&&before| before != at) {
            at = before;
            names.push(&self.packages[at].name);
        }
        names.reverse();
        names
    }

    /// The packages that one gets from these by following dependencies of these kinds, themselves included.
    pub(crate) fn closure(&self, roots: impl IntoIterator<Item = usize>, kinds: &[Kind]) -> Vec<usize> {
        let mut reached: Vec<usize> = roots.into_iter().collect();
        let mut seen: HashSet<usize> = reached.iter().copied().collect();
        let mut next = 0;
        while let Some(&at) = reached.get(next) {
            next += 1;
            reached.extend(self.direct(at, kinds).filter(|&to| seen.insert(to)));
        }
        reached
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<ListedPackage>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct ListedPackage {
    id: String,
    name: String,
    version: String,
    rust_version: Option<String>,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDependency>,
}

#[derive(Deserialize)]
struct NodeDependency {
    pkg: String,
    dep_kinds: Vec<NodeDependencyKind>,
}

#[derive(Deserialize)]
struct NodeDependencyKind {
    kind: Option<String>,
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Graph, Kind, Package};

    /// A graph from lines `package -> dependency`; `~>` is a dev-dependency, `=>` one of the build script.
    /// A package whose name is in `foreign` is none of ours.
    pub(crate) fn graph(foreign: &[&str], lines: &[&str]) -> Graph {
        let mut graph = Graph::default();
        for line in lines {
            let mut words = line.split_whitespace();
            let from = position(&mut graph, foreign, words.next().unwrap());
            let Some(arrow) = words.next() else { continue };
            let kind = match arrow {
                "->" => Kind::Normal,
                "~>" => Kind::Dev,
                "=>" => Kind::Build,
                other => panic!("{other} is no arrow"),
            };
            let to = position(&mut graph, foreign, words.next().unwrap());
            graph.packages[from].dependencies.push((to, kind));
        }
        graph
    }

    fn position(graph: &mut Graph, foreign: &[&str], name: &str) -> usize {
        if let Some(at) = graph.packages.iter().position(|package| package.name == name) {
            return at;
        }
        let is_member = !foreign.contains(&name);
        graph.packages.push(Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            is_member,
            ..Package::default()
        });
        graph.packages.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_becomes_a_graph() {
        let json = r#"{
            "packages": [
                {"id": "a 1", "name": "a", "version": "1.0.0", "rust_version": "1.95", "license": "MIT"},
                {"id": "b 2", "name": "b", "version": "2.0.0", "rust_version": null, "license": null},
                {"id": "c 3", "name": "c", "version": "3.0.0", "rust_version": null, "license": null}],
            "workspace_members": ["a 1"],
            "resolve": {"nodes": [
                {"id": "b 2", "deps": []},
                {"id": "a 1", "deps": [{"pkg": "b 2", "dep_kinds": [{"kind": null}, {"kind": "dev"}]}]}]}
        }"#;
        let graph = Graph::parse(json).unwrap();
        let names: Vec<_> = graph.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["a", "b"], "a package that no node uses is left out");
        assert_eq!(graph.packages[0].dependencies, [(1, Kind::Normal), (1, Kind::Dev)]);
        assert_eq!(graph.members().count(), 1);
    }

    #[test]
    fn the_shortest_way_is_found_along_the_kinds_asked_for() {
        let graph = testing::graph(&[], &["a -> b", "b -> c", "c -> d", "a -> c", "a ~> d", "d -> a"]);
        let to_d = |package: &Package| package.name == "d";
        assert_eq!(graph.way(0, &[Kind::Normal], to_d).unwrap(), ["a", "c", "d"]);
        assert_eq!(graph.way(0, &[Kind::Dev], to_d).unwrap(), ["a", "d"]);
        assert!(graph.way(0, &[Kind::Build], to_d).is_none());
    }

    #[test]
    fn a_closure_holds_each_package_once() {
        let graph = testing::graph(&[], &["a -> b", "b => c", "a -> c", "c -> a", "a ~> e"]);
        assert_eq!(graph.closure([0], &[Kind::Normal, Kind::Build]).len(), 3);
    }
}
