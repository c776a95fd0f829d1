//! `interlock-bench`: what Interlock costs, against floors measured in the same run. `cargo xtask bench` builds and
//! starts it.
//!
//! An absolute time says as much of the machine as of the program, so every figure that can have a floor has one: the
//! least that anybody could do for the same job on the same machine at the same moment, such as a bare stream over
//! mutual TLS or one durable commit. What is promised is a ratio, or a count. Timings are no tests: a figure over its
//! budget is printed as such, and the exit code stays 0.
//!
//! ```text
//!   this process                                    its children
//!   light agents: the agent's own session code,  ◄──mTLS──►  interlock-coordinator, the real program
//!     an executor that does nothing, or runs what is asked for as a real one does
//!   bare streams                                 ◄──mTLS──►  this program again, as the server of the floor
//!   the side that asks and counts                            interlock-agent, the real program
//! ```
//!
//! All of them share the cores of one machine; the figures include that.

mod body;
mod cluster;
mod etcd;
mod failover;
mod figure;
mod figures;
mod fleet;
mod node;
mod process;
mod program;
mod relay;
mod runner;
mod stats;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use figure::Table;
use figures::Name;

/// That of the programs: agents run in this process as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What Interlock costs, against floors measured in the same run.
///
/// Exit codes: 0 measured, whatever the figures are; 1 failed; 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "interlock-bench", version)]
struct Arguments {
    /// Only these; everything but failover by default.
    names: Vec<Name>,
    #[command(flatten)]
    failover: failover::Options,
    /// How the figures are printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Be the server of the floor, with the certificates in this directory.
    #[arg(long, hide = true, value_name = "DIRECTORY")]
    wire_server: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interlock-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let Some(directory) = &arguments.wire_server {
        return runtime.block_on(wire::serve(directory));
    }
    let all = Name::value_variants().iter().copied();
    let names = if arguments.names.is_empty() {
        all.filter(|name| *name != Name::Failover).collect()
    } else {
        arguments.names.clone()
    };
    let mut table = Table::default();
    runtime.block_on(async {
        for name in names {
            eprintln!("measuring {name} ...");
            table.extend(figures::measure(name, &arguments.failover).await?);
        }
        anyhow::Ok(())
    })?;
    match arguments.output {
        Output::Table => println!("{table}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&table)?),
    }
    Ok(())
}
