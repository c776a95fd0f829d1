//! An invariant that cannot fail proves nothing: each rule is taken away, and a seed must find that out.

use std::time::Duration;

use interlock_model::plan::PlanKind;
use interlock_sim::{Mutant, Setup, Simulation, Task, clusters};

/// How many seeds a mutant may survive.
const SEEDS: u64 = 60;

#[test]
fn every_rule_that_is_not_kept_is_found_by_a_seed() {
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        let found = (0..SEEDS).find(|seed| is_found(mutant, *seed));
        println!("{mutant:?} breaks {:?}: seed {found:?}", mutant.breaks());
        if found.is_none() {
            survivors.push(mutant);
        }
    }
    assert!(survivors.is_empty(), "nobody noticed {survivors:?}");
}

/// Does this seed break the very rule that the mutant does not keep?
fn is_found(mutant: Mutant, seed: u64) -> bool {
    let (spec, kinds) = match seed % 3 {
        0 => (
            clusters::small(),
            vec![PlanKind::Shutdown, PlanKind::Startup],
        ),
        1 => (
            clusters::random(seed),
            vec![PlanKind::Restart, PlanKind::Shutdown, PlanKind::Startup],
        ),
        _ => (
            clusters::large(),
            vec![PlanKind::Shutdown, PlanKind::Startup],
        ),
    };
    let tasks: Vec<Task> = kinds.into_iter().map(Task::all).collect();
    let mut setup = Setup::quiet(seed, &spec, &tasks);
    setup.trouble = Duration::from_secs(120);
    setup.mutant = Some(mutant);
    Simulation::new(setup).run().broke(mutant.breaks())
}
