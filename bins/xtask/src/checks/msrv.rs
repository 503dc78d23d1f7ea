//! Whether the `rust-version` that the workspace states is true: no dependency that gets into a build of it
//! needs a newer compiler, and the compiler at hand is not older. That it compiles with just that version is
//! for a build with it to show.

use super::graph::{Graph, Kind};

/// What contradicts it, one line each. `compiler` is what `rustc --version` prints.
pub(crate) fn violations(graph: &Graph, compiler: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lowest: Option<(Version, &str)> = None;
    for (_, member) in graph.members() {
        match member.rust_version.as_deref().map(|text| (parse(text), text)) {
            Some((Some(version), text)) if lowest.is_none_or(|(least, _)| version < least) => {
                lowest = Some((version, text));
            }
            Some((Some(_), _)) => {}
            Some((None, text)) => found.push(format!("{} states the rust-version `{text}`", member.name)),
            None => found.push(format!("{} states no rust-version", member.name)),
        }
    }
    let Some((stated, text)) = lowest else { return found };

    match compiler.split_whitespace().nth(1).and_then(parse) {
        Some(present) if present >= stated => {}
        Some(_) => found.push(format!("the workspace states {text}, but this is {}", compiler.trim())),
        None => found.push(format!("cannot read the version in `{}`", compiler.trim())),
    }
    let members = graph.members().map(|(at, _)| at);
    for at in graph.closure(members, &[Kind::Normal, Kind::Build]) {
        let package = &graph.packages[at];
        let needed = package.rust_version.as_deref().unwrap_or("1");
        if parse(needed).is_none_or(|version| version > stated) {
            found.push(format!(
                "{} {} needs {needed}, the workspace states {text}",
                package.name, package.version
            ));
        }
    }
    found
}

type Version = [u32; 3];

/// Reads `1`, `1.95`, `1.95.0` or `1.95.0-nightly`; what is not there counts as 0.
fn parse(text: &str) -> Option<Version> {
    let mut version = [0; 3];
    let mut parts = text.split('-').next()?.split('.');
    for (place, part) in version.iter_mut().zip(&mut parts) {
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::super::graph::testing;
    use super::*;

    const COMPILER: &str = "rustc 1.95.0 (59807616e 2026-04-14)";

    fn violations_with(lines: &[&str], versions: &[Option<&str>], compiler: &str) -> Vec<String> {
        let mut graph = testing::graph(&["b", "c"], lines);
        for (package, version) in graph.packages.iter_mut().zip(versions) {
            package.rust_version = version.map(str::to_owned);
        }
        violations(&graph, compiler)
    }

    #[test]
    fn versions_are_numbers() {
        assert!(parse("1.9") < parse("1.10.0"));
        assert_eq!(parse("1.95"), parse("1.95.0"));
        assert_eq!(parse("1.96.0-nightly"), Some([1, 96, 0]));
        assert_eq!(parse("1.95.0.1"), None);
        assert_eq!(parse("latest"), None);
    }

    #[test]
    fn a_true_statement_breaks_no_rule() {
        let versions = [Some("1.95"), Some("1.95.0"), None];
        assert_eq!(violations_with(&["a -> b", "b -> c"], &versions, COMPILER), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_may_not_need_more() {
        let versions = [Some("1.90"), Some("1.80"), Some("1.94.1")];
        let found = violations_with(&["a -> b", "b => c"], &versions, COMPILER);
        assert_eq!(found, ["c 1.0.0 needs 1.94.1, the workspace states 1.90"]);
        assert_eq!(violations_with(&["a -> b", "a ~> c"], &versions, COMPILER), Vec::<String>::new());
    }

    #[test]
    fn the_compiler_may_not_be_older() {
        let found = violations_with(&["a"], &[Some("1.96")], COMPILER);
        assert_eq!(found, [format!("the workspace states 1.96, but this is {COMPILER}")]);
    }

    #[test]
    fn each_of_our_packages_states_a_version() {
        assert_eq!(violations_with(&["a"], &[None], COMPILER), ["a states no rust-version"]);
    }
}
