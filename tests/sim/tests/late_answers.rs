//! What an agent has seen may be on its way for long: a gate is not passed by what was seen before it asked.
//!
//! A result carries its age at the time when it is sent. What is held up after that, by a network that loses packets for
//! some seconds, is older than it seems when it arrives. A gate asks for probes that begin after its step's turn has come;
//! one that began before, and arrives late, must not pass. That this would be seen here is shown by the mutant
//! `DatesByArrival`.

use std::time::Duration;

use interlock_model::plan::PlanKind;
use interlock_sim::{Setup, Simulation, Task, clusters};

#[test]
fn what_was_seen_before_a_restart_and_told_after_it_proves_nothing() {
    for seed in 0..200 {
        let tasks = [PlanKind::Restart; 4].map(Task::all);
        let mut setup = Setup::quiet(seed, &clusters::watched(), &tasks);
        setup.stalls = Duration::from_secs(120);
        Simulation::new(setup).telling().run().assert_good();
    }
}
