//! The helper of local clusters: their keeper, and the stand-ins on their nodes.

use std::process::ExitCode;

use clap::Parser;
use interlock_e2e::local::{keeper, stand_in};
use interlock_e2e::systems::hcdc;

/// The helper of local clusters; tests start it.
#[derive(Debug, Parser)]
enum Role {
    /// Starts what its standard input says, and ends all of it when that ends.
    Keep,
    /// A process of a service.
    Serve(stand_in::Serve),
    /// A command of a service.
    Act(stand_in::Act),
    /// A time server.
    Clock(hcdc::ServeClock),
}

fn main() -> ExitCode {
    let done = match Role::parse() {
        Role::Keep => keeper::keep().map(|()| ExitCode::SUCCESS),
        Role::Serve(serve) => serve.run(),
        Role::Act(act) => act.run(),
        Role::Clock(clock) => clock.run().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("interlock-local: {error:#}");
        ExitCode::FAILURE
    })
}
