//! One run: everything together, one event after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::lease::Terms;

use super::coordinators::Coordinator;
use super::event::{Event, Payload, Place};
use super::machine::{Clocks, Machine};
use super::oracle::{Oracle, Rule, Violation};
use super::setup::{Cluster, Kind, NODES, Setup};
use super::store::Store;
use crate::random::Random;
use crate::schedule::Schedule;

/// How long after the last trouble there must be one primary.
const CALM: Duration = Duration::from_secs(60);

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The rule that was broken, if one was.
    pub violation: Option<Violation>,
    /// How the epochs ended: counts by kind.
    pub exclusions: BTreeMap<&'static str, u64>,
    /// How often something happened, by name: so that a test can see that it did.
    pub counts: BTreeMap<&'static str, u64>,
    /// What happened, if it was to be told.
    pub story: Vec<String>,
}

pub(super) struct Run {
    pub(super) setup: Setup,
    pub(super) cluster: Cluster,
    pub(super) spec: Terms,
    pub(super) random: Random,
    pub(super) schedule: Schedule<Event>,
    pub(super) machines: Vec<Machine>,
    pub(super) coordinators: Vec<Coordinator>,
    pub(super) store: Store,
    pub(super) cuts: BTreeMap<(Place, Place), Duration>,
    pub(super) slow_until: Duration,
    pub(super) oracle: Oracle,
    pub(super) promotions: u64,
    pub(super) operation_since: Duration,
    /// Nothing moves by itself any more: a person wants it so.
    pub(super) rests: bool,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) then: Option<Duration>,
    pub(super) tells: bool,
    pub(super) story: Vec<String>,
}

/// Runs until a rule is broken or everything is over.
#[must_use]
pub fn run(setup: &Setup) -> Report {
    Run::new(setup, false).go()
}

/// The same, with its story.
#[must_use]
pub fn tell(setup: &Setup) -> Report {
    Run::new(setup, true).go()
}

impl Run {
    fn new(setup: &Setup, tells: bool) -> Self {
        let mut random = Random::new(setup.seed ^ 0x1ea5e);
        let cluster = setup.cluster(&mut random);
        let extreme = setup.kind == Kind::Cuts && random.chance(85);
        let clocks = |random: &mut Random, slow: bool| {
            let mut error = |most: i64| {
                let bound = u64::try_from(most * 2).unwrap_or(0);
                // Often as wrong as it may be: the middle proves nothing.
                match random.below(3) {
                    _ if extreme && slow => -most,
                    _ if extreme => most,
                    0 => most,
                    1 => -most,
                    _ => i64::try_from(random.below(bound)).unwrap_or(0) - most,
                }
            };
            let (slew, raw) = (error(cluster.slew), error(cluster.raw));
            Clocks::new(Duration::ZERO, slew, raw)
        };
        let machines = (0..NODES)
            .map(|_| Machine::new(clocks(&mut random, true)))
            .collect();
        let coordinators = (0..3)
            .map(|_| Coordinator::new(clocks(&mut random, false)))
            .collect();
        let mut oracle = Oracle::default();
        oracle.amnesty = setup.kind == Kind::Restores;
        Self {
            setup: setup.clone(),
            spec: cluster.terms.clone(),
            cluster,
            random,
            schedule: Schedule::new(),
            machines,
            coordinators,
            store: Store::new(),
            cuts: BTreeMap::new(),
            slow_until: Duration::ZERO,
            oracle,
            promotions: 0,
            operation_since: Duration::ZERO,
            rests: false,
            counts: BTreeMap::new(),
            then: None,
            tells,
            story: Vec::new(),
        }
    }

    fn go(mut self) -> Report {
        let millis = Duration::from_millis;
        for node in 0..NODES {
            let boots = self.machines[node].boots;
            self.schedule
                .after(millis(0), Event::AgentStart { node, boots });
            self.schedule
                .after(millis(10 + 7 * node as u64), Event::Hello { node });
            self.schedule
                .after(millis(20 + 7 * node as u64), Event::Look { node });
        }
        for coordinator in 0..self.coordinators.len() {
            self.schedule.after(
                millis(coordinator as u64),
                Event::CoordinatorStart { coordinator },
            );
            self.schedule.after(
                millis(5 + coordinator as u64),
                Event::Campaign { coordinator },
            );
            self.schedule
                .after(millis(15 + coordinator as u64), Event::Lead { coordinator });
        }
        for event in [Event::Write, Event::Replicate, Event::Operator] {
            self.schedule.after(millis(1), event);
        }
        self.schedule.after(Duration::from_secs(4), Event::Trouble);
        let end = self.setup.trouble + CALM;
        while self.oracle.violation.is_none() && self.now() < end {
            let Some(event) = self.schedule.take() else {
                break;
            };
            self.happen(event);
            self.look();
            if self.now() > self.setup.trouble + Duration::from_secs(2) && self.is_well() {
                break;
            }
        }
        if self.oracle.violation.is_none() && !self.is_well() && !self.waits_for_a_person() {
            let why = self.why_not_well();
            self.oracle
                .complain(Rule::Liveness, self.schedule.now(), why);
        }
        self.report()
    }

    pub(super) fn now(&self) -> Duration {
        self.schedule.now()
    }

    pub(super) fn is_trouble(&self) -> bool {
        self.now() < self.setup.trouble
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.tells {
            let at = self.now().as_secs_f64();
            self.story.push(format!("{at:9.4} {}", what()));
        }
    }

    /// Takes the next event, unless who it is for does not run: then it waits.
    fn happen(&mut self, event: Event) {
        let now = self.now();
        if let Some((node, timer)) = event.machine() {
            let machine = &self.machines[node];
            if let Some((since, until)) = machine.paused {
                // What runs by the machine's clock goes on where it stood; what comes from outside is there at once.
                let left = if timer {
                    now.saturating_sub(since)
                } else {
                    Duration::ZERO
                };
                self.schedule.at(until + left, event);
                return;
            }
            let frozen = machine
                .agent
                .as_ref()
                .map_or(Duration::ZERO, |agent| agent.frozen_until);
            if event.is_for_agent() && frozen > now {
                let then = Event::Late {
                    then: now,
                    event: Box::new(event),
                };
                self.schedule.at(frozen, then);
                return;
            }
        }
        match event {
            Event::Late { then, event } => {
                self.then = Some(then);
                self.happen(*event);
                self.then = None;
            }
            Event::Deliver {
                from,
                to,
                session,
                payload,
            } => self.deliver(from, to, session, *payload),
            Event::Wake { node, life, wake } => self.wake(node, life, wake),
            Event::Disk {
                node,
                life,
                batch,
                facts,
            } => self.disk_has(node, life, batch, facts),
            Event::Manager {
                node,
                boots,
                work,
                what,
            } => self.manager_ends(node, boots, work, what),
            Event::Watchdog { node, boots } => self.watchdog(node, boots),
            Event::Boot { node, boots } => self.boot(node, boots),
            Event::AgentStart { node, boots } => self.agent_start(node, boots),
            Event::Resume { node } => self.machines[node].paused = None,
            Event::Wrong { fault, node } => self.go_wrong(fault, node),
            Event::Kill { node, life } => self.kills(node, life),
            Event::Hello { node } => self.hello(node),
            Event::Look { node } => self.observe(node),
            Event::Campaign { coordinator } => self.campaign(coordinator),
            Event::Lead { coordinator } => self.lead(coordinator),
            Event::CoordinatorStart { coordinator } => self.coordinator_start(coordinator),
            Event::Watched {
                coordinator,
                life,
                stored,
            } => self.watched(coordinator, life, stored),
            Event::FenceEnds {
                coordinator,
                life,
                node,
                asked,
            } => {
                self.fence_ends(coordinator, life, node, asked);
            }
            Event::Tried {
                coordinator,
                life,
                observer,
                node,
                asked,
            } => self.others_tried(coordinator, life, observer, node, asked),
            Event::Write => self.write(),
            Event::Replicate => self.replicate(),
            Event::Operator => self.operator(),
            Event::Trouble => self.trouble(),
        }
    }

    /// Whether a message goes through at this moment.
    pub(super) fn is_cut(&self, from: Place, to: Place) -> bool {
        self.cuts
            .get(&(from, to))
            .is_some_and(|until| *until > self.now())
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for this call alone")]
    pub(super) fn send(&mut self, from: Place, to: Place, payload: Payload) {
        if self.is_cut(from, to) {
            return;
        }
        let session = match from {
            Place::Node(node) => (self.machines[node].boots, self.machines[node].lives),
            Place::Coordinator(c) => (0, self.coordinators[c].life),
            Place::Store => (0, 0),
        };
        let bad = self.is_trouble();
        if bad && self.random.chance(2) {
            return;
        }
        let copies = if bad && self.random.chance(3) { 2 } else { 1 };
        for _ in 0..copies {
            let mut delay = self.random.millis(1, 12);
            if self.slow_until > self.now() && self.random.chance(35) {
                let most = if self.setup.kind == Kind::Cuts {
                    6000
                } else {
                    3000
                };
                delay = self.random.millis(20, most);
            }
            let payload = Box::new(payload.clone());
            self.schedule.after(
                delay,
                Event::Deliver {
                    from,
                    to,
                    session,
                    payload,
                },
            );
        }
    }

    fn deliver(&mut self, from: Place, to: Place, session: (u64, u64), payload: Payload) {
        // What was on its way when a link was cut arrives.
        match (from, to) {
            (_, Place::Node(node)) => self.node_hears(node, from, payload),
            (Place::Node(node), Place::Coordinator(c)) => {
                self.coordinator_hears(c, node, session, payload);
            }
            (Place::Store, Place::Coordinator(c)) => self.store_answers(c, payload),
            (Place::Coordinator(c), Place::Store) => self.store_hears(c, session.1, payload),
            (_, _) => {}
        }
    }

    /// The oracle looks at the world.
    fn look(&mut self) {
        let writers = self.writers();
        let now = self.now();
        self.oracle.writers(&writers, now);
    }

    pub(super) fn writers(&self) -> Vec<usize> {
        let by_path = self.cluster.path;
        (0..NODES)
            .filter(|node| self.machines[*node].is_writable(by_path, self.now()))
            .collect()
    }

    /// One primary, that the store knows, and that everybody follows.
    fn is_well(&self) -> bool {
        let [writer] = self.writers()[..] else {
            return false;
        };
        let held = self.store.now.record.as_ref().is_some_and(|(record, _)| {
            record.is_held()
                && record
                    .holder()
                    .is_some_and(|h| super::machine::number(&h.node) == writer)
        });
        held && self.store.now.failover.is_none()
            && self.machines.iter().all(|m| m.runs() && m.agent.is_some())
    }

    /// Disks went back, and nobody is left who has everything: that is for a person to decide, and it is said.
    fn waits_for_a_person(&self) -> bool {
        let nobody = self
            .store
            .now
            .record
            .as_ref()
            .is_some_and(|(record, _)| record.holder().is_none());
        let mut leaders = self.coordinators.iter().filter_map(|c| c.leader.as_ref());
        self.setup.kind == Kind::Reverts
            && nobody
            && leaders.any(|(_, leader)| leader.reason().is_some())
    }

    fn why_not_well(&self) -> String {
        let reasons: Vec<String> = self
            .coordinators
            .iter()
            .filter_map(|c| c.leader.as_ref())
            .filter_map(|(_, leader)| leader.reason().map(str::to_owned))
            .collect();
        let nodes: Vec<String> = self
            .machines
            .iter()
            .map(|m| {
                format!(
                    "{:?}/{:?}/{:?}",
                    m.on,
                    m.database.state,
                    m.agent.as_ref().map(|a| a.holder.is_standby())
                )
            })
            .collect();
        let record = self.store.now.record.as_ref();
        let record =
            record.map(|(r, _)| format!("{} {:?} held {}", r.epoch(), r.holder(), r.is_held()));
        format!(
            "writers {:?}, {record:?}, failover {:?}, {nodes:?}, leaders say {reasons:?}",
            self.writers(),
            self.store.now.failover
        )
    }

    fn report(self) -> Report {
        let mut exclusions: BTreeMap<&'static str, u64> = BTreeMap::new();
        if let Some((record, _)) = &self.store.now.record {
            for note in record.exclusions().values() {
                *exclusions.entry(kind_of(note)).or_default() += 1;
            }
        }
        Report {
            violation: self.oracle.violation,
            exclusions,
            counts: self.counts,
            story: self.story,
        }
    }
}

fn kind_of(note: &interlock_model::lease::Exclusion) -> &'static str {
    use interlock_model::lease::Exclusion;
    match note {
        Exclusion::Released { .. } => "released",
        Exclusion::Expired { .. } => "expired",
        Exclusion::Fenced { .. } => "fenced",
        Exclusion::Attested { .. } => "attested",
        Exclusion::NeverHeld => "never held",
        Exclusion::AllReported => "all reported",
    }
}
