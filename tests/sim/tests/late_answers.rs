//! What an agent has seen is dated when it arrives: how much too young may it become on its way?
//!
//! A result carries its age at the time when it is sent, and the coordinator subtracts that from the time of arrival. What
//! is held up in between, by a network that loses packets for some seconds, is younger for the coordinator than it is. A
//! gate asks for results of probes that ran after its step's turn had come; one that ran before, and arrived late, passes.

use std::time::Duration;

use interlock_model::plan::PlanKind;
use interlock_sim::{Setup, Simulation, Task, clusters};

#[test]
#[ignore = "a result is dated by its arrival, not by a question that its probe followed"]
fn what_was_seen_before_a_restart_and_told_after_it_proves_nothing() {
    for seed in 0..200 {
        let tasks = [PlanKind::Restart; 4].map(Task::all);
        let mut setup = Setup::quiet(seed, &clusters::watched(), &tasks);
        setup.stalls = Duration::from_secs(120);
        Simulation::new(setup).telling().run().assert_good();
    }
}
