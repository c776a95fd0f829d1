//! An idle agent: the real program with ten checks every five seconds, connected to a coordinator.
//!
//! The checks are those of an ordinary node: four connect, four ask for a page, one reads a marker file (in a helper
//! process, since a file may hang), one looks for an address of the machine. All are green.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use interlock_e2e::programs;

use crate::body::Work;
use crate::cluster::{self, Coordinator, Site};
use crate::figure::{Budget, Figure};
use crate::fleet::Fleet;
use crate::node::{self, Pages};
use crate::relay::Relay;

/// Longer than the others: the less a program does, the longer it takes to see it.
const MEASURED: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(10);

const CHECKS: usize = 10;

const MIB: f64 = 1024.0 * 1024.0;

/// Measures.
pub(super) async fn measure() -> Result<Vec<Figure>> {
    let site = Site::create()?;
    let coordinator = Coordinator::start(&site).await?;
    let nodes = cluster::nodes(2)?;
    let [busy, quiet] = nodes.as_slice() else {
        anyhow::bail!("two nodes were asked for")
    };
    let pages = Pages::start().await?;
    let marker = site.path().join("marker");
    std::fs::write(&marker, "alive\n")?;
    let mut spec = cluster::spec(&nodes, &[("web", std::slice::from_ref(busy))]);
    spec.push_str(&checks(pages.address, &marker));
    coordinator.apply(&spec).await?;

    let relay = Relay::start(coordinator.program.address).await?;
    let agent = node::start(&site, busy, relay.address, &marker).await?;
    // The other one has nothing to say but heartbeats.
    let quiet_relay = Relay::start(coordinator.program.address).await?;
    let target = cluster::target(&quiet_relay.address.to_string())?;
    let fleet = Fleet::start(
        &site,
        std::slice::from_ref(quiet),
        &target,
        coordinator.trace()?,
        Work::NoOp,
    )?;
    coordinator.settled(nodes.len()).await?;
    coordinator.green(CHECKS).await?;
    tokio::time::sleep(SETTLE).await;

    let process = agent.process()?;
    let (said, quiet_said) = (relay.bytes(), quiet_relay.bytes());
    let share = process.share(MEASURED).await?;
    let seconds = MEASURED.as_secs_f64();
    let said = (relay.bytes() - said) as f64 / seconds;
    let quiet_said = (quiet_relay.bytes() - quiet_said) as f64 / seconds;
    let memory = process.memory()?;
    fleet.end().await?;
    agent.end().await?;
    coordinator.program.end().await?;

    let mut figures = vec![
        Figure::new("agent: idle, ten checks every 5 s", "% of a core", share)
            .budget(Budget::Value(0.2)),
        Figure::new("agent: resident", "MiB RSS", memory.rss / 1024.0).budget(Budget::Value(15.0)),
        Figure::new(
            "agent: resident, shared pages shared out",
            "MiB PSS",
            memory.pss / 1024.0,
        ),
        Figure::new(
            "agent: said to a coordinator, with ten checks",
            "bytes/s",
            said,
        ),
        Figure::new("agent: one heartbeat, TLS included", "bytes", quiet_said),
    ];
    for (name, program, budget) in [
        ("agent", crate::node::agent()?, Budget::Value(12.0)),
        ("coordinator", programs::coordinator()?, Budget::None),
        ("ctl", programs::ctl()?, Budget::None),
    ] {
        let size = std::fs::metadata(program)?.len() as f64;
        figures.push(
            Figure::new(
                format!("{name}: the program as installed"),
                "MiB",
                size / MIB,
            )
            .budget(budget),
        );
    }
    Ok(figures)
}

/// Ten checks for the last service of a spec.
fn checks(page: SocketAddr, marker: &Path) -> String {
    let mut text = "    checks:\n".to_owned();
    for number in 1..=4 {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "      port{number}: {{ tcp: \"{page}\", every: 5s }}");
        let _ = writeln!(
            text,
            "      page{number}: {{ http: \"http://{page}/\", status: 200, every: 5s }}"
        );
    }
    let _ = writeln!(
        text,
        "      share: {{ marker: {:?}, every: 5s }}",
        marker.display().to_string()
    );
    text.push_str("      address: { address: 127.0.0.1, every: 5s }\n");
    text
}
