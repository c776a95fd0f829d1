//! What the ledger does with each message.

use std::time::Duration;

use interlock_model::action::Command;
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::{AttemptId, AttemptNo, OperationId, Term};
use interlock_model::names::ServiceName;
use interlock_model::observation::Wanted;
use interlock_model::plan::StepId;
use interlock_model::time::Now;

use super::entry::{describe, may_become};
use super::outbox::Effects;
use super::{
    Ask, BY_HAND, ByHand, Entry, Ledger, MAX_BY_HAND, MAX_ENTRIES, MAX_HISTORY, Obstacle, Origin,
    Outcome, Permit, Record, Slot, Target,
};
use crate::agent::guard::Memory;

impl Ledger {
    pub(super) fn heard(&mut self, term: Term, incarnation: Option<String>, effects: &mut Effects) {
        if self.obey(term, effects).is_err() {
            return;
        }
        if incarnation.is_some() && incarnation != self.incarnation {
            effects.put(incarnation.clone().map(Record::Incarnation));
            self.incarnation = incarnation;
        }
    }

    pub(super) fn dispatch(
        &mut self,
        ask: &Ask,
        command: &Command,
        limit: Duration,
        permit: Permit,
        now: Now,
        effects: &mut Effects,
    ) {
        if let Err(reason) = self.admit(ask, effects) {
            return self.refuse(ask, &describe(command), reason, now, effects);
        }
        if let Some(known) = self.entries.get(&ask.id) {
            return effects.reply(ask.from, known.report());
        }
        if ask.id.operation > self.highest_operation {
            self.highest_operation = ask.id.operation;
            effects.put([Record::HighestOperation(ask.id.operation)]);
        }
        let entry = match self.obstacle(command, permit) {
            None => {
                if let Some((service, wanted)) = wanted_by(command) {
                    let before = self.wanted.insert(service.clone(), wanted);
                    effects.wanted_before(service.clone(), before);
                    effects.put([Record::Wanted {
                        service: service.clone(),
                        wanted,
                    }]);
                }
                Entry::accepted(
                    ask.id.clone(),
                    Origin::Operation,
                    ask.term,
                    command.clone(),
                    limit,
                    self.boot.clone(),
                    now,
                )
            }
            Some(obstacle) => {
                let reason = obstacle.to_string();
                self.note_refusal(ask, &describe(command), &reason, now, effects);
                Entry::refused(
                    ask.id.clone(),
                    ask.term,
                    command.clone(),
                    reason,
                    self.boot.clone(),
                    now,
                )
            }
        };
        if self.ailing.is_some() {
            effects.reply_at_once(ask.from, entry.report());
        } else {
            effects.reply(ask.from, entry.report());
        }
        if entry.is_open() {
            effects.execute(&entry, command);
        }
        self.keep(entry, effects);
    }

    /// May the message be listened to, and may its attempt begin as far as numbers tell? Otherwise the reason. Such a
    /// refusal leaves no entry: numbers will refuse the attempt again.
    fn admit(&mut self, ask: &Ask, effects: &mut Effects) -> Result<(), String> {
        self.obey(ask.term, effects)?;
        if self.entries.contains_key(&ask.id) {
            return Ok(());
        }
        if ask.id.operation < self.closed_below {
            return Err(format!(
                "{} is over: operations below {} are closed",
                ask.id.operation, self.closed_below
            ));
        }
        if let Some(newer) = self.newer(&ask.id) {
            return Err(format!("attempt {newer} of this step has closed it"));
        }
        if self.entries.len() >= MAX_ENTRIES {
            return Err(format!(
                "the ledger is full: {MAX_ENTRIES} attempts of operations that nobody has closed"
            ));
        }
        Ok(())
    }

    /// Why a command may not begin now: the agent's own file first.
    fn obstacle(&self, command: &Command, permit: Permit) -> Option<Obstacle> {
        if let Permit::Denied(reason) = permit {
            return Some(Obstacle::Denied(reason));
        }
        if let Some(ailment) = self.ailment() {
            return Some(ailment);
        }
        let target = Target::of(command);
        self.open_on(&target).map(|open| match open.origin {
            Origin::Hand { .. } => Obstacle::ByHand(open.line()),
            Origin::Operation => Obstacle::Busy {
                open: open.id.clone(),
                target,
            },
        })
    }

    pub(super) fn accept_by_hand(
        &mut self,
        act: ByHand,
        now: Now,
        effects: &mut Effects,
    ) -> Result<AttemptId, Obstacle> {
        let last = self
            .entries
            .range(..first_of(BY_HAND.next()))
            .map(|(id, _)| id.attempt)
            .max();
        let attempt = last.map_or(AttemptNo(1), AttemptNo::next);
        let id = AttemptId {
            operation: BY_HAND,
            step: StepId::new("by-hand"),
            attempt,
        };
        if let Some(obstacle) = self.obstacle(&act.command, act.permit) {
            let what = format!("{} by {} ({})", describe(&act.command), act.who, act.why);
            let oldest = self
                .refusals
                .push(now.wall, self.term, id, &what, &obstacle.to_string());
            effects.replace_refusal(oldest);
            return Err(obstacle);
        }
        self.drop_oldest_act_by_hand(effects);
        let origin = Origin::Hand {
            who: act.who,
            why: act.why,
        };
        let boot = self.boot.clone();
        let entry = Entry::accepted(
            id.clone(),
            origin,
            self.term,
            act.command.clone(),
            act.limit,
            boot,
            now,
        );
        effects.execute(&entry, &act.command);
        self.keep(entry, effects);
        Ok(id)
    }

    pub(super) fn query(&mut self, ask: &Ask, now: Now, effects: &mut Effects) {
        if let Err(reason) = self.obey(ask.term, effects) {
            return self.refuse(ask, "query", reason, now, effects);
        }
        let report = self.recall_or_close(ask, now, effects);
        effects.reply(ask.from, report);
    }

    pub(super) fn cancel(&mut self, ask: &Ask, now: Now, effects: &mut Effects) {
        if let Err(reason) = self.obey(ask.term, effects) {
            return self.refuse(ask, "cancel", reason, now, effects);
        }
        if self.entry(&ask.id).is_some_and(Entry::is_open) {
            // Answered by its outcome, when nothing of it is left.
            effects.kill(ask.id.clone());
            return self.release_if_ailing(effects);
        }
        let report = self.recall_or_close(ask, now, effects);
        effects.reply(ask.from, report);
    }

    /// What is known of an attempt; if nothing is, it is closed by being asked for (X1).
    fn recall_or_close(&mut self, ask: &Ask, now: Now, effects: &mut Effects) -> AttemptReport {
        let id = &ask.id;
        if let Some(entry) = self.entries.get(id) {
            return entry.report();
        }
        if id.operation < self.closed_below {
            return AttemptReport {
                id: id.clone(),
                state: AttemptState::Unknown,
                evidence: format!(
                    "{} is over: what its attempts came to is forgotten",
                    id.operation
                ),
                repeatable: false,
            };
        }
        let entry = Entry::never_seen(id.clone(), ask.term, self.boot.clone(), now);
        let report = entry.report();
        // A higher attempt has closed it already.
        if self.newer(id).is_none() {
            self.highest_operation = self.highest_operation.max(id.operation);
            effects.put([Record::HighestOperation(self.highest_operation)]);
            self.keep(entry, effects);
        }
        report
    }

    pub(super) fn close(&mut self, term: Term, below: OperationId, effects: &mut Effects) {
        if self.obey(term, effects).is_err() || below <= self.closed_below {
            return;
        }
        self.closed_below = below;
        effects.put([Record::ClosedBelow(below)]);
        let over: Vec<AttemptId> = self
            .entries
            .range(first_of(BY_HAND.next())..first_of(below))
            .filter(|(_, entry)| !entry.is_open())
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            self.retire(&id, effects);
        }
    }

    pub(super) fn finish(
        &mut self,
        id: &AttemptId,
        outcome: Outcome,
        now: Now,
        effects: &mut Effects,
    ) {
        let (state, evidence, repeatable) = outcome.into_parts();
        if self.move_on(id, state, evidence, repeatable, now, effects) {
            self.entrust(id, effects);
        }
        self.retire_if_closed(id, effects);
    }

    /// An attempt has ended. If it has outlived its operation, nobody will close it again.
    pub(super) fn retire_if_closed(&mut self, id: &AttemptId, effects: &mut Effects) {
        if id.operation != BY_HAND && id.operation < self.closed_below {
            self.retire(id, effects);
        }
    }

    /// Moves an entry on if the order of states allows it; what comes too late changes nothing, and is
    /// false.
    pub(super) fn move_on(
        &mut self,
        id: &AttemptId,
        state: AttemptState,
        evidence: String,
        repeatable: bool,
        now: Now,
        effects: &mut Effects,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(id) else {
            return false;
        };
        if !may_become(entry.state, state) {
            return false;
        }
        effects.report_before(entry.report());
        entry.state = state;
        entry.evidence = evidence;
        entry.repeatable = repeatable;
        entry.at = now.wall;
        effects.put([Record::Entry(entry.clone())]);
        effects.tell(entry.report());
        true
    }

    /// Keeps what a guard has to remember; nothing to remember takes no room.
    pub(super) fn guarded(&mut self, service: ServiceName, memory: Memory, effects: &mut Effects) {
        if memory == self.guard(&service) {
            return;
        }
        if memory == Memory::default() {
            self.guards.remove(&service);
            return effects.remove(Slot::Guard(service));
        }
        self.guards.insert(service.clone(), memory.clone());
        effects.put([Record::Guard {
            service,
            boot: self.boot.clone(),
            memory,
        }]);
    }

    /// Accepts a term, or says why it is none to obey (invariant I7).
    fn obey(&mut self, term: Term, effects: &mut Effects) -> Result<(), String> {
        if term < self.term {
            return Err(format!(
                "term {term} is over: this agent has obeyed term {}",
                self.term
            ));
        }
        if term > self.term {
            self.term = term;
            effects.put([Record::Term(term)]);
        }
        Ok(())
    }

    /// Refuses a message. If its attempt is known all the same, the answer is what is known: *refused* would say
    /// that it was never begun.
    fn refuse(&mut self, ask: &Ask, what: &str, reason: String, now: Now, effects: &mut Effects) {
        self.note_refusal(ask, what, &reason, now, effects);
        let report = self.entry(&ask.id).map_or_else(
            || AttemptReport {
                id: ask.id.clone(),
                state: AttemptState::Refused,
                evidence: reason,
                repeatable: false,
            },
            Entry::report,
        );
        effects.reply(ask.from, report);
    }

    fn note_refusal(
        &mut self,
        ask: &Ask,
        what: &str,
        reason: &str,
        now: Now,
        effects: &mut Effects,
    ) {
        let change = self
            .refusals
            .push(now.wall, ask.term, ask.id.clone(), what, reason);
        effects.replace_refusal(change);
    }

    fn keep(&mut self, entry: Entry, effects: &mut Effects) {
        let entry = Box::new(entry);
        effects.put([Record::Entry(entry.clone())]);
        self.entries.insert(entry.id.clone(), entry);
    }

    fn forget(&mut self, id: &AttemptId, effects: &mut Effects) {
        self.entries.remove(id);
        effects.remove(Slot::Entry(id.clone()));
    }

    /// An entry is of interest to people only from now on. Its record stays where it is.
    fn retire(&mut self, id: &AttemptId, effects: &mut Effects) {
        let Some(entry) = self.entries.remove(id) else {
            return;
        };
        self.history.insert(id.clone(), entry);
        while self.history.len() > MAX_HISTORY
            && let Some((oldest, _)) = self.history.pop_first()
        {
            effects.remove(Slot::Entry(oldest));
        }
    }

    fn drop_oldest_act_by_hand(&mut self, effects: &mut Effects) {
        let acts = || self.entries.range(..first_of(BY_HAND.next()));
        if acts().count() < MAX_BY_HAND {
            return;
        }
        let oldest = acts()
            .find(|(_, entry)| !entry.is_open())
            .map(|(id, _)| id.clone());
        if let Some(id) = oldest {
            self.forget(&id, effects);
        }
    }

    /// The highest attempt of the same step, if it is above this one.
    fn newer(&self, id: &AttemptId) -> Option<AttemptNo> {
        let last = AttemptId {
            attempt: AttemptNo(u64::MAX),
            ..id.clone()
        };
        let newest = self.entries.range(id.clone()..=last).next_back()?.0.attempt;
        (newest > id.attempt).then_some(newest)
    }

    pub(super) fn open_on(&self, target: &Target) -> Option<&Entry> {
        self.open().find(|entry| {
            entry
                .command
                .as_ref()
                .is_some_and(|command| Target::of(command) == *target)
        })
    }
}

/// What a command makes an instance be from now on.
fn wanted_by(command: &Command) -> Option<(&ServiceName, Wanted)> {
    match command {
        Command::Start { service, .. } | Command::Verify { service, .. } => {
            Some((service, Wanted::Running))
        }
        Command::Stop { service, .. } => Some((service, Wanted::Stopped)),
        Command::Promote { .. }
        | Command::Drain { .. }
        | Command::Admit { .. }
        | Command::File { .. }
        | Command::Shutdown { .. }
        | Command::Reboot
        | Command::Fence { .. } => None,
    }
}

/// Below every attempt of an operation, above every one of the operations before it.
fn first_of(operation: OperationId) -> AttemptId {
    AttemptId {
        operation,
        step: StepId::new(""),
        attempt: AttemptNo(0),
    }
}
