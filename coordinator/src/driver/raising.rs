//! Raising the term above one that an agent remembers (safety rule E11).
//!
//! An agent that remembers a term that this store never gave knew another store, or this one before it was restored from
//! a backup. It would refuse everything, and so would any other agent that the later leader had spoken to; so the term
//! goes above. That is a write under the guard of the leadership, and ends that guard: no commit may be under way
//! meanwhile, and those that wait go under the new one. It is a state of the driver and not a step of it, because a store
//! that takes no writes at that moment, its disk being full for example, must not keep anybody from being heard or
//! answered. The agent's session is refused until then; it comes again by itself.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use interlock_model::ids::Term;
use tokio::time::Instant;

use super::commit::{AGAIN, Trouble};
use crate::leadership::{Error, Leadership, Leading};
use crate::store::Class;

/// What is to be raised, and the attempt at it.
#[derive(Default)]
pub(super) struct Raising {
    above: Option<Term>,
    work: Option<Work>,
}

/// An attempt, and when it began.
type Work = (Instant, BoxFuture<'static, Result<Leading, Error>>);

impl fmt::Debug for Raising {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raising")
            .field("above", &self.above)
            .finish_non_exhaustive()
    }
}

impl Raising {
    /// The term must go above this one.
    pub(super) fn wish(&mut self, seen: Term) {
        self.above = self.above.max(Some(seen));
    }

    /// Is there something to raise? Then nothing new is committed.
    pub(super) fn is_wished(&self) -> bool {
        self.above.is_some()
    }

    /// Is it being raised?
    pub(super) fn is_under_way(&self) -> bool {
        self.work.is_some()
    }

    /// Begins, if there is something to raise and no attempt at it. No commit may be under way.
    pub(super) fn begin(
        &mut self,
        leadership: &Arc<dyn Leadership>,
        leading: &Leading,
        trouble: &Trouble,
    ) {
        let (Some(above), None) = (self.above, &self.work) else {
            return;
        };
        let (leadership, leading, trouble) =
            (Arc::clone(leadership), leading.clone(), trouble.clone());
        let raising = async move { raise(&*leadership, &leading, above, &trouble).await };
        self.work = Some((Instant::now(), Box::pin(raising)));
    }

    /// Tells people of an attempt of which nothing is heard.
    pub(super) fn tell_of_silence(&self, trouble: &Trouble) {
        if let Some((began, _)) = self.work {
            trouble.since(began);
        }
    }

    /// Waits for the attempt under way; for ever if there is none.
    pub(super) async fn done(&mut self) -> Result<Leading, Error> {
        let result = match &mut self.work {
            Some((_, work)) => work.as_mut().await,
            None => std::future::pending().await,
        };
        self.work = None;
        // A still later one may have been seen meanwhile.
        let raised = result.as_ref().map(Leading::term).ok();
        self.above = self
            .above
            .filter(|above| raised.is_some_and(|term| term <= *above));
        result
    }
}

/// Raises until it is done or cannot be. What is unknown is safe to repeat: the guard tells whether it happened, and
/// then this leadership is over and the process begins anew.
async fn raise(
    leadership: &dyn Leadership,
    leading: &Leading,
    above: Term,
    trouble: &Trouble,
) -> Result<Leading, Error> {
    loop {
        match leadership.raise_term_above(leading, above).await {
            Err(error) if error.class() == Class::Retryable => {
                trouble.is(super::chain(&error));
                tokio::time::sleep(AGAIN).await;
            }
            result => {
                trouble.is_over();
                return result;
            }
        }
    }
}
