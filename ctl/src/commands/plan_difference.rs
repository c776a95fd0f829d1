//! What is different between two plans for the same request, in words.

use std::collections::BTreeMap;

use interlock_model::plan::{Assumption, Plan, Step, StepId};

/// How many steps are named; the rest is counted.
const NAMED: usize = 3;

/// What is different in the newer plan, most telling first. Empty if nothing is.
pub(super) fn difference(old: &Plan, new: &Plan) -> Vec<String> {
    let mut different = Vec::new();
    if old.generation != new.generation {
        different.push(format!(
            "generation {} of the spec was applied, after {}",
            new.generation, old.generation
        ));
    }
    let known = |assumption: Option<&Assumption>| match assumption {
        Some(assumption) => format!("{} ({})", assumption.active, assumption.known),
        None => "of no matter".to_owned(),
    };
    let services = old.assumptions.keys().chain(new.assumptions.keys());
    let mut services: Vec<_> = services.collect();
    services.sort_unstable();
    services.dedup();
    for service in services {
        let (was, is) = (old.assumptions.get(service), new.assumptions.get(service));
        if was != is {
            different.push(format!(
                "the active side of {service} is {}, and was {}",
                known(is),
                known(was)
            ));
        }
    }
    let (before, now) = (by_name(old), by_name(new));
    let gone = before.keys().filter(|step| !now.contains_key(*step));
    let come = now.keys().filter(|step| !before.contains_key(*step));
    let other = before
        .iter()
        .filter(|(step, was)| now.get(*step).is_some_and(|is| is != *was))
        .map(|(step, _)| step);
    for (said, steps) in [
        ("no longer to do", gone.copied().collect::<Vec<_>>()),
        ("now to do as well", come.copied().collect()),
        (
            "done after other steps, or under other conditions",
            other.copied().collect(),
        ),
    ] {
        if !steps.is_empty() {
            different.push(format!("{said}: {}", some_of(&steps)));
        }
    }
    if different.is_empty() && old != new {
        different
            .push("the order in which steps are taken that could be taken together".to_owned());
    }
    different
}

fn by_name(plan: &Plan) -> BTreeMap<&StepId, &Step> {
    plan.steps.iter().map(|step| (&step.id, step)).collect()
}

fn some_of(steps: &[&StepId]) -> String {
    let names: Vec<&str> = steps.iter().take(NAMED).map(|it| it.as_str()).collect();
    match steps.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", names.join(", ")),
        _ => names.join(", "),
    }
}
