//! Times as they are written in trips.

use chrono::{DateTime, NaiveDate};

use super::number;

/// From here on a number is taken for milliseconds: as seconds it is the year 5138, as milliseconds March 1973.
const LEAST_MILLISECONDS: f64 = 1e11;
/// The years that RFC 3339 can say, 0 to 9999, in milliseconds since 1970.
const KNOWN_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// Milliseconds since 1970-01-01 UTC of a time as RFC 3339 with any offset, or of a number as [`of_number`] takes it. What is finer
/// than a millisecond is cut off.
pub(super) fn of_text(text: &[u8]) -> Option<i64> {
    usual(text).or_else(|| general(text)).or_else(|| match number::leading(text)? {
        (number, b"") => of_number(number),
        _ => None,
    })
}

/// Milliseconds since 1970-01-01 UTC of a number of seconds, or of milliseconds if it is that large.
pub(super) fn of_number(number: f64) -> Option<i64> {
    let time_ms = if number.abs() < LEAST_MILLISECONDS { number * 1_000.0 } else { number };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what does not fit is out of the years that are taken"
    )]
    Some(time_ms.round() as i64).filter(|time_ms| KNOWN_MS.contains(time_ms))
}

/// `2026-11-23T08:15:02+09:00`, with any decimals of the second, and `Z` for an offset of nothing.
fn usual(text: &[u8]) -> Option<i64> {
    let (fixed, rest) = text.split_first_chunk::<19>()?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2] = fixed
    else {
        return None;
    };
    let date = NaiveDate::from_ymd_opt(
        (two(y1, y2)? * 100 + two(y3, y4)?).cast_signed(),
        two(m1, m2)?,
        two(d1, d2)?,
    )?;
    let (milli, rest) = match rest.strip_prefix(b".") {
        Some(rest) => milliseconds(rest)?,
        None => (0, rest),
    };
    let time = date.and_hms_milli_opt(two(h1, h2)?, two(i1, i2)?, two(s1, s2)?, milli)?;
    let offset_min = match *rest {
        [b'Z'] => 0,
        [sign, h1, h2, b':', m1, m2] => {
            let minutes = Some((two(h1, h2)?, two(m1, m2)?))
                .filter(|(hours, minutes)| *hours < 24 && *minutes < 60)
                .map(|(hours, minutes)| i64::from(hours * 60 + minutes))?;
            match sign {
                b'+' => minutes,
                b'-' => -minutes,
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(time.and_utc().timestamp_millis() - offset_min * 60_000)
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

/// The decimals of a second, and what follows.
fn milliseconds(text: &[u8]) -> Option<(u32, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (decimals, rest) = text.split_at_checked(count).filter(|(decimals, _)| !decimals.is_empty())?;
    let digit = |at: usize| decimals.get(at).map_or(0, |digit| u32::from(digit - b'0'));
    Some((digit(0) * 100 + digit(1) * 10 + digit(2), rest))
}

/// Everything else that RFC 3339 allows: a leap second, a space in place of the `T`, letters in lower case.
fn general(text: &[u8]) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(str::from_utf8(text).ok()?).ok()?;
    Some(time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_in_every_form() {
        let expected = Some(1_795_389_302_250);
        for text in [
            "2026-11-23T08:15:02.250+09:00",
            "2026-11-22T23:15:02.25Z",
            "2026-11-22T23:15:02.2509999Z",
            "2026-11-22t19:15:02.250000000-04:00",
            "2026-11-22 23:15:02.25z",
            "1795389302.25",
            "1795389302250",
        ] {
            assert_eq!(of_text(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(of_text(b"1969-12-31T23:59:59.5Z"), Some(-500));
        assert_eq!(of_text(b"2016-12-31T23:59:60Z"), of_text(b"2017-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T08:15:02",
            "2026-02-29T08:15:02Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T08:15:02.Z",
            "2026-11-23T08:15:02+24:00",
            "2026-11-23T08:15:02+09:60",
            "2026-11-23T08:15:02Z ",
            "23.11.2026 08:15:02",
            "1e300",
            "-1e15",
        ] {
            assert_eq!(of_text(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn the_short_way_and_chrono_agree(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?(Z|[+-][0-2][0-9]:[0-6][0-9])"
        ) {
            if let Some(time_ms) = usual(text.as_bytes()) {
                prop_assert_eq!(general(text.as_bytes()), Some(time_ms));
            }
        }

        #[test]
        fn the_short_way_takes_what_is_usual(time_ms in KNOWN_MS, hours in -23..=23_i32) {
            let offset = chrono::FixedOffset::east_opt(hours * 3_600).unwrap();
            let time = DateTime::from_timestamp_millis(time_ms).unwrap().with_timezone(&offset);
            let text = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            if text.len() < 30 {
                prop_assert_eq!(usual(text.as_bytes()), Some(time_ms), "{}", text);
            }
        }
    }
}
