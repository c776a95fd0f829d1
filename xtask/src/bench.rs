//! `cargo xtask bench`: what Interlock costs, against floors measured in the same run.
//!
//! Builds what is measured as it is shipped, and hands over to `interlock-bench` in the environment that the
//! shipped unit sets; see `tests/bench/README.md`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::tools;

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure: overhead, etcd, state, fan-out, processes, heartbeats, idle, checks, engine, planner, failover.
    /// Everything but failover by default: that one needs root.
    names: Vec<String>,
    /// Of failover: how often each case is run.
    #[arg(long, default_value = "10")]
    runs: String,
    /// Of failover: only this case; may be given several times.
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,
    /// How the figures are printed: table or json.
    #[arg(short, long, default_value = "table")]
    output: String,
}

/// The programs, and the program that measures them. One build: what they share is then built once.
const PROGRAMS: &[&str] = &[
    "build",
    "--release",
    "--package=interlock-coordinator",
    "--package=interlockctl",
    "--package=interlock-bench",
    "--bins",
];

/// The agent, which is shipped small.
const AGENT: &[&str] = &[
    "build",
    "--profile=small",
    "--package=interlock-agent",
    "--bins",
];

/// The planner's own measurement. A build of its own, since it needs what the planner's tests need.
const PLANNER: &[&str] = &[
    "build",
    "--release",
    "--package=interlock-planner",
    "--example=plan_cost",
];

/// How the coordinator is started where it is installed.
const UNIT: &str = "deploy/systemd/interlock-coordinator.service";

/// What a unit sets in the environment of its program, one variable a line.
fn environment(unit: &str) -> impl Iterator<Item = (&str, &str)> {
    let set = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    set.filter_map(|set| set.split_once('='))
}

/// Builds and measures.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.names.iter().any(|name| name == "failover") {
        // Before a build of minutes.
        tools::can_have_a_lab()
            .context("the figures of failover are measured on hosts made of namespaces")?;
    }
    let own = std::env::var("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let root = Path::new(&own)
        .parent()
        .context("this package is in no workspace")?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    for build in [PROGRAMS, AGENT, PLANNER] {
        let status = Command::new(&cargo)
            .args(build)
            .current_dir(root)
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "`cargo {}`: {status}", build.join(" "));
    }
    // Beside the directory of this program, whatever the target directory is.
    let built = interlock_e2e::programs::directory()?;
    let target = built
        .parent()
        .context("this program is in no target directory")?;
    let unit =
        std::fs::read_to_string(root.join(UNIT)).with_context(|| format!("cannot read {UNIT}"))?;
    let status = Command::new(target.join("release/interlock-bench"))
        .envs(environment(&unit))
        .args(&arguments.names)
        .args(["--output", &arguments.output])
        .args(["--runs", &arguments.runs])
        .args(arguments.only.iter().flat_map(|case| ["--only", case]))
        .status()
        .context("cannot run interlock-bench")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_unit_sets_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let unit = std::fs::read_to_string(root.join(UNIT)).unwrap();
        let names: Vec<&str> = environment(&unit).map(|(name, _)| name).collect();
        assert_eq!(names, ["MIMALLOC_PURGE_DELAY"]);
    }
}
