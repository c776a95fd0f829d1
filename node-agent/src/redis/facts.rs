//! What a server says of itself (`INFO`), without any I/O.

use std::collections::BTreeMap;

use super::include::NOBODY;

/// A look at a server that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The file that it was started with.
    pub config_file: String,
    /// Its process: each start gives it another one.
    pub run_id: String,
    /// It reads its data from the disk, or those of a primary, and answers nothing else.
    pub loading: bool,
    /// Has it no key at all?
    pub empty: bool,
    /// The line of its data.
    pub line: String,
    /// The line that its own goes on from, and how far they are one.
    pub before: Option<(String, u64)>,
    /// What it is.
    pub role: Role,
}

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary(Primary),
    /// It takes none, unless it was told otherwise.
    Replica(Replica),
}

/// A server that takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// How far its stream goes; none while nobody counts, since there is no backlog.
    pub offset: Option<u64>,
    /// Who follows it.
    pub replicas: Vec<Attached>,
}

/// A replica, as its primary sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its address.
    pub address: String,
    /// It gets the stream: it is not being filled.
    pub online: bool,
    /// What it has acknowledged.
    pub offset: u64,
}

/// A server that follows, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Whom it is told to follow.
    pub host: String,
    /// At which port.
    pub port: u16,
    /// Does it get the stream?
    pub linked: bool,
    /// It is being filled: its own data are gone, or about to be.
    pub copying: bool,
    /// How far its data go; none if it does not know.
    pub offset: Option<u64>,
    /// By how much it is behind what it has read from its primary.
    pub unapplied: u64,
    /// Does it refuse writes of clients?
    pub read_only: bool,
}

impl Replica {
    /// Is it told to follow nobody?
    #[must_use]
    pub fn follows_nobody(&self) -> bool {
        (self.host.as_str(), self.port) == NOBODY
    }
}

/// How far data go, in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The line.
    pub line: String,
    /// How far.
    pub offset: u64,
}

impl Facts {
    /// What the answer to `INFO server persistence replication keyspace` says.
    ///
    /// # Errors
    /// With the name of what is missing or strange.
    pub(super) fn read(info: &str) -> Result<Self, String> {
        let all = Info::of(info);
        let line = all.text("master_replid")?;
        let second: i64 = all.number("second_repl_offset")?;
        // The first byte that is not common to both.
        let shared = u64::try_from(second).ok().and_then(|at| at.checked_sub(1));
        let before = shared.zip(all.text("master_replid2").ok());
        Ok(Self {
            config_file: all.text("config_file")?,
            run_id: all.text("run_id")?,
            loading: all.flag("loading")? || all.flag("async_loading")?,
            empty: !info.lines().any(|line| line.starts_with("db")),
            line,
            before: before.map(|(shared, line)| (line, shared)),
            role: match all.text("role")?.as_str() {
                "master" => Role::Primary(all.primary()?),
                "slave" => Role::Replica(all.replica()?),
                other => return Err(format!("role:{other}")),
            },
        })
    }

    /// How far its data go; none if nobody can tell.
    #[must_use]
    pub fn data(&self) -> Option<Data> {
        let offset = match &self.role {
            _ if self.loading => None,
            Role::Primary(primary) => primary.offset,
            Role::Replica(replica) if replica.copying => None,
            Role::Replica(replica) => replica.offset,
        };
        Some(Data {
            line: self.line.clone(),
            offset: offset?,
        })
    }
}

struct Info<'i> {
    pairs: BTreeMap<&'i str, &'i str>,
}

impl<'i> Info<'i> {
    fn of(text: &'i str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.trim_end().split_once(':'));
        Self {
            pairs: pairs.collect(),
        }
    }

    fn text(&self, name: &str) -> Result<String, String> {
        let text = self.pairs.get(name);
        text.map(|text| (*text).to_owned())
            .ok_or_else(|| format!("no {name}"))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Result<N, String> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("{name}:{text}"))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.text(name)?.as_str() {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(format!("{name}:{other}")),
        }
    }

    fn primary(&self) -> Result<Primary, String> {
        let counts = self.flag("repl_backlog_active")?;
        let offset: u64 = self.number("master_repl_offset")?;
        let is_one = |name: &str| {
            let number = name.strip_prefix("slave");
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let attached = self.pairs.iter().filter(|(name, _)| is_one(name));
        Ok(Primary {
            offset: counts.then_some(offset),
            replicas: attached
                .map(|(name, text)| attached_as(text).ok_or_else(|| format!("{name}:{text}")))
                .collect::<Result<_, _>>()?,
        })
    }

    fn replica(&self) -> Result<Replica, String> {
        let linked = match self.text("master_link_status")?.as_str() {
            "up" => true,
            "down" => false,
            other => return Err(format!("master_link_status:{other}")),
        };
        let offset: u64 = self.number("slave_repl_offset")?;
        let read: u64 = self.number("slave_read_repl_offset")?;
        Ok(Replica {
            host: self.text("master_host")?,
            port: self.number("master_port")?,
            linked,
            copying: self.flag("master_sync_in_progress")?,
            // Without a link, and without the memory of one, it says 1 (`slave_repl_offset` in its `genRedisInfoString`): it was
            // never filled, or has thrown its data away for those of a primary that it then did not get.
            offset: (linked || offset > 1).then_some(offset),
            unapplied: read.saturating_sub(offset),
            read_only: self.flag("slave_read_only")?,
        })
    }
}

/// `ip=10.0.0.2,port=6379,state=online,offset=50,lag=0`.
fn attached_as(text: &str) -> Option<Attached> {
    let pairs: BTreeMap<&str, &str> = text
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    Some(Attached {
        address: (*pairs.get("ip")?).to_owned(),
        online: *pairs.get("state")? == "online",
        offset: pairs.get("offset")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Redis 7.0.15 says it, shortened.
    const REPLICA: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:8f1e\r\nconfig_file:/etc/redis/redis.conf\r\n# Persistence\r\nloading:0\r\n\
        async_loading:0\r\n# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:1\r\nmaster_link_status:down\r\n\
        master_sync_in_progress:0\r\nslave_read_repl_offset:130\r\nslave_repl_offset:128\r\nslave_read_only:1\r\n\
        connected_slaves:0\r\nmaster_replid:d26c\r\nmaster_replid2:6267\r\nmaster_repl_offset:128\r\nsecond_repl_offset:51\r\n\
        repl_backlog_active:1\r\n# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n";

    const PRIMARY: &str = "run_id:8f1e\r\nconfig_file:/c\r\nloading:0\r\nasync_loading:0\r\nrole:master\r\nconnected_slaves:1\r\n\
        slave0:ip=10.0.0.2,port=6379,state=online,offset=40,lag=0\r\nmaster_replid:d26c\r\nmaster_replid2:0000\r\n\
        master_repl_offset:50\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:1\r\n";

    #[test]
    fn a_replica_knows_how_far_it_is_and_until_where_its_line_is_that_of_another() {
        let facts = Facts::read(REPLICA).unwrap();
        assert_eq!(facts.before, Some(("6267".to_owned(), 50)));
        let data = facts.data().unwrap();
        assert_eq!((data.line.as_str(), data.offset), ("d26c", 128));
        assert!(!facts.empty);
        let Role::Replica(replica) = facts.role else {
            panic!("{facts:?}");
        };
        assert!(replica.read_only && !replica.linked && replica.unapplied == 2);
    }

    #[test]
    fn a_replica_that_is_being_filled_or_has_lost_its_data_does_not_know_how_far_they_go() {
        for (one, other) in [
            ("master_sync_in_progress:0", "master_sync_in_progress:1"),
            ("\nloading:0", "\nloading:1"),
            ("slave_repl_offset:128", "slave_repl_offset:1"),
        ] {
            let facts = Facts::read(&REPLICA.replace(one, other)).unwrap();
            assert_eq!(facts.data(), None, "{other}");
        }
        // One that is linked to a primary that has written nothing does.
        let early = REPLICA
            .replace("slave_repl_offset:128", "slave_repl_offset:0")
            .replace("master_link_status:down", "master_link_status:up");
        assert_eq!(Facts::read(&early).unwrap().data().unwrap().offset, 0);
    }

    #[test]
    fn a_primary_that_counts_nothing_does_not_know_how_far_it_has_written() {
        let facts = Facts::read(PRIMARY).unwrap();
        assert_eq!(
            (facts.before.clone(), facts.data().unwrap().offset),
            (None, 50)
        );
        assert!(facts.empty);
        let Role::Primary(primary) = facts.role else {
            panic!("{facts:?}");
        };
        let [replica] = primary.replicas.as_slice() else {
            panic!("{primary:?}");
        };
        assert!(replica.online && replica.offset == 40 && replica.address == "10.0.0.2");
        let idle = PRIMARY.replace("repl_backlog_active:1", "repl_backlog_active:0");
        assert_eq!(Facts::read(&idle).unwrap().data(), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        for name in ["role", "loading", "master_replid", "config_file", "run_id"] {
            let cut = PRIMARY.replace(&format!("{name}:"), "gone:");
            assert_eq!(Facts::read(&cut).unwrap_err(), format!("no {name}"));
        }
        let odd = PRIMARY.replace("role:master", "role:sentinel");
        assert_eq!(Facts::read(&odd).unwrap_err(), "role:sentinel");
    }
}
