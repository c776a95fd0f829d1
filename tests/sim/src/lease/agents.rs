//! The shell around holders: carries out effects, and nothing else.

use std::time::Duration;

use interlock_engine::lease::Clock;
use interlock_engine::lease::holder::{
    Config, Effect, Event as Told, Facts, Holder, Tenure, Watchdog,
};
use interlock_model::lease::Terms;

use super::event::{Event, Payload, Place};
use super::machine::{Agent, State, name, number};
use super::managers::Work;
use super::mutant::Mutant;
use super::run::Run;
use super::setup::{Kind, NODES};

impl Run {
    /// Both clocks of a node, read right before a call.
    pub(super) fn clock(&self, node: usize) -> Clock {
        let late = self
            .then
            .filter(|_| self.setup.is(Mutant::HandlesLateAsThen));
        let mut clock = self.machines[node].clocks.read(late.unwrap_or(self.now()));
        if self.setup.is(Mutant::TrustsOneClock) {
            clock.raw = clock.boottime;
        }
        clock
    }

    pub(super) fn agent_start(&mut self, node: usize, boots: u64) {
        let clock = self.clock(node);
        let machine = &mut self.machines[node];
        if !machine.on || machine.boots != boots || machine.agent.is_some() {
            return;
        }
        machine.lives += 1;
        let config = Config {
            service: "db".parse().expect("a name"),
            me: machine.member(node),
            watchdog: match self.cluster.watchdog {
                true if self.setup.kind == Kind::Required => Watchdog::Required,
                true => Watchdog::Automatic,
                false => Watchdog::Off,
            },
            client_path: self.cluster.path,
            // Where there are data, nobody follows whoever is being promoted, so nobody else is fit before that is over.
            data: !self.setup.is(Mutant::StopsTheActionOnly),
        };
        let mut kept = machine.run.clone();
        if self.setup.is(Mutant::TakesLeaseForNew) {
            kept = kept.map(|tenure| as_new(&tenure, clock));
        }
        let mut started = clock;
        if self.setup.is(Mutant::ForgetsPromises) && kept.is_none() {
            // As if it had started long ago, and nobody had asked it since.
            let long = Duration::from_secs(60);
            started.boottime = started.boottime.saturating_sub(long);
            started.raw = started.raw.saturating_sub(long);
        }
        let (holder, effects) = Holder::start(
            config,
            machine.facts.clone(),
            kept,
            machine.found(),
            started,
        );
        machine.agent = Some(Agent {
            holder,
            frozen_until: Duration::ZERO,
            wake: 0,
        });
        self.say(|| format!("node {node}: agent starts"));
        self.carry_out(node, effects);
        self.call(node, Told::Unready(None));
    }

    /// Tells a holder something.
    pub(super) fn call(&mut self, node: usize, told: Told) {
        let clock = self.clock(node);
        let Some(agent) = &mut self.machines[node].agent else {
            return;
        };
        let quiet = matches!(
            told,
            Told::Tick
                | Told::Synchronous(_)
                | Told::Found(_)
                | Told::Position(_)
                | Told::Heard { .. }
        );
        let text = (self.tells && !quiet).then(|| format!("{told:?}"));
        let effects = agent.holder.handle(told, clock);
        if let Some(text) = text {
            self.say(|| format!("node {node} <- {text}"));
        }
        self.carry_out(node, effects);
        self.plan_wake(node);
    }

    fn plan_wake(&mut self, node: usize) {
        let clock = self.clock(node);
        let machine = &mut self.machines[node];
        let life = machine.lives;
        let Some(agent) = &mut machine.agent else {
            return;
        };
        if let Some(due) = agent.holder.due_in(clock) {
            agent.wake += 1;
            let wake = agent.wake;
            let real = machine.clocks.agent_timer(due) + Duration::from_micros(200);
            self.schedule.after(real, Event::Wake { node, life, wake });
        }
    }

    pub(super) fn wake(&mut self, node: usize, life: u64, wake: u64) {
        let machine = &mut self.machines[node];
        let current =
            machine.lives == life && machine.agent.as_ref().is_some_and(|a| a.wake == wake);
        if !machine.on || !current {
            return;
        }
        if self.setup.is(Mutant::PetsAlways) {
            self.pet(node);
        }
        self.call(node, Told::Tick);
    }

    pub(super) fn disk_has(&mut self, node: usize, life: u64, batch: u64, mut facts: Facts) {
        let machine = &mut self.machines[node];
        if machine.lives != life || machine.agent.is_none() {
            return;
        }
        if self.setup.is(Mutant::ForgetsWhoWasPrimary) {
            facts.mark = None;
        }
        machine.facts = facts;
        self.call(node, Told::Committed(batch));
    }

    pub(super) fn node_hears(&mut self, node: usize, from: Place, payload: Payload) {
        if !self.machines[node].on {
            return;
        }
        let told = match payload {
            Payload::Acknowledged { epoch, sent, terms } => {
                Told::Acknowledged { epoch, sent, terms }
            }
            Payload::Superseded(epoch) => Told::Superseded(epoch),
            Payload::Heard {
                epoch,
                holder,
                witnessed,
            } => Told::Heard {
                epoch,
                holder,
                witnessed: if self.setup.is(Mutant::TrustsReverted) {
                    interlock_model::lease::Epoch::NONE
                } else {
                    witnessed
                },
            },
            Payload::Cleared => Told::Cleared,
            Payload::Promote {
                epoch,
                holder,
                terms,
            } => Told::Promote {
                epoch,
                holder,
                terms,
            },
            // Nobody gives up a watchdog that the record tells of, or that is required.
            Payload::Propose(terms)
                if (self.machines[node].watchdog.is_some()
                    || self.setup.kind == Kind::Required)
                    && !self.suits(&terms)
                    && !self.setup.is(Mutant::DisarmsFirst) =>
            {
                return;
            }
            Payload::Propose(terms) => Told::Propose(terms),
            Payload::AskRelease(epoch) => Told::Release(epoch),
            Payload::ReleaseWritten(epoch) => Told::ReleaseWritten(epoch),
            Payload::Ask {
                from: asker,
                epoch,
                ask,
                life,
            } => {
                if self.setup.is(Mutant::PromisesNothing) {
                    let to = Place::Node(number(&asker.node));
                    self.send(Place::Node(node), to, Payload::Agree { ask });
                    return;
                }
                Told::PeerAsks {
                    from: asker,
                    epoch,
                    ask,
                    life,
                }
            }
            Payload::Agree { ask } => {
                let Place::Node(peer) = from else { return };
                self.count("promises");
                if self.setup.is(Mutant::TakesOneForAll) {
                    for other in (0..NODES).map(name) {
                        self.call(node, Told::PeerAgrees { node: other, ask });
                    }
                }
                Told::PeerAgrees {
                    node: name(peer),
                    ask,
                }
            }
            _ => return,
        };
        self.call(node, told);
    }

    pub(super) fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            if self.tells
                && !matches!(
                    effect,
                    Effect::Renew { .. } | Effect::Keep(_) | Effect::Pet | Effect::OpenPath(_)
                )
            {
                let text = format!("node {node} -> {effect:?}");
                self.say(|| text);
            }
            self.carry_out_one(node, effect);
        }
    }

    fn carry_out_one(&mut self, node: usize, effect: Effect) {
        let now = self.now();
        match effect {
            Effect::Renew { request, turn } => self.renew(node, *request, turn),
            Effect::Commit { batch, facts } => {
                let machine = &self.machines[node];
                let life = machine.lives;
                let stalled = machine.stalled_until.saturating_sub(now);
                let delay = self.random.millis(1, 30) + stalled;
                // One write after the other.
                let at = (now + delay).max(self.machines[node].written_until);
                self.machines[node].written_until = at;
                self.schedule.at(
                    at,
                    Event::Disk {
                        node,
                        life,
                        batch,
                        facts,
                    },
                );
            }
            Effect::Keep(tenure) => self.machines[node].run = tenure,
            Effect::ReportRelease(report) => self.tell_all(node, &Payload::Release(report)),
            Effect::OpenPath(life) => {
                let machine = &mut self.machines[node];
                machine.path = Some(life.map(|life| now + machine.clocks.kernel_timer(life)));
            }
            Effect::ClosePath => self.machines[node].path = None,
            Effect::Block => {
                self.count("blocked");
                self.machines[node].database.blocked = true;
            }
            Effect::Unblock => self.machines[node].database.blocked = false,
            Effect::Promote(right) => self.promote(node, right.epoch()),
            Effect::Restart(_) => self.begin_work(node, Work::Restarted, 50, 300),
            Effect::Stop => self.stop(node),
            Effect::ForceStop { within, .. } => self.force_stop(node, within),
            Effect::Reset => {
                self.count("resets");
                if !self.setup.is(Mutant::NeverResets) {
                    self.power_cycle(node);
                }
            }
            Effect::Arm(_) if !self.device_suits(node) => {
                self.machines[node].watchdog = None;
                self.call(node, Told::Armed(false));
            }
            Effect::Arm(time) => {
                let machine = &mut self.machines[node];
                let boots = machine.boots;
                let fires = now + machine.clocks.kernel_timer(time);
                machine.watchdog = Some((time, fires));
                self.schedule.at(fires, Event::Watchdog { node, boots });
                self.call(node, Told::Armed(true));
            }
            Effect::Pet => self.pet(node),
            Effect::Disarm => self.machines[node].watchdog = None,
            Effect::AskPeers {
                members,
                ask,
                epoch,
                life,
            } => {
                let from = self.machines[node].member(node);
                for member in members {
                    let payload = Payload::Ask {
                        from: from.clone(),
                        epoch,
                        ask,
                        life,
                    };
                    self.send(Place::Node(node), Place::Node(number(&member)), payload);
                }
            }
            Effect::Agree { to, ask } => {
                self.send(
                    Place::Node(node),
                    Place::Node(number(&to)),
                    Payload::Agree { ask },
                );
            }
            Effect::AllowAsynchronous => {
                self.machines[node].database.waits_for = None;
                self.machines[node].database.waiting = None;
            }
            Effect::MayExit => {
                self.count("exits");
                self.end_agent(node, 200, 6000);
            }
            Effect::Paused(_) => self.count("noticed pauses"),
        }
    }

    /// Does the device suit these terms?
    fn suits(&self, terms: &Terms) -> bool {
        let fixed = self.cluster.fixed;
        fixed.is_none_or(|time| terms.timings.suit(time).is_ok())
    }

    fn device_suits(&self, node: usize) -> bool {
        let agent = self.machines[node].agent.as_ref();
        let tenure = agent.and_then(|agent| agent.holder.tenure());
        tenure.is_none_or(|tenure| tenure.binding().all(|terms| self.suits(terms)))
    }

    fn renew(
        &mut self,
        node: usize,
        mut request: interlock_engine::lease::RenewRequest,
        turn: u64,
    ) {
        if self.setup.is(Mutant::ClaimsWatchdog) {
            request.safeguards.watchdog = true;
        }
        let first = self.machines[node]
            .agent
            .as_ref()
            .is_some_and(|agent| agent.holder.tenure().is_none());
        let blocked = self.machines[node].database.blocked;
        if first && !blocked && self.setup.is(Mutant::TakesCommandForRight) {
            let (epoch, sent) = (request.epoch, request.sent);
            let terms = self.spec.clone();
            self.call(node, Told::Acknowledged { epoch, sent, terms });
        }
        let coordinator =
            usize::try_from(turn).unwrap_or(0).wrapping_add(node) % self.coordinators.len();
        self.send(
            Place::Node(node),
            Place::Coordinator(coordinator),
            Payload::Renew(request),
        );
    }

    pub(super) fn tell_all(&mut self, node: usize, payload: &Payload) {
        for coordinator in 0..self.coordinators.len() {
            self.send(
                Place::Node(node),
                Place::Coordinator(coordinator),
                payload.clone(),
            );
        }
    }

    fn pet(&mut self, node: usize) {
        let now = self.now();
        let machine = &mut self.machines[node];
        if let Some((time, fires)) = &mut machine.watchdog {
            *fires = now + machine.clocks.kernel_timer(*time);
        }
    }

    pub(super) fn watchdog(&mut self, node: usize, boots: u64) {
        let now = self.now();
        let machine = &self.machines[node];
        let Some((_, fires)) = machine
            .watchdog
            .filter(|_| machine.boots == boots && machine.on)
        else {
            return;
        };
        if fires > now {
            self.schedule.at(fires, Event::Watchdog { node, boots });
        } else if !matches!(self.setup.kind, Kind::Blind | Kind::Seen) {
            self.count("watchdogs fired");
            self.power_cycle(node);
        }
    }

    /// The agent process ends, and is started again.
    pub(super) fn end_agent(&mut self, node: usize, least: u64, most: u64) {
        let machine = &mut self.machines[node];
        machine.agent = None;
        let boots = machine.boots;
        let delay = self.random.millis(least, most);
        self.schedule
            .after(delay, Event::AgentStart { node, boots });
        self.say(|| format!("node {node}: agent ends"));
    }

    /// The agent looks around, and says how it stands.
    pub(super) fn hello(&mut self, node: usize) {
        let delay = self.random.millis(200, 300);
        self.schedule.after(delay, Event::Hello { node });
        if !self.machines[node].on || self.machines[node].agent.is_none() {
            return;
        }
        let found = self.machines[node].found();
        self.call(node, Told::Found(found));
        let now = self.now();
        let machine = &mut self.machines[node];
        let idle = machine
            .agent
            .as_ref()
            .is_some_and(|agent| agent.holder.is_standby());
        if idle && machine.database.state == State::Stopped && !machine.database.orphan {
            machine.database.state = State::Standby;
        }
        let lagging = machine.lagging_until > now && machine.database.state == State::Standby;
        let unknown = lagging || machine.database.state == State::Stopped;
        let mut position = (!unknown).then(|| machine.database.log.position());
        if unknown && self.setup.is(Mutant::TakesUnknownForNone) {
            position = Some(u64::MAX);
        }
        if let Some(waits_for) = machine.database.waits_for.clone()
            && machine
                .agent
                .as_ref()
                .is_some_and(|agent| agent.holder.says_waits())
        {
            // How far those are who are waited for: what they do not have was never acknowledged.
            let there = waits_for
                .iter()
                .map(|standby| &self.machines[*standby].database.log);
            position = there
                .map(|log| log.common(&self.machines[node].database.log))
                .min();
        }
        self.call(node, Told::Position(position));
        if self.setup.is(Mutant::ClaimsToFollow)
            && let Some((record, _)) = &self.store.now.record
        {
            let epoch = record.epoch();
            self.call(node, Told::Follows(epoch));
        }
        let clock = self.clock(node);
        let Some(agent) = &self.machines[node].agent else {
            return;
        };
        let mut standing = agent.holder.standing(clock);
        if self.setup.is(Mutant::TrustsReverted)
            && let Some((record, _)) = &self.store.now.record
        {
            standing.seen = standing.seen.max(record.epoch());
        }
        let said = self.now();
        let standing = Box::new(standing);
        self.tell_all(node, &Payload::Standing { said, standing });
    }

    /// The agent looks whether the others take writes.
    pub(super) fn observe(&mut self, node: usize) {
        let delay = self.random.millis(200, 350);
        self.schedule.after(delay, Event::Look { node });
        if !self.machines[node].on
            || self.machines[node].agent.is_none()
            || self.setup.is(Mutant::IgnoresSightings)
            // Half of the seeds have nobody who looks: promises must do without.
            || (self.setup.kind == Kind::Failsafe && self.setup.seed.is_multiple_of(2))
            || self.setup.kind == Kind::Joins
        {
            return;
        }
        let (me, by_path) = (Place::Node(node), self.cluster.path);
        for other in (0..NODES).filter(|other| *other != node) {
            let reached =
                !self.is_cut(me, Place::Node(other)) && !self.is_cut(Place::Node(other), me);
            let writable = reached && self.machines[other].is_writable(by_path, self.now());
            self.tell_all(
                node,
                &Payload::Sighting {
                    node: other,
                    writable,
                },
            );
        }
    }
}

/// The same right, as if it had just been acknowledged.
fn as_new(tenure: &Tenure, now: Clock) -> Tenure {
    let mut value = serde_json::to_value(tenure).expect("a tenure is serialised");
    let since = serde_json::to_value(now).expect("a clock is serialised");
    value["agreed"]["since"] = since.clone();
    value["renewed"] = since;
    serde_json::from_value(value).expect("a tenure is read back")
}
