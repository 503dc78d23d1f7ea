//! From a text to a cron expression, and a text that is none to what is wrong with it.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::Error;
use crate::error::shown;

/// The fields in their order, and what each may hold.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of week", "0 to 7 or SUN to SAT"),
];

/// What stands for five fields.
const NAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// Reads five fields, or a name.
pub(crate) fn parse(text: &str) -> Result<Cron, Error> {
    let fields: Vec<_> = text.split_whitespace().collect();
    match fields.as_slice() {
        [name] if NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)) => {}
        [name] if name.starts_with('@') => {
            let why = format!("it is none of the names {}", NAMES.join(", "));
            return Err(Error::invalid(text, why));
        }
        [_, _, _, _, _] => {}
        [] => return Err(Error::invalid(text, "it is empty")),
        others => return Err(Error::invalid(text, format!("it has {} of 5 fields", others.len()))),
    }
    read(text).ok_or_else(|| Error::invalid(text, wrong_field(&fields)))
}

fn read(text: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text).ok()
}

/// The library does not say which field it means, so each is tried alone.
fn wrong_field(fields: &[&str]) -> String {
    let is_wrong = |at: usize, field: &str| {
        let mut alone = ["*"; FIELDS.len()];
        if let Some(slot) = alone.get_mut(at) {
            *slot = field;
        }
        read(&alone.join(" ")).is_none()
    };
    let mut all = fields.iter().zip(FIELDS).enumerate();
    match all.find(|(at, (field, _))| is_wrong(*at, field)) {
        Some((_, (field, (name, range)))) => {
            format!("the {name} is {:?}, expected {range}, with * , - /", shown(field))
        }
        None => "its fields do not fit each other".to_owned(),
    }
}
