//! Conditional transactions: revisions, conflicts, limits.

use std::sync::Arc;

use interlock_coordinator::store::{
    Class, CommitError, Condition, Error, InvalidTransaction, Outcome, PageRequest, Prefix,
    Revision, Store, Transaction, limits,
};

use super::{commit, conflict, key, prefix, put};

pub(crate) async fn every_commit_that_changes_something_is_one_revision(store: Arc<dyn Store>) {
    assert_eq!(put(&*store, "/a", "1").await, Revision(1));
    // Three writes, one revision; the same value again is a change too.
    let three = Transaction::new()
        .put(&key("/a"), *b"1")
        .put(&key("/b"), *b"1")
        .put(&key("/c"), *b"1");
    assert_eq!(commit(&*store, three).await, Revision(2));
    let gone = Transaction::new().delete(&key("/c"));
    assert_eq!(commit(&*store, gone).await, Revision(3));
    assert_eq!(store.revision().await.unwrap(), Revision(3));
}

pub(crate) async fn a_commit_that_changes_nothing_has_no_revision_of_its_own(
    store: Arc<dyn Store>,
) {
    put(&*store, "/a", "1").await;
    let check = Transaction::new().when(Condition::Exists(key("/a")));
    assert_eq!(commit(&*store, check).await, Revision(1));
    let nothing = Transaction::new()
        .delete(&key("/b"))
        .delete_below(&prefix("/a"));
    assert_eq!(commit(&*store, nothing).await, Revision(1));
    assert_eq!(commit(&*store, Transaction::new()).await, Revision(1));
    assert_eq!(put(&*store, "/a", "2").await, Revision(2));
}

pub(crate) async fn created_stays_and_modified_moves_until_the_key_is_deleted(
    store: Arc<dyn Store>,
) {
    let revisions = async || {
        let entry = store.get(&key("/a")).await.unwrap().unwrap();
        (entry.created.0, entry.modified.0)
    };
    put(&*store, "/a", "1").await;
    put(&*store, "/other", "1").await;
    put(&*store, "/a", "2").await;
    assert_eq!(revisions().await, (1, 3));
    commit(&*store, Transaction::new().delete(&key("/a"))).await;
    put(&*store, "/a", "3").await;
    assert_eq!(revisions().await, (5, 5));
}

pub(crate) async fn each_kind_of_condition_holds_and_fails_as_it_says(store: Arc<dyn Store>) {
    let there = put(&*store, "/there", "v").await;
    let (a, no) = (|| key("/there"), || key("/no"));
    let holding = [
        Condition::Exists(a()),
        Condition::Absent(no()),
        Condition::ModifiedAt(a(), there),
        Condition::ValueIs(a(), (*b"v").into()),
    ];
    for condition in holding {
        assert_eq!(
            conflict(&*store, condition.clone()).await,
            None,
            "{condition}"
        );
    }
    let failing = [
        Condition::Exists(no()),
        Condition::Absent(a()),
        Condition::ModifiedAt(a(), there.next()),
        Condition::ModifiedAt(a(), Revision(0)),
        Condition::ModifiedAt(no(), Revision(0)),
        Condition::ValueIs(a(), (*b"w").into()),
        Condition::ValueIs(no(), (*b"").into()),
    ];
    for condition in failing {
        assert!(
            conflict(&*store, condition.clone()).await.is_some(),
            "{condition}"
        );
    }
}

pub(crate) async fn a_conflict_names_the_first_failed_condition_and_writes_nothing(
    store: Arc<dyn Store>,
) {
    put(&*store, "/a", "mine").await;
    let transaction = Transaction::new()
        .when(Condition::Exists(key("/a")))
        .when(Condition::ValueIs(key("/a"), (*b"yours").into()))
        .when(Condition::Exists(key("/b")))
        .put(&key("/c"), *b"1")
        .delete(&key("/a"));
    let conflict = match store.commit(transaction).await.unwrap() {
        Outcome::Conflict(conflict) => conflict,
        outcome @ Outcome::Committed { .. } => panic!("{outcome:?}"),
    };
    assert_eq!(conflict.index, 1);
    assert_eq!(conflict.condition.key(), &key("/a"));
    assert_eq!(&*conflict.current.unwrap().value, b"mine");
    let all = store.snapshot(&Prefix::root()).await.unwrap();
    assert_eq!((all.revision, all.entries.len()), (Revision(1), 1));
}

pub(crate) async fn delete_below_removes_a_subtree_and_nothing_else(store: Arc<dyn Store>) {
    for path in ["/op/1", "/op/1/a", "/op/1/b/c", "/op/10", "/op/2/a"] {
        put(&*store, path, "").await;
    }
    let both = Transaction::new()
        .delete_below(&prefix("/op/1"))
        .delete_below(&prefix("/op/1/b"))
        .put(&key("/done"), *b"");
    assert_eq!(commit(&*store, both).await, Revision(6));
    let all = store.snapshot(&Prefix::root()).await.unwrap();
    let keys: Vec<String> = all.entries.iter().map(|e| e.key.to_string()).collect();
    assert_eq!(keys, ["/done", "/op/1", "/op/10", "/op/2/a"]);
}

pub(crate) async fn no_increment_by_compare_and_swap_is_lost(store: Arc<dyn Store>) {
    const TASKS: u64 = 8;
    const EACH: u64 = 25;
    let counter = key("/counter");
    put(&*store, counter.as_str(), "0").await;
    let increment = async |store: Arc<dyn Store>, task: u64| {
        let counter = key("/counter");
        let mut conflicts = 0_u64;
        for _ in 0..EACH {
            loop {
                let entry = store.get(&counter).await.unwrap().unwrap();
                let value: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let next = (value + 1).to_string().into_bytes();
                let transaction = Transaction::new()
                    .when(Condition::ModifiedAt(counter.clone(), entry.modified))
                    .put(&counter, next)
                    .put(
                        &key("/last").indexed(value).unwrap(),
                        task.to_string().into_bytes(),
                    );
                match store.commit(transaction).await.unwrap() {
                    Outcome::Committed { .. } => break,
                    Outcome::Conflict(conflict) => {
                        // What stands against it is newer than what was read.
                        assert!(conflict.current.unwrap().modified > entry.modified);
                        conflicts += 1;
                    }
                }
            }
        }
        conflicts
    };
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move { increment(store, task).await });
    }
    tasks.join_all().await;
    let entry = store.get(&counter).await.unwrap().unwrap();
    let total = TASKS * EACH;
    assert_eq!(&*entry.value, total.to_string().as_bytes());
    assert_eq!(store.revision().await.unwrap(), Revision(total + 1));
    let marks = store.range(&prefix("/last"), PageRequest::first()).await;
    assert_eq!(marks.unwrap().entries.len() as u64, total);
}

pub(crate) async fn transactions_over_a_limit_are_refused_whole(store: Arc<dyn Store>) {
    let numbered = |number: usize| key("/n").indexed(number as u64).unwrap();
    let mut writes = Transaction::new();
    let mut conditions = Transaction::new().put(&key("/a"), *b"");
    for number in 0..=limits::MAX_OPS {
        writes = writes.put(&numbered(number), *b"");
        conditions = conditions.when(Condition::Absent(numbered(number)));
    }
    let large = Transaction::new().put(&key("/a"), vec![0; limits::MAX_BYTES]);
    let invalid = async |transaction: Transaction| {
        let error = store.commit(transaction).await.unwrap_err();
        assert_eq!(error.class(), Class::Terminal);
        match error {
            CommitError::NotCommitted(Error::Invalid(invalid)) => invalid,
            other => panic!("{other:?}"),
        }
    };
    let ops = limits::MAX_OPS + 1;
    assert_eq!(
        invalid(writes).await,
        InvalidTransaction::TooManyOps { ops }
    );
    assert_eq!(
        invalid(conditions).await,
        InvalidTransaction::TooManyOps { ops }
    );
    assert!(matches!(
        invalid(large).await,
        InvalidTransaction::TooLarge { .. }
    ));
    assert_eq!(store.revision().await.unwrap(), Revision(0));
}

pub(crate) async fn transactions_at_the_limits_are_accepted(store: Arc<dyn Store>) {
    let numbered = |number: usize| key("/n").indexed(number as u64).unwrap();
    let mut many = Transaction::new();
    for number in 0..limits::MAX_OPS {
        many = many
            .when(Condition::Absent(numbered(number)))
            .put(&numbered(number), *b"");
    }
    assert_eq!(commit(&*store, many).await, Revision(1));

    let empty = Transaction::new().put(&key("/a"), *b"");
    let room = limits::MAX_BYTES - empty.bytes();
    let large = Transaction::new().put(&key("/a"), vec![7; room]);
    assert_eq!(large.bytes(), limits::MAX_BYTES);
    commit(&*store, large).await;
    let entry = store.get(&key("/a")).await.unwrap().unwrap();
    assert_eq!(entry.value.len(), room);
    assert!(entry.value.iter().all(|byte| *byte == 7));
}

pub(crate) async fn a_key_written_twice_in_one_transaction_is_refused(store: Arc<dyn Store>) {
    let new = Transaction::new;
    let a = key("/op/1");
    let refused = [
        new().put(&a, *b"1").put(&a, *b"2"),
        new().put(&a, *b"1").delete(&a),
        new().delete_below(&prefix("/op")).put(&a, *b"1"),
        new().delete(&a).delete_below(&prefix("/op")),
    ];
    for transaction in refused {
        let error = store.commit(transaction.clone()).await.unwrap_err();
        let expected = InvalidTransaction::WrittenTwice { key: a.clone() };
        assert!(
            matches!(&error, CommitError::NotCommitted(Error::Invalid(i)) if *i == expected),
            "{transaction:?}: {error:?}"
        );
    }
    assert_eq!(store.revision().await.unwrap(), Revision(0));
}
