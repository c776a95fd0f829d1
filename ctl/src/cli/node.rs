//! `node` and `power`.

use clap::{Args, Subcommand};
use interlock_model::ids::OperationId;
use interlock_model::names::NodeName;

use super::{Names, Output, complete, reason};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Show one node.
    Show {
        /// The node, as the coordinators know it.
        #[arg(required_unless_present = "node", conflicts_with = "node", add = complete::nodes())]
        name: Option<NodeName>,
        #[command(flatten)]
        target: NodeTargetOption,
        #[command(flatten)]
        output: Output,
    },
    /// The ledger of an agent: attempts with their outcomes, refusals with their reasons.
    Attempts {
        #[command(flatten)]
        target: NodeTarget,
        /// At most so many, the newest.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Start an instance by hand, with no coordinator; never one of an exclusive service.
    Start(NodeControl),
    /// Stop an instance by hand, with no coordinator; never one of an exclusive service.
    Stop(NodeControl),
}

/// An agent, asked directly.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeTarget {
    /// The agent to ask directly: the node's name, which its certificate must prove, and its address if that is not
    /// its name.
    #[arg(long, value_name = "NODE[=HOST[:PORT]]", add = complete::nodes())]
    pub(crate) node: String,
}

/// An agent, asked directly if it is named.
#[derive(Debug, Args)]
pub(crate) struct NodeTargetOption {
    /// Ask the agent directly, not the coordinators: the node's name, which its certificate must prove, and its address
    /// if that is not its name.
    #[arg(long, value_name = "NODE[=HOST[:PORT]]", add = complete::nodes())]
    pub(crate) node: Option<String>,
}

/// `node start` and `node stop`.
#[derive(Debug, Args)]
pub(crate) struct NodeControl {
    /// The service.
    #[arg(add = complete::services())]
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) target: NodeTarget,
    /// Why; kept in the agent's ledger.
    #[arg(long, value_name = "TEXT", value_parser = reason::given)]
    pub(crate) reason: String,
    /// Act although this operation holds the instance: for when no coordinator can be asked to end it. May be given more
    /// than once. Kept in the agent's ledger with the reason.
    #[arg(long, value_name = "OPERATION")]
    pub(crate) override_operation: Vec<OperationId>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PowerCommand {
    /// Ask the power sources, and match each plug with its machine. Changes no power.
    ///
    /// Plans switch only nodes whose plug was matched: a wrong plug would take another machine down. A plug is the node's
    /// own if its device lists it under the node's name, the host name or the machine UUID that the node's agent reports,
    /// or the `alias` in the spec; under another name it is contradicted. Exit status 0: every plug is proven, and every
    /// source answered.
    Verify {
        /// The nodes, also as a range, such as 'jb[1-3]'; every node with power if none is named.
        #[arg(add = complete::nodes())]
        nodes: Vec<Names<NodeName>>,
        /// Record the match on your word, where the source cannot tell; the reason is kept in the audit. Does not help
        /// against a contradiction.
        #[arg(long, value_name = "REASON", requires = "nodes", value_parser = reason::given)]
        attest: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}
