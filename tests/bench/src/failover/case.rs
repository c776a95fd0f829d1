//! What happens to a primary.

use std::fmt;

use clap::ValueEnum;

/// A case: a service, and what happens to its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// kill -9 of PostgreSQL, profile fast.
    PostgresKill,
    /// The machine of a PostgreSQL loses power, profile fast.
    PostgresLoss,
    /// The same, profile conservative.
    PostgresLossConservative,
    /// A planned move of PostgreSQL.
    PostgresSwitchover,
    /// The machine that has an address loses power, profile fast.
    AddressLoss,
    /// A planned move of Redis.
    RedisSwitchover,
    /// The machine of a Redis loses power, profile fast.
    RedisLoss,
}

/// What has the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Postgres,
    Redis,
    Address,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server's main process gets SIGKILL.
    Kill,
    /// The machine loses power.
    Loss,
    /// A person has it moved.
    Switchover,
}

impl Case {
    /// In a line.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::PostgresKill => "kill -9 of PostgreSQL, fast",
            Self::PostgresLoss => "host loss, PostgreSQL, fast, by expiry",
            Self::PostgresLossConservative => "host loss, PostgreSQL, conservative, by expiry",
            Self::PostgresSwitchover => "planned switchover, PostgreSQL",
            Self::AddressLoss => "host loss, an address alone, fast, by expiry",
            Self::RedisSwitchover => "planned switchover, Redis",
            Self::RedisLoss => "host loss, Redis, fast, by expiry",
        }
    }

    /// For how long writes may be refused at most, in seconds.
    pub(super) const fn target(self) -> f64 {
        match self {
            Self::PostgresKill => 0.25,
            Self::PostgresLoss | Self::AddressLoss | Self::RedisLoss => 3.0,
            Self::PostgresLossConservative => 15.0,
            Self::PostgresSwitchover => 0.3,
            Self::RedisSwitchover => 0.1,
        }
    }

    pub(super) const fn service(self) -> Service {
        match self {
            Self::PostgresKill
            | Self::PostgresLoss
            | Self::PostgresLossConservative
            | Self::PostgresSwitchover => Service::Postgres,
            Self::AddressLoss => Service::Address,
            Self::RedisSwitchover | Self::RedisLoss => Service::Redis,
        }
    }

    pub(super) const fn fault(self) -> Fault {
        match self {
            Self::PostgresKill => Fault::Kill,
            Self::PostgresSwitchover | Self::RedisSwitchover => Fault::Switchover,
            Self::PostgresLoss
            | Self::PostgresLossConservative
            | Self::AddressLoss
            | Self::RedisLoss => Fault::Loss,
        }
    }

    /// The profile of its lease.
    pub(super) const fn profile(self) -> &'static str {
        match self {
            Self::PostgresLossConservative => "conservative",
            Self::PostgresKill
            | Self::PostgresLoss
            | Self::PostgresSwitchover
            | Self::AddressLoss
            | Self::RedisSwitchover
            | Self::RedisLoss => "fast",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
