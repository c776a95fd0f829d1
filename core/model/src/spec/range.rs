//! Ranges: one text that stands for many, such as `jb[1-6]`, `n[01-10]` or `10.0.0.[1-3,7]`.
//!
//! A text has at most one range. Numbers count upwards; if the first is written with leading zeros, all get its
//! width.

/// The most texts that one range stands for.
pub const MAX_RANGE: usize = 10_000;

/// A text with a range in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range<'t> {
    before: &'t str,
    runs: Vec<Run>,
    after: &'t str,
}

/// Consecutive numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
    width: usize,
}

/// Why a text with a bracket is not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// A bracket without its other half.
    #[error("the bracket is not closed")]
    Unclosed,
    /// Two ranges in one text.
    #[error("there is more than one range in it")]
    Several,
    /// What stands there between commas.
    #[error("{} is neither a number nor two numbers with '-' between them", super::problem::quoted(.0))]
    NotNumbers(String),
    /// From the first number to the last.
    #[error("it counts down from {0} to {1}")]
    Downwards(u64, u64),
    /// More than [`MAX_RANGE`].
    #[error("it stands for more than {MAX_RANGE} texts")]
    TooLong,
}

/// The texts that a text stands for: itself, if there is no range in it.
///
/// # Errors
/// If it has a bracket and is not a range.
pub fn expand(text: &str) -> Result<Vec<String>, RangeError> {
    Ok(Range::parse(text)?.map_or_else(|| vec![text.to_owned()], |range| range.texts().collect()))
}

impl<'t> Range<'t> {
    /// Reads a text. None if there is no bracket in it: it stands for itself.
    pub(crate) fn parse(text: &'t str) -> Result<Option<Self>, RangeError> {
        let Some((before, rest)) = text.split_once('[') else {
            return Ok(None);
        };
        let (inside, after) = rest.split_once(']').ok_or(RangeError::Unclosed)?;
        if after.contains('[') {
            return Err(RangeError::Several);
        }
        let runs = inside
            .split(',')
            .map(|run| Run::parse(run.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        let range = Self {
            before,
            runs,
            after,
        };
        if range.len() > MAX_RANGE {
            return Err(RangeError::TooLong);
        }
        Ok(Some(range))
    }

    /// How many texts it stands for.
    pub(crate) fn len(&self) -> usize {
        self.runs
            .iter()
            .fold(0, |sum: usize, run| sum.saturating_add(run.len()))
    }

    /// The texts, in order.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> + '_ {
        let numbers = self
            .runs
            .iter()
            .flat_map(|run| (run.first..=run.last).map(|n| (n, run.width)));
        numbers.map(|(n, width)| format!("{}{n:0width$}{}", self.before, self.after))
    }

    /// Does it stand for this text?
    pub(crate) fn holds(&self, text: &str) -> bool {
        let inner = text
            .strip_prefix(self.before)
            .and_then(|rest| rest.strip_suffix(self.after));
        let Some((inner, n)) = inner.and_then(|inner| Some((inner, inner.parse::<u64>().ok()?)))
        else {
            return false;
        };
        let same = |run: &Run| {
            (run.first..=run.last).contains(&n) && format!("{n:0w$}", w = run.width) == inner
        };
        self.runs.iter().any(same)
    }
}

impl Run {
    fn parse(text: &str) -> Result<Self, RangeError> {
        let bad = || RangeError::NotNumbers(text.chars().take(20).collect());
        let number = |text: &str| -> Result<u64, RangeError> {
            let digits =
                !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
            if digits {
                text.parse().map_err(|_| bad())
            } else {
                Err(bad())
            }
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (low, high) = (number(first)?, number(last)?);
        let width = if first.len() > 1 && first.starts_with('0') {
            first.len()
        } else {
            0
        };
        if (width > 0 && last.len() != width)
            || (width == 0 && last.len() > 1 && last.starts_with('0'))
        {
            return Err(bad());
        }
        if low > high {
            return Err(RangeError::Downwards(low, high));
        }
        Ok(Self {
            first: low,
            last: high,
            width,
        })
    }

    fn len(&self) -> usize {
        usize::try_from(self.last - self.first + 1).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_said_of_a_bad_range_obeys_nobody() {
        let said = expand("db[1\t-\u{1b}2]").unwrap_err().to_string();
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }

    #[test]
    fn a_range_stands_for_its_texts_in_order() {
        assert_eq!(expand("jb[1-3]").unwrap(), ["jb1", "jb2", "jb3"]);
        assert_eq!(expand("n[09-11]").unwrap(), ["n09", "n10", "n11"]);
        assert_eq!(
            expand("10.0.0.[1-2,7]").unwrap(),
            ["10.0.0.1", "10.0.0.2", "10.0.0.7"]
        );
        assert_eq!(expand("db[2]-site").unwrap(), ["db2-site"]);
        assert_eq!(expand("plain").unwrap(), ["plain"]);
    }

    #[test]
    fn a_range_that_is_not_one_says_why() {
        assert_eq!(expand("a[1-2"), Err(RangeError::Unclosed));
        assert_eq!(expand("a[1-2]b[3-4]"), Err(RangeError::Several));
        assert_eq!(expand("a[6-1]"), Err(RangeError::Downwards(6, 1)));
        assert_eq!(expand("a[1-4000000]"), Err(RangeError::TooLong));
        for bad in [
            "a[]",
            "a[x]",
            "a[1-]",
            "a[-1]",
            "a[1-010]",
            "a[01-9]",
            "a[1..3]",
            "a[1-99999999999]",
        ] {
            assert!(
                matches!(expand(bad), Err(RangeError::NotNumbers(_))),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_range_holds_exactly_what_it_stands_for(
            first in 0u64..300, count in 1u64..50, width in 0usize..5, probe in 0u64..400,
        ) {
            let last = first + count - 1;
            let text = format!("a[{first:0width$}-{last:0width$}]b");
            prop_assume!(Range::parse(&text).is_ok());
            let range = Range::parse(&text).unwrap().unwrap();
            let texts: Vec<String> = range.texts().collect();
            prop_assert_eq!(texts.len(), range.len());
            for name in [format!("a{probe}b"), format!("a{probe:0width$}b"), format!("a0{probe}b")] {
                prop_assert_eq!(range.holds(&name), texts.contains(&name), "{}", name);
            }
        }

        #[test]
        fn no_text_makes_a_range_panic(text in ".{0,40}") {
            let _ = expand(&text);
        }
    }
}
