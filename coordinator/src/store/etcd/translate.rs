//! A transaction in etcd's words, and etcd's answer in ours.

use std::collections::BTreeMap;

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::super::{Condition, Conflict, Entry, Error, Key, Outcome, Transaction, Write};
use super::hold::Guard;
use super::layout::Reading;

/// `transaction` under `guard`. Where a condition fails, etcd reads what all of them are about, as
/// of that moment, after the holder's key.
///
/// `mark` is the guard's own write; without one nothing is left by which to tell later whether the
/// transaction was applied.
pub(crate) fn request(
    reading: &Reading,
    guard: &Guard,
    transaction: &Transaction,
    mark: Option<TxnOp>,
) -> Txn {
    let conditions = &transaction.conditions;
    let compares: Vec<Compare> = guard
        .compares()
        .into_iter()
        .chain(
            conditions
                .iter()
                .map(|condition| compare(reading, condition)),
        )
        .collect();
    let writes: Vec<TxnOp> = mark
        .into_iter()
        .chain(transaction.writes.iter().map(|write| op(reading, write)))
        .collect();
    let reads: Vec<TxnOp> = std::iter::once(guard.key.clone())
        .chain(
            conditions
                .iter()
                .map(|about| reading.layout.key(about.key())),
        )
        .map(|key| TxnOp::get(key, None))
        .collect();
    Txn::new().when(compares).and_then(writes).or_else(reads)
}

fn compare(reading: &Reading, condition: &Condition) -> Compare {
    let key = reading.layout.key(condition.key());
    match condition {
        Condition::Exists(_) => Compare::create_revision(key, CompareOp::Greater, 0),
        Condition::Absent(_) => Compare::create_revision(key, CompareOp::Equal, 0),
        // Never 0, which etcd would take as absent: the store's revision 0 is that of `format`.
        Condition::ModifiedAt(_, revision) => {
            let revision = reading.revisions.theirs(*revision);
            Compare::mod_revision(key, CompareOp::Equal, revision)
        }
        // False of an absent key, whatever the value is.
        Condition::ValueIs(_, value) => Compare::value(key, CompareOp::Equal, &**value),
    }
}

fn op(reading: &Reading, write: &Write) -> TxnOp {
    match write {
        Write::Put(key, value) => TxnOp::put(reading.layout.key(key), &**value, None),
        Write::Delete(key) => TxnOp::delete(reading.layout.key(key), None),
        Write::DeleteBelow(prefix) => {
            let (start, end) = reading.layout.range(prefix);
            TxnOp::delete(start, Some(DeleteOptions::new().with_range(end)))
        }
    }
}

/// What etcd's answer says.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Applied, or a condition of the transaction failed.
    Decided(Outcome),
    /// The guard failed.
    NotHolding,
}

/// Reads the answer to [`request`].
pub(crate) fn answer(
    reading: &Reading,
    guard: &Guard,
    transaction: Transaction,
    response: &TxnResponse,
) -> Result<Answer, Error> {
    if response.succeeded() {
        let revision = response
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let revision = reading.revisions.ours(revision);
        return Ok(Answer::Decided(Outcome::Committed { revision }));
    }
    let mut holds = false;
    let mut present: BTreeMap<Key, Entry> = BTreeMap::new();
    for read in response.op_responses() {
        let TxnOpResponse::Get(read) = read else {
            continue;
        };
        for found in read.kvs() {
            if found.key() == guard.key.as_bytes() {
                holds = found.create_revision() == guard.created
                    && found.mod_revision() == guard.modified;
            } else {
                let entry = reading.entry(found)?;
                present.insert(entry.key.clone(), entry);
            }
        }
    }
    if !holds {
        return Ok(Answer::NotHolding);
    }
    let mut conditions = transaction.conditions.into_iter().enumerate();
    let failed = conditions.find(|(_, condition)| !condition.holds(present.get(condition.key())));
    match failed {
        Some((index, condition)) => {
            let current = present.remove(condition.key());
            Ok(Answer::Decided(Outcome::Conflict(Conflict {
                index,
                condition,
                current,
            })))
        }
        None => Err(reading.foreign(guard.key.as_bytes())),
    }
}
