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

    /// Writes `1m 30s`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
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
