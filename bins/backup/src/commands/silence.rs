//! `backup silence`: no alerts for a while.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::cli::{self, Common};
use crate::console;
use crate::exit::{Exit, Stop};
use crate::session;

pub(crate) async fn run(common: &Common, arguments: &cli::Silence) -> Result<Exit, Stop> {
    let opened = session::open_quietly(common).await?;
    let now = Utc::now();
    let until = match &arguments.until {
        None => now,
        Some(text) => moment(text, now, opened.settings.timezone).ok_or_else(|| {
            Stop::usage(format!(
                "--until {text:?} is not a time to come: write 2h, 20:00 (the next one in the job's time zone), or RFC 3339"
            ))
        })?,
    };
    let silence = opened.backup.silence(until).await.map_err(|error| Stop::of(&error))?;
    if common.json {
        let text = serde_json::to_string(&silence).map_err(|error| Stop::failed(error.to_string()))?;
        return console::show(&text);
    }
    if arguments.off {
        return console::show("alerts go out again");
    }
    let until = silence.until.format("%Y-%m-%d %H:%M %:z");
    console::show(&format!("no alerts until {until}; what is trouble still is told then"))
}

/// A time to come: a span from now, the next time of a clock in the zone, or a moment.
fn moment(text: &str, now: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let until = if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        at.to_utc()
    } else if let Ok(time) = NaiveTime::parse_from_str(text, "%H:%M") {
        let today = now.with_timezone(&zone).date_naive();
        // Twice, for where the clock skips the time today.
        let at =
            |days| today.checked_add_days(Days::new(days))?.and_time(time).and_local_timezone(zone).latest();
        (0..3).filter_map(at).map(|at| at.to_utc()).find(|at| *at > now)?
    } else {
        now.checked_add_signed(TimeDelta::from_std(humantime::parse_duration(text).ok()?).ok()?)?
    };
    (until > now).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_come_is_read_in_three_ways() {
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let read = |text| moment(text, now, chrono_tz::Asia::Seoul).map(|at| at.to_rfc3339());
        assert_eq!(read("2h").unwrap(), "2026-11-20T12:00:00+00:00");
        assert_eq!(read("20:00").unwrap(), "2026-11-20T11:00:00+00:00");
        assert_eq!(read("19:00").unwrap(), "2026-11-21T10:00:00+00:00", "it is 19:00 there");
        assert_eq!(read("2026-11-20T21:00:00+09:00").unwrap(), "2026-11-20T12:00:00+00:00");
        for odd in ["", "0s", "25:00", "tomorrow", "2026-11-20T18:00:00+09:00", "99999999999y"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
