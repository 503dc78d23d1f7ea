//! What is said of days, for a person line by line, for a program as one JSON document.

use std::fmt::Write as _;
use std::path::PathBuf;

use s3backup_core::report::human;
use s3backup_fleet::digest::Digest;
use s3backup_fleet::facts::{self, Facts};
use s3backup_fleet::figures::Figures;
use s3backup_fleet::part::Part;
use s3backup_fleet::summary;
use serde_json::{Map, Value, json};

use crate::exit::{Exit, Stop};
use crate::output;
use crate::session::Session;
use crate::text::{self, Side};

/// The version of the JSON that commands print. It grows when a field gets another meaning.
const SCHEMA: u32 = 1;

/// From metres a second.
pub(super) const KMH: f64 = 3.6;

/// Collects what a command says.
pub(super) struct Told {
    /// Whether files that could not be used are somebody else's to look after.
    is_step: bool,
    json: Option<Map<String, Value>>,
    exit: Exit,
    facts: Facts,
}

impl Told {
    pub(super) fn new(session: &Session) -> Self {
        let json = session.common.json.then(|| {
            let head = [("schema", json!(SCHEMA)), ("days", json!([]))];
            head.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        });
        Self { is_step: session.step.is_some(), json, exit: Exit::Success, facts: Facts::default() }
    }

    /// Tells of a day: the headline, what the command says, and which files were written.
    pub(super) fn day(
        &mut self,
        digest: &Digest,
        part: Part,
        written: &[PathBuf],
        text: impl FnOnce() -> String,
        more: Option<(&'static str, Value)>,
    ) -> Result<(), Stop> {
        self.facts.add(digest);
        if digest.total.lost_files() > 0 && !self.is_step {
            self.exit = Exit::Partial;
        }
        let Some(json) = &mut self.json else {
            output::print_line(&headline(digest, part))?;
            output::print(&text())?;
            for path in written {
                output::print_line(&format!("  -> {}", path.display()))?;
            }
            return Ok(());
        };
        let mut day = summary::json(digest);
        day.insert("part".to_owned(), part.to_string().into());
        day.insert("written".to_owned(), written.iter().map(|path| path.to_string_lossy()).collect());
        day.extend(more.map(|(name, value)| (name.to_owned(), value)));
        if let Some(Value::Array(days)) = json.get_mut("days") {
            days.push(Value::Object(day));
        }
        Ok(())
    }

    /// Says something beside the days: the text for a person, the value under its name for a program.
    pub(super) fn also(&mut self, name: &str, value: Value, text: &str) -> Result<(), Stop> {
        match &mut self.json {
            Some(json) => json.insert(name.to_owned(), value),
            None => return output::print(text),
        };
        Ok(())
    }

    /// The figures of all days.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        self.facts.lines()
    }

    /// Says it all to a program, and how the command ends.
    pub(super) fn finish(self) -> Result<Exit, Stop> {
        if let Some(json) = self.json {
            output::print_line(&Value::Object(json).to_string())?;
        }
        Ok(self.exit)
    }
}

/// One line on a day.
pub(super) fn headline(digest: &Digest, part: Part) -> String {
    let total = &digest.total;
    let share = if part == Part::WHOLE { String::new() } else { format!(", part {part}") };
    let mut line = format!(
        "{}{share}: {}, {} points",
        digest.day,
        human::files(total.files),
        human::count(total.points)
    );
    if total.wrong_lines() > 0 {
        let _ = write!(line, ", lines with errors: {}", human::count(total.wrong_lines()));
    }
    for files in facts::files(total) {
        let _ = write!(line, ", {files}");
    }
    if total.files == 0 && part == Part::WHOLE {
        let _ = write!(line, "; no folder VEHICLE/{} has a .json or .csv in it", digest.day);
    }
    line
}

/// What was set aside, by rule.
pub(super) fn by_rule(total: &Figures) -> String {
    let rows = total.aside.iter().map(|(rule, count)| [rule.as_str().to_owned(), human::count(*count)]);
    text::table([("rule", Side::Left), ("set aside", Side::Right)], &rows.collect::<Vec<_>>())
}

/// Labels and values, one a line.
pub(super) fn lines(facts: &[(String, String)]) -> String {
    let width = facts.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    facts.iter().fold(String::new(), |mut text, (label, value)| {
        let _ = writeln!(text, "  {label:<width$}  {value}");
        text
    })
}
