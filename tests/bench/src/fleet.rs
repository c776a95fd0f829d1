//! Many light agents in this process: the agent's own session code, and a body that does as good as nothing.
//!
//! Those that are asked for no process have their ledger in memory. Those that start one have it on disk, and the agent's own
//! runner of commands beside it ([`Runner`]).

use std::sync::Arc;

use anyhow::Result;
use interlock_agent::ledger::{Kept, Recorder};
use interlock_agent::session::{Agent, Handle, Options};
use interlock_mesh::channel::{self, Target};
use interlock_model::ids::BootId;
use interlock_model::names::NodeName;

use crate::body::{Body, Trace, Work};
use crate::cluster::Site;
use crate::runner::Runner;

/// Agents that run until this value is dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    agents: Vec<Agent>,
    runners: Vec<Runner>,
    /// What they were asked for, and when.
    pub(crate) trace: Trace,
}

impl Fleet {
    /// Starts an agent for each of these nodes.
    pub(crate) fn start(
        site: &Site,
        nodes: &[NodeName],
        coordinator: &Target,
        trace: Trace,
        work: Work,
    ) -> Result<Self> {
        let (mut agents, mut runners) = (Vec::new(), Vec::new());
        for (node, credentials) in site.agents(nodes)? {
            let boot = BootId(format!("boot of {node}"));
            let (recorder, kept, runner) = match work {
                Work::NoOp => (Recorder::in_memory(), Kept::default(), None),
                Work::Process => {
                    let state = site.path().join(format!("state-{node}"));
                    let runner = Runner::open(&state, boot.clone())?;
                    let owner = credentials.identity().to_string();
                    let (recorder, kept) = Recorder::open(&state.join("ledger.redb"), &owner)?;
                    (recorder, kept, Some(runner))
                }
            };
            runners.extend(runner.clone());
            let options = Options {
                boot,
                node,
                coordinators: vec![coordinator.clone()],
                credentials,
                channel: channel::Options::default(),
            };
            let body = |handle: &Handle| {
                Arc::new(Body {
                    board: handle.board().clone(),
                    trace: trace.clone(),
                    runner,
                })
            };
            agents.push(Agent::start(options, recorder, kept, body));
        }
        Ok(Self {
            agents,
            runners,
            trace,
        })
    }

    /// Lets every agent say goodbye, and waits until nothing is left of what they ran.
    pub(crate) async fn end(self) -> Result<()> {
        let mut ending = tokio::task::JoinSet::new();
        for agent in self.agents {
            ending.spawn(agent.stop("measured"));
        }
        while let Some(ended) = ending.join_next().await {
            ended?;
        }
        for runner in self.runners {
            runner.end().await?;
        }
        Ok(())
    }
}
