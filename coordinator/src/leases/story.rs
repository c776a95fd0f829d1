//! What people can see of one lease: its place on the board, the events, and why its epochs began.

use std::collections::BTreeMap;

use interlock_engine::coordinator::LossAccepted;
use interlock_engine::lease::leader::Event;
use interlock_engine::lease::{Clock, Condition, LeaseRecord, Stored, Transaction};
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Loss;
use interlock_model::time::Timestamp;

use super::Leases;
use super::board::Shown;
use super::scribe::Note;
use super::survey::Facts;
use super::why::{Decision, Times, key};
use crate::clock;

/// What is told of one service.
pub(super) struct Story {
    leases: Leases,
    service: ServiceName,
    /// The revision that the record was last seen at, and since when.
    moved: Option<(u64, Clock, Timestamp)>,
    /// When each member was first suspected to be lost.
    suspected: BTreeMap<NodeName, Timestamp>,
    /// What came of orders to switch members off.
    fenced: BTreeMap<NodeName, String>,
    /// The decision that is being committed.
    decision: Option<Decision>,
    /// The decision that is committed, and whose holder is not primary yet.
    begun: Option<Decision>,
    /// When the current epoch began, if that is known.
    since: Option<(Epoch, Option<Timestamp>)>,
    /// Why there is no primary, with its numbers left out; since when that is so; and whether it was told.
    refused: Option<(String, Clock, bool)>,
    shown: Option<Shown>,
    /// What members have lost, as far as it was told.
    lost: BTreeMap<NodeName, Loss>,
}

impl Story {
    pub(super) fn new(leases: Leases, service: ServiceName) -> Self {
        Self {
            leases,
            service,
            moved: None,
            suspected: BTreeMap::new(),
            fenced: BTreeMap::new(),
            decision: None,
            begun: None,
            since: None,
            refused: None,
            shown: None,
            lost: BTreeMap::new(),
        }
    }

    /// A member is suspected to be lost, or no longer.
    pub(super) fn suspected(&mut self, node: &NodeName, lost: bool) {
        if lost {
            self.suspected.insert(node.clone(), clock::now().wall);
        } else {
            self.suspected.remove(node);
        }
    }

    /// An order to switch a member off has come to this.
    pub(super) fn fenced(&mut self, what: &Event) {
        match what {
            Event::PoweredOff { node, .. } => {
                let text = "its power source confirmed that it is off".to_owned();
                self.fenced.insert(node.clone(), text);
            }
            Event::NotFenced { node, why, .. } => {
                self.fenced
                    .insert(node.clone(), format!("it was not switched off: {why}"));
            }
            _ => {}
        }
    }

    /// The record was read.
    pub(super) async fn read(&mut self, stored: &Stored, now: Clock) {
        let revision = stored.revision();
        if self.moved.is_none_or(|(before, ..)| before != revision) {
            self.moved = Some((revision, now, clock::now().wall));
        }
        let Some((record, _)) = &stored.record else {
            return;
        };
        let epoch = record.epoch();
        if self.since.is_none_or(|(known, _)| known != epoch) {
            let kept = self.leases.book().value(&key(&self.service, epoch)).await;
            let decided = kept.ok().flatten();
            let decided = decided.and_then(|decision: Decision| decision.times.decided);
            self.since = Some((epoch, decided));
        }
        if let Some(begun) = self.begun.as_mut().filter(|begun| begun.epoch == epoch)
            && record.is_held()
            && begun.times.held.is_none()
        {
            begun.times.held = Some(clock::now().wall);
            let write = begun.write();
            self.note(None, String::new(), String::new(), Some(write));
        }
    }

    /// Agents say what their instances have lost by following another one. That is an event, once, and stands with why that epoch
    /// began.
    pub(super) async fn lost(&mut self, facts: &Facts) {
        for (node, loss) in &facts.losses {
            if self.lost.get(node) == Some(loss) {
                continue;
            }
            let line = format!("{node} had what nobody has any more: {}", loss.text);
            let decision = match &self.begun {
                // What is kept of it may be older.
                Some(begun) if begun.epoch == loss.epoch => Some(begun.clone()),
                Some(_) | None => match self
                    .leases
                    .book()
                    .value(&key(&self.service, loss.epoch))
                    .await
                {
                    Ok(kept) => kept,
                    // It is read again with the record.
                    Err(_) => continue,
                },
            };
            self.lost.insert(node.clone(), loss.clone());
            let write = match decision {
                // An earlier coordinator has told it.
                Some(decision) if decision.evidence.contains(&line) => continue,
                Some(mut decision) => {
                    decision.evidence.push(line.clone());
                    let write = decision.write();
                    if let Some(begun) = self.begun.as_mut().filter(|it| it.epoch == loss.epoch) {
                        *begun = decision;
                    }
                    Some(write)
                }
                None => None,
            };
            let text = format!("{} of {} lost writes: {line}", loss.epoch, self.service);
            self.note(Some("writes-lost"), node.to_string(), text, write);
        }
    }

    /// A transaction is about to be committed: what it decides, if it begins an epoch.
    pub(super) fn decides(
        &mut self,
        transaction: &Transaction,
        stored: Option<&Stored>,
        candidates: BTreeMap<NodeName, Option<String>>,
        facts: &Facts,
        now: Clock,
    ) -> Option<&Decision> {
        self.decision = None;
        let record = transaction.record()?;
        let before = stored.and_then(|stored| stored.record.as_ref());
        let before = before.map(|(record, _)| record);
        let begins = before.is_none_or(|before| before.epoch() < record.epoch());
        let holder = record.holder().filter(|_| begins && !record.is_held())?;
        let cause = transaction
            .conditions()
            .iter()
            .find_map(|condition| match condition {
                Condition::Operation(id) => Some(id.to_string()),
                Condition::Leading | Condition::Revision(_) | Condition::NoOperation => None,
            });
        let owed = before.filter(|before| before.is_owed());
        let owed = owed.and_then(LeaseRecord::hand_over);
        let cause = cause.or_else(|| Some(format!("its primary was asked for it: {}", owed?)));
        let former = before.and_then(LeaseRecord::holder);
        let mut evidence = Vec::new();
        if let Some((accepted, told)) = &facts.accepted
            && transaction
                .conditions()
                .contains(&Condition::Operation(accepted.operation))
        {
            let LossAccepted { by, why, .. } = accepted;
            evidence.push(format!("{by} accepts that writes are lost, {told}: {why}"));
        }
        if let (Some(former), Some((_, since, _))) = (former, self.moved) {
            let silent = now.shortest_since(since).as_secs_f64();
            evidence.push(format!("{former} has not renewed for {silent:.1}s"));
            if self.suspected.contains_key(&former.node) {
                evidence.push(format!("the agent of {} is not heard", former.node));
            }
            // What was tried before its last sign of life says nothing.
            let mono = clock::now().mono;
            let tries = facts.tries.get(&former.node).into_iter().flatten();
            for (observer, tried) in tries {
                let age = mono.saturating_sub(tried.asked);
                if age < now.shortest_since(since) {
                    let reaches = if tried.reached {
                        "reaches"
                    } else {
                        "does not reach"
                    };
                    evidence.push(format!(
                        "{observer} {reaches} its machine, {:.1}s ago ({})",
                        age.as_secs_f64(),
                        tried.detail
                    ));
                }
            }
            evidence.extend(self.fenced.get(&former.node).cloned());
            evidence.extend(facts.doubted.clone());
        }
        let former = former.map(|former| former.node.clone());
        self.decision = Some(Decision {
            service: self.service.clone(),
            epoch: record.epoch(),
            node: holder.node.clone(),
            cause: cause.unwrap_or_else(|| "automatic failover".to_owned()),
            over: Decision::over(record),
            evidence,
            candidates,
            times: Times {
                last_renewed: before.and(self.moved).map(|(_, _, at)| at),
                suspected: former
                    .as_ref()
                    .and_then(|node| self.suspected.get(node).copied()),
                decided: Some(clock::now().wall),
                held: None,
                primary: None,
            },
            before: former,
        });
        self.decision.as_ref()
    }

    /// It is committed.
    pub(super) fn decided(&mut self, transaction: &Transaction, stored: Option<&Stored>) {
        if let Some(decision) = self.decision.take() {
            let (node, text) = (decision.node.to_string(), decision.to_string());
            self.since = Some((decision.epoch, decision.times.decided));
            self.begun = Some(decision);
            self.fenced.clear();
            self.note(Some("lease-begun"), node, text, None);
            return;
        }
        let Some(record) = transaction.record() else {
            return;
        };
        let before = stored.and_then(|stored| stored.record.as_ref());
        let before = before.map(|(record, _)| record);
        let quarantined = |record: Option<&LeaseRecord>| {
            record
                .map(|record| record.quarantined().clone())
                .unwrap_or_default()
        };
        let (earlier, later) = (quarantined(before), quarantined(Some(record)));
        for node in later.difference(&earlier) {
            let text = format!(
                "{node} knows less of {} than it has once said, so its disk went back: it does not become primary until a \
                 person has looked",
                self.service
            );
            self.note(Some("node-quarantined"), node.to_string(), text, None);
        }
        let written_again = before.is_none_or(|before| before.epoch() != record.epoch())
            || before.is_some_and(|before| before.incarnation() != record.incarnation());
        if let (true, Some(holder)) = (written_again, record.holder()) {
            let text = format!(
                "the store went back, and all members have spoken: {} holds {} of {}, and that is written down again",
                holder.node,
                record.epoch(),
                self.service
            );
            let node = holder.node.to_string();
            self.note(Some("lease-recorded-again"), node, text, None);
        }
    }

    /// Shows how it stands, and tells what is new of it.
    pub(super) fn shows(
        &mut self,
        stored: Option<&Stored>,
        facts: &Facts,
        rest: Option<&str>,
        reason: Option<&str>,
        candidates: impl FnOnce() -> BTreeMap<NodeName, Option<String>>,
        now: Clock,
    ) {
        let Some(stored) = stored else {
            return;
        };
        let record = stored.record.as_ref().map(|(record, _)| record);
        self.promoted(facts);
        let reason = match reason.filter(|why| !why.is_empty()) {
            _ if !self.is_vacant(record, now) => None,
            Some(reason) => Some(reason.to_owned()),
            None if rest.is_some() => rest.map(str::to_owned),
            // While somebody holds it, a leader keeps to itself why nobody could take over.
            None if facts.automatic => nobody(candidates()),
            None => None,
        };
        self.refused(record, facts, reason.as_deref(), now);
        let shown = Shown {
            epoch: record.map_or(Epoch::NONE, LeaseRecord::epoch),
            holder: record
                .and_then(LeaseRecord::holder)
                .map(|holder| holder.node.clone()),
            is_held: record.is_some_and(LeaseRecord::is_held),
            since: self.since.and_then(|(_, since)| since),
            automatic: facts.automatic && rest.is_none(),
            reason: reason.unwrap_or_default(),
        };
        if self.shown.as_ref() != Some(&shown) {
            self.leases.board().show(&self.service, shown.clone());
            self.shown = Some(shown);
        }
    }

    /// Is there nobody who goes on renewing? A leader has reasons for not moving a role that is well, too.
    fn is_vacant(&self, record: Option<&LeaseRecord>, now: Clock) -> bool {
        record.is_none_or(|record| {
            let fence = record.terms().timings.fence();
            let silent =
                |(_, since, _): (u64, Clock, Timestamp)| now.shortest_since(since) >= fence;
            record.holder().is_none() || !record.is_held() || self.moved.is_none_or(silent)
        })
    }

    /// The agent of the new holder says that it is primary.
    fn promoted(&mut self, facts: &Facts) {
        let is_primary =
            |begun: &mut Decision| facts.primaries.get(&begun.node).copied() == Some(begun.epoch);
        let Some(mut begun) = self.begun.take_if(is_primary) else {
            return;
        };
        let now = clock::now().wall;
        begun.times.primary = Some(now);
        // Nobody is primary without: its renewal was there before, and has not been read yet.
        begun.times.held.get_or_insert(now);
        let took = begun.times.primary.zip(begun.times.decided);
        let took = took.map_or(0, |(primary, decided)| primary.0.saturating_sub(decided.0));
        let text = format!(
            "{} is the primary of {} in {}, {took} ms after it was decided",
            begun.node, begun.service, begun.epoch
        );
        let (node, write) = (begun.node.to_string(), begun.write());
        self.note(Some("lease-promoted"), node, text, Some(write));
    }

    /// There is no primary and none is made, for the same reason for as long as a lease lasts: that is told once. A reason
    /// that passes by itself does not last so long.
    fn refused(
        &mut self,
        record: Option<&LeaseRecord>,
        facts: &Facts,
        reason: Option<&str>,
        now: Clock,
    ) {
        let Some(reason) = reason.filter(|_| facts.runs) else {
            self.refused = None;
            return;
        };
        let words = reason.replace(|c: char| c.is_ascii_digit(), "#");
        let life = record
            .map_or(&facts.terms, LeaseRecord::terms)
            .timings
            .life();
        match &mut self.refused {
            Some((same, since, told)) if *same == words => {
                if !*told && now.shortest_since(*since) >= life {
                    *told = true;
                    let text = refusal(&self.service, record, reason);
                    self.note(Some("failover-refused"), String::new(), text, None);
                }
            }
            other => *other = Some((words, now, false)),
        }
    }

    fn note(
        &self,
        kind: Option<&'static str>,
        node: String,
        text: String,
        write: Option<interlock_engine::coordinator::Write>,
    ) {
        self.leases.note(Note {
            kind,
            service: self.service.clone(),
            node,
            text,
            write,
        });
    }
}

/// That no primary is made. Who holds the lease may be one all the same, and go on without us: by promises of the other members,
/// or because its lease does not expire.
fn refusal(service: &ServiceName, record: Option<&LeaseRecord>, reason: &str) -> String {
    let holder = record.filter(|record| record.is_held());
    match holder.and_then(LeaseRecord::holder) {
        Some(holder) => format!(
            "the lease of {service} is not renewed by {}, which may go on as its primary; no other one is made: {reason}",
            holder.node
        ),
        None => format!("{service} has no primary, and none is made: {reason}"),
    }
}

/// Why none of the candidates can take over; nothing if one can.
fn nobody(candidates: BTreeMap<NodeName, Option<String>>) -> Option<String> {
    let reasons: Option<Vec<String>> = candidates
        .into_iter()
        .map(|(node, why)| Some(format!("{node}: {}", why?)))
        .collect();
    reasons.map(|reasons| reasons.join("; "))
}
