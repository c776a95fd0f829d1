//! The floor of everything on the wire: streams over mutual TLS, and nothing behind them.
//!
//! The server is a process of its own, so that what it costs can be told from what its clients cost. It accepts
//! streams like a coordinator's, with the project's own transport, reads what comes and forgets it; asked for a fan-out,
//! it sends one dispatch to every stream and counts the answers. Clients answer at once.

mod clients;
mod server;

pub(crate) use clients::Clients;
pub(crate) use server::serve;

use std::time::Duration;

use anyhow::{Context as _, Result};
use interlock_mesh::channel::Target;
use tokio::process::Command;

use crate::body::Cpu;
use crate::cluster::{MANAGEMENT, PATIENCE, Site, target};
use crate::process::Process;
use crate::program::Program;

/// The file in which the server finds the name of its certificate.
const NAME: &str = "coordinator-mgmt1";

/// The server of the floor.
#[derive(Debug)]
pub(crate) struct Server(Program);

impl Server {
    /// Starts it.
    pub(crate) async fn start() -> Result<(Site, Self)> {
        let site = Site::create()?;
        site.issue(&format!("coordinator/{MANAGEMENT}"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--wire-server").arg(site.path());
        let program = Program::start(command, &site.path().join("wire.log")).await?;
        Ok((site, Self(program)))
    }

    /// What clients connect to.
    pub(crate) fn target(&self) -> Result<Target> {
        target(&self.0.address.to_string())
    }

    /// For its figures.
    pub(crate) fn process(&self) -> Result<Process> {
        self.0.process()
    }

    /// Waits until it has that many streams.
    pub(crate) async fn has(&mut self, streams: usize) -> Result<()> {
        let ask = async {
            while self.0.ask("count").await?.parse() != Ok(streams) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, ask)
            .await
            .context("the floor's streams are not all there")?
    }

    /// One dispatch to every stream, until all have answered.
    pub(crate) async fn fan_out(&mut self) -> Result<Duration> {
        let answer = self.0.ask("fan").await?;
        let nanos = answer
            .parse()
            .with_context(|| format!("the floor's server said {answer}"))?;
        Ok(Duration::from_nanos(nanos))
    }

    /// The same, with what both sides used for it; this process is that of the clients.
    pub(crate) async fn costed_fan_out(&mut self) -> Result<(Duration, Cpu)> {
        let before = Cpu::now(self.process()?)?;
        let took = self.fan_out().await?;
        Ok((took, Cpu::now(self.process()?)?.since(before)))
    }

    /// One dispatch to one stream, until it has answered.
    pub(crate) async fn round_trip(&mut self) -> Result<Duration> {
        let answer = self.0.ask("one").await?;
        let nanos = answer
            .parse()
            .with_context(|| format!("the floor's server said {answer}"))?;
        Ok(Duration::from_nanos(nanos))
    }
}
