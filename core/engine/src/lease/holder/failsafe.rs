//! Promises of peers, in place of coordinators that cannot be reached (safety rule E2).
//!
//! The holder asks *every* other member of the record. One that agrees will not become primary for L after it answered; the
//! holder counts S from when it *asked*, so its right ends first. All must agree: one that did not may be the one that the
//! leader promotes. It asks once in R; an answer that takes longer counts for the question that it answers, and for all before that:
//! whoever promises now has been nobody's primary since. So one slow member and one that lost a question agree to the same one.
//!
//! A promise is in memory. It needs no disk because an agent that starts waits a full L anyhow before it becomes primary
//! under `failsafe`, whatever it may have promised before.
//!
//! While it has promised, a member does not claim either: who claims an epoch can give it back at once, and then a third
//! one that never promised anything could begin the next.

use std::time::Duration;

use interlock_model::lease::{Epoch, Holder as Member};
use interlock_model::names::NodeName;

use super::{Clock, Effect, Holder, Phase, Question, Tenure};

impl Holder {
    /// Asks all peers when renewals stay unanswered.
    pub(super) fn ask_if_alone(&mut self, now: Clock, out: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Promoting | Phase::Primary) {
            return;
        }
        let Some(tenure) = &self.tenure else {
            return;
        };
        let timings = tenure.terms().timings;
        // Two renewals in a row: one may simply be on its way.
        let alone = now.longest_since(tenure.renewed()) > timings.renewal() * 2;
        let last = self.questions.back();
        let again = last.is_none_or(|last| now.longest_since(last.asked) >= timings.renewal());
        if !tenure.counts_promises() || !alone || !again {
            return;
        }
        // Answers to what was asked so long ago prolong nothing any more.
        let fence = timings.fence();
        self.questions
            .retain(|question| now.longest_since(question.asked) < fence);
        let mut members = tenure.terms().members.clone();
        members.remove(&self.config.me.node);
        out.push(Effect::AskPeers {
            members,
            ask: now.boottime,
            epoch: tenure.epoch(),
            life: timings.life(),
        });
        self.questions.push_back(Question {
            asked: now,
            agreed: [self.config.me.node.clone()].into(),
        });
    }

    /// A peer asks whether it may go on.
    pub(super) fn peer_asks(
        &mut self,
        from: Member,
        epoch: Epoch,
        ask: Duration,
        life: Duration,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        if self.why_no_promise(epoch).is_some() {
            return;
        }
        self.promise = Some((now, life.max(self.promise_left(now))));
        out.push(Effect::Agree { to: from.node, ask });
    }

    /// Why this node does not promise to wait while another one goes on in this epoch; none if it does.
    #[must_use]
    pub fn why_no_promise(&self, epoch: Epoch) -> Option<String> {
        if self.phase != Phase::Standby {
            return Some("it is no idle standby".to_owned());
        }
        let seen = self.facts.seen;
        (epoch < seen).then(|| format!("it has heard of {seen}, and was asked for {epoch}"))
    }

    /// A peer promises.
    pub(super) fn peer_agrees(
        &mut self,
        node: &NodeName,
        ask: Duration,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        if !self.questions.iter().any(|it| it.asked.boottime == ask) {
            return;
        }
        let Some(tenure) = &mut self.tenure else {
            return;
        };
        let mut agreed = None;
        for question in &mut self.questions {
            if question.asked.boottime <= ask {
                question.agreed.insert(node.clone());
                if question.agreed.is_superset(&tenure.terms().members) {
                    agreed = Some(question.asked);
                }
            }
        }
        if let Some(asked) = agreed {
            tenure.promised(asked);
            out.push(Effect::Keep(Some(tenure.clone())));
            self.open_path(now, out);
        }
    }

    pub(super) fn has_promised(&self, now: Clock) -> bool {
        !self.promise_left(now).is_zero()
    }

    fn promise_left(&self, now: Clock) -> Duration {
        self.promise.map_or(Duration::ZERO, |(given, life)| {
            life.saturating_sub(now.shortest_since(given))
        })
    }

    /// The terms that bind at this time, for tests of the whole.
    #[must_use]
    pub fn tenure(&self) -> Option<&Tenure> {
        self.tenure.as_ref()
    }
}
