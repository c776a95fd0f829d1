//! Looks for seeds in which a rule of leases breaks: `cargo run --release -p interlock-sim --example lease_hunt -- KIND FROM TO`.
//! `KIND` is one of those of `interlock_sim::lease::Kind` or `all`; with `TO` left out, the story of seed `FROM` is told.
//! `mutants N` says after how many seeds each mutant is found, of N at most.

use std::collections::BTreeMap;

use interlock_sim::lease::{Kind, Mutant, Setup, run, tell};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    match (arguments.first().map(String::as_str), number(1), number(2)) {
        (Some("mutants"), Some(most), _) => mutants(most, arguments.get(2)),
        (Some("mutant"), Some(seed), _) => one_mutant(seed, arguments.get(2)),
        (Some(kind), Some(from), Some(to)) => hunt(kind, from, to),
        (Some(kind), Some(seed), None) => kinds(kind).into_iter().for_each(|kind| {
            let report = tell(&Setup::new(seed, kind));
            report.story.iter().for_each(|line| println!("{line}"));
            println!("{kind:?} {seed}: {:?}", report.violation);
        }),
        _ => eprintln!("usage: lease_hunt KIND FROM [TO] | mutants N [NAME] | mutant SEED NAME"),
    }
}

fn kinds(name: &str) -> Vec<Kind> {
    let wanted = |kind: &Kind| name == "all" || format!("{kind:?}").eq_ignore_ascii_case(name);
    Kind::ALL.into_iter().filter(wanted).collect()
}

fn hunt(name: &str, from: u64, to: u64) {
    for kind in kinds(name) {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut broken = 0;
        for seed in from..to {
            let report = run(&Setup::new(seed, kind));
            for (what, count) in report.counts.into_iter().chain(report.exclusions) {
                *counts.entry(what).or_default() += count;
            }
            if let Some(violation) = report.violation {
                broken += 1;
                println!("{kind:?} {seed}: {violation}");
            }
        }
        println!("{kind:?} {from}..{to}: {broken} broken, {counts:?}");
    }
}

fn mutants(most: u64, name: Option<&String>) {
    for mutant in Mutant::ALL {
        if name.is_some_and(|name| !format!("{mutant:?}").eq_ignore_ascii_case(name)) {
            continue;
        }
        let mut others: BTreeMap<String, u64> = BTreeMap::new();
        let found = (0..most).find(|seed| {
            let violation = run(&Setup::new(*seed, mutant.kind()).without(mutant)).violation;
            if let Some(violation) = &violation {
                *others.entry(format!("{:?}", violation.rule)).or_default() += 1;
            }
            violation.is_some_and(|violation| violation.rule == mutant.shows())
        });
        println!("{} {mutant:?}: {found:?} {others:?}", mutant.breaks());
    }
}

fn one_mutant(seed: u64, name: Option<&String>) {
    for mutant in Mutant::ALL {
        if name.is_some_and(|name| format!("{mutant:?}").eq_ignore_ascii_case(name)) {
            let report = tell(&Setup::new(seed, mutant.kind()).without(mutant));
            report.story.iter().for_each(|line| println!("{line}"));
            println!("{:?}", report.violation);
        }
    }
}
