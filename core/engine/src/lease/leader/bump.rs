//! The bump: one transaction that begins the next epoch (safety rules E3, E9, E18).

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::ids::OperationId;
use interlock_model::lease::{Epoch, Holder as Member, Synchrony, Terms};
use interlock_model::names::{NodeName, ServiceName};

use super::event::Holding;
use super::reading::Reading;
use crate::lease::record::Data;
use crate::lease::{
    Change, Condition, Excluded, HandOver, LeaseRecord, Reason, Safeguards, Transaction,
};

/// In whose name an epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Automatic failover: takes the service's claim with it.
    Failover,
    /// An operation that holds the service already, and must still hold it.
    Operation(OperationId),
}

/// What a bump is written from.
pub(super) struct Draft<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) incarnation: &'a str,
    /// Of the next epoch.
    pub(super) terms: &'a Terms,
    pub(super) reading: &'a Reading,
    /// What each node has said to have seen.
    pub(super) witnessed: BTreeMap<NodeName, Epoch>,
}

impl Draft<'_> {
    /// Begins the next epoch; `returned` is the operation that wanted it elsewhere.
    pub(super) fn bump(
        self,
        excluded: Excluded,
        to: Member,
        cause: Cause,
        returned: Option<OperationId>,
    ) -> Transaction {
        let epoch = excluded.next();
        let earlier = self.reading.record();
        let mut witnessed = earlier.map_or_else(BTreeMap::new, |record| record.witnessed.clone());
        for (node, seen) in self.witnessed {
            let known = witnessed.entry(node).or_default();
            *known = seen.max(*known);
        }
        let record = LeaseRecord {
            service: self.service.clone(),
            incarnation: self.incarnation.to_owned(),
            epoch,
            holder: Some(to),
            terms: self.terms.clone(),
            safeguards: Safeguards::default(),
            // What the last primary promised is still what candidates are measured by, until the new one has renewed.
            data: earlier.map_or_else(Data::default, |record| record.data.clone()),
            inherited: None,
            renewed: None,
            witnessed,
            quarantined: earlier.map_or_else(BTreeSet::new, |record| record.quarantined.clone()),
            exclusions: excluded.into_notes(),
            // Owed until somebody has taken it up.
            hand_over: earlier
                .filter(|record| record.is_owed())
                .and_then(|record| record.hand_over.clone()),
            proven: earlier.and_then(LeaseRecord::proven_terms).cloned(),
            returned,
        };
        let conditions = [
            Condition::Leading,
            Condition::Revision(self.reading.revision()),
        ];
        let change = Change::Record(Box::new(record));
        match cause {
            Cause::Failover => Transaction::new(
                conditions.into_iter().chain([Condition::NoOperation]),
                [change, Change::Claim(epoch)],
            ),
            Cause::Operation(id) => Transaction::new(
                conditions.into_iter().chain([Condition::Operation(id)]),
                [change],
            ),
        }
    }

    /// Writes down what the one holder says that it holds, after the store went back (E11). No new epoch: nothing of the
    /// holder's right changes, and the highest epoch that anybody has seen is its own.
    pub(super) fn record_again(
        self,
        holder: &Member,
        holding: &Holding,
        excluded: Excluded,
    ) -> Transaction {
        let earlier = self.reading.record();
        let mut exclusions = excluded.into_notes();
        exclusions.remove(&holding.epoch);
        let record = LeaseRecord {
            service: self.service.clone(),
            incarnation: self.incarnation.to_owned(),
            epoch: holding.epoch,
            holder: Some(holder.clone()),
            terms: self.terms.clone(),
            safeguards: holding.safeguards,
            data: Data {
                epoch: holding.epoch,
                synchrony: holding.synchrony.clone(),
                position: None,
                ended_at: None,
                owed: None,
            },
            inherited: None,
            renewed: Some(holding.renewed),
            witnessed: self.witnessed,
            quarantined: earlier.map_or_else(BTreeSet::new, |record| record.quarantined.clone()),
            exclusions,
            hand_over: None,
            proven: None,
            returned: None,
        };
        Transaction::new(
            [
                Condition::Leading,
                Condition::Revision(self.reading.revision()),
            ],
            [Change::Record(Box::new(record))],
        )
    }
}

/// Writes down what nodes have said to have seen; none if that is in the record.
pub(super) fn witness(
    reading: &Reading,
    record: &LeaseRecord,
    witnessed: &BTreeMap<NodeName, Epoch>,
) -> Option<Transaction> {
    let known = |node: &NodeName| record.witnessed.get(node).copied().unwrap_or_default();
    let mut more = witnessed
        .iter()
        .filter(|(node, seen)| record.terms().members.contains(*node) && **seen > known(node))
        .peekable();
    more.peek()?;
    let mut next = record.clone();
    next.witnessed
        .extend(more.map(|(node, seen)| (node.clone(), *seen)));
    Some(Transaction::new(
        [Condition::Leading, Condition::Revision(reading.revision())],
        [Change::Record(Box::new(next))],
    ))
}

/// Writes down that the holder is asked to give the role back, or is not any more.
pub(super) fn hand_over(
    reading: &Reading,
    record: &LeaseRecord,
    hand_over: Option<HandOver>,
) -> Transaction {
    let held_by = hand_over.as_ref().map(|it| match it.why {
        Reason::Operation(id) => Condition::Operation(id),
        Reason::Unlinked(_) => Condition::NoOperation,
    });
    let record = LeaseRecord {
        hand_over,
        ..record.clone()
    };
    let conditions = [Condition::Leading, Condition::Revision(reading.revision())];
    Transaction::new(
        conditions.into_iter().chain(held_by),
        [Change::Record(Box::new(record))],
    )
}

/// Takes a node into quarantine, or out of it.
pub(super) fn quarantine(
    reading: &Reading,
    node: &NodeName,
    seen: Option<Epoch>,
) -> Option<Transaction> {
    let mut record = reading.record()?.clone();
    match seen {
        None => {
            record.quarantined.insert(node.clone());
            // What writes have waited for is not on its disk any more.
            let inherited = record.inherited.iter_mut().map(|data| &mut data.synchrony);
            for synchrony in inherited.chain([&mut record.data.synchrony]) {
                if let Synchrony::With(nodes) = synchrony {
                    nodes.remove(node);
                }
            }
        }
        Some(seen) => {
            record.quarantined.remove(node);
            record.witnessed.insert(node.clone(), seen);
        }
    }
    Some(Transaction::new(
        [Condition::Leading, Condition::Revision(reading.revision())],
        [Change::Record(Box::new(record))],
    ))
}
