//! Exclusion proofs: why an epoch is over, as a value that cannot be made up.
//!
//! [`ExclusionProof`] has no public constructor, cannot be read from anywhere and cannot be cloned. Each of its
//! constructors takes the evidence that its kind rests on and is called by the one place that establishes it. A bump is
//! written from [`Excluded`], and that is made of a proof for *every* earlier epoch (safety rule E9): the notes of all
//! but the last one are in the record already, since they were needed for the bumps before.

use std::collections::BTreeMap;

use interlock_model::lease::{Epoch, Exclusion};

use super::leader::doubt::AllReported;
use super::leader::evidence::{Attested, PoweredOff};
use super::leader::expiry::Expired;
use super::record::LeaseRecord;
use super::renewal::ReleaseReport;

/// Why one epoch is over.
#[derive(Debug, PartialEq, Eq)]
pub struct ExclusionProof {
    epoch: Epoch,
    note: Exclusion,
}

impl ExclusionProof {
    /// The holder itself has said so. Who calls this has compared epoch and holder with the record.
    pub(super) fn released(report: &ReleaseReport) -> Self {
        Self {
            epoch: report.epoch,
            note: Exclusion::Released {
                by: report.holder.clone(),
            },
        }
    }

    /// Its lease ran out.
    pub(super) fn expired(expired: Expired) -> Self {
        let (epoch, holder, revision) = expired.into_parts();
        Self {
            epoch,
            note: Exclusion::Expired { holder, revision },
        }
    }

    /// Its machine is off.
    pub(super) fn fenced(off: &PoweredOff) -> Self {
        Self {
            epoch: off.epoch(),
            note: Exclusion::Fenced {
                node: off.node().clone(),
            },
        }
    }

    /// A person gives their word.
    pub(super) fn attested(word: &Attested) -> Self {
        let (node, by, why) = (word.node.clone(), word.by.clone(), word.why.clone());
        Self {
            epoch: word.epoch,
            note: Exclusion::Attested { node, by, why },
        }
    }

    /// Nobody ever renewed it: replacing exactly this record excludes it.
    pub(super) fn never_held(record: &LeaseRecord) -> Option<Self> {
        (!record.is_held()).then_some(Self {
            epoch: record.epoch,
            note: Exclusion::NeverHeld,
        })
    }

    /// Which epoch is over.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Why, for the record.
    #[must_use]
    pub fn note(&self) -> &Exclusion {
        &self.note
    }

    pub(super) fn into_note(self) -> Exclusion {
        self.note
    }
}

/// Not every earlier epoch is excluded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not excluded")]
pub struct NotExcluded(pub Epoch);

/// Every epoch up to `through` is over, and why each of them is.
#[derive(Debug, PartialEq, Eq)]
pub struct Excluded {
    through: Epoch,
    notes: BTreeMap<Epoch, Exclusion>,
}

impl Excluded {
    /// All epochs of a record are over: the notes in it, and a proof for the current one unless it was released.
    ///
    /// # Errors
    /// The first epoch without one.
    pub fn all_of(
        record: &LeaseRecord,
        proof: Option<ExclusionProof>,
    ) -> Result<Self, NotExcluded> {
        let mut notes = record.exclusions.clone();
        // A note for an epoch that somebody holds would be a contradiction; it proves nothing.
        if record.holder.is_some() {
            notes.remove(&record.epoch);
        }
        if let Some(ExclusionProof { epoch, note }) = proof {
            notes.entry(epoch).or_insert(note);
        }
        let through = record.epoch;
        match through
            .next()
            .earlier()
            .find(|epoch| !notes.contains_key(epoch))
        {
            None => Ok(Self { through, notes }),
            Some(missing) => Err(NotExcluded(missing)),
        }
    }

    /// The store went back, or knows nothing yet, and every member has said that it holds nothing (safety rule E11):
    /// every epoch that any of them has ever seen is over.
    pub(super) fn by_report(record: Option<&LeaseRecord>, all: &AllReported) -> Self {
        let mut notes = record.map_or_else(BTreeMap::new, |record| record.exclusions.clone());
        let through = all.highest();
        for epoch in through.next().earlier() {
            notes.entry(epoch).or_insert(Exclusion::AllReported);
        }
        Self { through, notes }
    }

    /// The epoch that may begin.
    #[must_use]
    pub fn next(&self) -> Epoch {
        self.through.next()
    }

    pub(super) fn into_notes(self) -> BTreeMap<Epoch, Exclusion> {
        self.notes
    }
}
