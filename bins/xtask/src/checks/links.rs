//! Whether the relative links of a Markdown file lead to files.
//!
//! Links to the web are left alone, since a check must not depend on other people's servers, and so are
//! fragments. Fenced code is skipped, as are code spans.

use std::path::Path;

/// The broken links in `text`, the content of the file `path`, as `LINE: target`.
pub(crate) fn broken(root: &Path, path: &Path, text: &str) -> Vec<String> {
    let folder = path.parent().unwrap_or(root);
    let resolves = |target: &str| {
        // As on the hosting sites, a leading slash means the root of the repository.
        let place = target.strip_prefix('/').map_or_else(|| folder.join(target), |rest| root.join(rest));
        place.exists()
    };
    targets(text)
        .into_iter()
        .filter_map(|(line, target)| Some((line, relative_path(&target)?)))
        .filter(|(_, target)| !resolves(target))
        .map(|(line, target)| format!("{line}: nothing at `{target}`"))
        .collect()
}

/// The path in a link, if it is a link to a file of the repository.
fn relative_path(target: &str) -> Option<String> {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    let has_scheme = path.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/'));
    (!path.is_empty() && !has_scheme && !path.starts_with("//")).then(|| path.replace("%20", " "))
}

/// The targets of all links and images, each with its line: `[text](target)` and `[name]: target`.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => {
                let line = without_code_spans(line);
                found.extend(targets_in_line(&line).into_iter().map(|target| (number, target)));
            }
            _ => {}
        }
    }
    found
}

fn targets_in_line(line: &str) -> Vec<String> {
    let definition = line
        .trim_start()
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
        .filter(|(name, _)| !name.contains(']') && !name.starts_with('^'))
        .map(|(_, target)| target.trim());
    let inline = line.split("](").skip(1).map(|rest| match rest.strip_prefix('<') {
        Some(quoted) => quoted.split('>').next().unwrap_or_default(),
        None => rest.split([')', ' ']).next().unwrap_or_default(),
    });
    definition
        .map(|target| target.split_whitespace().next().unwrap_or_default())
        .into_iter()
        .chain(inline)
        .map(str::to_owned)
        .collect()
}

fn without_code_spans(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(text: &str) -> Vec<String> {
        targets(text).into_iter().map(|(line, target)| format!("{line} {target}")).collect()
    }

    #[test]
    fn links_images_and_definitions_are_found() {
        let text =
            "See [a](a.md), ![b](img/b.png \"title\")\nand [c](<with space.md>).\n\n[d]: ../d.md \"title\"\n";
        assert_eq!(found_in(text), ["1 a.md", "1 img/b.png", "2 with space.md", "4 ../d.md"]);
    }

    #[test]
    fn code_is_not_searched() {
        let text = "```toml\n[x](y)\n~~~\n[x](y)\n```\n`[x](y)` [a](b)\n[^note]: no link\n";
        assert_eq!(found_in(text), ["6 b"]);
    }

    #[test]
    fn only_paths_are_followed() {
        for target in ["https://example.org/a", "mailto:a@example.org", "#part", "//example.org"] {
            assert_eq!(relative_path(target), None, "{target}");
        }
        assert_eq!(relative_path("a.md#part").as_deref(), Some("a.md"));
        assert_eq!(relative_path("a%20b.md").as_deref(), Some("a b.md"));
    }

    #[test]
    fn links_count_from_the_folder_of_their_file_or_from_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("docs")).unwrap();
        std::fs::write(root.path().join("docs/a.md"), "").unwrap();
        std::fs::write(root.path().join("README.md"), "").unwrap();
        let text = "[1](a.md) [2](../README.md#top) [3](/docs/a.md) [4](README.md)\n[5](../docs)";
        let found = broken(root.path(), &root.path().join("docs/b.md"), text);
        assert_eq!(found, ["1: nothing at `README.md`"]);
    }
}
