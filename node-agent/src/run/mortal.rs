//! The death of a server that is primary, seen at once, and the end of what outlives it.
//!
//! What runs a server tells of its death when it is through with it: systemd first runs the command that stops the unit. Until then
//! processes of the server may write on (safety rule E10: an orphan was seen to commit for seconds), and nothing is started. So the
//! process that all of them stand and fall with is watched itself.

use std::os::fd::OwnedFd;

use interlock_model::action::Part;
use tokio::io::unix::AsyncFd;

use crate::roles::{Condition, Rest};
use crate::shim::{Grip, ProcessRef, watch_fd};

/// A server, by the process that it stands and falls with.
#[derive(Debug)]
pub(super) struct Mortal {
    part: Part,
    grip: Grip,
    process: ProcessRef,
    watched: AsyncFd<OwnedFd>,
    /// The turn of its seat in which it was last seen.
    turn: u64,
}

impl Mortal {
    /// The server among these parts, which were seen to live in this turn; none if there is none, or it cannot be watched.
    pub(super) fn among(grips: &[(Part, Grip)], turn: u64) -> Option<Self> {
        let (part, grip) = grips.iter().find(|(part, _)| part.is_server())?;
        let process = grip.main()?;
        let watched = watch_fd(process.open().ok().flatten()?).ok()?;
        Some(Self {
            part: part.clone(),
            grip: grip.clone(),
            process,
            watched,
            turn,
        })
    }

    /// Is this the same one?
    pub(super) fn is(&self, other: &Self) -> bool {
        self.process == other.process
    }

    /// Is it dead?
    pub(super) fn is_dead(&self) -> bool {
        !self.process.runs()
    }

    /// Can nobody tell yet how it looks?
    pub(super) fn is_unclear_in(&self, parts: &[(Part, Condition)]) -> bool {
        let own = parts.iter().find(|(part, _)| *part == self.part);
        own.is_some_and(|(_, seen)| matches!(seen, Condition::Unknown(_)))
    }

    /// It was seen again, if it lives.
    pub(super) fn seen_in(&mut self, turn: u64) {
        if !self.is_dead() {
            self.turn = turn;
        }
    }

    /// What it has left, if it is dead: processes that may write, and the command that would stop it.
    pub(super) fn rest(&self) -> Option<Rest> {
        // What a Redis has left writes a snapshot, and takes nothing from anybody.
        if !self.is_dead() || self.part.postgres().is_none() {
            return None;
        }
        Some(Rest {
            turn: self.turn,
            part: self.part.clone(),
            grip: self.grip.clone(),
        })
    }
}

/// Waits until this one dies; for ever if there is none.
pub(super) async fn dies(server: Option<&Mortal>) {
    match server {
        // A pidfd becomes readable when its process exits (pidfd_open(2)).
        Some(server) => drop(server.watched.readable().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use interlock_model::postgres::{Postgres, Rejoin, Synchronous};

    use super::*;

    fn postgres() -> Part {
        Part::Postgres(Postgres {
            cluster: "main".parse().unwrap(),
            port: 5432,
            user: "replicator".to_owned(),
            synchronous: Synchronous::Off,
            rejoin: Rejoin::Never,
        })
    }

    #[tokio::test]
    async fn what_outlives_a_server_is_ended_when_the_server_is_dead() {
        // The first one becomes the server: what it has started lives on when it is killed.
        let mut server = Command::new("/bin/sh")
            .args(["-c", "sleep 1000 & exec sleep 1000"])
            .spawn()
            .unwrap();
        let orphan = loop {
            let children = crate::shim::children(server.id()).unwrap();
            if let [child] = children.as_slice() {
                break *child;
            }
            tokio::task::yield_now().await;
        };
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().to_owned();
        std::fs::write(group.join("cgroup.events"), "populated 1\n").unwrap();
        let ids = format!("{}\n{}\n", server.id(), orphan.pid);
        std::fs::write(group.join("cgroup.procs"), ids).unwrap();
        std::fs::write(group.join("cgroup.kill"), "").unwrap();
        let grip = Grip::of_group(group.clone(), server.id()).unwrap();
        let part = postgres();
        let mut mortal = Mortal::among(&[(part, grip)], 3).unwrap();
        assert!(!mortal.is_dead() && mortal.rest().is_none());
        mortal.seen_in(4);
        server.kill().unwrap();
        dies(Some(&mortal)).await;
        assert!(mortal.is_dead());
        let rest = mortal.rest().unwrap();
        assert_eq!(rest.turn, 4);
        rest.end();
        let asked = std::fs::read_to_string(group.join("cgroup.kill")).unwrap();
        server.wait().unwrap();
        let _ = orphan.signal(rustix::process::Signal::KILL);
        assert_eq!(asked, "1", "the kernel is asked to end the group");
    }
}
