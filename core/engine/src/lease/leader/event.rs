//! What a leader's machine is given, and what it wants done.

use std::time::Duration;

use interlock_model::ids::OperationId;
use interlock_model::lease::{Epoch, Holder as Member, Shortfall, Synchrony, Terms};
use interlock_model::names::NodeName;

use crate::lease::{Clock, Safeguards, Stored, Transaction};

/// What a node says of its instance, in the order in which it says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which node, in which boot.
    pub holder: Member,
    /// The highest epoch that is durable there.
    pub seen: Epoch,
    /// Its disk went back, as it has noticed itself.
    pub reverted: bool,
    /// What it holds.
    pub holding: Option<Holding>,
    /// It was primary in this epoch, and has not been proven to follow another one since.
    pub mark: Option<Epoch>,
    /// The last epoch whose primary its data were seen to follow.
    pub follows: Epoch,
    /// How long its machine has been up; none if it does not say.
    pub up: Option<Duration>,
    /// It holds nothing, claims nothing and stops nothing.
    pub idle: bool,
    /// It has promised a peer not to become primary.
    pub promised: bool,
    /// How far its data goes; none is unknown.
    pub position: Option<u64>,
    /// Why it could not be promoted now, in the words of its agent: its parts do not run, or were stopped on purpose.
    pub unready: Option<String>,
    /// Why nobody wants a role moved to it by itself, in a person's words: said by who leads, and never by the node.
    pub rests: Option<String>,
    /// Why those who come by an address of the role would not reach this node, in the words of its agent: the interface has no
    /// link. Said of a primary too, which goes on until somebody else can take over.
    pub unlinked: Option<String>,
    /// By each interface of the role's addresses it has received something lately: somebody else is there.
    pub hears: bool,
    /// How good it would be to promote it, by the OCF agents that would; none if they have not said, or are not asked.
    pub score: Option<i64>,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Which epoch.
    pub epoch: Epoch,
    /// When it sent the last renewal that was acknowledged.
    pub renewed: Duration,
    /// The terms that bind it; none while they change.
    pub terms: Option<Terms>,
    /// What acts when its agent cannot.
    pub safeguards: Safeguards,
    /// Whom its writes wait for.
    pub synchrony: Synchrony,
}

/// Something happened.
#[expect(clippy::large_enum_variant, reason = "one at a time, never kept")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The clock moved on.
    Tick,
    /// An own linearizable read, begun after the last one ended. Never what a watch shows (safety rule E3).
    Read(Stored),
    /// A node says how it stands.
    Standing(Standing),
    /// Somebody has looked whether the instance of this node accepts writes.
    Sighted {
        /// Who has looked.
        observer: NodeName,
        /// At which instance.
        node: NodeName,
        /// Whether it does.
        writable: bool,
    },
    /// Another node has tried to reach the machine of this one (see [`Effect::Probe`]).
    Tried {
        /// Who has tried.
        observer: NodeName,
        /// Whose machine.
        node: NodeName,
        /// Did its kernel answer, in whatever way?
        reached: bool,
        /// When that was asked for.
        asked: Clock,
    },
    /// So many nodes are silent at once that the coordinator doubts itself; none ends that.
    Doubted(Option<String>),
    /// Whether a holder that is lost may be switched off, as the spec says.
    Fences(bool),
    /// A power device has confirmed that a node is off.
    PoweredOff {
        /// Which node.
        node: NodeName,
        /// When the device was asked: an answer to an older question proves nothing of a newer boot.
        asked: Clock,
    },
    /// A power device was not asked, has refused, or nobody knows what it did.
    NotFenced {
        /// Which node.
        node: NodeName,
        /// Why.
        why: String,
        /// Was it asked at all?
        asked: bool,
    },
    /// A person gives their word that a node is down.
    Attest {
        /// Which node.
        node: NodeName,
        /// Who.
        by: String,
        /// Why, in their words.
        why: String,
    },
    /// A person has looked at a node in quarantine.
    Cleared(NodeName),
    /// An operation that holds the service wants this node to be primary; none ends that.
    Wanted(Option<(OperationId, NodeName)>),
    /// A person who has ordered this operation accepts that so much of what was written is lost; none ends that.
    Accepts(Option<(OperationId, Shortfall)>),
    /// Another spec was applied: its terms are proposed to the holder from now on.
    Terms(Terms),
    /// How long a stop of the service may take, by the spec.
    StopWithin(Duration),
    /// For how long after its start a machine is young, by the spec (see `restarted`).
    BootDead(Duration),
    /// Whether failover is automatic at this time (spec, maintenance, budget).
    Automatic(bool),
    /// A transaction is committed.
    Committed(u64),
    /// A transaction is certainly not committed, or nobody knows.
    NotCommitted(u64),
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read record and claims, linearizably.
    Read,
    /// Commit this, then say what became of it.
    Commit {
        /// Its number, for the answer.
        id: u64,
        /// What to commit.
        transaction: Transaction,
    },
    /// Tell a node to be primary. Gives no right.
    Promote {
        /// Which node, in which boot.
        to: Member,
        /// In which epoch.
        epoch: Epoch,
        /// The terms of the record.
        terms: Terms,
    },
    /// Ask the holder to accept other terms.
    Propose {
        /// Whom.
        to: Member,
        /// Which ones.
        terms: Terms,
    },
    /// Ask the holder to give the role back.
    AskRelease {
        /// Whom.
        from: Member,
        /// Which epoch.
        epoch: Epoch,
        /// Nobody ordered it: it is a move that counts, and is asked for only if the role may move once more.
        automatic: bool,
    },
    /// Tell a node that a person has looked at it.
    Clear(NodeName),
    /// Have other nodes try to reach the machine of this one, and say what they found.
    Probe(NodeName),
    /// Power this node off, and say when that is confirmed.
    Fence {
        /// Which node.
        node: NodeName,
        /// Whose epoch that is to end.
        epoch: Epoch,
    },
}
