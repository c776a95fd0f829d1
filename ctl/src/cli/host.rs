//! `failback`, `evacuate` and `restore`: a role goes home, a VM host is emptied, and is taken into service again.

use clap::Args;
use interlock_model::names::{HostName, NodeName, ServiceName};

use super::plan::{PlanFormat, PlanKindArg};
use super::{Confirm, Names, Output, PlanArgs, Run, Scope, complete};

/// Which service's role goes back.
#[derive(Debug, Args)]
pub(crate) struct Home {
    /// The service. Its role goes back to the first of its nodes in the spec.
    #[arg(value_name = "SERVICE", add = complete::services())]
    service: ServiceName,
    /// Override this check, as SERVICE.CHECK; the report names the one that stands in the way. Kept in the audit.
    #[arg(long, value_name = "SERVICE.CHECK", value_delimiter = ',', add = complete::checks())]
    force: Vec<String>,
}

/// `failback`.
#[derive(Debug, Args)]
pub(crate) struct Failback {
    #[command(flatten)]
    what: Home,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    output: Output,
}

/// `plan failback`.
#[derive(Debug, Args)]
pub(crate) struct PlanFailback {
    #[command(flatten)]
    what: Home,
    /// How the plan is printed.
    #[arg(long, short, value_name = "FORMAT", default_value = "tree")]
    output: PlanFormat,
}

/// Which VM host, and how.
#[derive(Debug, Args)]
pub(crate) struct Host {
    /// The VM host.
    #[arg(long, value_name = "HOST", add = complete::hosts())]
    host: HostName,
    /// One step after the other, nothing in parallel.
    #[arg(long)]
    serial: bool,
    /// Override this check, as SERVICE.CHECK; the report names the one that stands in the way. Kept in the audit.
    #[arg(long, value_name = "SERVICE.CHECK", value_delimiter = ',', add = complete::checks())]
    force: Vec<String>,
    /// The active instance of an exclusive service, on your word, where it cannot be observed.
    #[arg(long, value_name = "SERVICE=NODE", value_delimiter = ',', value_parser = super::plan::assumption, add = complete::sides())]
    assume_active: Vec<(ServiceName, NodeName)>,
}

/// `evacuate`.
#[derive(Debug, Args)]
pub(crate) struct Evacuate {
    #[command(flatten)]
    what: Host,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    output: Output,
}

/// `plan evacuate`.
#[derive(Debug, Args)]
pub(crate) struct PlanEvacuate {
    #[command(flatten)]
    what: Host,
    /// How the plan is printed.
    #[arg(long, short, value_name = "FORMAT", default_value = "tree")]
    output: PlanFormat,
}

/// `restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    what: Host,
    /// At the end, move each role back whose service has its first node in the spec on this host. Without it roles stay where
    /// they are.
    #[arg(long)]
    failback: bool,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    output: Output,
}

/// `plan restore`.
#[derive(Debug, Args)]
pub(crate) struct PlanRestore {
    #[command(flatten)]
    what: Host,
    /// At the end, move each role back whose service has its first node in the spec on this host. Without it roles stay where
    /// they are.
    #[arg(long)]
    failback: bool,
    /// How the plan is printed.
    #[arg(long, short, value_name = "FORMAT", default_value = "tree")]
    output: PlanFormat,
}

fn of(scope: Scope, force: Vec<String>) -> PlanArgs {
    PlanArgs {
        scope,
        batch: None,
        serial: false,
        force,
        assume_active: Vec::new(),
        to: None,
        attested: Vec::new(),
        accept_loss: false,
        config: None,
        failback: false,
    }
}

fn nothing() -> Scope {
    Scope {
        all: false,
        service: Vec::new(),
        node: Vec::new(),
        label: None,
        host: None,
    }
}

impl From<Home> for PlanArgs {
    fn from(what: Home) -> Self {
        let service = vec![Names::one(what.service)];
        let scope = Scope {
            service,
            ..nothing()
        };
        of(scope, what.force)
    }
}

impl From<Host> for PlanArgs {
    fn from(what: Host) -> Self {
        let scope = Scope {
            host: Some(what.host),
            ..nothing()
        };
        Self {
            serial: what.serial,
            assume_active: what.assume_active,
            ..of(scope, what.force)
        }
    }
}

fn run(plan: impl Into<PlanArgs>, confirm: Confirm, output: Output) -> Run {
    Run {
        plan: plan.into(),
        confirm,
        output,
    }
}

fn only_plan(plan: impl Into<PlanArgs>, output: PlanFormat) -> PlanKindArg {
    PlanKindArg {
        plan: plan.into(),
        file: None,
        offline: false,
        output,
    }
}

impl From<Failback> for Run {
    fn from(args: Failback) -> Self {
        run(args.what, args.confirm, args.output)
    }
}

impl From<Evacuate> for Run {
    fn from(args: Evacuate) -> Self {
        run(args.what, args.confirm, args.output)
    }
}

impl From<Restore> for Run {
    fn from(args: Restore) -> Self {
        let plan = PlanArgs {
            failback: args.failback,
            ..args.what.into()
        };
        run(plan, args.confirm, args.output)
    }
}

impl From<PlanFailback> for PlanKindArg {
    fn from(args: PlanFailback) -> Self {
        only_plan(args.what, args.output)
    }
}

impl From<PlanEvacuate> for PlanKindArg {
    fn from(args: PlanEvacuate) -> Self {
        only_plan(args.what, args.output)
    }
}

impl From<PlanRestore> for PlanKindArg {
    fn from(args: PlanRestore) -> Self {
        let plan = PlanArgs {
            failback: args.failback,
            ..args.what.into()
        };
        only_plan(plan, args.output)
    }
}
