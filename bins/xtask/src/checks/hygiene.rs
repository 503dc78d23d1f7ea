//! Things that belong to work in progress and not into a commit.

/// Each with what it is called. Put together from halves, so that this file does not find itself.
const UNWANTED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "a note for later"),
    (concat!("FIX", "ME"), "a note for later"),
    (concat!("#[", "ignore"), "a test that does not run"),
    (concat!("db", "g!("), "a debug print"),
];

/// What `text` holds of it, as `LINE: what`.
pub(crate) fn findings(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (pattern, what) in UNWANTED {
            if line.contains(pattern) {
                found.push(format!("{number}: {what}, `{pattern}`"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_with_its_line() {
        for (pattern, what) in UNWANTED {
            let found = findings(&format!("fn main() {{\n    {pattern} = x)] }}\n"));
            assert_eq!(found, [format!("2: {what}, `{pattern}`")]);
        }
    }

    #[test]
    fn finished_code_has_none() {
        assert_eq!(findings("/// Debugs, and ignores what it must.\nfn main() {}\n"), Vec::<String>::new());
    }
}
