//! Looks for seeds that find something: `cargo run --release -p interlock-sim --example hunt -- KIND FROM TO`, with a kind of
//! `usual`, `harsh`, `restored` or `stalled`. Prints the seeds that broke a rule or did not come to their end.

use std::time::Duration;

use interlock_model::plan::PlanKind;
use interlock_sim::{Setup, Simulation, Task, clusters};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, from, to] = arguments.as_slice() else {
        eprintln!("usage: hunt KIND FROM TO");
        return;
    };
    let number = |text: &str| text.parse().unwrap_or(0);
    let (mut died, mut guarded, mut restored) = (0, 0, 0);
    for seed in number(from)..number(to) {
        let harsh = kind == "harsh";
        let down_and_up: &[PlanKind] = if harsh {
            &[PlanKind::Restart, PlanKind::Shutdown, PlanKind::Startup]
        } else {
            &[PlanKind::Shutdown, PlanKind::Startup]
        };
        let (spec, kinds) = match seed % 4 {
            0 => (clusters::large(), down_and_up),
            1 => (clusters::small(), down_and_up),
            2 => (clusters::random(seed), down_and_up),
            _ => (
                clusters::large(),
                &[PlanKind::Restart, PlanKind::Reboot][..],
            ),
        };
        let tasks: Vec<Task> = kinds.iter().copied().map(Task::all).collect();
        let mut setup = Setup::quiet(seed, &spec, &tasks);
        setup.trouble = Duration::from_secs(120);
        setup.harsh = harsh;
        setup.restores = kind == "restored";
        if kind == "stalled" {
            setup.stalls = setup.trouble;
        }
        let report = Simulation::new(setup).run();
        died += report.died;
        guarded += report.guarded;
        restored += report.restored;
        if !report.finished || !report.violations.is_empty() {
            let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
            println!("{kind} {seed}: finished {}, {found:?}", report.finished);
        }
    }
    println!("{kind} {from}..{to}: {died} died, {guarded} brought up again, {restored} restored");
}
