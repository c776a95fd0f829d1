//! Points in time as values.
//!
//! The core never reads a clock. Who calls it passes [`Now`]: a monotonic reading for measuring, a wall reading for
//! telling people. They are kept apart because a clock that is stepped by an hour must not expire anything.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A wall-clock time: milliseconds since 1970-01-01 UTC. For records and people, never for deadlines.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long after `earlier` this is; zero if it is before it (a clock was stepped).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A reading of both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Monotonic time since an arbitrary zero of this process (`CLOCK_BOOTTIME`, so that suspend counts).
    pub mono: Duration,
    /// Wall-clock time.
    pub wall: Timestamp,
}

impl Now {
    /// How long ago the monotonic reading `earlier` was.
    #[must_use]
    pub fn since(self, earlier: Duration) -> Duration {
        self.mono.saturating_sub(earlier)
    }
}

/// Durations as people write them (`90s`, `5m`) in serialised values.
pub mod human {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// The units of a duration with their nanoseconds, the largest first. Not months and years: nobody agrees how long
    /// those are.
    const UNITS: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];

    /// The one form in which a duration stands in specs, plans, messages and values: `1d`, `5m`, `1m 30s`, `0s`. What it
    /// writes, [`humantime::parse_duration`] reads.
    #[must_use]
    pub fn text(duration: Duration) -> String {
        let mut left = duration.as_nanos();
        let mut parts = Vec::new();
        for (unit, nanos) in UNITS {
            let count = left / nanos;
            left %= nanos;
            if count > 0 {
                parts.push(format!("{count}{unit}"));
            }
        }
        if parts.is_empty() {
            return "0s".to_owned();
        }
        parts.join(" ")
    }

    /// Writes `1m 30s`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*value))
    }

    /// Reads what [`humantime::parse_duration`] accepts.
    ///
    /// # Errors
    /// If the text is not a duration with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(serde::de::Error::custom)
    }

    /// The same, where there may be none.
    pub mod option {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serializer};

        /// Writes `1m 30s`, or nothing.
        ///
        /// # Errors
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(
            value: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads what [`humantime::parse_duration`] accepts, or nothing.
        ///
        /// # Errors
        /// If the text is not a duration with a unit.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            Option::<String>::deserialize(deserializer)?
                .map(|text| humantime::parse_duration(&text).map_err(serde::de::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_one_form_which_can_be_read_again() {
        for (millis, text) in [
            (0, "0s"),
            (20, "20ms"),
            (90_000, "1m 30s"),
            (300_000, "5m"),
            (86_400_000, "1d"),
            (40 * 86_400_000 + 3_600_000, "40d 1h"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(human::text(duration), text);
            assert_eq!(humantime::parse_duration(text).unwrap(), duration);
        }
    }
}
