//! One task per instance: keeps a replica following whoever is primary.
//!
//! The guard of an instance leaves its servers alone: what is down is started here, read-only, while that is wanted and no attempt
//! has the instance in hand.
//!
//! A replica whose link is lost asks no more before it makes a new one by itself: whoever answers there may be a former primary by
//! then, with transactions that the new one never gets. It is told to ask again when both were compared.

use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::lease::Epoch;
use interlock_model::mariadb::Mariadb;
use interlock_model::names::NodeName;
use tokio::time::Instant;

use super::{CHANGE, REMEDY, Server, own, upstream};
use crate::mariadb::{Facts, Link, Observed, Relation, Source, Upstream};
use crate::roles::View;
use crate::run::charge::Charge;
use crate::run::managers::chain;
use crate::session::AssignedInstance;

/// How often a server is looked at.
const RHYTHM: Duration = Duration::from_millis(500);

/// How often it is seen how it is set, and that its next start is that of a read-only server.
const SETTINGS: Duration = Duration::from_secs(10);

/// How long a link may be down before the replica asks no more. It tries to make another one each second.
const PATIENCE: Duration = Duration::from_millis(800);

/// How long whom it is to follow may take to answer. A promotion waits for that: whoever does not answer may be dead.
const REACH: Duration = Duration::from_secs(1);

/// The pauses after failures: each twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a start may take: a large server that crashed repairs itself.
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
    /// Whom it was seen to follow with all that it has, in which epoch, and the last that its own server had written by then.
    compared: Option<(Epoch, NodeName, Option<u64>)>,
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
            let mariadb = assigned.parts.iter().find_map(Part::mariadb).cloned();
            let mariadb = mariadb.filter(|_| assigned.lease.is_some());
            let permit = self.charge.permit(&assigned.parts);
            let known = mariadb.and_then(|mariadb| {
                let server = self.charge.managers.mariadb.get(&mariadb).ok().cloned()?;
                Some((mariadb, server))
            });
            let Some((mariadb, server)) = known.filter(|_| permit.is_ok()) else {
                if self.charge.assigned.changed().await.is_err() {
                    return;
                }
                continue;
            };
            self.turn(&assigned, &mariadb, &server, &mut memory).await;
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
        mariadb: &Mariadb,
        server: &Server,
        memory: &mut Memory,
    ) {
        let Some(view) = self.charge.view() else {
            return;
        };
        let busy = self.charge.is_acted_on();
        if view.is_primary() {
            (memory.dry, memory.compared) = (None, None);
            self.lead(server, memory).await;
        } else if view.is_standby() && !busy {
            let wanted = self.charge.is_wanted();
            let due = memory.not_before.is_none_or(|at| Instant::now() >= at);
            if wanted && due {
                self.stand_by(assigned, mariadb, server, &view, memory)
                    .await;
            }
        }
    }

    /// Who holds the role, if it is another node that is known here.
    fn leading(
        &self,
        assigned: &AssignedInstance,
        mariadb: &Mariadb,
        view: &View,
    ) -> Option<Leading> {
        let (epoch, holder) = view.heard.clone()?;
        let holder = holder?;
        let mut peers = assigned.peers.iter();
        let peer = peers.find(|peer| peer.node == holder.node)?;
        Some(Leading {
            epoch,
            upstream: upstream(mariadb, peer),
        })
    }

    /// What is looked after at a primary.
    async fn lead(&self, server: &Server, memory: &mut Memory) {
        // Nothing is done to it here, and a look may take seconds: whoever is to take the role from it does not wait for that.
        if server.acting.try_lock().is_err() {
            return;
        }
        if !matches!(server.observe().await, Ok(Observed::Up(facts)) if !facts.read_only) {
            return;
        }
        self.see_settings(server, memory).await;
        self.settle(server, Ok(Step::Done), memory);
    }

    /// What a replica does.
    async fn stand_by(
        &self,
        assigned: &AssignedInstance,
        mariadb: &Mariadb,
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
        let leading = self.leading(assigned, mariadb, view);
        let observed = match server.observe().await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::debug!(service = %self.charge.service, "its server cannot be looked at: {}", chain(&error));
                return;
            }
        };
        // What was seen may be of a role that has come meanwhile, and that waits for this.
        let stands = self.charge.view();
        if !stands.is_some_and(|view| view.is_standby()) {
            return;
        }
        let step = match &observed {
            Observed::Stopped => self.start(server).await,
            // Nobody gave it that role here: who keeps it sees the same, and ends it.
            Observed::Up(facts) if !facts.read_only => return,
            Observed::Up(facts) => {
                self.see_settings(server, memory).await;
                self.follow(server, facts, leading.as_ref(), view, memory)
                    .await
            }
        };
        self.settle(server, step, memory);
    }

    /// Sees how it is set, and that its next start is that of a read-only server, now and then.
    async fn see_settings(&self, server: &Server, memory: &mut Memory) {
        if memory.settings_at.is_some_and(|at| at.elapsed() < SETTINGS) {
            return;
        }
        memory.settings_at = Some(Instant::now());
        let objection = match server.mariadb.prepare_start().await {
            Err(error) => Some(chain(&error)),
            Ok(()) => match server.mariadb.objection(CHANGE).await {
                Ok(objection) => objection,
                Err(error) => Some(chain(&error)),
            },
        };
        memory.objection = objection;
    }

    /// Notes how it went.
    fn settle(&self, server: &Server, step: Result<Step, String>, memory: &mut Memory) {
        let trouble = step.err();
        if trouble.is_some() {
            let pause = PAUSES.0 * 2_u32.saturating_pow(memory.failures.min(8));
            memory.failures += 1;
            memory.not_before = Some(Instant::now() + pause.min(PAUSES.1));
        } else {
            (memory.failures, memory.not_before) = (0, None);
        }
        let trouble = trouble.or_else(|| memory.objection.clone());
        if server.set_trouble(trouble.clone()) {
            self.charge.instance.poke();
            if let Some(why) = trouble {
                tracing::error!(service = %self.charge.service, "its server could not take the role: {why}");
            }
        }
    }

    async fn start(&self, server: &Server) -> Result<Step, String> {
        let errand = self.charge.errand(LIMIT);
        let started = self.charge.managers.start_read_only(server, &errand).await;
        let said = started.map_err(|trouble| trouble.to_string())?;
        tracing::info!(service = %self.charge.service, "its server is {said}");
        Ok(Step::Done)
    }

    /// Has a replica that runs follow, and notes that it does.
    async fn follow(
        &self,
        server: &Server,
        facts: &Facts,
        leading: Option<&Leading>,
        view: &View,
        memory: &mut Memory,
    ) -> Result<Step, String> {
        let source = facts.source();
        if self.is_dry(server, source, memory).await? {
            return Ok(Step::Done);
        }
        let Some(leading) = leading else {
            return self.alone(server, facts, source, memory);
        };
        let upstream = &leading.upstream;
        let told = source.filter(|it| it.host == upstream.host && it.port == upstream.port);
        let own = own(facts);
        let key = (leading.epoch, upstream.node.clone(), own);
        let runs = told.is_some_and(Source::runs);
        if runs && memory.compared.as_ref() == Some(&key) {
            server.known().own = Some(own);
            return Ok(self.follows(leading, view));
        }
        let other = match server.mariadb.observe_other(upstream, REACH).await {
            Ok(other) => other,
            // It is gone, or on its way: what this one has, it has.
            Err(error) => {
                tracing::debug!(service = %self.charge.service, "no comparison: {}", chain(&error));
                return self.alone(server, facts, told, memory);
            }
        };
        // A replica still, as far as it is one that the role was given to.
        if other.read_only {
            return self.alone(server, facts, None, memory);
        }
        if other.server_id == facts.server_id {
            return Err(format!(
                "it and {} have the same server_id {}: give each server of the service its own",
                upstream.node, facts.server_id
            ));
        }
        let relation = Relation::of(facts, &other);
        if let Some(why) = lost(&relation, facts, &upstream.node) {
            memory.compared = None;
            self.charge.roles.diverged(&self.charge.service);
            return Err(why);
        }
        if runs {
            memory.compared = Some(key);
            server.known().own = Some(own);
            return Ok(self.follows(leading, view));
        }
        memory.compared = None;
        if let Some(why) = told.and_then(Source::broken) {
            return Err(format!("{why}; repair it, and START SLAVE"));
        }
        let followed = match told {
            Some(_) => server.mariadb.resume(CHANGE).await,
            None => server.mariadb.follow(upstream, CHANGE).await,
        };
        followed.map_err(|error| chain(&error))?;
        tracing::info!(service = %self.charge.service, upstream = %upstream.node, ?relation, "its replica is to follow");
        server.stirred.notify_one();
        Ok(Step::Done)
    }

    /// There is nobody to compare with. What somebody has written to it since it last followed is a divergence all the same: whoever
    /// takes over with that lacks as many transactions of the last primary as its number pretends to have.
    fn alone(
        &self,
        server: &Server,
        facts: &Facts,
        source: Option<&Source>,
        memory: &mut Memory,
    ) -> Result<Step, String> {
        if let Some(why) = server.written_here(facts) {
            memory.compared = None;
            self.charge.roles.diverged(&self.charge.service);
            return Err(why);
        }
        source.and_then(Source::broken).map_or(Ok(Step::Done), Err)
    }

    /// Is its link down, so that there is nothing to compare yet? After a moment it asks no more.
    async fn is_dry(
        &self,
        server: &Server,
        source: Option<&Source>,
        memory: &mut Memory,
    ) -> Result<bool, String> {
        // With both threads stopped it would throw away what it has received and not applied.
        let Some(source) = source.filter(|it| it.link == Link::Connecting && it.applies) else {
            memory.dry = None;
            return Ok(false);
        };
        let dry = *memory.dry.get_or_insert_with(Instant::now);
        if dry.elapsed() >= PATIENCE {
            memory.dry = None;
            tracing::info!(service = %self.charge.service, source = %source.host, why = ?source.link_error, "its link is down: it asks no more");
            let detached = server.mariadb.detach(CHANGE).await;
            detached.map_err(|error| chain(&error))?;
        }
        Ok(true)
    }

    /// It gets the stream of who holds the role, and has nothing that this one has not.
    fn follows(&self, leading: &Leading, view: &View) -> Step {
        if view.follows < leading.epoch || view.marked {
            self.charge.follows(leading.epoch);
        }
        Step::Done
    }
}

/// What would be lost if it followed, and what a person can do about it; none if nothing would.
fn lost(relation: &Relation, facts: &Facts, upstream: &NodeName) -> Option<String> {
    let last = facts
        .last()
        .map(|last| last.to_string())
        .unwrap_or_default();
    match relation {
        Relation::Nothing | Relation::Beginning => None,
        Relation::Parted { at, transactions } => Some(format!(
            "its data have parted from those of {upstream}: {transactions} transaction(s) after number {at}, up to {last}, were never \
             there; {REMEDY}"
        )),
        Relation::Unrelated => Some(format!(
            "its data (up to {last}) have nothing in common with those of {upstream}: nobody can tell what of it would be lost; \
             {REMEDY}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_lost_is_told_in_transactions_with_the_remedy() {
        let facts = Facts {
            read_only: true,
            server_id: 1,
            domain: 0,
            written: "0-1-103".parse().unwrap(),
            history: "0-1-103".parse().unwrap(),
            applied: "".parse().unwrap(),
            sources: Vec::new(),
        };
        let node: NodeName = "db2".parse().unwrap();
        let parted = Relation::Parted {
            at: 100,
            transactions: 3,
        };
        let said = lost(&parted, &facts, &node).unwrap();
        for word in ["3 transaction(s)", "0-1-103", "db2", "mariadb-backup"] {
            assert!(said.contains(word), "{said}");
        }
        assert!(lost(&Relation::Unrelated, &facts, &node).is_some());
        assert_eq!(lost(&Relation::Beginning, &facts, &node), None);
    }
}
