//! Many light agents in this process: the agent's own session code, a ledger in memory, and a body that does nothing.

use std::sync::Arc;

use anyhow::Result;
use interlock_agent::ledger::{Kept, Recorder};
use interlock_agent::session::{Agent, Options};
use interlock_mesh::channel::{self, Target};
use interlock_mesh::credentials::Credentials;
use interlock_model::ids::BootId;
use interlock_model::names::NodeName;

use crate::body::{Body, Trace, Work};

/// Agents that run until this value is dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    agents: Vec<Agent>,
    /// What they were asked for, and when.
    pub(crate) trace: Trace,
}

impl Fleet {
    /// Starts an agent for each of these nodes.
    pub(crate) fn start(
        members: Vec<(NodeName, Credentials)>,
        coordinator: &Target,
        trace: Trace,
        work: Work,
    ) -> Self {
        let agents = members.into_iter().map(|(node, credentials)| {
            let options = Options {
                boot: BootId(format!("boot of {node}")),
                node,
                coordinators: vec![coordinator.clone()],
                credentials,
                channel: channel::Options::default(),
            };
            Agent::start(options, Recorder::in_memory(), Kept::default(), |handle| {
                Arc::new(Body {
                    board: handle.board().clone(),
                    trace: trace.clone(),
                    work,
                })
            })
        });
        Self {
            agents: agents.collect(),
            trace,
        }
    }

    /// Lets every agent say goodbye.
    pub(crate) async fn end(self) -> Result<()> {
        let mut ending = tokio::task::JoinSet::new();
        for agent in self.agents {
            ending.spawn(agent.stop("measured"));
        }
        while let Some(ended) = ending.join_next().await {
            ended?;
        }
        Ok(())
    }
}
