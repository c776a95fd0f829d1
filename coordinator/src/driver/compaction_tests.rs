//! Old operations go, on a real driver and a real embedded store, and nothing else does.

use interlock_engine::coordinator::{EVENTS, OPERATIONS, Wish};
use interlock_engine::operation::Verb;
use interlock_model::ids::OperationId;
use interlock_model::time::Timestamp;

use super::compaction::{Policy, once};
use super::tests::Bench;
use super::*;
use crate::store::Prefix;

/// The newest five, however young the others are.
const FIVE: Policy = Policy {
    newest: 5,
    age: Duration::ZERO,
};

/// Starts operations and aborts them.
async fn pass(bench: &Bench, count: u64) {
    for _ in 0..count {
        let id = bench.starts().await;
        let wish = Wish {
            verb: Verb::Abort,
            step: None,
            by: "anna".into(),
            role: interlock_model::spec::Role::Operator,
            reason: String::new(),
        };
        let abort = move |desk: &mut Desk| desk.coordinator.control(id, &wish, clock::now());
        bench.handle.call(abort).await.unwrap().unwrap().unwrap();
    }
}

async fn compact(bench: &Bench, policy: Policy) -> u64 {
    once(&bench.handle, &*bench.store, policy, clock::now().wall)
        .await
        .unwrap()
}

/// The numbers of the operations that the store has something of.
async fn kept(bench: &Bench) -> Vec<u64> {
    let prefix = Prefix::new(OPERATIONS).unwrap();
    let snapshot = bench.store.snapshot(&prefix).await.unwrap();
    let below = snapshot.entries.iter().filter_map(|entry| {
        let below = entry.key.as_str().strip_prefix(prefix.as_str())?;
        below.split('/').next()?.parse().ok()
    });
    let numbers: BTreeSet<u64> = below.collect();
    numbers.into_iter().collect()
}

/// How many bytes all operations take in the store.
async fn bytes(bench: &Bench) -> usize {
    let prefix = Prefix::new(OPERATIONS).unwrap();
    let snapshot = bench.store.snapshot(&prefix).await.unwrap();
    snapshot.entries.iter().map(|entry| entry.value.len()).sum()
}

#[tokio::test]
async fn the_newest_stay_and_what_is_not_over_does_whatever_its_age() {
    let bench = Bench::new().await;
    let open = bench.starts().await;
    assert_eq!(open, OperationId(1));
    pass(&bench, 11).await;
    assert_eq!(compact(&bench, FIVE).await, 6);
    assert_eq!(kept(&bench).await, [1, 8, 9, 10, 11, 12]);
    assert!(
        bench.get("op-1").await.is_ok(),
        "it still waits for its approval"
    );
    assert!(bench.get("op-8").await.is_ok());
    let gone = bench.get("op-2").await.unwrap_err();
    assert!(gone.message().contains("let go"), "{gone}");
    assert_eq!(compact(&bench, FIVE).await, 0);
    assert_eq!(
        bench.starts().await,
        OperationId(13),
        "no number comes twice"
    );

    let prefix = Prefix::new(EVENTS).unwrap();
    let events = bench.store.snapshot(&prefix).await.unwrap();
    let told = events.entries.iter().filter_map(|entry| {
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        text.contains("operations-compacted").then_some(text)
    });
    let told: Vec<String> = told.collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("6 old operations, op-2 to op-7"),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_ended_not_long_ago_stays_although_there_are_newer_ones() {
    let bench = Bench::new().await;
    pass(&bench, 8).await;
    let day = Policy {
        newest: 1,
        age: Duration::from_secs(86_400),
    };
    assert_eq!(compact(&bench, day).await, 0);
    let tomorrow = Timestamp(clock::now().wall.0 + 2 * 86_400_000);
    let gone = once(&bench.handle, &*bench.store, day, tomorrow).await;
    assert_eq!(gone.unwrap(), 7);
    assert_eq!(kept(&bench).await, [8], "the next number follows from it");
}

#[tokio::test]
async fn what_a_crash_left_of_an_old_operation_goes_the_next_time() {
    let bench = Bench::new().await;
    pass(&bench, 7).await;
    // The head goes first: this is what is left if the coordinator dies behind it.
    let head = interlock_engine::coordinator::head_key(OperationId(1));
    let write = interlock_engine::coordinator::Write {
        key: head,
        value: None,
    };
    bench
        .handle
        .call(move |desk| desk.write([write]))
        .await
        .unwrap();
    assert_eq!(kept(&bench).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(compact(&bench, FIVE).await, 2);
    assert_eq!(kept(&bench).await, [3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn with_any_number_of_operations_the_store_holds_no_more_than_with_the_first_few() {
    let bench = Bench::new().await;
    pass(&bench, 10).await;
    compact(&bench, FIVE).await;
    let first = bytes(&bench).await;
    for _ in 0..5 {
        pass(&bench, 20).await;
        compact(&bench, FIVE).await;
        // Numbers get longer; nothing else grows.
        let now = bytes(&bench).await;
        assert!(now <= first + first / 10, "{now} bytes after {first}");
    }
}
