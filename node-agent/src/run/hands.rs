//! What the runtime does for the roles of this node: starts what only a primary has, stops it, and takes hold of it.
//!
//! The thread that keeps the roles ([`crate::roles`]) decides; here managers are called, which may take their time. One work
//! of a service at a time, and each is answered, however it ends.

use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::address::FloatingAddress;
use interlock_model::names::ServiceName;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::errand::{Errand, Trouble, is_of_role};
use super::managers::Managers;
use super::postgres::LOOK;
use crate::roles::{Condition, Order, Outcome, Roles, Sight, Task, Work};
use crate::shim::{CGROUP_TREES, Grip, Left, RunId};

/// How long a start may take until the role is given back instead: a database that repairs itself takes minutes.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How long a stop in order may take until it is ended by force. The managers' own limits are shorter.
const STOP_LIMIT: Duration = Duration::from_secs(300);

/// How often, and how long apart, neighbours are told once more where an address is.
const REFRESH: (u32, Duration) = (5, Duration::from_secs(1));

/// How long an interface that was switched on may take to have a carrier, and how often it is looked at: ports that negotiate their speed
/// take seconds.
const CARRIER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(20));

/// Works for the roles of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Hands {
    pub(super) managers: Managers,
    pub(super) roles: Roles,
}

impl Hands {
    /// Works until nobody gives work any more.
    pub(super) async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            let hands = self.clone();
            let work = match order {
                Order::Work(work) => work,
                Order::Prepare(service, parts) => {
                    tokio::spawn(async move {
                        hands.prepare(&service, &parts).await;
                        hands.roles.prepared(service);
                    });
                    continue;
                }
            };
            tokio::spawn(async move {
                let (service, turn) = (work.service.clone(), work.turn);
                let worker = hands.clone();
                let done = tokio::spawn(async move { worker.carry_out(&work).await }).await;
                let outcome = done.unwrap_or_else(|error| Err(error.to_string()));
                hands.roles.done(service, turn, outcome);
            });
        }
    }

    /// Makes a stop short that is to come.
    async fn prepare(&self, service: &ServiceName, parts: &[Part]) {
        for postgres in parts.iter().filter_map(Part::postgres) {
            if let Err(why) = self.managers.prepare_shutdown(postgres).await {
                tracing::warn!(%service, "its stop may take longer: {why}");
            }
        }
    }

    async fn carry_out(&self, work: &Work) -> Outcome {
        match work.task {
            Task::Start => {
                let started = self.start(work).await;
                if started.is_ok() {
                    self.tell_neighbours(work);
                }
                started
            }
            Task::Stop => self.stop(work).await,
            Task::Finish => self.finish(work).await,
        }
    }

    /// Starts what does not run, downwards, and sees that all of it runs.
    async fn start(&self, work: &Work) -> Outcome {
        let permit = self.managers.permit(&work.service, &work.parts);
        permit.map_err(|refusal| refusal.to_string())?;
        let errand = self.errand(work, START_LIMIT);
        let mut evidence = Vec::with_capacity(work.parts.len());
        for (index, part) in work.parts.iter().enumerate() {
            if work.halt.is_cancelled() {
                return Err(format!("interrupted before {part} was begun"));
            }
            let brought = match part {
                Part::Address(address) => put(work, address).await,
                Part::Postgres(postgres) => {
                    let promoted = self.promote(work, postgres, index, &errand).await;
                    promoted.map_err(|trouble| trouble.to_string())
                }
                Part::Redis(redis) => {
                    let promoted = self.promote_redis(work, redis, index, &errand).await;
                    promoted.map_err(|trouble| trouble.to_string())
                }
                Part::Mariadb(mariadb) => {
                    let promoted = self.promote_mariadb(work, mariadb, index, &errand).await;
                    promoted.map_err(|trouble| trouble.to_string())
                }
                Part::Ocf(resource) if resource.promotable => {
                    let promoted = self.promote_ocf(work, resource, index, &errand).await;
                    promoted.map_err(|trouble| trouble.to_string())
                }
                Part::Systemd { .. } | Part::Process { .. } | Part::Exec { .. } | Part::Ocf(_) => {
                    self.bring_up(part, index, &errand).await
                }
            };
            // Also of what has failed: something of it may run. Of a server that was promoted it was taken before that.
            let is_held = brought.is_ok() && part.is_server();
            if !is_held && let Some(grip) = self.grip(&work.service, index, part).await {
                self.roles.grip(&work.service, part, grip);
            }
            evidence.push(format!(
                "{part}: {}",
                brought.map_err(|why| format!("{part}: {why}"))?
            ));
        }
        // The first part may have died while the last one started. A promoted server was seen to take a write when nothing but addresses
        // was left to come, and they take no time.
        let slow = |part: &&Part| !is_address(part);
        let last = work.parts.iter().rev().find(slow);
        let was_seen = |part: &Part| part.is_promoted() && last == Some(part);
        for part in work.parts.iter().filter(slow) {
            if was_seen(part) {
                continue;
            }
            let server = match part {
                Part::Postgres(postgres) => Some(self.managers.sight_of(postgres).await),
                Part::Redis(redis) => Some(self.managers.sight_of_redis(redis).await),
                Part::Mariadb(mariadb) => Some(self.managers.sight_of_mariadb(mariadb).await),
                Part::Ocf(resource) if resource.promotable => {
                    let sight = self.sight_of_ocf(&work.service, part, resource).await;
                    Some((sight.condition, sight.data))
                }
                Part::Systemd { .. }
                | Part::Process { .. }
                | Part::Exec { .. }
                | Part::Ocf(_)
                | Part::Address(_) => None,
            };
            if let Some((condition, _)) = server {
                if condition == Condition::Up {
                    continue;
                }
                return Err(format!(
                    "{part}: {condition:?} after all parts were started"
                ));
            }
            let seen = self.managers.look(part).await;
            if !seen.is_running() {
                return Err(format!(
                    "{part}: {} after all parts were started",
                    seen.text()
                ));
            }
        }
        Ok(evidence.join("; "))
    }

    async fn bring_up(&self, part: &Part, index: usize, errand: &Errand<'_>) -> Outcome {
        let seen = self.managers.look(part).await;
        if seen.is_running() {
            return Ok(format!("already {}", seen.text()));
        }
        let brought = self.managers.bring_up(part, index, errand).await;
        brought.map_err(|trouble: Trouble| trouble.to_string())
    }

    /// Stops it, upwards.
    async fn stop(&self, work: &Work) -> Outcome {
        let errand = self.errand(work, STOP_LIMIT);
        let mut evidence = Vec::with_capacity(work.parts.len());
        for (index, part) in work.parts.iter().enumerate().rev() {
            let taken = match part {
                Part::Address(address) => work.door.remove(address).map(|()| "gone".to_owned()),
                Part::Postgres(postgres) => {
                    let down = match self.managers.shut_down(postgres, &errand).await {
                        Some(down) => down.map_err(|trouble| trouble.to_string()),
                        None => self.take_down(part, index, &errand).await,
                    };
                    let end = self.managers.end_of(postgres).await;
                    let end = end.filter(|_| down.is_ok());
                    let position = end.and_then(|end| end.position);
                    self.roles.ended(&work.service, position);
                    if end.is_some_and(|end| end.unwritten) {
                        self.roles.unwritten(&work.service);
                    }
                    down
                }
                Part::Redis(redis) => {
                    let demoted = self.demote_redis(work, redis, &errand).await;
                    demoted.map_err(|trouble| trouble.to_string())
                }
                Part::Mariadb(mariadb) => {
                    let demoted = self.demote_mariadb(work, mariadb, &errand).await;
                    demoted.map_err(|trouble| trouble.to_string())
                }
                Part::Ocf(resource) if resource.promotable => {
                    let demoted = self.demote_ocf(work, resource, index, &errand).await;
                    demoted.map_err(|trouble| trouble.to_string())
                }
                Part::Systemd { .. } | Part::Process { .. } | Part::Exec { .. } | Part::Ocf(_) => {
                    self.take_down(part, index, &errand).await
                }
            };
            evidence.push(format!(
                "{part}: {}",
                taken.map_err(|why| format!("{part}: {why}"))?
            ));
        }
        Ok(evidence.join("; "))
    }

    async fn take_down(&self, part: &Part, index: usize, errand: &Errand<'_>) -> Outcome {
        let seen = self.managers.look(part).await;
        if seen.state.is_down() {
            return Ok(format!("already {}", seen.text()));
        }
        let taken = self.managers.take_down(part, index, errand).await;
        taken.map_err(|trouble| trouble.to_string())
    }

    /// Has managers end what is left after a forced stop, at once, and say that all of it is down.
    async fn finish(&self, work: &Work) -> Outcome {
        let errand = self.errand(work, STOP_LIMIT).silently();
        let mut left = Vec::new();
        for (index, part) in work.parts.iter().enumerate().rev() {
            let ended = match part {
                // By the thread, with the proof.
                Part::Address(_) => continue,
                Part::Process { name } => {
                    let killed = self.managers.supervisor.kill(name, Duration::ZERO).await;
                    killed.map(drop).map_err(|error| error.to_string())
                }
                Part::Ocf(resource) if resource.promotable => {
                    let ended = self.managers.end_runs(&work.service).await;
                    // A look may hang, and it is demoted and stopped whatever it seems to be.
                    let taken = self.managers.take_down(part, index, &errand).await;
                    self.forget_ocf_runs(&work.service);
                    let done = taken.map(drop).and(ended);
                    done.map_err(|trouble| trouble.to_string())
                }
                Part::Systemd { .. }
                | Part::Exec { .. }
                | Part::Ocf(_)
                | Part::Postgres(_)
                | Part::Redis(_)
                | Part::Mariadb(_) => self.take_down(part, index, &errand).await.map(drop),
            };
            if let Err(why) = ended {
                left.push(format!("{part}: {why}"));
            }
        }
        if left.is_empty() {
            Ok("managers say that all of it is down".to_owned())
        } else {
            Err(left.join("; "))
        }
    }

    /// What it takes to end a part at once; none if it does not run, or nothing but its manager ends it.
    pub(super) async fn grip(
        &self,
        service: &ServiceName,
        index: usize,
        part: &Part,
    ) -> Option<Grip> {
        let runs = &self.managers.runs;
        match &self.managers.runners().runner(part)? {
            Part::Process { name } => {
                let run = runs.get(&RunId::service(name))?;
                let gone = run.state().is_some_and(|ended| ended.group.is_empty());
                (!gone).then(|| run.grip())
            }
            Part::Systemd { unit } => {
                let state = self.managers.systemd.observe(unit).await.ok()?;
                let group = state.control_group?;
                // What such a unit has done is not undone by the end of processes that it does not have.
                let pid = match state.main_pid {
                    Some(pid) => pid,
                    None => self.postmaster(part).await?,
                };
                let mut paths = CGROUP_TREES.iter().map(|at| format!("{at}{group}").into());
                paths.find_map(|path| Grip::of_group(path, pid))
            }
            Part::Exec { .. } | Part::Ocf(_) => {
                let tail = format!(".p{index}.start");
                let begun = |id: &RunId| is_of_role(id, service) && id.as_str().ends_with(&tail);
                Some(runs.all(begun).last()?.grip())
            }
            Part::Address(_) | Part::Postgres(_) | Part::Redis(_) | Part::Mariadb(_) => None,
        }
    }

    /// The process of a server whose unit does not know it yet: one of Debian's is told of it seconds after it lets in whoever asks.
    async fn postmaster(&self, part: &Part) -> Option<u32> {
        let server = self.managers.servers.get(part.postgres()?).ok()?;
        let first = server.cluster.postmaster(LOOK).await.ok()??;
        Some(first.pid)
    }

    /// Holds on what is left of parts that are down by their managers' word: processes that nobody could end, or that
    /// outlived what their manager watches.
    pub(super) async fn leftovers(
        &self,
        service: &ServiceName,
        sight: &Sight,
    ) -> Vec<(Part, Grip)> {
        let mut left = Vec::new();
        for (index, (part, seen)) in sight.parts.iter().enumerate() {
            if !matches!(seen, Condition::Down(_)) {
                continue;
            }
            let grip = match self.grip(service, index, part).await {
                None => self.remains_of_unit(part).await,
                grip => grip,
            };
            // What cannot be read is not known to be empty.
            if let Some(grip) =
                grip.filter(|grip| !matches!(grip.left(), Ok(Left::Nothing | Left::NothingFound)))
            {
                left.push((part.clone(), grip));
            }
        }
        left
    }

    /// The control group of a unit without a main process, if anything is in it.
    async fn remains_of_unit(&self, part: &Part) -> Option<Grip> {
        let runners = self.managers.runners();
        let unit = runners.unit(part)?;
        let group = self
            .managers
            .systemd
            .observe(unit)
            .await
            .ok()?
            .control_group?;
        remains(&group)
    }

    /// Some neighbours may not have listened when the address came.
    fn tell_neighbours(&self, work: &Work) {
        if !work.parts.iter().any(is_address) {
            return;
        }
        let (roles, service, door) = (self.roles.clone(), work.service.clone(), work.door.clone());
        tokio::spawn(async move {
            for _ in 0..REFRESH.0 {
                tokio::time::sleep(REFRESH.1).await;
                if !roles.view(&service).is_some_and(|view| view.is_primary()) {
                    return;
                }
                door.refresh();
            }
        });
    }

    fn errand<'w>(&self, work: &'w Work, limit: Duration) -> Errand<'w> {
        let begun = self.managers.clock.wall();
        Errand::role(&work.service, begun, &work.halt, Instant::now() + limit)
    }
}

/// Puts an address on its interface. A port that is switched on for it has its time to find its peer.
async fn put(work: &Work, address: &FloatingAddress) -> Outcome {
    let until = Instant::now() + CARRIER.0;
    while address.whole_interface
        && !work.door.raise(address)?
        && Instant::now() < until
        && !work.halt.is_cancelled()
    {
        tokio::time::sleep(CARRIER.1).await;
    }
    work.door.add(address).map(|()| "here".to_owned())
}

/// What is in a control group, if anything is.
pub(super) fn remains(group: &str) -> Option<Grip> {
    let mut paths = CGROUP_TREES.iter().map(|at| format!("{at}{group}").into());
    paths.find_map(Grip::of_remains)
}

fn is_address(part: &Part) -> bool {
    matches!(part, Part::Address(_))
}
