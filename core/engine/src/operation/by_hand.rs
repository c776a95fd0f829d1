//! What a person says to have stopped: do the checks say otherwise?
//!
//! Where no agent runs a person stops the service, and confirms it (`approve:stop.SERVICE.NODE`). That is the proof, but not
//! against what is seen: the service's own checks run from other nodes, and one that is green after the confirmation says that
//! it still answers. So they are looked at anew before anything is taken from under it, and at the end.
//!
//! | a check of it, since it was confirmed | it means |
//! |---|---|
//! | was run, and is green | it is up, whoever says what: wait |
//! | was run, and is not green | the person's word stands |
//! | was not run yet, and somebody is there to run it | wait |
//! | nobody who could run it is heard | the person's word stands |

use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::check::Verdict;
use interlock_model::observation::Liveness;
use interlock_model::plan::Gate;

use super::capacity::own_checks;
use super::gates::Readiness;
use super::{Ctx, Operation, Phase};

impl Operation {
    /// Is what a person says to have stopped down, as far as its checks can tell?
    pub(super) fn is_down_by_hand(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let since = self.confirmed(at);
        for gate in self.of_stopped_by_hand(at, ctx) {
            let (check, on) = (&gate.check, &gate.on);
            let prober = ctx.view.node(on);
            match prober.map(|seen| seen.liveness).unwrap_or_default() {
                Liveness::Lost | Liveness::Left => continue,
                Liveness::Unheard if self.has_waited_for_agents(ctx) => continue,
                Liveness::Unheard | Liveness::Alive | Liveness::Late => {}
            }
            let known = prober.and_then(|seen| seen.checks.get(check));
            if known.is_none_or(|seen| seen.after < since) {
                return Readiness::NotYet(format!("a fresh result of {check} on {on}"));
            }
            let seen = ctx.view.check_since(ctx.spec, on, check, ctx.now, since);
            if seen.verdict == Verdict::Ok {
                return Readiness::NotYet(format!(
                    "{check} on {on} is still ok ({}), although {} was confirmed: stop it, `retry` if this has stopped waiting, or \
                     abort",
                    seen.evidence,
                    self.step(at).id
                ));
            }
        }
        Readiness::Yes
    }

    /// The checks that [`is_down_by_hand`](Self::is_down_by_hand) goes by, of everything that was confirmed before a step,
    /// and since when they count.
    pub(super) fn asked_of_confirmed(&self, at: usize, ctx: &Ctx<'_>) -> Vec<(Gate, Duration)> {
        let mut asked = Vec::new();
        let mut open: Vec<usize> = self.before[at].iter().map(|it| it.0).collect();
        while let Some(other) = open.pop() {
            match (&self.step(other).action, &self.step(other).node) {
                (Action::Approve { .. }, _) => asked.extend(self.asked_of(other, ctx)),
                (Action::Check, None) => open.extend(self.before[other].iter().map(|it| it.0)),
                _ => {}
            }
        }
        asked
    }

    /// The same of one confirmation.
    pub(super) fn asked_of(&self, at: usize, ctx: &Ctx<'_>) -> Vec<(Gate, Duration)> {
        let since = self.confirmed(at);
        let gates = self.of_stopped_by_hand(at, ctx).into_iter();
        gates.map(|gate| (gate, since)).collect()
    }

    /// When it was confirmed; who has taken the operation over looks anew.
    fn confirmed(&self, at: usize) -> Duration {
        self.live[at].proven.or(self.taken).unwrap_or_default()
    }

    /// The checks of the instance that a person has confirmed to be down.
    fn of_stopped_by_hand(&self, at: usize, ctx: &Ctx<'_>) -> Vec<Gate> {
        let step = self.step(at);
        let (Action::Approve { .. }, Phase::Done, Some(name), Some(node)) = (
            &step.action,
            self.steps[at].phase,
            &step.service,
            &step.node,
        ) else {
            return Vec::new();
        };
        let Some(service) = ctx.spec.services.get(name) else {
            return Vec::new();
        };
        let on = ctx.view.observer(ctx.spec, service, node);
        let own = own_checks(service).filter(|check| !self.plan().forced.contains(check));
        own.map(|check| Gate {
            check,
            on: on.clone(),
        })
        .collect()
    }
}
