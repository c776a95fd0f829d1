//! A coordinator that did not run for a while hears first, and judges then.

use interlock_engine::coordinator::{FromAgent, ServiceHealth};

use crate::bench::{Bench, NODES};

/// The kinds of the events since they were last taken.
fn events(bench: &mut Bench) -> String {
    let writes = bench.coordinator.take_output().writes;
    let texts = writes.into_iter().filter_map(|write| write.value);
    texts
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .filter(|text| text.contains("\"kind\""))
        .collect()
}

#[test]
fn after_a_pause_nobody_is_lost_whose_words_were_waiting() {
    let mut bench = Bench::well();
    bench.silent("none", 1);
    events(&mut bench);
    // Longer than the silence that makes an agent lost.
    bench.seconds += 100;
    let now = bench.now();
    bench.coordinator.tick(now);
    let told = events(&mut bench);
    assert!(
        told.contains("coordinator-paused") && told.contains("100"),
        "{told}"
    );
    assert!(!told.contains("node-lost"), "{told}");
    for node in NODES.iter().filter(|it| **it != "db1") {
        bench.told(node, FromAgent::Heartbeat);
    }
    // Who is silent all the same is lost a moment later, and nobody else.
    bench.silent("db1", 3);
    let told = events(&mut bench);
    assert_eq!(told.matches("\"node-lost\"").count(), 1, "{told}");
    assert_eq!(bench.status("db").health, ServiceHealth::Unknown);
}
