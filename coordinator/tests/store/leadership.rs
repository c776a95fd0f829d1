//! Leadership over any store: `suite!(Fixture)` makes a test of each case, as [`conformance`](crate::conformance) does.
//!
//! Seen to fail on each store with: a guard that holds for a leader that was replaced; a term that is not stored, or goes with
//! the leader that resigns; one that wraps; a foreign value that is taken for a term.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use interlock_coordinator::leadership::{
    Candidate, Error, Leader, Leadership, Leading, Sole, leader_key, term_key,
};
use interlock_coordinator::store::{Class, Outcome, Store, Transaction};
use interlock_model::ids::Term;
use uuid::Uuid;

use crate::conformance::{Fixture, commit, key};
use crate::embedded;

/// Every case, as tests over one fixture.
macro_rules! suite {
    ($fixture:ty) => {
        $crate::leadership::suite! { @tests $fixture;
            each_start_of_a_process_leads_with_the_next_term,
            a_term_is_not_given_out_again_after_its_leader_resigned,
            only_the_latest_leader_decides_and_the_earlier_one_is_told,
            concurrent_campaigns_get_different_terms_and_one_winner,
            a_term_is_raised_above_what_agents_have_seen_and_stays_above,
            the_term_never_wraps,
            an_observer_sees_every_leader_and_the_lack_of_one,
            a_foreign_value_in_the_term_key_is_refused,
        }
    };
    (@tests $fixture:ty; $($case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let Some(bench) = $crate::leadership::Bench::<$fixture>::new().await else { return };
            $crate::leadership::$case(bench).await;
        }
    )*};
}
pub(crate) use suite;

/// A store, and leadership over it.
pub(crate) struct Bench<F> {
    fixture: F,
    store: Arc<dyn Store>,
    leadership: Sole,
}

impl<F: Fixture> Bench<F> {
    /// Over an empty store; none if this machine lacks something.
    pub(crate) async fn new() -> Option<Self> {
        F::new().await.map(Self::on)
    }

    fn on(fixture: F) -> Self {
        let store = fixture.store();
        let leadership = Sole::new(store.clone());
        Self {
            fixture,
            store,
            leadership,
        }
    }

    /// The same store in a next process.
    async fn restart(self) -> Self {
        Self::on(self.fixture.reopened().await)
    }

    async fn campaign(&self) -> Leading {
        self.leadership.campaign(candidate()).await.unwrap()
    }

    /// Whether `leading` can decide.
    async fn decides(&self, leading: &Leading) -> bool {
        let decision = Transaction::new()
            .when(leading.guard())
            .put(&key("/decision"), *b"x");
        let outcome = self.store.commit(decision).await.unwrap();
        matches!(outcome, Outcome::Committed { .. })
    }
}

fn candidate() -> Candidate {
    Candidate {
        coordinator: "mgmt1".to_owned(),
        process: Uuid::new_v4(),
    }
}

pub(crate) async fn each_start_of_a_process_leads_with_the_next_term<F: Fixture>(
    mut bench: Bench<F>,
) {
    for term in 1..=4 {
        let leading = bench.campaign().await;
        assert_eq!(leading.term(), Term(term));
        assert!(bench.decides(&leading).await);
        bench = bench.restart().await;
    }
}

pub(crate) async fn a_term_is_not_given_out_again_after_its_leader_resigned<F: Fixture>(
    bench: Bench<F>,
) {
    let first = bench.campaign().await;
    bench.leadership.resign(&first).await.unwrap();
    first.lost().await;
    assert!(!bench.decides(&first).await);
    let again = bench.leadership.resign(&first).await.unwrap_err();
    assert!(matches!(again, Error::Lost), "{again:?}");
    let bench = bench.restart().await;
    assert_eq!(bench.campaign().await.term(), Term(2));
}

pub(crate) async fn only_the_latest_leader_decides_and_the_earlier_one_is_told<F: Fixture>(
    bench: Bench<F>,
) {
    let first = bench.campaign().await;
    assert!(first.lost().now_or_never().is_none() && !first.is_lost());
    let second = bench.campaign().await;
    first.lost().await;
    assert!(first.is_lost() && !second.is_lost());
    assert!(!bench.decides(&first).await);
    assert!(bench.decides(&second).await);
}

pub(crate) async fn concurrent_campaigns_get_different_terms_and_one_winner<F: Fixture>(
    bench: Bench<F>,
) {
    let campaigns = (0..8).map(|_| bench.campaign());
    let mut all = futures_util::future::join_all(campaigns).await;
    all.sort_by_key(Leading::term);
    let terms: Vec<u64> = all.iter().map(|leading| leading.term().0).collect();
    assert_eq!(terms, [1, 2, 3, 4, 5, 6, 7, 8]);
    let mut deciding = 0;
    for leading in &all {
        deciding += u32::from(bench.decides(leading).await);
    }
    assert_eq!(deciding, 1);
    assert!(bench.decides(&all[7]).await);
}

pub(crate) async fn a_term_is_raised_above_what_agents_have_seen_and_stays_above<F: Fixture>(
    bench: Bench<F>,
) {
    let first = bench.campaign().await;
    // Nobody is ahead: nothing changes.
    let same = bench
        .leadership
        .raise_term_above(&first, Term(0))
        .await
        .unwrap();
    assert_eq!((same.term(), same.guard()), (first.term(), first.guard()));

    let raised = bench
        .leadership
        .raise_term_above(&first, Term(41))
        .await
        .unwrap();
    assert_eq!(raised.term(), Term(42));
    assert_eq!(raised.leader().process, first.leader().process);
    first.lost().await;
    assert!(!bench.decides(&first).await);
    assert!(bench.decides(&raised).await);
    let late = bench
        .leadership
        .raise_term_above(&first, Term(50))
        .await
        .unwrap_err();
    assert!(matches!(late, Error::Lost), "{late:?}");

    let bench = bench.restart().await;
    assert_eq!(bench.campaign().await.term(), Term(43));
}

pub(crate) async fn the_term_never_wraps<F: Fixture>(bench: Bench<F>) {
    let leading = bench.campaign().await;
    let seen = Term(u64::MAX);
    let error = bench
        .leadership
        .raise_term_above(&leading, seen)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoTermLeft { .. }), "{error:?}");
    assert!(bench.decides(&leading).await);
}

pub(crate) async fn an_observer_sees_every_leader_and_the_lack_of_one<F: Fixture>(bench: Bench<F>) {
    let mut leaders = bench.leadership.observe().await.unwrap();
    assert_eq!(leaders.next().await, Some(None));
    let term = |leader: Option<Option<Leader>>| leader.unwrap().map(|l| (l.coordinator, l.term.0));
    let first = bench.campaign().await;
    assert_eq!(term(leaders.next().await), Some(("mgmt1".to_owned(), 1)));
    bench
        .leadership
        .raise_term_above(&first, Term(6))
        .await
        .unwrap();
    assert_eq!(term(leaders.next().await), Some(("mgmt1".to_owned(), 7)));
    let second = bench.campaign().await;
    assert_eq!(term(leaders.next().await), Some(("mgmt1".to_owned(), 8)));
    bench.leadership.resign(&second).await.unwrap();
    assert_eq!(leaders.next().await, Some(None));
    bench.fixture.close().await;
    assert_eq!(leaders.next().await, None);
    // A closed store is a lost leadership as well.
    second.lost().await;
}

#[tokio::test]
async fn a_leader_that_was_too_slow_to_watch_still_learns_whether_it_leads() {
    let bench = Bench::<embedded::Fixture>::new().await.unwrap();
    let leading = bench.campaign().await;
    // The backlog is filled before the watching task gets to run: this test has one thread.
    for _ in 0..40 {
        let large = Transaction::new().put(&key("/control/x"), vec![0; 1024 * 1024]);
        commit(&*bench.store, large).await;
    }
    assert!(!leading.is_lost());
    bench.campaign().await;
    leading.lost().await;
}

pub(crate) async fn a_foreign_value_in_the_term_key_is_refused<F: Fixture>(bench: Bench<F>) {
    for (at, value) in [(term_key(), &b"seven"[..]), (term_key(), b"\xff")] {
        commit(&*bench.store, Transaction::new().put(&at, value)).await;
        let error = bench.leadership.campaign(candidate()).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
        assert_eq!(error.class(), Class::Terminal);
    }
    assert!(bench.store.get(&leader_key()).await.unwrap().is_none());
}
