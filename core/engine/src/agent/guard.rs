//! The guard of one instance: starts it again after a failure, within a budget.
//!
//! # Rules
//! * **Only what should run.** An instance is started again only while it is wanted running, and only as an operation has
//!   proven it to run: not after a start that failed or was cancelled, and not if it is made of something else by now.
//! * **Only after a failure.** A clean end, such as a stop by hand, is reported and left alone.
//! * **One restarter.** Where the manager of a part starts it again by itself, such as systemd by `Restart=`, the guard
//!   only watches, and escalates when that manager has given up.
//! * **Never during an attempt.** While an attempt is open on the instance, that attempt decides what becomes of it. The
//!   guard forgets what it had in mind, and its budget is whole again afterwards: somebody has looked.
//! * **A pause before each restart**, doubled with each further one in the window.
//! * **A budget.** When it is spent, the guard says so once and leaves the instance down, with the reason. It may restart
//!   again only after the window has moved on *and* the instance has been seen to die again.
//!
//! # Memory
//! What is spent must outlive the agent, or an agent that dies with its instance would restart it for ever: a guard is
//! made again from its [`Memory`], which the program keeps in the ledger. A restart counts from when it is decided, and is
//! written down then; whether an agent lived long enough to make it does not matter. Points in time are those of one boot,
//! so the memory ends with it: after a boot the budget is whole.

use std::collections::VecDeque;
use std::time::Duration;

use interlock_model::observation::Wanted;
use interlock_model::spec::GuardPolicy;
use interlock_model::time::human;
use serde::{Deserialize, Serialize};

/// Why a guard without a budget starts nothing again.
const OFF: &str = "its guard is off";

/// How an instance went down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// As something that was asked to, or had nothing more to do.
    Clean(String),
    /// In any other way.
    Failure(String),
    /// In any other way, and the manager that starts it again by itself does not do so any more.
    GivenUp(String),
}

/// What holds for the instance at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// What it should be.
    pub wanted: Option<Wanted>,
    /// Has the last attempt of an operation proven that it runs, made of what it is made of now?
    pub proven: bool,
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
    /// It stays down because the budget is spent, or its manager has given up. Said once.
    Escalate(String),
}

/// What a guard has to remember for as long as its machine is up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// When restarts were decided, within the window, oldest first: on the monotonic clock.
    pub decided: Vec<Moment>,
    /// Restarts since an operation last acted on the instance.
    pub restarts: u32,
    /// Why it was given up, if it was.
    pub given_up: Option<String>,
}

/// A point on the monotonic clock of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(#[serde(with = "human")] pub Duration);

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

    /// A guard that goes on where an earlier one was in the same boot. A restart that was pending is not: the death that
    /// it was for is seen again.
    #[must_use]
    pub fn restore(policy: GuardPolicy, memory: Memory) -> Self {
        Self {
            policy,
            decided: memory.decided.into_iter().map(|Moment(at)| at).collect(),
            pending: None,
            restarts: memory.restarts,
            given_up: memory.given_up,
        }
    }

    /// What it has to remember.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            decided: self.decided.iter().copied().map(Moment).collect(),
            restarts: self.restarts,
            given_up: self.given_up.clone(),
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
            Death::GivenUp(reason) => return self.give_up(reason, situation),
            Death::Failure(reason) => reason,
        };
        if let Err(why) = should_run(situation) {
            return Verdict::Leave(format!("{reason}; {why}"));
        }
        if self.policy.budget == 0 {
            let why = format!("{reason}; {OFF}");
            self.given_up = Some(why.clone());
            return Verdict::Leave(why);
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

    /// Why the guard does not start the instance again although it should run: its budget is spent, it has none, or the
    /// manager that restarts it has given up. None if it does, or if nobody wants it to.
    #[must_use]
    pub fn given_up(&self) -> Option<&str> {
        self.given_up.as_deref()
    }

    /// Somebody else has given the instance up: nothing is done, and that is said.
    fn give_up(&mut self, reason: String, situation: Situation) -> Verdict {
        if let Err(why) = should_run(situation) {
            return Verdict::Leave(format!("{reason}; {why}"));
        }
        let told = self.given_up.as_ref() == Some(&reason);
        self.given_up = Some(reason.clone());
        if told {
            Verdict::Leave(reason)
        } else {
            Verdict::Escalate(reason)
        }
    }

    fn permits(&self, situation: Situation) -> Result<(), &'static str> {
        should_run(situation)?;
        if self.policy.budget == 0 {
            return Err(OFF);
        }
        Ok(())
    }
}

impl Situation {
    /// Why no guard starts the instance again although it is wanted running; none if one does, or nobody wants it.
    #[must_use]
    pub fn unguarded(self) -> Option<&'static str> {
        let wanted = self.wanted == Some(Wanted::Running) && !self.attempt_open;
        should_run(self).err().filter(|_| wanted)
    }
}

/// Is it the guard's business that the instance is down?
fn should_run(situation: Situation) -> Result<(), &'static str> {
    if situation.attempt_open {
        return Err("an attempt is open on it, which decides");
    }
    match situation.wanted {
        Some(Wanted::Running) if situation.proven => Ok(()),
        Some(Wanted::Running) => Err("no operation has proven that it runs as it is assigned now"),
        Some(Wanted::Stopped) => Err("it should be stopped"),
        None => Err("no operation has said that it should run"),
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
        proven: true,
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
    fn a_guard_that_is_made_again_has_spent_what_it_had_spent() {
        let mut guard = Guard::new(POLICY);
        for now in [0, 1, 2] {
            guard.died(crash(), WANTED, at(now));
            let kept = serde_json::to_string(&guard.memory()).unwrap();
            guard = Guard::restore(POLICY, serde_json::from_str(&kept).unwrap());
            assert_eq!(guard.due(), None, "the death is to be seen again");
        }
        assert!(matches!(
            guard.died(crash(), WANTED, at(3)),
            Verdict::Escalate(_)
        ));
        let mut again = Guard::restore(POLICY, guard.memory());
        assert!(
            matches!(again.died(crash(), WANTED, at(4)), Verdict::Leave(_)),
            "said once, also by the next agent"
        );
        again.hand_over();
        assert_eq!(again.memory(), Memory::default());
    }

    #[test]
    fn what_its_manager_gave_up_is_told_once_and_not_restarted() {
        let death = || Death::GivenUp("start-limit-hit".into());
        let mut guard = Guard::new(GuardPolicy {
            budget: 0,
            ..POLICY
        });
        assert_eq!(
            guard.died(death(), WANTED, at(1)),
            Verdict::Escalate("start-limit-hit".into())
        );
        assert!(matches!(
            guard.died(death(), WANTED, at(2)),
            Verdict::Leave(_)
        ));
        assert_eq!(
            (guard.due(), guard.given_up()),
            (None, Some("start-limit-hit"))
        );
        guard.hand_over();
        let stopped = Situation {
            wanted: Some(Wanted::Stopped),
            ..WANTED
        };
        assert!(matches!(
            guard.died(death(), stopped, at(3)),
            Verdict::Leave(_)
        ));
        assert_eq!(guard.given_up(), None);
    }

    #[test]
    fn a_guard_that_is_off_has_given_up_what_should_run_and_nothing_else() {
        let off = GuardPolicy {
            budget: 0,
            ..POLICY
        };
        let mut guard = Guard::new(off);
        let stopped = Situation {
            wanted: Some(Wanted::Stopped),
            ..WANTED
        };
        assert!(matches!(
            guard.died(crash(), stopped, at(1)),
            Verdict::Leave(_)
        ));
        assert_eq!(guard.given_up(), None);
        assert!(matches!(
            guard.died(crash(), WANTED, at(2)),
            Verdict::Leave(_)
        ));
        assert!(
            guard
                .given_up()
                .is_some_and(|why| why.contains("its guard is off"))
        );
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
            Situation {
                proven: false,
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
