//! `switchover` and `failover`: the moves of a role, which are about one service and nothing else.

use clap::Args;
use interlock_model::names::{NodeName, ServiceName};

use super::plan::{PlanFormat, PlanKindArg};
use super::{Confirm, Names, Output, PlanArgs, Run, Scope, complete};

/// Which role, and where it goes.
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// The service.
    #[arg(value_name = "SERVICE", add = complete::services())]
    service: ServiceName,
    /// Where its role goes; without it to the only standby that could take it.
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    to: Option<NodeName>,
    /// Override this check, as SERVICE.CHECK; the report names the one that stands in the way. Kept in the audit.
    #[arg(long, value_name = "SERVICE.CHECK", value_delimiter = ',', add = complete::checks())]
    force: Vec<String>,
}

/// `switchover`.
#[derive(Debug, Args)]
pub(crate) struct Switchover {
    #[command(flatten)]
    what: Move,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    output: Output,
}

/// `failover`.
#[derive(Debug, Args)]
pub(crate) struct Failover {
    #[command(flatten)]
    what: Move,
    /// The machine that is down by your word. If it still runs, two sides may be active: make sure before.
    #[arg(long, value_name = "NODE", required_unless_present = "accept_loss", add = complete::nodes())]
    attest_down: Vec<NodeName>,
    /// Lose the writes that nobody else has. The plan says how many those are; it is confirmed with the service's name, and needs
    /// --reason.
    #[arg(long, requires = "reason")]
    accept_loss: bool,
    /// The service's name, instead of typing it when asked whether writes may be lost.
    #[arg(long, value_name = "SERVICE", requires = "accept_loss", add = complete::services())]
    lose_writes_of: Option<ServiceName>,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    output: Output,
}

impl From<Failover> for Run {
    fn from(args: Failover) -> Self {
        let mut plan = PlanArgs::from(args.what);
        plan.attested = args.attest_down;
        plan.accept_loss = args.accept_loss;
        let mut confirm = args.confirm;
        confirm.answer.service = args.lose_writes_of;
        Self {
            plan,
            confirm,
            output: args.output,
        }
    }
}

/// `plan switchover`.
#[derive(Debug, Args)]
pub(crate) struct PlanSwitchover {
    #[command(flatten)]
    what: Move,
    /// How the plan is printed.
    #[arg(long, short, value_name = "FORMAT", default_value = "tree")]
    output: PlanFormat,
}

impl From<Move> for PlanArgs {
    fn from(what: Move) -> Self {
        Self {
            scope: Scope {
                all: false,
                service: vec![Names::one(what.service)],
                node: Vec::new(),
                label: None,
                host: None,
            },
            batch: None,
            serial: false,
            force: what.force,
            assume_active: Vec::new(),
            to: what.to,
            attested: Vec::new(),
            accept_loss: false,
            config: None,
            failback: false,
        }
    }
}

impl From<Switchover> for Run {
    fn from(args: Switchover) -> Self {
        Self {
            plan: args.what.into(),
            confirm: args.confirm,
            output: args.output,
        }
    }
}

impl From<PlanSwitchover> for PlanKindArg {
    fn from(args: PlanSwitchover) -> Self {
        Self {
            plan: args.what.into(),
            file: None,
            offline: false,
            output: args.output,
        }
    }
}
