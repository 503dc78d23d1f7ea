//! What a person may have meant.

/// The one of `names` that looks most like `text`, if any looks like it.
pub(crate) fn nearest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let text = text.to_lowercase();
    let far = |name: &str| strsim::damerau_levenshtein(&text, &name.to_lowercase());
    let (far, name) = names.into_iter().map(|name| (far(name), name)).min_by_key(|(far, _)| *far)?;
    // A third of the letters wrong is a typing error, half of them another word.
    (far <= text.chars().count().max(3) / 3).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors_are_seen_through_and_other_words_are_not() {
        let names = ["bucket", "prefix", "region", "min_age"];
        for (text, expected) in [
            ("buket", Some("bucket")),
            ("Bucket", Some("bucket")),
            ("perfix", Some("prefix")),
            ("min-age", Some("min_age")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(text, names), expected, "{text}");
        }
    }
}
