//! What is asked of a server.

use std::time::Duration;

use interlock_model::names::{LocalName, NodeName};
use tokio::task::spawn_blocking;

use super::facts::{Facts, SERVER, STATUS};
use super::talk::{At, Talk, is_refused, literal};
use super::{Error, Trouble, include, settings};
use crate::config::{Mariadb, Secrets};
use crate::power::Secret;

/// A server of this machine.
#[derive(Debug)]
pub struct Server {
    name: LocalName,
    pub(super) config: Mariadb,
    secrets: Secrets,
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
    /// Who logs in there.
    pub user: String,
}

impl Server {
    /// One of the agent's file.
    #[must_use]
    pub fn new(name: LocalName, config: Mariadb, secrets: Secrets) -> Self {
        Self {
            name,
            config,
            secrets,
        }
    }

    /// Looks at it.
    ///
    /// # Errors
    /// If nobody can tell how it is.
    pub async fn observe(&self, limit: Duration) -> Result<Observed, Error> {
        let look = async {
            let talk = self.talk(limit).await?;
            match own_facts(&talk).await {
                Ok(facts) => Ok(Observed::Up(facts)),
                Err(trouble) if is_refused(&trouble) => Ok(Observed::Stopped),
                Err(trouble) => Err(trouble),
            }
        };
        self.named("look at it", look.await)
    }

    /// Looks at another server of the service. Whom that one follows is not asked: the user has no right to know.
    ///
    /// # Errors
    /// If nobody can tell how it is.
    pub async fn observe_other(&self, other: &Upstream, limit: Duration) -> Result<Facts, Error> {
        let look = async {
            let password = self.secret(&self.config.replication_password).await?;
            let at = At::Host(&other.host, other.port);
            let talk = Talk::new(at, &other.user, Some(&password), limit);
            let server = talk.ask("say how it is", SERVER).await?;
            facts(&talk, &server, &Vec::new())
        };
        self.named("look at the one to follow", look.await)
    }

    /// Sees to it that its next start is that of a read-only server, whoever starts it.
    ///
    /// # Errors
    /// If it would not be, with what to do.
    pub async fn prepare_start(&self) -> Result<(), Error> {
        let config = &self.config;
        let seen = include::see_to(&config.config, &config.include, &config.program).await;
        self.named("have it start as a read-only server", seen)
    }

    /// Has a replica follow another one from where its own data end. Whoever calls has compared both.
    ///
    /// # Errors
    /// If it is not told.
    pub async fn follow(&self, upstream: &Upstream, limit: Duration) -> Result<(), Error> {
        let follow = async {
            let talk = self.talk(limit).await?;
            let facts = own_facts(&talk).await?;
            need_read_only(&facts)?;
            let password = self.secret(&self.config.replication_password).await?;
            // What the log of a former primary has goes beyond what it has applied of others.
            let own = facts.written.and(&facts.applied) != facts.applied;
            let statements = format!(
                "SET SESSION sql_mode=''; STOP SLAVE; CHANGE MASTER TO MASTER_HOST={}, MASTER_PORT={}, MASTER_USER={}, \
                 MASTER_PASSWORD={}, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1, MASTER_USE_GTID=slave_pos{}; START SLAVE",
                literal(&upstream.host),
                upstream.port,
                literal(&upstream.user),
                literal(password.expose()),
                if own {
                    ", MASTER_DEMOTE_TO_SLAVE=1"
                } else {
                    ""
                },
            );
            talk.tell_secretly("follow", &statements).await
        };
        self.named("have it follow", follow.await)
    }

    /// Has a replica follow again whom it was told to follow.
    ///
    /// # Errors
    /// If it is not told.
    pub async fn resume(&self, limit: Duration) -> Result<(), Error> {
        let resume = async {
            let talk = self.talk(limit).await?;
            need_read_only(&own_facts(&talk).await?)?;
            talk.tell("follow again", "START SLAVE").await
        };
        self.named("have it follow again", resume.await)
    }

    /// Has a replica ask nobody for more; what it has received is applied.
    ///
    /// # Errors
    /// If it is not told.
    pub async fn detach(&self, limit: Duration) -> Result<(), Error> {
        let detach = async {
            let talk = self.talk(limit).await?;
            // Not what has become a primary meanwhile: that is its seat's.
            need_read_only(&own_facts(&talk).await?)?;
            talk.tell("ask nobody", "STOP SLAVE IO_THREAD").await
        };
        self.named("have it follow nobody", detach.await)
    }

    /// Why it should not be run under a lease, as it is set; none if it may be.
    ///
    /// # Errors
    /// If nobody can tell.
    pub async fn objection(&self, limit: Duration) -> Result<Option<String>, Error> {
        let look = async {
            let talk = self.talk(limit).await?;
            let set = talk.ask("say how it is set", settings::NOW).await?;
            let objection = settings::objection(&set).map_err(|what| strange(&talk, what))?;
            if objection.is_some() {
                return Ok(objection);
            }
            let facts = own_facts(&talk).await?;
            if let Err(why) = facts.position() {
                return Ok(Some(why));
            }
            if let Some(other) = facts.sources.iter().find(|it| !it.name.is_empty()) {
                return Ok(Some(format!(
                    "it replicates from {} by a connection of its own, '{}', which is not managed here: RESET SLAVE '{}' ALL",
                    other.host, other.name, other.name
                )));
            }
            let privileged = talk.ask("say who may write", settings::PRIVILEGED).await?;
            Ok(settings::strangers(&privileged))
        };
        self.named("see how it is set", look.await)
    }

    /// A session with the server of this machine.
    pub(super) async fn talk(&self, limit: Duration) -> Result<Talk, Trouble> {
        let password = match &self.config.password {
            Some(name) => Some(self.secret(name).await?),
            None => None,
        };
        let at = At::Socket(&self.config.socket);
        Ok(Talk::new(at, &self.config.login, password.as_ref(), limit))
    }

    async fn secret(&self, name: &LocalName) -> Result<Secret, Trouble> {
        let (secrets, name) = (self.secrets.clone(), name.clone());
        let read = spawn_blocking(move || secrets.read(&name)).await;
        let read = read.map_err(|_| Trouble::Ending)?;
        read.map_err(Trouble::Password)
    }

    pub(super) fn named<T>(
        &self,
        doing: &'static str,
        result: Result<T, Trouble>,
    ) -> Result<T, Error> {
        result.map_err(|trouble| Error {
            server: self.name.clone(),
            doing,
            trouble,
        })
    }
}

/// What the server of this machine says of itself.
pub(super) async fn own_facts(talk: &Talk) -> Result<Facts, Trouble> {
    let both = format!("{SERVER}; {STATUS}");
    let (server, status) = talk.ask_both("say how it is", &both).await?;
    facts(talk, &server, &status)
}

/// Only a server that refuses writes is told to follow anybody.
pub(super) fn need_read_only(facts: &Facts) -> Result<(), Trouble> {
    match facts.read_only {
        true => Ok(()),
        false => Err(Trouble::NotDone("takes writes".to_owned())),
    }
}

fn facts(
    talk: &Talk,
    server: &crate::probe::mariadb::Table,
    status: &crate::probe::mariadb::Table,
) -> Result<Facts, Trouble> {
    Facts::read(server, status).map_err(|what| strange(talk, what))
}

fn strange(talk: &Talk, what: String) -> Trouble {
    Trouble::Answer {
        server: talk.server().to_owned(),
        what,
    }
}
