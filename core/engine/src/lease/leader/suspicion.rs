//! Whether the machine of the holder is lost: two signals that do not travel the same way, before its power is touched.
//!
//! The first is silence: nothing was heard of the holder for the *hold-down*, neither a renewal, through whichever
//! coordinator, nor a word of its agent to this one. The second are other nodes, which are asked to reach the machine itself
//! at each of its addresses. One that reaches it, or is refused a connection, has met a kernel that works: then the machine is
//! not lost, whatever has become of its agent. Nobody's answer is no answer: where no other node can tell, nothing is fenced,
//! and what is left is time.
//!
//! When many nodes fall silent at once, it is more likely that this coordinator has lost them than that all of them died: it is
//! told so, and fences nobody.
//!
//! Neither is asked for by an expiry: time is a proof of its own, and a primary that reaches no coordinator has stopped itself
//! by then, also where its peers reach it.

use std::time::Duration;

use interlock_model::names::NodeName;

use super::event::Effect;
use super::evidence::PoweredOff;
use super::reading::Reading;
use super::{Clock, Leader};
use crate::lease::LeaseRecord;

/// Others are asked so long before the hold-down is over, for they need time to be sure.
const BEFORE: Duration = Duration::from_millis(400);

/// How often others are asked while the silence lasts.
const AGAIN: Duration = Duration::from_millis(500);

/// How long what another node found counts.
const FRESH: Duration = Duration::from_secs(3);

/// What another node has found when it tried to reach a machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tried {
    pub(super) reached: bool,
    /// When it was asked.
    pub(super) asked: Clock,
}

/// Why the machine of a holder is not taken for lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLost {
    /// Something was heard of it.
    #[error("it was heard of within the last {:.1}s", .0.as_secs_f64())]
    Heard(Duration),
    /// Another node reaches it.
    #[error("{0} reaches its machine, so that is not lost")]
    Reached(NodeName),
    /// Nobody else has tried, or could.
    #[error("no other node has said that it cannot reach its machine")]
    NobodyTells,
    /// Many are silent at once.
    #[error("{0}")]
    Doubted(String),
}

impl Leader {
    /// Another node has tried to reach a machine.
    pub(super) fn tried(&mut self, observer: NodeName, node: NodeName, tried: Tried) {
        self.tries.insert((observer, node), tried);
    }

    /// For how long nothing was heard of the holder, by the clock that says less.
    fn silence(&self, reading: &Reading, now: Clock) -> Option<Duration> {
        let holder = reading.record()?.holder()?;
        let heard = self.heard.get(&holder.node).map(|heard| heard.at);
        let signs = [Some(reading.holder_since()), reading.renewed_since(), heard];
        let gone = signs.into_iter().flatten();
        gone.map(|at| now.shortest_since(at)).min()
    }

    /// Is what the record says of the data young enough to go by? Of a machine that was switched off it is as old as it was when
    /// that was asked for: nothing was known to be written since, and its source may take a while.
    pub(super) fn is_recent(&self, reading: &Reading, now: Clock) -> bool {
        reading.is_recent(self.off.as_ref().map_or(now, PoweredOff::asked))
    }

    /// Asks others for the machine of a holder that is silent.
    pub(super) fn ask_others(&mut self, reading: &Reading, now: Clock, out: &mut Vec<Effect>) {
        let record = reading.record();
        let holder = record.and_then(LeaseRecord::holder);
        let (Some(holder), Some(silence)) = (holder, self.silence(reading, now)) else {
            return;
        };
        let due = self.timings().hold_down().saturating_sub(BEFORE);
        let asked = |at: Clock| now.longest_since(at) < AGAIN;
        if silence >= due && !self.probed.is_some_and(asked) {
            self.probed = Some(now);
            out.push(Effect::Probe(holder.node.clone()));
        }
    }

    /// Is the machine of the holder lost?
    pub(super) fn is_lost(&self, reading: &Reading, now: Clock) -> Result<(), NotLost> {
        let hold_down = self.timings().hold_down();
        let record = reading.record();
        let holder = record.and_then(LeaseRecord::holder);
        let (Some(holder), Some(silence)) = (holder, self.silence(reading, now)) else {
            return Err(NotLost::NobodyTells);
        };
        if silence < hold_down {
            return Err(NotLost::Heard(hold_down));
        }
        if let Some(why) = &self.doubted {
            return Err(NotLost::Doubted(why.clone()));
        }
        let mut said = false;
        for ((observer, node), tried) in &self.tries {
            // What was tried before the last sign of life says nothing of what came after it.
            let age = now.shortest_since(tried.asked);
            if *node != holder.node || age >= silence || age >= FRESH {
                continue;
            }
            if tried.reached {
                return Err(NotLost::Reached(observer.clone()));
            }
            said = true;
        }
        if said {
            Ok(())
        } else {
            Err(NotLost::NobodyTells)
        }
    }
}
