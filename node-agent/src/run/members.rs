//! Who takes part in the load balancers of this node.
//!
//! Every switch is ensure-shaped: look, say what is not so yet, look again. A drain goes in steps, because a load balancer
//! in `drain` still serves clients whose cookie names the server, and one in `maint` does not, but ends nothing either:
//!
//! ```text
//! drain ──► no sessions, or their time is over ──► maint ──► what slipped in between has ended, or their time is over
//! ```
//!
//! A member that is in `maint` already is not put to `drain` first, which would let clients in again.
//!
//! A load balancer that dies meanwhile is waited for: its guard may bring it back, and then the switch goes on. One that stays away
//! sends nobody anywhere; what to do about that is a person's to decide, and they are told what there is to do.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interlock_model::member::{HeldMember, Member, Then};
use interlock_model::names::ServiceName;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::errand::{Errand, Trouble};
use super::held::{Held, Key, observation};
use super::managers::chain;
use crate::balance::{Admin, Balancer, Balancers, Error, Server};
use crate::config::Allow;
use crate::probe::{PutOut, Tools};
use crate::session::{Assignment, Board, Clock};

/// The pause between two looks: short beside the time that a session takes, long beside that of a look.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long a load balancer gets to find an admitted member up by its own checks.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// How long a load balancer that does not answer is waited for: longer than its guard takes to bring it back, and short for a
/// person who has to be told that it does not come back.
const BACK_WITHIN: Duration = Duration::from_secs(15);

/// The end of a drain's time limit, kept free for what comes after the wait for sessions.
const MARGIN: Duration = Duration::from_secs(15);

/// What is wanted of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It takes part.
    In,
    /// It does not.
    Out {
        /// How long its sessions get.
        within: Duration,
        /// What it is put to after that.
        then: Then,
    },
}

/// Switches members, and holds them as they were switched.
#[derive(Debug)]
pub(super) struct Members {
    held: Arc<Held>,
    balancers: Arc<Balancers>,
    /// What holds the members of each load balancer that is assigned.
    holders: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl Members {
    /// Goes on with what an earlier process of this agent held.
    pub(super) async fn open(state_dir: &Path, allow: Arc<Allow>) -> Self {
        let balancers = Arc::new(Balancers::new(allow, state_dir));
        let file = state_dir.join("members.json");
        Self {
            held: Arc::new(Held::open(file, Arc::clone(&balancers)).await),
            balancers,
            holders: Mutex::default(),
        }
    }

    /// Whom plans have put out of load balancers.
    pub(super) fn put_out(&self) -> Arc<dyn PutOut> {
        Arc::<Held>::clone(&self.held)
    }

    /// Looks after these members from now on, and posts how they are.
    pub(super) fn assign(&self, assignment: &Assignment, board: &Board, tools: &Tools) {
        let mut holders = Vec::new();
        self.held.watched().assigned();
        let each = assignment
            .instances
            .iter()
            .flat_map(|(balancer, instance)| {
                let members = instance.members.iter();
                members.map(move |held| (Key::of(balancer, &held.member), held.member.clone()))
            });
        self.held.assign(each.collect());
        for (balancer, instance) in &assignment.instances {
            board.keep_members(balancer, |seen| {
                let mut members = instance.members.iter().map(|held| &held.member);
                members.any(|it| it.service == seen.service && it.node == seen.node)
            });
            for member in &instance.members {
                if let Err(refusal) = self.balancers.of(balancer, &member.member) {
                    tracing::warn!("{refusal}");
                    let refused = Err(refusal);
                    board.post_member(balancer, observation(&member.member, refused, Clock.wall()));
                    continue;
                }
                for (id, check) in member.checks.clone() {
                    // One that does not run is never good, so it leaves nobody out.
                    if let Err(refusal) = self.balancers.permits_check(&check.kind) {
                        tracing::warn!(check = %id, member = %member.member, "{refusal}");
                        continue;
                    }
                    let (key, tools) = (Key::of(balancer, &member.member), tools.clone());
                    let watched = self.held.watched().clone();
                    let watch =
                        tokio::spawn(async move { watched.watch(&key, &id, &check, &tools).await });
                    holders.push(AbortOnDropHandle::new(watch));
                }
                let (held, balancer, member) =
                    (Arc::clone(&self.held), balancer.clone(), member.clone());
                let board = board.clone();
                let holder =
                    tokio::spawn(async move { held.hold(&balancer, &member, &board).await });
                holders.push(AbortOnDropHandle::new(holder));
            }
        }
        *self.holders.lock().unwrap_or_else(PoisonError::into_inner) = holders;
    }

    /// Puts the members of a load balancer that has just been started to what they were put to: it has forgotten that.
    pub(super) async fn restore(
        &self,
        balancer: &ServiceName,
        members: &[HeldMember],
        errand: &Errand<'_>,
    ) -> Result<(), Trouble> {
        for member in members.iter().filter(|it| !it.watch_only) {
            loop {
                let Err(error) = self.held.look_after(balancer, member).await else {
                    break;
                };
                // It may not listen yet.
                tokio::select! {
                    () = sleep(LOOK_AGAIN) => {}
                    halt = errand.halted() => {
                        let what = format!("{halt}; it runs, but {} is not as it was put: {}", member.member, chain(&error));
                        return Err(Trouble::unknown(what, true));
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes a member be what is wanted, and proves it.
    pub(super) async fn switch(
        &self,
        balancer: &ServiceName,
        member: &Member,
        wanted: Wanted,
        board: &Board,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let told = self.balancers.of(balancer, member);
        let work = Work {
            balancer: told.map_err(|error| failed(&error))?,
            held: &self.held,
            key: Key::of(balancer, member),
            member,
            errand,
            way_out: match wanted {
                Wanted::In => WayOut::Admit,
                Wanted::Out { .. } => WayOut::Drain,
            },
            seen: Mutex::new(String::from("nothing was said to it")),
        };
        tracing::info!(%balancer, %member, ?wanted, "a member is switched");
        // Whoever holds it waits, and holds then what it was put to.
        let _switching = self.held.of(&work.key).lock_owned().await;
        let done = async {
            match wanted {
                Wanted::In => work.admit().await,
                Wanted::Out { within, then } => work.drain(within, then).await,
            }
        };
        let done = tokio::select! {
            done = done => done,
            // Whatever was said stays said; saying it again is harmless.
            halt = errand.halted() => Err(Trouble::unknown(format!("{halt}: {}", work.last_seen()), true)),
        };
        // Whoever hears that it is switched is to see it so. One that was halted may still be under way.
        if !matches!(done, Err(Trouble::Unknown { .. })) {
            let found = self.held.look_at(balancer, member).await;
            board.post_member(balancer, observation(member, found, Clock.wall()));
        }
        done
    }
}

/// One switch of one member.
struct Work<'a> {
    balancer: Balancer,
    held: &'a Held,
    key: Key,
    member: &'a Member,
    errand: &'a Errand<'a>,
    way_out: WayOut,
    /// What was seen last, for whoever ends this.
    seen: Mutex<String>,
}

/// What there is to do where the load balancer does not come back.
#[derive(Debug, Clone, Copy)]
enum WayOut {
    Drain,
    Admit,
}

impl WayOut {
    fn told(self, balancer: &ServiceName, member: &Member) -> String {
        let service = &member.service;
        let skip = match self {
            Self::Drain => format!(
                "`skip` goes on without it: while it is down it sends nobody to {member}, and when it comes back only its own \
                 checks keep it from that"
            ),
            Self::Admit => format!(
                "`skip` goes on without it, and `interlockctl startup --service {service}` lets {member} in again once it runs"
            ),
        };
        format!("start {balancer} on this node and `retry`; {skip}")
    }
}

/// The same server in one of its backends.
type Found<'a> = Vec<(&'a str, Server)>;

impl<'a> Work<'a> {
    async fn admit(&self) -> Result<String, Trouble> {
        let found = self.look().await?;
        let already = found.iter().all(|(_, it)| it.admin == Admin::Ready);
        self.set(&found, Admin::Ready).await?;
        let until = Instant::now() + UP_WITHIN.min(self.errand.time_left());
        loop {
            let found = self.look().await?;
            let ready = found.iter().all(|(_, it)| it.admin == Admin::Ready);
            if !ready {
                let what = "it is not ready after it was made so: somebody else switches it";
                return Err(Trouble::Failed(format!(
                    "{what}; {}",
                    text(&found, self.member)
                )));
            }
            if found.iter().all(|(_, it)| it.up) {
                let word = if already { "already ready" } else { "ready" };
                return Ok(format!("{word}; {}", text(&found, self.member)));
            }
            if Instant::now() >= until {
                let what = format!(
                    "ready, but the load balancer has not found it up within {UP_WITHIN:?}"
                );
                return Err(Trouble::Failed(format!(
                    "{what}; {}",
                    text(&found, self.member)
                )));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn drain(&self, within: Duration, then: Then) -> Result<String, Trouble> {
        let began = Instant::now();
        let until = began + within.min(self.errand.time_left().saturating_sub(MARGIN));
        if then == Then::Drain {
            self.held.put(&self.key, Some(Admin::Drain)).await;
        }
        let mut left = self.await_sessions(until).await?;
        if then == Then::Maint {
            let found = self.look().await?;
            self.set(&found, Admin::Maint).await?;
            left = self.await_sessions(until).await?;
        }
        let found = self.look().await?;
        let out = |server: &Server| match then {
            Then::Maint => server.admin == Admin::Maint,
            Then::Drain => server.admin != Admin::Ready,
        };
        if !found.iter().all(|(_, server)| out(server)) {
            let what = "it is not out after it was put out: somebody else switches it";
            return Err(Trouble::Failed(format!(
                "{what}; {}",
                text(&found, self.member)
            )));
        }
        let waited = began.elapsed().as_secs();
        let end = if left == 0 { "" } else { "its time is over: " };
        let sessions = sessions(left);
        Ok(format!(
            "{end}{sessions} after {waited} s; {}",
            text(&found, self.member)
        ))
    }

    /// Waits until no session is left, or until then; the number of those that are. A balancer that has reloaded
    /// meanwhile has forgotten what it was told, and is told again.
    async fn await_sessions(&self, until: Instant) -> Result<u64, Trouble> {
        loop {
            let found = self.look().await?;
            let left: u64 = found.iter().map(|(_, it)| it.sessions).sum();
            let ready = found.into_iter().filter(|(_, it)| it.admin == Admin::Ready);
            let ready: Found<'_> = ready.collect();
            if !ready.is_empty() {
                self.set(&ready, Admin::Drain).await?;
            }
            self.errand
                .going_down(format!("it gets nothing new; {}", sessions(left)));
            if left == 0 || Instant::now() >= until {
                return Ok(left);
            }
            sleep(LOOK_AGAIN.min(until - Instant::now())).await;
        }
    }

    /// Says to those that are something else what they shall be. What could not be said is not held either.
    async fn set(&self, found: &Found<'_>, admin: Admin) -> Result<(), Trouble> {
        let before = self.held.put(&self.key, Some(admin)).await;
        let seen = self.balancer.seen_as(admin);
        for (backend, _) in found.iter().filter(|(_, server)| server.admin != seen) {
            let set = || self.balancer.set(backend, &self.member.server, admin);
            if let Err(trouble) = self.once_it_answers(set).await {
                self.held.put(&self.key, before).await;
                return Err(trouble);
            }
        }
        Ok(())
    }

    async fn look(&self) -> Result<Found<'a>, Trouble> {
        let mut found = Vec::new();
        for backend in &self.member.backends {
            let look = || self.balancer.look(backend, &self.member.server);
            found.push((backend.as_str(), self.once_it_answers(look).await?));
        }
        self.saw(text(&found, self.member));
        Ok(found)
    }

    /// Asks a load balancer, or tells it, as soon as it answers; saying something again is harmless.
    async fn once_it_answers<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let until = Instant::now() + BACK_WITHIN.min(self.errand.time_left() / 2);
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if !error.is_away() => return Err(failed(&error)),
                Err(error) if Instant::now() >= until => {
                    let what = self.way_out.told(&self.key.balancer, self.member);
                    return Err(Trouble::Failed(format!("{}: {what}", chain(&error))));
                }
                Err(error) => self.saw(format!("it is waited for: {}", chain(&error))),
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn saw(&self, what: String) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn last_seen(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

fn sessions(left: u64) -> String {
    match left {
        0 => "no session left".to_owned(),
        1 => "1 session left".to_owned(),
        more => format!("{more} sessions left"),
    }
}

/// Saying something again is harmless, so what could not be asked is only not done.
fn failed(error: &Error) -> Trouble {
    Trouble::Failed(chain(error))
}

/// How a member is in each of its backends, for people.
fn text(found: &Found<'_>, member: &Member) -> String {
    let mut text = String::new();
    for (backend, server) in found {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{separator}{backend}/{}: {}, {} {}",
            member.server, server.status, server.sessions, server.counted
        );
        if !server.checked.is_empty() && !server.up {
            let _ = write!(text, " (its check: {})", server.checked);
        }
    }
    text
}
