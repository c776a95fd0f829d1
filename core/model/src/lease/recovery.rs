//! How long a recovery takes: what follows from timings, so that plan and status can say it before it happens.

use std::time::Duration;

use super::timings::Timings;

/// How it becomes certain that the old primary is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It says so itself: its process died, and its agent proved that nothing is left.
    Released,
    /// A fence agent confirms that its machine is off, within this time.
    Fenced(Duration),
    /// Its lease runs out.
    Expired,
}

/// What the rest costs, as measured where the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// One committed transaction, with the way to the store and back.
    pub commit: Duration,
    /// From the command to the first write that is accepted.
    pub promote: Duration,
    /// A change of the coordinators' leader, which may fall together with the loss.
    pub leadership: Duration,
}

impl Costs {
    /// What is reckoned with where nothing was measured: a commit over a local network, a promotion that replays nothing, and
    /// a leader of the coordinators on an etcd with a lease of 8 s. A coordinator on its embedded store has nobody who takes
    /// over, and is back sooner if its machine lives.
    pub const EXPECTED: Self = Self {
        commit: Duration::from_millis(10),
        promote: Duration::from_millis(100),
        leadership: Duration::from_secs(8),
    };
}

/// How long nobody takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// When nothing else is wrong.
    pub typical: Duration,
    /// When the coordinators' leader is lost at the same moment and clocks are as wrong as they may be.
    pub worst: Duration,
}

impl Timings {
    /// How long nobody takes writes after the primary is lost.
    #[must_use]
    pub fn recovery(&self, way: Way, costs: Costs) -> Recovery {
        // The bump, the new holder's own renewal, and the promotion.
        let after = costs.commit * 2 + costs.promote;
        // The leader reads the record at least twice in R, so it begins to count that late after the last renewal.
        let reading = self.renewal() / 2 + costs.commit;
        let (typical, worst) = match way {
            Way::Released => (costs.commit, costs.commit),
            // Nothing to wait out: a machine that is off needs no time to stop. It is called when two signals say that the
            // machine is lost: the hold-down counts from the last renewal, which was, on average, half a period ago.
            Way::Fenced(confirms) => (
                self.hold_down().saturating_sub(self.renewal() / 2) + confirms,
                self.hold_down() + confirms,
            ),
            // The loss falls, on average, half way between two renewals.
            Way::Expired => (
                (self.life() + reading).saturating_sub(self.renewal() / 2),
                self.rate_error().longest(self.life()) + reading,
            ),
        };
        Recovery {
            typical: typical + after,
            worst: worst + costs.leadership + after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Profile;

    const COSTS: Costs = Costs {
        commit: Duration::from_millis(10),
        promote: Duration::from_millis(100),
        leadership: Duration::from_secs(2),
    };

    #[test]
    fn a_lost_host_costs_about_three_seconds_fast_and_less_than_fifteen_conservative() {
        let fast = Timings::of(Profile::Fast).recovery(Way::Expired, COSTS);
        assert!(fast.typical < Duration::from_secs(3), "{fast:?}");
        let conservative = Timings::default().recovery(Way::Expired, COSTS);
        assert!(
            conservative.worst < Duration::from_secs(15),
            "{conservative:?}"
        );
    }

    #[test]
    fn what_is_released_does_not_wait_for_the_lease() {
        let released = Timings::default().recovery(Way::Released, COSTS);
        assert_eq!(released.typical, Duration::from_millis(130));
    }

    #[test]
    fn a_machine_that_is_certainly_off_does_not_wait_for_the_lease_either() {
        let way = Way::Fenced(Duration::from_secs(1));
        let fenced = Timings::default().recovery(way, COSTS);
        assert!(fenced.typical < Duration::from_secs(3), "{fenced:?}");
    }
}
