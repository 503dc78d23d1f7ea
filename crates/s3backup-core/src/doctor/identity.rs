//! Who asks the bucket, where it is, and whether the clocks agree.

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_transfer::{Access, Bucket, Error as TransferError};

use super::Check;

/// How far the clocks may be apart before people are puzzled by times.
const NOTICED: TimeDelta = TimeDelta::minutes(1);

/// How far S3 lets them be apart.
const REFUSED: TimeDelta = TimeDelta::minutes(15);

/// Why no client could be made.
pub(super) fn not_connected(error: &TransferError) -> Check {
    let message = error.to_line();
    match error {
        TransferError::NoRegion => Check::fail("region", message, "set `[destination] region`"),
        TransferError::CaBundle { .. } => Check::fail("endpoint", message, "correct AWS_CA_BUNDLE"),
        _ => {
            Check::fail("credentials", message, "`aws sts get-caller-identity` shows what the AWS way finds")
        }
    }
}

pub(super) fn judge_access(access: Option<&Access>, now: DateTime<Utc>) -> Check {
    const NAME: &str = "credentials";
    let Some(access) = access else { return Check::ok(NAME, "those of the client that was handed in") };
    let who = format!("from {}, access key …{}", access.source, access.access_key_end);
    let until = access.expiry.map(|expiry| expiry.format("%Y-%m-%d %H:%M UTC").to_string());
    match (access.expiry, until) {
        (Some(expiry), Some(until)) if expiry <= now => Check::fail(
            NAME,
            format!("{who}: they ended at {until}"),
            "renew them: `aws sso login`, or a new session token",
        ),
        (_, Some(until)) => {
            let renewed = if access.is_renewed { "; renewed before that" } else { "" };
            Check::ok(NAME, format!("{who}, until {until}{renewed}"))
        }
        (None, None) if access.is_temporary && !access.is_renewed => Check::warn(
            NAME,
            format!("{who}: a session token, which ends within hours or days, and nothing renews it"),
            "use a source that is renewed: a role of the machine, or a profile",
        ),
        _ => Check::ok(NAME, format!("{who}, without an end")),
    }
}

pub(super) fn place(bucket: &Bucket) -> Check {
    let region = bucket.region().unwrap_or("none");
    let at = bucket.endpoint().map_or_else(|| "AWS".to_owned(), ToOwned::to_owned);
    Check::ok("region", format!("{region}, at {at}"))
}

/// `ahead` is how far the server's clock is ahead of ours; `None` where the server tells no time.
pub(super) fn judge_clock(ahead: Option<TimeDelta>) -> Check {
    const NAME: &str = "clock";
    let Some(ahead) = ahead else {
        return Check::warn(
            NAME,
            "the server told no time, so the clock could not be compared",
            "look at `timedatectl`: the clock should be synchronised",
        );
    };
    let seconds = ahead.num_seconds();
    let side = if seconds > 0 { "behind" } else { "ahead of" };
    let apart = format!("this machine's clock is {} s {side} the server's", seconds.abs());
    let mend = "synchronise the clock: `timedatectl set-ntp true`, then look at `timedatectl`";
    if ahead.abs() > REFUSED {
        Check::fail(NAME, format!("{apart}; S3 refuses what is signed more than 15 minutes off"), mend)
    } else if ahead.abs() > NOTICED {
        Check::warn(NAME, format!("{apart}; at 15 minutes S3 refuses every request"), mend)
    } else {
        Check::ok(NAME, format!("{} s from the server's", seconds.abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    #[test]
    fn credentials_that_end_and_are_not_renewed_are_told() {
        let now = DateTime::from_timestamp(1_764_000_000, 0).unwrap();
        let access = |expiry, is_temporary, is_renewed| Access {
            source: "somewhere",
            access_key_end: "MPLE".to_owned(),
            expiry,
            is_temporary,
            is_renewed,
        };
        let hour = TimeDelta::hours(1);
        for (access, state, said) in [
            (access(None, false, false), CheckState::Ok, "without an end"),
            (access(Some(now + hour), true, true), CheckState::Ok, "renewed before that"),
            (access(Some(now - hour), true, true), CheckState::Fail, "they ended at"),
            (access(None, true, false), CheckState::Warn, "nothing renews it"),
        ] {
            let check = judge_access(Some(&access), now);
            assert!(check.state == state && check.message.contains(said), "{check:?}");
        }
        assert_eq!(judge_access(None, now).state, CheckState::Ok, "a client that was handed in");
    }

    #[test]
    fn the_clock_may_be_a_minute_off_and_must_not_be_fifteen() {
        let state = |seconds| judge_clock(Some(TimeDelta::seconds(seconds))).state;
        for (seconds, expected) in [
            (0, CheckState::Ok),
            (-60, CheckState::Ok),
            (61, CheckState::Warn),
            (-900, CheckState::Warn),
            (901, CheckState::Fail),
            (-86_400, CheckState::Fail),
        ] {
            assert_eq!(state(seconds), expected, "{seconds}");
        }
        assert!(judge_clock(Some(TimeDelta::seconds(120))).message.contains("120 s behind"));
        assert!(judge_clock(Some(TimeDelta::seconds(-120))).message.contains("120 s ahead"));
        assert_eq!(judge_clock(None).state, CheckState::Warn);
    }
}
