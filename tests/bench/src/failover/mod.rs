//! For how long nobody takes writes, when a role moves: what a client sees that writes every 10 ms by the service's address.
//!
//! The hosts are those of the labs of `interlock-e2e`, the servers are Debian's in their own units. Every run of a case is on
//! the same two members, in turn: the one that lost the role has to follow again before the next run begins. What a run
//! gives is the longest time between two rows that were acknowledged one after the other. Where a lease was handed on, the
//! coordinator's own record of it (`interlockctl why`) tells in which phase the time was spent.

mod case;
mod floor;
mod gap;
mod scene;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use interlock_e2e::{Lab, programs, tools};

use crate::figure::{Budget, Figure};
use crate::node;
use crate::stats::middle;
pub(crate) use case::Case;
use floor::Floors;
use gap::{Phases, Sample};
use scene::Scene;

/// How often the floors are measured: they vary little.
const FLOORS: u32 = 5;

/// What is measured, and how often.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Of failover: how often each case is run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Of failover: only this case; may be given several times.
    #[arg(long, value_name = "CASE")]
    only: Vec<Case>,
}

/// Measures.
///
/// # Errors
/// This machine can have no labs. A case that does not come to its end is a figure that is absent, or of fewer runs.
pub(crate) fn measure(options: &Options) -> Result<Vec<Figure>> {
    tools::can_have_a_lab()
        .context("the figures of failover are measured on hosts made of namespaces")?;
    let mut figures = Vec::new();
    for case in clap::ValueEnum::value_variants() {
        if options.only.is_empty() || options.only.contains(case) {
            figures.push(figure(*case, options.runs));
        }
    }
    Ok(figures)
}

fn figure(case: Case, runs: u32) -> Figure {
    eprintln!("  {case}: {runs} runs ...");
    let mut samples = Vec::new();
    let mut floors = Floors::default();
    let ended = in_lab(case, runs, &mut samples, &mut floors);
    let mut gaps: Vec<f64> = samples.iter().map(|sample| sample.gap).collect();
    let Some(median) = middle(&mut gaps) else {
        let why = ended.map_or_else(|error| format!("{error:#}"), |()| "no run".to_owned());
        return Figure::absent(case.title(), "s", why);
    };
    let mut details = vec![format!(
        "min {:.3}, median {median:.3}, max {:.3} of {} ({})",
        gaps[0],
        gaps[gaps.len() - 1],
        gaps.len(),
        list(&gaps)
    )];
    let moved = samples.iter().filter(|sample| sample.phases.is_some());
    let moved = moved.count();
    if moved < samples.len() {
        details.push(format!(
            "in {} of {} runs the server was started again in its place, with the lease that it had",
            samples.len() - moved,
            samples.len()
        ));
    }
    details.extend(Phases::told(&samples));
    details.extend(floors.told());
    if let Err(error) = ended {
        details.push(format!("ended before all runs: {error:#}"));
    }
    let figure = Figure::new(case.title(), "s", median).budget(Budget::Value(case.target()));
    let figure = match floors.sum() {
        Some(floor) => figure.floor(floor),
        None => figure,
    };
    figure.details(details)
}

/// One lab, from its beginning to its end. What was measured until something went wrong stays.
fn in_lab(case: Case, runs: u32, samples: &mut Vec<Sample>, floors: &mut Floors) -> Result<()> {
    let lab = Lab::open_with(&format!("bench-{case}"), &programs()?)?;
    let lab = lab.context("this machine can have no lab")?;
    let scene = Scene::build(&lab, case)?;
    for number in 1..=runs {
        let sample = scene.run(number).with_context(|| format!("run {number}"))?;
        eprintln!("    {number}: {:.3} s", sample.gap);
        samples.push(sample);
    }
    scene.settle()?;
    floors.measure(&scene, FLOORS.min(runs))?;
    drop(scene);
    lab.close()
}

/// The programs as they are shipped: the agent may be of another build than the rest.
fn programs() -> Result<Vec<PathBuf>> {
    Ok(vec![
        node::agent()?,
        programs::coordinator()?,
        programs::ctl()?,
    ])
}

fn list(numbers: &[f64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|it| format!("{it:.2}")).collect();
    numbers.join(" ")
}
