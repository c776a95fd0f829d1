//! One leased service: its machine, its primary parts, and what is under way for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use interlock_engine::lease::Clock;
use interlock_engine::lease::holder::{Config, Event, Found, Holder, Tenure};
use interlock_engine::lease::leader::Standing;
use interlock_model::action::Part;
use interlock_model::lease::{Epoch, Holder as Member};
use interlock_model::names::ServiceName;
use interlock_model::observation::{Loss, Side};
use interlock_model::time::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::door::Door;
use super::ears::{Ears, Received};
use super::facts::Job;
use super::force::Force;
use super::input::{
    Condition, DataSight, Leased, Newcomer, Order, Outcome, Readiness, Sight, Task, Work,
};
use super::leaving::Prepared;
use super::refusal::Refusal;
use super::sign::Looked;
use super::tenures::Tenures;
use crate::config::Reset;
use crate::peers::Question;
use crate::session::{self, LeaseMail};
use crate::shim::Grip;
use crate::watchdog::Dog;

/// The pause before managers are asked once more to finish a forced stop.
const FINISH_AGAIN: Duration = Duration::from_millis(500);

/// How long an ordered stop has that could not be done in order: then nothing else is known to be quicker.
const LAST_RESORT: Duration = Duration::from_secs(1);

/// For how long a primary that does not answer is taken to have written as far as it was seen to.
const MOMENT: Duration = Duration::from_secs(1);

/// What all seats share.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) me: Member,
    pub(super) reset: Reset,
    pub(super) mails: Vec<Arc<LeaseMail>>,
    pub(super) questions: UnboundedSender<Question>,
    pub(super) dog: Dog,
    pub(super) jobs: Sender<Job>,
    pub(super) works: UnboundedSender<Order>,
    pub(super) tenures: Option<Tenures>,
}

impl Shell {
    /// Keeps a tenure for the next agent of this boot.
    pub(super) fn keep(
        &self,
        service: &ServiceName,
        tenure: Option<&Tenure>,
    ) -> std::io::Result<()> {
        match &self.tenures {
            Some(tenures) => tenures.keep(service, tenure),
            None => Ok(()),
        }
    }
}

/// Work that the runtime does.
#[derive(Debug)]
pub(super) struct Running {
    turn: u64,
    task: Task,
    halt: CancellationToken,
}

impl Running {
    /// Has it end at once, unless it is what ends the rest.
    pub(super) fn interrupt(&self) {
        if self.task != Task::Finish {
            self.halt.cancel();
        }
    }

    pub(super) fn what(&self) -> &'static str {
        match self.task {
            Task::Start => "its start",
            Task::Stop => "its stop",
            Task::Finish => "the end of the rest by its managers",
        }
    }
}

/// Whose hands the instance is in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Claims {
    /// Attempts that have it in hand.
    pub(super) attempts: u32,
    /// One of them takes the role away.
    pub(super) leaving: bool,
}

/// One leased service.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) service: ServiceName,
    pub(super) leased: Leased,
    /// What it is from the next time on that it holds nothing.
    next: Option<(Leased, Door)>,
    pub(super) holder: Holder,
    pub(super) door: Door,
    pub(super) grips: Vec<(Part, Grip)>,
    /// Parts that were seen to accept no writes any more, and run on: an ordered stop does not end them. Until something is
    /// started, or ended by force.
    pub(super) demoted: Vec<Part>,
    /// Since when what is promoted does not answer.
    silent_since: Option<Clock>,
    /// A start may be on its way that nobody here waits for any more: that all grips are empty proves nothing then.
    pub(super) unproven: bool,
    pub(super) work: Option<Running>,
    /// A stop waits for the end of a start.
    pub(super) then_stop: bool,
    pub(super) force: Option<Force>,
    pub(super) blocked: bool,
    pub(super) may_exit: bool,
    /// No coordinator renews its lease, and all others are asked whether it may go on.
    pub(super) alone: bool,
    /// The question that is being handled was agreed to.
    pub(super) agreed: bool,
    /// By who looks at its parts.
    pub(super) readiness: Readiness,
    told_unready: Option<Option<String>>,
    /// A promotion here failed.
    pub(super) refusal: Refusal,
    /// Why this node takes no role without the watchdog that it is to have.
    no_watchdog: Option<String>,
    /// Why it does not accept the terms that it was last proposed.
    not_accepted: Option<String>,
    /// It would have the watchdog petted in this turn of the thread.
    pub(super) pets: bool,
    pub(super) claims: Claims,
    /// Attempts that wait for it to become primary.
    pub(super) awaited: u32,
    /// What was done for a stop that is to come.
    pub(super) prepared: Option<Prepared>,
    pub(super) unassigned: bool,
    /// The machine is on its way down.
    pub(super) machine_goes: bool,
    /// Why primary parts are down although this is the primary.
    pub(super) down: Option<String>,
    /// Of which primary part nobody can tell whether it runs, while this is no primary.
    unclear: Option<String>,
    /// Why nobody would reach an address of the role here.
    pub(super) unlinked: Option<String>,
    ears: Ears,
    /// Somebody else was heard lately by each interface of its addresses.
    hears: bool,
    /// When primary parts were restarted, within the window of the guard.
    restarts: VecDeque<Clock>,
    finish_at: Option<Clock>,
    pub(super) turn: u64,
    pub(super) side: Side,
    pub(super) since: Option<Timestamp>,
    /// The epoch that a coordinator last told of, and who holds it.
    pub(super) heard: Option<(Epoch, Option<Member>)>,
    /// How far its data went when it was last stopped in order.
    pub(super) ended: Option<u64>,
    /// What is started was primary in this epoch before.
    pub(super) again: bool,
    /// What was last seen of its data.
    pub(super) data: Option<DataSight>,
    /// What it has lost last by following another one.
    pub(super) lost: Option<Loss>,
    /// The last look at its parts.
    pub(super) looked: Option<Looked>,
    /// Which request to wait for nobody was the last one.
    pub(super) asked: u64,
    /// The request by which writes may be acknowledged without waiting for anybody. Only until it is seen that they wait again.
    pub(super) asynchronous: Option<u64>,
    /// How it was said to stand, and when.
    pub(super) told: Option<(Standing, Clock)>,
}

impl Seat {
    /// Takes a service over, as it was found.
    pub(super) fn take(newcomer: Newcomer, shell: &mut Shell) -> Self {
        let config = Config {
            service: newcomer.service.clone(),
            me: shell.me.clone(),
            watchdog: shell.dog.use_of_it(),
            client_path: newcomer.door.is_guarded(),
            data: newcomer.leased.has_data(),
        };
        let now = clock::read();
        let (holder, effects) =
            Holder::start(config, newcomer.facts, newcomer.kept, newcomer.found, now);
        let mut seat = Self {
            service: newcomer.service,
            leased: newcomer.leased,
            next: None,
            holder,
            door: newcomer.door,
            grips: newcomer.grips,
            demoted: Vec::new(),
            silent_since: None,
            // What the agent before this one has begun is not known, until all of it is seen to run.
            unproven: true,
            work: None,
            then_stop: false,
            force: None,
            blocked: false,
            may_exit: false,
            alone: false,
            agreed: false,
            readiness: Readiness {
                unready: Some("its agent has just started".to_owned()),
                down: None,
            },
            told_unready: None,
            refusal: Refusal::default(),
            no_watchdog: shell.dog.forbids(),
            not_accepted: None,
            pets: false,
            claims: Claims::default(),
            awaited: 0,
            prepared: None,
            unassigned: false,
            machine_goes: false,
            down: None,
            unclear: None,
            unlinked: None,
            ears: Ears::default(),
            hears: false,
            restarts: VecDeque::new(),
            finish_at: None,
            turn: 0,
            side: Side::Unknown,
            since: None,
            heard: None,
            ended: None,
            again: false,
            data: None,
            lost: None,
            looked: None,
            asked: 0,
            asynchronous: None,
            told: None,
        };
        let mut events = VecDeque::new();
        seat.carry_out(effects, now, shell, &mut events);
        for event in events {
            seat.tell(event, shell);
        }
        seat.look_at_self(shell);
        seat
    }

    /// Its parts or its policy are others. What a primary has is what it was started with, but for where the other members are:
    /// the record's members change under it, too, and it may have to ask them.
    pub(super) fn change(&mut self, leased: Leased, door: Door) {
        self.leased.peers.clone_from(&leased.peers);
        self.next = Some((leased, door));
    }

    /// Something that a coordinator says.
    pub(super) fn hear(&mut self, event: Event, shell: &mut Shell) {
        if matches!(event, Event::Promote { .. })
            && let Some(why) = self.why_unready()
        {
            // A command gives no right, and is repeated as long as it holds.
            tracing::info!(service = %self.service, "it is told to be primary and is not ready: {why}");
            return;
        }
        if let Event::Release(epoch) = event
            && !self.is_prepared(epoch, shell)
        {
            return;
        }
        if let Event::Promote { terms, .. } = &event
            && self.holder.is_standby()
            && let Some(why) = shell.dog.forbids_under(terms)
        {
            tracing::error!(service = %self.service, "it takes no role: {why}");
            self.refusal.failed(&why, clock::read());
            return;
        }
        if let Event::Propose(terms) = &event {
            let refused = shell.dog.accepts(&self.service, terms).err();
            if self.not_accepted != refused {
                self.not_accepted.clone_from(&refused);
                if let Some(why) = &refused {
                    tracing::error!(service = %self.service, "its terms stay as they are: {why}");
                }
            }
            if refused.is_some() {
                return;
            }
        }
        // Of two coordinators one may read what is old: a standby is not sent back to a primary that is over.
        if let Event::Heard { epoch, holder, .. } = &event
            && self.heard.as_ref().is_none_or(|(known, _)| known <= epoch)
        {
            self.heard = Some((*epoch, holder.clone()));
        }
        if matches!(event, Event::Acknowledged { .. }) && std::mem::take(&mut self.alone) {
            tracing::info!(service = %self.service, "a coordinator renews its lease again");
        }
        self.tell(event, shell);
    }

    /// What stands in the way of a promotion here.
    pub(super) fn why_unready(&self) -> Option<String> {
        if self.unassigned {
            return Some("it is no longer assigned to this node".to_owned());
        }
        if self.machine_goes {
            return Some("its machine goes down".to_owned());
        }
        if self.claims.attempts > 0 || self.claims.leaving {
            return Some("an attempt is open on it".to_owned());
        }
        let door = self.door.trouble().map(str::to_owned);
        door.or_else(|| self.no_watchdog.clone())
            .or_else(|| self.unclear.clone())
            .or_else(|| self.readiness.unready.clone())
            .or_else(|| self.refusal.stands(clock::read()).map(str::to_owned))
    }

    /// Starts work on the runtime. One at a time: who calls has seen that there is none.
    pub(super) fn begin(&mut self, task: Task, shell: &Shell) {
        self.changed();
        self.demoted.clear();
        let halt = CancellationToken::new();
        let work = Work {
            service: self.service.clone(),
            turn: self.turn,
            task,
            parts: Arc::clone(&self.leased.parts),
            peers: Arc::clone(&self.leased.peers),
            door: self.door.clone(),
            again: self.again,
            halt: halt.clone(),
        };
        if shell.works.send(Order::Work(work)).is_err() {
            tracing::error!(service = %self.service, "this agent is ending: nothing is started or stopped any more");
            return;
        }
        self.work = Some(Running {
            turn: self.turn,
            task,
            halt,
        });
    }

    /// Work has ended.
    pub(super) fn done(&mut self, turn: u64, outcome: Outcome, shell: &mut Shell) {
        let Some(work) = self.work.take_if(|work| work.turn == turn) else {
            return;
        };
        self.changed();
        match (&outcome, work.task) {
            (Ok(evidence), _) => {
                tracing::info!(service = %self.service, evidence, "{} is done", work.what())
            }
            (Err(why), _) => {
                tracing::warn!(service = %self.service, "{} is not done: {why}", work.what())
            }
        }
        if work.task == Task::Start {
            self.unproven = outcome.is_err();
            self.ended = None;
        }
        if let Some(force) = &mut self.force {
            match (work.task, outcome) {
                (Task::Finish, Ok(_)) => force.finished(),
                (Task::Finish, Err(_)) => self.finish_at = Some(clock::read()),
                (Task::Start | Task::Stop, _) => {}
            }
            return;
        }
        if std::mem::take(&mut self.then_stop) {
            self.begin(Task::Stop, shell);
            return;
        }
        match (work.task, outcome) {
            (Task::Start, Ok(_)) => {
                self.down = None;
                self.refusal.done();
                self.tell(Event::Promoted, shell);
                if self.holder.is_primary() {
                    self.door.announce();
                }
            }
            (Task::Start, Err(why)) => {
                self.refusal.failed(&why, clock::read());
                self.down = Some(why);
                self.tell(Event::PromotionFailed, shell);
            }
            (Task::Stop, Ok(_)) => {
                self.force = Some(Force::after_order(LAST_RESORT, clock::read()));
            }
            (Task::Stop, Err(why)) => {
                let why = format!("it cannot be stopped in order: {why}");
                self.force = Some(Force::new(why, LAST_RESORT, clock::read()));
            }
            (Task::Finish, _) => {}
        }
    }

    /// May managers be asked to finish a forced stop?
    pub(super) fn may_finish(&self, now: Clock) -> bool {
        self.finish_at
            .is_none_or(|last| now.longest_since(last) >= FINISH_AGAIN)
    }

    /// A part was seen to accept no writes any more. Only while it is being stopped in order: whatever else is under way, what
    /// was seen is not of now.
    pub(super) fn demoted(&mut self, part: Part) {
        let stopping = self
            .work
            .as_ref()
            .is_some_and(|work| work.task == Task::Stop);
        if stopping && self.force.is_none() {
            self.demoted.push(part);
        }
    }

    /// Has it ended with what it had in memory alone? What was seen of its data before is not so any more (safety rule D2).
    pub(super) fn has_lost_its_memory(&self) -> bool {
        let mut parts = self.leased.parts.iter();
        parts.any(|part| !Leased::is_restarted(part) && !self.demoted.contains(part))
    }

    /// A part was started.
    pub(super) fn hold(&mut self, part: Part, grip: Grip) {
        self.grips.retain(|(held, _)| *held != part);
        self.grips.push((part, grip));
    }

    /// The primary parts were looked at.
    pub(super) fn seen(&mut self, sight: Sight, shell: &mut Shell) {
        if sight.turn != self.turn {
            return;
        }
        self.looked = Some(Looked::of(&sight, clock::read()));
        self.saw_link(sight.unlinked.clone(), sight.received, shell);
        for (part, grip) in sight.grips {
            self.hold(part, grip);
        }
        if self.work.is_some() || self.force.is_some() || self.blocked {
            return;
        }
        // How far a primary had written is known also when it is dead.
        // One that is a standby now was turned, or started again, by somebody: what it shows is not how far it had written.
        let primary = self.holder.is_primary();
        let dead = sight.parts.iter().any(|(part, seen)| {
            part.is_promoted()
                && match seen {
                    Condition::Down(_) => true,
                    Condition::Standby => primary,
                    Condition::Up | Condition::Unknown(_) => false,
                }
        });
        let silent = self.is_silent(&sight.parts);
        if let Some(data) = sight.data
            && ((!dead && !silent) || self.holder.is_standby())
        {
            self.saw_data(data, shell);
        }
        self.unproven &= !sight.parts.iter().all(|(_, seen)| *seen == Condition::Up);
        if self.holder.is_primary() {
            let down = sight.parts.iter().find_map(|(part, seen)| match seen {
                Condition::Down(why) => Some(format!("{part}: {why}")),
                Condition::Standby => Some(format!("{part}: it accepts no writes")),
                Condition::Up | Condition::Unknown(_) => None,
            });
            self.down.clone_from(&down);
            if let Some(down) = down {
                tracing::warn!(service = %self.service, "the primary has lost a part: {down}");
                let mut lost = sight
                    .parts
                    .iter()
                    .filter(|(_, seen)| matches!(seen, Condition::Down(_) | Condition::Standby));
                let restart =
                    lost.all(|(part, _)| Leased::is_restarted(part)) && self.takes_restart();
                self.tell(Event::Died { restart }, shell);
            }
        } else {
            self.unclear = sight.parts.iter().find_map(|(part, seen)| match seen {
                Condition::Unknown(why) => Some(format!("{part}: {why}")),
                Condition::Up | Condition::Standby | Condition::Down(_) => None,
            });
            if sight.parts.iter().any(|(_, seen)| *seen == Condition::Up) {
                self.tell(Event::Found(Found::Primary), shell);
            }
        }
    }

    /// Its interfaces were looked at. A primary goes on: whether somebody else could take over is the coordinators' to know.
    fn saw_link(&mut self, unlinked: Option<String>, received: Received, shell: &mut Shell) {
        let now = clock::read();
        self.ears.look(received, now);
        let hears = self.ears.hear(now);
        if self.unlinked != unlinked {
            match &unlinked {
                Some(why) => tracing::warn!(service = %self.service, "{why}"),
                None => tracing::info!(service = %self.service, "its interfaces have a link again"),
            }
        } else if self.hears == hears {
            return;
        }
        self.unlinked.clone_from(&unlinked);
        self.hears = hears;
        self.tell(Event::Link { unlinked, hears }, shell);
    }

    /// Does a primary not answer, since a moment ago only? It may have just died: how far it had written is not forgotten before
    /// that is known. What goes on and does not answer is not known to be where it was.
    fn is_silent(&mut self, parts: &[(Part, Condition)]) -> bool {
        let unknown = |(part, seen): &(Part, Condition)| {
            part.is_promoted() && matches!(seen, Condition::Unknown(_))
        };
        if !parts.iter().any(unknown) {
            self.silent_since = None;
            return false;
        }
        let now = clock::read();
        let since = *self.silent_since.get_or_insert(now);
        now.longest_since(since) < MOMENT
    }

    /// Its data were looked at.
    fn saw_data(&mut self, data: DataSight, shell: &mut Shell) {
        let waited = data
            .synchronous
            .clone()
            .filter(|_| self.holder.is_primary());
        match &waited {
            Some(waited) => self.tell(Event::Position(waited.known), shell),
            // While the record says that writes wait, it says how far those are who are waited for. What was seen of that last holds.
            None if self.holder.is_primary() && self.holder.says_waits() => {}
            None => self.tell(Event::Position(data.position), shell),
        }
        self.tell(Event::Score(data.score), shell);
        if let Some(waited) = waited {
            self.asynchronous = None;
            self.tell(Event::Synchronous(waited.nodes), shell);
        }
        self.data = Some(data);
    }

    /// Takes a restart from the budget of its guard, if one is left in the window.
    fn takes_restart(&mut self) -> bool {
        let now = clock::read();
        let window = self.leased.guard.window;
        self.restarts.retain(|at| now.longest_since(*at) < window);
        let left = self.restarts.len() < usize::try_from(self.leased.guard.budget).unwrap_or(0);
        if left {
            self.restarts.push_back(now);
        }
        left
    }

    /// Whatever is due.
    pub(super) fn tick(&mut self, shell: &mut Shell) {
        let why = self.why_unready();
        if self.told_unready.as_ref() != Some(&why) {
            self.told_unready = Some(why.clone());
            self.tell(Event::Unready(why), shell);
        }
        self.tell(Event::Tick, shell);
        if self.strike(clock::read(), shell) {
            self.changed();
            let position = self.ended.take();
            self.tell(Event::Empty { position }, shell);
        }
        if self.holder.is_primary()
            && self.work.is_none()
            && self.claims.attempts == 0
            && let Some(down) = &self.readiness.down
        {
            tracing::warn!(service = %self.service, "a part that its primary needs is down, so the role is given back: {down}");
            self.tell(Event::Died { restart: false }, shell);
        }
        // Not while the mark is being written: then the machine takes no such word, so it is said again.
        if (self.claims.leaving || self.unassigned || self.machine_goes)
            && !self.holder.is_standby()
            && self.work.is_none()
        {
            self.tell(Event::Release(self.epoch()), shell);
        }
        if self.holder.is_standby()
            && let Some((leased, door)) = self.next.take()
        {
            self.leased = leased;
            self.holder.set_data(self.leased.has_data());
            self.door = door;
        }
        self.say_standing(false, shell);
    }

    /// Notices what has become of it.
    pub(super) fn look_at_self(&mut self, shell: &mut Shell) {
        let side = if self.holder.is_primary() {
            Side::Primary
        } else if self.holder.is_standby() {
            Side::Standby
        } else {
            Side::Changing
        };
        if side != self.side {
            tracing::info!(service = %self.service, epoch = self.epoch().0, "{side}");
            self.side = side;
            self.since = (side == Side::Primary).then(|| session::Clock.wall());
            self.down = self.down.take().filter(|_| side != Side::Standby);
            self.asynchronous = None;
            self.alone = false;
            self.looked = (side == Side::Primary).then(|| Looked::primary(clock::read()));
            self.changed();
            self.say_standing(false, shell);
        }
    }

    /// What was seen before this is not of now.
    pub(super) fn changed(&mut self) {
        self.turn += 1;
    }

    /// The epoch that it holds, or the highest that it has heard of.
    pub(super) fn epoch(&self) -> Epoch {
        let held = self.holder.tenure().map(Tenure::epoch);
        held.unwrap_or(self.holder.facts().seen)
    }
}
