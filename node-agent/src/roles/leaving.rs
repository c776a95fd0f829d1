//! What a primary does before it gives its role back in order, while its clients still write: what makes its stop short.
//!
//! A server that shuts down writes what it has changed in memory to its disk first, and nobody takes writes meanwhile. So a word to give
//! the role back is obeyed when that was just done. The word is repeated for as long as it holds: what is not wanted any more by
//! then ends nothing.

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::lease::Clock;
use interlock_model::action::Part;
use interlock_model::lease::Epoch;

use super::clock;
use super::input::Order;
use super::seat::{Seat, Shell};

/// For how long what was done is of use: what is written meanwhile has to be written to the disk at the stop. Longer where the word
/// is repeated more seldom, which it is with every renewal.
const FRESH: Duration = Duration::from_secs(5);

/// A stop was prepared, or is being.
#[derive(Debug)]
pub(super) struct Prepared {
    epoch: Epoch,
    /// Since when it is.
    done: Option<Clock>,
}

impl Seat {
    /// May the role be given back now? Else what is to be done before was begun.
    pub(super) fn is_prepared(&mut self, epoch: Epoch, shell: &Shell) -> bool {
        let is_slow = self
            .leased
            .parts
            .iter()
            .any(|part| part.postgres().is_some());
        let stops = self.holder.is_primary() && self.work.is_none() && self.epoch() == epoch;
        if !is_slow || !stops {
            return true;
        }
        let known = self.prepared.as_ref().filter(|it| it.epoch == epoch);
        match known.map(|it| it.done) {
            Some(None) => return false,
            Some(Some(done)) if clock::read().longest_since(done) < self.fresh() => return true,
            Some(Some(_)) | None => {}
        }
        let parts: Arc<[Part]> = Arc::clone(&self.leased.parts);
        let order = Order::Prepare(self.service.clone(), parts);
        if shell.works.send(order).is_err() {
            return true;
        }
        self.prepared = Some(Prepared { epoch, done: None });
        false
    }

    fn fresh(&self) -> Duration {
        let period = self
            .holder
            .tenure()
            .map(|tenure| tenure.terms().timings.renewal());
        period.map_or(FRESH, |period| FRESH.max(period * 2))
    }

    /// What could be done is done.
    pub(super) fn prepared(&mut self) {
        if let Some(prepared) = &mut self.prepared {
            prepared.done = Some(clock::read());
        }
    }
}

#[cfg(test)]
mod tests {
    use interlock_engine::lease::holder::Event;

    use super::super::force::tests::{primary, shell};
    use super::*;
    use crate::roles::Task;

    #[test]
    fn a_word_to_give_the_role_back_is_obeyed_once_its_stop_is_prepared_and_if_it_still_comes() {
        let (mut shell, mut orders) = shell();
        let mut seat = primary(&mut shell);
        let release = |seat: &mut Seat, shell: &mut Shell| {
            seat.hear(Event::Release(Epoch(3)), shell);
            seat.holder.is_primary()
        };
        assert!(release(&mut seat, &mut shell), "it goes on meanwhile");
        assert!(matches!(orders.try_recv(), Ok(Order::Prepare(..))));
        assert!(release(&mut seat, &mut shell));
        assert!(orders.try_recv().is_err(), "it is prepared once");
        seat.prepared();
        assert!(seat.holder.is_primary(), "nobody has asked since");
        assert!(!release(&mut seat, &mut shell));
        let stop = orders.try_recv();
        assert!(
            matches!(&stop, Ok(Order::Work(work)) if work.task == Task::Stop),
            "{stop:?}"
        );
    }

    #[test]
    fn what_was_prepared_long_ago_is_prepared_once_more() {
        let (mut shell, mut orders) = shell();
        let mut seat = primary(&mut shell);
        seat.prepared = Some(Prepared {
            epoch: Epoch(3),
            done: Some(Clock::default()),
        });
        seat.hear(Event::Release(Epoch(3)), &mut shell);
        assert!(seat.holder.is_primary());
        assert!(matches!(orders.try_recv(), Ok(Order::Prepare(..))));
    }
}
