//! Ten services, each on the same hundred nodes and each above the one before: a startup is ten stages of a hundred
//! steps, and a shutdown the same backwards. The steps do nothing, so what remains is orchestration. Beside them stand
//! as many bare streams, for the floor.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_model::names::NodeName;

use crate::body::{Times, Work, between};
use crate::cluster::{self, Coordinator, Operated, Site};
use crate::fleet::Fleet;
use crate::wire;

pub(super) const NODES: usize = 100;
pub(super) const STAGES: usize = 10;

/// A cluster that can be operated, and the floor's streams.
#[derive(Debug)]
pub(super) struct Ladder {
    /// The program that does it.
    pub(super) coordinator: Coordinator,
    fleet: Fleet,
    /// The other end of the bare streams.
    pub(super) server: wire::Server,
    /// The files of the server.
    pub(super) wire_site: Site,
    _clients: wire::Clients,
}

/// An operation and its stages.
#[derive(Debug)]
pub(super) struct Climb {
    /// The operation as a whole.
    pub(super) operation: Operated,
    /// From the first arrival of each stage at an agent to the first arrival of the next.
    pub(super) stages: Vec<Duration>,
}

impl Ladder {
    /// Starts everything, the coordinator with these further sections in its configuration.
    pub(super) async fn start(site: &Site, sections: &str) -> Result<Self> {
        let nodes = cluster::nodes(NODES)?;
        let (wire_site, mut server) = wire::Server::start().await?;
        let clients = wire::Clients::start(
            wire_site.agents(&nodes)?,
            &server.target()?,
            None,
            Work::NoOp,
        );
        server.has(NODES).await?;

        let coordinator = Coordinator::configured(site, sections).await?;
        let names: Vec<String> = (0..STAGES).map(|stage| format!("stage{stage}")).collect();
        let services: Vec<(&str, &[NodeName])> = names
            .iter()
            .map(|name| (name.as_str(), nodes.as_slice()))
            .collect();
        coordinator.apply(&cluster::spec(&nodes, &services)).await?;
        let fleet = Fleet::start(
            site,
            &nodes,
            &coordinator.target()?,
            coordinator.trace()?,
            Work::NoOp,
        )?;
        coordinator.settled(NODES).await?;
        Ok(Self {
            coordinator,
            fleet,
            server,
            wire_site,
            _clients: clients,
        })
    }

    /// Runs the operation with this number, from 0: startups and shutdowns in turn.
    pub(super) async fn climb(&self, number: usize) -> Result<Climb> {
        let kind = match number % 2 {
            0 => "startup",
            _ => "shutdown",
        };
        self.fleet.trace.take();
        let operation = self.coordinator.operate(kind).await?;
        let arrivals = self.fleet.trace.take();
        ensure!(
            arrivals.len() == STAGES,
            "{} stages instead of {STAGES}",
            arrivals.len()
        );
        self.coordinator.settled(NODES).await?;
        let gap = |pair: &[(_, Times)]| between(pair[0].1.first, pair[1].1.first);
        Ok(Climb {
            operation,
            stages: arrivals.windows(2).map(gap).collect(),
        })
    }

    /// Ends everything in order.
    pub(super) async fn end(self) -> Result<()> {
        self.fleet.end().await?;
        self.coordinator.program.end().await
    }
}
