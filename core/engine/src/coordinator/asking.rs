//! Which questions to power sources are under way, and which wait for their turn.
//!
//! A device answers one question after the other, and an agent runs a few fence agents at a time. What is sent beyond that lies in
//! the agent's queue, where its time runs out and nobody can say what is urgent; so it waits here. Every question has its turn: in the
//! order in which they were asked, those that a step waits for as if they had been asked a while ago, and those that nobody waits for
//! as if they were asked later.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::FenceCall;
use interlock_model::names::{NodeName, PowerName};
use interlock_model::time::Now;

use crate::view::View;

/// How many questions may be under way at one agent: as many as it runs at a time.
const AT_A_VIA: usize = 4;

/// By how much a question that a step waits for goes before the others, and one that nobody waits for after them.
const HEAD_START: Duration = Duration::from_secs(60);

/// For how long an agent that is busy is not asked.
const BUSY: Duration = Duration::from_secs(1);

/// How long a late answer is still taken for what it is.
const KEPT: Duration = Duration::from_secs(600);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// Which plugs this device has. The first, of what was asked at a time: nothing that is said of them is matched without it.
    Plugs(PowerName),
    /// Whether the machine of this node has power.
    Node(NodeName),
}

/// What a power source is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// To find out whether the plug is the node's: what it says about a node whose agent is heard is not believed yet.
    ToVerify,
    /// To know whether the node has power.
    ToKnow,
}

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A step of an operation.
    Step,
    /// A person, or a plan.
    Wanted,
    /// Nobody: it is good to know.
    Idle,
}

/// A question that has not been sent.
#[derive(Debug)]
struct Waiting {
    why: Why,
    /// The lowest goes first.
    turn: Duration,
}

/// A question that was sent to an agent and has no answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) about: About,
    /// As the spec had it then.
    pub(super) call: FenceCall,
    /// Whose agent was asked.
    pub(super) via: NodeName,
    /// When it was sent: its answer is never older.
    pub(super) at: Duration,
    /// For how long nothing else is asked there meanwhile.
    pub(super) limit: Duration,
    pub(super) why: Why,
}

/// The questions to power sources.
#[derive(Debug, Default)]
pub(super) struct Askings {
    /// By their numbers.
    sent: BTreeMap<u64, Asked>,
    waiting: BTreeMap<About, Waiting>,
    /// Agents that said that they are busy, until when they are left alone.
    busy: BTreeMap<NodeName, Duration>,
}

impl Askings {
    /// A question shall be asked; the earliest turn that anybody wants counts.
    pub(super) fn want(&mut self, about: &About, why: Why, urgency: Urgency, now: Now) {
        // There is a head start in the first minute of a clock as well.
        let now = now.mono + HEAD_START;
        let turn = match urgency {
            Urgency::Step => now - HEAD_START,
            Urgency::Wanted => now,
            Urgency::Idle => now + HEAD_START,
        };
        let waiting = self.waiting.entry(about.clone());
        let waiting = waiting.or_insert(Waiting { why, turn });
        waiting.why = waiting.why.max(why);
        waiting.turn = waiting.turn.min(turn);
    }

    /// What is to be asked, whose turn is first before the others.
    pub(super) fn turns(&self) -> Vec<About> {
        let mut turns: Vec<(Duration, &About)> = self
            .waiting
            .iter()
            .map(|(about, waiting)| (waiting.turn, about))
            .collect();
        turns.sort();
        turns.into_iter().map(|(_, about)| about.clone()).collect()
    }

    /// The question waits for its turn.
    pub(super) fn waits(&self, about: &About) -> bool {
        self.waiting.contains_key(about)
    }

    /// The question is not asked, or just now; what for, if it was.
    pub(super) fn drop_waiting(&mut self, about: &About) -> Option<Why> {
        self.waiting.remove(about).map(|waiting| waiting.why)
    }

    /// A question was sent.
    pub(super) fn sent(&mut self, number: u64, asked: Asked) {
        self.sent.insert(number, asked);
    }

    /// Is there room for one more question at this agent to this device?
    pub(super) fn has_room(
        &self,
        via: &NodeName,
        device: &PowerName,
        view: &View,
        now: Now,
    ) -> bool {
        if self.busy.get(via).is_some_and(|until| now.mono < *until) {
            return false;
        }
        let mut there = 0;
        for asked in self.under_way(view, now) {
            if asked.call.device == *device {
                return false;
            }
            there += usize::from(asked.via == *via);
        }
        there < AT_A_VIA
    }

    /// The question that is under way, if it is.
    pub(super) fn about(&self, about: &About, view: &View, now: Now) -> Option<&Asked> {
        self.under_way(view, now)
            .find(|asked| asked.about == *about)
    }

    /// Nobody waits for an answer to what was asked of an agent that has gone, or for longer than a call may take.
    fn under_way(&self, view: &View, now: Now) -> impl Iterator<Item = &Asked> {
        self.sent.values().filter(move |asked| {
            let session = view.node(&asked.via).and_then(|via| via.session);
            now.since(asked.at) < asked.limit && session.is_some_and(|since| since <= asked.at)
        })
    }

    /// The question that this agent answers now; none if it was not asked, or that is too long ago.
    pub(super) fn answered(&mut self, from: &NodeName, number: u64) -> Option<Asked> {
        let asked = self.sent.get(&number)?;
        if asked.via != *from {
            return None;
        }
        self.sent.remove(&number)
    }

    /// An agent is busy: what it was asked waits on, at the head.
    pub(super) fn is_busy(&mut self, from: &NodeName, number: u64, now: Now) {
        if let Some(asked) = self.answered(from, number) {
            self.busy.insert(from.clone(), now.mono + BUSY);
            let first = Waiting {
                why: asked.why,
                turn: Duration::ZERO,
            };
            let waiting = self.waiting.entry(asked.about).or_insert(first);
            waiting.turn = Duration::ZERO;
        }
    }

    /// Forgets what nobody will answer any more.
    pub(super) fn forget(&mut self, now: Now) {
        self.sent.retain(|_, asked| now.since(asked.at) < KEPT);
        self.busy.retain(|_, until| now.mono < *until);
    }
}

#[cfg(test)]
#[path = "asking_tests.rs"]
mod tests;
