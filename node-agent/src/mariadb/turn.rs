//! A replica becomes the primary, and the primary a replica.

use std::time::Duration;

use tokio::time::Instant;

use super::facts::{Facts, Source};
use super::gtid::Gtid;
use super::server::{Server, need_read_only, own_facts};
use super::talk::Talk;
use super::{Error, Trouble};

/// The server's error for a lock that was waited for in vain.
const LOCK_WAIT: u32 = 1205;

/// The server's error for a session that is gone already.
const NO_SUCH_SESSION: u32 = 1094;

/// How long statements that run may hold up the end of writing, in seconds: then their sessions are ended.
const GRACE: &str = "1";

/// The pause between two looks whether sessions are gone.
const POLL: Duration = Duration::from_millis(20);

/// How many sessions are ended at once.
const AT_ONCE: usize = 100;

/// Sessions of clients. Threads of the server, and what sends its log to replicas, is not among them.
const SESSIONS: &str = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() \
     AND command NOT IN ('Daemon', 'Binlog Dump', 'Slave_IO', 'Slave_SQL', 'Slave_worker') \
     AND user NOT IN ('system user', 'event_scheduler')";

/// A server that refuses writes, after it was to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demoted {
    /// Did it take writes until now?
    pub was_primary: bool,
    /// How it is now: how far it had written is exact.
    pub facts: Facts,
    /// How many sessions of clients were ended.
    pub ended: usize,
}

impl Server {
    /// Nothing more is received from whom it follows, and all that was is applied. It refuses writes as before.
    ///
    /// # Errors
    /// If something that was received cannot be applied.
    pub async fn apply(&self, limit: Duration) -> Result<(), Error> {
        let apply = async {
            let talk = self.talk(limit).await?;
            let facts = own_facts(&talk).await?;
            match facts.source() {
                Some(_) => self.apply_all(&talk, &facts, limit).await,
                None => Ok(()),
            }
        };
        self.named("apply what it has received", apply.await)
    }

    /// Makes it take writes, after all that it has received is applied. It follows nobody any more. Whoever calls has the right
    /// to that.
    ///
    /// # Errors
    /// If something that was received cannot be applied, or it is not seen to take writes afterwards.
    pub async fn promote(&self, limit: Duration) -> Result<Facts, Error> {
        let promote = async {
            let talk = self.talk(limit).await?;
            let facts = own_facts(&talk).await?;
            if facts.source().is_some() {
                self.apply_all(&talk, &facts, limit).await?;
            }
            // Each is done before the next one is told: writes are let in last.
            talk.tell("follow nobody", "STOP SLAVE; RESET SLAVE ALL")
                .await?;
            let alone = own_facts(&talk).await?;
            if let Some(source) = alone.sources.first() {
                return Err(Trouble::NotDone(format!("still follows {}", source.host)));
            }
            talk.tell("take writes", "SET GLOBAL read_only=OFF").await?;
            let facts = own_facts(&talk).await?;
            match facts.read_only {
                false => Ok(facts),
                true => Err(Trouble::NotDone("does not take writes".to_owned())),
            }
        };
        self.named("promote it", promote.await)
    }

    /// Nothing more is received, and what was is applied.
    async fn apply_all(&self, talk: &Talk, facts: &Facts, limit: Duration) -> Result<(), Trouble> {
        // Before anything is stopped: with both threads stopped it throws away what it has received.
        if let Some((source, missing)) = unapplied(facts)
            && !source.applies
        {
            let why = source
                .broken()
                .unwrap_or_else(|| "that is stopped".to_owned());
            return Err(Trouble::NotDone(format!(
                "has received {missing} and does not apply it: {why}; repair that, and `START SLAVE SQL_THREAD`"
            )));
        }
        talk.tell("ask nobody", "STOP SLAVE IO_THREAD").await?;
        let facts = own_facts(talk).await?;
        let Some((_, missing)) = unapplied(&facts) else {
            return Ok(());
        };
        let seconds = limit.as_secs().max(1);
        let statement = format!("SELECT MASTER_GTID_WAIT('{missing}', {seconds}) AS waited");
        let waited = talk.ask("apply what it has received", &statement).await?;
        let done = waited.first().and_then(|row| row.first());
        match done.map(|(_, value)| value.as_str()) {
            Some("0") => Ok(()),
            _ => Err(Trouble::NotDone(format!(
                "has received {missing} and not applied it within {limit:?}"
            ))),
        }
    }

    /// Makes a server refuse writes. Statements that run get a moment, then their sessions are ended, and afterwards all that
    /// began before: a transaction that is open cannot end as one that was written. Replicas go on getting its log.
    ///
    /// # Errors
    /// If it is not seen to refuse writes afterwards, or a session that may write is not gone.
    pub async fn demote(&self, limit: Duration) -> Result<Demoted, Error> {
        let until = Instant::now() + limit;
        let demote = async {
            let talk = self.talk(limit).await?;
            let was_primary = !own_facts(&talk).await?.read_only;
            let mut ended = 0;
            let close = format!("SET SESSION lock_wait_timeout={GRACE}; SET GLOBAL read_only=ON");
            loop {
                match talk.tell("refuse writes", &close).await {
                    Ok(()) => break,
                    Err(Trouble::Refused { number, .. }) if number == LOCK_WAIT => {
                        ended += end(&talk, &sessions(&talk).await?).await?;
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
            // Whoever has come since cannot write. Those with a right to are ended, too, and what they have begun is undone.
            let old = sessions(&talk).await?;
            ended += end(&talk, &old).await?;
            loop {
                let left = sessions(&talk).await?;
                if !left.iter().any(|id| old.contains(id)) {
                    break;
                }
                if Instant::now() >= until {
                    return Err(Trouble::Limit(limit));
                }
                tokio::time::sleep(POLL).await;
            }
            let facts = own_facts(&talk).await?;
            need_read_only(&facts)?;
            Ok(Demoted {
                was_primary,
                facts,
                ended,
            })
        };
        self.named("have it refuse writes", demote.await)
    }
}

/// What a server has received of whom it follows, and not applied.
fn unapplied(facts: &Facts) -> Option<(&Source, Gtid)> {
    let source = facts.source()?;
    // By the server that has written it: the numbers of others, this one's own too, go on beside it.
    let here = facts.all();
    let missing = source.received.iter().find(|gtid| {
        let last = here.of(gtid.domain, gtid.server);
        last.is_none_or(|last| last < gtid.number)
    });
    missing.map(|missing| (source, missing))
}

/// The sessions of clients.
async fn sessions(talk: &Talk) -> Result<Vec<u64>, Trouble> {
    let rows = talk.ask("say who is connected", SESSIONS).await?;
    let ids = rows.iter().filter_map(|row| row.first());
    ids.map(|(_, id)| id.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| Trouble::Answer {
            server: talk.server().to_owned(),
            what: "the id of a session is no number".to_owned(),
        })
}

/// Ends them; returns how many were told to.
async fn end(talk: &Talk, ids: &[u64]) -> Result<usize, Trouble> {
    for some in ids.chunks(AT_ONCE) {
        let kills: Vec<String> = some.iter().map(|id| format!("KILL {id}; ")).collect();
        // One that has gone by itself does not keep the rest from being ended.
        let all = format!(
            "delimiter //\nBEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR {NO_SUCH_SESSION} BEGIN END; {}END//",
            kills.concat()
        );
        talk.tell("end sessions", &all).await?;
    }
    Ok(ids.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mariadb::facts::Link;

    fn facts(written: &str, applied: &str, received: &str) -> Facts {
        let source = Source {
            name: String::new(),
            host: "db1".to_owned(),
            port: 3306,
            link: Link::Up,
            link_error: None,
            applies: true,
            apply_error: None,
            received: received.parse().unwrap(),
            lag: None,
        };
        Facts {
            read_only: true,
            server_id: 2,
            domain: 0,
            written: written.parse().unwrap(),
            history: written.parse().unwrap(),
            applied: applied.parse().unwrap(),
            sources: vec![source],
        }
    }

    #[test]
    fn what_was_received_is_compared_with_the_server_that_wrote_it() {
        let missing = |written, applied, received| {
            let facts = facts(written, applied, received);
            unapplied(&facts).map(|(_, missing)| missing.to_string())
        };
        assert_eq!(missing("0-1-7", "0-1-7", "0-1-7"), None);
        assert_eq!(missing("0-1-7", "0-1-7", "0-1-8").unwrap(), "0-1-8");
        // It led once, and wrote as far itself: that says nothing of what another one wrote.
        assert_eq!(missing("0-2-9", "0-1-7", "0-1-8").unwrap(), "0-1-8");
        assert_eq!(missing("0-2-9,0-1-8", "0-1-8", "0-1-8"), None);
        assert_eq!(missing("0-2-9", "", "0-1-8").unwrap(), "0-1-8");
    }
}
