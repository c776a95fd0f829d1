//! What a holder's machine is given, and what it wants done.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::lease::{Epoch, Holder as Member, Terms};
use interlock_model::names::NodeName;

use super::facts::Facts;
use super::tenure::Tenure;
use crate::lease::{ReleaseReport, RenewRequest, Right};

/// What is so on the node, as the manager of the service observed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the control group is empty and the address is gone.
    Nothing,
    /// An instance that accepts no writes.
    Standby,
    /// An instance that accepts writes, or would if its path were open.
    Primary,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The clock moved on.
    Tick,
    /// A coordinator says what the store has. May be old, never ahead.
    Heard {
        /// The epoch.
        epoch: Epoch,
        /// Who holds it.
        holder: Option<Member>,
        /// What this node has once said to have seen, by the record.
        witnessed: Epoch,
    },
    /// A person has looked at this node, whose disk went back.
    Cleared,
    /// A coordinator says that this node is to be primary. That gives no right (safety rule E5).
    Promote {
        /// In which epoch.
        epoch: Epoch,
        /// Who holds it, by the record.
        holder: Member,
        /// The terms of the record.
        terms: Terms,
    },
    /// The renewal that was sent at this time is committed.
    Acknowledged {
        /// Which epoch.
        epoch: Epoch,
        /// Which request.
        sent: Duration,
        /// The terms of the record that it wrote.
        terms: Terms,
    },
    /// The store says that the epoch is over for this node.
    Superseded(Epoch),
    /// The leader would like other terms.
    Propose(Terms),
    /// Another member cannot reach any coordinator and asks whether it may go on (safety rule E2).
    PeerAsks {
        /// Who.
        from: Member,
        /// In which epoch it is primary.
        epoch: Epoch,
        /// Its question, for the answer.
        ask: Duration,
        /// For how long the promise holds: L of its terms.
        life: Duration,
    },
    /// A member promises.
    PeerAgrees {
        /// Who.
        node: NodeName,
        /// To which question.
        ask: Duration,
    },
    /// The role is to be given back.
    Release(Epoch),
    /// The promotion is done: the instance accepts writes.
    Promoted,
    /// It failed.
    PromotionFailed,
    /// It had no effect: what was stopped had not accepted a write in this epoch, nor could it. Told before [`Event::Empty`].
    Unwritten,
    /// The control group is empty and the address is gone.
    Empty {
        /// How far the instance had written when it ended; none if nobody knows.
        position: Option<u64>,
    },
    /// The instance died by itself.
    Died {
        /// Would the guard start it again?
        restart: bool,
    },
    /// The manager has looked, unasked.
    Found(Found),
    /// The watchdog is armed, or is not any more.
    Armed(bool),
    /// The instance waits for these at each write from now on.
    Synchronous(BTreeSet<NodeName>),
    /// The instance wants to acknowledge without waiting for anybody.
    Degrade,
    /// How far the instance has written.
    Position(Option<u64>),
    /// Why the instance could not be promoted now; none if it could.
    Unready(Option<String>),
    /// What is seen of the interfaces of the role's addresses.
    Link {
        /// Why those who come by one of them do not reach this node, or would not; none if they do.
        unlinked: Option<String>,
        /// Something was received by each of them lately.
        hears: bool,
    },
    /// How good it would be to promote the instance, by the OCF agents that would.
    Score(Option<i64>),
    /// The data of this node are a beginning of what the primary of this epoch has: they were seen to follow it, or were
    /// made to.
    Follows(Epoch),
    /// The data of this node were seen to be of another line than those of the primary that it was to follow.
    Diverged,
    /// A release is in the store.
    ReleaseWritten(Epoch),
    /// The agent is asked to end (safety rule E12).
    Exit,
    /// A batch of facts is durable.
    Committed(u64),
}

/// What is to be done, in this order.
#[expect(clippy::large_enum_variant, reason = "a handful at a time, never kept")]
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a coordinator to renew.
    Renew {
        /// The request.
        request: Box<RenewRequest>,
        /// Moves on by one whenever the last request went unanswered, so that another coordinator is asked.
        turn: u64,
    },
    /// Make these facts durable, then say so.
    Commit {
        /// The number of the batch.
        batch: u64,
        /// All of them.
        facts: Facts,
    },
    /// Keep this where it survives the agent and not the machine (`/run`); none removes it.
    Keep(Option<Tenure>),
    /// Tell every coordinator.
    ReportRelease(ReleaseReport),
    /// Let clients in for this long by the kernel's own clock; none is without end. Whatever was set before is replaced:
    /// re-adding an element of an nft set does not extend it.
    OpenPath(Option<Duration>),
    /// Shut clients out.
    ClosePath,
    /// Make writes impossible; the instance goes on.
    Block,
    /// Take that back.
    Unblock,
    /// Promote the instance.
    Promote(Right),
    /// Start the instance again as what it was.
    Restart(Right),
    /// Stop the instance as its manager does it.
    Stop,
    /// Stop it by force, with system calls only: address, port, SIGKILL to the control group (safety rule E14).
    ForceStop {
        /// Afterwards the node is reset.
        within: Duration,
        /// Why, for people.
        why: &'static str,
    },
    /// Reset the node at once.
    Reset,
    /// Arm the watchdog with this time.
    Arm(Duration),
    /// Pet it.
    Pet,
    /// Disarm it.
    Disarm,
    /// Ask these whether to go on.
    AskPeers {
        /// Everybody who must agree.
        members: BTreeSet<NodeName>,
        /// The question.
        ask: Duration,
        /// In which epoch.
        epoch: Epoch,
        /// For how long they promise.
        life: Duration,
    },
    /// Promise it.
    Agree {
        /// To whom.
        to: NodeName,
        /// Which question.
        ask: Duration,
    },
    /// From now on the instance may acknowledge without waiting for anybody (safety rule D1).
    AllowAsynchronous,
    /// The agent may end.
    MayExit,
    /// The agent did not run for this long, for people.
    Paused(Duration),
}
