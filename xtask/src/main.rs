//! The chores of this repository: `cargo xtask <chore>`.

mod bench;
mod demo;
mod flaky;
mod install;
mod layers;
mod rehearsal;
mod report;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what the tests need, then check and test everything, and list what was skipped.
    Test(test::Arguments),
    /// The main job, live on this machine: needs no root, installs nothing on it.
    ///
    /// Exit code 0: shown. 1: something has failed. 69: this machine lacks what the system needs, which is named; nothing was
    /// begun, downloaded or installed.
    #[command(verbatim_doc_comment)]
    Demo(demo::Options),
    /// What Interlock costs, against floors measured in the same run.
    Bench(bench::Arguments),
    /// A service of the demo.
    #[command(hide = true)]
    StandIn(demo::StandIn),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Test(arguments) => test::run(&arguments),
        // These build the programs as well.
        Chore::Bench(arguments) => install::proto_compiler().and_then(|()| bench::run(&arguments)),
        Chore::Demo(options) => demo::tell(&options).map(|()| ExitCode::SUCCESS),
        Chore::StandIn(stand_in) => stand_in.run().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        match error.is::<demo::Missing>() {
            true => ExitCode::from(demo::MISSING_CODE),
            false => ExitCode::FAILURE,
        }
    })
}
