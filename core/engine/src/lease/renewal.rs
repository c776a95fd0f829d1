//! Renewing and releasing on behalf of a holder: any coordinator does it, in one transaction.
//!
//! Neither needs the leader's key: they take nothing from anybody. A renewal is the holder's own word that it goes on, a
//! release that it does not, and the record's revision is the only condition. So the loss of the leader delays no renewal.

use std::time::Duration;

use interlock_model::lease::{Epoch, Holder, Synchrony, Terms};
use interlock_model::names::ServiceName;

use super::proof::ExclusionProof;
use super::record::{Data, LeaseRecord, Safeguards};
use super::transaction::{Change, Condition, Stored, Transaction};

/// What a holder asks any coordinator to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewRequest {
    /// The service.
    pub service: ServiceName,
    /// Who asks.
    pub holder: Holder,
    /// For which epoch.
    pub epoch: Epoch,
    /// Its `CLOCK_BOOTTIME` when it asked; unique and rising within its boot, also over restarts of its agent.
    pub sent: Duration,
    /// The terms that it accepts from this moment on (safety rule E8); none leaves those of the record.
    pub terms: Option<Terms>,
    /// What acts when its agent cannot.
    pub safeguards: Safeguards,
    /// Whom its writes wait for (safety rule D1).
    pub synchrony: Synchrony,
    /// How far it has written; where writes wait for somebody, how far those are known to have it.
    pub position: Option<u64>,
}

/// What a former holder tells every coordinator, until one of them has written it down (safety rule E10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseReport {
    /// The service.
    pub service: ServiceName,
    /// Who held it: in this boot, or in an earlier one of the same machine, of which nothing is left.
    pub holder: Holder,
    /// Which epoch.
    pub epoch: Epoch,
    /// Did a promotion begin in it? If not, nothing was written in it.
    pub began: bool,
    /// How far it had written when it ended; none if nobody knows.
    pub position: Option<u64>,
}

/// What is to be done for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Commit this; the request is met when it is committed.
    Commit(Box<Transaction>),
    /// It is in the store already.
    Already,
}

impl Written {
    /// The terms that bind once it is committed, for the answer to the holder.
    #[must_use]
    pub fn terms<'a>(&'a self, stored: &'a Stored) -> Option<&'a Terms> {
        match self {
            Self::Commit(transaction) => transaction.record().map(LeaseRecord::terms),
            Self::Already => stored.record.as_ref().map(|(record, _)| record.terms()),
        }
    }
}

/// Why a request is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRenewed {
    /// The epoch is over for this holder. Final, whoever read the store and when.
    #[error("{asked} is over: the store is at {current}")]
    Superseded {
        /// Which epoch was asked for.
        asked: Epoch,
        /// Where the store is.
        current: Epoch,
    },
    /// The store, as it was read here, does not know that epoch. The reading may be old; or the store went back.
    #[error("the store as it was read is at {current}, before {asked}; read it again")]
    Behind {
        /// Which epoch was asked for.
        asked: Epoch,
        /// Where the reading is.
        current: Epoch,
    },
    /// A later renewal of the same holder was taken before.
    #[error("a later renewal was taken before")]
    Outdated,
}

/// Writes a renewal.
///
/// # Errors
/// [`NotRenewed`]; only `Superseded` is an answer for the holder.
pub fn renew(request: &RenewRequest, stored: &Stored) -> Result<Written, NotRenewed> {
    let (record, revision) = held(request.epoch, &request.holder, stored)?;
    match record.renewed {
        Some(renewed) if renewed == request.sent => return Ok(Written::Already),
        Some(renewed) if renewed > request.sent => return Err(NotRenewed::Outdated),
        Some(_) | None => {}
    }
    let renewed = LeaseRecord {
        terms: request
            .terms
            .clone()
            .unwrap_or_else(|| record.terms.clone()),
        safeguards: request.safeguards,
        data: Data {
            epoch: request.epoch,
            synchrony: request.synchrony.clone(),
            position: request.position,
            ended_at: None,
            owed: None,
        },
        inherited: match record.renewed {
            None => Some(Data {
                owed: record.hand_over.clone(),
                ..record.data.clone()
            }),
            Some(_) => record.inherited.clone(),
        },
        renewed: Some(request.sent),
        hand_over: record.hand_over.clone().filter(|_| record.is_held()),
        ..record.clone()
    };
    Ok(write(renewed, revision))
}

/// Writes a release down, with the proof that it is.
///
/// # Errors
/// [`NotRenewed::Behind`] if the store as it was read does not know the epoch. What is over already is written already.
pub fn release(report: &ReleaseReport, stored: &Stored) -> Result<Written, NotRenewed> {
    let (record, revision) = match held(report.epoch, &report.holder, stored) {
        Ok(held) => held,
        Err(NotRenewed::Superseded { .. }) => return Ok(Written::Already),
        Err(other) => return Err(other),
    };
    let mut released = record.clone();
    released.holder = None;
    match released.inherited.take() {
        // Nobody has taken it up: what was owed before it still is.
        Some(mut data) if !report.began => {
            let owed = data.owed.take();
            // What an operation has asked for is not taken over by what moves by itself: it may lose less.
            let asked = released.hand_over.take();
            released.hand_over = match asked {
                Some(asked) if !asked.why.is_automatic() => Some(asked),
                asked => owed.or(asked),
            };
            released.data = data;
        }
        // Never renewed: what is written is what was so before it.
        None if !report.began && released.renewed.is_none() => {}
        Some(_) | None => released.data.ended_at = report.position,
    }
    let proof = ExclusionProof::released(report);
    released.exclusions.insert(record.epoch, proof.into_note());
    Ok(write(released, revision))
}

/// The record, if this holder holds this epoch in it.
fn held<'a>(
    epoch: Epoch,
    holder: &Holder,
    stored: &'a Stored,
) -> Result<(&'a LeaseRecord, u64), NotRenewed> {
    let Some((record, revision)) = &stored.record else {
        return Err(NotRenewed::Behind {
            asked: epoch,
            current: Epoch::NONE,
        });
    };
    let current = record.epoch;
    if current < epoch {
        return Err(NotRenewed::Behind {
            asked: epoch,
            current,
        });
    }
    if current > epoch || record.holder.as_ref() != Some(holder) {
        return Err(NotRenewed::Superseded {
            asked: epoch,
            current,
        });
    }
    Ok((record, *revision))
}

fn write(record: LeaseRecord, revision: u64) -> Written {
    Written::Commit(Box::new(Transaction::new(
        [Condition::Revision(revision)],
        [Change::Record(Box::new(record))],
    )))
}
