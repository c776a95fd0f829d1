//! Promises among the members of a service, as they come and go (safety rule E2).

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_engine::lease::holder::Event;
use interlock_model::lease::{Epoch, Holder as Member};
use interlock_model::names::NodeName;

use super::seat::{Seat, Shell};
use crate::peers::Question;

impl Seat {
    /// Asks every other member whether this primary may go on.
    pub(super) fn ask_peers(
        &mut self,
        members: &BTreeSet<NodeName>,
        ask: Duration,
        (epoch, life): (Epoch, Duration),
        shell: &Shell,
    ) {
        let news = !std::mem::replace(&mut self.alone, true);
        if news {
            tracing::warn!(service = %self.service, "no coordinator renews its lease: asking all other members whether it may go on");
        }
        for member in members {
            let Some(peer) = self.leased.peers.iter().find(|peer| peer.node == *member) else {
                if news {
                    tracing::error!(service = %self.service, %member, "a member cannot be asked: this node was not told where it is");
                }
                continue;
            };
            let question = Question {
                peer: peer.clone(),
                service: self.service.clone(),
                holder: shell.me.clone(),
                epoch,
                ask,
                life,
            };
            // Only at the end of the agent there is nobody who asks.
            let _ = shell.questions.send(question);
        }
    }

    /// Another member, which no coordinator renews, asks whether it may go on (safety rule E2).
    pub(super) fn asked(
        &mut self,
        from: Member,
        epoch: Epoch,
        life: Duration,
        shell: &mut Shell,
    ) -> Result<(), String> {
        if !self.leased.peers.iter().any(|peer| peer.node == from.node) {
            let node = from.node;
            return Err(format!(
                "this node was not told that {node} is a member of it"
            ));
        }
        let node = from.node.clone();
        let asks = Event::PeerAsks {
            from,
            epoch,
            // It is answered here and now.
            ask: Duration::ZERO,
            life,
        };
        self.agreed = false;
        self.tell(asks, shell);
        if self.agreed {
            tracing::debug!(service = %self.service, %node, ?life, "promised to wait while that one goes on");
            return Ok(());
        }
        let why = self.holder.why_no_promise(epoch);
        Err(why.unwrap_or_else(|| "it does not promise".to_owned()))
    }
}
