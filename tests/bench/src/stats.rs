//! Order statistics.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// The time below which `percent` of the samples are.
///
/// # Errors
/// There are no samples.
pub(crate) fn percentile(samples: &mut [Duration], percent: usize) -> Result<Duration> {
    samples.sort_unstable();
    let last = samples
        .len()
        .checked_sub(1)
        .context("nothing was measured")?;
    Ok(samples[last * percent.min(100) / 100])
}

/// The middle of the samples, in milliseconds.
///
/// # Errors
/// There are no samples.
pub(crate) fn median(samples: &mut [Duration]) -> Result<f64> {
    percentile(samples, 50).map(millis)
}

/// Sorts them, and tells their median; none of none.
pub(crate) fn middle(numbers: &mut [f64]) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    let (low, high) = (numbers.get(last / 2)?, numbers.get(last.div_ceil(2))?);
    Some(f64::midpoint(*low, *high))
}

/// In milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_none_of_nothing_is() {
        let mut samples: Vec<Duration> = (1..=11).rev().map(Duration::from_secs).collect();
        let at =
            |samples: &mut [Duration], percent| percentile(samples, percent).unwrap().as_secs();
        assert_eq!(at(&mut samples, 0), 1);
        assert_eq!(at(&mut samples, 50), 6);
        assert_eq!(at(&mut samples, 90), 10);
        assert_eq!(at(&mut samples, 100), 11);
        assert!(percentile(&mut [], 50).is_err());
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(middle(&mut [4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(middle(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(middle(&mut []), None);
    }
}
