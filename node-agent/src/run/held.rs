//! What the members of load balancers were put to, and that they stay so.
//!
//! A load balancer forgets at a reload what it was told at runtime, and a person may tell it something else. So whatever a
//! plan puts a member to is written down on the balancer's node, and looked at from then on, once in every interval of the
//! spec: what is otherwise is logged, and put back unless the spec says to watch only. A member that no plan has ever put
//! to anything is let be.
//!
//! Members are held while they are assigned: one that the spec no longer has is let go, and what was written down of it
//! waits for its return. While a plan switches a member, nobody else does.
//!
//! A member that is to take part, and whose checks are bad as seen from here, is left out meanwhile ([`watched`]).

mod watched;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use interlock_model::member::{
    Balancer, HeldMember, Member, MemberObservation, MemberState, PutBack, PutBackWhy,
};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use super::managers::chain;
use crate::balance::{Admin, Balancers, Error, Server};
use crate::probe::PutOut;
use crate::session::{Board, Clock};
use watched::Watched;

/// A member in a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) balancer: ServiceName,
    service: ServiceName,
    node: NodeName,
}

impl Key {
    /// Is it another member of the same service in the same load balancer?
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.balancer == other.balancer && self.service == other.service && self.node != other.node
    }

    pub(super) fn of(balancer: &ServiceName, member: &Member) -> Self {
        Self {
            balancer: balancer.clone(),
            service: member.service.clone(),
            node: member.node.clone(),
        }
    }
}

/// What every member was last put to.
#[derive(Debug)]
pub(super) struct Held {
    file: PathBuf,
    balancers: Arc<Balancers>,
    put: Mutex<BTreeMap<Key, Admin>>,
    /// The members that are assigned, for whoever knows them by their place in a load balancer.
    assigned: Mutex<Vec<(Key, Member)>>,
    /// Held by whoever writes the file: members are switched side by side, and the newest of all must be what is left.
    writing: tokio::sync::Mutex<()>,
    /// Held by whoever switches a member.
    turns: Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    watched: Watched,
}

/// What a member is to be now.
struct Now {
    /// None lets it be.
    wanted: Option<Admin>,
    /// For its checks, and why.
    by_checks: Option<(PutBackWhy, String)>,
}

impl Held {
    /// Reads what an earlier process of this agent wrote down. What cannot be read is not held, which is said.
    pub(super) async fn open(file: PathBuf, balancers: Arc<Balancers>) -> Self {
        let path = file.clone();
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        let put = match read.map_err(io::Error::other).flatten() {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let put: Vec<(Key, Admin)> = put.unwrap_or_else(|error| {
            tracing::error!(file = %file.display(), %error, "members of load balancers are not held until a plan puts them");
            Vec::new()
        });
        Self {
            file,
            balancers,
            put: Mutex::new(put.into_iter().collect()),
            assigned: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
            watched: Watched::default(),
        }
    }

    /// What the members' checks say.
    pub(super) fn watched(&self) -> &Watched {
        &self.watched
    }

    /// These are the members from now on.
    pub(super) fn assign(&self, members: Vec<(Key, Member)>) {
        *self.assigned.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Whose turn it is to switch a member.
    pub(super) fn of(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(key.clone()).or_default())
    }

    /// Writes down what a member is put to, before it is; none lets it be. Returns what it was put to before. A full disk
    /// must not keep a plan from draining: then it is held for as long as this process lives.
    pub(super) async fn put(&self, key: &Key, admin: Option<Admin>) -> Option<Admin> {
        self.watched.forget(key);
        self.write_down(key, admin).await
    }

    async fn write_down(&self, key: &Key, admin: Option<Admin>) -> Option<Admin> {
        let _writing = self.writing.lock().await;
        let (before, all): (_, Vec<(Key, Admin)>) = {
            let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
            let before = match admin {
                Some(admin) => put.insert(key.clone(), admin),
                None => put.remove(key),
            };
            if before == admin {
                return before;
            }
            let all = put.iter().map(|(key, admin)| (key.clone(), *admin));
            (before, all.collect())
        };
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || replace(&file, &all)).await;
        if let Err(error) = written.map_err(io::Error::other).flatten() {
            tracing::error!(file = %self.file.display(), %error, "what a member is put to is not written down");
        }
        before
    }

    fn wanted(&self, key: &Key) -> Option<Admin> {
        let put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        put.get(key).copied()
    }

    /// Looks after a member, for ever, and posts what is seen.
    pub(super) async fn hold(&self, balancer: &ServiceName, member: &HeldMember, board: &Board) {
        let mut looks = interval(member.every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = String::new();
        loop {
            looks.tick().await;
            let seen = self.look_after(balancer, member).await;
            let now = match &seen {
                Ok(_) => String::new(),
                Err(error) => chain(error),
            };
            board.post_member(balancer, observation(&member.member, seen, Clock.wall()));
            // Once, and again when it is something else: a balancer that is down is told of by its own checks.
            if !now.is_empty() && now != said {
                tracing::warn!(%balancer, member = %member.member, "a member cannot be looked at: {now}");
            }
            said = now;
        }
    }

    /// Looks at a member once, and puts it back if it is not what it was put to.
    pub(super) async fn look_after(
        &self,
        balancer: &ServiceName,
        held: &HeldMember,
    ) -> Result<Found, Error> {
        let member = &held.member;
        let key = Key::of(balancer, member);
        let turn = self.of(&key);
        // While a plan switches it, it is only looked at.
        let turn = turn.try_lock();
        let wanted = self.wanted(&key).filter(|_| turn.is_ok());
        let told = self.balancers.of(balancer, member)?;
        let mut found = Found::default();
        for backend in &member.backends {
            let seen = told.glance(backend, &member.server).await?;
            let now = if held.checks.is_empty() || turn.is_err() {
                Now {
                    wanted,
                    by_checks: None,
                }
            } else {
                self.by_checks(&key, held, wanted, seen.admin)
            };
            let Some(wanted) = now
                .wanted
                .filter(|wanted| told.seen_as(*wanted) != seen.admin)
            else {
                found.see(backend, &seen);
                continue;
            };
            if let Some((why, text)) = now.by_checks
                && !held.watch_only
            {
                if self.wanted(&key).is_none() {
                    // It took part before, and shall again; also if this process is not there any more by then.
                    self.write_down(&key, Some(Admin::Ready)).await;
                }
                told.set(backend, &member.server, wanted).await?;
                tracing::warn!(%balancer, %member, backend, "{text}");
                found.put_back = Some((why, format!("{member} {text}")));
                found.see(backend, &told.glance(backend, &member.server).await?);
                continue;
            }
            let (was, wanted_word) = (seen.admin.word(), wanted.word());
            if held.watch_only {
                tracing::warn!(%balancer, %member, backend, "is {was} behind our back, and was put to {wanted_word}");
                found.see(backend, &seen);
                continue;
            }
            told.set(backend, &member.server, wanted).await?;
            let text = format!("was {was} behind our back, and is put back to {wanted_word}");
            tracing::warn!(%balancer, %member, backend, "{text}");
            found.put_back = Some((PutBackWhy::Changed, format!("{member} {text}")));
            found.see(backend, &told.glance(backend, &member.server).await?);
        }
        Ok(found)
    }

    /// What a member is to be that is seen to be this, by what a plan wants of it and by its checks.
    fn by_checks(&self, key: &Key, held: &HeldMember, wanted: Option<Admin>, seen: Admin) -> Now {
        self.watched.takes_part(key, seen == Admin::Ready);
        let as_put = Now {
            wanted,
            by_checks: None,
        };
        match (wanted, seen) {
            (Some(Admin::Maint | Admin::Drain) | None, Admin::Maint | Admin::Drain)
            | (Some(Admin::Maint | Admin::Drain), Admin::Ready) => as_put,
            (Some(Admin::Ready) | None, Admin::Ready) => {
                match self.watched.to_leave_out(key, held) {
                    Some(why) => Now {
                        wanted: Some(Admin::Maint),
                        by_checks: Some((PutBackWhy::Sick, format!("is left out: {why}"))),
                    },
                    None => as_put,
                }
            }
            // Nobody is let in whose checks are not good.
            (Some(Admin::Ready), Admin::Maint | Admin::Drain) => {
                match self.watched.is_well(key, held) {
                    Some(true) => Now {
                        wanted,
                        by_checks: Some((
                            PutBackWhy::Well,
                            "is well again, and takes part".to_owned(),
                        )),
                    },
                    Some(false) => as_put,
                    None => Now {
                        wanted: None,
                        by_checks: None,
                    },
                }
            }
        }
    }

    /// Looks at a member once, and changes nothing.
    pub(super) async fn look_at(
        &self,
        balancer: &ServiceName,
        member: &Member,
    ) -> Result<Found, Error> {
        let told = self.balancers.of(balancer, member)?;
        let mut found = Found::default();
        for backend in &member.backends {
            found.see(backend, &told.glance(backend, &member.server).await?);
        }
        Ok(found)
    }
}

impl PutOut for Held {
    fn has_put_out(&self, socket: &Path, backend: &str, server: &str) -> bool {
        let assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        let mut meant = assigned.iter().filter(|(_, member)| {
            let there = match &member.by {
                Balancer::Haproxy { socket: its } => Path::new(its) == socket,
                Balancer::Nginx { .. } => false,
            };
            there && member.server == server && member.backends.iter().any(|it| it == backend)
        });
        meant.any(|(key, _)| matches!(self.wanted(key), Some(Admin::Maint | Admin::Drain)))
    }
}

/// How a member was found in its backends.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The state in the backend where it is farthest from taking part, and that in words.
    worst: Option<(MemberState, String)>,
    put_back: Option<(PutBackWhy, String)>,
}

impl Found {
    fn see(&mut self, backend: &str, server: &Server) {
        let far = |state| match state {
            MemberState::Unknown | MemberState::Ready => 0,
            MemberState::Down => 1,
            MemberState::Drain => 2,
            MemberState::Maint => 3,
        };
        let state = server.state();
        if self
            .worst
            .as_ref()
            .is_none_or(|(worst, _)| far(state) > far(*worst))
        {
            self.worst = Some((state, format!("{backend}: {}", server.status)));
        }
    }
}

/// What is told of a member that was looked at.
pub(super) fn observation(
    member: &Member,
    found: Result<Found, Error>,
    now: Timestamp,
) -> MemberObservation {
    let (state, detail, put_back) = match found {
        Ok(Found { worst, put_back }) => {
            let (state, detail) = worst.unwrap_or_default();
            (state, detail, put_back)
        }
        Err(error) => (MemberState::Unknown, chain(&error), None),
    };
    MemberObservation {
        service: member.service.clone(),
        node: member.node.clone(),
        state,
        detail,
        put_back: put_back.map(|(why, text)| PutBack { at: now, why, text }),
    }
}

/// Replaces a file as a whole, durably.
fn replace(file: &Path, all: &[(Key, Admin)]) -> io::Result<()> {
    let new = file.with_extension("json.new");
    let mut out = std::fs::File::create(&new)?;
    out.write_all(&serde_json::to_vec(all)?)?;
    out.sync_all()?;
    std::fs::rename(&new, file)?;
    match file.parent() {
        Some(directory) => std::fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::config::Config;

    const FILE: &str = "coordinators = ['https://mgmt1:7443']\nnode = { name = 'n1', state_dir = '/s' }\nlisten = { address = \
                        '127.0.0.1:0' }\ntls = { ca = '/ca', cert = '/c', key = '/k' }\n";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn members_that_are_put_side_by_side_are_all_written_down() {
        let key = |number: usize| Key {
            balancer: "lb".parse().expect("a name"),
            service: "web".parse().expect("a name"),
            node: format!("web{number}").parse().expect("a name"),
        };
        let keys: Vec<Key> = (0..16).map(key).collect();
        // Which of the writers comes last is chance.
        for round in 0..100 {
            let dir = tempfile::tempdir().expect("a directory");
            let file = dir.path().join("members.json");
            let config = Config::parse(&file, FILE).expect("a file");
            let balancers = Arc::new(Balancers::new(Arc::new(config.allow), dir.path()));
            let held = Held::open(file.clone(), Arc::clone(&balancers)).await;
            join_all(keys.iter().map(|key| held.put(key, Some(Admin::Maint)))).await;
            let again = Held::open(file, balancers).await;
            for key in &keys {
                assert_eq!(again.wanted(key), Some(Admin::Maint), "{round}: {key:?}");
            }
        }
    }
}
