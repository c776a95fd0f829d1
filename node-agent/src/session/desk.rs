//! The one task that feeds the ledger and carries out what it says.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use interlock_engine::agent::Peer;
use interlock_engine::agent::autonomy::{Autonomy, Change};
use interlock_engine::agent::ledger::{
    ByHand, Effect, Entry, Event, Ledger, Obstacle, Permit, Recipient,
};
use interlock_model::attempt::AttemptReport;
use interlock_model::ids::{BootId, OperationId, Term};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::evidence::line;
use super::guards::Guards;
use super::judge::judge;
use super::open::{Happened, Open, short};
use super::order::Order;
use super::outbox::Outbox;
use super::questions::{Questions, power_unknown};
use super::{Assignment, Board, Claims, Clock, Executor, acts};
use crate::ledger::{Kind, Recorder, Report};

/// Batches that may wait for the disk before no more orders are taken. They share flushes, so more would only be
/// memory.
const MAX_UNCOMMITTED: usize = 256;

/// A person asks for something.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) act: ByHand,
    /// Operations whose claims do not count.
    pub(super) over: Vec<OperationId>,
    pub(super) answer: oneshot::Sender<Result<AttemptReport, NotTaken>>,
}

/// Why an act by hand was not begun, or its end is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It may not begin.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// The agent is ending.
    #[error("the agent is ending; what was begun goes on, ask again when it is back")]
    Ending,
}

pub(super) struct Desk<E> {
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) recorder: Recorder,
    pub(super) autonomy: Autonomy,
    /// By what the agent works; none before its first assignment.
    pub(super) assignment: Option<Assignment>,
    /// What of it is told to people.
    pub(super) claims: watch::Sender<Claims>,
    pub(super) executor: Arc<E>,
    pub(super) board: Board,
    pub(super) boot: BootId,
    pub(super) clock: Clock,
    /// By the number of the peer.
    pub(super) outboxes: Vec<Arc<Outbox>>,
    pub(super) orders: mpsc::Receiver<Box<Order>>,
    pub(super) acts: mpsc::Receiver<Act>,
    pub(super) guards: Arc<Guards>,
    pub(super) open: Open,
    pub(super) questions: Questions,
}

impl<E: Executor> Desk<E> {
    /// Runs until `stop`, then makes durable what it has taken and closes the ledger. What runs, runs on.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.recover();
        let mut stopped = pin!(stop.cancelled());
        loop {
            let has_room = self.ledger().uncommitted() < MAX_UNCOMMITTED;
            tokio::select! {
                biased;
                () = &mut stopped => break,
                report = self.recorder.report() => self.recorded(report),
                Some(happened) = self.open.happened.recv() => self.happened(*happened),
                Some(()) = self.questions.ended() => {}
                memories = self.guards.take(), if has_room => {
                    for (service, memory) in memories {
                        self.tell(Event::Guarded { service, memory });
                    }
                }
                Some(act) = self.acts.recv(), if has_room => self.act(act),
                Some(order) = self.orders.recv(), if has_room => self.order(*order),
            }
        }
        self.recorder.close().await;
    }

    /// A batch is durable, or the disk refuses.
    fn recorded(&mut self, report: Report) {
        let effects = match report {
            Report::Durable(batch) => self.ledger().committed(batch),
            Report::Refused(why) => {
                let now = self.clock.now();
                let setback = self.ledger().refused_by_disk(&why, now);
                self.recorder.commit_again(setback.batch, setback.writes);
                setback.effects
            }
        };
        self.carry_out(effects);
    }

    /// Attempts that an earlier process left open.
    fn recover(&mut self) {
        let left: Vec<Entry> = self.ledger().open().cloned().collect();
        for entry in left {
            tracing::info!(attempt = %entry.id, what = entry.line(), "open since before this start; finding out");
            let Some(command) = entry.command else {
                continue;
            };
            let earlier_boot = entry.boot != self.boot;
            let attempt = self.open.attempt(
                entry.id,
                command,
                entry.accepted_mono,
                entry.limit,
                earlier_boot,
            );
            let executor = Arc::clone(&self.executor);
            self.open.watch(attempt, async move |attempt| {
                executor.recover(attempt).await
            });
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Heard {
                from,
                term,
                incarnation,
            } => {
                self.tell(Event::Heard { term, incarnation });
                if let Some(Change::Heard(after)) = self.autonomy.heard(from, self.clock.mono()) {
                    tracing::info!(?after, "a coordinator is heard");
                }
            }
            Order::Lost(peer) => {
                if self.autonomy.lost(peer, self.clock.mono()) == Some(Change::Alone) {
                    tracing::warn!(
                        "no coordinator is heard: going on as assigned, stopping nothing"
                    );
                }
            }
            Order::Greet { from, answer } => {
                self.open.greetings.insert(from, answer);
                self.tell(Event::Greet(from));
            }
            Order::Assign(assignment) => self.assign(*assignment),
            Order::Dispatch {
                ask,
                command,
                limit,
            } => {
                let permit = self.executor.permit(&command);
                if let Permit::Denied(why) = &permit {
                    tracing::warn!(command = command.word(), "{why}");
                }
                self.tell(Event::Dispatch {
                    ask,
                    command,
                    limit,
                    permit,
                });
            }
            Order::Query(ask) => self.tell(Event::Query(ask)),
            Order::Cancel(ask) => self.tell(Event::Cancel(ask)),
            Order::Close { term, below } => self.tell(Event::CloseOperations { term, below }),
            Order::Claims { term, claims } => self.claims(term, claims),
            Order::ProbeNow(checks) => self.executor.probe_now(checks),
            Order::KnownActs { from, known } => {
                let told = acts::but(&known, &self.ledger());
                if let (Some(told), Some(outbox)) = (told, self.outbox(from)) {
                    outbox.say(told);
                }
            }
            Order::SwitchOff {
                from,
                term,
                ask,
                call,
            } => {
                let Some(outbox) = self.outbox(from).cloned() else {
                    return;
                };
                let highest = self.ledger().term();
                if term < highest {
                    let why = format!("refused: of {term}, and {highest} was seen");
                    tracing::warn!(node = %call.node, "an order to switch off is {why}");
                    return outbox.say(power_unknown(ask, &call, why));
                }
                self.tell(Event::Heard {
                    term,
                    incarnation: None,
                });
                let executor = Arc::clone(&self.executor);
                self.questions.switch_off(outbox, executor, ask, *call);
            }
            Order::TryToReach {
                from,
                ask,
                node,
                addresses,
            } => {
                if let Some(outbox) = self.outbox(from).cloned() {
                    self.questions.reach(outbox, ask, node, addresses);
                }
            }
            Order::CompareFile {
                from,
                ask,
                service,
                file,
                text,
            } => {
                if let Some(outbox) = self.outbox(from).cloned() {
                    let executor = Arc::clone(&self.executor);
                    let what = (service, file, text);
                    self.questions.compare(outbox, executor, ask, what);
                }
            }
            Order::AskPower { from, ask, call } => {
                if let Some(outbox) = self.outbox(from).cloned() {
                    let executor = Arc::clone(&self.executor);
                    self.questions.ask(outbox, executor, ask, *call);
                }
            }
        }
    }

    fn assign(&mut self, assignment: Assignment) {
        let highest = self.ledger().term();
        if !self.autonomy.take(assignment.mark, highest) {
            tracing::warn!(offered = ?assignment.mark, held = ?self.autonomy.assignment(), "an older assignment is ignored");
            return;
        }
        self.tell(Event::Heard {
            term: assignment.mark.term,
            incarnation: None,
        });
        if self.assignment.as_ref() == Some(&assignment) {
            return;
        }
        self.keep(Kind::Assignment, &assignment);
        take_up(&assignment, &self.board, &*self.executor);
        self.assignment = Some(assignment);
    }

    /// What is held from now on. Only a coordinator that commands here says so (invariant I7).
    fn claims(&mut self, term: Term, claims: Claims) {
        if term < self.ledger().term() || *self.claims.borrow() == claims {
            return;
        }
        self.keep(Kind::Claims, &claims);
        self.claims.send_replace(claims);
    }

    /// Keeps what a coordinator has said for the next start.
    fn keep(&self, kind: Kind, said: &impl Serialize) {
        match serde_json::to_vec(said) {
            Ok(bytes) => self.recorder.save(kind, bytes),
            Err(error) => {
                tracing::error!(%error, ?kind, "what a coordinator has said cannot be kept for the next start");
            }
        }
    }

    fn act(
        &mut self,
        Act {
            mut act,
            over,
            answer,
        }: Act,
    ) {
        // Here, where orders arrive as well: nobody acts on what an operation has just taken.
        let closed = self.ledger().closed_below();
        self.claims.borrow().weigh(&mut act, &over, closed);
        let (taken, effects) = {
            let now = self.clock.now();
            self.ledger().by_hand(act, now)
        };
        match taken {
            Ok(id) => drop(self.open.by_hand.insert(id, answer)),
            // The caller may be gone; the refusal is recorded all the same.
            Err(obstacle) => drop(answer.send(Err(obstacle.into()))),
        }
        self.carry_out(effects);
    }

    fn happened(&mut self, happened: Happened) {
        let event = match happened {
            Happened::GoingDown { id, evidence } => Event::GoingDown {
                id,
                evidence: line(&evidence),
            },
            Happened::Finished { id, outcome } => {
                self.open.ended(&id);
                Event::Finished {
                    id,
                    outcome: short(outcome),
                }
            }
        };
        self.tell(event);
    }

    fn tell(&mut self, event: Event) {
        let effects = self.ledger().handle(event, self.clock.now());
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit { batch, writes } => self.recorder.commit(batch, writes),
                Effect::Reply { to, report } => self.reply(to, report),
                Effect::Greet { to, greeting } => {
                    if let Some(answer) = self.open.greetings.remove(&to) {
                        // The session may have ended meanwhile.
                        let _ = answer.send(greeting);
                    }
                }
                Effect::Execute {
                    id,
                    command,
                    accepted,
                    limit,
                } => {
                    tracing::info!(attempt = %id, command = command.word(), "begun");
                    self.executor.taken(&command);
                    let attempt = self.open.attempt(id, command, accepted, limit, false);
                    let executor = Arc::clone(&self.executor);
                    self.open.watch(attempt, async move |attempt| {
                        executor.execute(attempt).await
                    });
                }
                Effect::Kill(id) => {
                    if let Some(cancel) = self.open.cancels.get(&id) {
                        tracing::info!(attempt = %id, "cancelled");
                        cancel.send_replace(true);
                    }
                }
            }
        }
    }

    fn reply(&mut self, to: Recipient, report: AttemptReport) {
        if report.state.is_final() {
            tracing::info!(attempt = %report.id, state = ?report.state, evidence = report.evidence, "told");
            self.executor.settled(&report.id);
        }
        if report.id.operation == OperationId(0) {
            self.tell_act(&report);
            if report.state.is_final()
                && let Some(answer) = self.open.by_hand.remove(&report.id)
            {
                // The caller may be gone; the outcome is in the ledger.
                let _ = answer.send(Ok(report));
            }
            return;
        }
        match to {
            Recipient::Asker(peer) => {
                if let Some(outbox) = self.outbox(peer) {
                    outbox.report(report);
                }
            }
            Recipient::Everyone => self
                .outboxes
                .iter()
                .for_each(|outbox| outbox.report(report.clone())),
        }
    }

    /// Tells every coordinator of an act by hand that is over, and durably so. Those that are not there now learn of it
    /// when they are.
    fn tell_act(&self, report: &AttemptReport) {
        let act = self.ledger().entry(&report.id).and_then(Entry::act);
        for outbox in &self.outboxes {
            if let Some(act) = &act {
                outbox.say(acts::message([act.clone()]));
            }
        }
    }

    fn outbox(&self, Peer(number): Peer) -> Option<&Arc<Outbox>> {
        self.outboxes.get(usize::try_from(number).ok()?)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic inside the ledger is a defect; going on with what is in memory could execute twice. It is not
        // poisoned by readers, which only read.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Observes and guards by an assignment from now on.
pub(super) fn take_up(assignment: &Assignment, board: &Board, executor: &impl Executor) {
    // Before the board is made anew, so that it is told with the rest.
    board.refuse(judge(assignment, executor));
    let checks = assignment.checks.keys().chain(assignment.unusable.keys());
    board.found(
        assignment.mark.generation,
        assignment.instances.keys(),
        checks,
    );
    executor.assigned(assignment);
}
