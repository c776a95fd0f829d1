//! Whatever happens in whatever order: the journal alone makes the operation what it is (invariants I3, I4).

use std::sync::Arc;

use interlock_engine::operation::{Operation, Phase, Verb, What};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::ids::OperationId;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Step, Wait};
use interlock_model::spec::Role;
use proptest::prelude::*;

use crate::bench::{Bench, gate, step};

fn steps() -> Vec<Step> {
    let mut start = step("start:web@b", &[("power-off:a", Wait::Down)]);
    start.gates = vec![gate("db.port", "b")];
    start.healthy = vec![gate("web.http", "b")];
    vec![
        step("stop:db@a", &[]),
        step("check:met", &[("stop:db@a", Wait::GoingDown)]),
        step("stop:db@b", &[("check:met", Wait::Up)]),
        step("power-off:a", &[("stop:db@a", Wait::Down)]),
        start,
        step("approve:look", &[("start:web@b", Wait::Healthy)]),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Happens {
    Pass(u64),
    Says(usize, AttemptState, bool),
    Asks(Verb, usize),
    Probed(bool, Verdict),
    Power(Power),
    Silent(bool),
    Connects(bool, u8),
    Is(InstanceState),
}

fn happens() -> impl Strategy<Value = Happens> {
    use AttemptState::{Accepted, Done, Failed, GoingDown, NeverSeen, Refused, Unknown};
    let states = prop::sample::select(vec![
        Accepted, GoingDown, Done, Done, Done, Failed, Refused, Unknown, NeverSeen,
    ]);
    let verbs = prop::sample::select(vec![
        Verb::Pause,
        Verb::Resume,
        Verb::Next,
        Verb::Retry,
        Verb::Retry,
        Verb::Skip,
        Verb::Abort,
        Verb::Unwind,
        Verb::Approve,
    ]);
    prop_oneof![
        4 => (0_u64..40).prop_map(Happens::Pass),
        8 => (0_usize..6, states, any::<bool>()).prop_map(|(at, state, again)| Happens::Says(at, state, again)),
        3 => (verbs, 0_usize..6).prop_map(|(verb, at)| Happens::Asks(verb, at)),
        4 => (any::<bool>(), prop::sample::select(vec![Verdict::Ok, Verdict::Ok, Verdict::Bad, Verdict::Unknown]))
            .prop_map(|(web, verdict)| Happens::Probed(web, verdict)),
        3 => prop::sample::select(vec![Power::On, Power::Off, Power::Unknown]).prop_map(Happens::Power),
        1 => any::<bool>().prop_map(Happens::Silent),
        2 => prop::sample::select(vec![InstanceState::Running, InstanceState::Failed, InstanceState::Stopped])
            .prop_map(Happens::Is),
        2 => (any::<bool>(), 1_u8..4).prop_map(|(a, boot)| Happens::Connects(a, boot)),
    ]
}

fn happen(bench: &mut Bench, event: Happens) {
    let name = |at: usize| bench.plan.plan().steps[at].id.to_string();
    let node = |a: bool| if a { "a" } else { "b" };
    match event {
        Happens::Pass(seconds) => drop(bench.pass(seconds)),
        Happens::Says(at, state, repeatable) => {
            let step = name(at);
            if bench.attempt(&step) > 0 {
                let attempt = bench.attempt(&step);
                bench.says_of(&step, attempt, state, repeatable);
            }
        }
        // What is refused changes nothing; what is possible is not the question here.
        Happens::Asks(verb, at) => drop(bench.asks_as(Role::Admin, verb, &name(at))),
        Happens::Probed(web, verdict) => {
            let check = if web { "web.http" } else { "db.port" };
            bench.probed(check, "b", verdict).advance();
        }
        Happens::Power(power) => drop(bench.power("a", power).advance()),
        Happens::Is(state) => {
            bench.instance("web", "b", state);
            bench.advance();
        }
        Happens::Silent(a) => bench.goes_silent(node(a)),
        Happens::Connects(a, boot) => {
            bench.connects(node(a), &format!("boot-{boot}"));
            bench.advance();
        }
    }
}

/// The next phases that a phase may have, one journal entry at a time.
fn may_follow(from: Phase, to: Phase) -> bool {
    use Phase::{
        Blocked, Checking, Done, Failed, Running, Skipped, UndoFailed, Undoing, Undone, Unknown,
        Waiting,
    };
    match from {
        Waiting => matches!(
            to,
            Running | Blocked | Done | Checking | Skipped | Undoing | UndoFailed
        ),
        Blocked => matches!(to, Waiting | Skipped | Undoing | UndoFailed),
        Running => matches!(to, Waiting | Checking | Done | Failed | Unknown),
        Checking => matches!(to, Done | Failed | Undoing | UndoFailed),
        Failed => matches!(to, Waiting | Skipped | Undoing | UndoFailed),
        Unknown => matches!(
            to,
            Waiting | Skipped | Done | Checking | Failed | Undoing | UndoFailed
        ),
        Done => matches!(to, Undoing | UndoFailed),
        Undoing => matches!(to, Done | Undone | UndoFailed),
        // What it could not prove in time it may prove later.
        UndoFailed => matches!(to, Done | Undoing | Undone),
        // What acted before it was skipped.
        Skipped => matches!(to, Undoing | UndoFailed),
        Undone => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_journal_replayed_is_the_operation_that_wrote_it(events in prop::collection::vec(happens(), 1..80), single in any::<bool>()) {
        let mut bench = Bench::of(crate::bench::seal(steps()), single);
        bench.advance();
        for event in events {
            happen(&mut bench, event);
        }
        let journal = bench.journal.clone();
        let replayed = Operation::replay(OperationId(1), Arc::clone(&bench.plan), journal.clone()).unwrap();
        prop_assert_eq!(replayed.state(), bench.operation.state());
        prop_assert_eq!(replayed.attention(), bench.operation.attention());
        prop_assert_eq!(replayed.origin(), bench.operation.origin());
        prop_assert_eq!(replayed.possible(), bench.operation.possible());
        prop_assert!(replayed.steps().eq(bench.operation.steps()));

        // One entry at a time, every step goes from phase to phase by a legal way, and attempts only count upwards.
        let mut before: Vec<(Phase, u64)> = steps().iter().map(|_| (Phase::Waiting, 0)).collect();
        for end in 1..=journal.len() {
            let so_far = Operation::replay(OperationId(1), Arc::clone(&bench.plan), journal[..end].to_vec()).unwrap();
            let now: Vec<(Phase, u64)> = so_far.steps().map(|(_, state)| (state.phase, state.attempt.0)).collect();
            for ((from, first), (to, then)) in before.iter().zip(&now) {
                prop_assert!(from == to || may_follow(*from, *to), "{from} became {to} by {:?}", journal[end - 1]);
                prop_assert!(then == first || *then == first + 1);
            }
            before = now;
        }

        // Nothing is dispatched without its intent, and each attempt once.
        let intents: Vec<_> = journal.iter().filter_map(|entry| match &entry.what {
            What::Intent { step, attempt, on: Some(_), .. } => Some((step.clone(), *attempt)),
            _ => None,
        }).collect();
        for effect in &bench.effects {
            if let interlock_engine::operation::Effect::Dispatch { id, .. } = effect {
                let same = intents.iter().filter(|(step, attempt)| *step == id.step && *attempt == id.attempt);
                prop_assert_eq!(same.count(), 1, "{}", id);
            }
        }
    }
}
