//! A cron expression as systemd writes times, where systemd can say the same.

/// What the names stand for.
const NAMES: [(&str, &str); 6] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// `OnCalendar=` of a cron expression in a zone; `None` for what only cron can say: the last day of a month, the n-th
/// Friday, and days of the month together with days of the week, of which cron takes either and systemd both.
pub(super) fn on_calendar(cron: &str, zone: &str) -> Option<String> {
    let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(cron));
    let fields: Vec<&str> = named.map_or(cron, |(_, fields)| fields).split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else { return None };
    let (minute, hour) = (Field::read(minute, 0, 59, &[])?, Field::read(hour, 0, 23, &[])?);
    let (day, month) = (Field::read(day, 1, 31, &[])?, Field::read(month, 1, 12, &MONTHS)?);
    let weekday = Field::read(weekday, 0, 7, &DAYS)?.into_weekdays();
    if day != Field::Any && weekday != Field::Any {
        return None;
    }
    let weekdays = match &weekday {
        Field::Any => String::new(),
        Field::Only(days) => {
            // As systemd writes them: Mon, Tue.
            let name = |day: &u32| {
                let name = DAYS.get(*day as usize).copied().unwrap_or_default();
                format!("{}{}", &name[..1], name[1..].to_lowercase())
            };
            format!("{} ", days.iter().map(name).collect::<Vec<_>>().join(","))
        }
    };
    Some(format!("{weekdays}*-{}-{} {}:{}:00 {zone}", month.text(), day.text(), hour.text(), minute.text()))
}

/// The values of one field.
#[derive(Debug, PartialEq, Eq)]
enum Field {
    Any,
    /// In their order, none twice.
    Only(Vec<u32>),
}

impl Field {
    fn read(text: &str, least: u32, most: u32, names: &[&str]) -> Option<Self> {
        if matches!(text, "*" | "?") {
            return Some(Self::Any);
        }
        let number = |word: &str| {
            let place = names.iter().position(|name| name.eq_ignore_ascii_case(word));
            // Months count from 1, days of the week from 0, as the field does.
            let value = place.and_then(|at| u32::try_from(at).ok()).map(|at| at + least);
            value.or_else(|| word.parse().ok()).filter(|number| (least..=most).contains(number))
        };
        let mut values = Vec::new();
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)?),
                None => (item, 1),
            };
            let (from, to) = match range.split_once('-') {
                Some((from, to)) => (number(from)?, number(to)?),
                None if range == "*" => (least, most),
                None if item.contains('/') => (number(range)?, most),
                None => (number(range)?, number(range)?),
            };
            if from > to {
                return None;
            }
            values.extend((from..=to).step_by(step));
        }
        values.sort_unstable();
        values.dedup();
        Some(Self::Only(values))
    }

    /// Sunday is both 0 and 7.
    fn into_weekdays(self) -> Self {
        let Self::Only(days) = self else { return self };
        let mut days: Vec<u32> = days.into_iter().map(|day| day % 7).collect();
        days.sort_unstable();
        days.dedup();
        Self::Only(days)
    }

    fn text(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Only(values) => {
                values.iter().map(|value| format!("{value:02}")).collect::<Vec<_>>().join(",")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_becomes_a_calendar_expression() {
        let seoul = |cron| on_calendar(cron, "Asia/Seoul");
        for (cron, expected) in [
            ("0 20 * * *", "*-*-* 20:00:00 Asia/Seoul"),
            ("@daily", "*-*-* 00:00:00 Asia/Seoul"),
            ("*/15 * * * *", "*-*-* *:00,15,30,45:00 Asia/Seoul"),
            ("30 8-18/2 * * MON-FRI", "Mon,Tue,Wed,Thu,Fri *-*-* 08,10,12,14,16,18:30:00 Asia/Seoul"),
            ("0 3 1,15 JAN,jul *", "*-01,07-01,15 03:00:00 Asia/Seoul"),
            ("0 4 * * 7", "Sun *-*-* 04:00:00 Asia/Seoul"),
        ] {
            assert_eq!(seoul(cron).as_deref(), Some(expected), "{cron}");
        }
    }

    #[test]
    fn what_only_cron_can_say_is_not_said_otherwise() {
        for cron in
            ["0 20 L * *", "0 20 * * 5#2", "0 20 13 * 5", "0 20 15W * *", "0 20 * *", "0 20 * * FRI-MON"]
        {
            assert_eq!(on_calendar(cron, "UTC"), None, "{cron}");
        }
    }
}
