//! Text from outside, made safe and short for a message.
//!
//! Slack needs `&`, `<` and `>` escaped. Beyond that, nothing that comes from data may mention anybody, swallow what
//! comes after it or turn the line around: control and invisible characters are shown as `[U+202E]`, fences of
//! backticks and words such as `@channel` are replaced by look-alikes. (Slack does not take a bare `@channel` for a
//! mention, but servers that imitate its webhooks do.)

/// What kind of place a text goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One line: line feeds become spaces.
    Line,
    /// Several lines.
    Lines,
    /// Between two backticks: shown as it is, apart from backticks.
    Code,
}

/// Length as Slack counts it, or more: some of its limits count UTF-16 code units.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The text without white space around it, made safe, and cut at its end to at most `limit`.
pub(crate) fn clip(text: &str, limit: usize, place: Place) -> String {
    let text = text.trim();
    let mut out = String::new();
    let (mut used, mut keep) = (0, 0);
    for (at, c) in text.char_indices() {
        let piece = safe(text, at, c, place);
        used += width(&piece);
        if used > limit {
            out.truncate(keep);
            if limit > 0 {
                out.push('…');
            }
            return out;
        }
        out.push_str(&piece);
        if used < limit {
            keep = out.len();
        }
    }
    out
}

/// As [`clip`], but cut at its beginning: of a path the end tells most.
pub(crate) fn clip_start(text: &str, limit: usize, place: Place) -> String {
    let text = text.trim();
    let mut pieces = Vec::new();
    let (mut used, mut keep) = (0, 0);
    for (at, c) in text.char_indices().rev() {
        let piece = safe(text, at, c, place);
        used += width(&piece);
        if used > limit {
            pieces.truncate(keep);
            if limit > 0 {
                pieces.push("…".to_owned());
            }
            break;
        }
        pieces.push(piece);
        if used < limit {
            keep = pieces.len();
        }
    }
    pieces.into_iter().rev().collect()
}

/// The character at `at` of `text`, made safe.
fn safe(text: &str, at: usize, c: char, place: Place) -> String {
    match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '`' if place == Place::Code || in_fence(text, at) => LOOKS_LIKE_BACKTICK.to_string(),
        '@' if place != Place::Code && is_broadcast(&text[at + 1..]) => LOOKS_LIKE_AT.to_string(),
        '\n' if place == Place::Lines => c.to_string(),
        '\n' | '\t' if place != Place::Code => ' '.to_string(),
        '\r' if place != Place::Code && text[at + 1..].starts_with('\n') => String::new(),
        _ if is_unseen(c) => format!("[U+{:04X}]", u32::from(c)),
        _ => c.to_string(),
    }
}

const LOOKS_LIKE_BACKTICK: char = '\u{2cb}';
const LOOKS_LIKE_AT: char = '\u{ff20}';

/// Whether the backtick at `at` is one of three or more, which would make code of all that follows.
fn in_fence(text: &str, at: usize) -> bool {
    let before = text[..at].bytes().rev().take(2).take_while(|b| *b == b'`').count();
    let after = text[at..].bytes().take(3).take_while(|b| *b == b'`').count();
    before + after >= 3
}

fn is_broadcast(rest: &str) -> bool {
    ["here", "channel", "everyone", "group", "all"].iter().any(|word| {
        rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && !rest[word.len()..].starts_with(|c: char| c.is_alphanumeric())
    })
}

/// Characters that nobody sees, or that change how others are seen.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_never_cut() {
        let text = "a&b<c>d";
        let all = "a&amp;b&lt;c&gt;d";
        for limit in 0..=all.len() {
            let cut = clip(text, limit, Place::Line);
            assert!(width(&cut) <= limit, "{limit}: {cut}");
            let rest = cut.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
            assert!(!rest.contains('&') && !rest.contains(';'), "{limit}: {cut}");
        }
        assert_eq!(clip(text, all.len(), Place::Line), all);
        assert_eq!(clip(text, all.len() - 1, Place::Line), "a&amp;b&lt;c…");
        assert_eq!(clip(text, 6, Place::Line), "a…");
        assert_eq!(clip_start(text, 6, Place::Line), "…&gt;d");
        assert_eq!(clip_start(text, all.len(), Place::Line), all);
        assert_eq!(clip_start("/data/trips/한글.json", 9, Place::Code), "…/한글.json");
    }

    #[test]
    fn wide_characters_are_cut_between() {
        assert_eq!(clip("🚗🚗🚗", 5, Place::Line), "🚗🚗…");
        assert_eq!(clip("🚗🚗🚗", 4, Place::Line), "🚗…");
        assert_eq!(clip("한글한글", 3, Place::Line), "한글…");
    }

    #[test]
    fn nobody_is_pinged_and_nothing_swallowed() {
        let line = |text| clip(text, 100, Place::Line);
        assert_eq!(line("<!channel> <@U1>"), "&lt;!channel&gt; &lt;@U1&gt;");
        assert_eq!(line("@here, @Channel @herekitty a@b"), "\u{ff20}here, \u{ff20}Channel @herekitty a@b");
        assert_eq!(line("`ok` ```not````"), "`ok` ˋˋˋnotˋˋˋˋ");
        assert_eq!(line("a\u{202e}b\nc\td\r\ne\u{7}"), "a[U+202E]b c d e[U+0007]");
        assert_eq!(clip("a`b\n@here", 100, Place::Code), "aˋb[U+000A]@here");
        assert_eq!(clip("a\r\nb\n\nc\n", 100, Place::Lines), "a\nb\n\nc");
    }
}
