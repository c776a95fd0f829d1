//! How much is looked at, for the tests that hold the planner and its checker to a bound: a clock would tell of the machine.

#[cfg(test)]
std::thread_local! {
    static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// So many edges, gates or lifts were looked at.
#[cfg_attr(not(test), expect(unused_variables, reason = "nobody counts"))]
pub(crate) fn count(looks: usize) {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + looks);
}

/// How many were while this ran.
#[cfg(test)]
pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LOOKS.get();
    let done = work();
    (done, LOOKS.get() - before)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use interlock_model::ids::Generation;
    use interlock_model::plan::PlanKind;
    use interlock_model::spec::Spec;

    use crate::{Input, Outcome, Request, Scope, plan};

    /// So many services, each of which requires all before it and asks a check of each from its own node. On a machine each,
    /// or crosswise on a few, so that no order of the machines goes with that of the services.
    fn dense(services: usize, machines: usize) -> Spec {
        let mut text = "cluster: dense\ncontrol: { coordinators: [m] }\npower: { box: { fence: fence_sim, via: [m] } }\n\
                        nodes:\n  m: { address: 10.1.0.1 }\n"
            .to_owned();
        for at in 0..machines {
            text += &format!(
                "  n{at}: {{ address: 10.0.0.{at}, power: {{ by: box, plug: p{at} }} }}\n"
            );
        }
        text += "services:\n";
        for at in 0..services {
            let required: Vec<String> = (0..at).map(|it| format!("s{it}")).collect();
            text += &format!(
                "  s{at}:\n    nodes: [n{}]\n    manager: {{ systemd: {{ unit: s{at}.service }} }}\n    requires: [{}]\n    \
                 checks: {{ way: {{ tcp: \"{{address}}:1\", from: consumers }} }}\n",
                at % machines,
                required.join(", ")
            );
        }
        Spec::parse(text.as_bytes(), "dense.yaml").unwrap().spec
    }

    fn looks(spec: &Spec, kind: PlanKind) -> usize {
        let (outcome, looks) = super::of(|| plan_of(spec, kind));
        assert!(outcome.plan.is_some(), "{}", outcome.report);
        looks
    }

    fn plan_of(spec: &Spec, kind: PlanKind) -> Outcome {
        plan(&Input {
            spec,
            generation: Generation(1),
            request: Request::new(kind, Scope::All),
            observations: None,
            memory: &BTreeMap::new(),
            forgotten: &BTreeMap::new(),
            power_verified: None,
        })
    }

    #[test]
    fn a_report_is_as_long_as_there_are_services_where_all_depend_on_all() {
        const SERVICES: usize = 60;
        let spec = dense(SERVICES, SERVICES);
        for kind in [
            PlanKind::Shutdown,
            PlanKind::Startup,
            PlanKind::Restart,
            PlanKind::Reboot,
        ] {
            let report = plan_of(&spec, kind).report;
            let told = report.to_string();
            let longest = told.lines().map(str::len).max().unwrap_or_default();
            assert!(
                report.entries().len() < 4 * SERVICES && longest < 400,
                "{kind}: {} entries, and {longest} characters in one of them",
                report.entries().len()
            );
        }
        let told = plan_of(&spec, PlanKind::Restart).report.to_string();
        let first = told.lines().find(|line| line.contains("service s0: while"));
        assert_eq!(
            first.unwrap(),
            "warning: service s0: while it is interrupted, 59 services that require it run on without it: s1 (1 instance), s2 \
             (1 instance), s3 (1 instance), s4 (1 instance), s5 (1 instance), s6 (1 instance), s7 (1 instance), s8 (1 instance) \
             and 51 more; to stop them before, shut them down first and start them at the end"
        );
    }

    #[test]
    fn a_plan_costs_as_its_edges_do_where_all_depend_on_all() {
        for (kind, crosswise) in [
            (PlanKind::Shutdown, false),
            (PlanKind::Startup, false),
            (PlanKind::Restart, false),
            (PlanKind::Shutdown, true),
            (PlanKind::Startup, true),
        ] {
            let of = |services: usize| {
                let machines = if crosswise { services / 4 } else { services };
                looks(&dense(services, machines), kind)
            };
            let (few, twice) = (of(30), of(60));
            // Four times the edges.
            assert!(
                few > 400 && twice < 6 * few,
                "{kind} {crosswise}: {few} looks, and {twice} for twice the services"
            );
        }
    }
}
