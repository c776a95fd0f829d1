//! The thread that owns all machines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use interlock_engine::lease::holder::Event;
use interlock_model::names::ServiceName;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};

use super::facts::Job;
use super::handle::Options;
use super::input::{Input, Newcomer, Order};
use super::seat::{Claims, Seat, Shell};
use super::sign::Signs;
use super::tenures::Tenures;
use super::view::Views;
use super::{clock, memory};
use crate::session::LeaseMail;

/// How long it sleeps when it keeps nothing.
const IDLE: Duration = Duration::from_secs(3600);

/// Keeps all roles of this node.
#[derive(Debug)]
pub(super) struct Keeper {
    seats: BTreeMap<ServiceName, Seat>,
    /// Also of services that have no seat yet: an attempt may be older than the first look.
    claims: BTreeMap<ServiceName, Claims>,
    shell: Shell,
    runtime: std::path::PathBuf,
    views: watch::Sender<Views>,
    signs: watch::Sender<Signs>,
    exits: Vec<oneshot::Sender<()>>,
}

impl Keeper {
    pub(super) fn new(
        options: Options,
        mails: Vec<Arc<LeaseMail>>,
        jobs: Sender<Job>,
        works: UnboundedSender<Order>,
        (views, signs): (watch::Sender<Views>, watch::Sender<Signs>),
    ) -> Self {
        Self {
            seats: BTreeMap::new(),
            claims: BTreeMap::new(),
            shell: Shell {
                me: options.me,
                reset: options.reset,
                mails,
                questions: options.questions,
                dog: options.dog,
                jobs,
                works,
                tenures: None,
            },
            runtime: options.runtime,
            views,
            signs,
            exits: Vec::new(),
        }
    }

    /// Keeps them until nobody can tell it anything any more, which is when the process ends.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            match inputs.recv_timeout(self.due_in()) {
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for seat in self.seats.values_mut().filter(|seat| !seat.is_at_rest()) {
                seat.tick(&mut self.shell);
            }
            self.pet();
            self.publish();
            self.show();
            self.answer_exits();
        }
    }

    fn due_in(&self) -> Duration {
        let now = clock::read();
        let seats = self.seats.values().filter(|seat| !seat.is_at_rest());
        let due = seats.map(|seat| seat.due_in(now));
        due.fold(IDLE, Duration::min)
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Seat(newcomer) => self.seat(*newcomer),
            Input::Unassign(service) => self.with(&service, |seat, _| seat.unassigned = true),
            Input::Word(service, event) => {
                self.with(&service, |seat, shell| seat.hear(event, shell));
            }
            Input::Committed { service, batch } => {
                self.with(&service, |seat, shell| {
                    seat.tell(Event::Committed(batch), shell);
                });
            }
            Input::Asked {
                service,
                from,
                epoch,
                life,
                answer,
            } => self.with(&service, |seat, shell| {
                // Who asked may have lost patience.
                let _ = answer.send(seat.asked(from, epoch, life, shell));
            }),
            Input::Ready(service, readiness) => {
                self.with(&service, |seat, _| seat.readiness = readiness);
            }
            Input::Taken(service) => self.claim(&service, |claims| claims.attempts += 1),
            Input::LetGo(service) => self.claim(&service, |claims| {
                claims.attempts = claims.attempts.saturating_sub(1);
                claims.leaving &= claims.attempts > 0;
            }),
            Input::Leave(service) => self.claim(&service, |claims| claims.leaving = true),
            Input::Done {
                service,
                turn,
                outcome,
            } => self.with(&service, |seat, shell| seat.done(turn, outcome, shell)),
            Input::Prepared(service) => self.with(&service, |seat, _| seat.prepared()),
            Input::Awaited(service, awaited) => self.with(&service, |seat, _| {
                seat.awaited = match awaited {
                    true => seat.awaited + 1,
                    false => seat.awaited.saturating_sub(1),
                };
            }),
            Input::Grip(service, part, grip) => {
                self.with(&service, |seat, _| seat.hold(part, grip));
            }
            Input::Seen(service, sight) => {
                self.with(&service, |seat, shell| seat.seen(sight, shell));
            }
            Input::Rest(service, rest) => self.with(&service, |seat, _| seat.end_rest(&rest)),
            Input::Ended(service, position) => {
                self.with(&service, |seat, _| seat.ended = position);
            }
            Input::Diverged(service) => {
                self.with(&service, |seat, shell| seat.tell(Event::Diverged, shell));
            }
            Input::Unwritten(service) => {
                self.with(&service, |seat, shell| seat.tell(Event::Unwritten, shell));
            }
            Input::Demoted(service, part) => {
                self.with(&service, |seat, _| seat.demoted(part));
            }
            Input::Follows(service, epoch) => {
                self.with(&service, |seat, shell| {
                    seat.tell(Event::Follows(epoch), shell);
                });
            }
            Input::Lost(service, loss) => {
                self.with(&service, |seat, _| seat.lost = Some(loss));
            }
            Input::Degrade(service, asked) => {
                self.with(&service, |seat, shell| {
                    seat.asked = asked;
                    // What was seen before this may say that writes wait.
                    seat.changed();
                    // From now on the record is to say how far it has written itself.
                    let written = seat.data.as_ref().and_then(|data| data.position);
                    seat.tell(Event::Position(written), shell);
                    seat.tell(Event::Degrade, shell);
                });
            }
            Input::Session => {
                for seat in self.seats.values_mut().filter(|seat| !seat.is_at_rest()) {
                    seat.say_standing(true, &self.shell);
                }
            }
            Input::LeaveAll => {
                for seat in self.seats.values_mut() {
                    seat.machine_goes = true;
                }
            }
            Input::Exit(answer) => {
                for seat in self.seats.values_mut() {
                    seat.tell(Event::Exit, &mut self.shell);
                }
                self.exits.push(answer);
            }
        }
    }

    fn seat(&mut self, newcomer: Newcomer) {
        if let Some(seat) = self.seats.get_mut(&newcomer.service) {
            // Whatever was read and seen of it before now is older than what the seat knows.
            seat.unassigned = false;
            seat.change(newcomer.leased, newcomer.door);
            return;
        }
        if self.shell.tenures.is_none() {
            self.begin();
        }
        let service = newcomer.service.clone();
        tracing::info!(%service, found = ?newcomer.found, "its role is kept here");
        let mut seat = Seat::take(newcomer, &mut self.shell);
        seat.claims = self.claims.get(&service).copied().unwrap_or_default();
        self.seats.insert(service, seat);
    }

    /// What the first leased service takes.
    fn begin(&mut self) {
        if let Err(error) = memory::lock() {
            tracing::warn!(%error, "the memory of this agent may be paged out: a forced stop may wait for a disk");
        }
        match Tenures::open(&self.runtime) {
            Ok(tenures) => self.shell.tenures = Some(tenures),
            Err(error) => {
                tracing::error!(%error, "a restart of this agent stops its primaries: [lease] runtime_dir cannot be used")
            }
        }
    }

    fn claim(&mut self, service: &ServiceName, change: impl FnOnce(&mut Claims)) {
        let claims = self.claims.entry(service.clone()).or_default();
        change(claims);
        let claims = *claims;
        self.with(service, |seat, _| seat.claims = claims);
    }

    fn with(&mut self, service: &ServiceName, act: impl FnOnce(&mut Seat, &mut Shell)) {
        if let Some(seat) = self.seats.get_mut(service) {
            act(seat, &mut self.shell);
        }
    }

    /// Pets the watchdog, if every primary that it is armed for would have that: by the clocks as they are now.
    fn pet(&mut self) {
        let armed = self.shell.dog.armed();
        let now = clock::read();
        let young = armed.iter().all(|service| {
            let seat = self.seats.get(service);
            seat.is_some_and(|seat| seat.would_pet(now))
        });
        for seat in self.seats.values_mut() {
            seat.pets = false;
        }
        // Nobody's watchdog is nobody's to pet.
        if !young || armed.is_empty() {
            return;
        }
        if let Err(error) = self.shell.dog.pet(now) {
            tracing::error!(%error, "the watchdog takes nothing any more, and resets this machine");
            for service in armed {
                self.with(&service, |seat, shell| {
                    seat.tell(Event::Armed(false), shell)
                });
            }
        }
    }

    fn publish(&self) {
        self.views.send_if_modified(|views| {
            let now: Views = self
                .seats
                .iter()
                .filter(|(_, seat)| !seat.is_at_rest())
                .map(|(service, seat)| (service.clone(), seat.view()))
                .collect();
            let changed = *views != now;
            *views = now;
            changed
        });
    }

    /// Only if anybody is there to be told: this is of every turn.
    fn show(&self) {
        if self.signs.receiver_count() > 0 {
            let now = clock::read();
            let seats = self.seats.iter().filter(|(_, seat)| !seat.is_at_rest());
            let signs = seats.map(|(service, seat)| (service.clone(), seat.sign(now)));
            self.signs.send_replace(signs.collect());
        }
    }

    fn answer_exits(&mut self) {
        if !self.exits.is_empty() && self.seats.values().all(|seat| seat.may_exit) {
            for answer in self.exits.drain(..) {
                // Who asked may have lost patience.
                let _ = answer.send(());
            }
        }
    }
}
