//! What is asked of a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use interlock_model::names::{LocalName, NodeName};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::facts::{Data, Facts, Role};
use super::include::{self, NOBODY};
use super::talk::{Talk, is_refused, within};
use super::{Error, Saved, Trouble, aside};
use crate::config::{Redis, Secrets};
use crate::power::Secret;

/// How long writes are held back at most while replicas get the last ones. Who holds them back may die.
const HOLD: &str = "5000";

/// The pause between two questions to a replica how far it is.
const POLL: Duration = Duration::from_millis(2);

/// How long it may take to reach another server.
const REACH: Duration = Duration::from_millis(250);

/// Where Sentinels tell each other of a server: each of them listens there (`SENTINEL_HELLO_CHANNEL` in its sentinel.c).
const HELLO: &str = "__sentinel__:hello";

/// A server of this machine.
#[derive(Debug)]
pub struct Server {
    name: LocalName,
    config: Redis,
    secrets: Secrets,
    /// Held while its files are looked at: on a disk that hangs that does not end.
    files: Arc<Mutex<()>>,
}

/// How a server looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It answers.
    Up(Facts),
    /// Nobody listens there.
    Stopped,
}

/// Another server of the service, as this one reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its node.
    pub node: NodeName,
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A server that is a replica, after it was to become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demoted {
    /// Was it the primary until now? If not, somebody else has turned it, or started it again: how far the primary had written
    /// is then not known.
    pub was_primary: bool,
    /// Its process.
    pub run_id: String,
    /// How far it had written; none if nobody counted.
    pub data: Option<Data>,
    /// Who has all of that, as they said before it turned.
    pub complete: Vec<NodeName>,
}

impl Server {
    /// One of the agent's file.
    #[must_use]
    pub fn new(name: LocalName, config: Redis, secrets: Secrets) -> Self {
        Self {
            name,
            config,
            secrets,
            files: Arc::default(),
        }
    }

    /// Looks at it.
    ///
    /// # Errors
    /// If nobody can tell how it is.
    pub async fn observe(&self, limit: Duration) -> Result<Observed, Error> {
        let look = async {
            match self.talk().await {
                Ok(mut talk) => self.own_facts(&mut talk).await.map(Observed::Up),
                Err(trouble) if is_refused(&trouble) => Ok(Observed::Stopped),
                Err(trouble) => Err(trouble),
            }
        };
        self.named("look at it", within(limit, look).await)
    }

    /// Looks at another server of the service.
    ///
    /// # Errors
    /// If nobody can tell how it is.
    pub async fn observe_other(&self, other: &Upstream, limit: Duration) -> Result<Facts, Error> {
        let look = async { self.talk_to(other).await?.facts().await };
        self.named("look at the one to follow", within(limit, look).await)
    }

    /// Sees to it that its next start is that of a replica, whoever starts it.
    ///
    /// # Errors
    /// If it would not be, with what to do; or if nobody can tell in time, because its disk hangs.
    pub async fn prepare_start(&self, limit: Duration) -> Result<(), Error> {
        let (config, own) = (self.config.config.clone(), self.config.include.clone());
        let seen = alone(&self.files, limit, move || include::see_to(&config, &own));
        self.named("have it start as a replica", seen.await)
    }

    /// Makes it take writes. Whoever calls has the right to that.
    ///
    /// # Errors
    /// If it is not seen to be a primary afterwards.
    pub async fn promote(&self, limit: Duration) -> Result<Facts, Error> {
        let promote = async {
            let mut talk = self.talk().await?;
            talk.tell(&["REPLICAOF", "NO", "ONE"]).await?;
            // What an interrupted handover has held back.
            talk.tell(&["CLIENT", "UNPAUSE"]).await?;
            let facts = self.own_facts(&mut talk).await?;
            match facts.role {
                Role::Primary(_) if !facts.loading => Ok(facts),
                Role::Primary(_) | Role::Replica(_) => {
                    Err(Trouble::NotDone("does not take writes".to_owned()))
                }
            }
        };
        self.named("promote it", within(limit, promote).await)
    }

    /// Makes a primary refuse writes, with the last of them in its replicas where that does not take long: writes are held
    /// back, its replicas are waited for, at most so long, and it becomes a replica of nobody. It goes on running with all its
    /// data.
    ///
    /// # Errors
    /// If it is not seen to refuse writes afterwards.
    pub async fn demote(
        &self,
        others: &[Upstream],
        patience: Duration,
        limit: Duration,
    ) -> Result<Demoted, Error> {
        let demote = async {
            let mut talk = self.talk().await?;
            let mut waited = Vec::new();
            // Before anything is held back: it may take its time.
            for other in others {
                if let Ok(reached) = within(REACH, self.talk_to(other)).await {
                    waited.push((other.node.clone(), reached));
                }
            }
            talk.tell(&["CLIENT", "PAUSE", HOLD, "WRITE"]).await?;
            let facts = self.own_facts(&mut talk).await?;
            let Role::Primary(primary) = &facts.role else {
                // Nothing was written by this one.
                talk.tell(&["CLIENT", "UNPAUSE"]).await?;
                need_read_only(&facts)?;
                return Ok(Demoted {
                    was_primary: false,
                    data: facts.data(),
                    run_id: facts.run_id,
                    complete: Vec::new(),
                });
            };
            let online = primary.replicas.iter().filter(|it| it.online).count();
            let mut complete = match facts.data() {
                Some(data) => complete_ones(waited, &data, online, Instant::now() + patience).await,
                None => Vec::new(),
            };
            let (host, port) = (NOBODY.0, NOBODY.1.to_string());
            talk.tell(&["REPLICAOF", host, &port]).await?;
            let demoted = self.own_facts(&mut talk).await?;
            need_read_only(&demoted)?;
            // From now on who writes is told so, and who came by another way than the role's address comes again.
            talk.tell(&["CLIENT", "UNPAUSE"]).await?;
            talk.tell(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
                .await?;
            let data = demoted.data().filter(|_| facts.data().is_some());
            if data != facts.data() {
                // Something came in between, if only a PING to its replicas: nobody has said to have that.
                complete.clear();
            }
            Ok(Demoted {
                was_primary: true,
                run_id: demoted.run_id,
                data,
                complete,
            })
        };
        self.named("have it refuse writes", within(limit, demote).await)
    }

    /// Has a replica follow another one; what it has and that one has not is lost.
    ///
    /// # Errors
    /// If it is not told.
    pub async fn follow(&self, upstream: &Upstream, limit: Duration) -> Result<(), Error> {
        let follow = async {
            let mut talk = self.talk().await?;
            if let Role::Primary(_) = self.own_facts(&mut talk).await?.role {
                return Err(Trouble::NotDone("is a primary".to_owned()));
            }
            let port = upstream.port.to_string();
            talk.tell(&["REPLICAOF", &upstream.host, &port]).await
        };
        self.named("have it follow", within(limit, follow).await)
    }

    /// Has a replica follow nobody; it keeps what it has, and how far that goes.
    ///
    /// # Errors
    /// If it is not told.
    pub async fn detach(&self, limit: Duration) -> Result<(), Error> {
        let detach = async {
            let mut talk = self.talk().await?;
            // Not what has become a primary meanwhile: that is its seat's.
            match self.own_facts(&mut talk).await?.role {
                Role::Primary(_) => Err(Trouble::NotDone("is a primary".to_owned())),
                Role::Replica(_) => {
                    let port = NOBODY.1.to_string();
                    talk.tell(&["REPLICAOF", NOBODY.0, &port]).await
                }
            }
        };
        self.named("have it follow nobody", within(limit, detach).await)
    }

    /// Why it should not be run under a lease, as it is set; none if it may be.
    ///
    /// # Errors
    /// If nobody can tell.
    pub async fn objection(&self, limit: Duration) -> Result<Option<String>, Error> {
        let look = async {
            let mut talk = self.talk().await?;
            let sentinels = talk.listeners(HELLO).await?;
            if sentinels > 0 {
                return Ok(Some(format!(
                    "{sentinels} Sentinel(s) watch it, and would promote another one: stop them, one master of the decision is enough"
                )));
            }
            if talk.setting("appendonly").await? == "yes" {
                return Ok(Some(
                    "it keeps an append-only file, from which it does not know after a start how far its data go: set appendonly no, \
                     and save points (`save`)"
                        .to_owned(),
                ));
            }
            if talk.setting("repl-backlog-ttl").await? != "0" {
                return Ok(Some(
                    "it stops counting when nobody follows: set repl-backlog-ttl 0, or start it again".to_owned(),
                ));
            }
            Ok(None)
        };
        self.named("see how it is set", within(limit, look).await)
    }

    /// Keeps a snapshot of all that it has, before it is lost.
    ///
    /// # Errors
    /// If it is not kept as a whole.
    pub async fn save_aside(&self, limit: Duration) -> Result<Saved, Error> {
        let save = async {
            let mut talk = self.talk().await?;
            let facts = self.own_facts(&mut talk).await?;
            talk.tell(&["SAVE"]).await?;
            let dir = PathBuf::from(talk.setting("dir").await?);
            let snapshot = dir.join(talk.setting("dbfilename").await?);
            let offset = facts
                .data()
                .map_or_else(|| "unknown".to_owned(), |it| it.offset.to_string());
            let name = format!("{}-{offset}.rdb", facts.line);
            let (aside, most) = (self.config.aside.clone(), self.config.aside_limit);
            let kept = spawn_blocking(move || aside::keep(&snapshot, &aside, &name, most)).await;
            kept.unwrap_or(Err(Trouble::Ending))
        };
        self.named("keep what it has", within(limit, save).await)
    }

    async fn own_facts(&self, talk: &mut Talk) -> Result<Facts, Trouble> {
        let facts = talk.facts().await?;
        // Another server may have taken the port.
        if Path::new(&facts.config_file) != self.config.config {
            return Err(Trouble::AnotherServer {
                server: talk.server().to_owned(),
                theirs: facts.config_file,
            });
        }
        Ok(facts)
    }

    async fn talk(&self) -> Result<Talk, Trouble> {
        let password = self.password().await?;
        let (host, user) = (self.config.host.to_string(), self.config.login.as_deref());
        Talk::open(&host, self.config.port, user, password.as_ref()).await
    }

    async fn talk_to(&self, other: &Upstream) -> Result<Talk, Trouble> {
        let password = self.password().await?;
        let user = self.config.login.as_deref();
        Talk::open(&other.host, other.port, user, password.as_ref()).await
    }

    async fn password(&self) -> Result<Option<Secret>, Trouble> {
        let Some(name) = self.config.password.clone() else {
            return Ok(None);
        };
        let secrets = self.secrets.clone();
        let read = spawn_blocking(move || secrets.read(&name)).await;
        let read = read.map_err(|_| Trouble::Ending)?;
        read.map(Some).map_err(Trouble::Password)
    }

    fn named<T>(&self, doing: &'static str, result: Result<T, Trouble>) -> Result<T, Error> {
        result.map_err(|trouble| Error {
            server: self.name.clone(),
            doing,
            trouble,
        })
    }
}

/// A step on a disk, in the turn of those before it. One that takes too long is given up, and the next one waits for its end:
/// a disk that hangs holds one of them, and not more with each try.
async fn alone<T, F>(turn: &Arc<Mutex<()>>, limit: Duration, step: F) -> Result<T, Trouble>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Trouble> + Send + 'static,
{
    let turn = Arc::clone(turn);
    let work = async {
        let turn = turn.lock_owned().await;
        let done = spawn_blocking(move || {
            let done = step();
            drop(turn);
            done
        });
        done.await.unwrap_or(Err(Trouble::Ending))
    };
    within(limit, work).await
}

/// Waits until so many of these say that they have all of it, and whoever streams it has it; returns who does. Who streams is asked
/// themselves: a server that has just filled a replica counts it as online only when it has seen the end of the process that
/// did that.
async fn complete_ones(
    mut waited: Vec<(NodeName, Talk)>,
    data: &Data,
    count: usize,
    until: Instant,
) -> Vec<NodeName> {
    let mut complete = Vec::new();
    loop {
        let mut left = Vec::with_capacity(waited.len());
        let mut coming = false;
        for (node, mut talk) in waited {
            match tokio::time::timeout_at(until, talk.facts()).await {
                Ok(Ok(facts)) if has(&facts, data) => complete.push(node),
                Ok(Ok(facts)) => {
                    coming |= streams(&facts, data);
                    left.push((node, talk));
                }
                // It is not waited for any more.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        waited = left;
        let awaited = coming || complete.len() < count && !waited.is_empty();
        if !awaited || Instant::now() >= until {
            return complete;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Does it get the stream that this is in?
fn streams(facts: &Facts, data: &Data) -> bool {
    match &facts.role {
        Role::Replica(replica) => replica.linked && !replica.copying && facts.line == data.line,
        Role::Primary(_) => false,
    }
}

fn has(facts: &Facts, data: &Data) -> bool {
    let theirs = facts.data().filter(|theirs| theirs.is_of(&data.line));
    theirs.is_some_and(|theirs| theirs.offset >= data.offset)
}

fn need_read_only(facts: &Facts) -> Result<(), Trouble> {
    match &facts.role {
        Role::Replica(replica) if replica.read_only => Ok(()),
        Role::Replica(_) => Err(Trouble::NotDone(
            "takes writes as a replica: set replica-read-only yes".to_owned(),
        )),
        Role::Primary(_) => Err(Trouble::NotDone("still takes writes".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_disk_that_hangs_holds_nobody_up_and_is_not_asked_twice_at_once() {
        let turn = Arc::default();
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let hangs = alone(&turn, SHORT, move || {
            let _ = held.recv();
            Ok(())
        });
        assert!(matches!(hangs.await, Err(Trouble::Limit(SHORT))));
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        let next = alone(&turn, SHORT, move || {
            let _ = begin.send(());
            Ok(())
        });
        assert!(matches!(next.await, Err(Trouble::Limit(SHORT))));
        assert_eq!(
            begun.try_recv(),
            Err(std::sync::mpsc::TryRecvError::Disconnected),
            "it was given up before it began"
        );
        drop(let_go);
        let patience = Duration::from_secs(60);
        alone(&turn, patience, || Ok(())).await.unwrap();
    }
}
