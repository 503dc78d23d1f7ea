//! Small tables for a person.

use std::fmt::Write as _;

/// On which side of its column a cell stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Rows below their headings, in columns as wide as their widest cell, indented by two spaces. Without rows, nothing.
///
/// Cells may come from names and bytes of files: what would control the terminal is shown in words.
pub(crate) fn table<const N: usize>(head: [(&str, Side); N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head_cells = head.map(|(name, _)| name.to_owned());
    let all: Vec<[String; N]> =
        std::iter::once(&head_cells).chain(rows).map(|row| row.each_ref().map(|cell| shown(cell))).collect();
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for ((cell, width), (_, side)) in row.iter().zip(widths).zip(head) {
            let _ = match side {
                Side::Left => write!(line, "  {cell:<width$}"),
                Side::Right => write!(line, "  {cell:>width$}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A text from outside, with what is no printable character in its escaped form.
pub(crate) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["speed_range", "7"], ["syntax", "1,204"]].map(|row| row.map(str::to_owned));
        let text = table([("rule", Side::Left), ("lines", Side::Right)], &rows);
        assert_eq!(text, "  rule         lines\n  speed_range      7\n  syntax       1,204\n");
        assert_eq!(table([("rule", Side::Left)], &[]), "");
    }

    #[test]
    fn a_name_cannot_control_the_terminal() {
        assert_eq!(shown("a\u{1b}[2J\nb트럭"), "a\\u{1b}[2J\\nb트럭");
    }
}
