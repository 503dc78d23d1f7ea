//! Whether each dependency comes under a licence that the product can be shipped with.
//!
//! The expressions are SPDX: identifiers joined by `AND` (all apply) and `OR` (one may be chosen), `AND` binding
//! tighter, with brackets, and `WITH` for exceptions, which only permit more. Old manifests write `/` for `OR`.

use super::graph::{Graph, Kind};

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Dependencies that may not be shipped, one line each. Those of tests count too: their source is no part of
/// the product, but a licence that forbids such use should be noticed before it matters.
pub(crate) fn violations(graph: &Graph) -> Vec<String> {
    let members = graph.members().map(|(at, _)| at);
    let mut found: Vec<String> = graph
        .closure(members, &[Kind::Normal, Kind::Build, Kind::Dev])
        .into_iter()
        .map(|at| &graph.packages[at])
        .filter_map(|package| match package.license.as_deref() {
            None => Some(format!("{} {} states no licence", package.name, package.version)),
            Some(expression) => (!is_allowed(expression))
                .then(|| format!("{} {} is under `{expression}`", package.name, package.version)),
        })
        .collect();
    found.sort();
    found
}

/// Whether the licences that `expression` leaves us to choose from include a choice of allowed ones. What
/// cannot be read is not allowed.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { rest: &spaced.split_whitespace().collect::<Vec<_>>() };
    words.alternatives() == Some(true) && words.rest.is_empty()
}

/// A reader of expressions, a method for each level of precedence; `None` means that it is malformed.
struct Words<'a> {
    rest: &'a [&'a str],
}

impl<'a> Words<'a> {
    fn take(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'a str> {
        let (&first, rest) = self.rest.split_first().filter(|(first, _)| wanted(first))?;
        self.rest = rest;
        Some(first)
    }

    fn alternatives(&mut self) -> Option<bool> {
        let mut allowed = self.conjunction()?;
        while self.take(|word| word == "OR").is_some() {
            allowed |= self.conjunction()?;
        }
        Some(allowed)
    }

    fn conjunction(&mut self) -> Option<bool> {
        let mut allowed = self.licence()?;
        while self.take(|word| word == "AND").is_some() {
            allowed &= self.licence()?;
        }
        Some(allowed)
    }

    fn licence(&mut self) -> Option<bool> {
        if self.take(|word| word == "(").is_some() {
            let allowed = self.alternatives()?;
            self.take(|word| word == ")")?;
            return Some(allowed);
        }
        let name = self.take(|word| !["(", ")", "AND", "OR", "WITH"].contains(&word))?;
        if self.take(|word| word == "WITH").is_some() {
            self.take(|_| true)?;
        }
        Some(ALLOWED.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::testing;
    use super::*;

    #[test]
    fn one_allowed_choice_is_enough() {
        for expression in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "GPL-3.0-only/MIT",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "ISC AND (Apache-2.0 OR ISC) AND OpenSSL",
        ] {
            assert!(is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn all_of_a_conjunction_must_be_allowed() {
        for expression in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT AND AGPL-3.0-only) OR SSPL-1.0",
            "",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT MIT",
        ] {
            assert!(!is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn a_package_is_named_with_its_licence() {
        let mut graph = testing::graph(&["b", "c"], &["a -> b", "b ~> c"]);
        for (package, license) in graph.packages.iter_mut().zip([Some("MIT"), Some("GPL-3.0-only"), None]) {
            package.license = license.map(str::to_owned);
        }
        assert_eq!(violations(&graph), ["b 1.0.0 is under `GPL-3.0-only`", "c 1.0.0 states no licence"]);
    }
}
