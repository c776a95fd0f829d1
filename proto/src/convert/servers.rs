//! The checks of servers that are logged in to.

use std::time::Duration;

use interlock_model::check::{
    Lag, Login, MariadbCheck, PostgresCheck, PostgresRole, RedisCheck, RedisRole,
};

use super::assignment::given;
use super::{Invalid, millis, name};
use crate::v1;

pub(super) fn redis_to_wire(check: &RedisCheck) -> v1::RedisCheck {
    v1::RedisCheck {
        target: check.target.clone(),
        login: Some(login_to_wire(&check.login)),
        role: match check.role {
            None => "",
            Some(RedisRole::Master) => "master",
            Some(RedisRole::Replica) => "replica",
        }
        .to_owned(),
        max_lag_ms: check.max_lag.map(millis),
    }
}

pub(super) fn redis_from_wire(wire: &v1::RedisCheck) -> Result<RedisCheck, Invalid> {
    Ok(RedisCheck {
        target: wire.target.clone(),
        login: login_from_wire(wire.login.as_ref())?,
        role: match &*wire.role {
            "" => None,
            "master" => Some(RedisRole::Master),
            "replica" => Some(RedisRole::Replica),
            _ => return Err(Invalid::new("check.redis.role", ROLE)),
        },
        max_lag: wire.max_lag_ms.map(Duration::from_millis),
    })
}

pub(super) fn postgres_to_wire(check: &PostgresCheck) -> v1::PostgresCheck {
    use v1::postgres_check::MaxLag;
    v1::PostgresCheck {
        target: check.target.clone(),
        database: check.database.clone(),
        login: Some(login_to_wire(&check.login)),
        role: match check.role {
            None => "",
            Some(PostgresRole::Primary) => "primary",
            Some(PostgresRole::Standby) => "standby",
        }
        .to_owned(),
        standbys: check.standbys,
        max_lag: check.max_lag.map(|lag| match lag {
            Lag::Time(time) => MaxLag::MaxLagMs(millis(time)),
            Lag::Bytes(bytes) => MaxLag::MaxLagBytes(bytes),
        }),
    }
}

pub(super) fn postgres_from_wire(wire: &v1::PostgresCheck) -> Result<PostgresCheck, Invalid> {
    use v1::postgres_check::MaxLag;
    Ok(PostgresCheck {
        target: wire.target.clone(),
        database: wire.database.clone(),
        login: login_from_wire(wire.login.as_ref())?,
        role: match &*wire.role {
            "" => None,
            "primary" => Some(PostgresRole::Primary),
            "standby" => Some(PostgresRole::Standby),
            _ => return Err(Invalid::new("check.postgres.role", ROLE)),
        },
        standbys: wire.standbys,
        max_lag: wire.max_lag.map(|lag| match lag {
            MaxLag::MaxLagMs(time) => Lag::Time(Duration::from_millis(time)),
            MaxLag::MaxLagBytes(bytes) => Lag::Bytes(bytes),
        }),
    })
}

pub(super) fn mariadb_to_wire(check: &MariadbCheck) -> v1::MariadbCheck {
    v1::MariadbCheck {
        target: check.target.clone(),
        login: Some(login_to_wire(&check.login)),
        database: check.database.clone().unwrap_or_default(),
        writable: check.writable,
        replicating: check.replicating,
        source: check.source.clone().unwrap_or_default(),
        max_lag_ms: check.max_lag.map(millis),
    }
}

pub(super) fn mariadb_from_wire(wire: &v1::MariadbCheck) -> Result<MariadbCheck, Invalid> {
    Ok(MariadbCheck {
        target: wire.target.clone(),
        login: login_from_wire(wire.login.as_ref())?,
        database: given(&wire.database),
        writable: wire.writable,
        replicating: wire.replicating,
        source: given(&wire.source),
        max_lag: wire.max_lag_ms.map(Duration::from_millis),
    })
}

const ROLE: &str = "is a role that this version does not know";

fn login_to_wire(login: &Login) -> v1::Login {
    v1::Login {
        user: login.user.clone().unwrap_or_default(),
        secret: login
            .password
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

fn login_from_wire(wire: Option<&v1::Login>) -> Result<Login, Invalid> {
    let Some(wire) = wire else {
        return Err(Invalid::new("check.login", "is missing"));
    };
    Ok(Login {
        user: given(&wire.user),
        password: given(&wire.secret)
            .map(|secret| name("check.login.secret", &secret))
            .transpose()?,
    })
}
