//! Quantities with their unit in the text.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A time such as `"10s"` or `"5m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period(pub(super) Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = humantime::parse_duration(&text);
        parsed.map(Self).map_err(|error| {
            serde::de::Error::custom(format!(
                "'{text}' is not a time such as \"90s\" or \"5m\": {error}"
            ))
        })
    }
}

/// An amount of bytes such as `"64KiB"` or `"10MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_bytes(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "'{text}' is not an amount such as \"64KiB\" or \"10MiB\""
            ))
        })
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let factor = match text[digits..].trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

/// A time of day such as `"02:30"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeOfDay(pub(super) Duration);

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_time(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("'{text}' is not a time of day such as \"02:30\""))
        })
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: u64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>()
            .ok()
            .filter(|number| digits && *number < below)
    };
    Some(Duration::from_secs(
        number(hours, 24)? * 3600 + number(minutes, 60)? * 60,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        assert_eq!(parse_time("02:30"), Some(Duration::from_secs(9_000)));
        assert_eq!(parse_time("00:00"), Some(Duration::ZERO));
        for bad in ["24:00", "2:30", "02:60", "02", "", "+2:30", "02:30:00"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_amount_without_a_unit_or_with_an_ambiguous_one_is_refused() {
        assert_eq!(parse_bytes("64KiB"), Some(65_536));
        assert_eq!(parse_bytes("1 MiB"), Some(1 << 20));
        for bad in ["64", "64K", "64kb", "", "KiB", "-1B", "99999999999GiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
