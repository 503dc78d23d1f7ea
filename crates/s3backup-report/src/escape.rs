//! Texts of others inside of HTML.

use std::fmt::{self, Display, Write as _};

/// Shows a text so that it is only ever text, in an element and in a quoted attribute alike.
///
/// A line break is a blank. Other control characters and the invisible marks that change the direction of what follows are
/// shown by their number, so that a name cannot look like another one.
pub struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\r' | '\t' => f.write_char(' ')?,
                c if c.is_control() || is_deceiving(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Marks of direction, and characters that take no room.
fn is_deceiving(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_a_text() {
        for (text, shown) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("two\nlines\0\x1b[31m", "two lines\\u{0}\\u{1b}[31m"),
            ("invoice\u{202e}gpj.exe", "invoice\\u{202e}gpj.exe"),
            ("차량/여행.json שלום", "차량/여행.json שלום"),
        ] {
            assert_eq!(Text(text).to_string(), shown);
        }
    }
}
