//! What whoever runs a backup wants said of it.

use serde::{Deserialize, Serialize};

/// A label and a value that the report of a run and the message about it show beside the run's own counts, such as
/// `Distance` and `12,345 km`. Each is one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub label: String,
    /// How much, or how.
    pub value: String,
}

/// A text that cannot be a [`Fact`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a fact: label and value are each one line, without spaces around it, the label of 1 to {label} and the value of 1 to {value} characters",
    label = Fact::MAX_LABEL_CHARS,
    value = Fact::MAX_VALUE_CHARS
)]
pub struct InvalidFact(pub String);

impl Fact {
    /// The longest label, in characters.
    pub const MAX_LABEL_CHARS: usize = 60;

    /// The longest value, in characters.
    pub const MAX_VALUE_CHARS: usize = 200;

    /// Checks two texts and takes them as a fact.
    ///
    /// # Errors
    /// [`InvalidFact`] when one of them is empty, too long, or not one line.
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Result<Self, InvalidFact> {
        let fact = Self { label: label.into(), value: value.into() };
        match Self::lossy(&fact.label, &fact.value) {
            Some(same) if same == fact => Ok(fact),
            _ => Err(InvalidFact(fact.label)),
        }
    }

    /// A fact made from any texts: control characters become spaces, and what is too long ends with `…`. None when nothing is left of
    /// one of them.
    pub fn lossy(label: &str, value: &str) -> Option<Self> {
        let fact =
            Self { label: line(label, Self::MAX_LABEL_CHARS), value: line(value, Self::MAX_VALUE_CHARS) };
        (!fact.label.is_empty() && !fact.value.is_empty()).then_some(fact)
    }
}

/// One line of at most so many characters.
fn line(text: &str, max_chars: usize) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut rest = text.trim().chars().map(|c| if is_break(c) { ' ' } else { c });
    let mut line: String = rest.by_ref().take(max_chars).collect();
    if rest.next().is_some() {
        line.pop();
        line.push('…');
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_two_short_lines() {
        let fact = Fact::new("Distance", "12,345 km").unwrap();
        assert_eq!((fact.label.as_str(), fact.value.as_str()), ("Distance", "12,345 km"));
        for (label, value) in [
            ("", "1"),
            ("a", ""),
            (" a", "1"),
            ("a", "1\n2"),
            (&"a".repeat(61), "1"),
            ("a", &"1".repeat(201)),
        ] {
            let refused = Fact::new(label, value).unwrap_err();
            assert!(
                refused.to_string().contains("1 to 60 and the value of 1 to 200 characters"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_fact_is_made_of_anything_but_nothing() {
        let long = Fact::lossy(&"é".repeat(61), &"1".repeat(201)).unwrap();
        assert_eq!(long.label, format!("{}…", "é".repeat(59)));
        assert_eq!((long.label.chars().count(), long.value.chars().count()), (60, 200));
        let odd = Fact::lossy("\u{1b}[2J a\r", "1\u{2028}2\0").unwrap();
        assert_eq!((odd.label.as_str(), odd.value.as_str()), ("[2J a", "1 2"));
        assert!(Fact::new(odd.label, odd.value).is_ok());
        assert_eq!(Fact::lossy("a", "\u{7}\n"), None);
        assert_eq!(Fact::lossy("\t", "1"), None);
    }
}
