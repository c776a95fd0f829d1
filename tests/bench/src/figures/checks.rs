//! A thousand checks a second on one agent: the real program, connected to a coordinator.
//!
//! Half of the checks connect and half ask for a page: what of all kinds an operator has in such numbers, and none of
//! them starts a process. Each runs once a second, all are green, and everything else about them is as it is by default,
//! how often a result that stays as it is goes to the coordinator included. The server counts the connections, so that
//! it is seen how many checks really ran.
//!
//! The floor is the same connections and questions by one thread that waits for each and forgets it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::cluster::{self, Coordinator, Site};
use crate::figure::{Budget, Figure};
use crate::node::{self, Pages};

/// All of them, each once a second.
const CHECKS: usize = 1_000;
const SETTLE: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(30);

/// Measures.
pub(super) async fn measure() -> Result<Vec<Figure>> {
    let site = Site::create()?;
    let coordinator = Coordinator::start(&site).await?;
    let nodes = cluster::nodes(1)?;
    let node = nodes.first().context("one node was asked for")?;
    let pages = Pages::start().await?;
    let mut spec = cluster::spec(&nodes, &[("web", &nodes)]);
    spec.push_str(&checks(pages.address));
    coordinator.apply(&spec).await?;
    let marker = site.path().join("marker");
    let agent = node::start(&site, node, coordinator.program.address, &marker).await?;
    coordinator.settled(nodes.len()).await?;
    coordinator.green(CHECKS).await?;
    tokio::time::sleep(SETTLE).await;

    let process = agent.process()?;
    let (begin, before) = (Instant::now(), pages.visits());
    let share = process.share(MEASURED).await?;
    let ran = (pages.visits() - before) as f64 / begin.elapsed().as_secs_f64();
    let memory = process.memory()?;
    agent.end().await?;
    coordinator.program.end().await?;
    let address = pages.address;
    let bare = tokio::task::spawn_blocking(move || bare(address)).await??;
    ensure!(ran > 0.0, "no check has run");
    Ok(vec![
        Figure::new(
            format!("agent: {CHECKS} checks, each once a second"),
            "% of a core",
            share,
        )
        .floor(bare.as_secs_f64() * 100.0)
        .budget(Budget::Value(10.0)),
        Figure::new("agent: checks that ran, as their server counts", "1/s", ran),
        Figure::new(
            format!("agent: resident, with {CHECKS} checks"),
            "MiB RSS",
            memory.rss / 1024.0,
        ),
    ])
}

/// The checks of the last service of a spec.
fn checks(page: SocketAddr) -> String {
    let mut text = "    checks:\n".to_owned();
    for number in 0..CHECKS {
        // Writing to a text cannot fail.
        let _ = match number % 2 {
            0 => writeln!(text, "      c{number}: {{ tcp: \"{page}\", every: 1s }}"),
            _ => writeln!(
                text,
                "      c{number}: {{ http: \"http://{page}/\", status: 200, every: 1s }}"
            ),
        };
    }
    text
}

/// The time on a core that the checks take whoever needs nothing but the answer: a second's worth.
fn bare(page: SocketAddr) -> Result<Duration> {
    let before = own_time()?;
    for number in 0..CHECKS {
        let mut stream = TcpStream::connect(page)?;
        if number % 2 == 1 {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            ensure!(
                answer.starts_with(b"HTTP/1.1 200"),
                "the floor's page is not there"
            );
        }
    }
    Ok(own_time()?.saturating_sub(before))
}

/// What the calling thread has used of the cores so far: proc(5), `schedstat`.
fn own_time() -> Result<Duration> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
    nanos
        .map(Duration::from_nanos)
        .with_context(|| format!("{path} says {text:?}"))
}
