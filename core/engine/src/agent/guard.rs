//! The guard of one instance: starts it again after a failure, within a budget.
//!
//! # Rules
//! * **Only what should run.** An instance is started again only while it is wanted running: an operation once said so.
//! * **Only after a failure.** A clean end, such as a stop by hand, is reported and left alone.
//! * **Never during an attempt.** While an attempt is open on the instance, that attempt decides what becomes of it. The
//!   guard forgets what it had in mind, and its budget is whole again afterwards: somebody has looked.
//! * **A pause before each restart**, doubled with each further one in the window.
//! * **A budget.** When it is spent, the guard says so once and leaves the instance down, with the reason. It may restart
//!   again only after the window has moved on *and* the instance has been seen to die again.
//!
//! The guard remembers nothing across a restart of the agent: a budget that a crashing agent could wear out would not
//! be worth writing to disk at every death.

use std::collections::VecDeque;
use std::time::Duration;

use interlock_model::observation::Wanted;
use interlock_model::spec::GuardPolicy;

/// How an instance went down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// As something that was asked to, or had nothing more to do.
    Clean(String),
    /// In any other way.
    Failure(String),
}

/// What holds for the instance at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// What it should be.
    pub wanted: Option<Wanted>,
    /// Is an attempt open on it?
    pub attempt_open: bool,
}

/// What becomes of a dead instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays down, and why.
    Leave(String),
    /// It is started again at this time, unless [`Guard::take_due`] says otherwise by then.
    RestartAt(Duration),
    /// It stays down because the budget is spent. Said once.
    Escalate(String),
}

/// The guard of one instance.
#[derive(Debug)]
pub struct Guard {
    policy: GuardPolicy,
    /// When restarts were decided, within the window, oldest first.
    decided: VecDeque<Duration>,
    /// The restart that is waiting for its time.
    pending: Option<Duration>,
    /// Restarts since an operation last acted on the instance.
    restarts: u32,
    /// Why it was given up, if it was.
    given_up: Option<String>,
}

impl Guard {
    /// A guard with a whole budget.
    #[must_use]
    pub fn new(policy: GuardPolicy) -> Self {
        Self {
            policy,
            decided: VecDeque::new(),
            pending: None,
            restarts: 0,
            given_up: None,
        }
    }

    /// Another policy from now on; what was spent remains spent.
    pub fn set_policy(&mut self, policy: GuardPolicy) {
        self.policy = policy;
    }

    /// The instance went down, or starting it again has failed. `now` is monotonic.
    pub fn died(&mut self, death: Death, situation: Situation, now: Duration) -> Verdict {
        self.pending = None;
        let reason = match death {
            Death::Clean(reason) => {
                return Verdict::Leave(format!("{reason}; it ended cleanly and is left alone"));
            }
            Death::Failure(reason) => reason,
        };
        if let Err(why) = self.permits(situation) {
            return Verdict::Leave(format!("{reason}; {why}"));
        }
        while self
            .decided
            .front()
            .is_some_and(|at| *at + self.policy.window <= now)
        {
            self.decided.pop_front();
        }
        let spent = u32::try_from(self.decided.len()).unwrap_or(u32::MAX);
        if spent >= self.policy.budget {
            let window = self.policy.window;
            let told = self.given_up.is_some();
            let why = format!("{reason}; given up after {spent} restarts within {window:?}");
            self.given_up = Some(why.clone());
            return if told {
                Verdict::Leave(why)
            } else {
                Verdict::Escalate(why)
            };
        }
        self.given_up = None;
        let doubled = 1_u32.checked_shl(spent).unwrap_or(u32::MAX);
        let at = now
            + self
                .policy
                .backoff
                .saturating_mul(doubled)
                .min(self.policy.window);
        self.decided.push_back(now);
        self.pending = Some(at);
        Verdict::RestartAt(at)
    }

    /// Takes the pending restart if its time has come. One that is no longer right by then is dropped.
    pub fn take_due(&mut self, situation: Situation, now: Duration) -> bool {
        if self.pending.is_none_or(|at| at > now) {
            return false;
        }
        self.pending = None;
        if self.permits(situation).is_err() {
            return false;
        }
        self.restarts = self.restarts.saturating_add(1);
        true
    }

    /// When the pending restart is due; none if nothing is pending.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.pending
    }

    /// An attempt on the instance begins: it is in other hands.
    pub fn hand_over(&mut self) {
        *self = Self::new(self.policy);
    }

    /// Restarts since an operation last acted on the instance.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Why the guard has given the instance up, if it has.
    #[must_use]
    pub fn given_up(&self) -> Option<&str> {
        self.given_up.as_deref()
    }

    fn permits(&self, situation: Situation) -> Result<(), &'static str> {
        if situation.attempt_open {
            return Err("an attempt is open on it, which decides");
        }
        if self.policy.budget == 0 {
            return Err("its guard is off");
        }
        match situation.wanted {
            Some(Wanted::Running) => Ok(()),
            Some(Wanted::Stopped) => Err("it should be stopped"),
            None => Err("no operation has said that it should run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: GuardPolicy = GuardPolicy {
        budget: 3,
        window: Duration::from_secs(60),
        backoff: Duration::from_secs(1),
    };
    const WANTED: Situation = Situation {
        wanted: Some(Wanted::Running),
        attempt_open: false,
    };

    fn crash() -> Death {
        Death::Failure("killed by SIGKILL".into())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_double_until_the_budget_is_spent_and_that_is_said_once() {
        let mut guard = Guard::new(POLICY);
        for (now, due) in [(10, 11), (12, 14), (15, 19)] {
            assert_eq!(
                guard.died(crash(), WANTED, at(now)),
                Verdict::RestartAt(at(due))
            );
            assert!(!guard.take_due(WANTED, at(due) - Duration::from_millis(1)));
            assert!(guard.take_due(WANTED, at(due)));
        }
        assert!(matches!(
            guard.died(crash(), WANTED, at(20)),
            Verdict::Escalate(_)
        ));
        assert!(matches!(
            guard.died(crash(), WANTED, at(21)),
            Verdict::Leave(_)
        ));
        assert_eq!(guard.restarts(), 3);
        assert!(guard.given_up().is_some_and(|why| why.contains("SIGKILL")));
    }

    #[test]
    fn the_window_slides() {
        let mut guard = Guard::new(POLICY);
        for now in [0, 1, 2] {
            assert!(matches!(
                guard.died(crash(), WANTED, at(now)),
                Verdict::RestartAt(_)
            ));
        }
        assert_eq!(
            guard.died(crash(), WANTED, at(60)),
            Verdict::RestartAt(at(64))
        );
        assert_eq!(guard.given_up(), None);
    }

    #[test]
    fn only_a_failure_of_what_should_run_outside_of_an_attempt_is_repaired() {
        for situation in [
            Situation {
                wanted: None,
                ..WANTED
            },
            Situation {
                wanted: Some(Wanted::Stopped),
                ..WANTED
            },
            Situation {
                attempt_open: true,
                ..WANTED
            },
        ] {
            let mut guard = Guard::new(POLICY);
            assert!(
                matches!(guard.died(crash(), situation, at(1)), Verdict::Leave(_)),
                "{situation:?}"
            );
        }
        let mut guard = Guard::new(POLICY);
        assert!(matches!(
            guard.died(Death::Clean("exit code 0".into()), WANTED, at(1)),
            Verdict::Leave(_)
        ));
        assert_eq!(guard.due(), None);
    }

    #[test]
    fn a_restart_that_is_no_longer_right_when_its_time_comes_does_not_happen() {
        let mut guard = Guard::new(POLICY);
        guard.died(crash(), WANTED, at(1));
        assert!(!guard.take_due(
            Situation {
                wanted: Some(Wanted::Stopped),
                ..WANTED
            },
            at(9)
        ));
        assert!(
            !guard.take_due(WANTED, at(10)),
            "it is not pending any more"
        );

        guard.died(crash(), WANTED, at(11));
        guard.hand_over();
        assert!(!guard.take_due(WANTED, at(60)));
        assert_eq!(guard.restarts(), 0);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_restarts_than_the_budget(gaps in prop::collection::vec(0_u64..30, 1..200)) {
            let mut guard = Guard::new(POLICY);
            let mut now = Duration::ZERO;
            let mut decided: Vec<Duration> = Vec::new();
            for gap in gaps {
                now += at(gap);
                if let Verdict::RestartAt(due) = guard.died(crash(), WANTED, now) {
                    prop_assert!(due >= now + POLICY.backoff);
                    decided.push(now);
                }
                let within = decided.iter().filter(|at| **at + POLICY.window > now).count();
                prop_assert!(within <= POLICY.budget as usize);
            }
        }
    }
}
