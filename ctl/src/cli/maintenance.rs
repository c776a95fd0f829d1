//! `maintenance`.

use std::time::Duration;

use clap::{Args, Subcommand};
use interlock_model::names::{NodeName, ServiceName};

use super::{Output, complete, reason};

#[derive(Debug, Subcommand)]
pub(crate) enum MaintenanceCommand {
    /// Keep automatic failover off a node or a service, until you end it or its time is over.
    ///
    /// While it is in force the role of the service, or the roles that the node has, do not move by themselves, and the node is
    /// given none. Operations go on as ever: `switchover` moves a role away before you begin. Nothing is stopped, and what dies
    /// is still restarted on its own node. To prolong it, enter it again.
    Enter {
        #[command(flatten)]
        scope: MaintenanceScope,
        /// For how long, such as 30m or 4h; at most 30d. Then failover is on again, and an event says so.
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        length: Duration,
        /// Why; everybody sees it.
        #[arg(long, value_name = "TEXT", value_parser = reason::given)]
        reason: String,
        #[command(flatten)]
        output: Output,
    },
    /// End it before its time.
    Leave {
        #[command(flatten)]
        scope: MaintenanceScope,
        /// Why, if that is worth a word; kept with the event.
        #[arg(long, value_name = "TEXT", default_value = "", value_parser = reason::optional)]
        reason: String,
        #[command(flatten)]
        output: Output,
    },
    /// What is in maintenance: whose, why, and until when.
    List {
        #[command(flatten)]
        output: Output,
    },
}

/// Of what.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct MaintenanceScope {
    /// A node, with whatever role it has.
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    pub(crate) node: Option<NodeName>,
    /// A service, wherever its role is.
    #[arg(long, value_name = "SERVICE", add = complete::services())]
    pub(crate) service: Option<ServiceName>,
}
