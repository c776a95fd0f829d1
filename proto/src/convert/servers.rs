//! The checks of servers that are logged in to.

use std::time::Duration;

use interlock_model::check::{
    CheckKind, Lag, Login, MariadbCheck, PostgresCheck, PostgresRole, RedisCheck, RedisRole,
    ServerTls,
};

use super::assignment::given;
use super::{Invalid, millis, name};
use crate::v1;
use crate::v1::assigned_check::Kind;
use crate::v1::check_over_tls::Check;

/// Of the kind that an agent without TLS does not know.
fn over_tls(tls: &ServerTls, check: Check) -> Kind {
    Kind::OverTls(v1::CheckOverTls {
        server_name: tls.server_name.clone().unwrap_or_default(),
        check: Some(check),
    })
}

pub(super) fn over_tls_from_wire(wire: &v1::CheckOverTls) -> Result<CheckKind, Invalid> {
    let tls = Some(ServerTls {
        server_name: given(&wire.server_name),
    });
    Ok(match &wire.check {
        None => {
            return Err(Invalid::new(
                "check.over_tls",
                "is of a kind that this version does not know",
            ));
        }
        Some(Check::Redis(redis)) => CheckKind::Redis(RedisCheck {
            tls,
            ..redis_from_wire(redis)?
        }),
        Some(Check::Postgres(postgres)) => CheckKind::Postgres(PostgresCheck {
            tls,
            ..postgres_from_wire(postgres)?
        }),
        Some(Check::Mariadb(mariadb)) => CheckKind::Mariadb(MariadbCheck {
            tls,
            ..mariadb_from_wire(mariadb)?
        }),
    })
}

pub(super) fn redis_to_wire(check: &RedisCheck) -> Kind {
    let wire = v1::RedisCheck {
        target: check.target.clone(),
        login: Some(login_to_wire(&check.login)),
        role: match check.role {
            None => "",
            Some(RedisRole::Master) => "master",
            Some(RedisRole::Replica) => "replica",
        }
        .to_owned(),
        max_lag_ms: check.max_lag.map(millis),
    };
    match &check.tls {
        None => Kind::Redis(wire),
        Some(tls) => over_tls(tls, Check::Redis(wire)),
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
            other => return Err(Invalid::word("check.redis.role", other)),
        },
        max_lag: wire.max_lag_ms.map(Duration::from_millis),
        tls: None,
    })
}

pub(super) fn postgres_to_wire(check: &PostgresCheck) -> Kind {
    use v1::postgres_check::MaxLag;
    let wire = v1::PostgresCheck {
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
    };
    match &check.tls {
        None => Kind::Postgres(wire),
        Some(tls) => over_tls(tls, Check::Postgres(wire)),
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
            other => return Err(Invalid::word("check.postgres.role", other)),
        },
        standbys: wire.standbys,
        max_lag: wire.max_lag.map(|lag| match lag {
            MaxLag::MaxLagMs(time) => Lag::Time(Duration::from_millis(time)),
            MaxLag::MaxLagBytes(bytes) => Lag::Bytes(bytes),
        }),
        tls: None,
    })
}

pub(super) fn mariadb_to_wire(check: &MariadbCheck) -> Kind {
    let wire = v1::MariadbCheck {
        target: check.target.clone(),
        login: Some(login_to_wire(&check.login)),
        database: check.database.clone().unwrap_or_default(),
        writable: check.writable,
        replicating: check.replicating,
        source: check.source.clone().unwrap_or_default(),
        max_lag_ms: check.max_lag.map(millis),
    };
    match &check.tls {
        None => Kind::Mariadb(wire),
        Some(tls) => over_tls(tls, Check::Mariadb(wire)),
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
        tls: None,
    })
}

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
