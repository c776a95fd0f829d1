//! The linearizable store: one record, two claims, the leader's key, and watches that lag.

use std::time::Duration;

use interlock_engine::lease::{Change, Condition, Stored, Transaction};
use interlock_model::ids::OperationId;

/// The leader's key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) term: u64,
    pub(super) coordinator: usize,
    pub(super) expires: Duration,
}

/// Which condition is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Careless {
    No,
    /// The revision may have moved within the epoch (safety rule E3).
    ByEpoch,
    /// An operation may hold the service (E18).
    OfClaims,
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) now: Stored,
    revision: u64,
    pub(super) key: Option<Key>,
    term: u64,
    restores: u64,
    /// An election: nothing is answered until then.
    pub(super) down_until: Duration,
    backup: Option<(Stored, u64)>,
    /// Where the operation that holds the service wants the role to be.
    pub(super) operation: Option<(OperationId, usize)>,
    operations: u64,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            now: Stored::default(),
            revision: 1,
            key: None,
            term: 0,
            restores: 0,
            down_until: Duration::ZERO,
            backup: None,
            operation: None,
            operations: 0,
        }
    }

    pub(super) fn incarnation(&self) -> String {
        format!("store-{}", self.restores)
    }

    /// Takes the key, or keeps it; the term if it is this coordinator's afterwards.
    pub(super) fn campaign(&mut self, coordinator: usize, now: Duration) -> Option<u64> {
        let life = Duration::from_millis(1500);
        let key = match self.key {
            Some(key) if key.coordinator == coordinator && key.expires > now => Key {
                expires: now + life,
                ..key
            },
            Some(key) if key.expires > now => {
                self.key = Some(key);
                return None;
            }
            _ => {
                self.term += 1;
                Key {
                    term: self.term,
                    coordinator,
                    expires: now + life,
                }
            }
        };
        self.key = Some(key);
        Some(key.term)
    }

    /// Commits if all conditions hold, but for one that a careless program leaves out.
    pub(super) fn commit(
        &mut self,
        transaction: &Transaction,
        term: Option<u64>,
        careless: Careless,
        now: Duration,
    ) -> bool {
        let holds = transaction
            .conditions()
            .iter()
            .all(|condition| match condition {
                Condition::Leading => self
                    .key
                    .is_some_and(|key| Some(key.term) == term && key.expires > now),
                Condition::Revision(revision) => {
                    *revision == self.now.revision()
                        || (careless == Careless::ByEpoch && self.is_next(transaction))
                }
                Condition::NoOperation => {
                    self.now.operation.is_none() || careless == Careless::OfClaims
                }
                Condition::Operation(id) => self.now.operation == Some(*id),
            });
        if !holds {
            return false;
        }
        self.revision += 1;
        for change in transaction.changes() {
            match change {
                Change::Record(record) => {
                    self.now.record = Some(((**record).clone(), self.revision))
                }
                Change::Claim(epoch) => self.now.failover = Some(*epoch),
                Change::Unclaim(epoch) => drop(self.now.failover.take_if(|held| held == epoch)),
            }
        }
        true
    }

    fn is_next(&self, transaction: &Transaction) -> bool {
        let epoch = self.now.record.as_ref().map(|(record, _)| record.epoch());
        transaction.record().map(|record| record.epoch()) == epoch.map(|epoch| epoch.next())
    }

    pub(super) fn claim(&mut self, target: usize) -> Option<OperationId> {
        if self.now.operation.is_some() || self.now.failover.is_some() {
            return None;
        }
        self.operations += 1;
        let id = OperationId(self.operations);
        self.now.operation = Some(id);
        self.operation = Some((id, target));
        Some(id)
    }

    pub(super) fn end_operation(&mut self) {
        self.now.operation = None;
        self.operation = None;
    }

    pub(super) fn back_up(&mut self) {
        self.backup = Some((self.now.clone(), self.revision));
    }

    /// Goes back to the backup, as another incarnation.
    pub(super) fn restore(&mut self) -> bool {
        let Some((stored, revision)) = self.backup.clone() else {
            return false;
        };
        self.now = stored;
        self.operation = None;
        self.now.operation = None;
        self.revision = revision;
        self.key = None;
        self.restores += 1;
        true
    }
}
