//! What coordinator and agents say to each other, in the core's words.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::action::{Command, FenceCall, Part, Power, ShutdownBy};
use interlock_model::attempt::AttemptReport;
use interlock_model::check::{Check, CheckId, Verdict};
use interlock_model::file::Text;
use interlock_model::ids::{AttemptId, BootId, Generation, OperationId, Term};
use interlock_model::member::HeldMember;
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::observation::InstanceObservation;
use interlock_model::ocf::Installed;
use interlock_model::permission::Refusal;
use interlock_model::postgres::Peer;
use interlock_model::spec::{Clients, GuardPolicy};

use super::files::Comparison;
use super::identity::PlugList;
use crate::by_hand::{Act, ActId};

/// What an agent says first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// The version of the agent.
    pub version: String,
    /// Which process it is: made at random at its start. Empty for an agent of an earlier version.
    pub process: String,
    /// The boot of its machine.
    pub boot: BootId,
    /// The highest term that it has ever seen.
    pub highest_term: Term,
    /// The highest operation in its ledger.
    pub highest_operation: OperationId,
    /// Operations below this one are over for its ledger, also those that it never had an attempt of.
    pub closed_below: OperationId,
    /// The incarnation of the store that these come from; empty if from none.
    pub incarnation: String,
    /// Attempts in its ledger.
    pub attempts: Vec<AttemptReport>,
    /// The generation of the assignment that it works by.
    pub generation: Generation,
    /// The machine's identity, if it can be read.
    pub machine_uuid: String,
    /// The name that the machine gives itself.
    pub hostname: String,
}

/// One result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The check.
    pub id: CheckId,
    /// Its verdict.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: String,
    /// What is compared between nodes.
    pub value: Option<String>,
    /// Does the instance say of itself that it is *paused*?
    pub paused: bool,
    /// The age of the result when it was sent.
    pub age: Duration,
    /// The latest question ([`ToAgent::Probe`]) that had reached the agent before the probe began; 0 for none.
    pub after: u64,
}

/// From an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromAgent {
    /// The session begins.
    Hello(Box<Hello>),
    /// What it sees.
    Observed {
        /// Everything, or only what changed.
        full: bool,
        /// The generation that it is about.
        generation: Generation,
        /// Instances.
        instances: Vec<(ServiceName, InstanceObservation)>,
        /// Checks.
        checks: Vec<CheckReport>,
        /// With everything: what its own file refuses of what its assignment may lead to.
        refuses: Vec<Refusal>,
    },
    /// The OCF resource agents of its node.
    ResourceAgents(Box<Installed>),
    /// Nothing changed.
    Heartbeat,
    /// An attempt got further.
    Attempt(AttemptReport),
    /// A power source answered.
    Power {
        /// The question.
        ask: u64,
        /// About this node.
        node: NodeName,
        /// What it said.
        power: Power,
        /// In its own words.
        detail: String,
    },
    /// It has no turn for a question to a power source: that is no answer.
    Busy {
        /// The question.
        ask: u64,
    },
    /// A power device answered which plugs it has.
    Plugs {
        /// The question.
        ask: u64,
        /// What it said.
        list: PlugList,
    },
    /// It has tried to reach the machine of another node.
    Tried {
        /// The question.
        ask: u64,
        /// Which node.
        node: NodeName,
        /// Did the machine's kernel answer? None if it could not try.
        reached: Option<bool>,
        /// What it saw.
        detail: String,
    },
    /// It has compared a file with what a plan would make it say.
    File {
        /// The question.
        ask: u64,
        /// What it found; why that cannot be told, if so.
        compared: Comparison,
    },
    /// What people did at its door.
    ByHand(Vec<Act>),
    /// The agent stops on purpose.
    Goodbye(String),
}

/// To an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToAgent {
    /// What it is to observe and to guard.
    Assign(Assignment),
    /// An attempt.
    Dispatch {
        /// Which one.
        id: AttemptId,
        /// Its time limit.
        limit: Duration,
        /// What to do.
        command: Command,
    },
    /// How far is this attempt?
    Query(AttemptId),
    /// End this attempt.
    Cancel(AttemptId),
    /// Run these checks at once.
    Probe {
        /// The question's number; a later one has a higher number.
        ask: u64,
        /// Which ones.
        checks: Vec<CheckId>,
    },
    /// Ask a power source for its `status` or `list`.
    AskPower {
        /// The question's number.
        ask: u64,
        /// How to ask.
        call: FenceCall,
    },
    /// Switch a machine off by a fence agent: its role has to move, and it is lost. Answered as [`ToAgent::AskPower`] is.
    SwitchOff {
        /// The order's number, of the same row as questions.
        order: u64,
        /// How.
        call: FenceCall,
    },
    /// Try to reach the machine of another node, at each of these addresses.
    TryToReach {
        /// The question's number.
        ask: u64,
        /// Which node.
        node: NodeName,
        /// Its addresses.
        addresses: BTreeSet<String>,
    },
    /// Compare a file of a service with a text.
    CompareFile {
        /// The question's number.
        ask: u64,
        /// The service.
        service: ServiceName,
        /// The file.
        file: LocalName,
        /// The text.
        text: Text,
    },
    /// Operations below this one are over.
    Close(OperationId),
    /// What operations hold of its node: all of it, in place of what was said before.
    Claims(Vec<Claim>),
    /// The acts by hand on its node that need not be told any more.
    KnownActs(Vec<ActId>),
}

/// What one operation holds of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The operation.
    pub operation: OperationId,
    /// What it is for and who started it, for people.
    pub what: String,
    /// The instances of the node that it holds; of a held node all.
    pub services: Vec<ServiceName>,
}

/// What one agent is to observe and to guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The generation it comes from.
    pub generation: Generation,
    /// The instances on its node.
    pub instances: Vec<AssignedInstance>,
    /// The checks that run on its node.
    pub checks: Vec<(CheckId, Check)>,
    /// Who shuts its machine down in a plan; none if no plan has its agent do so.
    pub shutdown: Option<ShutdownBy>,
    /// Do plans have its agent restart its machine?
    pub reboot: bool,
    /// A question for each power device that is reached through its node. Not asked: the agent says whether it would be
    /// refused.
    pub fences: Vec<FenceCall>,
}

/// One instance of an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedInstance {
    /// Its service.
    pub service: ServiceName,
    /// Its parts, in starting order.
    pub parts: Vec<Part>,
    /// How it is restarted.
    pub guard: GuardPolicy,
    /// One instance of the service is primary.
    pub exclusive: bool,
    /// It comes up with its machine.
    pub autostart: bool,
    /// Of a load balancer: the members that are looked after there.
    pub members: Vec<HeldMember>,
    /// What only the primary has, or is another thing there, in starting order.
    pub primary_parts: Vec<Part>,
    /// How those who write reach the primary, if the service is leased.
    pub lease: Option<Clients>,
    /// Where the other instances are, if the service is leased.
    pub peers: Vec<Peer>,
    /// The files that a restart may write there.
    pub files: Vec<LocalName>,
}

/// A message and its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// The agent of this node.
    pub to: NodeName,
    /// The message.
    pub message: ToAgent,
}
