//! How long to wait before trying again.
//!
//! The wait before the *n*-th repetition lies between `first · 2ⁿ · (1 − jitter)` and `first · 2ⁿ`, the latter never
//! above `longest`. Jitter only shortens, so `longest` is a promise: an operator who knows that the network is back
//! knows how long it takes at most until everybody has tried.
//!
//! * A thousand agents that lose one coordinator at the same instant must not all come back at the same instant:
//!   a TLS handshake costs the server about a millisecond of a core. That is what jitter is for.
//! * A peer that accepts a connection and drops it at once must not be hammered: the sequence starts over only after
//!   a connection that has lasted, see [`Attempts::lasted`].
//!
//! [`Backoff`] is a pure function of attempt and randomness; [`Attempts`] counts. Both are told time and randomness,
//! neither takes them.

mod attempts;
mod random;

pub use attempts::Attempts;
pub use random::{Random, SystemRandom};

use std::time::Duration;

/// Validated parameters of an exponential backoff with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    jitter_percent: u8,
}

/// Why parameters make no backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackoff {
    /// A first wait of zero would spin.
    #[error("the first wait of a backoff must be longer than zero")]
    Zero,
    /// The limit is below the first wait.
    #[error("the longest wait of a backoff ({longest:?}) is shorter than the first ({first:?})")]
    Inverted {
        /// The first wait.
        first: Duration,
        /// The longest wait.
        longest: Duration,
    },
    /// Jitter is a share of the wait.
    #[error("the jitter of a backoff is a percentage from 0 to 100, not {0}")]
    Jitter(u8),
}

impl Backoff {
    /// For connections between programs of one cluster: 100 ms to 5 s, shortened by up to 80 %.
    ///
    /// 5 s, because that is what a restored network may cost at most before everything is connected again; 80 %,
    /// so that a thousand agents spread over four fifths of the wait.
    pub const CONNECT: Self = Self {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(5),
        jitter_percent: 80,
    };

    /// A backoff from `first`, doubling up to `longest`, each wait shortened by up to `jitter_percent` of itself.
    ///
    /// # Errors
    /// [`InvalidBackoff`] if `first` is zero, `longest` is below `first`, or the percentage is above 100.
    pub const fn new(
        first: Duration,
        longest: Duration,
        jitter_percent: u8,
    ) -> Result<Self, InvalidBackoff> {
        if first.is_zero() {
            return Err(InvalidBackoff::Zero);
        }
        if longest.as_nanos() < first.as_nanos() {
            return Err(InvalidBackoff::Inverted { first, longest });
        }
        if jitter_percent > 100 {
            return Err(InvalidBackoff::Jitter(jitter_percent));
        }
        Ok(Self {
            first,
            longest,
            jitter_percent,
        })
    }

    /// The longest wait that can ever be asked for.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.longest
    }

    /// The wait before repetition `attempt` (0 is the first repetition), with `random` uniform over all of `u64`.
    #[must_use]
    pub fn wait(&self, attempt: u32, random: u64) -> Duration {
        let doubled = 2_u32
            .checked_pow(attempt)
            .map_or(self.longest, |factor| self.first.saturating_mul(factor));
        let full = doubled.min(self.longest);
        // (full · percent / 100) · random / 2⁶⁴, in whole nanoseconds. A wait of centuries would overflow the second
        // product; it saturates, and a wait is never longer than it may be because jitter only takes away.
        let span = full.as_nanos() * u128::from(self.jitter_percent) / 100;
        let off = span.saturating_mul(u128::from(random)) >> 64;
        full.saturating_sub(Duration::from_nanos(u64::try_from(off).unwrap_or(u64::MAX)))
    }
}
