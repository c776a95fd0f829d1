//! What happens to a primary.

use std::fmt;

use clap::ValueEnum;

/// A case: a service, and what happens to its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// kill -9 of PostgreSQL, profile fast.
    PostgresKill,
    /// The same of one whose unit is the server and nothing else.
    PostgresKillPlain,
    /// The machine of a PostgreSQL loses power, profile fast.
    PostgresLoss,
    /// The same, profile conservative.
    PostgresLossConservative,
    /// A planned move of PostgreSQL.
    PostgresSwitchover,
    /// The same of one whose unit is the server and nothing else.
    PostgresSwitchoverPlain,
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
            Self::PostgresKillPlain => "kill -9 of PostgreSQL, fast, its unit is the server",
            Self::PostgresLoss => "host loss, PostgreSQL, fast, by expiry",
            Self::PostgresLossConservative => "host loss, PostgreSQL, conservative, by expiry",
            Self::PostgresSwitchover => "planned switchover, PostgreSQL",
            Self::PostgresSwitchoverPlain => {
                "planned switchover, PostgreSQL, its unit is the server"
            }
            Self::AddressLoss => "host loss, an address alone, fast, by expiry",
            Self::RedisSwitchover => "planned switchover, Redis",
            Self::RedisLoss => "host loss, Redis, fast, by expiry",
        }
    }

    /// For how long writes may be refused at most, in seconds.
    pub(super) const fn target(self) -> f64 {
        match self {
            Self::PostgresKill | Self::PostgresKillPlain => 0.25,
            Self::PostgresLoss | Self::AddressLoss | Self::RedisLoss => 3.0,
            Self::PostgresLossConservative => 15.0,
            Self::PostgresSwitchover | Self::PostgresSwitchoverPlain => 0.3,
            Self::RedisSwitchover => 0.1,
        }
    }

    pub(super) const fn service(self) -> Service {
        match self {
            Self::PostgresKill
            | Self::PostgresKillPlain
            | Self::PostgresLoss
            | Self::PostgresLossConservative
            | Self::PostgresSwitchover
            | Self::PostgresSwitchoverPlain => Service::Postgres,
            Self::AddressLoss => Service::Address,
            Self::RedisSwitchover | Self::RedisLoss => Service::Redis,
        }
    }

    pub(super) const fn fault(self) -> Fault {
        match self {
            Self::PostgresKill | Self::PostgresKillPlain => Fault::Kill,
            Self::PostgresSwitchover | Self::PostgresSwitchoverPlain | Self::RedisSwitchover => {
                Fault::Switchover
            }
            Self::PostgresLoss
            | Self::PostgresLossConservative
            | Self::AddressLoss
            | Self::RedisLoss => Fault::Loss,
        }
    }

    /// Is its unit the server and nothing else, and not the commands of Debian's package around it?
    pub(super) const fn is_plain(self) -> bool {
        matches!(
            self,
            Self::PostgresKillPlain | Self::PostgresSwitchoverPlain
        )
    }

    /// The profile of its lease.
    pub(super) const fn profile(self) -> &'static str {
        match self {
            Self::PostgresLossConservative => "conservative",
            Self::PostgresKill
            | Self::PostgresKillPlain
            | Self::PostgresLoss
            | Self::PostgresSwitchover
            | Self::PostgresSwitchoverPlain
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
