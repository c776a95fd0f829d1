//! The pass: what follows from what is known now.

use std::borrow::Cow;
use std::collections::BTreeSet;

use interlock_model::lease::{Terms, Timings};
use interlock_model::names::NodeName;

use super::bump::{self, Cause, Draft};
use super::doubt::{self, Settled};
use super::event::{Effect, Standing};
use super::reading::Reading;
use super::{Clock, Leader, Promotion, Undecided, agreed, expiry, fitness};
use crate::lease::{Change, Condition, Excluded, ExclusionProof, LeaseRecord, Reason, Transaction};

impl Leader {
    pub(super) fn pass(&mut self, now: Clock, out: &mut Vec<Effect>) {
        self.read_if_due(now, out);
        if self.in_flight.is_some() || self.outdated {
            return;
        }
        let Some(reading) = self.reading.clone() else {
            return;
        };
        if doubt::is_in_doubt(&self.config.incarnation, &reading, &self.heard) {
            self.settle(&reading, out);
            return;
        }
        let Some(record) = reading.record() else {
            return;
        };
        if self.quarantine(&reading, record, now, out)
            || self.witness(&reading, record, out)
            || self.unclaim(&reading, record, out)
        {
            return;
        }
        self.tell(record, now, out);
        if self.cause(&reading).is_some() {
            self.ask_others(&reading, now, out);
        }
        self.decide(&reading, record, now, out);
        self.end_hand_over(&reading, record, now, out);
    }

    pub(super) fn timings(&self) -> Timings {
        let record = self.reading.as_ref().and_then(Reading::record);
        record.map_or(self.config.terms.timings, |record| record.terms().timings)
    }

    /// Reads at least twice in R; a read that does not end is asked for again.
    fn read_if_due(&mut self, now: Clock, out: &mut Vec<Effect>) {
        let period = self.timings().renewal();
        let fresh = !self.outdated
            && self
                .reading
                .as_ref()
                .is_some_and(|reading| now.longest_since(reading.at()) < period / 2);
        let waiting = self
            .asked
            .is_some_and(|asked| now.longest_since(asked) < period * 2);
        if !fresh && !waiting {
            self.asked = Some(now);
            out.push(Effect::Read);
        }
    }

    pub(super) fn commit(
        &mut self,
        transaction: Transaction,
        promotion: Option<Promotion>,
        out: &mut Vec<Effect>,
    ) {
        self.last_transaction += 1;
        let id = self.last_transaction;
        self.in_flight = Some((id, promotion));
        out.push(Effect::Commit { id, transaction });
    }

    fn draft<'a>(&'a self, reading: &'a Reading, terms: &'a Terms) -> Draft<'a> {
        Draft {
            service: &self.config.service,
            incarnation: &self.config.incarnation,
            terms,
            reading,
            witnessed: self.witnessed.clone(),
        }
    }

    /// The store may have gone back (safety rule E11).
    fn settle(&mut self, reading: &Reading, out: &mut Vec<Effect>) {
        self.reason = None;
        let mut members: BTreeSet<NodeName> = self.config.terms.members.clone();
        if let Some(record) = reading.record() {
            members.extend(record.terms().members.iter().cloned());
        }
        let attested = |node: &NodeName| self.attested.contains_key(node);
        let settled = match doubt::settle(&members, reading, &self.heard, attested) {
            Ok(settled) => settled,
            Err(undecided) => {
                self.reason = Some(undecided.to_string());
                return;
            }
        };
        match settled {
            Settled::Held(standing, all) => {
                let Some(holding) = &standing.holding else {
                    return;
                };
                // While its terms change nobody knows which ones bind it; that is over in a moment.
                let Some(terms) = holding.terms.clone() else {
                    return;
                };
                let excluded = Excluded::by_report(reading.record(), &all);
                let draft = self.draft(reading, &terms);
                let again = draft.record_again(&standing.holder, holding, excluded);
                self.commit(again, None, out);
            }
            Settled::Free(standing, all) => {
                let Some(cause) = self.cause(reading) else {
                    return;
                };
                // Where nobody was ever primary, an operation may choose; else the data of the last one is the newest.
                let first = all.highest() == interlock_model::lease::Epoch::NONE;
                let standing = match (cause, &self.wanted) {
                    (Cause::Operation(_), Some((_, wanted))) if first => {
                        match self.heard.get(wanted) {
                            Some(heard) => heard.standing.clone(),
                            None => return,
                        }
                    }
                    (Cause::Operation(_) | Cause::Failover, _) => *standing,
                };
                if let Some(why) = standing.unready.as_ref().or(standing.rests.as_ref()) {
                    let node = standing.holder.node.clone();
                    self.reason = Some(Undecided::Unready(node, why.clone()).to_string());
                    return;
                }
                let excluded = Excluded::by_report(reading.record(), &all);
                self.begin(reading, excluded, &standing, cause, out);
            }
        }
    }

    /// In whose name the role may move now, if in anybody's.
    fn cause(&self, reading: &Reading) -> Option<Cause> {
        // Who was asked for its role has given it back: whoever asked, that is not left to nobody, whatever was entered since.
        let is_owed = reading.record().is_some_and(LeaseRecord::is_owed);
        match (&self.wanted, reading.stored().operation) {
            (Some((wants, _)), Some(holds)) if *wants == holds => Some(Cause::Operation(holds)),
            (_, None) if self.automatic || is_owed => Some(Cause::Failover),
            (_, _) => None,
        }
    }

    /// A node that knows less than it once said, or one that a person has looked at since.
    fn quarantine(
        &mut self,
        reading: &Reading,
        record: &LeaseRecord,
        now: Clock,
        out: &mut Vec<Effect>,
    ) -> bool {
        let behind = |standing: &Standing| {
            let node = &standing.holder.node;
            let told = self.witnessed.get(node).copied().unwrap_or_default();
            !record.quarantined().contains(node)
                && !self.cleared.contains(node)
                && (told > standing.seen || fitness::is_behind_itself(standing, record))
        };
        let mut standings = self.heard.values().map(|heard| &heard.standing);
        if let Some(standing) = standings.find(|standing| behind(standing)) {
            let node = standing.holder.node.clone();
            if let Some(transaction) = bump::quarantine(reading, &node, None) {
                self.commit(transaction, None, out);
                return true;
            }
        }
        let looked_at = record.quarantined().iter().find_map(|node| {
            let standing = &self.heard.get(node)?.standing;
            self.cleared
                .contains(node)
                .then(|| (node.clone(), standing.seen))
        });
        let Some((node, seen)) = looked_at else {
            self.clear(record, now, out);
            return false;
        };
        self.witnessed.insert(node.clone(), seen);
        let Some(transaction) = bump::quarantine(reading, &node, Some(seen)) else {
            return false;
        };
        self.commit(transaction, None, out);
        true
    }

    /// A node that was taken out of quarantine is told so until it says that it knows.
    fn clear(&mut self, record: &LeaseRecord, now: Clock, out: &mut Vec<Effect>) {
        let reverted = |node: &NodeName| {
            self.heard
                .get(node)
                .is_some_and(|heard| heard.standing.reverted)
        };
        let waiting = |node: &NodeName| record.quarantined().contains(node) || reverted(node);
        let still: BTreeSet<NodeName> = self
            .cleared
            .iter()
            .filter(|n| waiting(n))
            .cloned()
            .collect();
        let due = self
            .told
            .is_none_or(|told| now.longest_since(told) >= record.terms().timings.renewal());
        if due {
            out.extend(
                still
                    .iter()
                    .filter(|n| reverted(n))
                    .cloned()
                    .map(Effect::Clear),
            );
        }
        self.cleared = still;
    }

    /// Writes down what nodes say to have seen: what only this leader remembers, the next one cannot miss (E6).
    fn witness(&mut self, reading: &Reading, record: &LeaseRecord, out: &mut Vec<Effect>) -> bool {
        let Some(transaction) = bump::witness(reading, record, &self.witnessed) else {
            return false;
        };
        self.commit(transaction, None, out);
        true
    }

    /// The claim of automatic failover ends when the new holder has renewed, or when its epoch is over.
    fn unclaim(&mut self, reading: &Reading, record: &LeaseRecord, out: &mut Vec<Effect>) -> bool {
        let over = reading.stored().failover.filter(|epoch| {
            record.epoch() != *epoch || record.is_held() || record.holder().is_none()
        });
        let Some(epoch) = over else {
            return false;
        };
        let transaction = Transaction::new([Condition::Leading], [Change::Unclaim(epoch)]);
        self.commit(transaction, None, out);
        true
    }

    /// Repeats what the holder should hear: messages get lost.
    fn tell(&mut self, record: &LeaseRecord, now: Clock, out: &mut Vec<Effect>) {
        let period = record.terms().timings.renewal();
        if self
            .told
            .is_some_and(|told| now.longest_since(told) < period)
        {
            return;
        }
        self.told = Some(now);
        let Some(holder) = record.holder() else {
            return;
        };
        // A holder that knows nothing of it, although somebody has renewed: its agent was started again in between.
        let idle = self.heard.get(&holder.node).is_some_and(|heard| {
            heard.standing.holder == *holder
                && heard.standing.idle
                && heard.standing.holding.is_none()
        });
        if !record.is_held() || idle {
            out.push(Effect::Promote {
                to: holder.clone(),
                epoch: record.epoch(),
                terms: record.terms().clone(),
            });
        } else if *record.terms() != self.config.terms {
            out.push(Effect::Propose {
                to: holder.clone(),
                terms: self.config.terms.clone(),
            });
        }
    }

    /// Does the role move?
    fn decide(
        &mut self,
        reading: &Reading,
        record: &LeaseRecord,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        self.reason = None;
        let Some(cause) = self.cause(reading) else {
            self.reason = reading
                .stored()
                .operation
                .filter(|_| record.is_owed() && record.holder().is_none())
                .map(|id| {
                    format!(
                        "its primary has given it back, and {id} holds it and wants it nowhere: retry {id}, or abort it"
                    )
                });
            return;
        };
        if cause == Cause::Failover {
            self.hand_over(reading, record, now, out);
        }
        if self.in_flight.is_some() {
            return;
        }
        let candidate = match self.candidate(reading, record, cause, now) {
            Ok(candidate) => candidate,
            Err(why) => {
                self.reason = record.holder().is_none().then_some(why);
                return;
            }
        };
        let proof = match self.proof(reading, record, now) {
            Ok(proof) => proof,
            Err(not_expired) => {
                self.reason = Some(not_expired.to_string());
                if let Cause::Operation(id) = cause {
                    let why = Reason::Operation(id);
                    self.ask_back(reading, record, &candidate, why, now, out);
                }
                self.fence(reading, record, &candidate, now, out);
                return;
            }
        };
        match Excluded::all_of(record, proof) {
            Ok(excluded) => self.begin(reading, excluded, &candidate, cause, out),
            Err(missing) => self.reason = Some(missing.to_string()),
        }
    }

    /// Why the current epoch is over; no proof is needed for one that was released.
    fn proof(
        &self,
        reading: &Reading,
        record: &LeaseRecord,
        now: Clock,
    ) -> Result<Option<ExclusionProof>, super::NotExpired> {
        if record.holder().is_none() {
            return agreed::promises_end(reading, record, now).map(|()| None);
        }
        if let Some(off) = &self.off {
            return Ok(Some(ExclusionProof::fenced(off)));
        }
        if let Some(word) = &self.word {
            return Ok(Some(ExclusionProof::attested(word)));
        }
        let life = record.terms().timings.life();
        if now.shortest_since(reading.since()) >= life
            && let Some(proof) = ExclusionProof::never_held(record)
        {
            return Ok(Some(proof));
        }
        let seen_by = self.seen_by(reading, now);
        expiry::judge(reading, seen_by, now).map(|expired| Some(ExclusionProof::expired(expired)))
    }

    /// Who still sees the holder accept writes. A sighting counts until its observer says otherwise, for L at most; a
    /// member that has promised the holder not to become primary says by it that the holder is there.
    fn seen_by<'a>(&'a self, reading: &Reading, now: Clock) -> Option<&'a NodeName> {
        let life = self.timings().life();
        let recent = |at: Clock| now.shortest_since(at) < life;
        let sighted = self.sightings.iter().find_map(|((observer, node), at)| {
            (reading.is_held_by(node) && recent(*at)).then_some(observer)
        });
        let mut promised = self.heard.iter().filter_map(|(node, heard)| {
            (heard.standing.promised && recent(heard.at)).then_some(node)
        });
        sighted.or_else(|| promised.next())
    }

    fn begin(
        &mut self,
        reading: &Reading,
        excluded: Excluded,
        candidate: &Standing,
        cause: Cause,
        out: &mut Vec<Effect>,
    ) {
        let epoch = excluded.next();
        let to = candidate.holder.clone();
        let is_owed = reading.record().is_some_and(LeaseRecord::is_owed);
        let returned = match (cause, &self.wanted) {
            (Cause::Operation(id), Some((_, wanted))) if is_owed => {
                (*wanted != to.node).then_some(id)
            }
            (Cause::Operation(_) | Cause::Failover, _) => None,
        };
        self.sent_back = returned.map(|id| (id, epoch)).or(self.sent_back);
        let record = reading.record();
        let spec = || Cow::Borrowed(&self.config.terms);
        let terms = record.map_or_else(spec, |record| self.terms_after(record));
        let draft = self.draft(reading, &terms);
        let transaction = draft.bump(excluded, to.clone(), cause, returned);
        let promotion = Promotion {
            to,
            epoch,
            terms: terms.into_owned(),
        };
        self.commit(transaction, Some(promotion), out);
    }
}
