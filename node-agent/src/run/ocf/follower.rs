//! One task per instance: what is promotable runs while that is wanted, and its agent hears where the role is.
//!
//! The guard of an instance leaves it alone: what is down, or broken, is started here as what it is on every instance, while no role
//! is held and no attempt has the instance in hand.

use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::names::NodeName;
use interlock_model::ocf::Resource;
use tokio::time::Instant;

use crate::ocf::{Circle, Code, Told, Verb};
use crate::roles::{Condition, View};
use crate::run::charge::Charge;
use crate::run::errand::Errand;
use crate::session::AssignedInstance;

/// How often it is seen what its last look said. Who keeps its role looks.
const RHYTHM: Duration = Duration::from_millis(500);

/// The pauses after failures: each twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a start may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Keeps the resources of one instance.
pub(in crate::run) struct Follower {
    charge: Charge,
}

/// What it remembers between looks.
#[derive(Debug, Default)]
struct Memory {
    /// Where the role was, by the last word of a coordinator.
    primary: Option<NodeName>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Follower {
    pub(in crate::run) fn of(charge: Charge) -> Self {
        Self { charge }
    }

    /// Keeps them until their assignment ends.
    pub(in crate::run) async fn run(mut self) {
        let mut memory = Memory::default();
        loop {
            let assigned = self.charge.assigned.borrow_and_update().clone();
            let permit = self.charge.permit(&assigned.parts);
            let promotable = assigned.parts.iter().any(|it| it.promotable().is_some());
            let kept = promotable && assigned.lease.is_some() && permit.is_ok();
            if kept && let Some(view) = self.charge.view() {
                self.turn(&assigned, &view, &mut memory).await;
            }
            tokio::select! {
                () = tokio::time::sleep(RHYTHM), if kept => {}
                changed = self.charge.assigned.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    async fn turn(&self, assigned: &AssignedInstance, view: &View, memory: &mut Memory) {
        let own = self.charge.managers.ocf.node();
        let heard = view.heard.as_ref().and_then(|(_, holder)| holder.as_ref());
        let primary = match view.is_primary() {
            true => Some(own.clone()),
            false => heard.map(|holder| holder.node.clone()),
        };
        let mut nodes: Vec<NodeName> = assigned.peers.iter().map(|it| it.node.clone()).collect();
        nodes.push(own.clone());
        nodes.sort();
        let circle = Circle {
            nodes,
            primary: primary.clone(),
        };
        let resources = || {
            let parts = assigned.parts.iter().enumerate();
            parts.filter_map(|(index, part)| Some((index, part.promotable()?)))
        };
        for (_, resource) in resources() {
            self.charge
                .managers
                .ocf
                .slot(resource)
                .set_circle(circle.clone());
        }
        let moved = primary != memory.primary;
        memory.primary.clone_from(&primary);
        if moved && let Some(node) = primary.filter(|node| node != own) {
            for (_, resource) in resources() {
                self.tell(resource, node.clone()).await;
            }
        }
        let busy = self.charge.is_acted_on();
        let wanted = self.charge.is_wanted();
        let due = memory.not_before.is_none_or(|at| Instant::now() >= at);
        if !view.is_standby() || busy || !wanted || !due {
            return;
        }
        let down = |(_, resource): &(usize, &Resource)| {
            let last = self.charge.managers.ocf.slot(resource).last();
            last.is_some_and(|code| !code.is_up() && code != Code::FailedPromoted)
        };
        if resources().any(|it| down(&it)) {
            self.start(assigned, memory).await;
        }
    }

    /// Tells the agent of a resource who was promoted elsewhere.
    async fn tell(&self, resource: &Resource, node: NodeName) {
        let told = Told {
            before: false,
            verb: Verb::Promote,
            node,
        };
        self.charge.managers.ocf.tell(resource, told).await;
    }

    /// Starts what is down.
    async fn start(&self, assigned: &AssignedInstance, memory: &mut Memory) {
        // Whoever else acts on it is looked at when they have done.
        let Ok(_acting) = self.charge.instance.acting.try_lock() else {
            return;
        };
        let errand = self.charge.errand(LIMIT);
        let started = self.start_by(assigned, &errand).await;
        self.charge.forget_guard_runs();
        match started {
            Ok(()) => (memory.failures, memory.not_before) = (0, None),
            Err(why) => {
                let pause = PAUSES.0 * 2_u32.saturating_pow(memory.failures.min(8));
                memory.failures += 1;
                memory.not_before = Some(Instant::now() + pause.min(PAUSES.1));
                tracing::error!(service = %self.charge.service, "it cannot stand by: {why}");
            }
        }
        self.charge.instance.poke();
    }

    async fn start_by(
        &self,
        assigned: &AssignedInstance,
        errand: &Errand<'_>,
    ) -> Result<(), String> {
        let ended = self.charge.end_guard_runs().await;
        ended.map_err(|trouble| trouble.to_string())?;
        for (index, part) in assigned.parts.iter().enumerate() {
            let Some(resource) = part.promotable() else {
                continue;
            };
            let sight = self
                .charge
                .managers
                .sight_of_promotable(resource, false)
                .await;
            // What was seen may be of a role that has come meanwhile.
            let stands = self.charge.view();
            if !stands.is_some_and(|view| view.is_standby()) {
                return Ok(());
            }
            if !matches!(sight.condition, Condition::Down(_)) {
                continue;
            }
            let up = self
                .charge
                .managers
                .bring_ocf_up(resource, index, errand)
                .await;
            let said =
                up.map_err(|trouble| format!("{}: {trouble}", Part::Ocf(resource.clone())))?;
            tracing::info!(service = %self.charge.service, resource = %resource.name, "it stands by: {said}");
        }
        Ok(())
    }
}
