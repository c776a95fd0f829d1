//! `--since`.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::failure::Failure;

/// Milliseconds since 1970; 0 for everything. `now` in the same.
pub(super) fn since(text: &str, now: u64, zone: &TimeZone) -> Result<u64, Failure> {
    if text == "all" {
        return Ok(0);
    }
    if let Ok(before) = humantime::parse_duration(text) {
        let before = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
        return Ok(now.saturating_sub(before));
    }
    let at = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| local(text.parse::<DateTime>().ok()?, zone))
        .or_else(|| {
            local(
                text.parse::<Date>()
                    .ok()?
                    .to_datetime(jiff::civil::Time::midnight()),
                zone,
            )
        });
    let at = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    at.ok_or_else(|| {
        Failure::Usage(format!(
            "--since {text}: write a duration such as 2h or 7d, a date such as 2026-11-22, a time such as \
             2026-11-22T08:30, or all"
        ))
    })
}

fn local(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    Some(time.to_zoned(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_said_as_people_say_it() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = 10_000_000;
        for (text, expected) in [
            ("all", 0),
            ("1h", 6_400_000),
            ("7d", 0),
            ("1970-01-01T02:00", 3_600_000),
            ("1970-01-02", 82_800_000),
            ("1970-01-01T00:00:01Z", 1_000),
        ] {
            assert_eq!(since(text, now, &zone).unwrap(), expected, "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "5"] {
            assert!(since(bad, now, &zone).is_err(), "{bad}");
        }
    }
}
