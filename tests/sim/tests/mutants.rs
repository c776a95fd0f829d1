//! An invariant that cannot fail proves nothing: each rule is taken away, and a seed must find that out.

use std::time::Duration;

use interlock_model::plan::PlanKind;
use interlock_sim::{Mutant, Number, Setup, Simulation, Task, clusters};

/// How many seeds a mutant may survive.
const SEEDS: u64 = 120;

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

#[test]
fn every_rule_that_is_watched_can_be_broken() {
    for number in Number::ALL {
        let broken = Mutant::ALL.iter().any(|mutant| mutant.breaks() == number);
        assert!(broken, "no mutant breaks {number:?}");
    }
}

/// Does this seed break the very rule that the mutant does not keep?
fn is_found(mutant: Mutant, seed: u64) -> bool {
    let (spec, kinds) = match seed % 3 {
        _ if matches!(mutant.breaks(), Number::Members | Number::Files) => (
            clusters::fronted(),
            vec![PlanKind::Restart, PlanKind::Reboot],
        ),
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
    let mut tasks: Vec<Task> = kinds.into_iter().map(Task::all).collect();
    let number = mutant.breaks();
    if number == Number::Files {
        let web = "web".parse().expect("a name");
        tasks = vec![Task::change(&web, "one"), Task::change(&web, "two")];
    }
    let harsh = matches!(
        number,
        Number::X1 | Number::X2 | Number::X3 | Number::X4 | Number::Guard
    );
    if harsh {
        // A guard has something to do only once an operation has started something.
        tasks.insert(0, Task::all(PlanKind::Restart));
    }
    if mutant == Mutant::DatesByArrival {
        return is_found_by_a_slow_network(mutant, seed);
    }
    let mut setup = Setup::quiet(seed, &spec, &tasks);
    setup.trouble = Duration::from_secs(120);
    setup.harsh = harsh;
    setup.restores = number == Number::E11;
    setup.mutant = Some(mutant);
    Simulation::new(setup).run().broke(number)
}

/// The same where nothing goes wrong but that results are on their way for seconds.
fn is_found_by_a_slow_network(mutant: Mutant, seed: u64) -> bool {
    let tasks = [PlanKind::Restart; 4].map(Task::all);
    let mut setup = Setup::quiet(seed, &clusters::watched(), &tasks);
    setup.stalls = Duration::from_secs(120);
    setup.mutant = Some(mutant);
    Simulation::new(setup).run().broke(mutant.breaks())
}
