//! What goes wrong, by chance.

use std::time::Duration;

use interlock_engine::lease::holder::Event as Told;
use interlock_engine::lease::leader::Event as LeaderTold;
use interlock_model::lease::{Profile, Timings};

use super::event::{Event, Place};
use super::machine::{State, name};
use super::mutant::Mutant;
use super::run::Run;
use super::setup::{Kind, NODES};

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Isolate,
    IsolateAndFreeze,
    IsolateAndKill,
    SpecThenIsolate,
    SpecThenFreeze,
    OperateThenLose,
    SlowThenFreeze,
    StallWatch,
    LoseCoordinators,
    LoseThenPart,
    LeaveThenJoin,
    LoseLong,
    Join,
    Part,
    CutLink,
    CutStore,
    Slow,
    KillAgent,
    FreezeAgent,
    Exit,
    PowerLoss,
    DatabaseDies,
    DatabaseSticks,
    Lag,
    Stall,
    KillCoordinator,
    LoseKey,
    Election,
    Spec,
    Door,
    Pause,
    Snapshot,
    Revert,
    BackUp,
    Restore,
}

use Fault::{
    BackUp, CutLink, CutStore, DatabaseDies, DatabaseSticks, Door, Election, Exit, FreezeAgent,
    Isolate, IsolateAndFreeze, IsolateAndKill, Join, KillAgent, KillCoordinator, Lag,
    LeaveThenJoin, LoseCoordinators, LoseKey, LoseLong, LoseThenPart, OperateThenLose, Part, Pause,
    PowerLoss, Restore, Revert, Slow, SlowThenFreeze, Snapshot, Spec, SpecThenFreeze,
    SpecThenIsolate, Stall, StallWatch,
};

const USUAL: [Fault; 23] = [
    StallWatch,
    Isolate,
    Isolate,
    IsolateAndFreeze,
    IsolateAndKill,
    LoseCoordinators,
    CutLink,
    CutStore,
    Slow,
    Slow,
    KillAgent,
    FreezeAgent,
    Exit,
    PowerLoss,
    DatabaseDies,
    DatabaseSticks,
    Lag,
    Stall,
    KillCoordinator,
    LoseKey,
    Election,
    Spec,
    Door,
];

impl Run {
    fn faults(&self) -> Vec<Fault> {
        let more: &[Fault] = match self.setup.kind {
            Kind::Usual | Kind::Hold => &[],
            Kind::Failsafe => {
                let mut faults = vec![LoseCoordinators; 8];
                faults.extend([LoseThenPart; 10]);
                return USUAL.iter().copied().chain(faults).collect();
            }
            Kind::Pauses => &[Pause; 5],
            Kind::Reverts => &[Snapshot, Snapshot, Revert, Revert, Revert],
            Kind::Restores => &[BackUp, BackUp, Restore, Restore],
            Kind::Hiccups => return vec![Election],
            Kind::Moves => return vec![KillCoordinator, LoseKey],
            Kind::Required => {
                return vec![
                    Spec,
                    Spec,
                    DatabaseDies,
                    DatabaseDies,
                    PowerLoss,
                    KillAgent,
                    LoseKey,
                    KillCoordinator,
                ];
            }
            Kind::Joins => return vec![LeaveThenJoin],
            Kind::Cuts => {
                let mut faults = vec![
                    Isolate,
                    Slow,
                    Slow,
                    FreezeAgent,
                    LoseKey,
                    KillCoordinator,
                    CutStore,
                ];
                faults.extend([IsolateAndFreeze; 4]);
                faults.extend([IsolateAndKill; 3]);
                faults.extend([SpecThenIsolate; 4]);
                faults.extend([SpecThenFreeze; 2]);
                faults.extend([SlowThenFreeze; 3]);
                faults.extend([StallWatch; 4]);
                return faults;
            }
            Kind::Deaths => {
                let mut faults = vec![
                    Door,
                    PowerLoss,
                    KillAgent,
                    LoseKey,
                    Door,
                    LoseCoordinators,
                    Exit,
                    Slow,
                ];
                faults.extend([DatabaseDies; 4]);
                faults.extend([Isolate; 3]);
                faults.extend([Lag; 3]);
                faults.extend([OperateThenLose; 3]);
                return faults;
            }
            Kind::Blind => {
                return vec![
                    Isolate,
                    Isolate,
                    LoseCoordinators,
                    DatabaseSticks,
                    DatabaseSticks,
                    PowerLoss,
                    LoseKey,
                ];
            }
            Kind::Seen => {
                return vec![
                    KillAgent,
                    FreezeAgent,
                    FreezeAgent,
                    KillCoordinator,
                    LoseKey,
                ];
            }
        };
        USUAL.iter().chain(more).copied().collect()
    }

    pub(super) fn trouble(&mut self) {
        if !self.is_trouble() {
            self.end_trouble();
            return;
        }
        let (least, most) = match self.setup.kind {
            Kind::Hiccups | Kind::Moves => (4000, 7000),
            Kind::Joins => (13_000, 15_000),
            // Each needs its time to do harm.
            Kind::Cuts => (1500, 5000),
            _ => (200, 1600),
        };
        let delay = self.random.millis(least, most);
        self.schedule.after(delay, Event::Trouble);
        let faults = self.faults();
        if let Some(fault) = self.random.pick(&faults).copied() {
            let node = self.victim();
            self.say(|| format!("fault {fault:?}, node {node}"));
            self.go_wrong(fault, node);
        }
    }

    /// Mostly who is primary: what happens to others is of less interest.
    fn victim(&mut self) -> usize {
        let primary = (0..NODES).find(|node| {
            matches!(
                self.machines[*node].database.state,
                State::Primary | State::Promoting
            )
        });
        let any = usize::try_from(self.random.below(NODES as u64)).unwrap_or(0);
        let of_interest =
            matches!(self.setup.kind, Kind::Seen | Kind::Joins) || self.random.chance(65);
        primary.filter(|_| of_interest).unwrap_or(any)
    }

    /// No fault outlasts the trouble by more than a moment.
    pub(super) fn span(&mut self, least: u64, most: u64) -> Duration {
        let left = self.setup.trouble.saturating_sub(self.now());
        self.random.millis(least, most).min(left)
    }

    fn cut(&mut self, one: Place, other: Place, span: Duration) {
        let until = self.now() + span;
        let ways = match self.random.below(4) {
            0 => vec![(one, other)],
            1 => vec![(other, one)],
            _ => vec![(one, other), (other, one)],
        };
        for way in ways {
            let cut = self.cuts.entry(way).or_default();
            *cut = until.max(*cut);
        }
    }

    pub(super) fn isolate(&mut self, node: usize, span: Duration, peers: bool) {
        let until = self.now() + span;
        let me = Place::Node(node);
        let coordinators = (0..self.coordinators.len()).map(Place::Coordinator);
        let nodes = (0..NODES)
            .filter(|other| peers && *other != node)
            .map(Place::Node);
        for other in coordinators.chain(nodes).collect::<Vec<_>>() {
            self.cuts.insert((me, other), until);
            self.cuts.insert((other, me), until);
        }
    }

    /// Of its peers one, or both, are on the other side of a network that falls apart; sometimes their agents have just been
    /// started again.
    fn part(&mut self, node: usize) {
        let span = self.span(3000, 8000);
        let nearer = self.random.chance(50);
        let (near, far) = match nearer {
            true => ((node + 1) % NODES, (node + 2) % NODES),
            false => ((node + 2) % NODES, (node + 1) % NODES),
        };
        match self.random.below(3) {
            0 => {
                self.isolate(node, span, false);
                self.isolate(near, span, false);
                let until = self.now() + span;
                for here in [node, near].map(Place::Node) {
                    self.cuts.insert((here, Place::Node(far)), until);
                    self.cuts.insert((Place::Node(far), here), until);
                }
            }
            1 => self.isolate(node, span, true),
            _ => {
                self.isolate(node, span, true);
                for other in [near, far] {
                    if self.machines[other].agent.is_some() {
                        self.end_agent(other, 20, 200);
                    }
                }
            }
        }
    }

    pub(super) fn freeze(&mut self, node: usize, until: Duration) {
        if let Some(agent) = &mut self.machines[node].agent {
            agent.frozen_until = until.max(agent.frozen_until);
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm a fault, and each is a line or two"
    )]
    pub(super) fn go_wrong(&mut self, fault: Fault, node: usize) {
        let now = self.now();
        let c = usize::try_from(self.random.below(self.coordinators.len() as u64)).unwrap_or(0);
        match fault {
            Isolate => {
                let most = if self.setup.kind == Kind::Cuts {
                    14_000
                } else {
                    9000
                };
                let span = self.span(500, most);
                self.isolate(node, span, true);
            }
            IsolateAndFreeze => {
                let span = self.span(3000, 13_000);
                self.isolate(node, span, true);
                // Near the end of its right, or at any time.
                let fence = u64::try_from(self.spec.timings.fence().as_millis()).unwrap_or(0);
                let least = if self.random.chance(60) {
                    fence * 7 / 10
                } else {
                    0
                };
                let begins = self.random.millis(least, fence);
                self.schedule.after(
                    begins,
                    Event::Wrong {
                        fault: FreezeAgent,
                        node,
                    },
                );
            }
            SpecThenIsolate => {
                self.apply_spec();
                self.slow_until = now + self.span(1500, 4000);
                let begins = self.random.millis(300, 3000);
                self.schedule.after(
                    begins,
                    Event::Wrong {
                        fault: Isolate,
                        node,
                    },
                );
            }
            SpecThenFreeze => {
                // It hears what is proposed, and is not heard.
                let until = now + self.span(5000, 9000);
                let coordinators = (0..self.coordinators.len()).map(Place::Coordinator);
                // Nor does anybody see that it takes writes.
                let others = coordinators.chain((0..NODES).map(Place::Node));
                for other in others.collect::<Vec<_>>() {
                    self.cuts.insert((Place::Node(node), other), until);
                }
                self.apply_spec();
                let begins = self.random.millis(300, 900);
                let fault = FreezeAgent;
                self.schedule.after(begins, Event::Wrong { fault, node });
            }
            SlowThenFreeze => {
                self.slow_until = now + self.span(300, 800);
                let begins = self.random.millis(50, 600);
                self.schedule.after(
                    begins,
                    Event::Wrong {
                        fault: FreezeAgent,
                        node,
                    },
                );
            }
            StallWatch => {
                let stall = self.span(500, 7000);
                for coordinator in &mut self.coordinators {
                    coordinator.watch_stalls_until = now + stall;
                }
            }
            OperateThenLose => {
                self.operate();
                let begins = self.random.millis(5, 400);
                let fault = if self.random.chance(50) {
                    PowerLoss
                } else {
                    Isolate
                };
                self.schedule.after(begins, Event::Wrong { fault, node });
            }
            IsolateAndKill => {
                let span = self.span(3000, 13_000);
                self.isolate(node, span, true);
                let begins = self.random.millis(300, 2000);
                let life = self.machines[node].lives;
                self.schedule.after(begins, Event::Kill { node, life });
            }
            LoseCoordinators => {
                let span = self.span(500, 9000);
                self.isolate(node, span, false);
            }
            LoseThenPart => {
                let span = self.span(5000, 10_000);
                self.isolate(node, span, false);
                // It goes on by promises by then.
                let begins = self.random.millis(1500, 4500);
                let fault = Part;
                self.schedule.after(begins, Event::Wrong { fault, node });
            }
            LeaveThenJoin => self.leave_then_join(node),
            LoseLong => {
                // What it said last may be on its way for long.
                self.slow_until = now + Duration::from_secs(1);
                let span = self.span(8000, 11_000);
                self.isolate(node, span, false);
            }
            Join => {
                self.spec.members = (0..NODES).map(name).collect();
                let spec = self.spec.clone();
                self.lead_all(&LeaderTold::Terms(spec));
            }
            Part => self.part(node),
            CutLink => {
                let span = self.span(300, 5000);
                let other = (node + 1) % NODES;
                let other = if self.random.chance(50) {
                    Place::Node(other)
                } else {
                    Place::Coordinator(c)
                };
                self.cut(Place::Node(node), other, span);
            }
            CutStore => {
                let span = self.span(300, 4000);
                self.cut(Place::Coordinator(c), Place::Store, span);
            }
            Slow => self.slow_until = now + self.span(500, 5000),
            KillAgent => {
                if self.machines[node].agent.is_some() {
                    self.end_agent(node, 50, 4000);
                }
            }
            FreezeAgent => {
                let span = self.span(100, 8000);
                self.freeze(node, now + span);
            }
            Exit => self.call(node, Told::Exit),
            PowerLoss => {
                if self.machines[node].on {
                    self.power_cycle(node);
                }
            }
            DatabaseDies => self.dies(node),
            DatabaseSticks => self.machines[node].database.stuck = true,
            Lag => self.machines[node].lagging_until = now + self.span(1000, 15_000),
            Stall => self.machines[node].stalled_until = now + self.span(200, 3000),
            KillCoordinator => {
                self.coordinators[c].die();
                let delay = self.random.millis(200, 3000);
                self.schedule
                    .after(delay, Event::CoordinatorStart { coordinator: c });
            }
            LoseKey => self.store.key = None,
            Election => self.store.down_until = now + self.random.millis(1100, 1600),
            Spec => self.apply_spec(),
            Door => self.door(node),
            Pause => {
                let machine = &mut self.machines[node];
                if machine.runs() {
                    let span = self.random.millis(500, 12_000);
                    machine.paused = Some((now, now + span));
                    machine.clocks.stand(span);
                    let path = machine.path.as_mut().and_then(Option::as_mut);
                    let watchdog = machine.watchdog.as_mut().map(|(_, at)| at);
                    for at in path.into_iter().chain(watchdog) {
                        *at += span;
                    }
                    self.schedule.after(span, Event::Resume { node });
                }
            }
            Snapshot => {
                let disk = self.machines[node].disk();
                self.machines[node].snapshot = Some(disk);
            }
            Revert => self.revert(node),
            BackUp => self.store.back_up(),
            Restore => {
                if self.store.restore() {
                    self.count("restores");
                    for coordinator in 0..self.coordinators.len() {
                        self.coordinators[coordinator].die();
                        let delay = self.random.millis(200, 800);
                        self.schedule
                            .after(delay, Event::CoordinatorStart { coordinator });
                    }
                }
            }
        }
    }

    /// The spec has two of the nodes; neither is heard any more, soon after each other, and the third one joins.
    fn leave_then_join(&mut self, node: usize) {
        let other = (node + 1) % NODES;
        self.spec.members = [node, other].map(name).into();
        let spec = self.spec.clone();
        self.lead_all(&LeaderTold::Terms(spec));
        let lost = self.random.millis(1500, 2500);
        let later = lost + self.random.millis(200, 800);
        let join = later + self.random.millis(100, 2000);
        for (begins, fault, node) in [
            (lost, LoseLong, node),
            (later, LoseLong, other),
            (join, Join, node),
        ] {
            self.schedule.after(begins, Event::Wrong { fault, node });
        }
    }

    pub(super) fn kills(&mut self, node: usize, life: u64) {
        if self.machines[node].lives == life && self.machines[node].agent.is_some() {
            self.end_agent(node, 20, 400);
        }
    }

    /// Another spec is applied: the other profile.
    fn apply_spec(&mut self) {
        let fast = Timings::of(Profile::Fast);
        let other = if self.spec.timings == fast {
            Timings::default()
        } else {
            fast
        };
        if !self.setup.is(Mutant::TrustsClocks) {
            self.spec.timings = other;
        }
        let spec = self.spec.clone();
        self.lead_all(&LeaderTold::Terms(spec));
    }

    /// Somebody would like to promote an instance by hand.
    fn door(&mut self, node: usize) {
        let Some(agent) = &self.machines[node].agent else {
            return;
        };
        let permitted = agent.holder.by_hand().is_ok() || self.setup.is(Mutant::OpensTheDoor);
        if permitted && self.machines[node].database.state == State::Standby {
            self.promotions += 1;
            let promotion = self.promotions;
            let database = &mut self.machines[node].database;
            database.state = State::Primary;
            database.promotion = promotion;
        }
    }

    /// The machine is switched off, and its disk is that of some time ago when it comes back.
    fn revert(&mut self, node: usize) {
        let Some(disk) = self.machines[node].snapshot.clone() else {
            return;
        };
        let told = self
            .store
            .now
            .record
            .as_ref()
            .map(|(record, _)| record.witnessed(&super::machine::name(node)));
        // One of the same epoch is not told apart by epochs; that is a limit of the rule, not of its code.
        let older = told.is_some_and(|told| told > disk.facts.seen);
        if !self.machines[node].on || !older {
            return;
        }
        self.power_cycle(node);
        self.count("reverts");
        let machine = &mut self.machines[node];
        machine.reverted = true;
        machine.facts = disk.facts;
        machine.database.log = disk.log;
    }

    /// Nothing goes wrong any more, and what is broken is repaired.
    fn end_trouble(&mut self) {
        self.cuts.clear();
        for node in 0..NODES {
            let machine = &mut self.machines[node];
            machine.lagging_until = Duration::ZERO;
            machine.stalled_until = Duration::ZERO;
        }
    }
}
