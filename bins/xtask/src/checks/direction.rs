//! Which crate may depend on which: the architecture as two tables and a function that reads them.
//!
//! Only normal dependencies count. Tests may use anything, and what a build script uses is not in the product.

use super::graph::{Graph, Kind, Package};

const MODEL: &[&str] = &["s3backup-model"];

/// What core composes. These do not know each other: what one needs of another is a trait that it owns.
const CAPABILITIES: &[&str] = &[
    "s3backup-discovery",
    "s3backup-transfer",
    "s3backup-catalog",
    "s3backup-slack",
    "s3backup-schedule",
    "s3backup-report",
];

/// What stands beside core: it knows only the model, and core does not know it.
const COMPANIONS: &[&str] = &["s3backup-logging", "s3backup-local-s3", "s3backup-fleet-data"];

/// What composes all of it. Nothing of ours may depend on these.
const TOPS: &[&str] = &["backup", "s3backup-examples", "s3backup-fleet", "xtask"];

/// The crates of the workspace that `name` may use, each list a layer; `None` if the crate is unknown.
fn may_use(name: &str) -> Option<Vec<&'static [&'static str]>> {
    match name {
        "s3backup-model" | "xtask" => Some(vec![]),
        "s3backup-core" => Some(vec![MODEL, CAPABILITIES]),
        "s3backup-config" => Some(vec![MODEL, CAPABILITIES, &["s3backup-core", "s3backup-logging"]]),
        name if CAPABILITIES.contains(&name) || COMPANIONS.contains(&name) => Some(vec![MODEL]),
        name if TOPS.contains(&name) => {
            Some(vec![MODEL, CAPABILITIES, COMPANIONS, &["s3backup-core", "s3backup-config"]])
        }
        _ => None,
    }
}

/// A foreign crate that must stay where it belongs.
struct Confinement {
    /// Names of crates; with `*` at the end, how names begin.
    what: &'static [&'static str],
    /// Who of the workspace may have it.
    only_in: Who,
    /// Whether it may not come by way of other crates either.
    transitive: bool,
    why: &'static str,
}

enum Who {
    Just(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

const CONFINEMENTS: &[Confinement] = &[
    Confinement {
        what: &["clap"],
        only_in: Who::Just(&["backup", "s3backup-fleet", "xtask"]),
        transitive: true,
        why: "the command line stays in the binaries",
    },
    Confinement {
        what: &["figment"],
        only_in: Who::Just(&["s3backup-config"]),
        transitive: false,
        why: "configuration files stay in s3backup-config",
    },
    Confinement {
        what: &["figment"],
        only_in: Who::Just(&["s3backup-config", "backup", "s3backup-examples", "s3backup-fleet"]),
        transitive: true,
        why: "core and what is below it know nothing of configuration files",
    },
    Confinement {
        what: &["aws-sdk-s3", "aws-config"],
        only_in: Who::Just(&["s3backup-transfer"]),
        transitive: false,
        why: "one crate talks to S3; others use what it re-exports",
    },
    Confinement {
        what: &["tokio", "reqwest", "hyper", "aws-*"],
        only_in: Who::AllBut(MODEL),
        transitive: true,
        why: "the model is plain data",
    },
];

/// What breaks a rule, one line each.
pub(crate) fn violations(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for (at, member) in graph.members() {
        found.extend(wrong_way(graph, at, member));
        found.extend(CONFINEMENTS.iter().filter_map(|rule| escaped(graph, at, member, rule)));
    }
    found
}

/// Dependencies on other crates of the workspace that the layers do not allow.
fn wrong_way(graph: &Graph, at: usize, member: &Package) -> Vec<String> {
    let Some(allowed) = may_use(&member.name) else {
        return vec![format!(
            "{} has no place in the layers; give it one in xtask's direction.rs",
            member.name
        )];
    };
    graph
        .direct(at, &[Kind::Normal])
        .map(|to| &graph.packages[to])
        .filter(|package| package.is_member && !allowed.iter().any(|layer| layer.contains(&&*package.name)))
        .map(|package| format!("{} must not depend on {}", member.name, package.name))
        .collect()
}

/// How `member` comes to have a foreign crate that it should not have, if it does.
fn escaped(graph: &Graph, at: usize, member: &Package, rule: &Confinement) -> Option<String> {
    let permitted = match rule.only_in {
        Who::Just(names) => names.contains(&&*member.name),
        Who::AllBut(names) => !names.contains(&&*member.name),
    };
    if permitted {
        return None;
    }
    let is_meant = |package: &Package| rule.what.iter().any(|pattern| matches(pattern, &package.name));
    let way = if rule.transitive {
        graph.way(at, &[Kind::Normal], is_meant)?
    } else {
        let to = graph.direct(at, &[Kind::Normal]).find(|&to| is_meant(&graph.packages[to]))?;
        vec![member.name.as_str(), graph.packages[to].name.as_str()]
    };
    Some(format!("{} ({})", way.join(" -> "), rule.why))
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::super::graph::testing;
    use super::*;

    const FOREIGN: &[&str] = &[
        "clap",
        "figment",
        "aws-sdk-s3",
        "aws-config",
        "aws-smithy-types",
        "tokio",
        "reqwest",
        "serde",
        "helper",
    ];

    /// The workspace as it should be, with a few lines more.
    fn violations_with(more: &[&str]) -> Vec<String> {
        let mut lines = vec![
            "s3backup-model -> serde",
            "s3backup-discovery -> s3backup-model",
            "s3backup-transfer -> s3backup-model",
            "s3backup-transfer -> aws-sdk-s3",
            "s3backup-transfer -> aws-config",
            "aws-sdk-s3 -> tokio",
            "s3backup-slack -> reqwest",
            "s3backup-logging",
            "s3backup-local-s3 ~> aws-sdk-s3",
            "s3backup-fleet-data",
            "s3backup-core -> s3backup-discovery",
            "s3backup-core -> s3backup-transfer",
            "s3backup-core -> s3backup-slack",
            "s3backup-core ~> s3backup-local-s3",
            "s3backup-config -> s3backup-core",
            "s3backup-config -> figment",
            "s3backup-examples -> s3backup-core",
            "s3backup-fleet -> s3backup-config",
            "s3backup-fleet -> s3backup-core",
            "s3backup-fleet -> s3backup-discovery",
            "s3backup-fleet -> s3backup-local-s3",
            "s3backup-fleet -> clap",
            "backup -> s3backup-config",
            "backup -> s3backup-local-s3",
            "backup -> s3backup-fleet-data",
            "backup -> clap",
            "xtask -> serde",
        ];
        lines.extend(more);
        violations(&testing::graph(FOREIGN, &lines))
    }

    #[track_caller]
    fn finds(more: &[&str], expected: &str) {
        let found = violations_with(more);
        assert!(found.iter().any(|finding| finding.contains(expected)), "{more:?} gave {found:?}");
    }

    #[test]
    fn the_workspace_as_it_should_be_breaks_no_rule() {
        assert_eq!(violations_with(&[]), Vec::<String>::new());
    }

    #[test]
    fn tests_and_build_scripts_may_use_anything() {
        let more =
            ["s3backup-discovery ~> s3backup-fleet-data", "s3backup-core ~> clap", "s3backup-model => tokio"];
        assert_eq!(violations_with(&more), Vec::<String>::new());
    }

    #[test]
    fn clap_stays_in_the_binaries() {
        finds(&["s3backup-core -> clap"], "s3backup-core -> clap (");
        finds(&["s3backup-slack -> helper", "helper -> clap"], "s3backup-slack -> helper -> clap");
        finds(&["s3backup-examples -> clap"], "s3backup-examples -> clap");
    }

    #[test]
    fn figment_stays_in_config() {
        finds(&["backup -> figment"], "backup -> figment (configuration files stay");
        finds(
            &["s3backup-transfer -> helper", "helper -> figment"],
            "s3backup-core -> s3backup-transfer -> helper",
        );
    }

    #[test]
    fn one_crate_talks_to_s3() {
        for more in [
            "s3backup-core -> aws-config",
            "s3backup-examples -> aws-sdk-s3",
            "s3backup-local-s3 -> aws-sdk-s3",
        ] {
            finds(&[more], more);
        }
    }

    #[test]
    fn siblings_do_not_know_each_other_nor_what_is_above() {
        finds(
            &["s3backup-transfer -> s3backup-discovery"],
            "s3backup-transfer must not depend on s3backup-discovery",
        );
        finds(&["s3backup-logging -> s3backup-slack"], "s3backup-logging must not depend on s3backup-slack");
        finds(
            &["s3backup-fleet-data -> s3backup-core"],
            "s3backup-fleet-data must not depend on s3backup-core",
        );
        finds(
            &["s3backup-local-s3 -> s3backup-config"],
            "s3backup-local-s3 must not depend on s3backup-config",
        );
    }

    #[test]
    fn nothing_depends_on_what_composes_all() {
        for name in
            ["s3backup-core", "s3backup-config", "s3backup-discovery", "s3backup-fleet-data", "backup"]
        {
            finds(
                &[&format!("{name} -> s3backup-fleet")],
                &format!("{name} must not depend on s3backup-fleet"),
            );
        }
    }

    #[test]
    fn core_does_not_know_what_stands_beside_it() {
        for name in ["s3backup-local-s3", "s3backup-logging", "s3backup-config", "s3backup-fleet-data"] {
            finds(
                &[&format!("s3backup-core -> {name}")],
                &format!("s3backup-core must not depend on {name}"),
            );
        }
    }

    #[test]
    fn the_model_is_plain_data() {
        finds(&["s3backup-model -> tokio"], "s3backup-model -> tokio");
        finds(&["s3backup-model -> helper", "helper -> aws-smithy-types"], "helper -> aws-smithy-types");
        finds(&["s3backup-model -> s3backup-slack"], "s3backup-model must not depend on s3backup-slack");
    }

    #[test]
    fn a_new_crate_needs_a_place() {
        finds(&["s3backup-new -> serde"], "s3backup-new has no place");
    }
}
