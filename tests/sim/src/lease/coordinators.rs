//! The shell around leaders, and what any coordinator does for holders.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_engine::lease::leader::{Config, Effect, Event as Told, Leader};
use interlock_engine::lease::{
    Clock, NotRenewed, ReleaseReport, RenewRequest, Stored, Written, release, renew,
};
use interlock_model::lease::Terms;
use serde_json::Value;

use super::event::{Event, Payload, Place, Purpose};
use super::machine::{Clocks, name, number};
use super::mutant::Mutant;
use super::run::Run;
use super::setup::{Kind, NODES};
use super::writing::edited;

/// A coordinator process.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) alive: bool,
    pub(super) life: u64,
    pub(super) clocks: Clocks,
    /// What the watch has shown so far.
    cache: Stored,
    pub(super) leader: Option<(u64, Leader)>,
    /// Its watch shows nothing until then.
    pub(super) watch_stalls_until: Duration,
    /// The transaction of the leader that is under way, and since when.
    pub(super) flying: Option<(u64, Duration)>,
    /// The last session of each node, and when it was last heard of.
    sessions: BTreeMap<usize, ((u64, u64), Duration)>,
    /// When what each node said of itself last was said.
    said: BTreeMap<usize, Duration>,
}

impl Coordinator {
    pub(super) fn new(clocks: Clocks) -> Self {
        Self {
            alive: false,
            life: 0,
            clocks,
            cache: Stored::default(),
            leader: None,
            watch_stalls_until: Duration::ZERO,
            flying: None,
            sessions: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    pub(super) fn die(&mut self) {
        self.alive = false;
        self.leader = None;
    }
}

impl Run {
    fn coordinator_clock(&self, c: usize) -> Clock {
        let mut clock = self.coordinators[c].clocks.read(self.now());
        if self.setup.is(Mutant::TrustsOneClock) {
            clock.raw = clock.boottime;
        }
        clock
    }

    pub(super) fn coordinator_start(&mut self, c: usize) {
        let coordinator = &mut self.coordinators[c];
        if coordinator.alive {
            return;
        }
        coordinator.alive = true;
        coordinator.life += 1;
        coordinator.cache = self.store.now.clone();
        coordinator.leader = None;
        coordinator.flying = None;
        coordinator.sessions.clear();
        coordinator.said.clear();
    }

    fn reaches_store(&self, c: usize) -> bool {
        let (me, store) = (Place::Coordinator(c), Place::Store);
        let up = self.store.down_until <= self.now();
        up && !self.is_cut(me, store) && !self.is_cut(store, me)
    }

    /// Takes the leader's key or keeps it. One that cannot reach the store goes on believing what it believed.
    pub(super) fn campaign(&mut self, c: usize) {
        let delay = self.random.millis(150, 300);
        self.schedule
            .after(delay, Event::Campaign { coordinator: c });
        if !self.coordinators[c].alive || !self.reaches_store(c) {
            return;
        }
        let now = self.now();
        let term = self.store.campaign(c, now);
        let coordinator = &mut self.coordinators[c];
        let Some(term) = term else {
            coordinator.leader = None;
            return;
        };
        if coordinator
            .leader
            .as_ref()
            .is_some_and(|(held, _)| *held == term)
        {
            return;
        }
        let leader = Leader::new(Config {
            service: "db".parse().expect("a name"),
            incarnation: self.store.incarnation(),
            terms: self.spec.clone(),
            fence: self.cluster.fence,
            stop_within: Duration::from_secs(10),
            boot_dead: if self.setup.is(Mutant::ForgetsBoots) {
                Duration::ZERO
            } else {
                self.cluster.boot_dead
            },
        });
        coordinator.leader = Some((term, leader));
        coordinator.flying = None;
        self.say(|| format!("coordinator {c} leads in term {term}"));
        self.lead_with(c, Told::Automatic(!self.rests));
        if let Some((id, target)) = self.store.operation {
            self.lead_with(c, Told::Wanted(Some((id, name(target)))));
        }
    }

    /// Tells a leader something.
    pub(super) fn lead_with(&mut self, c: usize, told: Told) {
        let clock = self.coordinator_clock(c);
        let Some((term, leader)) = &mut self.coordinators[c].leader else {
            return;
        };
        let term = *term;
        for effect in leader.handle(told, clock) {
            self.carry_out_leader(c, term, effect);
        }
    }

    /// All leaders, the one that has the key and those that do not know yet that they have not.
    pub(super) fn lead_all(&mut self, told: &Told) {
        for c in 0..self.coordinators.len() {
            self.lead_with(c, told.clone());
        }
    }

    pub(super) fn lead(&mut self, c: usize) {
        self.schedule
            .after(Duration::from_millis(50), Event::Lead { coordinator: c });
        if !self.coordinators[c].alive || self.coordinators[c].leader.is_none() {
            return;
        }
        let now = self.now();
        let overdue = self.coordinators[c]
            .flying
            .filter(|(_, since)| now > *since + Duration::from_secs(1));
        if let Some((id, _)) = overdue {
            self.coordinators[c].flying = None;
            self.lead_with(c, Told::NotCommitted(id));
        }
        let heard = self.coordinators[c].sessions.values();
        let silent = heard.filter(|(_, at)| now > *at + Duration::from_millis(1500));
        let silent = silent.count();
        let doubt = (silent * 2 > NODES).then(|| format!("{silent} nodes are silent"));
        self.lead_with(c, Told::Doubted(doubt));
        self.lead_with(c, Told::Tick);
    }

    fn carry_out_leader(&mut self, c: usize, term: u64, effect: Effect) {
        if !matches!(effect, Effect::Read) {
            self.say(|| match &effect {
                Effect::Commit { id, transaction } => {
                    let record = transaction.record();
                    let record = record.map(|r| format!("{} to {:?}", r.epoch(), r.holder()));
                    format!("coordinator {c} -> commit {id}: {record:?}")
                }
                other => format!("coordinator {c} -> {other:?}"),
            });
        }
        let me = Place::Coordinator(c);
        match effect {
            Effect::Read if self.setup.is(Mutant::CountsFromWatch) => {
                let stored = self.coordinators[c].cache.clone();
                self.schedule.after(
                    Duration::ZERO,
                    Event::Deliver {
                        from: Place::Store,
                        to: me,
                        session: (0, 0),
                        payload: Box::new(Payload::HasRead(Purpose::Lead { term }, stored)),
                    },
                );
            }
            Effect::Read => self.send(me, Place::Store, Payload::Read(Purpose::Lead { term })),
            Effect::Commit { id, transaction } => {
                self.coordinators[c].flying = Some((id, self.now()));
                let purpose = Purpose::Decide { term, id };
                self.send(
                    me,
                    Place::Store,
                    Payload::Commit {
                        transaction,
                        purpose,
                    },
                );
            }
            Effect::Promote { to, epoch, terms } => {
                let node = Place::Node(number(&to.node));
                self.send(
                    me,
                    node,
                    Payload::Promote {
                        epoch,
                        holder: to,
                        terms,
                    },
                );
            }
            Effect::Propose { to, terms } => {
                self.send(me, Place::Node(number(&to.node)), Payload::Propose(terms));
            }
            Effect::AskRelease { from, epoch, .. } => {
                self.count("asked to release");
                self.send(
                    me,
                    Place::Node(number(&from.node)),
                    Payload::AskRelease(epoch),
                );
                self.give_up();
            }
            Effect::Clear(node) => {
                self.send(me, Place::Node(number(&node)), Payload::Cleared);
            }
            Effect::Probe(node) => self.ask_others(c, number(&node)),
            Effect::Fence { node, .. } => {
                self.count("fence calls");
                let asked = self.coordinator_clock(c);
                let life = self.coordinators[c].life;
                let delay = self.random.millis(300, 2000);
                let node = number(&node);
                let since = self.reached_since(node);
                self.oracle.fences(node, since, self.now());
                self.schedule.after(
                    delay,
                    Event::FenceEnds {
                        coordinator: c,
                        life,
                        node,
                        asked,
                    },
                );
            }
        }
    }

    pub(super) fn fence_ends(&mut self, c: usize, life: u64, node: usize, asked: Clock) {
        // A call that fails has done nothing, or everything: nobody knows.
        let (works, is_told) = match self.random.below(10) {
            0 => (false, false),
            1 => (true, false),
            _ => (true, true),
        };
        if works {
            self.power_cycle(node);
        }
        let believes = !works && self.setup.is(Mutant::TakesFailedFence);
        if (is_told || believes) && self.coordinators[c].alive && self.coordinators[c].life == life
        {
            self.lead_with(
                c,
                Told::PoweredOff {
                    node: name(node),
                    asked,
                },
            );
        } else if !works {
            self.lead_with(
                c,
                Told::NotFenced {
                    node: name(node),
                    why: "the fence agent says so".to_owned(),
                    asked: true,
                },
            );
        }
    }

    /// Has the agents of all other nodes try to reach a machine.
    fn ask_others(&mut self, c: usize, node: usize) {
        self.count("others asked");
        let asked = self.coordinator_clock(c);
        let life = self.coordinators[c].life;
        for observer in (0..NODES).filter(|other| *other != node) {
            let delay = self.random.millis(20, 450);
            self.schedule.after(
                delay,
                Event::Tried {
                    coordinator: c,
                    life,
                    observer,
                    node,
                    asked,
                },
            );
        }
    }

    pub(super) fn others_tried(
        &mut self,
        c: usize,
        life: u64,
        observer: usize,
        node: usize,
        asked: Clock,
    ) {
        let (me, there) = (Place::Coordinator(c), Place::Node(observer));
        let machine = &self.machines[observer];
        let agent = machine.agent.as_ref().filter(|_| machine.runs());
        let tries = agent.is_some_and(|agent| agent.frozen_until <= self.now());
        let heard = !self.is_cut(me, there) && !self.is_cut(there, me);
        let is_same = self.coordinators[c].alive && self.coordinators[c].life == life;
        if !(tries && heard && is_same) {
            return;
        }
        let other = Place::Node(node);
        let cut = self.is_cut(there, other) || self.is_cut(other, there);
        // The kernel answers, whatever its agent does.
        let reached = !cut && self.machines[node].runs();
        self.lead_with(
            c,
            Told::Tried {
                observer: name(observer),
                node: name(node),
                reached: reached && !self.setup.is(Mutant::FencesOnOneSignal),
                asked,
            },
        );
    }

    /// Since when every other node reaches this machine; none if one of them does not, or it is not known.
    fn reached_since(&self, node: usize) -> Option<Duration> {
        let machine = &self.machines[node];
        if !machine.runs() || self.setup.kind == Kind::Pauses {
            return None;
        }
        let others = (0..NODES).filter(|other| *other != node).map(Place::Node);
        let here = Place::Node(node);
        let links = others.flat_map(|other| [(other, here), (here, other)]);
        let cuts = links.filter_map(|link| self.cuts.get(&link).copied());
        let since = cuts.fold(machine.clocks.since(), Duration::max);
        (since <= self.now()).then_some(since)
    }

    pub(super) fn watched(&mut self, c: usize, life: u64, stored: Stored) {
        let coordinator = &mut self.coordinators[c];
        let newer = stored.revision() >= coordinator.cache.revision();
        if coordinator.alive && coordinator.life == life && newer {
            coordinator.cache = stored;
        }
    }

    pub(super) fn coordinator_hears(
        &mut self,
        c: usize,
        node: usize,
        session: (u64, u64),
        payload: Payload,
    ) {
        let now = self.now();
        let coordinator = &mut self.coordinators[c];
        let last = coordinator
            .sessions
            .get(&node)
            .map_or((0, 0), |(last, _)| *last);
        if !coordinator.alive || session < last {
            return;
        }
        coordinator.sessions.insert(node, (session, now));
        let to = Place::Node(node);
        match payload {
            Payload::Renew(request) => {
                let stored = coordinator.cache.clone();
                self.try_renew(c, node, request, &stored, 0);
            }
            Payload::Release(report) => {
                let stored = coordinator.cache.clone();
                self.try_release(c, node, report, &stored, 0);
            }
            Payload::Standing { said, mut standing } => {
                // A session keeps its order.
                let last = coordinator.said.insert(node, said);
                if last.is_some_and(|last| last > said) {
                    coordinator.said.extend(last.map(|last| (node, last)));
                    return;
                }
                if let Some((record, _)) = &coordinator.cache.record {
                    let (epoch, holder) = (record.epoch(), record.holder().cloned());
                    let witnessed = record.witnessed(&name(node));
                    if self.setup.is(Mutant::IgnoresIncarnation) {
                        standing.seen = standing.seen.min(epoch);
                        standing.holding = None;
                    }
                    self.send(
                        Place::Coordinator(c),
                        to,
                        Payload::Heard {
                            epoch,
                            holder,
                            witnessed,
                        },
                    );
                }
                self.lead_with(c, Told::Standing(*standing));
            }
            Payload::Sighting {
                node: seen,
                writable,
            } => {
                let (observer, node) = (name(node), name(seen));
                self.lead_with(
                    c,
                    Told::Sighted {
                        observer,
                        node,
                        writable,
                    },
                );
            }
            _ => {}
        }
    }

    /// Renews on behalf of a holder, by what was read; reads again if that does not fit.
    pub(super) fn try_renew(
        &mut self,
        c: usize,
        node: usize,
        request: RenewRequest,
        stored: &Stored,
        tries: u8,
    ) {
        let (me, to) = (Place::Coordinator(c), Place::Node(node));
        let any_order = self.setup.is(Mutant::TakesRenewalsInAnyOrder);
        let changed = any_order.then(|| edited(stored, |record| record["renewed"] = Value::Null));
        let stored = changed.as_ref().unwrap_or(stored);
        match renew(&request, stored) {
            Ok(written) => {
                let terms = written.terms(stored).cloned();
                match written {
                    Written::Commit(transaction) => {
                        let purpose = Purpose::Renew {
                            node,
                            request,
                            terms,
                            tries,
                        };
                        let transaction = *transaction;
                        self.send(
                            me,
                            Place::Store,
                            Payload::Commit {
                                transaction,
                                purpose,
                            },
                        );
                    }
                    Written::Already => self.acknowledge(c, node, &request, terms),
                }
            }
            Err(NotRenewed::Superseded { asked, .. }) => {
                self.send(me, to, Payload::Superseded(asked))
            }
            Err(NotRenewed::Behind { .. } | NotRenewed::Outdated) if tries < 2 => {
                let purpose = Purpose::Renew {
                    node,
                    request,
                    terms: None,
                    tries: tries + 1,
                };
                self.send(me, Place::Store, Payload::Read(purpose));
            }
            Err(NotRenewed::Behind { .. } | NotRenewed::Outdated) => {}
        }
    }

    pub(super) fn acknowledge(
        &mut self,
        c: usize,
        node: usize,
        request: &RenewRequest,
        terms: Option<Terms>,
    ) {
        if let Some(terms) = terms {
            let (epoch, sent) = (request.epoch, request.sent);
            let payload = Payload::Acknowledged { epoch, sent, terms };
            self.send(Place::Coordinator(c), Place::Node(node), payload);
        }
    }

    pub(super) fn try_release(
        &mut self,
        c: usize,
        node: usize,
        mut report: ReleaseReport,
        stored: &Stored,
        tries: u8,
    ) {
        let (me, to) = (Place::Coordinator(c), Place::Node(node));
        if self.setup.is(Mutant::TakesAnyProof)
            && let Some((record, _)) = &stored.record
            && let Some(holder) = record.holder()
        {
            report.epoch = record.epoch();
            report.holder = holder.clone();
        }
        match release(&report, stored) {
            Ok(Written::Commit(transaction)) => {
                let purpose = Purpose::Release {
                    node,
                    report,
                    tries,
                };
                let transaction = *transaction;
                self.send(
                    me,
                    Place::Store,
                    Payload::Commit {
                        transaction,
                        purpose,
                    },
                );
            }
            Ok(Written::Already) => self.send(me, to, Payload::ReleaseWritten(report.epoch)),
            Err(_) if tries < 2 => {
                let purpose = Purpose::Release {
                    node,
                    report,
                    tries: tries + 1,
                };
                self.send(me, Place::Store, Payload::Read(purpose));
            }
            Err(_) => {}
        }
    }

    pub(super) fn leads(&self, c: usize, term: u64) -> bool {
        self.coordinators[c]
            .leader
            .as_ref()
            .is_some_and(|(held, _)| *held == term)
    }
}
