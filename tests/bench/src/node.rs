//! The real agent, as it is installed on a node, and the server that its checks look at.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use interlock_e2e::programs;
use interlock_model::names::NodeName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::cluster::Site;
use crate::program::Program;

/// The agent as it is installed, which is built for its size.
///
/// # Errors
/// It is not built.
pub(crate) fn agent() -> Result<PathBuf> {
    let shipped = programs::directory()?
        .with_file_name("small")
        .join("interlock-agent");
    ensure!(
        shipped.is_file(),
        "{} is not built: run `cargo build --profile small --package interlock-agent` first",
        shipped.display()
    );
    Ok(shipped)
}

/// Starts the agent of a node with one service, `web`; its checks may read this marker.
pub(crate) async fn start(
    site: &Site,
    node: &NodeName,
    coordinator: SocketAddr,
    marker: &Path,
) -> Result<Program> {
    let files = site.issue(&format!("agent/{node}"))?;
    let config = format!(
        "coordinators = [\"https://{coordinator}\"]\n[node]\nname = \"{node}\"\nstate_dir = {:?}\n[tls]\nca = {:?}\ncert = \
         {:?}\nkey = {:?}\n[listen]\naddress = \"127.0.0.1:0\"\n[allow]\nmarker_paths = [{marker:?}]\n[allow.services]\nweb = {{ \
         process = \"web\" }}\n[process.web]\ncommand = [\"/bin/sleep\", \"infinity\"]\n",
        site.path().join("agent"),
        files.authority,
        files.certificate,
        files.key,
    );
    let path = site.path().join("agent.toml");
    std::fs::write(&path, config)?;
    let mut command = Command::new(agent()?);
    command.args(["run", "--config"]).arg(path);
    Program::start(command, &site.path().join("agent.log")).await
}

/// A server that answers everything with an empty page, until this value is dropped.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    visits: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Pages {
    /// Starts it.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let visits = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&visits);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut answers = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                answers.spawn(async move {
                    let mut request = [0; 1024];
                    if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let page =
                            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                        // Whoever asked may be gone.
                        let _ = stream.write_all(page).await;
                    }
                });
                while answers.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            visits,
            _task: task,
        })
    }

    /// How many connections there were so far.
    pub(crate) fn visits(&self) -> u64 {
        self.visits.load(Ordering::Relaxed)
    }
}
