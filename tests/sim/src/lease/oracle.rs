//! What must be true whatever happens, seen from outside.
//!
//! The oracle looks at the simulated world after each event: which instance would take a row, what was acknowledged, what
//! the store holds. It asks no machine anything, and the machines' own opinion of who is primary does not interest it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use interlock_engine::lease::LeaseRecord;
use interlock_model::ids::OperationId;
use interlock_model::lease::{Epoch, Synchrony};

use super::machine::number;
use super::rows::Log;

/// What must be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// I1: never two instances that take writes.
    OneWriter,
    /// I1: an epoch begins with the exclusion of every earlier one.
    Proofs,
    /// E18: what an operation holds, automation does not touch.
    Claim,
    /// D1: what was acknowledged synchronously is never lost, and otherwise no more than the limit allows.
    NoLoss,
    /// D1: what a machine that was just started lacks is not lost before the one that has it may be up.
    Young,
    /// E17: nobody becomes primary with rows of its own that the others never got.
    History,
    /// What went back to where it was is not asked for again by the same operation.
    Once,
    /// E6: a node whose disk went back gets the role only when a person has looked.
    Quarantine,
    /// E15: an election of the store demotes nobody.
    Hiccup,
    /// Whom all others reach is not switched off.
    Reached,
    /// When nothing goes wrong any more there is one primary.
    Liveness,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        write!(f, "{:?} at {at:.3}s: {}", self.rule, self.what)
    }
}

/// What a bump promised of the rows before it.
#[derive(Debug, Clone, Copy)]
struct Promised {
    all: bool,
    max_lag: u64,
}

/// What is really so of a machine whose instance begins to take writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition {
    /// It has rows of its own that nobody knows of.
    pub(super) tainted: bool,
    /// Its disk went back.
    pub(super) reverted: bool,
    /// It has just been started.
    pub(super) young: bool,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) violation: Option<Violation>,
    /// Everything that was acknowledged to clients.
    acknowledged: Log,
    promised: BTreeMap<Epoch, Promised>,
    /// The operations whose moves have come to nothing.
    returned: BTreeSet<OperationId>,

    /// A store that went back knows nothing of what was promised since.
    pub(super) amnesty: bool,
}

impl Oracle {
    pub(super) fn complain(&mut self, rule: Rule, at: Duration, what: String) {
        self.violation.get_or_insert(Violation { rule, at, what });
    }

    /// Who would take a row at this moment.
    pub(super) fn writers(&mut self, writers: &[usize], at: Duration) {
        if writers.len() > 1 {
            self.complain(
                Rule::OneWriter,
                at,
                format!("nodes {writers:?} take writes at the same time"),
            );
        }
    }

    pub(super) fn acknowledged(&mut self, log: &Log) {
        self.acknowledged = log.clone();
    }

    /// The record changed by a committed transaction.
    pub(super) fn written(
        &mut self,
        before: Option<&LeaseRecord>,
        after: &LeaseRecord,
        operation: Option<(OperationId, usize)>,
        at: Duration,
    ) {
        let epoch = after.epoch();
        if before.is_some_and(|before| before.epoch() >= epoch) {
            return;
        }
        let missing = (1..epoch.0).find(|e| !after.exclusions().contains_key(&Epoch(*e)));
        if let Some(missing) = missing {
            let what = format!("{epoch} was begun without a proof for epoch {missing}");
            self.complain(Rule::Proofs, at, what);
        }
        let holder = after.holder().map(|holder| number(&holder.node));
        // A record that is written again after a restore begins nothing, and an operation of before knows nothing of it.
        // What was given back for one may go back to where it was.
        let former = before.and_then(LeaseRecord::last_primary).map(number);
        let is_elsewhere = |target| holder != Some(target) && holder != former;
        // What nobody has taken up meanwhile is offered again.
        let was_there = before.is_some_and(LeaseRecord::has_begun);
        let is_back = |target| was_there && holder == former && holder != Some(target);
        let returns = operation.filter(|(_, target)| is_back(*target));
        if let Some((id, _)) = returns
            && !self.returned.insert(id)
        {
            let what = format!("{epoch} was begun where it was, for the second time of {id}");
            self.complain(Rule::Once, at, what);
        }
        let operation = operation.map(|(_, target)| target);
        if !self.amnesty && operation.is_some_and(is_elsewhere) {
            let what =
                format!("{epoch} was begun for {holder:?} while an operation wanted {operation:?}");
            self.complain(Rule::Claim, at, what);
        }
        let promised = before.map(|before| Promised {
            all: matches!(before.synchrony(), Synchrony::With(_)) || is_ordered(before),
            // Rows on their way, and those between the last renewal and the end.
            max_lag: before.terms().max_lag
                + u64::try_from(before.terms().timings.life().as_millis() / 10).unwrap_or(0),
        });
        if let Some(promised) = promised {
            self.promised.insert(epoch, promised);
        }
    }

    /// An instance begins to take writes in an epoch.
    pub(super) fn begins(
        &mut self,
        node: usize,
        epoch: Epoch,
        log: &Log,
        machine: Condition,
        at: Duration,
    ) {
        let Condition {
            tainted,
            reverted,
            young,
        } = machine;
        if tainted {
            let what = format!("node {node} begins {epoch} with rows that the others never got");
            self.complain(Rule::History, at, what);
        }
        if reverted {
            let what = format!("node {node} begins {epoch} on a disk that went back");
            self.complain(Rule::Quarantine, at, what);
        }
        let has = self.acknowledged.common(log);
        let lost = self.acknowledged.position() - has;
        let may = match self.promised.get(&epoch) {
            Some(promised) if promised.all => 0,
            Some(promised) => promised.max_lag,
            None => u64::MAX,
        };
        if lost > may && !self.amnesty {
            let what = format!(
                "node {node} begins {epoch} without {lost} acknowledged rows, {may} are allowed"
            );
            self.complain(Rule::NoLoss, at, what);
        }
        if lost > 0 && young && !reverted && !self.amnesty {
            let what = format!(
                "node {node} has just been started and begins {epoch} without {lost} acknowledged rows"
            );
            self.complain(Rule::Young, at, what);
        }
        if lost > 0 {
            self.acknowledged = log.clone();
        }
    }

    /// A machine is about to be switched off, that all others reach since then.
    pub(super) fn fences(&mut self, node: usize, reached_since: Option<Duration>, at: Duration) {
        // What others found counts for three seconds.
        let known = Duration::from_secs(4);
        if let Some(since) = reached_since
            && at > since + known
        {
            let what =
                format!("node {node} is switched off, and all others reach it since {since:?}");
            self.complain(Rule::Reached, at, what);
        }
    }

    pub(super) fn forced_stop(&mut self, node: usize, hiccups_only: bool, at: Duration) {
        if hiccups_only {
            let what = format!("node {node} was demoted by an election of the store");
            self.complain(Rule::Hiccup, at, what);
        }
    }
}

/// Was it given back for an operation? Then whoever begins the next epoch has all of it, also once the operation was given up.
fn is_ordered(record: &LeaseRecord) -> bool {
    let hand_over = record.hand_over().filter(|_| record.is_owed());
    hand_over.is_some_and(|it| !it.why.is_automatic())
}
