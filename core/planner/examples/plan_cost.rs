//! What a plan for 1,000 nodes and 200 services costs, and a restart where all services depend on all. Run with
//! `cargo run --release --example plan_cost`.
//!
//! Prints for each kind of plan the time from input to sealed plan (the median of several runs, the checker included),
//! and how large the plan is. The time should stay well under 100 ms.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on shall say so"
)]

#[allow(dead_code, reason = "only the builders are used here")]
#[path = "../tests/planner/support.rs"]
mod support;

use std::time::{Duration, Instant};

use interlock_model::check::CheckFrom;
use interlock_model::plan::PlanKind;
use interlock_planner::Scope;
use support::{Cluster, ask};

const NODES: usize = 1_000;
const SERVICES: usize = 200;
const RUNS: usize = 9;
/// The most services of a cluster in which all depend on all.
const DENSE: usize = 300;

/// Ten tiers of twenty services; each has five nodes of its own tier, a tenth of them fifty, and requires two services
/// of the tier below.
fn cluster() -> Cluster {
    let names: Vec<String> = (0..NODES).map(|number| format!("n{number:04}")).collect();
    let mut cluster = Cluster::new();
    for node in &names {
        cluster = cluster.node(node);
    }
    for index in 0..SERVICES {
        let service = format!("s{index:03}");
        let width = if index % 10 == 9 { 50 } else { 5 };
        let tier = index / 20;
        let nodes: Vec<&str> = (0..width)
            .map(|n| names[tier * 100 + (index % 20 * 5 + n) % 100].as_str())
            .collect();
        cluster = if index % 10 == 0 {
            cluster.exclusive(&service, &nodes[..2])
        } else {
            cluster
                .service(&service, &nodes)
                .check(&service, "up", CheckFrom::Own)
        };
        cluster = cluster.check(&service, "reach", CheckFrom::Consumers);
        if tier > 0 {
            let below = |offset: usize| format!("s{:03}", (tier - 1) * 20 + (index + offset) % 20);
            cluster = cluster.requires(&service, &[&below(0), &below(9)]);
        }
    }
    cluster
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn measure(work: impl Fn()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            work();
            begin.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

/// So many services on a machine each, of which each requires all before it.
fn dense(services: usize) -> Cluster {
    let names: Vec<String> = (0..services)
        .map(|number| format!("s{number:03}"))
        .collect();
    let mut cluster = Cluster::new();
    for (at, service) in names.iter().enumerate() {
        let node = format!("n{at:03}");
        let before: Vec<&str> = names[..at].iter().map(String::as_str).collect();
        cluster = cluster
            .node(&node)
            .service(service, &[&node])
            .check(service, "up", CheckFrom::Own)
            .requires(service, &before);
    }
    cluster
}

fn main() {
    large();
    for services in [150, DENSE] {
        let cluster = dense(services);
        let up = cluster.all_up(&[]);
        let request = || ask(&cluster, PlanKind::Restart, Scope::All).seeing(&up);
        let outcome = request().outcome();
        let time = measure(|| drop(request().outcome()));
        println!(
            "restart   {services} services that all require those before them: {} lines of report: {:.1} ms",
            outcome.report.entries().len(),
            time.as_secs_f64() * 1e3
        );
    }
}

fn large() {
    let cluster = cluster();
    let active: Vec<(String, String)> = cluster
        .0
        .services
        .values()
        .filter(|service| service.is_exclusive())
        .map(|service| (service.name.to_string(), service.nodes[0].to_string()))
        .collect();
    let active: Vec<(&str, &str)> = active
        .iter()
        .map(|(s, n)| (s.as_str(), n.as_str()))
        .collect();
    let (up, down) = (cluster.all_up(&active), cluster.all_down());
    for kind in [
        PlanKind::Shutdown,
        PlanKind::Startup,
        PlanKind::Restart,
        PlanKind::Reboot,
    ] {
        let seen = if kind == PlanKind::Startup {
            &down
        } else {
            &up
        };
        let request = || {
            active.iter().fold(
                ask(&cluster, kind, Scope::All).seeing(seen),
                |ask, (service, node)| ask.remembering(service, node),
            )
        };
        let outcome = request().outcome();
        let Some(sealed) = outcome.plan else {
            println!("{kind}: refused\n{}", outcome.report);
            continue;
        };
        let steps = &sealed.plan().steps;
        let edges: usize = steps.iter().map(|step| step.after.len()).sum();
        let time = measure(|| drop(request().outcome()));
        println!(
            "{kind:9} {NODES} nodes, {SERVICES} services: {} steps, {edges} edges, {} KiB: {:.1} ms",
            steps.len(),
            sealed.bytes().len() / 1024,
            time.as_secs_f64() * 1e3
        );
    }
}
