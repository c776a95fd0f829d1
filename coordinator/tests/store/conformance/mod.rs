//! One suite for every store. `suite!(Fixture)` makes a test of each case; each gets an empty
//! store of its own.

pub(crate) mod model;
pub(crate) mod reads;
pub(crate) mod transactions;
pub(crate) mod watches;

use std::sync::Arc;

use futures_util::StreamExt;
use interlock_coordinator::store::{
    Condition, Conflict, Key, Outcome, Prefix, Revision, Store, Transaction, Watch, WatchEvent,
};

/// Makes empty stores.
pub(crate) trait Fixture: Sized {
    /// Sets up whatever the store needs and opens an empty one. None if this machine lacks
    /// something; that is noted for the end of the run.
    async fn new() -> Option<Self>;

    /// The store; lives as long as the fixture.
    fn store(&self) -> Arc<dyn Store>;

    /// Lets the store go, as a process does that ends.
    async fn close(&self);

    /// The same store, opened by a next process.
    async fn reopened(self) -> Self;
}

/// Every case of the suite, as tests over one fixture.
macro_rules! suite {
    ($fixture:ty) => {
        $crate::conformance::suite! { @tests $fixture;
            reads: an_empty_store_is_at_revision_zero,
            reads: an_absent_key_reads_as_none,
            reads: a_page_ends_at_its_limit_and_the_next_goes_on_behind_it,
            reads: a_prefix_does_not_reach_into_its_neighbours,
            reads: a_page_goes_on_although_its_last_key_was_deleted,
            reads: a_snapshot_larger_than_a_page_is_of_one_revision,
            reads: ten_thousand_keys_are_read_page_by_page_and_in_one_snapshot,
            transactions: every_commit_that_changes_something_is_one_revision,
            transactions: a_commit_that_changes_nothing_has_no_revision_of_its_own,
            transactions: created_stays_and_modified_moves_until_the_key_is_deleted,
            transactions: each_kind_of_condition_holds_and_fails_as_it_says,
            transactions: a_conflict_names_the_first_failed_condition_and_writes_nothing,
            transactions: delete_below_removes_a_subtree_and_nothing_else,
            transactions: no_increment_by_compare_and_swap_is_lost,
            transactions: transactions_over_a_limit_are_refused_whole,
            transactions: transactions_at_the_limits_are_accepted,
            transactions: a_key_written_twice_in_one_transaction_is_refused,
            watches: a_watch_delivers_past_and_future_changes_once_and_in_order,
            watches: a_watch_sees_only_its_prefix_and_each_transaction_whole,
            watches: a_watch_from_the_future_begins_there,
            watches: a_slow_watch_misses_nothing_or_is_told,
            watches: a_snapshot_and_a_watch_from_there_follow_concurrent_writers,
            model: any_sequence_of_transactions_agrees_with_a_naive_model,
        }
    };
    (@tests $fixture:ty; $($module:ident: $case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let fixture = <$fixture as $crate::conformance::Fixture>::new().await;
            let Some(fixture) = fixture else { return };
            let store = $crate::conformance::Fixture::store(&fixture);
            $crate::conformance::$module::$case(store).await;
        }
    )*};
}
pub(crate) use suite;

/// A key from a literal.
pub(crate) fn key(path: impl AsRef<str>) -> Key {
    Key::new(path).unwrap()
}

/// A prefix from a literal.
pub(crate) fn prefix(path: &str) -> Prefix {
    Prefix::new(path).unwrap()
}

/// Commits what must be committed.
pub(crate) async fn commit(store: &dyn Store, transaction: Transaction) -> Revision {
    let outcome = store.commit(transaction).await.unwrap();
    outcome.committed().unwrap()
}

/// Puts one value.
pub(crate) async fn put(store: &dyn Store, path: impl AsRef<str>, value: &str) -> Revision {
    commit(store, Transaction::new().put(&key(path), value.as_bytes())).await
}

/// Commits one condition and a write that would show if it were made.
pub(crate) async fn conflict(store: &dyn Store, condition: Condition) -> Option<Conflict> {
    let transaction = Transaction::new()
        .when(condition)
        .put(&key("/written"), *b"x");
    match store.commit(transaction).await.unwrap() {
        Outcome::Committed { .. } => None,
        Outcome::Conflict(conflict) => Some(conflict),
    }
}

/// The next event as revision and `key=value` texts.
pub(crate) async fn next(watch: &mut Watch) -> (u64, Vec<String>) {
    use interlock_coordinator::store::Change;
    match watch.next().await {
        Some(WatchEvent::Changed { revision, changes }) => {
            let text = |change: &Change| match change {
                Change::Put(e) => format!("{}={}", e.key, String::from_utf8_lossy(&e.value)),
                Change::Deleted(key) => format!("{key} gone"),
            };
            (revision.0, changes.iter().map(text).collect())
        }
        other => panic!("expected a change, got {other:?}"),
    }
}
