//! What events tell of how things are: one for each change.

use interlock_engine::coordinator::{Coordinator, EVENTS, Event, Loaded, Told};
use interlock_model::check::Verdict;
use interlock_model::ids::Term;
use interlock_model::observation::{InstanceState, Wanted};

use crate::bench::{Bench, NODES};

/// The events since this was last asked, but for those about agents.
fn events(bench: &mut Bench) -> Vec<Event> {
    let writes = bench.coordinator.take_output().writes.into_iter();
    let events = writes.filter(|write| write.key.starts_with(EVENTS));
    let events = events.filter_map(|write| serde_json::from_slice(&write.value?).ok());
    events
        .filter(|event: &Event| {
            event.kind.starts_with("cause-")
                || matches!(event.kind.as_str(), "instance-paused" | "instance-resumed")
        })
        .collect()
}

fn lines(events: &[Event]) -> Vec<String> {
    let line = |it: &Event| format!("{} [{} {}] {}", it.kind, it.service, it.node, it.text);
    events.iter().map(line).collect()
}

fn pass(bench: &mut Bench, seconds: u64) {
    bench.silent("nobody", seconds);
}

fn db(bench: &mut Bench, state: InstanceState) {
    bench.instance("db1", "db", state, Some(Wanted::Running), "exit code 1");
}

/// db is lost, and all three of jb wait for it.
fn lost() -> Bench {
    let mut bench = Bench::well();
    pass(&mut bench, 6);
    assert_eq!(lines(&events(&mut bench)), [""; 0], "all is well");
    db(&mut bench, InstanceState::Failed);
    for node in &NODES[2..] {
        bench.paused(node, "jb.web", "DB Service");
    }
    bench
}

#[test]
fn a_lost_store_is_one_event_when_it_is_lost_and_one_when_it_is_back() {
    let mut bench = lost();
    pass(&mut bench, 4);
    assert_eq!(lines(&events(&mut bench)), [""; 0], "it may come and go");
    pass(&mut bench, 30);
    let told = lines(&events(&mut bench));
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told[0].starts_with("cause-began [db ] db is down: ") && told[0].ends_with("; with it: jb"),
        "{told:?}"
    );
    let paused = "instance-paused [jb jb1] jb on jb1 is paused: DB Service";
    assert_eq!(told[1], paused);
    db(&mut bench, InstanceState::Running);
    bench.jb_is_well();
    pass(&mut bench, 30);
    assert_eq!(
        lines(&events(&mut bench)),
        [
            "cause-ended [db ] db is no root cause any more: it is ok",
            "instance-resumed [jb jb1] jb on jb1 is paused no more",
            "instance-resumed [jb jb2] jb on jb2 is paused no more",
            "instance-resumed [jb jb3] jb on jb3 is paused no more",
        ]
    );
}

#[test]
fn what_comes_and_goes_is_no_event() {
    let mut bench = lost();
    for state in [InstanceState::Running, InstanceState::Failed].repeat(10) {
        pass(&mut bench, 3);
        db(&mut bench, state);
        match state {
            InstanceState::Running => bench.jb_is_well(),
            _ => bench.paused("jb1", "jb.web", "DB Service"),
        }
    }
    db(&mut bench, InstanceState::Running);
    bench.jb_is_well();
    pass(&mut bench, 6);
    assert_eq!(lines(&events(&mut bench)), [""; 0]);
}

#[test]
fn the_next_process_neither_repeats_what_was_told_nor_takes_what_it_does_not_know_for_an_end() {
    let mut bench = lost();
    pass(&mut bench, 6);
    let before = events(&mut bench);
    assert_eq!(before.len(), 4);
    let mut told = Told::default();
    before.iter().for_each(|event| told.note(event));
    let loaded = Loaded {
        applied: bench.coordinator.applied().cloned(),
        told,
        ..Loaded::default()
    };
    bench.coordinator = Coordinator::recover(Term(2), loaded).unwrap();
    for _ in 0..20 {
        bench.seconds += 1;
        let now = bench.now();
        bench.coordinator.tick(now);
    }
    assert_eq!(lines(&events(&mut bench)), [""; 0], "nobody was heard");
    bench.all_say_hello();
    db(&mut bench, InstanceState::Failed);
    for node in &NODES[2..] {
        bench.instance(
            node,
            "jb",
            InstanceState::Running,
            Some(Wanted::Running),
            "",
        );
        bench.paused(node, "jb.web", "DB Service");
        bench.says(node, "jb.version", "1.0");
    }
    pass(&mut bench, 20);
    assert_eq!(lines(&events(&mut bench)), [""; 0], "it was told");
    bench.check("jb1", "jb.web", Verdict::Ok);
    pass(&mut bench, 6);
    let ended = "instance-resumed [jb jb1] jb on jb1 is paused no more";
    assert_eq!(lines(&events(&mut bench)), [ended]);
}
