//! How many runs of a probe it takes before a verdict changes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// So many runs of the last so many: `3 of 5`; a bare `3` are three in a row, the same as `3 of 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Threshold {
    runs: u32,
    of: u32,
}

/// The most runs that are looked at: they are kept for each check.
pub const MAX_RUNS: u32 = 1000;

/// Why a threshold is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// It is written in another way.
    #[error("write a number of runs in a row such as 3, or of the last ones such as \"3 of 5\"")]
    Form,
    /// A number is zero or too large.
    #[error("each number must be from 1 to {MAX_RUNS}")]
    Bounds,
    /// More runs than are looked at.
    #[error("{runs} of the last {of} runs can never be")]
    MoreThanAll {
        /// The runs that it takes.
        runs: u32,
        /// The runs that are looked at.
        of: u32,
    },
}

impl Threshold {
    /// A single run is enough.
    pub const ONE: Self = Self { runs: 1, of: 1 };

    /// `runs` of the last `of`.
    ///
    /// # Errors
    /// If `runs` is zero, above `of`, or `of` above [`MAX_RUNS`].
    pub fn new(runs: u32, of: u32) -> Result<Self, ThresholdError> {
        let bounds = 1..=MAX_RUNS;
        if !bounds.contains(&runs) || !bounds.contains(&of) {
            Err(ThresholdError::Bounds)
        } else if runs > of {
            Err(ThresholdError::MoreThanAll { runs, of })
        } else {
            Ok(Self { runs, of })
        }
    }

    /// So many runs in a row; at least one, at most [`MAX_RUNS`].
    #[must_use]
    pub fn in_a_row(runs: u32) -> Self {
        let runs = runs.clamp(1, MAX_RUNS);
        Self { runs, of: runs }
    }

    /// The runs that it takes.
    #[must_use]
    pub fn runs(self) -> u32 {
        self.runs
    }

    /// Of so many last ones.
    #[must_use]
    pub fn of(self) -> u32 {
        self.of
    }

    /// Must they follow each other without a gap?
    #[must_use]
    pub fn is_in_a_row(self) -> bool {
        self.runs == self.of
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_in_a_row() {
            write!(f, "{}", self.runs)
        } else {
            write!(f, "{} of {}", self.runs, self.of)
        }
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let (runs, of) = text.split_once(" of ").unwrap_or((text, text));
        Self::new(number(runs)?, number(of)?)
    }
}

/// The digits of the largest number, which is as far as the schema reads.
const DIGITS: usize = 4;

fn number(text: &str) -> Result<u32, ThresholdError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        Err(ThresholdError::Form)
    } else if text.len() > DIGITS {
        Err(ThresholdError::Bounds)
    } else {
        text.parse().map_err(|_| ThresholdError::Bounds)
    }
}

/// A threshold as it is written: a number if it is in a row.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Row(u32),
    Of(String),
}

impl From<Threshold> for Written {
    fn from(threshold: Threshold) -> Self {
        if threshold.is_in_a_row() {
            Self::Row(threshold.runs)
        } else {
            Self::Of(threshold.to_string())
        }
    }
}

impl TryFrom<Written> for Threshold {
    type Error = ThresholdError;

    fn try_from(written: Written) -> Result<Self, ThresholdError> {
        match written {
            Written::Row(runs) => Self::new(runs, runs),
            Written::Of(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_read_as_it_is_written() {
        for (text, runs, of) in [("3", 3, 3), ("3 of 5", 3, 5), ("1000 of 1000", 1000, 1000)] {
            let read: Threshold = text.parse().unwrap();
            assert_eq!((read.runs(), read.of()), (runs, of), "{text}");
        }
        for (text, error) in [
            ("", ThresholdError::Form),
            ("three", ThresholdError::Form),
            ("3 of", ThresholdError::Form),
            ("3  of 5", ThresholdError::Form),
            ("+3", ThresholdError::Form),
            ("0", ThresholdError::Bounds),
            ("0 of 5", ThresholdError::Bounds),
            ("1 of 1001", ThresholdError::Bounds),
            ("99999999999", ThresholdError::Bounds),
            ("5 of 3", ThresholdError::MoreThanAll { runs: 5, of: 3 }),
        ] {
            assert_eq!(text.parse::<Threshold>(), Err(error), "{text}");
        }
    }

    #[test]
    fn in_a_row_it_is_a_number_in_json_as_ever_and_else_a_text() {
        for (json, text) in [("3", "3"), ("\"2 of 3\"", "2 of 3")] {
            let read: Threshold = serde_json::from_str(json).unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
        assert!(serde_json::from_str::<Threshold>("0").is_err());
    }
}
