//! Makes text that others chose (file names, server replies) harmless in a line and on a terminal.

use std::fmt::{self, Write as _};

/// Whether `c` could end a line, start an escape sequence, or change how its neighbours are shown.
///
/// Besides the control characters of ASCII and Latin-1 (C1 holds one-character escape sequences)
/// these are Unicode's line separators, its text direction controls and its invisible characters.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}')
}

/// Shows a message on one line; a backslash is doubled, so that what was escaped stays readable.
pub(crate) struct Message<'a>(pub(crate) &'a str);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write_char(f, c))
    }
}

/// Shows a value so that the end of it is plain: in quotes unless it is a simple word.
pub(crate) struct Value<'a>(pub(crate) &'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = !self.0.is_empty()
            && !self.0.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '=' | '\\') || is_unsafe(c));
        if is_word {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if c == '"' {
                f.write_char('\\')?;
            }
            write_char(f, c)?;
        }
        f.write_char('"')
    }
}

/// Shows a key as one word: what could not be in a word becomes `_`.
pub(crate) struct Key<'a>(pub(crate) &'a str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            let is_plain = !c.is_whitespace() && !matches!(c, '"' | '=' | '\\') && !is_unsafe(c);
            f.write_char(if is_plain { c } else { '_' })?;
        }
        Ok(())
    }
}

/// Shows a JSON document with `\u` and four digits for the unsafe characters that JSON itself would let pass.
///
/// In compact JSON these occur inside strings only, so the document keeps its meaning.
pub(crate) struct Json<'a>(pub(crate) &'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_unsafe(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(f, "\\u{unit:04x}")?;
                }
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

fn write_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\\' => f.write_str("\\\\"),
        c if is_unsafe(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
        c => f.write_char(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_line_and_lose_their_escape_sequences() {
        let hostile = "a\nb\r\t\u{1b}[31m\u{9b}0m\u{202e}\u{2028}\\n 차량 é";
        let expected = "a\\nb\\r\\t\\u{1b}[31m\\u{9b}0m\\u{202e}\\u{2028}\\\\n 차량 é";
        assert_eq!(Message(hostile).to_string(), expected);
    }

    #[test]
    fn values_are_quoted_when_their_end_would_be_unclear() {
        let shown: Vec<_> = ["a/b-1.json", "", "a b", "a=b", "say \"x\"", "l\nm", "c:\\d"]
            .map(|v| Value(v).to_string())
            .into();
        let expected =
            ["a/b-1.json", "\"\"", "\"a b\"", "\"a=b\"", r#""say \"x\"""#, "\"l\\nm\"", r#""c:\\d""#];
        assert_eq!(shown, expected);
    }

    #[test]
    fn keys_are_one_word() {
        assert_eq!(Key("a b=\n\u{1b}c").to_string(), "a_b___c");
    }

    #[test]
    fn json_keeps_its_meaning() {
        assert_eq!(Json("\"\u{7f}\u{9b}\u{e0041}ü\"").to_string(), "\"\\u007f\\u009b\\udb40\\udc41ü\"");
    }
}
