//! One task per instance: keeps a replica following whoever is primary.
//!
//! The guard of an instance leaves its servers alone: what is down is started here, as a replica, while that is wanted and no
//! attempt has the instance in hand.
//!
//! A replica whose link is lost is detached before it makes a new one by itself: whoever answers there may have less by then,
//! and the replica would throw away the rest. It is told to follow again when that was asked.

use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::lease::Epoch;
use interlock_model::names::NodeName;
use interlock_model::observation::Loss;
use interlock_model::postgres::Rejoin;
use interlock_model::redis::Redis;
use tokio::time::Instant;

use super::{CHANGE, Server, upstream};
use crate::redis::{Facts, Observed, Relation, Replica, Role, Upstream};
use crate::roles::View;
use crate::run::charge::Charge;
use crate::run::managers::chain;
use crate::session::AssignedInstance;

/// How often a server is looked at.
const RHYTHM: Duration = Duration::from_millis(500);

/// How often it is seen how it is set, and that its next start is that of a replica.
const SETTINGS: Duration = Duration::from_secs(10);

/// How long a link may be down before the replica is detached. It tries to make another one each second.
const PATIENCE: Duration = Duration::from_millis(800);

/// How long whom it is to follow may take to answer. A promotion waits for that: whoever does not answer may be dead.
const REACH: Duration = Duration::from_millis(300);

/// The pauses after failures: each twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a start, or a snapshot of all that is about to be lost, may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Keeps the server of one instance.
pub(in crate::run) struct Follower {
    charge: Charge,
}

/// What it remembers between looks.
#[derive(Debug, Default)]
struct Memory {
    /// Since when a replica has no link to whom it is told to follow.
    dry: Option<Instant>,
    /// In whose stream, and of which line, it was seen to be, and in which epoch.
    compared: Option<(Epoch, NodeName, String)>,
    failures: u32,
    not_before: Option<Instant>,
    settings_at: Option<Instant>,
    /// Why it should not be run under a lease as it is set.
    objection: Option<String>,
}

/// Who is to be followed, by the last word of a coordinator.
struct Leading {
    epoch: Epoch,
    upstream: Upstream,
}

/// What has come of a turn.
enum Step {
    /// It is as it should be, or nothing can be done about it now.
    Done,
    /// It could not be promoted yet, and why.
    Wait(String),
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
            let redis = assigned.parts.iter().find_map(Part::redis).cloned();
            let redis = redis.filter(|_| assigned.lease.is_some());
            let permit = self.charge.permit(&assigned.parts);
            let known = redis.and_then(|redis| {
                let server = self.charge.managers.redis.get(&redis).ok().cloned()?;
                Some((redis, server))
            });
            let Some((redis, server)) = known.filter(|_| permit.is_ok()) else {
                if self.charge.assigned.changed().await.is_err() {
                    return;
                }
                continue;
            };
            self.turn(&assigned, &redis, &server, &mut memory).await;
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
        redis: &Redis,
        server: &Server,
        memory: &mut Memory,
    ) {
        let Some(view) = self.charge.view() else {
            return;
        };
        let busy = self.charge.is_acted_on();
        if view.is_primary() {
            memory.dry = None;
            self.lead(server, memory).await;
        } else if view.is_standby() && !busy {
            let wanted = self.charge.is_wanted();
            let due = memory.not_before.is_none_or(|at| Instant::now() >= at);
            if wanted && due {
                self.stand_by(assigned, redis, server, &view, memory).await;
            }
        }
    }

    /// Who holds the role, if it is another node that is known here.
    fn leading(&self, assigned: &AssignedInstance, redis: &Redis, view: &View) -> Option<Leading> {
        let (epoch, holder) = view.heard.clone()?;
        let holder = holder?;
        let mut peers = assigned.peers.iter();
        let peer = peers.find(|peer| peer.node == holder.node)?;
        Some(Leading {
            epoch,
            upstream: upstream(redis, peer),
        })
    }

    /// What is looked after at a primary.
    async fn lead(&self, server: &Server, memory: &mut Memory) {
        let Ok(acting) = server.acting.try_lock() else {
            return;
        };
        let Ok(Observed::Up(facts)) = server.observe().await else {
            return;
        };
        let (Role::Primary(_), Some(data)) = (&facts.role, facts.data()) else {
            return;
        };
        // As soon as its writes are counted: its replicas are of this line from now on.
        let noted = server.note.leads(Some(&data.line), &facts.run_id).await;
        if let Err(error) = noted {
            tracing::error!(service = %self.charge.service, %error, "of which line its data are is not noted");
        }
        // A look at its settings may take seconds: whoever is to take the role from it does not wait for that.
        drop(acting);
        self.see_settings(server, memory).await;
        self.settle(server, Ok(Step::Done), memory);
    }

    /// What a replica does.
    async fn stand_by(
        &self,
        assigned: &AssignedInstance,
        redis: &Redis,
        server: &Server,
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
        let leading = self.leading(assigned, redis, view);
        let told = server.told();
        let observed = match server.observe().await {
            Ok(observed) => observed,
            Err(error) => {
                let why = format!("its server cannot be looked at: {}", chain(&error));
                return self.settle(server, Ok(Step::Wait(why)), memory);
            }
        };
        // What was seen may be of a role that has come meanwhile, and that waits for this.
        let stands = self.charge.view();
        if !stands.is_some_and(|view| view.is_standby()) {
            return;
        }
        let step = match &observed {
            Observed::Stopped => self.start(server).await,
            Observed::Up(facts) => match &facts.role {
                // Nobody gave it that role here: who keeps it sees the same, and ends it.
                Role::Primary(_) => return,
                Role::Replica(_) if facts.loading => Ok(Step::Wait("it reads its data".to_owned())),
                Role::Replica(replica) => {
                    self.see_settings(server, memory).await;
                    let step = match &leading {
                        None => Ok(Step::Done),
                        Some(leading) => {
                            self.follow(redis, server, facts, replica, leading, view, memory)
                                .await
                        }
                    };
                    // What would be refused is not chosen.
                    match (step, server.not_what_it_had(facts, told.as_ref())) {
                        (Ok(Step::Done), Some(why)) => Ok(Step::Wait(why)),
                        (step, _) => step,
                    }
                }
            },
        };
        self.settle(server, step, memory);
    }

    /// Sees how it is set, and that its next start is that of a replica, now and then.
    async fn see_settings(&self, server: &Server, memory: &mut Memory) {
        if memory.settings_at.is_some_and(|at| at.elapsed() < SETTINGS) {
            return;
        }
        memory.settings_at = Some(Instant::now());
        let objection = match server.redis.prepare_start(CHANGE).await {
            Err(error) => Some(chain(&error)),
            Ok(()) => match server.redis.objection(CHANGE).await {
                Ok(objection) => objection,
                Err(error) => Some(chain(&error)),
            },
        };
        memory.objection = objection;
    }

    /// Notes how it went.
    fn settle(&self, server: &Server, step: Result<Step, String>, memory: &mut Memory) {
        let (trouble, failed) = match step {
            Ok(Step::Done) => (None, false),
            Ok(Step::Wait(why)) => (Some(why), false),
            Err(why) => (Some(why), true),
        };
        if failed {
            let pause = PAUSES.0 * 2_u32.saturating_pow(memory.failures.min(8));
            memory.failures += 1;
            memory.not_before = Some(Instant::now() + pause.min(PAUSES.1));
        } else {
            (memory.failures, memory.not_before) = (0, None);
        }
        let waits = trouble.is_some() && !failed;
        let trouble = trouble.or_else(|| memory.objection.clone());
        if server.set_trouble(trouble.clone()) {
            self.charge.instance.poke();
            if let Some(why) = trouble.filter(|_| !waits) {
                tracing::error!(service = %self.charge.service, "its server could not take the role: {why}");
            }
        }
    }

    async fn start(&self, server: &Server) -> Result<Step, String> {
        let errand = self.charge.errand(LIMIT);
        let started = self.charge.managers.start_replica(server, &errand).await;
        let said = started.map_err(|trouble| trouble.to_string())?;
        tracing::info!(service = %self.charge.service, "its server is {said}");
        Ok(Step::Done)
    }

    /// Has a replica that runs follow, and notes that it does.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of them are what one look has shown"
    )]
    async fn follow(
        &self,
        redis: &Redis,
        server: &Server,
        facts: &Facts,
        replica: &Replica,
        leading: &Leading,
        view: &View,
        memory: &mut Memory,
    ) -> Result<Step, String> {
        let upstream = &leading.upstream;
        let told = replica.host == upstream.host && replica.port == upstream.port;
        if told && replica.copying {
            (memory.dry, memory.compared) = (None, None);
            return Ok(Step::Wait(format!(
                "it is being filled from {}: its own data are gone",
                upstream.node
            )));
        }
        if told && replica.linked {
            memory.dry = None;
            return self.linked(server, facts, leading, view, memory).await;
        }
        memory.compared = None;
        if told {
            let dry = *memory.dry.get_or_insert_with(Instant::now);
            if dry.elapsed() < PATIENCE {
                return Ok(Step::Done);
            }
            tracing::info!(service = %self.charge.service, upstream = %upstream.node, "its link is down: detached");
            let detached = server.redis.detach(CHANGE).await;
            detached.map_err(|error| chain(&error))?;
            memory.dry = None;
            return Ok(Step::Done);
        }
        let other = match server.redis.observe_other(upstream, REACH).await {
            Ok(other) => other,
            // It is gone, or on its way: what this one has, it has.
            Err(error) => {
                tracing::debug!(service = %self.charge.service, "no comparison: {}", chain(&error));
                return Ok(Step::Done);
            }
        };
        if !matches!(other.role, Role::Primary(_)) {
            return Ok(Step::Done);
        }
        let relation = Relation::of(facts, &other);
        let text = match &relation {
            relation if relation.is_safe() => None,
            Relation::Ahead { bytes } => {
                return Ok(Step::Wait(format!(
                    "it has {bytes} B that {} has not, which was promoted with less",
                    upstream.node
                )));
            }
            Relation::Parted { at, bytes } => Some(format!(
                "{bytes} B of its writes, from {at} on, were never in {}",
                upstream.node
            )),
            // It had its data from the service, and nobody has written to it: the other one has grown a line of its own since.
            _ if view.follows > Epoch::NONE && !view.marked => {
                tracing::warn!(service = %self.charge.service, "nobody can tell whether {} has all that it has", upstream.node);
                None
            }
            _ => Some(format!(
                "its data are of another line than those of {}: nobody can tell what of it would be lost",
                upstream.node
            )),
        };
        if let Some(text) = text {
            // Before anything is done about it: what comes next may fail.
            self.charge.roles.diverged(&self.charge.service);
            if redis.rejoin != Rejoin::Clone {
                return Err(format!(
                    "{text}: keep what is needed of it and have it follow by hand (REPLICAOF), or write `rejoin: clone`"
                ));
            }
            let saved = server.redis.save_aside(LIMIT).await;
            let saved =
                saved.map_err(|error| format!("{text}, and cannot be kept: {}", chain(&error)))?;
            let (file, bytes) = (saved.file.display(), saved.bytes);
            tracing::warn!(service = %self.charge.service, %file, bytes, "{text}; all that it had is kept, and copied anew");
            let loss = Loss {
                epoch: leading.epoch,
                text: format!("{text}; all that it had is kept in {file}"),
            };
            self.charge.roles.lost(&self.charge.service, loss);
        }
        let followed = server.redis.follow(upstream, CHANGE).await;
        followed.map_err(|error| chain(&error))?;
        tracing::info!(service = %self.charge.service, upstream = %upstream.node, ?relation, "its replica is to follow");
        server.stirred.notify_one();
        Ok(Step::Done)
    }

    /// It gets a stream: is it that of who holds the role?
    async fn linked(
        &self,
        server: &Server,
        facts: &Facts,
        leading: &Leading,
        view: &View,
        memory: &mut Memory,
    ) -> Result<Step, String> {
        let key = (
            leading.epoch,
            leading.upstream.node.clone(),
            facts.line.clone(),
        );
        if memory.compared.as_ref() != Some(&key) {
            let other = server.redis.observe_other(&leading.upstream, REACH).await;
            let Ok(other) = other else {
                return Ok(Step::Done);
            };
            // What it streams from may be a replica still, and of another line when it is promoted.
            if !matches!(other.role, Role::Primary(_)) || other.line != facts.line {
                return Ok(Step::Done);
            }
            let noted = server.note.follows(&facts.line, &facts.run_id).await;
            noted.map_err(|error| format!("of which line its data are is not noted: {error}"))?;
            memory.compared = Some(key);
        }
        if view.follows < leading.epoch || view.marked {
            self.charge.follows(leading.epoch);
        }
        Ok(Step::Done)
    }
}
