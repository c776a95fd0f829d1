//! The helper of local clusters: their keeper, and the stand-ins on their nodes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use interlock_e2e::local::vm::{Vm, fence};
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
    /// A machine that can be switched.
    Machine {
        #[arg(long)]
        directory: PathBuf,
    },
    /// The power button of such a machine, or the one for a reset.
    Press {
        #[arg(long)]
        directory: PathBuf,
        #[arg(long)]
        again: bool,
    },
    /// The fence agent of such machines; its options come on standard input.
    Fence {
        #[arg(short = 'o')]
        action: Option<String>,
    },
    /// A time server.
    Clock(hcdc::ServeClock),
}

fn main() -> ExitCode {
    let done = match Role::parse() {
        Role::Keep => keeper::keep().map(|()| ExitCode::SUCCESS),
        Role::Serve(serve) => serve.run(),
        Role::Act(act) => act.run(),
        Role::Machine { directory } => Vm::new(&directory).keep().map(|()| ExitCode::SUCCESS),
        Role::Press { directory, again } => {
            let vm = Vm::new(&directory);
            let pressed = if again { vm.restart() } else { vm.press() };
            pressed.map(|()| ExitCode::SUCCESS)
        }
        Role::Fence { .. } => Ok(fence::run()),
        Role::Clock(clock) => clock.run().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("interlock-local: {error:#}");
        ExitCode::FAILURE
    })
}
