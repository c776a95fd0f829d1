//! The claim of automatic failover, in the engine and in the store (safety rule E18).
//!
//! The claim of an operation is the operation, and it is known to the engine of the process that leads; no key stands for
//! it. So a bump cannot be conditional on its absence, and is not: before it is committed the engine is asked to *take* the
//! service, and from then on begins no operation on it, until the claim is given back. Both questions go to one task, so
//! one of the two comes first. There is one leading process in a term, and a bump of an earlier one fails by its guard.
//!
//! The claim is in the store too, written with the bump. That is for the next process: it takes what it finds before it
//! serves anybody.
//!
//! Nothing that may still be written is given back: after a bump of which nobody knows whether it was committed, the engine
//! keeps the claim until the record has moved on, for then that bump cannot be committed any more.

use interlock_engine::coordinator::{Coordinator, Write};
use interlock_engine::lease::{HandOver, Stored};
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::time::Timestamp;

use super::Leases;
use super::book;
use crate::clock;

/// What the engine has of one service.
#[derive(Debug)]
pub(super) struct Claim {
    leases: Leases,
    service: ServiceName,
    /// What the engine has; the outer none: nobody knows.
    taken: Option<Option<Epoch>>,
    /// What the engine counts with of a role that is being given back; the outer none: nobody knows.
    reserved: Option<Option<(Epoch, Timestamp)>>,
    /// The revision of the record on which a bump was conditional that may yet be committed.
    unsettled: Option<u64>,
}

/// Takes a service in the engine.
///
/// # Errors
/// Why it was not taken.
pub(super) async fn take(
    leases: &Leases,
    service: &ServiceName,
    epoch: Epoch,
    node: NodeName,
) -> Result<(), String> {
    let service = service.clone();
    let taken = leases
        .driver()
        .call(move |desk| desk.coordinator.failover_takes(&service, epoch, &node));
    match taken.await {
        Ok(taken) => taken.map_err(|held| held.to_string()),
        Err(not_done) => Err(not_done.to_string()),
    }
}

/// Takes a service in the engine in order to begin an epoch, if nobody wants it or these nodes, whose role it is or will be, left
/// alone, and no budget is spent: one word to the engine, so that what is entered before is obeyed. But a role that its holder was
/// asked for is `owed`: nobody has it, and rest that was entered since, or a budget that was spent since, would keep it so.
/// Returns what is to be written with the bump, so that it counts; the first epoch of all moves nothing, nor one that goes to
/// where the role was, and what a person had ordered does not count.
///
/// # Errors
/// Why it was not taken.
pub(super) async fn begin(
    leases: &Leases,
    service: &ServiceName,
    epoch: Epoch,
    node: NodeName,
    from: Option<NodeName>,
    owed: Option<HandOver>,
) -> Result<Option<Write>, String> {
    let service = service.clone();
    let begun = leases.driver().call(move |desk| {
        let nodes = from.iter().chain([&node]);
        let now = clock::now();
        if let Some(maintenance) = desk.coordinator.rests(&service, nodes)
            && owed.is_none()
        {
            return Err(maintenance.to_string());
        }
        if moves(from.as_ref(), &node) && owed.is_none() {
            let may = desk.coordinator.may_fail_over(&service, now);
            may.map_err(|block| block.to_string())?;
        }
        let taken = desk.coordinator.failover_takes(&service, epoch, &node);
        taken.map_err(|held| held.to_string())?;
        let written = || desk.coordinator.failover_counts(&service, now);
        Ok(counts(from.as_ref(), &node, owed.as_ref()).then(written))
    });
    begun
        .await
        .unwrap_or_else(|not_done| Err(not_done.to_string()))
}

/// May a primary that is well be asked to give its role back, so that it moves by itself? Asked before that is written down: what
/// is entered, held or spent by then is obeyed, and what is asked for here counts until it has moved.
///
/// # Errors
/// Why it may not.
pub(super) async fn may_ask_back(
    leases: &Leases,
    service: &ServiceName,
    from: &NodeName,
    epoch: Epoch,
) -> Result<(), String> {
    let (service, from) = (service.clone(), from.clone());
    let may = leases.driver().call(move |desk| {
        is_left_alone(&desk.coordinator, &service, &from)?;
        let asked = desk
            .coordinator
            .failover_is_prepared(&service, epoch, clock::now());
        asked.map_err(|block| block.to_string())
    });
    may.await
        .unwrap_or_else(|not_done| Err(not_done.to_string()))
}

/// May it be told so, once that is written down? What was entered or begun since is obeyed.
///
/// # Errors
/// Why it may not.
pub(super) async fn may_be_told(
    leases: &Leases,
    service: &ServiceName,
    from: &NodeName,
) -> Result<(), String> {
    let (service, from) = (service.clone(), from.clone());
    let may = leases
        .driver()
        .call(move |desk| is_left_alone(&desk.coordinator, &service, &from));
    may.await
        .unwrap_or_else(|not_done| Err(not_done.to_string()))
}

fn is_left_alone(
    coordinator: &Coordinator,
    service: &ServiceName,
    from: &NodeName,
) -> Result<(), String> {
    if let Some(maintenance) = coordinator.rests(service, [from]) {
        return Err(maintenance.to_string());
    }
    match coordinator.is_held(service) {
        Some(holder) => Err(format!("{service} is held by {holder}")),
        None => Ok(()),
    }
}

/// Has the engine count with a role that is being given back by itself, if the record says that one is.
pub(super) async fn reserve(leases: &Leases, service: &ServiceName, stored: &Stored) -> bool {
    let (service, reserved) = (service.clone(), reserved(stored, clock::now().wall));
    let told = leases.driver().call(move |desk| {
        desk.coordinator.failover_is_under_way(&service, reserved);
    });
    told.await.is_ok()
}

/// The epoch that is being given back by itself, and since when.
fn reserved(stored: &Stored, now: Timestamp) -> Option<(Epoch, Timestamp)> {
    let (record, _) = stored.record.as_ref()?;
    let hand_over = record.hand_over().filter(|it| it.why.is_automatic())?;
    // Once the next epoch has begun it is counted.
    let is_counted = record.holder().is_some() && !record.is_held();
    let is_forgotten = record.holder().is_none() && is_long_ago(hand_over, now);
    (!is_counted && !is_forgotten).then(|| (record.epoch(), hand_over.since))
}

/// Others wait for a role that was given back no longer than the stop and a start may take: where nobody can take it up it may be
/// owed for days.
fn is_long_ago(hand_over: &HandOver, now: Timestamp) -> bool {
    let limit = u64::try_from((hand_over.within * 2).as_millis()).unwrap_or(u64::MAX);
    now.0.saturating_sub(hand_over.since.0) >= limit
}

/// Does the role go to another node than it was on last?
pub(super) fn moves(from: Option<&NodeName>, to: &NodeName) -> bool {
    from.is_some_and(|from| from != to)
}

/// Does that count against the budget? Not where a person had ordered it.
pub(super) fn counts(from: Option<&NodeName>, to: &NodeName, owed: Option<&HandOver>) -> bool {
    moves(from, to) && owed.is_none_or(|owed| owed.why.is_automatic())
}

impl Claim {
    pub(super) fn new(leases: Leases, service: ServiceName) -> Self {
        Self {
            leases,
            service,
            taken: None,
            reserved: None,
            unsettled: None,
        }
    }

    /// The engine may count with a role that is being given back.
    pub(super) fn may_be_reserved(&mut self) {
        self.reserved = None;
    }

    /// The claim was written, and the engine has it.
    pub(super) fn is_taken(&mut self, epoch: Epoch) {
        self.taken = Some(Some(epoch));
        self.unsettled = None;
    }

    /// A bump of automatic failover was committed, or may have been: it counts against the budget, but for the first epoch.
    pub(super) async fn counts(&self) {
        let service = self.service.clone();
        let counted = self.leases.driver().call(move |desk| {
            desk.coordinator.failover_counted(&service, clock::now());
        });
        // A driver that has ended counts by what was written.
        drop(counted.await);
    }

    /// The claim was not written; whether the engine took it does not matter any more.
    pub(super) fn is_uncertain(&mut self) {
        self.taken = None;
    }

    /// The claim may have been written, or may be yet, as long as the record is as of this revision.
    pub(super) fn may_be_written(&mut self, epoch: Epoch, revision: u64) {
        self.taken = Some(Some(epoch));
        self.unsettled = Some(revision);
    }

    /// Makes the engine have what the store says. A failover that is not automatic any more keeps nobody off: its bump is
    /// written, and whether the new holder takes it up is nothing that an operation could disturb.
    pub(super) async fn align(&mut self, stored: &Stored, automatic: bool) {
        let reserved = Some(reserved(stored, clock::now().wall));
        if self.reserved != reserved && reserve(&self.leases, &self.service, stored).await {
            self.reserved = reserved;
        }
        self.unsettled.take_if(|at| *at != stored.revision());
        if self.unsettled.is_some() {
            return;
        }
        let incarnation = self.leases.book().incarnation();
        let wanted = book::claim(stored, &incarnation).filter(|_| automatic);
        let epoch = wanted.map(|(epoch, _)| epoch);
        if self.taken == Some(epoch) {
            return;
        }
        match wanted {
            None => self.give_back().await,
            Some((epoch, node)) => {
                // An operation that holds it now began after the claim was given up.
                if take(&self.leases, &self.service, epoch, node.clone())
                    .await
                    .is_ok()
                {
                    self.is_taken(epoch);
                }
            }
        }
    }

    /// The service is leased no more.
    pub(super) async fn end(&mut self) {
        reserve(&self.leases, &self.service, &Stored::default()).await;
        self.give_back().await;
    }

    /// Gives the service back.
    pub(super) async fn give_back(&mut self) {
        let service = self.service.clone();
        let given = self
            .leases
            .driver()
            .call(move |desk| desk.coordinator.failover_gives_back(&service));
        if given.await.is_ok() {
            self.taken = Some(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use interlock_engine::lease::Reason;

    use super::*;

    #[test]
    fn others_wait_for_what_was_given_back_as_long_as_a_stop_and_a_start_may_take() {
        let hand_over = HandOver {
            to: "db2".parse().unwrap(),
            why: Reason::Unlinked("eth0 has no carrier".to_owned()),
            since: Timestamp(1000),
            within: Duration::from_secs(60),
        };
        assert!(!is_long_ago(&hand_over, Timestamp(120_999)));
        assert!(is_long_ago(&hand_over, Timestamp(121_000)));
        assert!(!is_long_ago(&hand_over, Timestamp(10)), "a clock went back");
    }

    #[test]
    fn only_a_role_that_goes_to_another_node_counts() {
        let (one, two): (NodeName, NodeName) = ("db1".parse().unwrap(), "db2".parse().unwrap());
        assert!(moves(Some(&one), &two));
        assert!(!moves(Some(&one), &one));
        assert!(!moves(None, &one), "the first epoch of all");
    }
}
