//! Waiting for something that real programs will do in their own time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Pause between two looks; short, since most waits in a lab end within a second.
const INTERVAL: Duration = Duration::from_millis(20);

/// `limit`, stretched by the factor in the environment variable `INTERLOCK_PATIENCE` (say `3` on a
/// loaded machine). Every wait in the lab is bounded by a value that went through here.
pub fn patience(limit: Duration) -> Duration {
    let factor = std::env::var("INTERLOCK_PATIENCE").ok();
    let factor = factor.and_then(|value| value.parse::<f64>().ok());
    limit.mul_f64(
        factor
            .filter(|factor| (0.1..=100.0).contains(factor))
            .unwrap_or(1.0),
    )
}

/// Looks until `probe` succeeds, and returns what it saw.
///
/// # Errors
///
/// The last error of `probe`, when `within` (see [`patience`]) has passed; `what` completes the
/// sentence "waited ... for".
pub fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<T> {
    let within = patience(within);
    let start = Instant::now();
    loop {
        match probe() {
            Ok(seen) => return Ok(seen),
            Err(error) if start.elapsed() >= within => {
                return Err(error).with_context(|| format!("waited {within:?} for {what}"));
            }
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}
