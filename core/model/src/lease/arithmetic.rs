//! Why a set of durations is refused: the inequalities of safety rules E13 and E15, and the numbers in words.

use std::time::Duration;

use super::timings::{Durations, Election, MARGIN, RateError};

/// Why durations cannot be the timings of a lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTimings {
    /// A duration that must be something is nothing.
    #[error("{0} is zero: give it a duration")]
    Zero(&'static str),
    /// One duration must be below another one to have any effect.
    #[error("{small} = {} must be below {large} = {}", text(*.is), text(*.below))]
    Order {
        /// What must be smaller.
        small: &'static str,
        /// What it is.
        is: Duration,
        /// What must be larger.
        large: &'static str,
        /// What that is.
        below: Duration,
    },
    /// The stop may end after the lease has (safety rule E13).
    #[error("the old primary may still write when the next one begins: {0}")]
    Stop(Inequality),
    /// The watchdog may fire after the lease has ended (safety rules E7, E13).
    #[error("the watchdog of a frozen node may fire only when the next primary has begun: {0}")]
    Watchdog(Inequality),
    /// The watchdog may fire before the agent has begun to stop what it is there for.
    #[error(
        "the watchdog would reset the node before its agent stops the primary: A + W = {} + {} = {} must be above S = {}; \
         raise W by more than {}",
        text(*.pet_age), text(*.watchdog), text(*.pet_age + *.watchdog), text(*.fence),
        text(.fence.saturating_sub(*.pet_age + *.watchdog))
    )]
    Hasty {
        /// A.
        pet_age: Duration,
        /// W.
        watchdog: Duration,
        /// S.
        fence: Duration,
    },
    /// An election of the store outlasts the holder's patience (safety rule E15).
    #[error(
        "a healthy primary would be demoted by an election of the store: S must be at least R + election + one retry = \
         {} + {} + {} = {}, and it is {}; raise S by {}, or tune the store",
        text(*.renewal), text(*.election), text(*.renewal), text(*.needed), text(*.fence), text(.needed.saturating_sub(*.fence))
    )]
    Hiccup {
        /// R, which is also how long a retry takes to be sent.
        renewal: Duration,
        /// How long the store is without a leader.
        election: Duration,
        /// The sum.
        needed: Duration,
        /// S.
        fence: Duration,
    },
}

/// `(first + second)/(1-ρ) ≤ L/(1+ρ) - margin`, which does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} + {} = {} + {} = {} take up to {} by a clock that is {error} slow, but L = {} may be over after {} by a clock that \
     is {error} fast, less {} of margin = {}; raise L by at least {}, or lower {} or {}",
    .names.0, .names.1, text(.values.0), text(.values.1), text(.values.0 + .values.1), text(self.longest()),
    text(*.life), text(self.shortest()), text(MARGIN), text(self.room()), text(self.missing()), .names.0, .names.1
)]
pub struct Inequality {
    names: (&'static str, &'static str),
    values: (Duration, Duration),
    life: Duration,
    error: RateError,
}

impl Inequality {
    fn longest(&self) -> Duration {
        self.error.longest(self.values.0 + self.values.1)
    }
    fn shortest(&self) -> Duration {
        self.error.shortest(self.life)
    }
    fn room(&self) -> Duration {
        self.shortest().saturating_sub(MARGIN)
    }
    fn holds(&self) -> bool {
        self.longest() <= self.room()
    }

    /// By how much L would have to be longer, rounded up to milliseconds.
    #[must_use]
    pub fn missing(&self) -> Duration {
        let short = self.longest().saturating_sub(self.room()).as_nanos();
        let real = short * u128::from(1000 + self.error.thousandths()) / 1000;
        // One more than needed at most; a value that a person may type.
        let millis = real / 1_000_000 + u128::from(real > 0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// A duration as people write it, to the millisecond.
fn text(duration: Duration) -> humantime::FormattedDuration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(millis))
}

/// Do they make sense together?
pub(super) fn sense(d: &Durations) -> Result<(), BadTimings> {
    let all = [
        ("R", d.renewal),
        ("L", d.life),
        ("S", d.fence),
        ("K", d.stop),
        ("W", d.watchdog),
        ("A", d.pet_age),
    ];
    if let Some((name, _)) = all.iter().find(|(_, value)| value.is_zero()) {
        return Err(BadTimings::Zero(name));
    }
    // A watchdog that is petted once in R must not fire between two renewals that were both acknowledged at once.
    for (small, is, large, below) in [
        ("R", d.renewal, "S", d.fence),
        ("R", d.renewal, "A", d.pet_age),
    ] {
        if is >= below {
            return Err(BadTimings::Order {
                small,
                is,
                large,
                below,
            });
        }
    }
    Ok(())
}

/// Safety rule E13.
pub(super) fn exclusion(d: &Durations) -> Result<(), BadTimings> {
    let inequality = |names, values| Inequality {
        names,
        values,
        life: d.life,
        error: d.rate_error,
    };
    let stop = inequality(("S", "K"), (d.fence, d.stop));
    if !stop.holds() {
        return Err(BadTimings::Stop(stop));
    }
    let watchdog = inequality(("A", "W"), (d.pet_age, d.watchdog));
    if !watchdog.holds() {
        return Err(BadTimings::Watchdog(watchdog));
    }
    Ok(())
}

/// Does a watchdog leave the agent its turn?
pub(super) fn turn(d: &Durations) -> Result<(), BadTimings> {
    if d.pet_age + d.watchdog > d.fence {
        return Ok(());
    }
    Err(BadTimings::Hasty {
        pet_age: d.pet_age,
        watchdog: d.watchdog,
        fence: d.fence,
    })
}

/// Safety rule E15.
pub(super) fn hiccup(d: &Durations, election: Election) -> Result<(), BadTimings> {
    let needed = d.renewal + election.0 + d.renewal;
    if d.fence < needed {
        return Err(BadTimings::Hiccup {
            renewal: d.renewal,
            election: election.0,
            needed,
            fence: d.fence,
        });
    }
    Ok(())
}
