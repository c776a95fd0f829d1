//! What each command does: one module per command.

pub(crate) mod completions;

mod agent_types;
mod approve;
mod confirm;
mod context;
mod events;
mod logs;
mod maintenance;
mod man;
mod node;
mod node_direct;
mod nothing_to_do;
mod operate;
mod operation;
mod pki;
mod plan;
mod plan_difference;
mod power;
mod retry;
mod spec;
mod spec_agent_config;
mod spec_agent_file;
mod status;
mod store;
mod support;
mod unblock;
mod unwind;
mod waiting;
mod why;

use interlock_model::plan::PlanKind;

use events::event_value;
use operation::entry_value as journal_value;

use crate::cli::{Cli, Command};
use crate::failure::Outcome;
use crate::render::Out;

/// Runs one command.
pub(crate) async fn run(cli: Cli, out: Out) -> Outcome {
    let connection = cli.connection;
    match cli.command {
        Command::Status(args) => status::run(&connection, &args, out).await,
        Command::Plan(command) => plan::run(&connection, command, out).await,
        Command::Shutdown(args) => operate::run(&connection, PlanKind::Shutdown, &args, out).await,
        Command::Startup(args) => operate::run(&connection, PlanKind::Startup, &args, out).await,
        Command::Restart(args) => {
            operate::run(&connection, PlanKind::Restart, &args.into(), out).await
        }
        Command::Reboot(args) => operate::run(&connection, PlanKind::Reboot, &args, out).await,
        Command::Switchover(args) => {
            operate::run(&connection, PlanKind::Switchover, &args.into(), out).await
        }
        Command::Failover(args) => {
            operate::run(&connection, PlanKind::Failover, &args.into(), out).await
        }
        Command::Failback(args) => {
            operate::run(&connection, PlanKind::Failback, &args.into(), out).await
        }
        Command::Evacuate(args) => {
            operate::run(&connection, PlanKind::Evacuate, &args.into(), out).await
        }
        Command::Restore(args) => {
            operate::run(&connection, PlanKind::Restore, &args.into(), out).await
        }
        Command::Maintenance(command) => maintenance::run(&connection, command, out).await,
        Command::Unblock(args) => unblock::run(&connection, args, out).await,
        Command::Operation(command) => operation::run(&connection, command, out).await,
        Command::Approve(args) => approve::run(&connection, &args, out).await,
        Command::Events(args) => events::run(&connection, &args, out).await,
        Command::Why(args) => why::run(&connection, &args, out).await,
        Command::Logs(command) => logs::run(&connection, command, out).await,
        Command::Spec(command) => spec::run(&connection, command, out).await,
        Command::Node(command) => node::run(&connection, command, out).await,
        Command::AgentTypes(args) => agent_types::run(&connection, &args, out).await,
        Command::Power(command) => power::run(&connection, command, out).await,
        Command::Store(command) => store::run(&connection, command, out).await,
        Command::Support(command) => support::run(&connection, command, out).await,
        Command::Context(command) => context::run(&connection, command, out),
        Command::Pki(command) => pki::run(command, out),
        Command::Man { directory } => man::write(&directory, out),
        Command::Completions { shell } => completions::print(shell, out),
    }
}
