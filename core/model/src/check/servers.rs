//! What is asked of the servers that check kinds of their own know: Redis, PostgreSQL, MariaDB.
//!
//! A password never stands here: a check names a secret, and the agent that runs it has the value in a file of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::LocalName;
use crate::time::human;

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user; none where the server has a password alone.
    pub user: Option<String>,
    /// The secret of the agent's own files that is the password; none to log in without one.
    pub password: Option<LocalName>,
}

/// A server is talked to over TLS, and has to prove who it is to those whom the agent's own file trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTls {
    /// The name that its certificate must have; the host of its address if none.
    pub server_name: Option<String>,
}

/// A Redis server answers `PING` with `PONG`, and replicates if it is a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisCheck {
    /// `host:port`.
    pub target: String,
    /// Who logs in.
    pub login: Login,
    /// What it has to be; none for either.
    pub role: Option<RedisRole>,
    /// The longest time since a replica last heard of its master.
    #[serde(default, with = "human::option")]
    pub max_lag: Option<Duration>,
    /// How it proves who it is; none to talk to it in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

/// What a Redis server is, in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedisRole {
    /// It takes writes.
    Master,
    /// It follows a master.
    Replica,
}

/// A PostgreSQL server lets the user in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresCheck {
    /// `host:port`.
    pub target: String,
    /// The database that is connected to.
    pub database: String,
    /// Who logs in; always with a user.
    pub login: Login,
    /// What the server has to be; none for either.
    pub role: Option<PostgresRole>,
    /// How many standbys a primary has to stream to.
    pub standbys: u32,
    /// How far a standby may be behind: the server itself if it is one, or each of those that count for a primary.
    pub max_lag: Option<Lag>,
    /// How it proves who it is; none to talk to it in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

/// What a PostgreSQL server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresRole {
    /// Not in recovery, and its transactions may write.
    Primary,
    /// In recovery, and streaming from a primary.
    Standby,
}

/// How far something may be behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lag {
    /// By time.
    Time(#[serde(with = "human")] Duration),
    /// By the write-ahead log that is not applied yet.
    Bytes(u64),
}

/// A MariaDB or MySQL server lets the user in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MariadbCheck {
    /// `host:port`.
    pub target: String,
    /// Who logs in; always with a user.
    pub login: Login,
    /// The database that is selected, if any.
    pub database: Option<String>,
    /// Whether it has to take writes (`read_only` off) or to refuse them; none for either.
    pub writable: Option<bool>,
    /// Must it replicate, by every connection that it has and by one at least?
    pub replicating: bool,
    /// The host from which it has to replicate, as the server itself names it.
    pub source: Option<String>,
    /// How far it may be behind its source.
    #[serde(default, with = "human::option")]
    pub max_lag: Option<Duration>,
    /// How it proves who it is, always by the host of its address; none to talk to it in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}
