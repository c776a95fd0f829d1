//! Brings leased services to the thread that keeps the roles, and tells it what is seen of them.
//!
//! A service is looked at before anything is touched: what is found is the first that its machine is told (safety rule E12).
//! Afterwards its primary parts are looked at again and again, and whenever one of them changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::lease::holder::{Facts, Found};
use interlock_model::action::Part;
use interlock_model::address::FloatingAddress;
use interlock_model::names::ServiceName;
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::Instant;

use super::hands::Hands;
use super::instances::Instances;
use super::mortal::{Mortal, dies};
use super::seen::Seen;
use crate::address::Addresses;
use crate::roles::{Condition, Door, Leased, Newcomer, Received, Sight, View};
use crate::session::{AssignedInstance, Assignment};
use crate::shim::Grip;

/// How often primary parts are looked at although nothing has happened.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The same where how far data go is told with renewals: the shortest of their periods.
const LOOK_AT_DATA: Duration = Duration::from_millis(250);

/// The same right after something has changed that the next step waits for: a server has died, the role is free, or is about to be
/// and an attempt waits for it here. Until it has been seen, or for so long.
const LOOK_SOON: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// How long the first look waits for an answer of managers that may be starting themselves, where no right waits for it.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// The pause between two of its tries.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// The pause before a service is tried again whose facts cannot be read.
const UNREADABLE: Duration = Duration::from_secs(5);

/// The leased services that are assigned.
pub(super) type Assigned = BTreeMap<ServiceName, AssignedInstance>;

/// The leased services of an assignment.
pub(super) fn leased(assignment: &Assignment) -> Assigned {
    let all = assignment.instances.iter();
    all.filter(|(_, instance)| instance.lease.is_some())
        .map(|(service, instance)| (service.clone(), instance.clone()))
        .collect()
}

/// Brings what is assigned to its seat.
pub(super) struct Usher {
    pub(super) hands: Hands,
    pub(super) instances: Instances,
    pub(super) assigned: watch::Receiver<Assigned>,
}

impl Usher {
    /// Follows the assignment until there is none any more.
    pub(super) async fn run(mut self) {
        let mut ushered: BTreeMap<ServiceName, (Leased, AbortHandle)> = BTreeMap::new();
        loop {
            let assigned = self.assigned.borrow_and_update().clone();
            ushered.retain(|service, (_, task)| {
                let stays = assigned.contains_key(service);
                if !stays {
                    task.abort();
                    self.hands.roles.unassign(service.clone());
                }
                stays
            });
            for (service, instance) in assigned {
                let Some(leased) = leased_as(&instance) else {
                    continue;
                };
                match ushered.get(&service) {
                    Some((before, _)) if *before == leased => continue,
                    Some((_, task)) => task.abort(),
                    None => {}
                }
                let guest = Guest {
                    hands: self.hands.clone(),
                    instances: self.instances.clone(),
                    service: service.clone(),
                    parts: instance.parts,
                    leased: leased.clone(),
                };
                // Each on its own: a manager that hangs keeps no other service from its seat.
                let task = tokio::spawn(guest.attend()).abort_handle();
                ushered.insert(service, (leased, task));
            }
            if self.assigned.changed().await.is_err() {
                return;
            }
        }
    }
}

/// One service on its way to its seat, and afterwards.
struct Guest {
    hands: Hands,
    instances: Instances,
    service: ServiceName,
    /// What runs on every instance.
    parts: Vec<Part>,
    leased: Leased,
}

impl Guest {
    /// Brings it to its seat, and tells what is seen of it from then on.
    async fn attend(self) {
        let (facts, kept) = loop {
            let (roles, service) = (self.hands.roles.clone(), self.service.clone());
            match spawn_blocking(move || roles.kept(&service)).await {
                Ok(Ok(kept)) => break kept,
                Ok(Err(error)) => tracing::error!(service = %self.service, "{error}"),
                Err(_) => return,
            }
            tokio::time::sleep(UNREADABLE).await;
        };
        let (leased, refusal) = self.permitted(&facts);
        let (found, grips) = self
            .look(&leased.parts, kept.is_some(), is_open(&facts))
            .await;
        let door = door(&leased, found).await.kept_shut(refusal);
        self.hands.roles.seat(Newcomer {
            service: self.service.clone(),
            leased,
            found,
            door,
            grips,
            facts,
            kept,
        });
        // What is wanted of it, and how its parts are, is told with each look of its keeper.
        self.instances.of(&self.service).poke();
        self.watch().await;
    }

    /// What the role has to do with here, and why it can never be taken. An assignment alone has nothing asked, and nothing
    /// ended, that this agent's own file does not give to the service. Only what this node has once made primary is ended,
    /// too: the file may be another one since.
    fn permitted(&self, facts: &Facts) -> (Leased, Option<String>) {
        let parts = &self.leased.parts;
        let Err(refusal) = self.hands.managers.permit(&self.service, parts) else {
            return (self.leased.clone(), None);
        };
        tracing::error!(service = %self.service, "it is never primary here: {refusal}");
        // With a seat there is more to know: what was made primary is what the seat has.
        let seated = self.hands.roles.view(&self.service).is_some();
        let mut leased = self.leased.clone();
        if seated || !is_open(facts) {
            let allow = &self.hands.managers.allow;
            let permitted = |part: &&Part| allow.permits_part(&self.service, part).is_ok();
            leased.parts = parts.iter().filter(permitted).cloned().collect();
        }
        (leased, Some(refusal.to_string()))
    }

    /// What is on the node, before anything is touched. Where a right waits for the answer, it is not waited for. What
    /// nobody can tell may accept writes only where this node was `marked` as primary; otherwise nothing of it is ended.
    async fn look(&self, parts: &[Part], hurry: bool, marked: bool) -> (Found, Vec<(Part, Grip)>) {
        let until = Instant::now() + FIRST_LOOK;
        loop {
            let sight = self.hands.sight(&self.service, parts, 0).await;
            let is =
                |wanted: fn(&Condition) -> bool| sight.parts.iter().any(|(_, seen)| wanted(seen));
            let unknown = is(|seen| matches!(seen, Condition::Unknown(_)));
            if unknown && !hurry && Instant::now() < until {
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
            let left = self.hands.leftovers(&self.service, &sight).await;
            // What its manager has left behind may accept writes, too.
            let found = if (unknown && marked)
                || sight.remains
                || !left.is_empty()
                || is(|seen| *seen == Condition::Up)
            {
                Found::Primary
            } else if unknown || self.hands.managers.may_act(&self.service) || self.any_runs().await
            {
                Found::Standby
            } else {
                Found::Nothing
            };
            return (found, [sight.grips, left].concat());
        }
    }

    async fn any_runs(&self) -> bool {
        for part in &self.parts {
            let seen = self.hands.managers.look_at_assigned(&self.service, part);
            if !seen.await.state.is_down() {
                return true;
            }
        }
        false
    }

    /// Looks at the primary parts for as long as the service has a seat.
    async fn watch(&self) {
        let mut views = self.hands.roles.views();
        let seated = views.wait_for(|views| views.contains_key(&self.service));
        if seated.await.is_err() {
            return;
        }
        let instance = self.instances.of(&self.service);
        let rhythm = match self.leased.has_data() {
            true => LOOK_AT_DATA,
            false => LOOK_AGAIN,
        };
        let mut server: Option<Mortal> = None;
        let (mut soon, mut vacant) = (Instant::now(), None);
        while let Some(view) = self.hands.roles.view(&self.service) {
            self.end_rest(server.as_ref());
            let turn = view.turn;
            let sight = self.hands.sight(&self.service, &view.parts, view.turn);
            let sight = sight.await;
            // Before it is told that it is down: what is started afterwards is none of what it has left.
            self.end_rest(server.as_ref());
            if server.as_ref().is_some_and(Mortal::is_dead) {
                soon = Instant::now() + LOOK_SOON.1;
                server.take_if(|server| !server.is_unclear_in(&sight.parts));
            }
            if let Some(now) = Mortal::among(&sight.grips, turn) {
                match &mut server {
                    Some(before) if before.is(&now) => before.seen_in(turn),
                    _ => server = Some(now),
                }
            }
            self.hands.roles.seen(&self.service, sight);
            if view.torn {
                self.mend(Arc::clone(&view.parts)).await;
            }
            // Whoever is to take a free role is measured by what is seen of its data now.
            let free = is_free(&view).then(|| view.heard.clone());
            if (free.is_some() && free != vacant) || (view.awaited && view.is_standby()) {
                soon = Instant::now() + LOOK_SOON.1;
            }
            vacant = free;
            // What is seen while something is started or stopped is of no use, and a look takes time from that.
            let pause = match Instant::now() < soon && !view.busy {
                true => rhythm.min(LOOK_SOON.0),
                false => rhythm,
            };
            let heard = views.wait_for(|views| {
                let now = views.get(&self.service);
                now.is_none_or(|now| {
                    now.heard != view.heard || now.turn != view.turn || now.awaited != view.awaited
                })
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = instance.role_stirred() => {}
                _ = heard => {}
                () = dies(server.as_ref().filter(|server| !server.is_dead())) => {}
            }
        }
    }

    /// Has what a dead server has left ended. Again with each look, for what its manager begins when it notices. By the thread that
    /// keeps the role: no one but that knows at every moment what is being started.
    fn end_rest(&self, server: Option<&Mortal>) {
        if let Some(rest) = server.and_then(Mortal::rest) {
            self.hands.roles.end_rest(&self.service, rest);
        }
    }
}

/// Is the role free, by the last word of a coordinator, so that this node may be to take it?
fn is_free(view: &View) -> bool {
    view.is_standby() && matches!(view.heard, Some((_, None)))
}

impl Guest {
    /// Makes again what closes the addresses. Its seat sees that it is there when it next needs it.
    async fn mend(&self, parts: Arc<[Part]>) {
        match spawn_blocking(move || Door::mend(&parts)).await {
            Ok(Ok(())) => {
                tracing::warn!(service = %self.service, "made again what closes its addresses; something had deleted it");
            }
            Ok(Err(why)) => {
                tracing::error!(service = %self.service, "everybody reaches its addresses: {why}");
            }
            Err(_) => {}
        }
    }
}

impl Hands {
    /// Looks at primary parts, and takes hold of those that run.
    async fn sight(&self, service: &ServiceName, parts: &[Part], turn: u64) -> Sight {
        let mut sight = Sight {
            turn,
            parts: Vec::with_capacity(parts.len()),
            remains: false,
            grips: Vec::new(),
            data: None,
            unlinked: None,
            received: Received::new(),
        };
        let mut scores = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let condition = match part {
                Part::Address(address) => {
                    look_at_interface(address, &mut sight);
                    presence(address)
                }
                Part::Postgres(postgres) => {
                    let (condition, data) = self.managers.sight_of(postgres).await;
                    sight.data = Some(data);
                    condition
                }
                Part::Redis(redis) => {
                    let (condition, data) = self.managers.sight_of_redis(redis).await;
                    sight.data = Some(data);
                    condition
                }
                Part::Mariadb(mariadb) => {
                    let (condition, data) = self.managers.sight_of_mariadb(mariadb).await;
                    sight.data = Some(data);
                    condition
                }
                Part::Ocf(resource) if resource.promotable => {
                    let seen = self.sight_of_ocf(service, part, resource).await;
                    sight.remains |= seen.remains;
                    scores.push(seen.data.score);
                    sight.data.get_or_insert(seen.data);
                    seen.condition
                }
                Part::Systemd { .. } | Part::Process { .. } | Part::Exec { .. } | Part::Ocf(_) => {
                    let seen = self.managers.look_at_assigned(service, part).await;
                    sight.remains |= seen.broken;
                    condition(&seen)
                }
            };
            if !matches!(condition, Condition::Down(_))
                && let Some(grip) = self.grip(service, index, part).await
            {
                sight.grips.push((part.clone(), grip));
            }
            sight.parts.push((part.clone(), condition));
        }
        if let Some(data) = &mut sight.data {
            // It is no better than the worst of them.
            data.score = scores.into_iter().min().flatten();
        }
        sight
    }
}

/// Is there a mark that was not released?
fn is_open(facts: &Facts) -> bool {
    let mark = facts.mark.as_ref();
    mark.is_some_and(|mark| mark.epoch > facts.released_through())
}

fn leased_as(instance: &AssignedInstance) -> Option<Leased> {
    Some(Leased {
        parts: Arc::from(instance.primary_parts.as_slice()),
        peers: Arc::from(instance.peers.as_slice()),
        clients: instance.lease?,
        guard: instance.guard,
        everywhere: !instance.parts.is_empty(),
    })
}

async fn door(leased: &Leased, found: Found) -> Door {
    let (parts, clients) = (Arc::clone(&leased.parts), leased.clients);
    let made = spawn_blocking(move || Door::make(&parts, clients, found));
    made.await
        .unwrap_or_else(|_| Door::none("the agent is ending"))
}

fn condition(seen: &Seen) -> Condition {
    if seen.is_running() {
        Condition::Up
    } else if seen.state.is_down() || seen.broken {
        Condition::Down(seen.text())
    } else {
        Condition::Unknown(seen.text())
    }
}

/// Whether somebody would reach this address here.
fn look_at_interface(address: &FloatingAddress, sight: &mut Sight) {
    let seen = Addresses::new().and_then(|net| net.interface(address));
    let seen = seen.unwrap_or_default();
    let FloatingAddress { ip, interface, .. } = address;
    if let Some(why) = seen.unlinked {
        let why = format!("nobody reaches {ip} here: {interface} {why}");
        sight.unlinked.get_or_insert(why);
    }
    sight.received.insert(interface.clone(), seen.received);
}

fn presence(address: &FloatingAddress) -> Condition {
    match Addresses::new().and_then(|net| net.is_serving(address)) {
        Ok(true) => Condition::Up,
        Ok(false) => Condition::Down("it is not on its interface, or that is off".to_owned()),
        Err(error) => Condition::Unknown(error.to_string()),
    }
}
