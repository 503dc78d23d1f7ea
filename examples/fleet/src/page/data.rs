//! What was wrong with the files.

use std::fmt::Write as _;

use s3backup_core::report::human;

use crate::aside::Rule;
use crate::digest::Digest;

use super::words;

/// The most files that are listed; the table of errors has every line.
const LISTED: usize = 12;

/// What was set aside, by rule, and the files with most of it.
pub(super) fn section(digest: &Digest) -> String {
    let total = &digest.total;
    if total.aside_total() == 0 && total.late_lines == 0 {
        return "<p>Nothing. Every line of every file is a clean point.</p>".to_owned();
    }
    let mut out = "<table class=\"list rules\"><thead><tr><th scope=\"col\">What</th><th scope=\"col\" class=\"num\">How many</th></tr></thead><tbody>".to_owned();
    let mut line = |what: &str, count: u64| {
        if count > 0 {
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{what}</th><td class=\"num\">{}</td></tr>",
                human::count(count)
            );
        }
    };
    for rule in Rule::ALL {
        line(meaning(rule), total.aside.get(&rule).copied().unwrap_or(0));
    }
    line("Lines out of order, which were sorted in", total.late_lines);
    out.push_str("</tbody></table>");
    if !digest.faults.is_empty() {
        out.push_str("<h3>Files with most of it</h3><table class=\"list files\"><thead><tr><th scope=\"col\">File</th><th scope=\"col\" class=\"num\">Set aside</th><th scope=\"col\">The first</th></tr></thead><tbody>");
        for fault in digest.faults.iter().take(LISTED) {
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"num\">{}</td><td>{}</td></tr>",
                words::name(&fault.trip),
                if fault.usable { human::count(fault.aside.0) } else { "all".to_owned() },
                s3backup_core::report::Text(&fault.detail)
            );
        }
        out.push_str("</tbody></table>");
    }
    out
}

fn meaning(rule: Rule) -> &'static str {
    match rule {
        Rule::Unreadable => "Files that could not be read",
        Rule::Empty => "Empty files",
        Rule::TooLong => "Files with more points than one trip may have",
        Rule::Encoding => "Files in an unknown encoding",
        Rule::LongLine => "Lines that are too long",
        Rule::Syntax => "Broken lines",
        Rule::Value => "Lines with a value that is missing or impossible",
        Rule::OtherDay => "Points of another day",
        Rule::Duplicate => "Points that are there twice",
        Rule::SameTime => "Other points of the same time",
        Rule::SpeedRange => "Points that are faster than any vehicle",
        Rule::Teleport => "Points that no vehicle can reach",
        Rule::Defect => "Files on which the program itself failed",
        Rule::StandstillNoise => "Points of a standing vehicle whose position wanders",
    }
}
