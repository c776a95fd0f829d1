//! The durations of a lease.
//!
//! ```text
//!   sent            + S               + S + K          + L
//!    │ renewal ......│ decides to      │ stopped by     │ by the leader's clock:
//!    │ acknowledged  │ fence itself    │ force, proven  │ somebody else may be primary
//!    └── age A ──┴── W: an unpetted watchdog resets the node ┘
//! ```
//! The holder counts from when it *sent* the renewal that was acknowledged, the leader from when it *read* the record that
//! the renewal wrote, so the leader always begins later. What is left is the error of the two clocks' rates, ρ.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arithmetic::{self, BadTimings};
use crate::time::human;

/// What must remain between the latest end of the old primary and the earliest begin of the next one, beyond what clocks
/// err: two scheduling quanta of a loaded machine, with the granularity of both clocks.
pub const MARGIN: Duration = Duration::from_millis(50);

/// The greatest error of a clock's rate, in thousandths.
///
/// Large on purpose: NTP slews by up to 500 ppm in the kernel, but a daemon that sets the tick (adjtimex(2)) by up to ten
/// percent, and guests are worse than their hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RateError(u16);

impl RateError {
    /// Five percent, of both profiles.
    pub const DEFAULT: Self = Self(50);

    /// An error of so many thousandths; none from one half on, where the arithmetic ends.
    #[must_use]
    pub fn per_mille(thousandths: u16) -> Option<Self> {
        (thousandths < 500).then_some(Self(thousandths))
    }

    /// The longest real time in which a clock with this error shows `shown`.
    #[must_use]
    pub fn longest(self, shown: Duration) -> Duration {
        ratio(shown, 1000, 1000 - u128::from(self.0))
    }

    /// The shortest real time in which a clock with this error shows `shown`.
    #[must_use]
    pub fn shortest(self, shown: Duration) -> Duration {
        ratio(shown, 1000, 1000 + u128::from(self.0))
    }

    /// In thousandths.
    #[must_use]
    pub fn thousandths(self) -> u16 {
        self.0
    }
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}%", self.0 / 10, self.0 % 10)
    }
}

/// `duration · times / over`, in whole nanoseconds; the longest duration if it does not fit.
fn ratio(duration: Duration, times: u128, over: u128) -> Duration {
    let nanos = duration.as_nanos().saturating_mul(times) / over;
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

/// How long a store may be without a leader of its own when nothing but that is wrong (safety rule E15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Election(#[serde(with = "human")] pub Duration);

impl Election {
    /// The embedded store has no elections.
    pub const EMBEDDED: Self = Self(Duration::ZERO);
    /// etcd with its defaults (heartbeat 100 ms, election timeout 1000 ms): 1.1 to 1.6 s were measured.
    pub const ETCD: Self = Self(Duration::from_millis(1600));
    /// etcd with `--heartbeat-interval=50 --election-timeout=500`.
    pub const ETCD_TUNED: Self = Self(Duration::from_millis(800));
}

/// A named set of timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Survives an election of an etcd that nobody has tuned, and seconds of stalls. The default.
    #[default]
    Conservative,
    /// Host loss in about three seconds; needs a tuned etcd or the embedded store.
    Fast,
}

impl Profile {
    /// Its durations.
    #[must_use]
    pub fn durations(self) -> Durations {
        let millis = Duration::from_millis;
        match self {
            Self::Conservative => Durations {
                renewal: millis(1000),
                life: millis(11_000),
                fence: millis(8000),
                stop: millis(1500),
                watchdog: millis(5000),
                pet_age: millis(4500),
                rate_error: RateError::DEFAULT,
            },
            Self::Fast => Durations {
                renewal: millis(250),
                life: millis(2450),
                fence: millis(1900),
                stop: millis(200),
                watchdog: millis(1000),
                pet_age: millis(1100),
                rate_error: RateError::DEFAULT,
            },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Conservative => "conservative",
            Self::Fast => "fast",
        })
    }
}

/// Durations as they were asked for; [`Timings::new`] says whether they are safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durations {
    /// R: how often the holder renews.
    #[serde(with = "human")]
    pub renewal: Duration,
    /// L: how long the leader waits, since it read the record, before it takes the lease for expired.
    #[serde(with = "human")]
    pub life: Duration,
    /// S: how long after sending its last acknowledged renewal the holder decides to fence itself.
    #[serde(with = "human")]
    pub fence: Duration,
    /// K: within what time a forced stop is done; afterwards the node is reset, if its agent's own file says so.
    #[serde(with = "human")]
    pub stop: Duration,
    /// W: how long after it was last petted a watchdog resets the node. Linux: whole seconds for most devices.
    #[serde(with = "human")]
    pub watchdog: Duration,
    /// A: the greatest age of an acknowledgement that may pet the watchdog.
    #[serde(with = "human")]
    pub pet_age: Duration,
    /// ρ: what clocks may err in rate.
    pub rate_error: RateError,
}

/// Durations that were looked at: they keep the inequalities of safety rule E13. Those of E15 depend on the store, so
/// [`Timings::survives`] asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Durations", into = "Durations")]
pub struct Timings(Durations);

impl Timings {
    /// Looks at durations.
    ///
    /// # Errors
    /// [`BadTimings`] with the arithmetic if a holder that keeps them could still be primary when the leader takes its
    /// lease for expired, or if they make no sense together.
    pub fn new(durations: Durations) -> Result<Self, BadTimings> {
        arithmetic::sense(&durations)?;
        arithmetic::exclusion(&durations)?;
        Ok(Self(durations))
    }

    /// The timings of a profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        // Both profiles keep the inequalities: a test says so.
        Self(profile.durations())
    }

    /// Looks whether the control plane may hold an election without demoting a healthy primary (safety rule E15).
    ///
    /// # Errors
    /// [`BadTimings`] with the arithmetic if it may not.
    pub fn survives(&self, election: Election) -> Result<(), BadTimings> {
        arithmetic::hiccup(&self.0, election)
    }

    /// Looks whether a watchdog device that resets the node so long after it was last petted does so before the lease is over
    /// (safety rules E7, E13), and not before the agent has had its turn to stop the primary.
    ///
    /// # Errors
    /// [`BadTimings`] with the arithmetic if it does not.
    pub fn suit(&self, device: Duration) -> Result<(), BadTimings> {
        let with = Durations {
            watchdog: device,
            ..self.0
        };
        arithmetic::sense(&with)?;
        arithmetic::exclusion(&with)?;
        arithmetic::turn(&with)
    }

    /// R: how often the holder renews.
    #[must_use]
    pub fn renewal(&self) -> Duration {
        self.0.renewal
    }
    /// L: how long the leader waits.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.0.life
    }
    /// S: when the holder decides to fence itself.
    #[must_use]
    pub fn fence(&self) -> Duration {
        self.0.fence
    }
    /// K: the bound of the forced stop.
    #[must_use]
    pub fn stop(&self) -> Duration {
        self.0.stop
    }
    /// W: the watchdog's time.
    #[must_use]
    pub fn watchdog(&self) -> Duration {
        self.0.watchdog
    }
    /// A: the greatest age of an acknowledgement that may pet the watchdog.
    #[must_use]
    pub fn pet_age(&self) -> Duration {
        self.0.pet_age
    }
    /// How long nothing is heard of a holder before its machine may be lost: one renewal may be late. Sessions and connections
    /// stall for some hundred milliseconds and are well again, so it is never less than a second.
    #[must_use]
    pub fn hold_down(&self) -> Duration {
        (self.0.renewal * 3 / 2).max(Duration::from_secs(1))
    }
    /// ρ: what clocks may err in rate.
    #[must_use]
    pub fn rate_error(&self) -> RateError {
        self.0.rate_error
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self::of(Profile::default())
    }
}

impl TryFrom<Durations> for Timings {
    type Error = BadTimings;
    fn try_from(durations: Durations) -> Result<Self, BadTimings> {
        Self::new(durations)
    }
}

impl From<Timings> for Durations {
    fn from(timings: Timings) -> Self {
        timings.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fast() -> Durations {
        Profile::Fast.durations()
    }

    #[test]
    fn both_profiles_keep_the_inequalities() {
        for profile in [Profile::Conservative, Profile::Fast] {
            assert_eq!(
                Timings::new(profile.durations()),
                Ok(Timings::of(profile)),
                "{profile}"
            );
        }
    }

    #[test]
    fn the_conservative_profile_survives_an_election_of_any_etcd_and_the_fast_one_that_of_a_tuned_one()
     {
        assert_eq!(Timings::default().survives(Election::ETCD), Ok(()));
        let fast = Timings::of(Profile::Fast);
        assert_eq!(fast.survives(Election::ETCD_TUNED), Ok(()));
        let refused = fast.survives(Election::ETCD).unwrap_err().to_string();
        assert_eq!(
            refused,
            "a healthy primary would be demoted by an election of the store: S must be at least R + election + one retry \
             = 250ms + 1s 600ms + 250ms = 2s 100ms, and it is 1s 900ms; raise S by 200ms, or tune the store"
        );
    }

    #[test]
    fn a_stop_that_may_end_after_the_lease_is_refused_with_the_arithmetic() {
        let refused = Timings::new(Durations {
            stop: Duration::from_millis(400),
            ..fast()
        });
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the old primary may still write when the next one begins: S + K = 1s 900ms + 400ms = 2s 300ms take up to \
             2s 421ms by a clock that is 5.0% slow, but L = 2s 450ms may be over after 2s 333ms by a clock that is 5.0% \
             fast, less 50ms of margin = 2s 283ms; raise L by at least 145ms, or lower S or K"
        );
    }

    #[test]
    fn a_watchdog_that_may_fire_after_the_lease_is_refused() {
        let refused = Timings::new(Durations {
            pet_age: Duration::from_millis(1800),
            ..fast()
        });
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("A + W = 1s 800ms + 1s = 2s 800ms"), "{text}");
    }

    #[test]
    fn a_device_suits_a_profile_only_with_a_time_between_the_turn_of_the_agent_and_the_end_of_the_lease()
     {
        let seconds = Duration::from_secs;
        for (profile, good) in [(Profile::Fast, 1..=1), (Profile::Conservative, 4..=5)] {
            let timings = Timings::of(profile);
            for time in 0..70 {
                let suits = timings.suit(seconds(time)).is_ok();
                assert_eq!(suits, good.contains(&time), "{profile}, {time} s");
            }
        }
        let late = Timings::default().suit(seconds(60)).unwrap_err();
        assert!(
            late.to_string()
                .contains("A + W = 4s 500ms + 1m = 1m 4s 500ms take up to"),
            "{late}"
        );
        let early = Timings::default().suit(seconds(3)).unwrap_err();
        assert_eq!(
            early.to_string(),
            "the watchdog would reset the node before its agent stops the primary: A + W = 4s 500ms + 3s = 7s 500ms must be \
             above S = 8s; raise W by more than 500ms"
        );
    }

    #[test]
    fn what_is_refused_becomes_right_by_what_the_refusal_says() {
        let wrong = Durations {
            stop: Duration::from_millis(400),
            ..fast()
        };
        let raised = Durations {
            life: wrong.life + Duration::from_millis(145),
            ..wrong
        };
        assert!(Timings::new(wrong).is_err());
        assert!(Timings::new(raised).is_ok());
    }

    #[test]
    fn timings_that_are_read_are_looked_at() {
        let text = serde_json::to_string(&Timings::of(Profile::Fast)).unwrap();
        assert_eq!(
            serde_json::from_str::<Timings>(&text).unwrap(),
            Timings::of(Profile::Fast)
        );
        let short = text.replace("2s 450ms", "2s");
        assert!(serde_json::from_str::<Timings>(&short).is_err());
    }
}
