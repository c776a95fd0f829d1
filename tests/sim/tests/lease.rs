//! Leases: never two writers, whatever goes wrong; and each rule taken away is found.

use interlock_sim::lease::{Kind, Mutant, Setup, run, tell};

/// How many seeds of each kind everybody runs, unless `INTERLOCK_LEASE_SEEDS` says otherwise.
const SEEDS: u64 = 15;

/// How many seeds a mutant may survive.
const SURVIVES: u64 = 400;

#[test]
fn no_seed_of_any_kind_breaks_a_rule() {
    let seeds = std::env::var("INTERLOCK_LEASE_SEEDS").ok();
    let seeds = seeds.map_or(SEEDS, |text| text.parse().expect("a whole number"));
    for kind in Kind::ALL {
        for seed in 0..seeds {
            holds(&Setup::new(seed, kind));
        }
    }
}

#[test]
fn every_rule_that_is_taken_away_is_found_by_a_seed_that_the_rule_passes() {
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        let found = (0..SURVIVES).find(|seed| {
            let setup = Setup::new(*seed, mutant.kind()).without(mutant);
            let violation = run(&setup).violation;
            violation.is_some_and(|violation| violation.rule == mutant.shows())
        });
        println!("{} {mutant:?}: seed {found:?}", mutant.breaks());
        match found {
            Some(seed) => holds(&Setup::new(seed, mutant.kind())),
            None => survivors.push(mutant),
        }
    }
    assert!(survivors.is_empty(), "nobody noticed {survivors:?}");
}

fn holds(setup: &Setup) {
    if let Some(violation) = run(setup).violation {
        for line in tell(setup).story {
            println!("{line}");
        }
        panic!("{:?} seed {}: {violation}", setup.kind, setup.seed);
    }
}
