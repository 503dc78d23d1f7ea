//! Who is told at once.

/// A mention as Slack writes it. Only [`Mention::parse`] makes one, so it is safe in a message as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention(String);

impl Mention {
    /// Reads what a person writes. `None` for what Slack could not deliver, such as a user name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
        // Slack allows a label after `|`, which it replaces by the present name.
        let name = inner.split('|').next().unwrap_or_default().trim_start_matches(['@', '!']);
        let name = name.strip_prefix("subteam^").unwrap_or(name);
        match name {
            "here" | "channel" | "everyone" => Some(Self(format!("<!{name}>"))),
            _ if is_id(name, &['U', 'W']) => Some(Self(format!("<@{name}>"))),
            _ if is_id(name, &['S']) => Some(Self(format!("<!subteam^{name}>"))),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Ids of members start with `U` or `W`, of groups with `S`; capital letters and digits follow.
fn is_id(name: &str, first: &[char]) -> bool {
    (3..=32).contains(&name.len())
        && name.starts_with(first)
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn becomes_what_slack_understands() {
        let as_slack = |text| Mention::parse(text).map(|mention| mention.0);
        for (text, expected) in [
            ("@here", "<!here>"),
            ("<!here>", "<!here>"),
            (" here ", "<!here>"),
            ("@channel", "<!channel>"),
            ("<!everyone|everyone>", "<!everyone>"),
            ("U123", "<@U123>"),
            ("@U123", "<@U123>"),
            ("<@W0AB>", "<@W0AB>"),
            ("<@U123|bob>", "<@U123>"),
            ("S123", "<!subteam^S123>"),
            ("<!subteam^S123>", "<!subteam^S123>"),
            ("<!subteam^S123|@ops>", "<!subteam^S123>"),
        ] {
            assert_eq!(as_slack(text).as_deref(), Some(expected), "{text:?}");
        }
        for text in
            ["", "@", "@bob", "bob@example.org", "#channel", "U1", "u123", "<!here> <!channel>", "U12>"]
        {
            assert_eq!(as_slack(text), None, "{text:?}");
        }
    }
}
