//! `redis`, `postgres` and `mariadb`: servers that are logged in to and asked for their role.

use super::super::power::SECRET;
use super::super::{Field, Section};
use super::texts::{server_name, target};
use crate::check::{
    Lag, Login, MariadbCheck, PostgresCheck, PostgresRole, RedisCheck, RedisRole, ServerTls,
};
use crate::names::LocalName;
use crate::spec::problem::{Problem, quoted};
use crate::spec::read::field::parse_duration;
use crate::spec::shape::{Key, Kind, Shape, default, optional, required};

const ADDRESS: Key = required("address", Kind::Text, "The server, as `host:port`.");
const PASSWORD: Key = optional(
    "password",
    Kind::Section(&SECRET),
    "The password, as `{ secret: NAME }`: a secret of the agent that runs the check, which its own file must permit to \
     be sent to this address (`check_secrets`).",
);

const TLS: Key = default(
    "tls",
    Kind::Flag,
    "false",
    "It is talked to over TLS 1.3, and its certificate must be of an authority that the agent trusts: those of its own file \
     (`check_ca`), else those of its machine.",
);
const SERVER_NAME: Key = optional(
    "server_name",
    Kind::Text,
    "For `tls`: the name that its certificate must have, where that is not the host of the address.",
);

/// A Redis server.
pub(super) static REDIS: Shape = Shape {
    name: "redis check",
    doc: "A Redis server that answers `PING` with `PONG` and nothing else. The text is compared: `DENIED`, `NOAUTH`, \
          `LOADING` and `MASTERDOWN` are answers, too, and bad. A replica must have its link to the master, whichever role \
          is asked for.",
    keys: &[
        ADDRESS,
        optional(
            "user",
            Kind::Text,
            "The user, where the server has an access list (Redis 6 and later).",
        ),
        PASSWORD,
        optional(
            "role",
            Kind::Word {
                words: &["master", "replica"],
                later: &[],
            },
            "What the server has to be.",
        ),
        optional(
            "max_lag",
            Kind::Duration,
            "For `role: replica`: the longest time since it last heard of its master. A master with nothing to say speaks \
             every 10 s.",
        ),
        TLS,
        SERVER_NAME,
    ],
    choice: &[],
    later: &[],
};

/// A PostgreSQL server.
pub(super) static POSTGRES: Shape = Shape {
    name: "postgres check",
    doc: "A PostgreSQL server that lets the user in. Positions of standbys are shown to members of `pg_monitor` alone: \
          without that their state is unknown.",
    keys: &[
        ADDRESS,
        required("database", Kind::Text, "The database that is connected to."),
        required(
            "user",
            Kind::Text,
            "The user: the application's own, if its way in is to be checked.",
        ),
        PASSWORD,
        optional(
            "role",
            Kind::Word {
                words: &["primary", "standby"],
                later: &[],
            },
            "`primary`: not in recovery, and its transactions may write. `standby`: in recovery, and streaming.",
        ),
        optional(
            "standbys",
            Kind::Count {
                least: 1,
                most: 100,
            },
            "For `role: primary`: how many standbys it has to stream to.",
        ),
        optional(
            "max_lag",
            Kind::Text,
            "How far a standby may be behind: a time such as `30s`, or an amount of write-ahead log such as `16MiB`. For \
             `role: standby`, or for each of the `standbys`. An idle primary is no lag.",
        ),
        TLS,
        SERVER_NAME,
    ],
    choice: &[],
    later: &[],
};

/// A MariaDB server.
pub(super) static MARIADB: Shape = Shape {
    name: "mariadb check",
    doc: "A MariaDB or MySQL server that lets the user in, asked through the `mariadb` client of the machine where the \
          check runs. To see replication the user needs the privilege `SLAVE MONITOR` (MySQL: `REPLICATION CLIENT`).",
    keys: &[
        ADDRESS,
        required("user", Kind::Text, "The user."),
        PASSWORD,
        optional("database", Kind::Text, "The database that is selected."),
        optional(
            "writable",
            Kind::Flag,
            "`true`: it takes writes (`read_only` is off). `false`: it refuses them.",
        ),
        default(
            "replicating",
            Kind::Flag,
            "false",
            "It replicates: both threads of each of its connections run without an error, and there is one at least.",
        ),
        optional(
            "source",
            Kind::Text,
            "For `replicating`: the host that it replicates from, as the server itself names it.",
        ),
        optional(
            "max_lag",
            Kind::Duration,
            "For `replicating`: how far it may be behind its source.",
        ),
        default(
            "tls",
            Kind::Flag,
            "false",
            "It is talked to over TLS, and its certificate must have the host of the address and be of an authority that the \
             agent trusts: those of its own file (`check_ca`), else those of its machine.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads a redis check.
pub(super) fn redis(section: &Section<'_>) -> Option<RedisCheck> {
    let address = address(section);
    let login = login(section);
    if let (Some(_), None) = (&login.user, section.get("password")) {
        section.report(
            Problem::error("this user has no password")
                .why("without a password nobody logs in to Redis")
                .suggest("add `password: { secret: NAME }`, or remove `user`"),
        );
    }
    let role = section.word("role");
    let max_lag = section.duration("max_lag");
    let tls = tls(section);
    if role != Some(RedisRole::Replica) {
        meaningless(section, "max_lag", "`role: replica`");
    }
    Some(RedisCheck {
        target: address?,
        login,
        role,
        max_lag,
        tls,
    })
}

/// Reads a postgres check.
pub(super) fn postgres(section: &Section<'_>) -> Option<PostgresCheck> {
    let address = address(section);
    let login = login(section);
    let database = section.text("database");
    let role = section.word("role");
    let standbys = section.count("standbys");
    let max_lag = section.get("max_lag").and_then(|field| lag(&field));
    let tls = tls(section);
    if role != Some(PostgresRole::Primary) {
        meaningless(section, "standbys", "`role: primary`");
    }
    if role != Some(PostgresRole::Standby) && standbys.is_none() {
        meaningless(section, "max_lag", "`role: standby` or `standbys`");
    }
    Some(PostgresCheck {
        target: address?,
        database: database?,
        login,
        role,
        standbys: standbys.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        max_lag,
        tls,
    })
}

/// Reads a mariadb check.
pub(super) fn mariadb(section: &Section<'_>) -> Option<MariadbCheck> {
    let address = address(section);
    let login = login(section);
    let database = section.text("database");
    let writable = section.get("writable").and_then(|field| field.flag());
    let replicating = section.flag("replicating");
    let (source, max_lag) = (section.text("source"), section.duration("max_lag"));
    let tls = section
        .flag("tls")
        .then_some(ServerTls { server_name: None });
    if !replicating {
        meaningless(section, "source", "`replicating: true`");
        meaningless(section, "max_lag", "`replicating: true`");
    }
    Some(MariadbCheck {
        target: address?,
        login,
        database,
        writable,
        replicating,
        source,
        max_lag,
        tls,
    })
}

fn address(section: &Section<'_>) -> Option<String> {
    section.get("address").and_then(|field| target(&field))
}

fn login(section: &Section<'_>) -> Login {
    let password = section
        .optional("password", |section| section.name::<LocalName>("secret"))
        .flatten();
    Login {
        user: section.text("user"),
        password,
    }
}

fn tls(section: &Section<'_>) -> Option<ServerTls> {
    let server_name = section
        .get("server_name")
        .and_then(|field| server_name(&field));
    if section.flag("tls") {
        return Some(ServerTls { server_name });
    }
    meaningless(section, "server_name", "`tls: true`");
    None
}

/// Reports a key that says something only together with others.
fn meaningless(section: &Section<'_>, key: &'static str, with: &str) {
    if let Some(field) = section.get(key) {
        field.report_key(
            Problem::error(format!("`{key}` has no meaning here"))
                .why(format!("it belongs to a check with {with}")),
        );
    }
}

/// A time, or an amount of write-ahead log.
fn lag(field: &Field<'_>) -> Option<Lag> {
    let text = field.text()?;
    if parse_duration(text).is_some() {
        return field.duration().map(Lag::Time);
    }
    let bytes = parse_size(text);
    if bytes.is_none() {
        field.report(
            Problem::error(format!("{} is neither a duration nor a size", quoted(text)))
                .why("a size is a whole number with a unit: B, KiB, MiB or GiB")
                .suggest("write it as 30s or 16MiB"),
        );
    }
    bytes.map(Lag::Bytes)
}

/// A whole number with a unit, in bytes.
pub(in crate::spec::read) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
