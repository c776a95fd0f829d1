//! The figures, one module per experiment.

mod checks;
mod commits;
mod engine;
mod etcd;
mod fan_out;
mod heartbeats;
mod idle;
mod ladder;
mod overhead;
mod planner;
mod state;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use crate::body::Work;
use crate::failover;
use crate::figure::Figure;

/// An experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// What orchestration adds to a stage of an operation, and what it writes.
    Overhead,
    /// The same on a real etcd.
    Etcd,
    /// The state in etcd after 1,000 operations.
    State,
    /// One stage on 1,000 nodes, with steps that do nothing.
    FanOut,
    /// The same with steps that start a process.
    Processes,
    /// A coordinator with 1,000 idle agents.
    Heartbeats,
    /// An idle agent with ten checks, and the sizes of the programs.
    Idle,
    /// An agent with 1,000 checks a second.
    Checks,
    /// A stage of 1,000 steps in the pure engine.
    Engine,
    /// Plans for 1,000 nodes and 200 services.
    Planner,
    /// For how long nobody takes writes when a role moves. Needs root; not part of everything.
    Failover,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Measures; `hosts` is for what is measured on hosts.
pub(crate) async fn measure(name: Name, hosts: &failover::Options) -> Result<Vec<Figure>> {
    match name {
        Name::Overhead => overhead::measure().await,
        Name::Etcd => etcd::measure().await,
        Name::State => state::measure().await,
        Name::FanOut => fan_out::measure(Work::NoOp).await,
        Name::Processes => fan_out::measure(Work::Process).await,
        Name::Heartbeats => heartbeats::measure().await,
        Name::Idle => idle::measure().await,
        Name::Checks => checks::measure().await,
        Name::Engine => engine::measure(),
        Name::Planner => planner::measure(),
        // Hosts are handled by calls that wait.
        Name::Failover => tokio::task::block_in_place(|| failover::measure(hosts)),
    }
}
