//! One task per instance: keeps a standby following whoever is primary, and does what a primary owes its standbys.
//!
//! The guard of an instance leaves its servers alone: what is down is started here, as a standby, while that is wanted and no
//! attempt has the instance in hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::lease::Epoch;
use interlock_model::names::NodeName;
use interlock_model::postgres::{Postgres, Synchronous};
use tokio::time::Instant;

use super::rejoin::{Rejoining, Step};
use super::waiting::{Question, Waiting};
use super::{CHANGE, LOOK, Server, upstream};
use crate::postgres::{Comparison, Divergence, Observed, Primary, Role, Standby, Upstream};
use crate::roles::View;
use crate::run::charge::Charge;
use crate::run::managers::chain;
use crate::session::AssignedInstance;

/// How often a server is looked at.
const RHYTHM: Duration = Duration::from_millis(500);

/// How often a primary sees that each standby has its slot, and a standby that it has none.
const SLOTS: Duration = Duration::from_secs(10);

/// How long a standby may be without its stream before it is asked why.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a standby may be without its stream although the primary answers, before that is said. A receiver that was refused tries
/// again after five seconds (`wal_retrieve_retry_interval`).
const MUTE: Duration = Duration::from_secs(15);

/// The pause after whom commits wait for could not be set: to prove it takes a checkpoint each time.
const NAMES_AGAIN: Duration = Duration::from_secs(5);

/// The pauses after failures: each twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a start, a stop, a rewind or a copy may take.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// Keeps the server of one instance.
pub(in crate::run) struct Follower {
    charge: Charge,
}

/// What it remembers between looks.
#[derive(Debug, Default)]
struct Memory {
    /// Since when the standby does not stream from whom it is to follow.
    dry: Option<Instant>,
    /// In whose stream a comparison found nothing else, and in which epoch.
    compared: Option<(Epoch, NodeName)>,
    failures: u32,
    not_before: Option<Instant>,
    slots_at: Option<Instant>,
    /// In which epoch no slot was left that it had kept as a primary, and when that was last looked at.
    slotless: Option<Epoch>,
    slotless_at: Option<Instant>,
    /// When whom commits wait for may be set again.
    names_not_before: Option<Instant>,
}

/// Who is to be followed, by the last word of a coordinator.
struct Leading {
    epoch: Epoch,
    upstream: Upstream,
}

impl Follower {
    pub(in crate::run) fn of(charge: Charge) -> Self {
        Self { charge }
    }

    /// Keeps it until its assignment ends.
    pub(in crate::run) async fn run(mut self) {
        let mut memory = Memory::default();
        loop {
            let assigned = self.charge.assigned.borrow_and_update().clone();
            let server = assigned.parts.iter().find_map(Part::postgres).cloned();
            let server = server.filter(|_| assigned.lease.is_some());
            let Some(postgres) = server else {
                if self.charge.assigned.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let permit = self.charge.permit(&assigned.parts);
            let known = self.charge.managers.servers.get(&postgres).cloned();
            let Some(server) = known.ok().filter(|_| permit.is_ok()) else {
                if self.charge.assigned.changed().await.is_err() {
                    return;
                }
                continue;
            };
            self.turn(&assigned, &postgres, &server, &mut memory).await;
            tokio::select! {
                () = tokio::time::sleep(RHYTHM) => {}
                () = server.stirred.notified() => {}
                changed = self.charge.assigned.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    async fn turn(
        &self,
        assigned: &AssignedInstance,
        postgres: &Postgres,
        server: &Arc<Server>,
        memory: &mut Memory,
    ) {
        let Some(view) = self.charge.view() else {
            return;
        };
        let busy = self.charge.is_acted_on();
        if view.is_primary() {
            memory.dry = None;
            self.serve_standbys(assigned, postgres, server, &view, memory)
                .await;
        } else if view.is_standby() && !busy {
            let wanted = self.charge.is_wanted();
            let due = memory.not_before.is_none_or(|at| Instant::now() >= at);
            if wanted && due {
                self.stand_by(assigned, postgres, server, &view, memory)
                    .await;
            }
        }
    }

    /// Who holds the role, if it is another node that is known here.
    fn leading(
        &self,
        assigned: &AssignedInstance,
        postgres: &Postgres,
        view: &View,
    ) -> Option<Leading> {
        let (epoch, holder) = view.heard.clone()?;
        let holder = holder?;
        let peer = assigned
            .peers
            .iter()
            .find(|peer| peer.node == holder.node)?;
        Some(Leading {
            epoch,
            upstream: upstream(&self.charge.managers.servers.node, postgres, peer),
        })
    }

    /// What a standby does.
    async fn stand_by(
        &self,
        assigned: &AssignedInstance,
        postgres: &Postgres,
        server: &Arc<Server>,
        view: &View,
        memory: &mut Memory,
    ) {
        // Whoever else acts on it is looked at when they have done.
        let (Ok(_instance), Ok(_acting)) = (
            self.charge.instance.acting.try_lock(),
            server.acting.try_lock(),
        ) else {
            return;
        };
        let leading = self.leading(assigned, postgres, view);
        let observed = match server.observe().await {
            Ok(observed) => observed,
            Err(error) => {
                let why = format!("its server cannot be looked at: {}", chain(&error));
                return self.settle(server, Ok(Step::Wait(why)), memory);
            }
        };
        // What was seen may be of a role that has come meanwhile, and that waits for this.
        if !self.charge.view().is_some_and(|view| view.is_standby()) {
            return;
        }
        let step = match &observed {
            Observed::Stopped => {
                self.rejoin(postgres, server, leading.as_ref(), view, false, memory)
                    .await
            }
            Observed::Busy { .. } => return,
            Observed::Up(facts) => match &facts.role {
                // Nobody gave it that role here: who keeps it sees the same, and ends it.
                Role::Primary(_) => return,
                Role::Standby(standby) => match &leading {
                    None => Ok(Step::Done),
                    Some(leading) => {
                        self.follow(postgres, server, standby, leading, view, memory)
                            .await
                    }
                },
            },
        };
        self.settle(server, step, memory);
    }

    /// Notes how it went.
    fn settle(&self, server: &Server, step: Result<Step, String>, memory: &mut Memory) {
        match step {
            Ok(Step::Done) => {
                memory.failures = 0;
                memory.not_before = None;
                self.say(server, None);
            }
            Ok(Step::Wait(why)) => {
                self.say(server, Some(why));
            }
            Err(why) => {
                let pause = PAUSES.0 * 2_u32.saturating_pow(memory.failures.min(8));
                memory.failures += 1;
                memory.not_before = Some(Instant::now() + pause.min(PAUSES.1));
                if self.say(server, Some(why.clone())) {
                    tracing::error!(service = %self.charge.service, "its standby does not follow: {why}");
                }
            }
        }
    }

    /// Says why it could not be promoted; true if that is news.
    fn say(&self, server: &Server, trouble: Option<String>) -> bool {
        let news = server.set_trouble(trouble);
        if news {
            self.charge.instance.poke();
        }
        news
    }

    /// Has a standby that runs follow, and notes that it does.
    async fn follow(
        &self,
        postgres: &Postgres,
        server: &Arc<Server>,
        standby: &Standby,
        leading: &Leading,
        view: &View,
        memory: &mut Memory,
    ) -> Result<Step, String> {
        let upstream = &leading.upstream;
        if server.upstream().as_ref() != Some(upstream) {
            // Before it receives anything: to the servers, two timelines of one number are one.
            let compared = server.cluster.divergence(upstream, LOOK).await;
            if compared.is_ok_and(|it| it.leads && it.found.is_of_another_line()) {
                return self
                    .rejoin(postgres, server, Some(leading), view, true, memory)
                    .await;
            }
            let followed = server.cluster.follow(Some(upstream), CHANGE).await;
            followed.map_err(|error| chain(&error))?;
            tracing::info!(service = %self.charge.service, upstream = %upstream.node, "its standby is to follow");
            server.known().upstream = Some(upstream.clone());
            (memory.dry, memory.compared) = (None, None);
        }
        let source = standby.source.as_ref();
        let streams = source.is_some_and(|source| {
            source.streaming && source.host.as_deref() == Some(upstream.host.as_str())
        });
        let key = (leading.epoch, upstream.node.clone());
        if streams && memory.compared.as_ref() == Some(&key) {
            memory.dry = None;
            if view.follows < leading.epoch {
                self.charge.follows(leading.epoch);
            }
            self.drop_slots(server, leading.epoch, memory).await;
            return Ok(Step::Done);
        }
        let dry = *memory.dry.get_or_insert_with(Instant::now);
        if !streams && dry.elapsed() < PATIENCE {
            return Ok(Step::Done);
        }
        let Comparison { found, leads } = match server.cluster.divergence(upstream, CHANGE).await {
            Ok(compared) => compared,
            // It is gone, or on its way: what this one has, it has.
            Err(error) => {
                tracing::debug!(service = %self.charge.service, "no comparison: {}", chain(&error));
                return Ok(Step::Done);
            }
        };
        match found {
            // Who holds the role may never come to be primary in this epoch, and there would be nothing that was followed.
            _ if !leads => Ok(Step::Done),
            Divergence::None if streams => {
                memory.compared = Some(key);
                self.charge.follows(leading.epoch);
                Ok(Step::Done)
            }
            Divergence::None if dry.elapsed() >= MUTE => Ok(Step::Wait(format!(
                "it receives nothing from {}, which answers and has the same history: is the log that it needs still there, and may it \
                 log in? What its server writes to its own log tells",
                upstream.node
            ))),
            Divergence::None | Divergence::Ahead { .. } => Ok(Step::Done),
            Divergence::Diverged(_) | Divergence::AnotherSystem { .. } => {
                self.rejoin(postgres, server, Some(leading), view, true, memory)
                    .await
            }
        }
    }

    /// Removes what a former primary has kept for others: nobody takes it any more, and its log stays until its disk is full.
    async fn drop_slots(&self, server: &Server, epoch: Epoch, memory: &mut Memory) {
        let early = memory.slotless_at.is_some_and(|at| at.elapsed() < SLOTS);
        if early || memory.slotless == Some(epoch) {
            return;
        }
        memory.slotless_at = Some(Instant::now());
        match server.cluster.slots(&BTreeSet::new(), CHANGE).await {
            Ok(slots) => {
                if !slots.removed.is_empty() {
                    tracing::info!(service = %self.charge.service, removed = ?slots.removed, "a standby keeps no slots");
                }
                if slots.in_use.is_empty() {
                    memory.slotless = Some(epoch);
                }
            }
            Err(error) => {
                tracing::warn!(service = %self.charge.service, "slots that nobody uses keep its log: {}", chain(&error));
            }
        }
    }

    /// Has a server rejoin, in a task of its own: what was begun on a disk comes to its end whatever becomes of this one.
    async fn rejoin(
        &self,
        postgres: &Postgres,
        server: &Arc<Server>,
        leading: Option<&Leading>,
        view: &View,
        runs: bool,
        memory: &mut Memory,
    ) -> Result<Step, String> {
        let upstream = leading.map(|leading| leading.upstream.clone());
        let epoch = leading.map_or(Epoch::NONE, |leading| leading.epoch);
        memory.compared = None;
        let since = *memory.dry.get_or_insert_with(Instant::now);
        let rejoining = Rejoining {
            charge: self.charge.clone(),
            server: Arc::clone(server),
            policy: postgres.rejoin,
            upstream,
            epoch,
            // It may have what others have not: it is worth a while to ask them first.
            patient: view.marked && since.elapsed() < PAUSES.1,
        };
        let charge = self.charge.clone();
        let done = tokio::spawn(async move {
            let errand = charge.errand(LIMIT);
            rejoining.carry_out(runs, &errand).await
        });
        match done.await {
            Ok(step) => step,
            Err(error) => Err(error.to_string()),
        }
    }

    /// What a primary owes its standbys: a slot for each, and commits that wait as the spec says.
    async fn serve_standbys(
        &self,
        assigned: &AssignedInstance,
        postgres: &Postgres,
        server: &Server,
        view: &View,
        memory: &mut Memory,
    ) {
        let Ok(_acting) = server.acting.try_lock() else {
            return;
        };
        let primary = match server.observe().await {
            Ok(Observed::Up(facts)) => match facts.role {
                Role::Primary(primary) => primary,
                Role::Standby(_) => return,
            },
            Ok(Observed::Stopped | Observed::Busy { .. }) | Err(_) => return,
        };
        // Who promoted it may have died before this was done.
        let kept = server.cluster.keep_standby(CHANGE).await.err();
        let kept = kept.map(|error| {
            format!(
                "its next start would be that of a primary: {}",
                chain(&error)
            )
        });
        let trouble = kept.or_else(|| acknowledges_early(postgres.synchronous, &primary));
        if self.say(server, trouble.clone())
            && let Some(why) = trouble
        {
            tracing::error!(service = %self.charge.service, "{why}");
        }
        if memory.slots_at.is_none_or(|at| at.elapsed() >= SLOTS) {
            memory.slots_at = Some(Instant::now());
            (memory.slotless, memory.slotless_at) = (None, None);
            let peers: BTreeSet<NodeName> = assigned
                .peers
                .iter()
                .map(|peer| peer.node.clone())
                .collect();
            if let Err(error) = server.cluster.slots(&peers, CHANGE).await {
                tracing::warn!(service = %self.charge.service, "its standbys have no slots: {}", chain(&error));
                memory.slots_at = None;
            }
        }
        let proven = server.cluster.waits();
        let question = Question {
            mode: postgres.synchronous,
            peers: &assigned.peers,
            primary: &primary,
            proven: proven.is_some_and(|waits| waits.names == primary.synchronous),
            permitted: view.asynchronous.is_some() && view.asynchronous == server.known().degrading,
            promised: view.promises,
        };
        if memory
            .names_not_before
            .is_some_and(|at| Instant::now() < at)
        {
            return;
        }
        let names = match question.answer() {
            Waiting::AsIs => {
                // Whatever was asked for is not needed any more. A permission that comes for it is of no use.
                server.known().degrading = None;
                return;
            }
            Waiting::Ask => {
                self.charge
                    .roles
                    .degrade(&self.charge.service, server.request());
                return;
            }
            Waiting::For(names) => names,
        };
        match server.cluster.synchronous(names.as_ref(), CHANGE).await {
            Ok(()) => {
                server.known().degrading = None;
                let names = names.map_or_else(|| "nobody".to_owned(), |names| names.to_string());
                tracing::warn!(service = %self.charge.service, "commits wait for {names}");
            }
            Err(error) => {
                memory.names_not_before = Some(Instant::now() + NAMES_AGAIN);
                tracing::error!(service = %self.charge.service, "whom commits wait for cannot be set: {}", chain(&error));
            }
        }
    }
}

/// Why nobody is told that commits wait although the spec has them wait.
fn acknowledges_early(mode: Synchronous, primary: &Primary) -> Option<String> {
    let early = mode != Synchronous::Off && !primary.waits_for_disks();
    early.then(|| {
        format!(
            "synchronous_commit is {}: commits are acknowledged before a standby has them on disk; set it to on",
            primary.commit
        )
    })
}
