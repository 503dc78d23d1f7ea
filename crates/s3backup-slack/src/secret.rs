//! A text that nobody may see by accident.

use std::fmt;

/// A token or a webhook URL. `Debug` and `Display` show `[redacted]`, and it cannot be serialised.
///
/// White space around the text is dropped: it comes from files that end in a line feed, and no secret of Slack has
/// any.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let trimmed = text.trim();
        if trimmed.len() == text.len() { Self(text) } else { Self(trimmed.to_owned()) }
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_and_drops_the_line_feed_of_a_file() {
        let secret = Secret::new("xoxb-1-hush\n");
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)).matches("hush").count(), 0);
        assert_eq!(secret.expose(), "xoxb-1-hush");
        assert!(Secret::new(" \n").is_empty());
    }
}
