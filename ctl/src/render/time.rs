//! Times and durations, for people in their own time zone and for programs in UTC.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Now, in milliseconds since 1970 by this machine's clock.
pub(crate) fn now_millis() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// The time of day of an instant in milliseconds since 1970, in the local time zone.
pub(crate) fn clock_time(millis: u64) -> String {
    local(millis, "%H:%M:%S")
}

/// Date and time of day of an instant in milliseconds since 1970, in the local time zone; `-` for 0.
pub(crate) fn date_time(millis: u64) -> String {
    if millis == 0 {
        return "-".to_owned();
    }
    local(millis, "%Y-%m-%d %H:%M:%S")
}

/// An instant for a line of a log: the time of day, with the date if that is not the date of `now`.
pub(crate) fn moment(millis: u64, now: u64) -> String {
    let day = |millis| local(millis, "%Y-%m-%d");
    if day(millis) == day(now) {
        clock_time(millis)
    } else {
        date_time(millis)
    }
}

fn local(millis: u64, format: &str) -> String {
    match stamp(millis) {
        Some(stamp) => stamp
            .to_zoned(TimeZone::system())
            .strftime(format)
            .to_string(),
        None => "?".to_owned(),
    }
}

/// An instant in milliseconds since 1970 as RFC 3339 in UTC; none for 0.
pub(crate) fn rfc3339(millis: u64) -> Option<String> {
    if millis == 0 {
        return None;
    }
    stamp(millis).map(|stamp| format!("{stamp:.3}"))
}

fn stamp(millis: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}

/// How long something took: `0.4s`, `12s`, `3m 05s`, `2h 03m`.
pub(crate) fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// How old something is, in milliseconds; `never` if it never was.
pub(crate) fn age(millis: Option<u64>) -> String {
    match millis {
        None => "never".to_owned(),
        Some(millis) if millis < 1000 => "now".to_owned(),
        Some(millis) => {
            let text = elapsed(Duration::from_secs(millis / 1000));
            text.replace(".0s", "s")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (millis, text) in [
            (0, "0.0s"),
            (1_450, "1.4s"),
            (59_999, "59s"),
            (65_000, "1m 05s"),
            (7_380_000, "2h 03m"),
        ] {
            assert_eq!(elapsed(Duration::from_millis(millis)), text);
        }
        assert_eq!(age(Some(3_200)), "3s");
        assert_eq!(age(None), "never");
    }

    #[test]
    fn programs_get_utc_with_milliseconds() {
        assert_eq!(
            rfc3339(1_700_000_000_123).as_deref(),
            Some("2023-11-14T22:13:20.123Z")
        );
        assert_eq!(rfc3339(0), None);
    }
}
