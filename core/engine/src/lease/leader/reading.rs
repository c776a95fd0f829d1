//! What the leader has read, and since when it counts (safety rule E3).

use interlock_model::lease::{ControlLoss, Epoch, Holder as Member};
use interlock_model::names::NodeName;

use crate::lease::{Clock, LeaseRecord, Stored};

/// The last own linearizable reading of the record.
///
/// A revision is counted from when it was first read: the renewal that wrote it was sent before. A revision that moved is
/// counted anew.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    stored: Stored,
    since: Clock,
    holder_since: Clock,
    /// When the last renewal in it was read first, if this leader has seen it come; what was there before it looked may be
    /// of any age. Other changes of the record say nothing new of the data.
    renewed_since: Option<Clock>,
    at: Clock,
}

impl Reading {
    /// The reading that follows `earlier`.
    pub(super) fn next(earlier: Option<&Self>, stored: Stored, now: Clock) -> Self {
        let same = earlier.filter(|earlier| earlier.stored.revision() == stored.revision());
        let since = same.map_or(now, |earlier| earlier.since);
        let holds = |stored: &Stored| -> Option<(Epoch, Option<Member>)> {
            let (record, _) = stored.record.as_ref()?;
            Some((record.epoch(), record.holder().cloned()))
        };
        let held = earlier.filter(|earlier| holds(&earlier.stored) == holds(&stored));
        let holder_since = held.map_or(now, |earlier| earlier.holder_since);
        let renewed = |stored: &Stored| {
            let (record, _) = stored.record.as_ref()?;
            Some((record.epoch(), record.renewed))
        };
        let renewed_since = earlier.and_then(|earlier| {
            if renewed(&earlier.stored) == renewed(&stored) {
                earlier.renewed_since
            } else {
                Some(now)
            }
        });
        Self {
            stored,
            since,
            holder_since,
            renewed_since,
            at: now,
        }
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.stored
    }

    pub(super) fn record(&self) -> Option<&LeaseRecord> {
        self.stored.record.as_ref().map(|(record, _)| record)
    }

    pub(super) fn revision(&self) -> u64 {
        self.stored.revision()
    }

    /// When this revision was read first.
    pub(super) fn since(&self) -> Clock {
        self.since
    }

    /// When the last renewal was read first, if this leader has seen it come.
    pub(super) fn renewed_since(&self) -> Option<Clock> {
        self.renewed_since
    }

    /// Since when this leader knows that this holder has this epoch.
    pub(super) fn holder_since(&self) -> Clock {
        self.holder_since
    }

    /// Is what the record says of the data at most L old? A primary that must renew ends before that; one that goes on
    /// without coordinators does not, and then only a leader that has seen the record change knows its age.
    pub(super) fn is_recent(&self, now: Clock) -> bool {
        self.record().is_some_and(|record| {
            let terms = record.terms();
            let bound = terms.on_control_loss == ControlLoss::Demote;
            let young = |since| now.longest_since(since) < terms.timings.life();
            bound || self.renewed_since.is_some_and(young)
        })
    }

    /// When it was read last.
    pub(super) fn at(&self) -> Clock {
        self.at
    }

    /// Is this node, in whatever boot, the current holder?
    pub(super) fn is_held_by(&self, node: &NodeName) -> bool {
        self.record()
            .and_then(LeaseRecord::holder)
            .is_some_and(|holder| holder.node == *node)
    }
}
