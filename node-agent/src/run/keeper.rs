//! One task per instance: looks at it when something happens to it, posts what it sees, and lets the guard decide.
//!
//! # Who has the instance in hand
//! An attempt or the guard, never both: whoever acts holds [`Instance::acting`]. An attempt announces itself before it
//! begins ([`Instance::take`]); from then on the guard decides nothing until it has ended, and ends what it is doing: a
//! command that it began is killed and seen dead before it lets go, or the attempt could prove that the service is down,
//! and the command would bring it up afterwards. What the guard of an earlier agent began is ended by whoever acts next
//! ([`Charge::end_guard_runs`]). What dies in the hands of an
//! attempt is that attempt's business, and it says so. What an attempt has proven to run and dies the moment after is
//! the guard's: [`Instance::give_back`] tells the keeper what was proven, so that it need not have seen it itself.
//!
//! # After a boot
//! Nothing that the agent supervises runs, whatever was wanted. An instance with `boot: autostart` that is wanted running
//! is started once, at the first look of this boot, as systemd starts an enabled unit: without waiting for what it
//! requires, which the startup plan makes good (`verify`). What is wanted is the word of the last operation that the
//! ledger has accepted, and has proven: a start that failed is not repeated by a boot. `boot: manual`, the default, waits for such a plan. An instance of an **exclusive** service always
//! does: what was primary before the boot may be primary elsewhere by now (invariant I1).

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use interlock_engine::agent::guard::{self, Death, Guard, Situation, Verdict};
use interlock_model::action::Part;
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::charge::Charge;
use super::deaths::{Unseen, deaths};
use super::instance;
use super::look::Looks;
use super::seen::{Seen, merge};
use crate::session::AssignedInstance;

/// How often an instance is looked at although nothing has happened: the net under the events.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The same where no event tells of a death.
const LOOK_AGAIN_BLIND: Duration = Duration::from_secs(10);

/// The same while an operation holds the instance. It takes from under its dependants what is seen down, and may go by no
/// older look: a person can have started it where no event tells.
const LOOK_AGAIN_HELD: Duration = Duration::from_secs(2);

/// How long a restart by the guard may take. systemd's own limit of a start (`DefaultTimeoutStartSec=`).
const RESTART_LIMIT: Duration = Duration::from_secs(90);

/// What an attempt has shown of the instance by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proven {
    /// All of it runs: whatever is down afterwards has died.
    Up,
    /// Nothing of the kind: what is down afterwards is so because of the attempt, and it has said so.
    Nothing,
}

/// What is shared between an instance's keeper and those who act on it.
#[derive(Debug, Default)]
pub(super) struct Instance {
    /// Held by whoever starts or stops something of it.
    pub(super) acting: Mutex<()>,
    attempts: AtomicUsize,
    taken: AtomicBool,
    given_back: std::sync::Mutex<Option<Proven>>,
    poke: Notify,
    role_stirred: Notify,
}

impl Instance {
    /// An attempt has the instance in hand from now on.
    pub(super) fn take(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.taken.store(true, Ordering::Relaxed);
        self.poke.notify_one();
    }

    /// The attempt has ended.
    pub(super) fn give_back(&self, proven: Proven) {
        *self
            .given_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(proven);
        self.attempts.fetch_sub(1, Ordering::Relaxed);
        self.poke.notify_one();
    }

    /// Something has happened to it.
    pub(super) fn poke(&self) {
        self.poke.notify_one();
    }

    /// Something has happened to what only a primary has.
    pub(super) fn stir_role(&self) {
        self.role_stirred.notify_one();
    }

    /// Waits for that.
    pub(super) async fn role_stirred(&self) {
        self.role_stirred.notified().await;
    }

    fn take_given_back(&self) -> Option<Proven> {
        self.given_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Has an attempt the instance in hand?
    pub(super) fn is_taken(&self) -> bool {
        self.attempts.load(Ordering::Relaxed) > 0
    }

    /// Waits until an attempt takes the instance.
    pub(super) async fn taken(&self) {
        while !self.is_taken() {
            self.poke.notified().await;
        }
        self.poke();
    }
}

/// Keeps one instance.
pub(super) struct Keeper {
    pub(super) charge: Charge,
}

/// What the keeper remembers between looks.
struct Memory {
    assigned: AssignedInstance,
    guard: Guard,
    /// Per part the last state that was known; none before the first look.
    last: Vec<Option<InstanceState>>,
    /// What the ledger was told to remember of the guard.
    kept: guard::Memory,
    looks: Looks,
}

impl Keeper {
    pub(super) fn of(charge: Charge) -> Self {
        Self { charge }
    }

    /// Keeps the instance until its assignment ends.
    pub(super) async fn run(mut self) {
        let assigned = self.charge.assigned.borrow_and_update().clone();
        let kept = self.charge.session.guard(&self.charge.service);
        let mut memory = Memory {
            guard: Guard::restore(assigned.guard, kept.clone()),
            last: self.last_known(&assigned),
            assigned,
            kept,
            looks: Looks::default(),
        };
        let mut claims = self.charge.session.watch_claims();
        self.look(&mut memory).await;
        if self.comes_up_with_its_machine(&memory) {
            self.start_after_boot(&mut memory).await;
        }
        loop {
            self.look(&mut memory).await;
            let due = memory.guard.due().map(|due| self.charge.clock.instant(due));
            let again = Instant::now() + self.rhythm(&memory.assigned.parts);
            tokio::select! {
                () = self.charge.instance.poke.notified() => {}
                Ok(()) = claims.changed() => {}
                () = tokio::time::sleep_until(again) => {}
                () = tokio::time::sleep_until(due.unwrap_or(again)), if due.is_some() => self.restart(&mut memory).await,
                changed = self.charge.assigned.changed() => match changed {
                    Ok(()) => self.reassign(&mut memory),
                    Err(_) => return,
                },
            }
        }
    }

    /// What ran when an agent last looked, in this boot: gone by now it has died, and broken by now it has failed. Not so of
    /// an exclusive service, which may be primary elsewhere by now.
    fn last_known(&self, assigned: &AssignedInstance) -> Vec<Option<InstanceState>> {
        let known = |part| match assigned.exclusive {
            true => None,
            false => self.charge.managers.last_known(part),
        };
        assigned.parts.iter().map(known).collect()
    }

    fn reassign(&mut self, memory: &mut Memory) {
        let assigned = self.charge.assigned.borrow_and_update().clone();
        memory.guard.set_policy(assigned.guard);
        if assigned.parts != memory.assigned.parts {
            memory.last = vec![None; assigned.parts.len()];
        }
        memory.assigned = assigned;
    }

    async fn look(&self, memory: &mut Memory) {
        if self.charge.instance.taken.swap(false, Ordering::Relaxed) {
            memory.guard.hand_over();
        }
        // Before the look: what an attempt that ends meanwhile has done is not taken for a death.
        let taken = self.charge.instance.is_taken();
        let given_back = if taken {
            None
        } else {
            self.charge.instance.take_given_back()
        };
        let parts = &memory.assigned.parts;
        let parts = memory
            .looks
            .at(&self.charge.managers, &self.charge.service, parts)
            .await;
        if given_back == Some(Proven::Up) {
            memory.last.fill(Some(InstanceState::Running));
        }
        if !taken
            && given_back != Some(Proven::Nothing)
            && let Some(death) = deaths(self.unseen(memory), &memory.last, &parts)
        {
            self.died(memory, death);
        }
        for (last, (_, seen)) in memory.last.iter_mut().zip(&parts) {
            if seen.broken {
                // Its next look sees the same; it shall not be a second death.
                *last = Some(InstanceState::Failed);
            } else if seen.state != InstanceState::Unknown {
                *last = Some(seen.state);
            }
        }
        self.remember(memory);
        if memory.assigned.lease.is_some() {
            let readiness = self.readiness(&memory.assigned, &parts).await;
            self.charge.roles.ready(&self.charge.service, readiness);
        }
        let seen = match parts.as_slice() {
            [] if memory.assigned.lease.is_some() => self.of_nothing(),
            parts => merge(parts),
        };
        self.post(memory, seen);
    }

    /// Has what the guard must not forget written down, if it is news.
    fn remember(&self, memory: &mut Memory) {
        let now = memory.guard.memory();
        if now != memory.kept {
            memory.kept.clone_from(&now);
            self.charge.session.keep_guard(&self.charge.service, now);
        }
    }

    /// What failed before the first look: did it in this boot, after an operation had started it?
    fn unseen(&self, memory: &Memory) -> Unseen {
        if self.is_trusted_in_this_boot() && !memory.assigned.exclusive {
            Unseen::Counts
        } else {
            Unseen::CountsOfProcesses
        }
    }

    /// Has an operation proven in this boot that it runs?
    fn is_trusted_in_this_boot(&self) -> bool {
        let trust = self.charge.trust();
        trust.is_some_and(|trust| trust.boot == *self.charge.managers.runs.boot_id())
    }

    /// Lets the guard decide about a death.
    fn died(&self, memory: &mut Memory, death: Death) {
        let situation = self.situation(&memory.assigned);
        let verdict = match self.charge.permit(&memory.assigned.parts) {
            Ok(()) => memory
                .guard
                .died(death, situation, self.charge.clock.mono()),
            Err(refusal) => Verdict::Leave(refusal.to_string()),
        };
        self.tell(&verdict);
    }

    fn situation(&self, assigned: &AssignedInstance) -> Situation {
        let trust = self.charge.trust();
        Situation {
            wanted: self.charge.wanted(),
            proven: trust.is_some_and(|trust| trust.parts == assigned.parts),
            attempt_open: self.charge.is_acted_on(),
        }
    }

    fn tell(&self, verdict: &Verdict) {
        let service = &self.charge.service;
        match verdict {
            Verdict::Leave(why) => tracing::warn!(%service, "down: {why}"),
            Verdict::RestartAt(at) => {
                let pause = at.saturating_sub(self.charge.clock.mono());
                tracing::warn!(%service, ?pause, "down, to be restarted");
            }
            Verdict::Escalate(why) => tracing::error!(%service, "down, and it stays down: {why}"),
        }
    }

    fn post(&self, memory: &Memory, mut seen: Seen) {
        // A primary without what only a primary has is none.
        let role = self.charge.view();
        if let Some(why) = role.and_then(|role| role.down)
            && seen.is_running()
        {
            seen.state = InstanceState::Failed;
            seen.reason = why;
        }
        let guard = &memory.guard;
        let dead = seen.state.is_down() || seen.broken;
        let failed = seen.state == InstanceState::Failed || seen.broken;
        let unguarded = self.situation(&memory.assigned).unguarded();
        let reason = match guard.given_up() {
            Some(why) if dead => why.to_owned(),
            _ if dead && guard.due().is_some() => {
                format!("{}; about to be restarted", seen.reason)
            }
            _ if failed && let Some(why) = unguarded => {
                format!("{}; not restarted: {why}", seen.reason)
            }
            _ => seen.reason,
        };
        let observation = InstanceObservation {
            state: seen.state,
            since: seen.since,
            reason,
            wanted: self.charge.wanted(),
            restarts: guard.restarts(),
            given_up: seen.state.is_down() && guard.given_up().is_some(),
            orphaned: seen.orphaned,
            // Posted apart, by whoever looks after them.
            members: Vec::new(),
            role: None,
        };
        self.charge
            .session
            .board()
            .post_instance(&self.charge.service, observation);
    }

    /// Starts again what is down, if that is still right.
    async fn restart(&self, memory: &mut Memory) {
        let Ok(_acting) = self.charge.instance.acting.try_lock() else {
            return;
        };
        let now = self.charge.clock.mono();
        let situation = self.situation(&memory.assigned);
        if !memory.guard.take_due(situation, now) {
            return;
        }
        self.remember(memory);
        tracing::warn!(service = %self.charge.service, "restarting");
        self.bring_up(memory, "restart").await;
    }

    /// How long until the next look although nothing happens.
    fn rhythm(&self, parts: &[Part]) -> Duration {
        let rhythms = parts.iter().map(|part| match part {
            Part::Process { .. }
            | Part::Systemd { .. }
            | Part::Address(_)
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => LOOK_AGAIN,
            Part::Exec { .. } => LOOK_AGAIN_BLIND,
            Part::Ocf(resource) => self.charge.managers.ocf.every(resource),
        });
        let rhythm = rhythms.min().unwrap_or(LOOK_AGAIN);
        match self.charge.session.is_held(&self.charge.service) {
            true => rhythm.min(LOOK_AGAIN_HELD),
            false => rhythm,
        }
    }

    /// Is it to be started because the machine was booted?
    fn comes_up_with_its_machine(&self, memory: &Memory) -> bool {
        let assigned = &memory.assigned;
        let this_boot = self.is_trusted_in_this_boot();
        let waits = |(part, last): (&Part, &Option<InstanceState>)| match part {
            Part::Process { name } => {
                let state = self.charge.managers.supervisor.state(name);
                state.is_some_and(|state| !state.was_started())
            }
            // Nothing but an agent starts it: what is stopped and was proven in another boot has not been started in this.
            Part::Ocf(_) => *last == Some(InstanceState::Stopped) && !this_boot,
            // systemd starts its units itself, and what a command has started cannot be told from what it has not.
            Part::Systemd { .. }
            | Part::Exec { .. }
            | Part::Address(_)
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => false,
        };
        assigned.autostart
            && !assigned.exclusive
            && assigned.parts.iter().zip(&memory.last).any(waits)
            && self.charge.permit(&assigned.parts).is_ok()
            && self.situation(assigned)
                == Situation {
                    wanted: Some(Wanted::Running),
                    proven: true,
                    attempt_open: false,
                }
    }

    async fn start_after_boot(&self, memory: &mut Memory) {
        let Ok(_acting) = self.charge.instance.acting.try_lock() else {
            return;
        };
        tracing::info!(service = %self.charge.service, "starting: it comes up with its machine");
        self.bring_up(memory, "start after the boot").await;
    }

    /// Starts what is down, in whose name nobody acts meanwhile. A failure is another death.
    async fn bring_up(&self, memory: &mut Memory, what: &str) {
        let errand = self.charge.errand(RESTART_LIMIT);
        let started = match self.charge.end_guard_runs().await {
            Ok(()) => instance::start(&self.charge.managers, &memory.assigned.parts, &errand).await,
            Err(trouble) => Err(trouble),
        };
        self.charge.forget_guard_runs();
        if started.is_err() && self.charge.instance.is_taken() {
            // Not the instance has failed: an attempt has interrupted the guard, and decides.
            return;
        }
        match started {
            Ok(evidence) => {
                tracing::info!(service = %self.charge.service, evidence, "the {what} is done");
                memory.last.fill(Some(InstanceState::Running));
            }
            Err(trouble) => {
                let death = Death::Failure(format!("the {what} failed: {trouble}"));
                // The next look sees the same; it shall not be a second death.
                memory.last.fill(Some(InstanceState::Failed));
                self.died(memory, death);
            }
        }
    }
}
